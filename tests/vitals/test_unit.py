"""A unit's own limits and rights: one file, checked as a whole, with lines."""

from __future__ import annotations

import pytest

from vitals.conditions import CONDITIONS, RULES, Condition
from vitals.roles import ACTIONS, MAY, Role
from vitals.unit import FACTORY, TIMES, UnitError, read, written


def test_the_factory_written_out_and_read_back_is_the_factory() -> None:
    assert read(written(FACTORY)) == FACTORY
    assert read(written(FACTORY)).version == FACTORY.version


def test_what_a_unit_leaves_out_is_the_factorys_and_its_version_is_another() -> None:
    unit = read('name = "4 East"\n[heart-rate-high]\nlimit = 130\n')
    assert (unit.name, unit.limits[Condition.HEART_RATE_HIGH].default) == ("4 East", 130.0)
    assert all(unit.limits[c] == FACTORY.limits[c] for c in CONDITIONS if c is not Condition.HEART_RATE_HIGH)
    assert (unit.rules, unit.may) == (FACTORY.rules, FACTORY.may)
    assert unit.version != FACTORY.version
    assert read('name = "other"').version == FACTORY.version


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[fever]\nlimit = 1", 1, "not a condition"),
        ("name = 5", 1, "not a condition"),
        ("\n[heart-rate-high]\n# high\nlimit = 181", 4, "70 to 180"),
        ("[heart-rate-high]\nlimit = nan", 2, "outside"),
        ("[heart-rate-high]\nlimit = true", 2, "not a number"),
        ('[heart-rate-high]\nlimit = "130"', 2, "not a number"),
        ("[ecg-lead-off]\nlimit = 1", 2, "outside"),
        ("[heart-rate-high]\nlimit = 130\n\n[heart-rate-low]\nlimmit = 40", 5, "none of"),
        ("[asystole]\nescalate_s = 0", 2, "1 to 60"),
        ("[asystole]\nescalate_s = 61", 2, "1 to 60"),
        ("[asystole]\nsnooze_max_s = 61", 2, "1 to 60"),
        ("[asystole]\non_delay_s = 1", 2, "0 to 0"),
        ("[heart-rate-high]\nlimit = 75\n[heart-rate-low]\nlimit = 80", 2, "must lie below"),
        ("[heart-rate-low]\nlimit = 35", 2, "must lie below"),  # the factory's extreme bradycardia is at 40
        ('[roles]\nmatron = ["pause"]', 2, "none of"),
        ('[roles]\nnurse = ["fly"]', 2, "list of"),
        ('[roles]\nnurse = "pause"', 2, "list of"),
        ("heart-rate-high = 130", 1, "not a condition"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(UnitError) as refused:
        read(text)
    assert str(refused.value).startswith(f"line {line}: ")
    assert why in str(refused.value)


def test_everything_wrong_is_said_at_once_in_the_order_of_its_lines() -> None:
    with pytest.raises(UnitError) as refused:
        read("[asystole]\nlimit = 9\n[fever]\n[heart-rate-high]\nlimit = 1\n")
    assert [said.split(":")[0] for said in str(refused.value).splitlines()] == ["line 2", "line 3", "line 5"]


def test_what_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(UnitError, match="line 2"):
        read("[asystole]\nlimit = = 3")


def test_a_unit_can_neither_switch_an_escalation_off_nor_lengthen_a_snooze() -> None:
    for condition, rule in RULES.items():
        for field in TIMES:
            with pytest.raises(UnitError, match="outside"):
                read(f"[{condition}]\n{field} = {2 * getattr(rule, field) + 0.1}")
        if rule.escalate_s:
            with pytest.raises(UnitError, match="outside"):
                read(f"[{condition}]\nescalate_s = 0")


def test_who_may_silence_may_also_be_found_and_readers_may_nothing() -> None:
    assert MAY[Role.OTHER] == frozenset()
    assert not MAY[Role.TECHNICIAN] & {"acknowledge", "pause", "snooze", "limit", "discharge"}
    assert MAY[Role.NURSE] == MAY[Role.PHYSICIAN] == frozenset(ACTIONS)

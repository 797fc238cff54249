"""What the board asks for, and what the decide half then does with it."""

from __future__ import annotations

import msgspec
import pytest

from stream.web.commands import NotYours, parse, record_of
from tests.support.stay import ANN, Stay, at
from vitals.alerts import AlertEvent, Signal
from vitals.conditions import RULES, Condition
from vitals.events import Command
from vitals.limits import ADULT
from vitals.unit import FACTORY, read


def ask(stay: Stay, action: str, when_s: float, **body: object) -> None:
    whoever = {"bed": ANN, "who": "N. Okafor", "role": "nurse", "reason": "at the bed"}
    _, said = record_of(parse(action, msgspec.json.encode(body | whoever), FACTORY), at(when_s))
    assert isinstance(said, Command)
    stay.steps += stay.deciding.command(said).transitions


@pytest.mark.parametrize("condition", [c for c in Condition if ADULT[c].adjustable])
def test_a_limit_set_at_the_board_is_on_the_side_of_its_condition(condition: Condition) -> None:
    stay = Stay()
    stay.rhythm(0)
    limit = ADULT[condition]
    moved = limit.default + 0.01 * (limit.highest - limit.default or limit.lowest - limit.default)
    ask(stay, "limit", 1, condition=condition, value=moved)
    (step,) = stay.steps
    assert (step.event, step.who, step.role, step.reason) == (AlertEvent.LIMITED, "N. Okafor", "nurse", "at the bed")
    assert step.evidence is not None
    assert (step.evidence.value, step.evidence.limit) == (limit.default, moved)


def test_a_snooze_from_the_board_silences_its_condition_for_as_long_as_its_rule_allows() -> None:
    stay = Stay()
    stay.rhythms(range(12), heart_rate_bpm=130.0)
    longest_s = RULES[Condition.HEART_RATE_HIGH].snooze_max_s
    ask(stay, "snooze", 12, condition="heart-rate-high", seconds=longest_s)
    step = stay.last(Condition.HEART_RATE_HIGH)
    assert (step.signal, step.until_us) == (Signal.PAUSED, at(12 + longest_s))


def test_a_units_own_rights_hold_at_the_board() -> None:
    unit = read('[roles]\ntechnician = ["acknowledge"]\nnurse = []')
    body = {"bed": ANN, "who": "n", "alertId": "a", "condition": "asystole"}
    parse("acknowledge", msgspec.json.encode(body | {"role": "technician"}), unit)
    with pytest.raises(NotYours, match="nurse"):
        parse("acknowledge", msgspec.json.encode(body | {"role": "nurse"}), unit)

"""The alarms of a log under other rules, held against those under the rules in force."""

from __future__ import annotations

from collections.abc import Iterator

from stream.reliving import Event
from stream.whatif import compare, report
from tests.support.stay import ANN, CALM_RHYTHM, at, batch, command, record
from vitals.conditions import Condition
from vitals.findings import Task, Verdict
from vitals.unit import FACTORY, read

LOWER = read("[heart-rate-high]\nlimit = 100")
HIGHER = read("[heart-rate-high]\nlimit = 135")


def log(*rates: float, patient: str = ANN, partition: int = 0) -> Iterator[Event]:
    """Half a minute of each heart rate."""
    for second in range(30 * len(rates)):
        values = CALM_RHYTHM | {"heart_rate_bpm": rates[second // 30]}
        found = record(batch(Task.ECG_RHYTHM, [(patient, second, values, Verdict.GOOD)]))
        yield Event(partition, second, at(second), found)


def test_a_lower_limit_gains_the_alarms_between_it_and_the_old_one() -> None:
    found = compare(log(80, 110, 80, 125, 80), FACTORY, LOWER)
    assert [(e.condition, (e.onset_us - at(0)) / 1e6) for e in found.gained] == [(Condition.HEART_RATE_HIGH, 30)]
    assert found.lost == []
    assert (len(found.now.episodes), len(found.then.episodes)) == (1, 2)


def test_a_higher_limit_loses_them() -> None:
    found = compare(log(80, 125, 80, 139, 80), FACTORY, HIGHER)
    assert [(e.onset_us - at(0)) / 1e6 for e in found.lost] == [30]
    assert found.gained == []


def test_an_alarm_that_only_begins_at_another_moment_is_neither_gained_nor_lost() -> None:
    ramp = compare(log(80, 110, 125, 80), FACTORY, LOWER)
    assert len(ramp.now.episodes) == len(ramp.then.episodes) == 1
    assert ramp.gained == ramp.lost == []


def test_the_same_rules_change_nothing_and_commands_are_lived_through() -> None:
    def busy() -> Iterator[Event]:
        for event in log(80, 130, 130, 80):
            yield event
            if event.offset == 45:
                yield Event(0, 0, event.passed_us, command("limit", 45, condition="heart-rate-high", upper=135.0))

    same = compare(busy(), FACTORY, FACTORY)
    assert same.gained == same.lost == []
    (episode,) = same.now.episodes.values()
    assert episode.end_us == at(45 + 6)  # five seconds inside the limit that was moved


def test_the_report_counts_by_day_and_condition_and_names_nobody_unless_asked() -> None:
    found = compare(log(80, 110, 80), FACTORY, LOWER)
    told = "\n".join(report(found, by_bed=False))
    assert ANN not in told
    assert "2023-11-14" in told
    day, all_days = told.splitlines()[1:3]
    assert day.split()[1:5] == all_days.split()[1:5] == ["0", "1", "1", "0"]
    assert "heart-rate-high" in told
    assert f"{ANN} 2023-11-14" in "\n".join(report(found, by_bed=True))

"""The alarms of a log under other rules, held against those under the rules in force."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.reliving import Event
from stream.topics import Topic
from stream.whatif import compare, report
from tests.support.stay import ANN, CALM_RHYTHM, START_US, at, batch, command, record
from tests.support.topics import write_of
from vitals.conditions import Condition
from vitals.findings import Findings, Task, Verdict
from vitals.unit import FACTORY, read
from vitals.units import US_PER_S

LOWER = read("[heart-rate-high]\nlimit = 100")
HIGHER = read("[heart-rate-high]\nlimit = 135")


def log(*rates: float, began_s: int = 0) -> Iterator[Event]:
    """Half a minute of each heart rate, from so many seconds into the stay."""
    for second in range(30 * len(rates)):
        values = CALM_RHYTHM | {"heart_rate_bpm": rates[second // 30]}
        found = record(batch(Task.ECG_RHYTHM, [(ANN, began_s + second, values, Verdict.GOOD)]))
        yield Event(0, second, at(began_s + second), found)


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


@pytest.mark.broker
def test_the_command_decides_a_real_log_again_and_says_what_it_would_have_been(
    kafka_topics: str, tmp_path: Path
) -> None:
    began_s = round(time.time() - START_US / US_PER_S) - 300
    said = [event.said for event in log(80, 110, 80, 125, 80, began_s=began_s) if isinstance(event.said, Findings)]
    write_of(kafka_topics, Topic.FINDINGS, ANN, said)
    lower, wrong = tmp_path / "lower.toml", tmp_path / "wrong.toml"
    lower.write_text("[heart-rate-high]\nlimit = 100\n")
    wrong.write_text("[heart-rate-high]\nlimit = 300\n")

    told = whatif(kafka_topics, "--unit", str(lower), "--last", "1h", "--beds")
    assert told.returncode == 0, told.stderr
    lines = [line.split() for line in told.stdout.splitlines()]
    assert lines[0] == f"rules and limits {FACTORY.version} now, {LOWER.version} then".split()
    (high,) = (line for line in lines if line[:1] == ["heart-rate-high"])
    assert high[1:] == ["1", "2", "1", "0"]
    (bed,) = (line for line in lines if line[:1] == [ANN])
    assert bed[2:6] == ["1", "2", "1", "0"]

    write_of(
        kafka_topics, Topic.COMMANDS, ANN, [command("limit", began_s + 100, condition="heart-rate-high", upper=130.0)]
    )
    moved = whatif(kafka_topics, "--unit", str(lower), "--last", "1h")
    assert "heart-rate-high" in moved.stdout
    assert ANN not in moved.stdout, "nobody is named unless it is asked for"

    nothing = whatif(kafka_topics, "--unit", str(lower), "--last", "0m")
    assert nothing.returncode == 0
    assert "heart-rate-high" not in nothing.stdout, "what was written before is not looked at"
    refused = whatif(kafka_topics, "--unit", str(wrong))
    assert refused.returncode == 1
    assert "line 2: heart-rate-high.limit 300 lies outside 70 to 180" in refused.stderr
    assert whatif(kafka_topics).returncode == 2, "neither a file nor the shadow"
    silent = whatif(kafka_topics, "--shadow")
    assert (silent.returncode, silent.stderr) == (1, "in this time no shadow has told anything\n")


def whatif(kafka: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a person runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WARDWATCH_")}
    return subprocess.run(
        [sys.executable, "-m", "stream", "whatif", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        env=environment | {"WARDWATCH_KAFKA": kafka},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

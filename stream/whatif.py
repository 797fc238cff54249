"""``python -m stream whatif --unit FILE --last 7d``: what a ward would have heard under other rules.

The findings and commands of the last days are decided twice, by the rules now in force and by those of the file, and
the alarms held against each other: one that has no alarm of its condition at the same time on the other side was gained
or lost. Nothing is told to anybody. What a rule would have done is known before it calls anyone.

``--shadow`` instead of a file decides nothing: what was told is held against what a worker of the role ``shadow`` has
written meanwhile, since it runs under its present rules.
"""

from __future__ import annotations

import argparse
import os
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from kafka.errors import KafkaError

from stream import config
from stream.alerting import Deciding
from stream.rehearsal.readback import ago_ms, said_since, span
from stream.reliving import Event, events, live
from stream.topics import Topic
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import utc_day
from vitals.conditions import Condition
from vitals.errors import Fault
from vitals.findings import Findings
from vitals.selftest import is_self_test
from vitals.unit import Unit, UnitError
from vitals.units import US_PER_MS, US_PER_S

_HOUR_US: Final = 3600 * US_PER_S
_FOR_EVER_US: Final = 1 << 62


@dataclass(slots=True)
class Episode:
    """One alarm: of whom, what, and from when until when its condition was present."""

    patient: str
    condition: Condition
    onset_us: int
    end_us: int = _FOR_EVER_US


@dataclass(slots=True)
class Course:
    """All alarms of one side."""

    episodes: dict[str, Episode] = field(default_factory=dict)

    def take(self, steps: Iterable[AlertTransition]) -> None:
        """Follow what was told."""
        for step in steps:
            if not step.alert_id or step.condition is None or is_self_test(step.patient):
                continue
            if step.event is AlertEvent.RAISED:
                self.episodes[step.alert_id] = Episode(step.patient, step.condition, step.onset_us)
            elif (episode := self.episodes.get(step.alert_id)) is not None:
                if step.presence:
                    episode.end_us = _FOR_EVER_US
                elif episode.end_us == _FOR_EVER_US:
                    episode.end_us = step.time_us


@dataclass(slots=True)
class Comparison:
    """Alarms under the rules ``now`` and ``then``, by their versions. ``heard``: hours in which there were findings, by
    patient.
    """

    rules_now: str
    rules_then: str
    now: Course = field(default_factory=Course)
    then: Course = field(default_factory=Course)
    heard: set[tuple[str, int]] = field(default_factory=set)

    def hear(self, findings: Findings) -> None:
        """Note whose hours these findings are of."""
        for table in findings.tables:
            self.heard.update(
                (table.patients[row], us // _HOUR_US)
                for row, us in zip(table.row, table.end_us, strict=True)
                if not is_self_test(table.patients[row])
            )

    @property
    def gained(self) -> list[Episode]:
        """Alarms that only the other rules have."""
        return _alone(self.then.episodes.values(), self.now.episodes.values())

    @property
    def lost(self) -> list[Episode]:
        """Alarms that only the rules now in force have."""
        return _alone(self.now.episodes.values(), self.then.episodes.values())


def compare(log: Iterable[Event], now: Unit, then: Unit) -> Comparison:
    """Decide ``log`` by both units."""
    found = Comparison(now.version, then.version)
    sides: dict[int, tuple[Deciding, Deciding]] = defaultdict(lambda: (Deciding(now), Deciding(then)))
    for event in log:
        for course, deciding in zip((found.now, found.then), sides[event.partition], strict=True):
            course.take(live(deciding, event))
        if isinstance(event.said, Findings):
            found.hear(event.said)
    return found


def shadowed(bootstrap: str, since_ms: int) -> Comparison:
    """What was told since ``since_ms`` (the broker's clock) beside what the shadow would have told, both from the event
    time of the shadow's first word under its present rules. Raises ``Fault``: the shadow is silent, or a log cannot be
    read to its end.
    """
    would = list(said_since(bootstrap, Topic.SHADOW, AlertTransition, since_ms))
    if not would:
        raise Fault("in this time no shadow has told anything")
    then = max(would, key=lambda step: step.time_us).rules
    began_us = min(step.time_us for step in would if step.rules == then)
    was = [step for step in said_since(bootstrap, Topic.ALERTS, AlertTransition, since_ms) if step.time_us >= began_us]
    found = Comparison(max(was, key=lambda step: step.time_us).rules if was else "(nothing told)", then)
    found.now.take(was)
    found.then.take(step for step in would if step.time_us >= began_us)
    for findings in said_since(bootstrap, Topic.FINDINGS, Findings, max(since_ms, began_us // US_PER_MS)):
        found.hear(findings)
    return found


def report(found: Comparison, *, by_bed: bool) -> Iterator[str]:
    """Lines for people: by day, by condition, and by bed and day where that is asked for."""
    yield from _table("day", found, lambda e: utc_day(e.onset_us), lambda _, hour: utc_day(hour * _HOUR_US))
    yield ""
    yield from _table("condition", found, lambda e: e.condition.value, None)
    if by_bed:
        yield ""
        yield from _table(
            "bed and day",
            found,
            lambda e: f"{e.patient} {utc_day(e.onset_us)}",
            lambda patient, hour: f"{patient} {utc_day(hour * _HOUR_US)}",
        )


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when the log was read to its end."""
    parser = argparse.ArgumentParser(prog="python -m stream whatif", description=__doc__)
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--unit", metavar="FILE", help="the other rules (docs/alarms.md)")
    other.add_argument("--shadow", action="store_true", help="the rules of the shadow, by what it has written")
    parser.add_argument("--now", metavar="FILE", help="the rules in force (default: WARDWATCH_UNIT)")
    parser.add_argument("--last", type=span, default=timedelta(days=7), metavar="SPAN", help="30m, 12h or 7d")
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    parser.add_argument("--beds", action="store_true", help="by bed as well: names patients")
    asked = parser.parse_args(argv)
    try:
        settings = config.read(os.environ)
        kafka = asked.kafka or settings.kafka
        since_ms = ago_ms(asked.last)
        if asked.shadow:
            found = shadowed(kafka, since_ms)
        else:
            now, then = config.unit_in(asked.now or settings.unit), config.unit_in(asked.unit)
            found = compare(events(kafka, since_ms), now, then)
    except (Fault, KafkaError, OSError, UnitError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"rules and limits {found.rules_now} now, {found.rules_then} then\n\n")
    sys.stdout.writelines(f"{line}\n" for line in report(found, by_bed=asked.beds))
    return 0


def _alone(of: Iterable[Episode], others: Iterable[Episode]) -> list[Episode]:
    """Those that overlap none of the same patient and condition."""
    known: dict[tuple[str, Condition], list[Episode]] = defaultdict(list)
    for other in sorted(others, key=lambda episode: episode.onset_us):
        known[other.patient, other.condition].append(other)
    alone = []
    for episode in of:
        same = known[episode.patient, episode.condition]
        before_end = bisect_left(same, episode.end_us + 1, key=lambda other: other.onset_us)
        if not any(other.end_us >= episode.onset_us for other in same[:before_end]):
            alone.append(episode)
    return alone


def _table(
    name: str, found: Comparison, key: Callable[[Episode], str], hour_key: Callable[[str, int], str] | None
) -> Iterator[str]:
    columns = (found.now.episodes.values(), found.then.episodes.values(), found.gained, found.lost)
    counts = [Counter(map(key, episodes)) for episodes in columns]
    hours = Counter(hour_key(*heard) for heard in found.heard) if hour_key is not None else Counter[str]()
    names = sorted(set(hours).union(*counts))
    yield f"{name:32} {'now':>7} {'then':>7} {'gained':>7} {'lost':>7}" + (f" {'bed-days':>9}" if hours else "")
    for row in [*names, "all"]:
        numbers = [count.total() if row == "all" else count[row] for count in counts]
        line = f"{row:32.32} " + " ".join(f"{number:7}" for number in numbers)
        yield line + (f" {(hours.total() if row == 'all' else hours[row]) / 24:9.2f}" if hours else "")

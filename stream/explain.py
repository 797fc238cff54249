"""``python -m stream explain ALARM-ID``: why an alarm was told, from the logs alone, and whether it comes out again.

Shown are its steps with their places in the log, the finding that raised it with the record it was found in and the
records of the signal behind it, the model and the rung that scored it, the limit in force and who had moved it. Then
the findings and commands of its patient are decided once more by the code that runs here, and every step is held
against what was written, byte by byte. Where other code had decided, its version is the one thing that may differ: the
rest of a step has to be the same, and where it is not, that is said of the code and not of the log.
"""

from __future__ import annotations

import argparse
import enum
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from kafka.errors import KafkaError
from msgspec.structs import replace

from stream import config
from stream.alerting import Deciding
from stream.codeversion import CODE
from stream.rehearsal.readback import places_at, records_since, span
from stream.reliving import Event, events, live
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition, FindingRef
from vitals.clock import utc
from vitals.errors import Fault, Unusable
from vitals.findings import Findings, Task
from vitals.unit import Unit, UnitError
from vitals.units import US_PER_MS

_SOURCE: Final = {
    Task.ECG_BEAT: Topic.ECG,
    Task.ECG_RHYTHM: Topic.ECG,
    Task.GLUCOSE: Topic.GLUCOSE,
    Task.PNEUMONIA: Topic.IMAGING,
    Task.BREAST: Topic.IMAGING,
    Task.ECG_AF: Topic.ECG,
}


class Outcome(enum.StrEnum):
    """What came of deciding a step again."""

    SAME = "the same bytes"
    SAME_BY_OTHER_CODE = "the same but for the code"
    ABSENT = "does not come out again"
    CHANGED_BY_CODE = "comes out otherwise: it was decided by other code"
    DIFFERENT = "DIFFERS"


@dataclass(slots=True)
class Written:
    """A step of the alarm as it lies in ``alerts.v1``."""

    partition: int
    offset: int
    value: bytes
    step: AlertTransition

    def against(self, again: AlertTransition | None) -> Outcome:
        """What it says beside what comes out ``again``."""
        if again is None:
            return Outcome.ABSENT
        if codec.encode(again) == self.value:
            return Outcome.SAME
        if again.code == self.step.code:
            return Outcome.DIFFERENT
        return (
            Outcome.SAME_BY_OTHER_CODE if replace(again, code=self.step.code) == self.step else Outcome.CHANGED_BY_CODE
        )


@dataclass(slots=True)
class Explanation:
    """``again``: of each step, by its number, what it comes out as now. ``found_at``: the record of the
    finding that raised it; ``from_records``: those that completed its window; ``moved``: limits that people had moved.
    """

    written: list[Written]
    again: dict[int, AlertTransition] = field(default_factory=dict)
    found_at: list[tuple[int, int]] = field(default_factory=list)
    from_records: list[tuple[int, int]] = field(default_factory=list)
    moved: list[AlertTransition] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of each step, what came of deciding it again."""
        return [one.against(self.again.get(one.step.step)) for one in self.written]

    @property
    def same(self) -> int:
        """How many steps come out again: to the byte, or by other code to the byte but for its version."""
        return sum(outcome in {Outcome.SAME, Outcome.SAME_BY_OTHER_CODE} for outcome in self.outcomes)


def explain(bootstrap: str, alert_id: str, unit: Unit, before: timedelta) -> Explanation | None:
    """The alarm of this name, with the findings of its patient relived from ``before`` its onset on; None when
    ``alerts.v1`` knows of none. Raises ``Fault`` when the logs cannot be read to their end.
    """
    written = list(_steps(bootstrap, alert_id))
    if not written:
        return None
    told = Explanation(written)
    first = written[0].step
    partition = written[0].partition
    deciding = Deciding(unit)
    since_ms = first.onset_us // US_PER_MS - round(before.total_seconds() * 1000)
    ref = first.evidence.finding if first.evidence is not None else None
    for event in events(bootstrap, since_ms, lambda patient: patient == first.patient):
        if event.partition != partition:
            continue
        if ref is not None and _holds(event, ref):
            told.found_at.append((event.partition, event.offset))
        for step in live(deciding, event):
            if step.alert_id == alert_id:
                told.again[step.step] = step
            elif step.event is AlertEvent.LIMITED and step.time_us <= first.time_us:
                told.moved.append(step)
    told.again |= {s.step: s for s in deciding.tick(_last_us(written)).transitions if s.alert_id == alert_id}
    if ref is not None and first.input_ms:
        told.from_records = places_at(bootstrap, _SOURCE[ref.task], first.input_ms)
    return told


def report(told: Explanation) -> Iterator[str]:
    """Lines for people. They name no patient."""
    first = told.written[0].step
    yield f"alarm {first.alert_id}: {first.text}"
    yield f"  {first.priority} priority, {first.kind}; began {_time(first.onset_us)}, told {_time(first.time_us)}"
    if first.evidence is not None:
        evidence = first.evidence
        yield f"  {evidence.measure}: {evidence.value} against the limit {evidence.limit:g} {evidence.unit}".rstrip()
        if (ref := evidence.finding) is not None:
            topic = _SOURCE[ref.task]
            yield f"  finding {ref.task} {ref.spec} of {_time(ref.end_us)}, model {ref.model or '–'} on {ref.engine}"
            yield f"    in {Topic.FINDINGS} at {_places(told.found_at)}, from {topic} at {_places(told.from_records)}"
    for moved in told.moved:
        yield f"  {_time(moved.time_us)} {moved.text}, by {moved.who} ({moved.role}){_because(moved)}"
    unknown = "(not written down)"
    yield f"  decided by rules and limits {first.rules or unknown}, code {first.code or unknown}"
    for one, outcome in zip(told.written, told.outcomes, strict=True):
        step = one.step
        by = f" by {step.who} ({step.role}){_because(step)}" if step.who else ""
        where = f"{Topic.ALERTS}/{one.partition}@{one.offset}"
        yield f"  step {step.step} {_time(step.time_us)} {step.event}{by}: {where}, {outcome}"
    other = ", but for the version of the code" if Outcome.SAME_BY_OTHER_CODE in told.outcomes else ""
    yield f"{told.same} of {len(told.written)} steps come out of the log to the same bytes{other}"


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when every step comes out again to the same bytes, 1 when not, or when there is no such alarm."""
    parser = argparse.ArgumentParser(prog="python -m stream explain", description=__doc__)
    parser.add_argument("alarm", metavar="ALARM-ID")
    parser.add_argument("--before", type=span, default=timedelta(hours=12), metavar="SPAN",
                        help="so much of the time before it is lived through again (default: 12h)")  # fmt: skip
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    asked = parser.parse_args(argv)
    try:
        settings = config.read(os.environ)
        unit = config.unit_in(settings.unit)
        told = explain(asked.kafka or settings.kafka, asked.alarm, unit, asked.before)
    except (Fault, KafkaError, OSError, UnitError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if told is None:
        sys.stderr.write("no alarm of this name lies in the log\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in report(told))
    sys.stdout.write(f"decided again by rules and limits {unit.version}, code {CODE}\n")
    return 0 if told.same == len(told.written) else 1


def _steps(bootstrap: str, alert_id: str) -> Iterator[Written]:
    """Its steps in their order, each once: one that was written again after a crash replaces itself."""
    found: dict[int, Written] = {}
    for record in records_since(bootstrap, Topic.ALERTS, {}):
        try:
            step = codec.decode(AlertTransition, record.value or b"")
        except Unusable:
            continue
        if step.alert_id == alert_id:
            found[step.step] = Written(record.partition, record.offset, record.value, step)
    yield from (found[number] for number in sorted(found))


def _holds(event: Event, ref: FindingRef) -> bool:
    return isinstance(event.said, Findings) and any(
        table.task is ref.task and table.spec == ref.spec and ref.end_us in table.end_us for table in event.said.tables
    )


def _last_us(written: Sequence[Written]) -> int:
    return max(one.step.time_us for one in written)


def _places(places: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{partition}@{offset}" for partition, offset in places) or "no place in the log any more"


def _because(step: AlertTransition) -> str:
    return f": {step.reason}" if step.reason else ""


def _time(us: int) -> str:
    return utc(us).isoformat(sep=" ", timespec="milliseconds")

"""What the decide half lived through, once more from the logs: findings and commands in the order of their decision.

The same findings give the same alarms, so what was told can be told again, byte for byte, or told otherwise under
other rules. Where a command stood among the findings, and how far time had passed for it, lies beside it in
``audit.v1``. Two things are in no log: the state from before the logs begin, and the moment at which a silence was
noticed while late data were still on their way. An alarm that hangs on one of these may come out otherwise.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from stream.alerting import Deciding
from stream.rehearsal.readback import Marks, marks_at, records_since, said_since
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertTransition
from vitals.audit import AuditEntry
from vitals.errors import Unusable
from vitals.events import Command
from vitals.findings import FindingBatch, Findings
from vitals.units import US_PER_MS, US_PER_S

_BEHIND_US: Final = round(2.5 * US_PER_S)
"""So far behind the clock time is told to have passed in a worker, about (``stream/agents/horizon.py``)."""

Concerns = Callable[[str], bool]
"""Whether a patient is of interest."""


@dataclass(frozen=True, slots=True)
class Event:
    """One record as it was read: what it says, and where it was written. ``passed_us``: how far time had passed, for a
    command before it was done, for findings after they were decided.
    """

    partition: int
    offset: int
    passed_us: int
    said: Findings | Command


@dataclass(frozen=True, slots=True)
class _Asked:
    """A command among the findings. ``after``: the last findings before it; None where nobody wrote that down."""

    record: _Said
    after: int | None
    passed_us: int


def events(bootstrap: str, since_ms: int, concerns: Concerns | None = None) -> Iterator[Event]:
    """What was written since ``since_ms`` (the broker's clock), each partition in the order in which it was decided;
    with ``concerns`` only of some patients. Raises ``Fault`` when the log cannot be read to its end.
    """
    asked: dict[int, deque[_Asked]] = defaultdict(deque)
    known = {
        (entry.partition, entry.offset): entry for entry in said_since(bootstrap, Topic.AUDIT, AuditEntry, since_ms)
    }
    for record in _read(bootstrap, Topic.COMMANDS, since_ms, concerns):
        entry = known.get((record.partition, record.offset))
        passed_us = entry.passed_us if entry is not None else record.written_ms * US_PER_MS - _BEHIND_US
        asked[record.partition].append(_Asked(record, entry.after if entry is not None else None, passed_us))
    for record in _read(bootstrap, Topic.FINDINGS, since_ms, concerns):
        waiting = asked[record.partition]
        while waiting and _is_before(waiting[0], record):
            yield _done(waiting.popleft())
        # what is read behind the time, as after a restart, was not missing before it was read
        passed_us = min(record.written_ms * US_PER_MS - _BEHIND_US, _newest_us(record.said))
        if waiting:
            passed_us = min(passed_us, waiting[0].passed_us)
        yield Event(record.partition, record.offset, passed_us, record.said)
    for waiting in asked.values():
        yield from map(_done, waiting)


def live(deciding: Deciding, event: Event) -> list[AlertTransition]:
    """What ``deciding`` tells of ``event`` and of the time that has passed."""
    if not isinstance(event.said, Command):
        return deciding.decide([event.said]).transitions + deciding.tick(event.passed_us).transitions
    told = deciding.tick(event.passed_us).transitions
    with suppress(Unusable):  # refused then too, or refused by other rules
        told += deciding.command(event.said).transitions
    return told


@dataclass(frozen=True, slots=True)
class _Said:
    partition: int
    offset: int
    written_ms: int
    said: Findings | Command


def _is_before(asked: _Asked, findings: _Said) -> bool:
    if asked.after is None:
        return asked.record.written_ms < findings.written_ms
    return asked.after < findings.offset


def _done(asked: _Asked) -> Event:
    return Event(asked.record.partition, asked.record.offset, asked.passed_us, asked.record.said)


def _newest_us(said: Findings | Command) -> int:
    tables = said.tables if isinstance(said, Findings) else []
    return max((us for table in tables for us in table.known_us), default=0)


def _read(bootstrap: str, topic: Topic, since_ms: int, concerns: Concerns | None) -> Iterator[_Said]:
    since: Marks = marks_at(bootstrap, topic, since_ms)
    for record in records_since(bootstrap, topic, since):
        kind = codec.content_type(record.headers)
        said: Findings | Command
        try:
            if topic is Topic.FINDINGS:
                said = codec.decode(Findings, record.value or b"", kind)
            else:
                said = codec.decode(Command, record.value or b"", kind)
        except Unusable:
            continue  # refused then too
        if concerns is not None:
            if isinstance(said, Command):
                if not concerns(said.patient):
                    continue
            else:
                said = Findings(tables=[own for table in said.tables if len(own := _only(table, concerns))])
                if not said.tables:
                    continue
        yield _Said(record.partition, record.offset, record.timestamp, said)


def _only(table: FindingBatch, concerns: Concerns) -> FindingBatch:
    wanted = {row for row, patient in enumerate(table.patients) if concerns(patient)}
    keep = [i for i, row in enumerate(table.row) if row in wanted]

    def kept(column: list[Any]) -> list[Any]:
        return [column[i] for i in keep] if column else column

    return replace(
        table,
        row=kept(table.row),
        end_us=kept(table.end_us),
        known_us=kept(table.known_us),
        input_ms=kept(table.input_ms),
        verdict=kept(table.verdict),
        values=[kept(column) for column in table.values],
        ref=kept(table.ref),
    )

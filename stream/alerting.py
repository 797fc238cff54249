"""Findings to risks and alarms: the decide half, for the patients of one findings partition. No clock, no broker.

The same findings in the same order give the same risks, byte for byte, however they are cut into batches. Alarms do
not even depend on the order of tasks: a condition reads one task of one patient.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stream import bedside, bedsnapshot
from stream.bedsnapshot import Saved
from stream.codeversion import CODE
from stream.reading import Reading, read
from vitals import flood
from vitals.alerts import AlertEvent, AlertTransition, Evidence, FindingRef, State
from vitals.audit import Chain
from vitals.bed import FLOOD_ALARMS, TASK_INDEX, TASKS, blank
from vitals.conditions import CONDITIONS, NO_DATA, RULES, Condition, Kind, Priority
from vitals.decision import Taken, decide
from vitals.errors import Reason, Unusable
from vitals.events import Command
from vitals.findings import Findings, Task
from vitals.flood import FLOOD
from vitals.presence import EDGE, Change, pass_time, rule_table
from vitals.risk import GRID_US, RiskBatch, risk_batch
from vitals.rows import Rows, RowTable
from vitals.selftest import is_self_test
from vitals.signals import Bed, Cause, Due, due
from vitals.unit import FACTORY, Unit
from vitals.units import US_PER_S

_LAYOUT: Final = "bed " + " ".join((*TASKS, *CONDITIONS))
_FORGET_US: Final = 3600 * US_PER_S
"""How long a discharged patient is remembered, so that stragglers do not admit them again."""


@dataclass(slots=True)
class Decided:
    """What there is to publish, in order. ``findings``: by what was done with them.

    ``refused``: records, by their place in the call, that could not be read; nothing of them was taken.
    """

    risks: list[RiskBatch] = field(default_factory=list)
    transitions: list[AlertTransition] = field(default_factory=list)
    findings: Counter[Taken] = field(default_factory=Counter)
    refused: list[tuple[int, Unusable]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Census:
    """How things stand now: conditions present, signals that nobody has answered, streams that are overdue."""

    present: dict[tuple[Priority, Kind], int]
    unacknowledged: dict[Priority, int]
    stale: dict[Task, int]
    expected: dict[Task, int]


class Deciding:
    """Risk and alarm state of many patients of one ``unit``."""

    def __init__(self, unit: Unit = FACTORY) -> None:
        self._unit = unit
        self._rules = rule_table(unit.rules)
        self.audit = Chain()
        self._beds = RowTable(_LAYOUT, blank(self._unit.defaults))
        self._rows: dict[str, int] = {}
        self._names: list[str] = []
        self._models: dict[str, int] = {}
        self._now_us = 0

    @property
    def now_us(self) -> int:
        """How far time has been told to have passed."""
        return self._now_us

    @property
    def patients(self) -> int:
        """Patients with state here."""
        return len(self._rows)

    def decide(self, records: Sequence[Findings]) -> Decided:
        """Take findings in their order. Never raises for bad data: see ``Decided.refused``."""
        decided = Decided()
        taken: list[tuple[Reading, npt.NDArray[np.void]]] = []
        for place, findings in enumerate(records):
            try:
                reading = read(findings)
            except Unusable as why:
                decided.refused.append((place, why))
                continue
            models = [self._models.setdefault(table.model, len(self._models)) for table in findings.tables]
            rows = self._rows_of(reading.patients)[reading.place]
            edges, risks, counts = decide(
                self._beds.data,
                rows,
                reading.task,
                reading.source,
                reading.end_us,
                reading.input_ms,
                reading.verdict,
                reading.values,
                reading.by_rules,
                np.array(models, np.int32)[reading.table],
                rules=self._rules,
                now_us=self._now_us,
            )
            decided.findings += counts
            for edge in edges.tolist():
                known_us = _known_us(edge, reading, findings)
                decided.transitions += self._overdue(edge[0], edge[1], known_us)
                for step in self._follow(edge, *_decided_by(edge, reading, findings)):
                    decided.transitions.append(step)
                    if step.event is AlertEvent.RAISED and step.condition not in _BY_TIME:
                        decided.transitions += self._count(edge[0], edge[1], known_us, step)
            taken.append((reading, risks))
        if any(len(risks) for _, risks in taken):
            decided.risks.append(self._risk_batch(taken))
        return decided

    def command(self, command: Command, arrived_ms: int = 0) -> Decided:
        """Do what a person asks. Raises ``Unusable`` (refused-command) and changes nothing when it may not be done.

        ``arrived_ms``: broker time of its record, against which its own time is checked; 0 when there is none.
        """
        bedside.check(command, self._unit, arrived_ms)
        known = command.patient in self._rows
        if not known and command.action != "admit":
            raise Unusable(Reason.REFUSED_COMMAND, "a patient who is not here")
        bed = self._bed(int(self._rows_of([command.patient])[0]))
        try:
            return Decided(transitions=bedside.obey(command, bed))
        except Unusable:
            if not known:
                self._forget([command.patient])
            raise

    def tick(self, now_us: int) -> Decided:
        """Let time pass up to ``now_us``: what has fallen silent, what has lapsed, pauses that end, people to tell.

        What comes out has the time it was due at, so it does not matter when or how often this is called. Only call it
        while the log is read to its end: what has not been read yet is not missing.
        """
        self._now_us = max(self._now_us, now_us)
        rows = np.fromiter(self._rows.values(), np.int32, len(self._rows))
        edges = np.empty(len(rows) * len(CONDITIONS), EDGE)
        told: Any = pass_time(self._beds.data, rows, self._rules, self._now_us, edges)
        decided = Decided()
        for steps in self._in_time(rows, edges[:told].tolist()):
            decided.transitions += steps
        decided.transitions.sort(key=lambda step: (step.time_us, step.patient))
        self._forget_discharged(rows)
        return decided

    def census(self) -> Census:
        """For the gauges; never by patient."""
        rows = [row for patient, row in self._rows.items() if not is_self_test(patient)]
        beds = self._beds.data[np.array(rows, np.int32)]
        bits = np.arange(len(CONDITIONS), dtype=np.uint64)
        present = (beds["present"][:, None] >> bits & np.uint64(1)).sum(axis=0).tolist()
        open_signals = np.isin(beds["state"], _UNANSWERED).sum(axis=0).tolist()
        census = Census({}, dict.fromkeys(Priority, 0), {}, {})
        for c, condition in enumerate(CONDITIONS):
            rule = self._unit.rules[condition]
            key = rule.priority, rule.kind
            census.present[key] = census.present.get(key, 0) + present[c]
            census.unacknowledged[rule.priority] += open_signals[c]
        for task, condition in NO_DATA.items():
            census.stale[task] = present[CONDITIONS.index(condition)]
            census.expected[task] = int(np.count_nonzero(beds["heard_us"][:, TASK_INDEX[task]]))
        return census

    def snapshot(self) -> bytes:
        """Everything, as bytes that depend on nothing but what was decided."""
        patients = sorted(self._rows)
        models = sorted(self._models)
        rows = np.array([self._rows[patient] for patient in patients], np.int32)
        beds = RowTable(_LAYOUT, blank(self._unit.defaults))
        own = beds.add(len(rows))
        beds.data[own] = self._beds.data[rows]
        place = np.array([*(models.index(name) for name in self._models), -1], np.int32)
        beds.data["model"] = place[beds.data["model"]]
        packed = bedsnapshot.pack(beds.snapshot(own))
        audited = (self.audit.number, self.audit.head)
        return bedsnapshot.written(Saved(patients, models, self._now_us, list(self._unit.defaults), audited, packed))

    def restore(self, state: bytes) -> None:
        """Become what a snapshot was taken of; limits that nobody had moved are those of this unit.

        Raises ``ValueError`` for any other bytes, and changes nothing then.
        """
        saved = bedsnapshot.read(state)
        beds = RowTable(_LAYOUT, blank(self._unit.defaults))
        unpacked = bedsnapshot.unpack(saved.beds, beds.size(len(saved.patients)))
        if beds.rows_in(unpacked) != len(set(saved.patients)) or len(saved.limits) != len(CONDITIONS):
            raise ValueError("a snapshot of alarms whose patients do not fit their beds")
        rows = beds.add(len(saved.patients))
        beds.restore(rows, unpacked)
        limits = beds.data["limit"]
        beds.data["limit"] = np.where(limits == saved.limits, self._unit.defaults, limits)
        self._beds = beds
        self._rows = dict(zip(saved.patients, rows.tolist(), strict=True))
        self._names = [""] * len(beds.data)
        for patient, row in self._rows.items():
            self._names[row] = patient
        self._models = {name: k for k, name in enumerate(saved.models)}
        self._now_us = saved.now_us
        self.audit = Chain(*saved.audited)

    def _rows_of(self, patients: Sequence[str]) -> Rows:
        try:
            return np.fromiter(map(self._rows.__getitem__, patients), np.int32, len(patients))
        except KeyError:
            pass
        fresh = [patient for patient in dict.fromkeys(patients) if patient not in self._rows]
        rows = self._beds.add(len(fresh))
        self._names.extend([""] * (len(self._beds.data) - len(self._names)))
        for patient, row in zip(fresh, rows.tolist(), strict=True):
            self._rows[patient] = row
            self._names[row] = patient
            self._beds.data["risk_phase_us"][row] = zlib.crc32(patient.encode()) % (GRID_US // US_PER_S) * US_PER_S
        return self._rows_of(patients)

    def _bed(self, row: int) -> Bed:
        return Bed(self._names[row], self._beds.data[row], self._unit, CODE)

    def _follow(
        self, edge: tuple[Any, ...], ref: FindingRef | None = None, input_ms: int = 0
    ) -> Iterator[AlertTransition]:
        """The step that one EDGE makes, ``ref`` being the finding that decided it."""
        row, c, change, _, time_us, onset_us, value, limit = edge
        bed = self._bed(row)
        cause = self._cause(c, Change(change), value, limit, ref, input_ms)
        told: AlertTransition | None
        if change == Change.WORSENED:
            told = bed.void_snooze(c, time_us, cause.text)
        elif change == Change.ONSET:
            told = bed.onset(c, onset_us, time_us, cause)
        else:
            told = bed.end(c, time_us, cause)
        if told is not None:
            yield told
        if change == Change.LAPSE and (void := bed.void_snooze(c, time_us, "it is not measured")) is not None:
            yield void
        if change == Change.ONSET and CONDITIONS[c] in NO_DATA.values():
            for blind in np.flatnonzero(self._rules["blind_with"] == c).tolist():
                yield from self._overdue(row, blind, time_us)
                if (void := bed.void_snooze(blind, time_us, "there are no data")) is not None:
                    yield void

    def _count(self, row: int, c: int, known_us: int, raised: AlertTransition) -> Iterator[AlertTransition]:
        """One more alarm of a bed: it may be a flood."""
        yield from self._overdue(row, FLOOD, known_us)
        bed = self._bed(row)
        if flood.counted(bed.record, c, known_us):
            evidence = Evidence(RULES[Condition.ALARM_FLOOD].measure, FLOOD_ALARMS, FLOOD_ALARMS, "alarms")
            cause = Cause(flood.summary(bed.record), evidence, raised.input_ms)
            yield bed.onset(FLOOD, raised.time_us, raised.time_us, cause)

    def _cause(
        self, c: int, change: Change, value: float, limit: float, ref: FindingRef | None, input_ms: int
    ) -> Cause:
        condition = CONDITIONS[c]
        rule, rail = self._unit.rules[condition], self._unit.limits[condition]
        number = None if np.isnan(value) else float(value)
        evidence = Evidence(rule.measure, number, limit, rail.unit, ref)
        if change is Change.LAPSE:
            text = f"not measured for {rule.lapse_s:g} s"
        elif change is Change.SUPERSEDED:
            text = "superseded by a worse condition"
        elif not rail.adjustable:
            text = rule.measure if change is Change.ONSET else "over"
        else:
            text = f"{rule.measure} {value:.4g}, limit {limit:g} {rail.unit}".rstrip()
        return Cause(text, evidence, input_ms)

    def _overdue(self, row: int, c: int, before_us: int) -> Iterator[AlertTransition]:
        """What of condition ``c`` was due before ``before_us`` and is not told yet: its steps come in the order of
        their times, whenever the passing of time is told.
        """
        rows = np.array([row], np.int32)
        while items := [i for i in due(self._beds.data, rows, before_us - 1).tolist() if i[1] == c]:
            yield from self._meet(min(items, key=lambda item: item[3]))

    def _in_time(self, rows: Rows, edges: list[tuple[Any, ...]]) -> Iterator[list[AlertTransition]]:
        """All that is due, patient by patient in the order of its own times: one may bring about the next."""
        pending: dict[int, list[tuple[Any, ...]]] = {}
        for edge in edges:
            pending.setdefault(edge[0], []).append(edge)
        for waiting in pending.values():
            waiting.sort(key=_edge_time)
        while len(rows):
            first: dict[int, tuple[Any, ...]] = {}
            for item in due(self._beds.data, rows, self._now_us).tolist():
                if item[0] not in first or item[3] < first[item[0]][3]:
                    first[item[0]] = item
            for row, waiting in pending.items():
                if waiting and (row not in first or _edge_time(waiting[0]) <= first[row][3]):
                    first.pop(row, None)
                    yield list(self._follow(waiting.pop(0)))
            for row, _, _, _ in list(first.values()):
                yield self._meet(first[row])
            rows = np.array([*first, *(row for row in pending if row not in first)], np.int32)
            pending = {row: waiting for row, waiting in pending.items() if waiting}

    def _meet(self, item: tuple[Any, ...]) -> list[AlertTransition]:
        """Do one thing that is DUE."""
        row, c, what, time_us = item
        bed = self._bed(row)
        if what == Due.PAUSE_OVER:
            return list(bedside.pause_over(bed, time_us, Cause("the pause is over")))
        if what == Due.FLOOD_OVER:
            flood.over(bed.record)
            ended = bed.end(c, time_us, Cause("over"))
            return [] if ended is None else [ended]
        step = bedside.snooze_over(bed, c, time_us) if what == Due.SNOOZE_OVER else bedside.timer(bed, c, time_us)
        return [] if step is None else [step]

    def _risk_batch(self, taken: list[tuple[Reading, npt.NDArray[np.void]]]) -> RiskBatch:
        risks = np.concatenate([risks for _, risks in taken])
        input_ms: list[int] = []
        for reading, some in taken:
            input_ms += reading.input_ms[some["finding"]].tolist()
        names = list(self._models)
        used = sorted({names[k] for k in np.unique(risks["model"]).tolist() if k >= 0})
        place = np.array([*(used.index(name) if name in used else -1 for name in names), -1], np.int32)
        risks["model"] = place[risks["model"]]
        return risk_batch(risks, [self._names[row] for row in risks["row"].tolist()], input_ms, used)

    def _forget_discharged(self, rows: Rows) -> None:
        discharged_us = self._beds.data["discharged_us"][rows]
        gone = rows[(discharged_us > 0) & (discharged_us + _FORGET_US < self._now_us)]
        self._forget([self._names[row] for row in gone.tolist()])

    def _forget(self, patients: Sequence[str]) -> None:
        self._beds.free(np.array([self._rows.pop(patient) for patient in patients], np.int32))


_BY_TIME: Final = frozenset(NO_DATA.values())
_UNANSWERED: Final = tuple(int(state) for state in (State.ON, State.LATCHED))


def _edge_time(edge: tuple[Any, ...]) -> int:
    return int(edge[4])


def _known_us(edge: tuple[Any, ...], reading: Reading, findings: Findings) -> int:
    """When an EDGE could be known: with its finding, or when it was due."""
    if edge[3] < 0:
        return int(edge[4])
    known_us: list[int] = findings.tables[reading.table[edge[3]]].known_us
    return known_us[int(reading.finding[edge[3]])]


def _decided_by(edge: tuple[Any, ...], reading: Reading, findings: Findings) -> tuple[FindingRef | None, int]:
    """The finding that decided an EDGE, and the broker's time of the record behind it."""
    if edge[3] < 0:
        return None, 0
    table, place = findings.tables[reading.table[edge[3]]], int(reading.finding[edge[3]])
    name = table.ref[place] if table.ref else ""
    return FindingRef(table.task, table.spec, edge[4], table.model, table.engine, name), table.input_ms[place]

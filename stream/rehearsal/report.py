"""Do the laws hold? The report of a demo that ran without a person, from what is on the topics and in the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from stream.topics import OBSERVED, Topic
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.events import DeadLetter
from vitals.findings import FindingBatch, Findings
from vitals.risk import RiskBatch

STREAMS: Final = {Topic.ECG: "ecg", Topic.GLUCOSE: "glucose", Topic.IMAGING: "imaging"}
READ_BACK: Final = (Topic.FINDINGS, Topic.RISK, Topic.ALERTS, Topic.DEAD_LETTER)


class Outcomes(msgspec.Struct):
    """How the events of all streams ended, as the worker counted them."""

    scored: int = 0
    waiting: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    dead_lettered: dict[str, int] = msgspec.field(default_factory=dict)


class Percentiles(msgspec.Struct):
    """Milliseconds; None where nothing was measured."""

    p50: float | None
    p99: float | None


class Latency(msgspec.Struct):
    """From the broker's time of the record that completed a window to the broker's time of what came of it, live."""

    event_to_finding: Percentiles
    event_to_alert: Percentiles


class AlertCounts(msgspec.Struct):
    """Transitions by what happened."""

    raised: int = 0
    acknowledged: int = 0
    cleared: int = 0


class Served(msgspec.Struct):
    """Which bundle scored a task last, and on which rung."""

    bundle: str
    engine: str


class Report(msgspec.Struct):
    """The JSON that ``make demo FOR=60 REPORT=out.json`` writes."""

    seconds: float
    patients: int
    events: dict[str, int]
    outcomes: Outcomes
    conserved: bool
    findings: int
    risks: int
    alerts: AlertCounts
    latency_ms: Latency
    models: dict[str, Served]


@dataclass(frozen=True, slots=True)
class Stored:
    """One record read back. ``timestamp_ms`` is the broker's."""

    topic: Topic
    timestamp_ms: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Counted:
    """One scrape of the worker: events by (stream, outcome, reason), and those that wait, by stream."""

    ended: Mapping[tuple[str, str, str], int]
    waiting: Mapping[str, int]

    def total(self, stream: str) -> int:
        """Events of ``stream`` that the worker has accounted for."""
        return sum(n for (s, _, _), n in self.ended.items() if s == stream) + self.waiting.get(stream, 0)

    def whole(self, sent: Mapping[Topic, int]) -> bool:
        """Whether every event sent is accounted for."""
        return all(self.total(stream) == sent.get(topic, 0) for topic, stream in STREAMS.items())

    def since(self, before: Counted) -> Counted:
        """What was counted after ``before``."""
        return Counted(
            {name: n - before.ended.get(name, 0) for name, n in self.ended.items()},
            {stream: n - before.waiting.get(stream, 0) for stream, n in self.waiting.items()},
        )

    @classmethod
    def scraped(cls, text: str) -> Counted:
        """From the text of ``/metrics``."""
        ended: dict[tuple[str, str, str], int] = {}
        waiting: dict[str, int] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "wardwatch_events_total":
                    labels = sample.labels
                    ended[labels["stream"], labels["outcome"], labels["reason"]] = round(sample.value)
                elif sample.name == "wardwatch_events_waiting":
                    waiting[sample.labels["stream"]] = round(sample.value)
        return cls(ended, waiting)


def report(
    seconds: float, sent: Mapping[Topic, int], counted: Counted, stored: Iterable[Stored], *, live_ms: int
) -> tuple[Report, list[str]]:
    """The report, and every law that does not hold, in words.

    ``sent``: events confirmed by the broker, by topic; ``stored``: everything on the topics of ``READ_BACK``.
    ``live_ms``: when the present began. Latency is measured from then on: the past was sent in one go before.
    """
    seen = _Seen(live_ms)
    for record in stored:
        seen.take(record)
    events = {STREAMS[topic]: sent.get(topic, 0) for topic in OBSERVED}
    outcomes = _outcomes(counted)
    broken = [
        f"{stream}: {n} events were sent and {counted.total(stream)} are accounted for"
        for stream, n in events.items()
        if counted.total(stream) != n
    ]
    if seen.dead_letters != Counter(outcomes.dead_lettered):
        broken.append("the dead letters on the topic are not the ones counted")
    conserved = not broken
    if seen.conflicts:
        broken.append(f"{seen.conflicts} findings came twice and differ")
    scored = {stream: counted.ended.get((stream, "scored", ""), 0) for stream in events}
    broken += [f"{stream}: nothing was scored" for stream, n in scored.items() if not n]
    made = Report(
        seconds=round(seconds, 1),
        patients=len(seen.patients),
        events=events,
        outcomes=outcomes,
        conserved=conserved,
        findings=len(seen.findings),
        risks=seen.risks,
        alerts=AlertCounts(
            seen.alerts[AlertEvent.RAISED], seen.alerts[AlertEvent.ACKNOWLEDGED], seen.alerts[AlertEvent.CLEARED]
        ),
        latency_ms=Latency(_percentiles(seen.to_finding_ms), _percentiles(seen.to_alert_ms)),
        models=dict(sorted(seen.models.items())),
    )
    return made, broken


class _Seen:
    """What the topics hold."""

    def __init__(self, live_ms: int) -> None:
        self._live_ms = live_ms
        self.patients: set[str] = set()
        self.findings: dict[tuple[str, str, str, int], bytes] = {}
        self.conflicts = 0
        self.risks = 0
        self.alerts: Counter[AlertEvent] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.to_finding_ms: list[int] = []
        self.to_alert_ms: list[int] = []
        self.models: dict[str, Served] = {}
        self._steps: set[tuple[str, int]] = set()

    def take(self, record: Stored) -> None:
        match record.topic:
            case Topic.FINDINGS:
                for table in codec.decode(Findings, record.value).tables:
                    self._findings(table, record.timestamp_ms)
            case Topic.RISK:
                self.risks += len(codec.decode(RiskBatch, record.value))
            case Topic.ALERTS:
                self._alert(codec.decode(AlertTransition, record.value), record.timestamp_ms)
            case Topic.DEAD_LETTER:
                self.dead_letters[codec.decode(DeadLetter, record.value).reason] += 1

    def _findings(self, batch: FindingBatch, timestamp_ms: int) -> None:
        self.patients.update(batch.patients)
        self.models[batch.task.value] = Served(batch.model, batch.engine)
        refs = batch.ref or [""] * len(batch)
        rows = zip(batch.row, batch.end_us, batch.known_us, batch.verdict, refs, *batch.values, strict=True)
        for row, end_us, *content in rows:
            name = (batch.patients[row], batch.task.value, batch.spec, end_us)
            digest = blake2b(
                msgspec.msgpack.encode((batch.model, batch.engine, batch.columns, content)), digest_size=16
            ).digest()
            if self.findings.setdefault(name, digest) != digest:
                self.conflicts += 1
        self.to_finding_ms += [timestamp_ms - ms for ms in batch.input_ms if ms >= self._live_ms]

    def _alert(self, step: AlertTransition, timestamp_ms: int) -> None:
        if (step.alert_id, step.step) in self._steps and step.alert_id:
            return
        self._steps.add((step.alert_id, step.step))
        self.alerts[step.event] += 1
        if step.event is AlertEvent.RAISED and step.input_ms >= self._live_ms:
            self.to_alert_ms.append(timestamp_ms - step.input_ms)


def _outcomes(counted: Counted) -> Outcomes:
    outcomes = Outcomes(waiting=sum(counted.waiting.values()))
    for (_, outcome, reason), n in sorted(counted.ended.items()):
        if outcome == "scored":
            outcomes.scored += n
        elif n:
            by_reason = outcomes.dropped if outcome == "dropped" else outcomes.dead_lettered
            by_reason[reason] = by_reason.get(reason, 0) + n
    return outcomes


def _percentiles(values_ms: list[int]) -> Percentiles:
    if not values_ms:
        return Percentiles(None, None)
    p50, p99 = np.percentile(values_ms, [50, 99]).tolist()
    return Percentiles(round(p50, 1), round(p99, 1))

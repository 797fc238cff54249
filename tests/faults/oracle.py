"""What should have come of the messages in the logs, computed here without an interruption, and what did come.

Two stages, as the service itself has two: findings follow from the records that the gateways sent; risks and alarms
follow from the findings in the log. For patients with an ECG alone the second stage is also fed with the findings of
the first: where no two streams race there is one right answer from the door to the alarm.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from models.registry import Registry
from stream.alerting import Deciding
from stream.checkpoint import Owners
from stream.imagestore import ImageStore
from stream.modelslot import SHIPPED_BUNDLES, begin_serving, open_slots
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.publish import Message
from stream.topics import OBSERVED, Topic
from tests.support.findings import decoded, each
from tests.support.topics import read_all
from vitals import codec
from vitals.alerts import AlertTransition
from vitals.events import Record
from vitals.findings import FindingBatch, Findings, Task
from vitals.risk import RiskBatch

_AT_ONCE = 200
"""Records in one step: the memory of the oracle, not its answer, depends on it."""

Named = dict[tuple[object, ...], bytes]


@dataclass(slots=True)
class Account:
    """How what came compares with what should have come, of one kind. ``replays``: sent again with the same bytes."""

    expected: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    replays: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.different)


def compared(expected: Mapping[tuple[object, ...], bytes], came: Iterable[tuple[tuple[object, ...], bytes]]) -> Account:
    """``came``: everything that a reader of the topic sees, in its order."""
    account = Account(len(expected))
    seen: Counter[tuple[object, ...]] = Counter()
    for name, content in came:
        seen[name] += 1
        if name not in expected:
            account.doubled += 1
            account.examples.append(f"nobody should have sent {name}: {_shown(content)}")
        elif content != expected[name]:
            account.different += 1
            account.examples.append(f"{name}: {_shown(content)} and not {_shown(expected[name])}")
        elif seen[name] > 1:
            account.replays += 1
    missing = expected.keys() - seen.keys()
    account.lost = len(missing)
    account.examples += [f"lost {name}: {_shown(expected[name])}" for name in sorted(missing, key=str)[:20]]
    return account


def _shown(content: bytes) -> str:
    return str(msgspec.msgpack.decode(content))[:300]


def logged(kafka: str, *topics: Topic) -> list[Record]:
    """Everything in the logs of ``topics``."""
    return [
        Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value)
        for topic in topics
        for r in read_all(kafka, topic.value)
    ]


def found(records: Sequence[Record], bundles: Path = SHIPPED_BUNDLES) -> list[Message]:
    """The messages of findings that follow from ``records`` of the observed topics, in the order of their logs."""
    slots = open_slots(lambda news: None)
    begin_serving(Registry(bundles), slots)
    told = Observing(max_patients=1000, clock_ahead_us=60_000_000, archive_share=0.0)
    halves = {
        Topic.ECG: ObserveEcg(slots, told),
        Topic.GLUCOSE: ObserveGlucose(slots[Task.GLUCOSE], told),
        Topic.IMAGING: ObserveImaging(slots, ImageStore(()), told),
    }
    messages: list[Message] = []
    for topic in OBSERVED:
        mine = sorted((r for r in records if r.topic == topic), key=lambda r: (r.partition, r.offset))
        for first in range(0, len(mine), _AT_ONCE):
            products = halves[topic].process(mine[first : first + _AT_ONCE], Owners(0))
            messages += [m for m in products.messages if m.topic is Topic.FINDINGS]
    return messages


def named_findings(batches: Iterable[FindingBatch]) -> Iterator[tuple[tuple[object, ...], bytes]]:
    """Each finding: its identity and what it says. The model that made it is part of its name (ADR 4)."""
    for identity, fields in each(batches):
        yield (*identity, fields.pop("model")), msgspec.msgpack.encode(fields)


def named_risks(batches: Iterable[RiskBatch]) -> Iterator[tuple[tuple[object, ...], bytes]]:
    """Each risk: patient, time and the findings that it rests on (of one second, a later one replaces it)."""
    for batch in batches:
        names = [*batch.models, ""]
        for i in range(len(batch)):
            content = [
                batch.formula,
                batch.horizon_min,
                batch.input_ms[i],
                batch.probability[i],
                batch.lower[i],
                batch.upper[i],
                batch.band[i],
                *([column[i] for column in table] for table in (batch.state, batch.end_us, batch.age_s, batch.says)),
                [names[column[i]] for column in batch.model],
            ]
            rests_on = tuple(column[i] for column in batch.end_us)
            yield (batch.patients[i], batch.time_us[i], rests_on), msgspec.msgpack.encode(content)


def named_steps(steps: Iterable[AlertTransition], until_us: int) -> Iterator[tuple[tuple[object, ...], bytes]]:
    """Each step of an alarm that was due by ``until_us``: its identity and its bytes."""
    for step in steps:
        if step.time_us <= until_us:
            name = (step.patient, step.condition, step.alert_id, step.step)
            yield (name if step.alert_id else (*name, step.event, step.time_us)), codec.encode(step)


def decided(values: Iterable[tuple[int, bytes]], until_us: int) -> tuple[list[RiskBatch], list[AlertTransition]]:
    """Risks and steps of alarms that follow from findings: (partition, value) in the order of each partition's log."""
    deciding: defaultdict[int, Deciding] = defaultdict(Deciding)
    risks: list[RiskBatch] = []
    steps: list[AlertTransition] = []
    for partition, value in values:
        made = deciding[partition].decide([codec.decode(Findings, value)])
        risks += made.risks
        steps += made.transitions
    for one in deciding.values():
        steps += one.tick(until_us).transitions
    return risks, steps


def risks_in(records: Iterable[Record]) -> Iterator[RiskBatch]:
    return (codec.decode(RiskBatch, r.value) for r in records)


def steps_in(records: Iterable[Record]) -> Iterator[AlertTransition]:
    return (codec.decode(AlertTransition, r.value) for r in records)


def once(named: Iterable[tuple[tuple[object, ...], bytes]]) -> Named:
    """What the oracle says, which says nothing twice."""
    told: Named = {}
    for name, content in named:
        assert told.setdefault(name, content) == content
    return told


def account(kafka: str, until_us: int, bundles: Sequence[Path] = (SHIPPED_BUNDLES,)) -> dict[str, Account]:
    """Everything in the logs up to now against what it should be; alarms up to ``until_us``."""
    inputs = logged(kafka, *OBSERVED)
    log = logged(kafka, Topic.FINDINGS)
    risk_log, alert_log = logged(kafka, Topic.RISK), logged(kafka, Topic.ALERTS)
    first = [found(inputs, folder) for folder in bundles]
    accounts = {"findings": _findings(first, log)}
    risks, steps = decided(((r.partition, r.value) for r in log), until_us)
    accounts["risks"] = compared(once(named_risks(risks)), named_risks(risks_in(risk_log)))
    accounts["alarms"] = compared(once(named_steps(steps, until_us)), named_steps(steps_in(alert_log), until_us))
    if len(bundles) == 1:
        risks, steps = decided(((m.partition or 0, m.value or b"") for m in first[0]), until_us)
        several = {name[0] for name in once(named_findings(decoded(m.value for m in first[0]))) if _is_other(name[1])}
        accounts["risks from the door"] = compared(
            _of_one_stream(named_risks(risks), several),
            _of_one_stream(named_risks(risks_in(risk_log)), several).items(),
        )
        accounts["alarms from the door"] = compared(
            _of_one_stream(named_steps(steps, until_us), several),
            _of_one_stream(named_steps(steps_in(alert_log), until_us), several).items(),
        )
    return accounts


def _findings(first: Sequence[Sequence[Message]], log: Sequence[Record]) -> Account:
    by_model = [once(named_findings(decoded(m.value for m in messages))) for messages in first]
    came = list(named_findings(decoded(r.value for r in log)))
    expected = dict(by_model[0])
    for other in by_model[1:]:
        # after a swap a finding is the new model's; both are right, and one of them there must be
        used = {name for name, _ in came} & (other.keys() - expected.keys())
        replaced = {name[:-1] for name in used}
        still = {name for name, _ in came}
        expected = {n: c for n, c in expected.items() if n[:-1] not in replaced or n in still}
        expected |= {name: other[name] for name in used}
    return compared(expected, came)


def _is_other(task: object) -> bool:
    return task not in {Task.ECG_BEAT.value, Task.ECG_RHYTHM.value}


def _of_one_stream(named: Iterable[tuple[tuple[object, ...], bytes]], several: set[object]) -> Named:
    return {name: content for name, content in named if name[0] not in several}

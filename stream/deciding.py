"""Decide: findings and commands of one partition's patients to risks and alarms. The other half of the corridor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from stream import ingest
from stream.alerting import Decided, Deciding
from stream.checkpoint import Owners
from stream.pipeline import Products
from stream.publish import message
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertEvent
from vitals.audit import AuditEntry
from vitals.errors import Unusable
from vitals.events import Checkpoint, Command, Record
from vitals.findings import Findings
from vitals.selftest import is_self_test
from vitals.unit import FACTORY, Unit


class Decide:
    """Fuses and alarms. State belongs to a findings partition."""

    stream: Final = "decide"
    batch_records: Final = 10_000
    remembers_s: Final = 0.0

    def __init__(self, unit: Unit = FACTORY) -> None:
        self._unit = unit
        self._deciding: dict[int, Deciding] = {}
        self._decided: dict[int, int] = {}

    def process(self, records: Sequence[Record], owners: Owners) -> Products:
        """See ``Half``."""
        owner_of = [f"decide/{record.partition}" for record in records]
        products = Products(list(owner_of))
        findings: dict[int, list[tuple[Record, Findings]]] = {}
        for record, owner in zip(records, owner_of, strict=True):
            if owners.covers(owner, record.topic, record.offset):
                continue
            try:
                if record.topic == Topic.FINDINGS:
                    found = codec.decode(Findings, record.value, record.content_type)
                    findings.setdefault(record.partition, []).append((record, found))
                else:
                    command = codec.decode(Command, record.value, record.content_type)
                    # What was found before a person acted is decided before their command.
                    self._decide(record.partition, findings.pop(record.partition, []), products)
                    self._obey(record, command, products)
            except Unusable as why:
                products.refuse([ingest.refuse(record, why)])
        for partition, taken in findings.items():
            self._decide(partition, taken, products)
        return products

    def tick(self, now_us: int) -> Products | None:
        """Time passes, and how things stand is counted."""
        products = Products([])
        for partition, deciding in self._deciding.items():
            self._add(partition, deciding.tick(now_us), products)
        # a worker that has lost its partitions has nobody: its gauges must say so
        for deciding in self._deciding.values() or [Deciding(self._unit)]:
            census = deciding.census()
            products.present.update(census.present)
            products.unacknowledged.update(census.unacknowledged)
            products.stale.update(census.stale)
        return products

    def patients(self) -> int:
        return sum(deciding.patients for deciding in self._deciding.values())

    def snapshot(self, owner: str) -> bytes:
        return self._of(int(owner.rpartition("/")[2])).snapshot()

    def restore(self, checkpoint: Checkpoint) -> None:
        self._of(checkpoint.partition).restore(checkpoint.state)
        self._decided[checkpoint.partition] = checkpoint.offsets.get(Topic.FINDINGS, -1)

    def forget(self) -> None:
        self._deciding.clear()
        self._decided.clear()

    def _of(self, partition: int) -> Deciding:
        return self._deciding.setdefault(partition, Deciding(self._unit))

    def _decide(self, partition: int, taken: list[tuple[Record, Findings]], products: Products) -> None:
        if not taken:
            return
        decided = self._of(partition).decide([found for _, found in taken])
        self._decided[partition] = taken[-1][0].offset
        products.refuse([ingest.refuse(taken[place][0], why) for place, why in decided.refused])
        products.decided += decided.findings
        self._add(partition, decided, products)

    def _obey(self, record: Record, command: Command, products: Products) -> None:
        """Do a command and write down what came of it. Raises ``Unusable`` when it is refused, written down too."""
        deciding = self._of(record.partition)
        entry = AuditEntry(
            partition=record.partition,
            number=0,
            offset=record.offset,
            command=command,
            outcome="refused",
            told=[],
            rules=self._unit.version,
            after=self._decided.get(record.partition, -1),
            passed_us=deciding.now_us,
            previous="",
        )
        try:
            obeyed = deciding.command(command, record.timestamp_ms)
        except Unusable as why:
            self._write_down(replace(entry, told=[str(why)]), deciding, products)
            raise
        told = [step.text for step in obeyed.transitions]
        self._write_down(replace(entry, outcome="done" if told else "unchanged", told=told), deciding, products)
        self._add(record.partition, obeyed, products)

    def _write_down(self, entry: AuditEntry, deciding: Deciding, products: Products) -> None:
        linked = deciding.audit.extended(entry)
        key = entry.command.patient.encode()
        products.messages.append(message(Topic.AUDIT, linked, key=key, partition=entry.partition))

    def _add(self, partition: int, decided: Decided, products: Products) -> None:
        for risks in decided.risks:
            products.messages.append(message(Topic.RISK, risks, partition=partition))
            products.risks += len(risks)
        for alert in decided.transitions:
            key = alert.patient.encode()
            products.messages.append(message(Topic.ALERTS, alert, key=key, partition=partition))
            if alert.input_ms and alert.event is AlertEvent.RAISED:
                products.alerted_ms.append(alert.input_ms)
            if is_self_test(alert.patient):
                continue
            condition = alert.condition.value if alert.condition is not None else ""
            priority = alert.priority.value if alert.priority is not None else ""
            products.alerts[condition, priority, alert.event.value] += 1

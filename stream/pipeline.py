"""The live corridor. What one batch of records goes through, whichever half and stream it belongs to:

    take → process (decode, order, window, score | fuse, alert) → publish → checkpoint → release

A half is a pure step over records and its own state; everything that can wait or fail is here. While one batch is on
its way to the broker the next is processed: never more than that one, and in order. After every wait the epoch is
compared: a rebalance in between means that all of this will be read again, by us or by someone else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from stream.batching import Inbox
from stream.checkpoint import Loaded, Owners, incarnation
from stream.deadletter import DeadLetterLimit
from stream.ingest import Refusal
from stream.ledger import Entry, Ledger
from stream.publish import Message, Outbox, message
from stream.topics import Topic
from vitals.clock import Clock
from vitals.decision import Taken
from vitals.errors import Reason
from vitals.events import Checkpoint, DriftNotice, Record

_log = logging.getLogger(__name__)

T = TypeVar("T")

Past = Callable[[set[int], float], AsyncIterator[list[Record]]]
"""The acknowledged records of some partitions, so many seconds back, in the order of each log."""

_IDLE_S: Final = 0.25
_PACE_S: Final = 0.1
"""From one batch to the next at least: what every batch costs beside its patients is then paid ten times a second at
most. The first after a rest is not held back."""
_TICK_US: Final = 1_000_000
_INBOX_BYTES: Final = 64 * 1024 * 1024
_BATCH_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class Products:
    """What one batch became. ``owners``: for each record, whose state it went into; None for nobody's.

    ``scored``: events completed; ``refused``: events that ended otherwise, by reason; ``lost``: records' worth of what
    was dead-lettered; ``completed_ms``: broker times of
    the records that completed something, for the latency. The rest is for the metrics.
    """

    owners: list[str | None]
    messages: list[Message] = field(default_factory=list)
    scored: int = 0
    lost: float = 0.0
    refused: Counter[Reason] = field(default_factory=Counter)
    waiting: int | None = None
    completed_ms: list[int] = field(default_factory=list)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: list[tuple[str, int]] = field(default_factory=list)
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    paired: Counter[tuple[str, str]] = field(default_factory=Counter)
    drifts: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    stability: dict[str, float] = field(default_factory=dict)
    decided: Counter[Taken] = field(default_factory=Counter)
    risks: int = 0
    alerts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    alerted_ms: list[int] = field(default_factory=list)
    present: Counter[tuple[str, str]] = field(default_factory=Counter)
    unacknowledged: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)

    def tell_drift(self, notice: DriftNotice, partition: int | None = None) -> None:
        """Write down that something has changed, or has settled."""
        key = (notice.patient or notice.task).encode()
        self.messages.append(message(Topic.DRIFT, notice, key=key, partition=partition))
        self.drifts[notice.stream, notice.kind.value, notice.scope, notice.event] += 1

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Count what ended without a score, and keep what a person could use."""
        self.refused += Counter(refusal.reason for refusal in refusals)
        for refusal in refusals:
            letter = refusal.letter
            if letter is not None:
                self.lost += refusal.share
                self.messages.append(message(Topic.DEAD_LETTER, letter, key=letter.key, partition=letter.partition))


class Half(Protocol):
    """Observe for one stream, or decide. Called on one thread at a time, and never waits."""

    @property
    def stream(self) -> str:
        """Name in metrics: ecg, glucose, imaging or decide."""

    @property
    def batch_records(self) -> int:
        """Records of a batch at most: nothing of it is acknowledged before all of it is processed."""

    @property
    def remembers_s(self) -> float:
        """How far back the log is read again where a checkpoint is lost; 0: the owner begins anew."""

    def process(self, records: Sequence[Record], owners: Owners) -> Products:
        """Bad data never raises. Records that ``owners`` covers are passed over."""

    def tick(self, now_us: int) -> Products | None:
        """About once a second: time has passed up to ``now_us``."""

    def patients(self) -> int: ...
    def snapshot(self, owner: str) -> bytes: ...
    def restore(self, checkpoint: Checkpoint) -> None: ...
    def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record at the door, and how it is acknowledged."""

    record: Record
    acknowledge: Callable[[], object]

    @property
    def size(self) -> int:
        return len(self.record.value)


@dataclass(frozen=True, slots=True)
class _Batch:
    """One batch after its processing: what it became, and the state that was due then, which holds nothing later."""

    entries: list[Entry]
    products: list[Products]
    checkpoints: list[tuple[Checkpoint, list[Message]]]


class Witness(Protocol):
    """Who is told what was confirmed: the metrics."""

    def published(self, stream: str, products: Products, now_ms: int) -> None: ...
    def stage(self, stage: str, seconds: float) -> None: ...
    def progressed(self, half: Half, released: int, owed: int, unsaved_since_us: int | None) -> None: ...


class Corridor:
    """One half at work. ``run`` never returns; it raises ``Fault`` when the worker must stop."""

    def __init__(
        self,
        half: Half,
        outbox: Outbox,
        thread: Executor,
        clock: Clock,
        witness: Witness,
        *,
        checkpoint_s: float,
        dead_letter_share: float,
    ) -> None:
        self.half = half
        self.inbox: Inbox[Delivery] = Inbox(
            full_bytes=_INBOX_BYTES, batch_bytes=_BATCH_BYTES, batch_items=half.batch_records
        )
        self._outbox = outbox
        self._thread = thread
        self._clock = clock
        self._witness = witness
        self._ledger = Ledger()
        self._owners = Owners(round(checkpoint_s * 1_000_000))
        self._limit = DeadLetterLimit(dead_letter_share)
        self.time_passed_us: Callable[[], int] = clock.now_us
        self.taken: dict[tuple[str, int], int] = {}
        self._epoch = 0
        self._ticked_us = 0
        self._taken_s = 0.0
        self._loaded = asyncio.Event()
        self._confirming: asyncio.Task[None] | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether state stands for the present assignment."""
        return self._loaded.is_set()

    @property
    def held(self) -> int:
        """Records that were taken and are not acknowledged."""
        return len(self.inbox) + len(self._ledger)

    def leave(self) -> int:
        """Partitions were taken or given: forget everything at once. The new epoch."""
        self._epoch += 1
        self._loaded.clear()
        self.inbox.clear()
        self._ledger.clear()
        self.taken.clear()
        return self._epoch

    async def enter(self, epoch: int, loaded: Loaded, past: Past) -> int:
        """Take back the state of the present assignment; nothing is processed before. How many could not be.

        Where a checkpoint cannot be read back, what the log has of the ``past`` is lived through again, in silence.
        """
        refused = await self._on_thread(self._take_back, epoch, loaded.newest)
        lost = {*refused, *(partition for _, partition in loaded.lost)}
        if lost and self.half.remembers_s:
            async for records in past(lost, self.half.remembers_s):
                if epoch != self._epoch:
                    return len(refused)
                await self._on_thread(self._relive, epoch, records)
        await self._outbox.send(loaded.outdated)
        if epoch == self._epoch:
            self._loaded.set()
        return len(refused)

    async def run(self) -> None:
        """Batch after batch."""
        try:
            while True:
                await self._loaded.wait()
                await self._one_batch()
        finally:
            if self._confirming is not None:
                self._confirming.cancel()

    async def _one_batch(self) -> None:
        epoch = self._epoch
        deliveries = await self._take()
        if epoch != self._epoch or not self._loaded.is_set():
            return
        batch = _Batch([self._entry(delivery) for delivery in deliveries], [], [])
        for entry in batch.entries:
            self._ledger.enter(entry)
        if deliveries:
            products = await self._process([delivery.record for delivery in deliveries])
            if epoch != self._epoch:
                return
            self._reach([delivery.record for delivery in deliveries], products)
            batch.products.append(products)
        ticked = await self._tick(epoch)
        if ticked is not None:
            batch.products.append(ticked)
        batch.checkpoints.extend(await self._due_checkpoints(epoch))
        await self._confirmed()
        if epoch == self._epoch:
            self._confirming = asyncio.get_running_loop().create_task(self._confirm(epoch, batch))

    async def _take(self) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        if not self.inbox.holds_a_batch:
            await asyncio.sleep(max(0.0, self._taken_s + _PACE_S - loop.time()))
        deliveries = await self.inbox.take(_IDLE_S)
        self._taken_s = loop.time()
        return deliveries

    async def _confirmed(self) -> None:
        """The batch before is confirmed. Raises what went wrong with it."""
        if self._confirming is not None:
            await self._confirming
            self._confirming = None

    async def _confirm(self, epoch: int, batch: _Batch) -> None:
        """Publish → checkpoint → release. The checkpoints hold this batch, so they go after it."""
        for products in batch.products:
            await self._publish(products)
            if epoch != self._epoch:
                return
        if batch.entries:
            self._ledger.processed(batch.entries, batch.products[0].owners)
            self.taken.update(((entry.topic, entry.partition), entry.offset + 1) for entry in batch.entries)
        await self._outbox.send([record for _, records in batch.checkpoints for record in records])
        if epoch != self._epoch:
            return
        for checkpoint, _ in batch.checkpoints:
            self._ledger.saved(checkpoint.owner, checkpoint.offsets)
        released = self._ledger.release()
        self._witness.progressed(self.half, released, len(self._ledger), self._owners.oldest_change_us())

    async def _process(self, records: list[Record]) -> Products:
        began_us = self._clock.now_us()
        products = await self._on_thread(self.half.process, records, self._owners)
        self._witness.stage(f"{self.half.stream}.process", (self._clock.now_us() - began_us) / 1e6)
        return products

    def _reach(self, records: Sequence[Record], products: Products) -> None:
        now_us = self._clock.now_us()
        for record, owner in zip(records, products.owners, strict=True):
            if owner is not None and not self._owners.covers(owner, record.topic, record.offset):
                self._owners.changed(owner, record.topic, record.partition, record.offset, now_us)

    async def _tick(self, epoch: int) -> Products | None:
        now_us = self._clock.now_us()
        if epoch != self._epoch or now_us - self._ticked_us < _TICK_US:
            return None
        self._ticked_us = now_us
        products = await self._on_thread(self.half.tick, self.time_passed_us())
        return products if epoch == self._epoch else None

    async def _publish(self, products: Products) -> None:
        began_us = self._clock.now_us()
        self._limit.count(began_us, len(products.owners), products.lost, products.refused)
        await self._outbox.send(products.messages)
        now_us = self._clock.now_us()
        self._witness.stage(f"{self.half.stream}.publish", (now_us - began_us) / 1e6)
        self._witness.published(self.half.stream, products, now_us // 1000)

    async def _due_checkpoints(self, epoch: int) -> list[tuple[Checkpoint, list[Message]]]:
        due = self._owners.due(self._clock.now_us())
        if not due or epoch != self._epoch:
            return []
        states = await self._on_thread(lambda: [self.half.snapshot(owner) for owner in due])
        if epoch != self._epoch:
            return []
        return [self._owners.checkpoint(owner, state) for owner, state in zip(due, states, strict=True)]

    def _take_back(self, epoch: int, checkpoints: list[Checkpoint]) -> list[int]:
        """The partitions of owners who could not be taken back."""
        lost: list[int] = []
        if epoch != self._epoch:
            return lost
        self.half.forget()
        self._owners.clear(incarnation(self._clock.now_us()))
        for checkpoint in checkpoints:
            try:
                self.half.restore(checkpoint)
            except ValueError as error:
                # A build that reads no older state must not stop a ward for good: it begins anew, and says so.
                _log.error("%s: a checkpoint cannot be read back, its owner begins anew: %s", self.half.stream, error)
                lost.append(checkpoint.partition)
                continue
            self._owners.restored(checkpoint)
            self._ledger.saved(checkpoint.owner, checkpoint.offsets)
        return lost

    def _relive(self, epoch: int, records: Sequence[Record]) -> None:
        """What was acknowledged once and is in nobody's state any more goes in again; what it became was told then."""
        if epoch != self._epoch:
            return
        products = self.half.process(records, self._owners)
        self._reach(records, products)

    def _entry(self, delivery: Delivery) -> Entry:
        record = delivery.record
        return Entry(record.topic, record.partition, record.offset, delivery.acknowledge)

    async def _on_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

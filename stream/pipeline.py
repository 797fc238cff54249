"""The live corridor. What one batch of records goes through, whichever half and stream it belongs to:

    take → process (decode, order, window, score | fuse, alert) → publish → checkpoint → release

A half is a pure step over records and its own state; everything that can wait or fail is here. After every wait the
epoch is compared: a rebalance in between means that all of this will be read again, by us or by someone else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
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
from vitals.errors import Fate, Reason
from vitals.events import Checkpoint, Record

_log = logging.getLogger(__name__)

T = TypeVar("T")

_IDLE_S: Final = 0.25
_TICK_US: Final = 1_000_000
_INBOX_BYTES: Final = 64 * 1024 * 1024
_BATCH_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class Products:
    """What one batch became. ``owners``: for each record, whose state it went into; None for nobody's.

    ``scored``: events completed; ``refused``: events that ended otherwise, by reason; ``completed_ms``: broker times of
    the records that completed something, for the latency. The rest is for the metrics.
    """

    owners: list[str | None]
    messages: list[Message] = field(default_factory=list)
    scored: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    waiting: int | None = None
    completed_ms: list[int] = field(default_factory=list)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: list[tuple[str, int]] = field(default_factory=list)
    risks: int = 0
    alerts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    alerted_ms: list[int] = field(default_factory=list)
    present: Counter[tuple[str, str]] = field(default_factory=Counter)
    unacknowledged: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Count what ended without a score, and keep what a person could use."""
        self.refused += Counter(refusal.reason for refusal in refusals)
        for letter in (refusal.letter for refusal in refusals):
            if letter is not None:
                self.messages.append(message(Topic.DEAD_LETTER, letter, key=letter.key, partition=letter.partition))


class Half(Protocol):
    """Observe for one stream, or decide. Called on one thread at a time, and never waits."""

    @property
    def stream(self) -> str:
        """Name in metrics: ecg, glucose, imaging or decide."""

    def process(self, records: Sequence[Record], owners: Owners) -> Products:
        """Bad data never raises. Records that ``owners`` covers are passed over."""

    def tick(self, now_us: int) -> Products | None:
        """About once a second, and only while the log is read to its end."""

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
        self.inbox: Inbox[Delivery] = Inbox(max_bytes=_INBOX_BYTES, max_batch_bytes=_BATCH_BYTES)
        self._outbox = outbox
        self._thread = thread
        self._clock = clock
        self._witness = witness
        self._ledger = Ledger()
        self._owners = Owners(round(checkpoint_s * 1_000_000))
        self._limit = DeadLetterLimit(dead_letter_share)
        self.may_tick: Callable[[], bool] = lambda: True
        self._epoch = 0
        self._ticked_us = 0
        self._loaded = asyncio.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether state stands for the present assignment."""
        return self._loaded.is_set()

    def leave(self) -> int:
        """Partitions were taken or given: forget everything at once. The new epoch."""
        self._epoch += 1
        self._loaded.clear()
        self.inbox.clear()
        self._ledger.clear()
        return self._epoch

    async def enter(self, epoch: int, loaded: Loaded) -> None:
        """Take back the state of the present assignment; nothing is processed before."""
        await self._on_thread(self._take_back, epoch, loaded.newest)
        await self._outbox.send(loaded.outdated)
        if epoch == self._epoch:
            self._loaded.set()

    async def run(self) -> None:
        """Batch after batch."""
        while True:
            await self._loaded.wait()
            await self._one_batch()

    async def _one_batch(self) -> None:
        epoch = self._epoch
        deliveries = await self.inbox.take(_IDLE_S)
        if epoch != self._epoch or not self._loaded.is_set():
            return
        entries = [self._entry(delivery) for delivery in deliveries]
        for entry in entries:
            self._ledger.enter(entry)
        if entries:
            products = await self._process([delivery.record for delivery in deliveries])
            if epoch != self._epoch:
                return
            self._owners_reach(deliveries, products)
            await self._publish(products)
            if epoch != self._epoch:
                return
            self._ledger.processed(entries, products.owners)
        await self._tick(epoch)
        await self._save(epoch)
        if epoch == self._epoch:
            released = self._ledger.release()
            self._witness.progressed(self.half, released, len(self._ledger), self._owners.oldest_change_us())

    async def _process(self, records: list[Record]) -> Products:
        began_us = self._clock.now_us()
        products = await self._on_thread(self.half.process, records, self._owners)
        self._witness.stage(f"{self.half.stream}.process", (self._clock.now_us() - began_us) / 1e6)
        return products

    def _owners_reach(self, deliveries: Sequence[Delivery], products: Products) -> None:
        now_us = self._clock.now_us()
        for delivery, owner in zip(deliveries, products.owners, strict=True):
            record = delivery.record
            if owner is not None and not self._owners.covers(owner, record.topic, record.offset):
                self._owners.changed(owner, record.topic, record.partition, record.offset, now_us)

    async def _tick(self, epoch: int) -> None:
        now_us = self._clock.now_us()
        if epoch != self._epoch or now_us - self._ticked_us < _TICK_US or not self.may_tick():
            return
        self._ticked_us = now_us
        products = await self._on_thread(self.half.tick, now_us)
        if products is not None and epoch == self._epoch:
            await self._publish(products)

    async def _publish(self, products: Products) -> None:
        began_us = self._clock.now_us()
        await self._outbox.send(products.messages)
        now_us = self._clock.now_us()
        self._witness.stage(f"{self.half.stream}.publish", (now_us - began_us) / 1e6)
        self._witness.published(self.half.stream, products, now_us // 1000)
        dead = sum(n for reason, n in products.refused.items() if reason.fate is Fate.DEAD_LETTER)
        self._limit.count(products.scored + products.refused.total(), dead)

    async def _save(self, epoch: int) -> None:
        due = self._owners.due(self._clock.now_us())
        if not due:
            return
        states = await self._on_thread(lambda: [self.half.snapshot(owner) for owner in due])
        if epoch != self._epoch:
            return
        saved = [self._owners.checkpoint(owner, state) for owner, state in zip(due, states, strict=True)]
        await self._outbox.send([record for _, record in saved])
        if epoch == self._epoch:
            for checkpoint, _ in saved:
                self._ledger.saved(checkpoint.owner, checkpoint.offsets)

    def _take_back(self, epoch: int, checkpoints: list[Checkpoint]) -> None:
        if epoch != self._epoch:
            return
        self.half.forget()
        self._owners.clear(incarnation(self._clock.now_us()))
        for checkpoint in checkpoints:
            try:
                self.half.restore(checkpoint)
            except ValueError as error:
                # A build that reads no older state must not stop a ward for good: it begins anew, and says so.
                _log.error("%s: a checkpoint cannot be read back, its owner begins anew: %s", self.half.stream, error)
            self._owners.restored(checkpoint)
            self._ledger.saved(checkpoint.owner, checkpoint.offsets)

    def _entry(self, delivery: Delivery) -> Entry:
        record = delivery.record
        return Entry(record.topic, record.partition, record.offset, delivery.acknowledge)

    async def _on_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

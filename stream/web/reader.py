"""Threads that read topics for the board: groupless consumers, from a little before now, for ever or up to now.

A reader never commits and never waits for anybody: a board can be started and killed at will.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream.topics import MAX_MESSAGE_BYTES, Topic
from vitals import codec
from vitals.clock import Clock
from vitals.errors import Unusable

_log = logging.getLogger(__name__)

_POLL_MS: Final = 200
_FETCH_BYTES: Final = 256 * 1024
"""A fetch waits for so much or for the poll: in a large ward a poll takes many small records at once."""
_AGAIN_S: Final = 1.0

READING_BACK: Final = "reading-back"
LIVE: Final = "live"
WAITING: Final = "waiting"
TROUBLE: Final = "trouble"
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Taken:
    """One record as a reader hands it on. ``arrived_us``: the broker's time."""

    partition: int
    arrived_us: int
    content_type: str
    value: bytes


Take = Callable[[Taken], None]
"""Raises ``Unusable`` or ``ValueError`` for a record that cannot be used; that is counted and the next one is read."""

Report = Callable[[str, int], None]
"""State of the reader, and how many records it refused since it last said so."""


class Reader(threading.Thread):
    """Reads all partitions of ``topic`` from ``back_s`` ago, at most ``most`` records of each partition before now.

    With ``only_before_s`` it reads what is older than that and ends: the past is filled in while the present runs.
    """

    def __init__(
        self,
        kafka: str,
        topic: Topic,
        take: Take,
        report: Report,
        clock: Clock,
        *,
        back_s: float,
        most: int,
        only_before_s: float | None = None,
    ) -> None:
        super().__init__(name=f"board-{topic}", daemon=True)
        self._kafka = kafka
        self._topic = topic
        self._take = take
        self._report = report
        self._clock = clock
        self._back_s = back_s
        self._most = most
        self._only_before_s = only_before_s
        self._next: dict[int, int] = {}
        self._until: dict[int, int] = {}
        self._ending = threading.Event()

    def end(self) -> None:
        """Ask the thread to end; it does within a poll."""
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                with open_consumer(self._kafka) as consumer:
                    self._read(consumer)
            except (KafkaError, OSError) as error:
                self._report(TROUBLE, 0)
                _log.warning("%s: %s", self._topic, type(error).__name__)
            else:
                return
            self._ending.wait(_AGAIN_S)

    def _read(self, consumer: KafkaConsumer) -> None:
        partitions = self._partitions(consumer)
        if not self._next:
            self._find_start(consumer, partitions)
        consumer.assign(partitions)
        for tp in partitions:
            consumer.seek(tp, self._next[tp.partition])
        behind = {p for p, until in self._until.items() if self._next[p] < until}
        self._report(READING_BACK if behind else LIVE, 0)
        while not self._ending.is_set() and (behind or self._only_before_s is None):
            refused = 0
            for tp, records in consumer.poll(timeout_ms=_POLL_MS).items():
                for record in records:
                    if self._only_before_s is None or record.offset < self._until[tp.partition]:
                        refused += not _taken(self._take, record)
                self._next[tp.partition] = records[-1].offset + 1
            if refused:
                self._report(READING_BACK if behind else LIVE, refused)
            if behind:
                # the position, not the last record: what compaction removed has offsets too
                behind = {p for p in behind if consumer.position(TopicPartition(self._topic, p)) < self._until[p]}
                if not behind:
                    self._report(LIVE if self._only_before_s is None else DONE, 0)

    def _partitions(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        while not (numbers := consumer.partitions_for_topic(self._topic)):
            self._report(WAITING, 0)
            if self._ending.wait(_AGAIN_S):
                return []
        return [TopicPartition(str(self._topic), p) for p in sorted(numbers)]

    def _find_start(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        if self._only_before_s is not None:
            end = {tp: min(end[tp], at) for tp, at in self._at(consumer, partitions, self._only_before_s, end).items()}
        start = self._at(consumer, partitions, self._back_s, end)
        for tp in partitions:
            self._until[tp.partition] = end[tp]
            self._next[tp.partition] = min(max(start[tp], end[tp] - self._most, first[tp]), end[tp])

    def _at(
        self, consumer: KafkaConsumer, partitions: list[TopicPartition], back_s: float, end: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        return offsets_at(consumer, partitions, self._clock.now_us() // 1000 - round(1000 * back_s), end)


@contextmanager
def open_consumer(kafka: str) -> Iterator[KafkaConsumer]:
    """A consumer without a group. Raises ``KafkaError`` when no broker answers."""
    consumer = KafkaConsumer(
        bootstrap_servers=kafka.split(","),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="latest",
        fetch_max_wait_ms=_POLL_MS,
        fetch_min_bytes=_FETCH_BYTES,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=5000,
    )
    with closing(consumer):
        yield consumer


def offsets_at(
    consumer: KafkaConsumer, partitions: list[TopicPartition], time_ms: int, end: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Offset of the first record that is not older than ``time_ms``, else of ``end``."""
    found = consumer.offsets_for_times(dict.fromkeys(partitions, max(0, time_ms)))
    return {tp: end[tp] if found.get(tp) is None else found[tp].offset for tp in partitions}


def taken(record: object) -> Taken:
    """What a reader hands on of a kafka-python record."""
    return Taken(
        partition=record.partition,  # type: ignore[attr-defined]
        arrived_us=record.timestamp * 1000,  # type: ignore[attr-defined]
        content_type=codec.content_type(getattr(record, "headers", None) or ()),
        value=record.value or b"",  # type: ignore[attr-defined]
    )


def _taken(take: Take, record: object) -> bool:
    try:
        take(taken(record))
    except (Unusable, ValueError, IndexError, KeyError, OverflowError):
        return False
    return True

"""The reader of ``ecg.v1``: only while somebody looks, and only the partitions that hold beds on view.

ECG is by far the most of the ward's bytes (1.4 kB a patient and second). Which partition a bed is on is not written
anywhere: a bed that is new on view is searched for on all partitions for a few seconds, and again now and then while
it stays silent.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream.topics import Topic
from stream.web.reader import LIVE, TROUBLE, WAITING, Report, offsets_at, open_consumer, taken
from stream.web.traces import KEPT_S, Traces
from vitals.clock import Clock

_log = logging.getLogger(__name__)

_POLL_MS: Final = 100
_IDLE_S: Final = 0.1
_AGAIN_S: Final = 1.0
_SEARCH_S: Final = 8.0
_SEARCH_AGAIN_S: Final = 30.0


class PartitionPlan:
    """Which partitions to read for the beds on view."""

    def __init__(self, partitions: set[int]) -> None:
        self._all = frozenset(partitions)
        self._sought_at_s: dict[str, float] = {}

    def wanted(self, on_view: dict[str, int | None], now_s: float) -> frozenset[int]:
        """``on_view``: the partition of each bed, None when it is not known. ``now_s``: any clock that only grows."""
        for bed in [bed for bed in self._sought_at_s if on_view.get(bed, 0) is not None]:
            del self._sought_at_s[bed]  # found, or off view
        lost = [bed for bed, partition in on_view.items() if partition is None]
        if any(self._is_sought(bed, now_s) for bed in lost):
            return self._all
        return frozenset(partition for partition in on_view.values() if partition is not None) & self._all

    def _is_sought(self, bed: str, now_s: float) -> bool:
        since_s = self._sought_at_s.setdefault(bed, now_s)
        return (now_s - since_s) % _SEARCH_AGAIN_S < _SEARCH_S


class TraceReader(threading.Thread):
    """Fills ``traces``."""

    def __init__(self, kafka: str, traces: Traces, report: Report, clock: Clock) -> None:
        super().__init__(name="board-traces", daemon=True)
        self._kafka = kafka
        self._traces = traces
        self._report = report
        self._clock = clock
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
                _log.warning("%s: %s", Topic.ECG, type(error).__name__)
            self._ending.wait(_AGAIN_S)

    def _read(self, consumer: KafkaConsumer) -> None:
        numbers = consumer.partitions_for_topic(Topic.ECG)
        if not numbers:
            self._report(WAITING, 0)
            return
        plan = PartitionPlan(numbers)
        reading: frozenset[int] = frozenset()
        self._report(LIVE, 0)
        while not self._ending.is_set():
            wanted = plan.wanted(self._traces.on_view(), time.monotonic())
            if wanted != reading:
                self._turn_to(consumer, wanted, reading)
                reading = wanted
            if not reading:
                self._ending.wait(_IDLE_S)
                continue
            refused = 0
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    one = taken(record)
                    try:
                        self._traces.take(one.value, one.content_type, one.partition, one.arrived_us)
                    except (ValueError, OverflowError):
                        refused += 1
            if refused:
                self._report(LIVE, refused)

    def _turn_to(self, consumer: KafkaConsumer, wanted: frozenset[int], reading: frozenset[int]) -> None:
        for partition in reading - wanted:
            self._traces.leave(partition)
        consumer.assign([TopicPartition(str(Topic.ECG), p) for p in sorted(wanted)])
        fresh = [TopicPartition(str(Topic.ECG), p) for p in sorted(wanted - reading)]
        if not fresh:
            return
        end = consumer.end_offsets(fresh)
        since_ms = self._clock.now_us() // 1000 - round(1000 * KEPT_S)
        for tp, offset in offsets_at(consumer, fresh, since_ms, end).items():
            consumer.seek(tp, offset)

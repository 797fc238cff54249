"""Topics read back with a plain client: where each partition ends now, and what came after."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Final, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from stream.topics import MAX_MESSAGE_BYTES, PARTITIONS, Topic
from stream.web.reader import offsets_at
from vitals import codec
from vitals.clock import SystemClock
from vitals.errors import Fault, Unusable
from vitals.events import Wire
from vitals.units import US_PER_MS

Marks = dict[TopicPartition, int]
W = TypeVar("W", bound=Wire)

_DEADLINE_S: Final = 60.0
_POLL_MS: Final = 200
_SPANS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def marks(bootstrap: str, topics: Iterable[Topic]) -> Marks:
    """The end of every partition of ``topics``: the offset of the next record."""
    with closing(_consumer(bootstrap)) as consumer:
        ends: Marks = consumer.end_offsets([TopicPartition(t.value, p) for t in topics for p in range(PARTITIONS)])
        return ends


def marks_at(bootstrap: str, topic: Topic, written_ms: int) -> Marks:
    """The first record of every partition of ``topic`` written at ``written_ms`` or later; the end where none was."""
    with closing(_consumer(bootstrap)) as consumer:
        partitions = [TopicPartition(topic.value, p) for p in range(PARTITIONS)]
        ends = consumer.end_offsets(partitions)
        return offsets_at(consumer, partitions, written_ms, ends)


def places_at(bootstrap: str, topic: Topic, written_ms: int) -> list[tuple[int, int]]:
    """Partition and offset of the first record in each that was written at ``written_ms`` to the millisecond."""
    with closing(_consumer(bootstrap)) as consumer:
        asked = {TopicPartition(topic.value, p): written_ms for p in range(PARTITIONS)}
        found = consumer.offsets_for_times(asked)
        return [(tp.partition, at.offset) for tp, at in found.items() if at is not None and at.timestamp == written_ms]


def span(text: str) -> timedelta:
    """``30m``, ``12h`` or ``7d``; for ``argparse``."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError("30m, 12h or 7d")
    return timedelta(**{_SPANS[found[2]]: int(found[1])})


def ago_ms(back: timedelta) -> int:
    """The broker's clock so long ago, if it goes as ours does."""
    return SystemClock().now_us() // US_PER_MS - round(back.total_seconds() * 1000)


def records_since(bootstrap: str, topic: Topic, since: Marks) -> Iterator[ConsumerRecord]:
    """What ``topic`` holds between ``since`` and its end now; each partition in its order.

    Raises ``Fault`` when nothing of it comes for a minute.
    """
    with closing(_consumer(bootstrap)) as consumer:
        partitions = [TopicPartition(topic.value, p) for p in range(PARTITIONS)]
        consumer.assign(partitions)
        ends, begins = consumer.end_offsets(partitions), consumer.beginning_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(since.get(partition, 0), begins[partition]))
        give_up = time.monotonic() + _DEADLINE_S
        while any(consumer.position(p) < ends[p] for p in partitions):
            if time.monotonic() > give_up:
                raise Fault(f"{topic.value} could not be read to its end")
            for batch in consumer.poll(timeout_ms=_POLL_MS).values():
                yield from batch
                give_up = time.monotonic() + _DEADLINE_S


def said_since(bootstrap: str, topic: Topic, kind: type[W], since_ms: int) -> Iterator[W]:
    """What can be read of ``topic`` since ``since_ms`` (the broker's clock); each partition in its order.

    Raises ``Fault`` as ``records_since``.
    """
    for record in records_since(bootstrap, topic, marks_at(bootstrap, topic, since_ms)):
        with suppress(Unusable):
            yield codec.decode(kind, record.value or b"")


def _consumer(bootstrap: str) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=2 * MAX_MESSAGE_BYTES,
        client_id="wardwatch-readback",
    )

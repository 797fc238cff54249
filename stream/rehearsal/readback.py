"""Topics read back with a plain client: where each partition ends now, and what came after."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Final

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from stream.topics import MAX_MESSAGE_BYTES, PARTITIONS, Topic
from vitals.errors import Fault

Marks = dict[TopicPartition, int]

_DEADLINE_S: Final = 60.0
_POLL_MS: Final = 200


def marks(bootstrap: str, topics: Iterable[Topic]) -> Marks:
    """The end of every partition of ``topics``: the offset of the next record."""
    with closing(_consumer(bootstrap)) as consumer:
        ends: Marks = consumer.end_offsets([TopicPartition(t.value, p) for t in topics for p in range(PARTITIONS)])
        return ends


def records_since(bootstrap: str, topic: Topic, since: Marks) -> Iterator[ConsumerRecord]:
    """What ``topic`` holds between ``since`` and its end now; each partition in its order.

    Raises ``Fault`` when nothing of it comes for a minute.
    """
    with closing(_consumer(bootstrap)) as consumer:
        partitions = [TopicPartition(topic.value, p) for p in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, since.get(partition, 0))
        give_up = time.monotonic() + _DEADLINE_S
        while any(consumer.position(p) < ends[p] for p in partitions):
            if time.monotonic() > give_up:
                raise Fault(f"{topic.value} could not be read to its end")
            for batch in consumer.poll(timeout_ms=_POLL_MS).values():
                yield from batch
                give_up = time.monotonic() + _DEADLINE_S


def _consumer(bootstrap: str) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=2 * MAX_MESSAGE_BYTES,
        client_id="wardwatch-readback",
    )

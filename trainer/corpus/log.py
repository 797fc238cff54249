"""Records of one topic, from the oldest (or from a time on) to the newest one of the moment the reading began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Final, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from vitals.codec import content_type, decode
from vitals.errors import Fault, Unusable
from vitals.events import Wire
from vitals.units import US_PER_MS

UNREADABLE: Final = "unreadable record"

_POLL_MS: Final = 1000
_ANSWERS_MS: Final = 5000
_SILENCE_POLLS: Final = 30
"""Half a minute without a record before the end of the log: the broker is gone."""

W = TypeVar("W", bound=Wire)


def records(
    bootstrap: str, topic: str, kind: type[W], left_out: Counter[str], *, since_us: int | None = None
) -> Iterator[W]:
    """Every record that is a ``kind``; others are counted in ``left_out``. Raises ``Fault`` when the broker fails.

    ``since_us``: only what the broker took at that time (its clock) or later.
    """
    try:
        with closing(
            KafkaConsumer(bootstrap_servers=bootstrap, bootstrap_timeout_ms=_ANSWERS_MS, enable_auto_commit=False)
        ) as consumer:
            partitions = _partitions(consumer, topic)
            consumer.assign(partitions)
            end = consumer.end_offsets(partitions)
            _seek(consumer, partitions, end, since_us)
            silent = 0
            while any(consumer.position(p) < end[p] for p in partitions):
                polled = consumer.poll(timeout_ms=_POLL_MS)
                silent = 0 if polled else silent + 1
                if silent > _SILENCE_POLLS:
                    raise Fault(f"{topic} went silent before its end")
                for partition, batch in polled.items():
                    for record in batch:
                        if record.offset >= end[partition]:
                            break
                        if record.value is None:
                            continue
                        try:
                            yield decode(kind, record.value, content_type(record.headers))
                        except Unusable:
                            left_out[UNREADABLE] += 1
    except KafkaError as error:
        raise Fault(f"{topic} cannot be read: {type(error).__name__}") from None


def _seek(
    consumer: KafkaConsumer, partitions: list[TopicPartition], end: dict[TopicPartition, int], since_us: int | None
) -> None:
    if since_us is None:
        consumer.seek_to_beginning(*partitions)
        return
    found = consumer.offsets_for_times(dict.fromkeys(partitions, since_us // US_PER_MS))
    for partition in partitions:
        first = found.get(partition)
        consumer.seek(partition, end[partition] if first is None else first.offset)


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise Fault(f"the broker has no topic {topic}")
    return [TopicPartition(topic, number) for number in sorted(numbers)]

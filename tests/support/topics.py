"""Topics seen from outside: emptied before a test, read to their end after it."""

from __future__ import annotations

import time
from contextlib import closing, suppress

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import UnknownTopicOrPartitionError

_DEADLINE_S = 30.0


def delete_all_topics(bootstrap: str) -> None:
    """Deletes every topic that is not Kafka's own, and waits until none is left."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        end = time.monotonic() + _DEADLINE_S
        while ours := [name for name in admin.list_topics() if not name.startswith("__")]:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(ours)} topics are still there")
            with suppress(UnknownTopicOrPartitionError):
                admin.delete_topics(ours)


def read_all(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Every record that the topic holds now, partition after partition, in the order of offsets."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)) as consumer:
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        records: list[ConsumerRecord] = []
        end = time.monotonic() + _DEADLINE_S
        while any(consumer.position(p) < ends[p] for p in partitions):
            if time.monotonic() > end:
                raise TimeoutError(f"{topic} was not read to its end")
            for batch in consumer.poll(timeout_ms=200).values():
                records.extend(batch)
        return sorted(records, key=lambda r: (r.partition, r.offset))

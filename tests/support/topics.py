"""Topics seen from outside: emptied before a test, written to, read to their end after it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing, suppress
from zlib import crc32

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import UnknownTopicOrPartitionError

from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.events import Wire

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


def partition_of(patient: str) -> int:
    """Where everything that is decided of a patient lies."""
    return crc32(patient.encode()) % PARTITIONS


def write_of(bootstrap: str, topic: Topic, patient: str, said: Iterable[Wire]) -> None:
    """What there is to say of a patient, in its order, where the decide half looks for it."""
    with closing(KafkaProducer(bootstrap_servers=bootstrap, acks="all")) as producer:
        for one in said:
            producer.send(topic.value, codec.encode(one), key=patient.encode(), partition=partition_of(patient))
        producer.flush()

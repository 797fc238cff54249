"""Checkpoints come back from a real topic; one that cannot be read stops nobody."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing

import msgspec
import pytest
from aiokafka import TopicPartition
from kafka import KafkaProducer

from stream.agents import recovery
from stream.topics import Topic
from vitals import codec
from vitals.events import Checkpoint

pytestmark = pytest.mark.broker

ECG = Topic.ECG.value


def saved(owner: str, offset: int) -> Checkpoint:
    return Checkpoint(owner=owner, partition=3, offsets={ECG: offset}, state=b"state")


def logged(kafka: str, records: int) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka, acks="all")) as producer:
        for _ in range(records):
            producer.send(ECG, b"record", partition=3)
        producer.flush()


def test_a_checkpoint_that_cannot_be_read_is_passed_over_said_and_counted(
    kafka_topics: str, caplog: pytest.LogCaptureFixture
) -> None:
    logged(kafka_topics, 8)
    good = codec.encode(saved("ecg/3/good", 7))
    newer = codec.encode(msgspec.structs.replace(saved("ecg/3/newer", 9), v=2))
    kept = {
        b"ecg/3/good/a": good,
        b"ecg/3/newer/a": newer,
        b"glucose/3/a": good[:-3],
        b"": b"\xc1",
        b"ecg/3/mended/a": b"noise, then state again",
    }
    with closing(KafkaProducer(bootstrap_servers=kafka_topics, acks="all")) as producer:
        for key, value in kept.items():
            producer.send(Topic.CHECKPOINTS.value, value, key=key, partition=3)
        mended = codec.encode(saved("ecg/3/mended", 1))
        producer.send(Topic.CHECKPOINTS.value, mended, key=b"ecg/3/mended/a", partition=3)
        producer.flush()
    with caplog.at_level(logging.ERROR):
        recovered = asyncio.run(recovery.load(kafka_topics, [TopicPartition(ECG, 3)]))
    assert sorted(c.owner for c in recovered.loaded.newest) == ["ecg/3/good", "ecg/3/mended"]
    assert recovered.loaded.outdated == []
    assert recovered.unreadable == 3
    assert recovered.beginnings == {TopicPartition(ECG, 3): 0}
    assert "version 2" in caplog.text
    assert "newer" not in caplog.text


def test_a_checkpoint_of_a_place_that_the_log_does_not_have_is_passed_over(kafka_topics: str) -> None:
    """As after a topic was made anew: its first thousand records must not be taken for known."""
    logged(kafka_topics, 3)
    with closing(KafkaProducer(bootstrap_servers=kafka_topics, acks="all")) as producer:
        for owner, offset in (("ecg/3/g", 2), ("ecg/3/h", 3), ("ecg/3/i", 2**60)):
            value = codec.encode(saved(owner, offset))
            producer.send(Topic.CHECKPOINTS.value, value, key=f"{owner}/a".encode(), partition=3)
        elsewhere = codec.encode(
            Checkpoint(owner="decide/3", partition=3, offsets={Topic.FINDINGS.value: 9}, state=b"")
        )
        producer.send(Topic.CHECKPOINTS.value, elsewhere, key=b"decide/3/a", partition=3)
        producer.flush()
    recovered = asyncio.run(recovery.load(kafka_topics, [TopicPartition(ECG, 3)]))
    assert sorted(c.owner for c in recovered.loaded.newest) == ["decide/3", "ecg/3/g"]
    assert recovered.unreadable == 2


def test_nothing_assigned_is_nothing_loaded() -> None:
    assert asyncio.run(recovery.load("nowhere:1", [])) == recovery.Recovered()

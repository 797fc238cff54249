"""The program that freezes strips, on a real broker: what was sent is in the strip, also after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from msgspec import structs

from stream.topics import PARTITIONS, Topic
from tests.support.alarms import PATIENT, publish, steps
from tests.support.ecglog import START_US, Monitor, bundle
from tests.support.topics import read_all
from tests.support.workers import StripsProcess
from vitals import codec
from vitals.alerts import AlertEvent
from vitals.clock import SystemClock
from vitals.errors import Unusable
from vitals.strips import Chunk, Strip
from vitals.units import US_PER_S

pytestmark = pytest.mark.broker


class Ward:
    """A patient whose last 40 s were sent, and whose alarms are told for moments in them."""

    def __init__(self, kafka: str) -> None:
        self.kafka = kafka
        self.monitor = Monitor(360.0, ("MLII", "V1", "V5"), 4.88, gateway="ward-a", partition=2)
        self.begins_us = SystemClock().now_us() - 40 * US_PER_S
        self.send(self.monitor.seconds(0, 40))

    def send(self, chunks: Sequence[Chunk]) -> None:
        with closing(KafkaProducer(bootstrap_servers=self.kafka, linger_ms=0)) as producer:
            for chunk in chunks:
                at = replace(chunk, start_us=chunk.start_us - START_US + self.begins_us)
                producer.send(Topic.ECG.value, bundle(PATIENT, at), partition=chunk.partition)

    def raise_alarm(self, second: int) -> str:
        """Decided by the last record of the ECG, which came just now, whatever the time in it."""
        (raised,) = steps(AlertEvent.RAISED, onset_us=self.begins_us + second * US_PER_S)
        publish(self.kafka, [structs.replace(raised, input_ms=self.begins_us // 1000 + 40_000)])
        return raised.alert_id

    def sent(self, from_s: float, to_s: float) -> np.ndarray:
        return self.monitor.samples(from_s, to_s)

    def strips(self, program: StripsProcess, count: int) -> list[ConsumerRecord]:
        """The records of ``strips.v1`` once there are so many."""
        program.wait_until(lambda: len(read_all(self.kafka, Topic.STRIPS)) >= count, f"{count} strips", 40)
        return read_all(self.kafka, Topic.STRIPS)


def empty(kafka: str, topic: Topic) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        ends = {record.partition: record.offset + 1 for record in read_all(kafka, topic)}
        admin.delete_records({TopicPartition(topic.value, partition): end for partition, end in ends.items()})


def test_a_strip_holds_the_samples_that_were_sent_and_is_the_same_after_a_kill(
    kafka_topics: str, tmp_path: Path
) -> None:
    ward = Ward(kafka_topics)
    program = StripsProcess(kafka_topics, tmp_path)
    with program:
        first_id = ward.raise_alarm(20)
        (record,) = ward.strips(program, 1)
        strip = codec.decode(Strip, record.value)
        assert (record.key, record.partition) == (PATIENT.encode(), crc32(PATIENT.encode()) % PARTITIONS)
        assert (strip.alert_id, strip.patient, strip.missing) == (first_id, PATIENT, [])
        (stretch,) = strip.stretches
        assert stretch.samples == ward.sent(10, 25).astype("<i2").tobytes()
        assert (stretch.start_us, stretch.rate_hz, stretch.gain_uv) == (strip.from_us, 360.0, 4.88)
        assert stretch.leads == ["MLII", "V1", "V5"]
        program.kill()
        second_id = ward.raise_alarm(30)
        program.start()
        both = ward.strips(program, 2)
        assert [codec.decode(Strip, one.value).alert_id for one in both] == [first_id, second_id], "none is doubled"
        program.kill()
        empty(kafka_topics, Topic.STRIPS)
        program.start()
        again = ward.strips(program, 2)
        assert sorted(one.value for one in again) == sorted(one.value for one in both), "the same bytes"
        assert program.total("wardwatch_strips_total", "whole") == 2


def test_alarms_of_other_streams_and_bytes_that_mean_nothing_leave_no_strip_and_harm_none(
    kafka_topics: str, tmp_path: Path
) -> None:
    ward = Ward(kafka_topics)
    with StripsProcess(kafka_topics, tmp_path) as program:
        with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
            for topic in (Topic.ECG, Topic.ALERTS, Topic.STRIPS):
                for value in (b"", b"\xc1", b"{}", b"\xff" * 1000, None):
                    producer.send(topic.value, value, key=b"k", partition=2)
        silent = steps(AlertEvent.RAISED, patient="nobody sends this one", onset_us=ward.begins_us + 20 * US_PER_S)
        publish(kafka_topics, silent)
        named = ward.raise_alarm(20)

        def made() -> dict[str, Strip]:
            found: dict[str, Strip] = {}
            for record in read_all(kafka_topics, Topic.STRIPS):
                with suppress(Unusable):
                    strip = codec.decode(Strip, record.value or b"")
                    found[strip.alert_id] = strip
            return found

        program.wait_until(lambda: len(made()) == 2, "both strips", 40)
        assert made()[named].missing == []
        assert made()[silent[0].alert_id].missing == ["no-ecg"]
        said = program.get("/metrics")[1]
        assert PATIENT not in said + program.log_tail()
        assert program.get("/health/live")[0] == 200


def test_a_broker_that_is_not_there_is_waited_for_and_the_end_is_clean(tmp_path: Path) -> None:
    program = StripsProcess("127.0.0.1:9", tmp_path)
    program.begin()
    program.wait_until(
        lambda: program.log_tail().count("Unable to bootstrap") > 1, "it has said why, and tried again", 40
    )
    assert program.get("/health/live")[0] == 200
    assert program.get("/health/ready")[0] == 503
    assert program.stop() == 0

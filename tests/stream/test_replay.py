"""Recordings into a real Kafka: everything confirmed, in order per key, on the partition of its key."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import wfdb
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from stream import replay
from stream.broker import JavaNode
from stream.gateways.schedule import Due, Pace
from stream.gateways.sending import Sender, play
from stream.replay import schedules
from stream.topics import PARTITIONS, Topic
from tests.support.topics import delete_all_topics, read_all
from vitals import codec
from vitals.errors import Fault
from vitals.events import EcgBundle, GlucoseReading

START_US = 1_800_000_000_000_000


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder with two records of three seconds, a table of two people, an image set, and files of no interest."""
    for name, seed in (("r1", 1), ("r2", 2)):
        digital = np.random.default_rng(seed).integers(-200, 200, (1080, 2))
        wfdb.wrsamp(
            name, fs=360, units=["mV"] * 2, sig_name=["I", "II"], d_signal=digital, fmt=["16"] * 2,
            adc_gain=[200.0] * 2, baseline=[0] * 2, write_dir=str(tmp_path),
        )  # fmt: skip
    (tmp_path / "people.csv").write_text("id,time,gl\na,2020-01-01 00:00:00,100\nb,2020-01-01 00:05:00,110\n")
    (tmp_path / "annotations.csv").write_text("sample,code\n5,1\n")
    (tmp_path / "notes.txt").write_text("nothing")
    np.savez(tmp_path / "breastmnist.npz", val_images=np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28))
    return tmp_path


def _sent(paths: list[Path], **kwargs: int) -> list[Due]:
    return [due for one in schedules(paths, Pace(START_US, float("inf")), **kwargs) for due in one]


def test_a_folder_gives_all_its_recordings_and_ignores_what_is_none(recordings: Path) -> None:
    sent = _sent([recordings])
    assert sum(due.events for due in sent if due.topic is Topic.ECG) == 6
    assert {d.key for d in sent if d.topic is Topic.GLUCOSE} == {b"people/a", b"people/b"}
    assert sum(due.events for due in sent if due.topic is Topic.IMAGING) == 2


def test_more_patients_than_recordings_share_them_and_do_not_look_alike(recordings: Path) -> None:
    bundles = [codec.decode(EcgBundle, d.value) for d in _sent([recordings / "r1"], patients=20)]
    assert len({patient for b in bundles for patient in b.patients}) == 20
    assert len({b.gateway for b in bundles}) == 3
    (first,) = [b for b in bundles if b.sequence == 0 and b.gateway == "replay-0"]
    size = 2 * 2 * first.n_samples[0]
    assert first.samples[:size] != first.samples[size : 2 * size]


def test_nothing_to_send_is_said(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no recordings"):
        schedules([tmp_path], Pace(START_US))


def test_stopping_ends_a_replay_at_once_and_nothing_more_is_sent() -> None:
    stop = threading.Event()
    sent: list[Due] = []

    def send(due: Due) -> None:
        sent.append(due)
        stop.set()

    def endless() -> Iterator[Due]:
        while True:
            yield Due(0.0, Topic.ECG, b"k", b"v", 1)

    play(endless(), send, stop)
    assert len(sent) == 1
    begin = time.monotonic()
    play(iter([Due(3600.0, Topic.ECG, b"k", b"v", 1)]), sent.append, stop)
    assert len(sent) == 1
    assert time.monotonic() - begin < 60


def test_messages_are_sent_when_they_are_due_and_not_before() -> None:
    at: list[float] = []
    begin = time.monotonic()
    dues = [Due(s, Topic.ECG, b"k", b"v", 1) for s in (0.0, 0.05, 0.2)]
    play(iter(dues), lambda _: at.append(time.monotonic() - begin), threading.Event())
    assert all(when >= due.at_s for when, due in zip(at, dues, strict=True))


@pytest.mark.broker
def test_everything_sent_is_there_in_order_on_the_partition_of_its_key(kafka_topics: str) -> None:
    with closing(Sender(kafka_topics)) as sender:
        for i in range(300):
            sender.send(Due(0.0, Topic.GLUCOSE, f"p{i % 7}".encode(), str(i).encode(), 1))
    assert sender.events == {Topic.GLUCOSE: 300}
    there = read_all(kafka_topics, Topic.GLUCOSE)
    assert sorted(int(r.value) for r in there) == list(range(300))
    for key in {r.key for r in there}:
        mine = [r for r in there if r.key == key]
        assert {r.partition for r in mine} == {crc32(key) % PARTITIONS}
        assert [int(r.value) for r in mine] == sorted(int(r.value) for r in mine)


@pytest.mark.broker
def test_a_message_that_the_broker_refuses_is_not_called_sent(broker: JavaNode) -> None:
    delete_all_topics(broker.bootstrap)
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        small = NewTopic(Topic.ECG.value, PARTITIONS, -1, topic_configs={"max.message.bytes": "1000"})
        admin.create_topics([small], wait_for_metadata=True)
    sender = Sender(broker.bootstrap)
    sender.send(Due(0.0, Topic.ECG, b"k", bytes(2000), 1))
    with pytest.raises(Fault, match="refused 1 messages"):
        sender.close()


@pytest.mark.broker
def test_the_command_sends_a_folder_and_says_what_was_confirmed(
    kafka_topics: str, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.main([str(recordings), "--kafka", kafka_topics, "--speed", "inf", "--began-ago", "60"]) == 0
    assert "sent and confirmed: 6 ecg.v1, 2 glucose.v1, 2 imaging.v1" in capsys.readouterr().err
    readings = [codec.decode(GlucoseReading, r.value) for r in read_all(kafka_topics, Topic.GLUCOSE)]
    assert {r.patient for r in readings} == {"people/a", "people/b"}
    assert all(abs(time.time() - 60 - r.time_us / 1e6) < 60 for r in readings)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.hea").write_text("broken 2 360\n")
    assert replay.main([str(tmp_path), "--kafka", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1

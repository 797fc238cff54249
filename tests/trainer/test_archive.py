"""The archive of a real broker: what was written comes back, what is broken is counted, a release is announced."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from models.registry import Registry
from tests.support.topics import read_all
from tests.trainer.synthetic import breast_set
from trainer.config import LABELS_TOPIC, WINDOWS_TOPIC, Places, recipe
from trainer.corpus.archive import archive, record_count
from trainer.cycle import cycle
from trainer.examples import SPEC
from vitals.clock import ManualClock
from vitals.codec import decode, encode
from vitals.errors import Fault
from vitals.events import RELEASES_TOPIC, Label, ModelRelease, Tensor, WindowArchive
from vitals.findings import Task

NOW_US = 1_800_000_000_000_000


def windows(patients: list[str], end_us: list[int], images: np.ndarray, task: Task = Task.BREAST) -> WindowArchive:
    tensor = Tensor("float32", list(images.shape), images.astype("<f4").tobytes())
    return WindowArchive(
        task=task, spec=SPEC[task], model="m", patients=patients, end_us=end_us, inputs={"image": tensor}, outputs={}
    )


def label(patient: str, end_us: int, value: str, when_us: int = 1) -> Label:
    return Label(patient=patient, task=Task.BREAST, end_us=end_us, value=value, who="reader", when_us=when_us)


def send(bootstrap: str, topic: str, *values: bytes, key: bytes | None = None) -> None:
    with closing(KafkaProducer(bootstrap_servers=bootstrap, acks="all")) as producer:
        for value in values:
            producer.send(topic, key=key, value=value)
        producer.flush()


@pytest.mark.broker
def test_windows_and_labels_come_back_joined(kafka_topics: str) -> None:
    images = np.random.default_rng(0).random((3, 1, 28, 28)).astype(np.float32)
    torn = msgspec.structs.replace(
        windows(["c"], [3], images[:1]), inputs={"image": Tensor("float32", [9, 9], b"1234")}
    )
    one = encode(windows(["a", "b"], [1, 2], images[:2]))
    other_task = encode(windows(["a"], [1], images[:1], task=Task.PNEUMONIA))
    send(kafka_topics, WINDOWS_TOPIC, one, one, b"\xff rubbish", encode(torn), other_task)
    send(
        kafka_topics, LABELS_TOPIC, encode(label("a", 1, "benign", 5)), encode(label("a", 1, "malignant", 9)), key=b"a"
    )
    read = archive(kafka_topics, Task.BREAST, WINDOWS_TOPIC, LABELS_TOPIC)
    assert sorted((w.patient, w.end_us) for w in read.windows) == [("a", 1), ("b", 2)]
    by_patient = {w.patient: w for w in read.windows}
    np.testing.assert_array_equal(by_patient["b"].inputs["image"], images[1])
    assert read.label == {("a", 1): "malignant"}
    assert read.unreadable == 2
    assert record_count(kafka_topics, LABELS_TOPIC) == 2


def test_a_broker_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(Fault, match="cannot be read"):
        archive("127.0.0.1:9", Task.BREAST, WINDOWS_TOPIC, LABELS_TOPIC)


@pytest.mark.broker
@pytest.mark.torch
@pytest.mark.usefixtures("one_thread")
def test_a_ward_without_public_sets_trains_on_its_archive_and_announces(kafka_topics: str, tmp_path: Path) -> None:
    breast_set(tmp_path / "made", train=150, validation=60)
    with np.load(tmp_path / "made" / "medmnist" / "breastmnist.npz") as file:
        pixels = np.concatenate([file["train_images"], file["val_images"]]).astype(np.float32)[:, None] / 255
        truth = np.concatenate([file["train_labels"], file["val_labels"]]).ravel()
    patients, end_us = [f"Jane Doe {i}" for i in range(len(pixels))], list(range(1, len(pixels) + 1))
    send(kafka_topics, WINDOWS_TOPIC, encode(windows(patients, end_us, pixels)))
    words = ("malignant", "benign")
    labels = [label(p, e, words[k]) for p, e, k in zip(patients, end_us, truth.tolist(), strict=True)]
    send(kafka_topics, LABELS_TOPIC, *(encode(one) for one in labels))

    at = Places(
        data=tmp_path / "nothing", state=tmp_path / "state", registry=tmp_path / "registry", bundles=tmp_path / "none"
    )
    split = msgspec.structs.replace(recipe(Task.BREAST).split, held_out_share=0.35)
    short = msgspec.structs.replace(
        recipe(Task.BREAST), split=split, epochs=5, draws_per_epoch=0, bootstrap=20, learning_rate=4e-3
    )
    run = cycle(short, at, ManualClock(NOW_US), kafka=kafka_topics)

    assert [verdict for verdict in run.verdicts if not verdict.passed] == []
    assert sum(people for people, _ in run.sides.values()) == len(patients)
    (record,) = read_all(kafka_topics, RELEASES_TOPIC)
    release = decode(ModelRelease, record.value)
    current = Registry(at.registry).current(Task.BREAST)
    assert current is not None
    assert (release.task, release.bundle, release.action, release.when_us) == (
        "breast",
        current.hash,
        "promote",
        NOW_US,
    )
    assert record.key == b"breast"
    assert b"Jane" not in current.read("card.md")

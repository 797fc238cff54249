"""The archive of a real broker: what was written comes back, what is broken is counted, a release is announced."""

from __future__ import annotations

import time
from collections import Counter
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
from trainer.corpus.archive import Archive, ArchivedWindow, archive, join
from trainer.corpus.log import records
from trainer.cycle import cycle
from trainer.dataset import Side
from trainer.erase import erase
from trainer.examples import SPEC, person_of
from trainer.frozen import manifests, newest, thaw
from trainer.gather import gathered
from trainer.pseudonyms import kept_in
from vitals.clock import ManualClock
from vitals.codec import decode, encode
from vitals.conditions import Condition
from vitals.errors import Fault
from vitals.events import RELEASES_TOPIC, Label, ModelRelease, Tensor, WindowArchive
from vitals.findings import Task

NOW_US = 1_800_000_000_000_000
N, V = 0, 2


def windows(patients: list[str], end_us: list[int], images: np.ndarray, task: Task = Task.BREAST) -> WindowArchive:
    tensor = Tensor("float32", list(images.shape), images.astype("<f4").tobytes())
    return WindowArchive(
        task=task, spec=SPEC[task], model="m", patients=patients, end_us=end_us, inputs={"image": tensor}, outputs={}
    )


def label(patient: str, end_us: int, value: str, when_us: int = NOW_US) -> Label:
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
    assert read.excluded == {"unreadable record": 2}


@pytest.mark.broker
def test_only_what_came_since_is_read(kafka_topics: str) -> None:
    left_out: Counter[str] = Counter()
    send(kafka_topics, LABELS_TOPIC, encode(label("a", 1, "benign")))
    (first,) = records(kafka_topics, LABELS_TOPIC, Label, left_out, since_us=1)
    assert first.patient == "a"
    soon_us = (time.time_ns() // 1_000_000 + 60_000) * 1000
    assert list(records(kafka_topics, LABELS_TOPIC, Label, left_out, since_us=soon_us)) == []


ONSET_US = 1_700_000_000_000_000
S_US = 1_000_000


def judged(condition: Condition, value: str, patient: str = "bed-7", when_us: int = ONSET_US + 60 * S_US) -> Label:
    return Label(
        patient=patient, task=condition, end_us=ONSET_US, value=value, who="nurse", when_us=when_us, alert_id="x"
    )


def seen(before_s: float, called: int | None = None, patient: str = "bed-7") -> ArchivedWindow:
    return ArchivedWindow(patient, ONSET_US - round(before_s * S_US), "spec", {}, called)


def words(task: Task, windows: list[ArchivedWindow], *labels: Label) -> tuple[dict[float, str], dict[str, int]]:
    made = Archive(windows)
    join(made, task, list(labels))
    return {(ONSET_US - end_us) / S_US: word for (_, end_us), word in made.label.items()}, dict(made.excluded)


def test_a_run_that_was_true_makes_ventricular_beats_of_those_the_model_called_so() -> None:
    beats = [seen(0, V), seen(0.5, V), seen(1.0, N), seen(1.5, V), seen(3.5, V), seen(-0.5, V), seen(0.5, V, "bed-8")]
    told, excluded = words(Task.ECG_BEAT, beats, judged(Condition.VENTRICULAR_TACHYCARDIA, "true"))
    assert told == {0: "v", 0.5: "v", 1.5: "v"}
    assert excluded == {}


@pytest.mark.parametrize("value", ["false", "not-actionable"])
def test_a_run_that_was_not_says_nothing_of_what_its_beats_were(value: str) -> None:
    told, excluded = words(Task.ECG_BEAT, [seen(0, V)], judged(Condition.PVC_RUN, value))
    assert told == {}
    assert excluded == {"judged alarm that names no class": 1}


@pytest.mark.parametrize(("value", "word"), [("true", "malignant"), ("false", "benign"), ("not-actionable", None)])
def test_an_image_s_alarm_speaks_of_that_image_alone(value: str, word: str | None) -> None:
    told, _ = words(Task.BREAST, [seen(0, 0), seen(10, 0)], judged(Condition.BREAST_MALIGNANCY_SUSPECTED, value))
    assert told == ({} if word is None else {0: word})


def test_a_label_of_the_window_itself_outranks_an_alarm_s_and_the_later_word_the_earlier() -> None:
    own = Label(patient="bed-7", task="breast", end_us=ONSET_US, value="benign", who="r", when_us=ONSET_US)
    alarm = judged(Condition.BREAST_MALIGNANCY_SUSPECTED, "true")
    assert words(Task.BREAST, [seen(0)], own, alarm)[0] == {0: "benign"}
    later = msgspec.structs.replace(own, value="malignant", when_us=ONSET_US + 1)
    assert words(Task.BREAST, [seen(0)], later, own)[0] == {0: "malignant"}


def test_a_label_from_before_its_window_had_ended_is_refused() -> None:
    early = Label(patient="bed-7", task="breast", end_us=ONSET_US, value="benign", who="r", when_us=ONSET_US - 1)
    told, excluded = words(Task.BREAST, [seen(0)], early)
    assert told == {}
    assert excluded == {"label given before its window ended": 1}


def test_alarms_of_other_tasks_and_of_rules_alone_say_nothing() -> None:
    others = [judged(Condition.PNEUMONIA_SUSPECTED, "true"), judged(Condition.GLUCOSE_LOW, "false")]
    assert words(Task.BREAST, [seen(0)], *others) == ({}, {})


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
    at.state.mkdir()
    (at.state / "pseudonyms.key").write_bytes(bytes(32))  # the same sides every time
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
    kept = [path.read_bytes() for path in at.state.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"Jane" in content for content in kept)

    # to be forgotten: one who was learnt from
    names = kept_in(at.state)
    (manifest,) = manifests(at.state, Task.BREAST)
    learnt = next(p for p in patients if person_of(p, names) in manifest.sides["train"].people)
    (found,) = [one for one in erase([learnt], at, ManualClock(NOW_US)) if one.task is Task.BREAST]
    assert (found.windows, found.bundles) == (1, [run.bundle])
    path = newest(at.state, Task.BREAST)
    assert path is not None
    assert person_of(learnt, names) not in thaw(path, Task.BREAST)[Side.TRAIN].people
    read = gathered(Task.BREAST, at, kafka_topics, short.corpus)
    assert sum(len(one) for one in read.people) == len(patients) - 1
    assert read.excluded == {"erased": 1}
    (again,) = [one for one in erase([learnt], at, ManualClock(NOW_US)) if one.task is Task.BREAST]
    assert (again.windows, again.bundles) == (0, [run.bundle])

"""When a turn is due, and what the broker says of it."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from kafka import KafkaProducer

from trainer.config import DRIFT_TOPIC, LABELS_TOPIC
from trainer.triggers import NOTHING, News, Policy, due, is_about, news
from vitals.codec import encode
from vitals.events import DriftKind, DriftNotice, Label
from vitals.findings import Task

HOUR_US = 3600 * 1_000_000
DAILY = Policy(every_s=24 * 3600, labels=100, drifts=2)


@pytest.mark.parametrize(
    ("hours", "came", "expected"),
    [
        (23.9, NOTHING, None),
        (24.0, NOTHING, "24.0 h"),
        (1.0, News(labels=99), None),
        (1.0, News(labels=100), "100 new labels"),
        (1.0, News(drifts=1), None),
        (1.0, News(drifts=2, labels=500), "drift: 2 began"),
    ],
)
def test_time_labels_or_drift_make_a_turn_due(hours: float, came: News, expected: str | None) -> None:
    why = due(DAILY, HOUR_US, came, now_us=HOUR_US + round(hours * HOUR_US))
    assert (why is None) is (expected is None)
    assert (why or "").startswith(expected or "")


def test_a_task_that_was_never_trained_here_is_due() -> None:
    assert due(DAILY, None, NOTHING, now_us=1_800_000_000_000_000) == "never trained here"


def test_with_no_age_only_what_came_makes_a_turn_due() -> None:
    policy = Policy(every_s=0, labels=5)
    assert due(policy, None, News(labels=4), now_us=1_800_000_000_000_000) is None
    assert due(policy, None, News(labels=5), now_us=1_800_000_000_000_000) == "5 new labels"


def test_labels_and_drift_are_no_trigger_unless_asked_for() -> None:
    assert due(Policy(every_s=3600), 1, News(labels=10_000, drifts=10_000), now_us=2) is None


def label(task: str, alert_id: str | None = None) -> Label:
    return Label(patient="p", task=task, end_us=1, value="true", who="n", when_us=2, alert_id=alert_id)


def notice(
    kind: DriftKind, *, bed: str = "", task: str = "", event: str = "began", stream: str = "glucose"
) -> DriftNotice:
    return DriftNotice(
        patient=bed,
        stream=stream,
        task=task,
        kind=kind,
        scope="bed" if bed else "ward",
        event=event,
        when_us=1,
        since_us=1,
        magnitude=0.5,
    )


@pytest.mark.parametrize(
    ("told", "tasks"),
    [
        (notice(DriftKind.BIAS, bed="p"), {Task.GLUCOSE}),
        (notice(DriftKind.GAIN, bed="p", stream="ecg"), {Task.ECG_BEAT}),
        (notice(DriftKind.ANSWERS, task="breast", stream="imaging"), {Task.BREAST}),
    ],
)
def test_a_drift_is_about_the_task_whose_windows_or_answers_it_is_of(told: DriftNotice, tasks: set[Task]) -> None:
    assert {
        task for task in (Task.ECG_BEAT, Task.GLUCOSE, Task.PNEUMONIA, Task.BREAST) if is_about(told, task)
    } == tasks


@pytest.mark.broker
def test_what_the_broker_took_since_the_last_turn_is_counted_for_the_task_it_concerns(kafka_topics: str) -> None:
    labels = [label("breast"), label("breast-malignancy-suspected", "x"), label("glucose-low", "x"), label("pneumonia")]
    drifts = [
        notice(DriftKind.BIAS, bed="p"),
        notice(DriftKind.BIAS, bed="p"),  # the same stream again: one drift
        notice(DriftKind.BIAS, bed="q"),
        notice(DriftKind.BIAS, bed="r", event="ended"),
        notice(DriftKind.ANSWERS, task="glucose"),
        notice(DriftKind.MAINS, bed="p", stream="ecg"),
    ]
    with closing(KafkaProducer(bootstrap_servers=kafka_topics, acks="all")) as producer:
        for topic, events in ((LABELS_TOPIC, labels), (DRIFT_TOPIC, drifts)):
            for event in events:
                producer.send(topic, encode(event))
        producer.flush()
    assert news(kafka_topics, Task.BREAST, DAILY, since_us=1) == News(labels=2)
    assert news(kafka_topics, Task.GLUCOSE, DAILY, since_us=1) == News(drifts=3)
    soon_us = time.time_ns() // 1000 + 60 * 1_000_000
    assert news(kafka_topics, Task.GLUCOSE, DAILY, since_us=soon_us) == NOTHING

"""From the topic to a receiver over a real broker: everything arrives, in order, whatever the receiver does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stream.broker import JavaNode, free_ports
from stream.metrics import Metrics
from stream.notify.outbox import Patience
from stream.notify.webhook import WebhookNotifier, signature
from stream.topics import PARTITIONS, Topic
from tests.support.alarms import PATIENT, publish, steps
from tests.support.receivers import HttpReceiver, Post, until
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import SystemClock
from vitals.conditions import Condition

pytestmark = pytest.mark.broker

E = AlertEvent
SECRET = "a secret of the test"
QUICK = Patience(first_s=0.05, longest_s=0.2, keep_s=3600.0, timeout_s=1.0)


@pytest.fixture
def site() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@contextmanager
def notifier(
    kafka: str, address: str, *, metrics: Metrics | None = None, patience: Patience = QUICK
) -> Iterator[WebhookNotifier]:
    made = WebhookNotifier(
        kafka, address, SECRET, metrics or Metrics(), SystemClock(), names_patient=False, patience=patience
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def _names(posts: list[Post]) -> list[str]:
    return [post.headers["webhook-id"] for post in posts if post.status == 200]


def _names_of(*alerts: AlertTransition) -> list[str]:
    return [f"{alert.alert_id}-{alert.step}" for alert in alerts]


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"sink": "webhook", **labels}) or 0.0


def _committed(kafka: str) -> int:
    """Steps that will not be read again."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id="wardwatch-notify-webhook", enable_auto_commit=False)
    try:
        partitions = (TopicPartition(Topic.ALERTS.value, p) for p in range(PARTITIONS))
        return sum(consumer.committed(partition) or 0 for partition in partitions)
    finally:
        consumer.close()


def test_every_step_arrives_signed_in_its_alarms_order_and_names_nobody(kafka_topics: str, site: HttpReceiver) -> None:
    metrics = Metrics()
    first = steps(E.RAISED, E.ESCALATED, E.ACKNOWLEDGED, E.CLEARED)
    second = steps(E.RAISED, E.CLEARED, condition=Condition.GLUCOSE_LOW, patient="another")
    with notifier(kafka_topics, site.address, metrics=metrics):
        publish(kafka_topics, [*first[:2], second[0], *first[2:], second[1]])
        site.wait_for(lambda posts: len(posts) >= 6)
        until(lambda: _committed(kafka_topics) == 6, "all of it is committed")
        until(lambda: _value(metrics, "wardwatch_notify_backlog") == 0, "nothing waits")
    names = _names(site.posts)
    for alarm in (first, second):
        assert [name for name in names if name in _names_of(*alarm)] == _names_of(*alarm)
    for post in site.posts:
        name, time_s = post.headers["webhook-id"], int(post.headers["webhook-timestamp"])
        assert post.headers["webhook-signature"] == signature(SECRET.encode(), name, time_s, post.body)
        for secret in (PATIENT, "another", "Ratched", "seen at the bed", SECRET):
            assert secret.encode() not in post.body
    assert _value(metrics, "wardwatch_notifications_total", result="delivered") == 6


def test_what_happened_while_nobody_listened_is_told_once_and_what_was_told_is_not_told_again(
    kafka_topics: str, site: HttpReceiver
) -> None:
    alarm = steps(E.RAISED, E.ESCALATED, E.ACKNOWLEDGED, E.CLEARED)
    publish(kafka_topics, alarm[:1])
    with notifier(kafka_topics, site.address):
        site.wait_for(lambda posts: len(posts) == 1)
        until(lambda: _committed(kafka_topics) == 1, "it is committed")
    publish(kafka_topics, alarm[1:])
    with notifier(kafka_topics, site.address):
        site.wait_for(lambda posts: len(posts) == 4)
    assert _names(site.posts) == _names_of(*alarm)


def test_a_step_that_a_crashed_worker_published_twice_is_told_once(kafka_topics: str, site: HttpReceiver) -> None:
    alarm = steps(E.RAISED, E.ESCALATED, E.CLEARED)
    with notifier(kafka_topics, site.address):
        publish(kafka_topics, [*alarm[:2], *alarm])
        until(lambda: _committed(kafka_topics) == 5, "all of it is read")
    assert _names(site.posts) == _names_of(*alarm)


def test_a_receiver_that_is_busy_for_one_alarm_gets_the_others_meanwhile(kafka_topics: str, site: HttpReceiver) -> None:
    busy, fine = steps(E.RAISED, E.CLEARED), steps(E.RAISED, E.CLEARED, condition=Condition.PVC_RUN)
    recovered = threading.Event()
    held_up = busy[0].alert_id.encode()
    site.answer = lambda _path, body: 503 if held_up in body and not recovered.is_set() else 200
    metrics = Metrics()
    with notifier(kafka_topics, site.address, metrics=metrics):
        publish(kafka_topics, [busy[0], fine[0], busy[1], fine[1]])
        site.wait_for(lambda _: set(_names_of(*fine)) <= set(_names(site.posts)))
        assert not set(_names_of(*busy)) & set(_names(site.posts))
        until(lambda: _value(metrics, "wardwatch_notify_backlog") == 2, "two wait")
        assert _committed(kafka_topics) == 0
        recovered.set()
        site.wait_for(lambda _: len(_names(site.posts)) == 4)
    assert [name for name in _names(site.posts) if name in _names_of(*busy)] == _names_of(*busy)


def test_a_receiver_that_was_down_gets_everything_in_order_when_it_is_back(kafka_topics: str) -> None:
    (port,) = free_ports(1)
    alarm = steps(E.RAISED, E.ESCALATED, E.CLEARED)
    metrics = Metrics()
    with notifier(kafka_topics, f"http://127.0.0.1:{port}", metrics=metrics):
        publish(kafka_topics, alarm)
        until(lambda: _value(metrics, "wardwatch_notify_backlog") == 3, "three wait")
        with HttpReceiver(port) as site:
            site.wait_for(lambda posts: len(posts) == 3)
            assert _names(site.posts) == _names_of(*alarm)


def test_a_receiver_that_hangs_does_not_keep_another_alarm_for_ever(kafka_topics: str, site: HttpReceiver) -> None:
    hanging, fine = steps(E.RAISED), steps(E.RAISED, condition=Condition.PVC_RUN)
    release = threading.Event()
    site.answer = lambda _path, body: 500 if hanging[0].alert_id.encode() in body and not release.wait(60) else 200
    try:
        with notifier(kafka_topics, site.address):
            publish(kafka_topics, [*hanging, *fine])
            site.wait_for(lambda _: set(_names_of(*fine)) <= set(_names(site.posts)))
            release.set()
            site.wait_for(lambda _: set(_names_of(*hanging)) <= set(_names(site.posts)))
    finally:
        release.set()


def test_what_is_refused_is_counted_and_the_next_step_goes_out(kafka_topics: str, site: HttpReceiver) -> None:
    alarm = steps(E.RAISED, E.CLEARED)
    site.answer = lambda _path, body: 422 if b"alarm.raised" in body else 200
    metrics = Metrics()
    with notifier(kafka_topics, site.address, metrics=metrics):
        publish(kafka_topics, alarm)
        until(lambda: _committed(kafka_topics) == 2, "both came to their end")
    assert _names(site.posts) == _names_of(alarm[1])
    assert _value(metrics, "wardwatch_notifications_total", result="refused") == 1
    assert _value(metrics, "wardwatch_notifications_total", result="delivered") == 1


def test_what_nobody_takes_for_too_long_expires_and_is_counted(kafka_topics: str, site: HttpReceiver) -> None:
    site.answer = lambda _path, _body: 503
    metrics = Metrics()
    patience = Patience(first_s=0.05, longest_s=0.1, keep_s=0.5, timeout_s=1.0)
    with notifier(kafka_topics, site.address, metrics=metrics, patience=patience):
        publish(kafka_topics, steps(E.RAISED))
        until(lambda: _value(metrics, "wardwatch_notifications_total", result="expired") == 1, "it expired")
        until(lambda: _committed(kafka_topics) == 1, "the place moved on")
    assert len(site.posts) > 1
    assert _value(metrics, "wardwatch_notifications_total", result="delivered") == 0


def test_a_record_that_is_no_step_is_counted_and_passed(kafka_topics: str, site: HttpReceiver) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka_topics)
    producer.send(Topic.ALERTS.value, b"\xc1 not a step", partition=0).get(timeout=30)
    producer.close()
    metrics = Metrics()
    with notifier(kafka_topics, site.address, metrics=metrics):
        publish(kafka_topics, steps(E.RAISED))
        site.wait_for(lambda posts: len(posts) == 1)
    assert _value(metrics, "wardwatch_notifications_total", result="refused") == 1


def test_the_broker_dies_and_comes_back_and_nothing_is_lost(
    kafka_topics: str, broker: JavaNode, site: HttpReceiver
) -> None:
    alarm = steps(E.RAISED, E.ESCALATED, E.CLEARED)
    with notifier(kafka_topics, site.address):
        publish(kafka_topics, alarm[:1])
        site.wait_for(lambda posts: len(posts) == 1)
        broker.kill()
        broker.start()
        publish(kafka_topics, alarm[1:])
        site.wait_for(lambda _: set(_names_of(*alarm)) <= set(_names(site.posts)), deadline_s=60)
    seen = list(dict.fromkeys(_names(site.posts)))  # at least once: the first may come twice
    assert seen == _names_of(*alarm)

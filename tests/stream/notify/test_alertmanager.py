"""Alarms in a real Alertmanager: they stand while their signal does, an answer quietens them, their end is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stream.links import Links
from stream.metrics import Metrics
from stream.notify.alertmanager import AlertmanagerNotifier
from stream.notify.outbox import Patience
from stream.notify.webhook import WebhookNotifier
from tests.support.alarms import PATIENT, publish, steps
from tests.support.monitors import Served, alertmanager
from tests.support.receivers import HttpReceiver, Post, until
from tests.support.tools import said_by
from vitals.alerts import AlertEvent
from vitals.clock import SystemClock
from vitals.conditions import Condition

pytestmark = [pytest.mark.broker, pytest.mark.prometheus]

E = AlertEvent
QUICK = Patience(first_s=0.05, longest_s=0.2, keep_s=3600.0, timeout_s=5.0)


@pytest.fixture
def site() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def served(site: HttpReceiver, tmp_path: Path) -> Iterator[Served]:
    with alertmanager(tmp_path, site.address) as running:
        yield running


@contextmanager
def notifier(kafka: str, address: str, metrics: Metrics | None = None) -> Iterator[None]:
    links = Links("http://board.example:8080")
    made = AlertmanagerNotifier(kafka, address, metrics or Metrics(), SystemClock(), links=links, patience=QUICK)
    made.start()
    try:
        yield
    finally:
        made.stop()


def _standing(served: Served, state: str = "active") -> dict[str, dict[str, Any]]:
    """Alert name to the alert, of those in ``state``."""
    found = served.get("/api/v2/alerts")
    return {alert["labels"]["alertname"]: alert for alert in found if alert["status"]["state"] == state}


def _told(posts: list[Post], path: str = "/bedside") -> list[tuple[str, str]]:
    """(alert name, firing or resolved) as the people at the bed were told, in order."""
    return [
        (alert["labels"]["alertname"], alert["status"])
        for post in posts
        if post.path == path
        for alert in post.json["alerts"]
    ]


def _delivered(metrics: Metrics) -> float:
    labels = {"sink": "alertmanager", "result": "delivered"}
    return metrics.registry.get_sample_value("wardwatch_notifications_total", labels) or 0.0


def test_an_alarm_from_its_onset_to_its_end(kafka_topics: str, served: Served, site: HttpReceiver) -> None:
    raised, escalated, acknowledged, cleared = steps(E.RAISED, E.ESCALATED, E.ACKNOWLEDGED, E.CLEARED)
    with notifier(kafka_topics, served.address):
        publish(kafka_topics, [raised])
        site.wait_for(lambda posts: ("WardAlarm", "firing") in _told(posts))
        labels = _standing(served)["WardAlarm"]["labels"]
        assert labels == {
            "alertname": "WardAlarm",
            "source": "ward",
            "alert_id": raised.alert_id,
            "condition": "asystole",
            "priority": "high",
            "kind": "physiological",
        }
        assert _standing(served)["WardAlarm"]["generatorURL"] == f"http://board.example:8080/alarm/{raised.alert_id}"
        publish(kafka_topics, [escalated])
        site.wait_for(lambda posts: ("WardAlarmAgain", "firing") in _told(posts))
        publish(kafka_topics, [acknowledged])
        until(lambda: "WardAlarm" in _standing(served, "suppressed"), "the answer quietens the alarm")
        assert set(_standing(served)) == {"WardAlarmMuted"}
        assert ("WardAlarm", "resolved") not in _told(site.posts)
        publish(kafka_topics, [cleared])
        site.wait_for(lambda posts: ("WardAlarm", "resolved") in _told(posts))
        until(lambda: not _standing(served) and not _standing(served, "suppressed"), "nothing stands")
    assert {post.path for post in site.posts} == {"/bedside"}
    said = json.dumps([post.json for post in site.posts])
    for name in (PATIENT, "Ada", "Ratched", "seen at the bed"):
        assert name not in said
    assert "WardAlarmMuted" not in said


def test_a_silence_on_one_alarm_holds_through_its_escalations_and_lets_the_next_one_through(
    kafka_topics: str, served: Served, site: HttpReceiver
) -> None:
    raised, escalated, cleared = steps(E.RAISED, E.ESCALATED, E.CLEARED)
    other = steps(E.RAISED, E.CLEARED, condition=Condition.EXTREME_BRADYCARDIA)
    own = f'alert_id="{raised.alert_id}"'
    said_by(
        "amtool", "silence", "add", f"--alertmanager.url={served.address}", "--author=n.okafor", "--comment=at the bed",
        "--duration=10m", own,
    )  # fmt: skip
    with notifier(kafka_topics, served.address):
        publish(kafka_topics, [raised, escalated, other[0]])
        site.wait_for(lambda posts: ("WardAlarm", "firing") in _told(posts))
        until(lambda: {"WardAlarm", "WardAlarmAgain"} <= set(_standing(served, "suppressed")), "both are silent")
        publish(kafka_topics, [cleared, other[1]])
        until(lambda: not _standing(served) and not _standing(served, "suppressed"), "both are over")
        site.wait_for(lambda posts: ("WardAlarm", "resolved") in _told(posts))
    told = {alert["labels"]["alert_id"] for post in site.posts for alert in post.json["alerts"]}
    assert told == {other[0].alert_id}


def test_what_stands_is_known_again_after_alertmanager_and_notifier_have_both_restarted(
    kafka_topics: str, served: Served, site: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.notify.alertmanager.REFRESH_S", 0.2)
    metrics = Metrics()
    standing = steps(E.RAISED, E.LATCHED)
    over = steps(E.RAISED, E.CLEARED, condition=Condition.PVC_RUN)
    with notifier(kafka_topics, served.address, metrics):
        publish(kafka_topics, [standing[0], *over, standing[1]])
        until(lambda: _delivered(metrics) == 4, "all steps are told")
        until(lambda: "WardAlarm" in _standing(served), "it stands")
    served.stop()
    served.start()
    assert not _standing(served)
    told_before = len(site.posts)
    with notifier(kafka_topics, served.address, metrics):
        alert = until(lambda: _standing(served).get("WardAlarm"), "it stands again")
        assert alert["labels"]["alert_id"] == standing[0].alert_id
    assert _delivered(metrics) == 4, "nothing is told a second time, it is only remembered"
    later = [alert for post in site.posts[told_before:] for alert in post.json["alerts"]]
    assert all(alert["labels"]["condition"] == "asystole" for alert in later)


def test_a_webhook_that_hangs_keeps_nothing_from_alertmanager(kafka_topics: str, served: Served) -> None:
    release = threading.Event()
    with HttpReceiver() as hanging:
        hanging.answer = lambda _path, _body: 200 if release.wait(60) else 500
        hook = WebhookNotifier(kafka_topics, hanging.address, "s", Metrics(), SystemClock(), names_patient=False)
        hook.start()
        try:
            with notifier(kafka_topics, served.address):
                publish(kafka_topics, steps(E.RAISED))
                until(lambda: "WardAlarm" in _standing(served), "it stands")
                assert not hanging.taken()
        finally:
            release.set()
            hook.stop()

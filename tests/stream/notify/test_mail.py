"""Calls by mail over a real socket: who is called for what, what is tried again, and that nobody is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stream.broker import free_ports
from stream.links import Links
from stream.metrics import Metrics
from stream.notify.mail import Mail, MailNotifier, Post
from stream.notify.outbox import Notification, Patience
from stream.notify.receiver import NotNow, Refused
from stream.notify.webhook import WebhookNotifier
from tests.support.alarms import PATIENT, publish, steps
from tests.support.mailserver import MailServer
from tests.support.receivers import HttpReceiver, until
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import SystemClock
from vitals.conditions import Condition
from vitals.selftest import CONDITION, PREFIX

E = AlertEvent
QUICK = Patience(first_s=0.05, longest_s=0.2, keep_s=3600.0, timeout_s=1.0)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as made:
        yield made


def _post(address: str) -> Post:
    return Post(address, "ward@example.org", ("night@example.org", "second@example.org"))


def _send(server: MailServer, *alerts: AlertTransition) -> None:
    sink = Mail(_post(server.address), 2.0)
    for alert in alerts:
        sink.send([Notification(alert, partition=0, offset=0, written_ms=1_700_000_000_000)])


def _ids(server: MailServer) -> list[str]:
    return [str(taken.letter["Message-ID"]) for taken in server.mail]


def test_a_mail_says_what_and_when_and_not_whose(server: MailServer) -> None:
    (raised,) = steps(E.RAISED)
    _send(server, raised)
    (taken,) = server.mail
    assert (taken.sender, taken.to) == ("ward@example.org", ["night@example.org", "second@example.org"])
    assert taken.letter["Subject"] == "[high] asystole: raised"
    assert taken.letter["Message-ID"] == f"<{raised.alert_id}-0@wardwatch>"
    said = taken.letter.as_string()
    assert raised.alert_id in said
    for name in (PATIENT, "Ada", "Ratched", "seen at the bed"):
        assert name not in said


def test_a_mail_links_to_the_alarm_on_the_board_where_the_site_says_how_it_is_reached(server: MailServer) -> None:
    (raised,) = steps(E.RAISED)
    for links in (Links("https://board.example"), Links()):
        sink = Mail(_post(server.address), 2.0, links)
        sink.send([Notification(raised, partition=0, offset=0, written_ms=1_700_000_000_000)])
    linked, bare = (taken.letter.get_payload(decode=True).decode() for taken in server.mail)
    assert f"https://board.example/alarm/{raised.alert_id}" in linked.splitlines()
    assert "http" not in bare


def test_only_what_calls_somebody_is_mailed(server: MailServer) -> None:
    told = steps(E.RAISED, E.ESCALATED, E.ACKNOWLEDGED, E.REMINDED, E.LATCHED, E.RETURNED, E.CLEARED)
    _send(server, *told, *steps(E.RAISED, condition=Condition.PVC_FREQUENT))
    assert [str(taken.letter["Subject"]).partition(": ")[2] for taken in server.mail] == [
        "raised", "escalated", "reminded", "returned",
    ]  # fmt: skip


def test_the_self_test_asks_the_server_and_sends_nothing(server: MailServer) -> None:
    _send(server, *steps(E.RAISED, condition=CONDITION, patient=f"{PREFIX}0.0"))
    assert server.mail == []
    assert "NOOP" in server.commands
    server.answer = lambda command: "421 going down" if command.upper() == "NOOP" else None
    with pytest.raises(NotNow):
        _send(server, *steps(E.RAISED, condition=CONDITION, patient=f"{PREFIX}0.0"))


@pytest.mark.parametrize(
    ("command", "reply", "error"),
    [
        ("RCPT", "550 unknown", Refused),
        ("RCPT", "450 busy", NotNow),
        ("DATA", "554 no", Refused),
        ("MAIL", "451 later", NotNow),
        ("EHLO", "421 closing", NotNow),
    ],
)
def test_a_server_that_will_never_take_it_is_told_apart_from_one_that_may(
    server: MailServer, command: str, reply: str, error: type[Exception]
) -> None:
    server.answer = lambda said: (
        reply if said.upper().startswith((command, "HELO") if command == "EHLO" else command) else None
    )
    with pytest.raises(error):
        _send(server, *steps(E.RAISED))
    assert server.mail == []


def test_nobody_there_is_not_for_ever() -> None:
    (port,) = free_ports(1)
    sink = Mail(_post(f"smtp://127.0.0.1:{port}"), 2.0)
    with pytest.raises(NotNow) as why:
        sink.send([Notification(steps(E.RAISED)[0], partition=0, offset=0, written_ms=0)])
    assert why.value.nobody_there


@pytest.mark.parametrize("address", ["", "http://host", "smtp://", "smtp://user@host", "smtp://host/path"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="mail server"):
        _post(address)


def test_mail_without_a_receiver_is_refused_and_a_secret_is_not_shown() -> None:
    with pytest.raises(ValueError, match="receivers"):
        Post("smtp://host", "ward@example.org", ())
    assert "hush" not in repr(Post("smtp://host", "a@b", ("c@d",), "user", "hush"))


@contextmanager
def notifier(kafka: str, address: str, metrics: Metrics) -> Iterator[None]:
    made = MailNotifier(kafka, _post(address), metrics, SystemClock(), patience=QUICK)
    made.start()
    try:
        yield
    finally:
        made.stop()


@pytest.mark.broker
def test_a_server_that_was_down_and_then_busy_gets_every_call_once_under_one_name(kafka_topics: str) -> None:
    (port,) = free_ports(1)
    metrics = Metrics()
    told = steps(E.RAISED, E.ESCALATED)
    with notifier(kafka_topics, f"smtp://127.0.0.1:{port}", metrics):
        publish(kafka_topics, told)
        waiting = lambda: metrics.registry.get_sample_value("wardwatch_notify_backlog", {"sink": "mail"})  # noqa: E731
        until(lambda: waiting() == 2, "both wait")
        tries = threading.Semaphore(0)
        with MailServer(port) as server:
            busy = threading.Event()

            def answer(command: str) -> str | None:
                if command == "data" and not busy.is_set():
                    tries.release()
                    return "451 later"
                return None

            server.answer = answer
            for _ in range(3):
                assert tries.acquire(timeout=30)
            busy.set()
            until(lambda: len(server.mail) == 2 and waiting() == 0, "both are delivered")
            assert _ids(server) == [f"<{told[0].alert_id}-{n}@wardwatch>" for n in (0, 1)]


@pytest.mark.broker
def test_a_mail_server_that_hangs_keeps_nothing_from_the_webhook(kafka_topics: str, server: MailServer) -> None:
    release = threading.Event()
    server.answer = lambda _command: None if release.wait(60) else "421 closing"
    with HttpReceiver() as site:
        hook = WebhookNotifier(kafka_topics, site.address, "s", Metrics(), SystemClock(), names_patient=False)
        hook.start()
        try:
            with notifier(kafka_topics, server.address, Metrics()):
                publish(kafka_topics, steps(E.RAISED))
                site.wait_for(lambda posts: len(posts) == 1)
                assert server.mail == []
                release.set()
                until(lambda: server.mail, "the mail comes when the server does")
        finally:
            release.set()
            hook.stop()

"""What a webhook's receiver is sent: signed so that others' libraries verify it, and nobody's name in it."""

from __future__ import annotations

import json

import msgspec
import pytest

from stream.links import Links
from stream.notify.outbox import Notification
from stream.notify.webhook import Notice, Webhook, key_of, notice, signature
from tests.support.alarms import PATIENT, steps
from vitals.alerts import AlertEvent
from vitals.clock import ManualClock
from vitals.selftest import CONDITION, PREFIX


class _Paper:
    """Stands for the network."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, dict[str, str]]] = []

    def post(self, body: bytes, headers: dict[str, str]) -> None:
        self.sent.append((body, headers))


def _notification(event: AlertEvent = AlertEvent.RAISED) -> Notification:
    return Notification(steps(event)[0], partition=0, offset=0, written_ms=0)


def test_the_signature_is_that_of_the_published_example_of_the_scheme() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_is_text_is_the_key_itself() -> None:
    assert key_of("correct horse") == b"correct horse"


@pytest.mark.parametrize("secret", ["", "whsec_not base64"])
def test_a_secret_that_cannot_sign_is_refused_without_saying_it(secret: str) -> None:
    with pytest.raises(ValueError, match="secret") as refused:
        key_of(secret)
    assert "not base64" not in str(refused.value).replace("is not base64", "")


@pytest.mark.parametrize("alter", ["body", "name", "time", "key"])
def test_anything_altered_has_another_signature(alter: str) -> None:
    whole = {"key": b"k", "name": "n", "time": 1, "body": b"b"}
    other = {"key": b"x", "name": "x", "time": 2, "body": b"x"}
    parts = [{**whole, alter: other[alter]}[name] for name in whole]
    assert signature(*whole.values()) != signature(*parts)  # type: ignore[arg-type]


def test_every_try_of_a_step_has_the_same_name_and_its_own_time() -> None:
    paper, clock = _Paper(), ManualClock(5_000_000)
    hook = Webhook(paper, b"k", clock, names_patient=False)  # type: ignore[arg-type]
    hook.send([_notification()])
    clock.advance(60)
    hook.send([_notification()])
    (body, first), (again, second) = paper.sent
    assert body == again
    assert first["webhook-id"] == second["webhook-id"] == f"{_notification().alert.alert_id}-0"
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("5", "65")
    assert first["webhook-signature"] == signature(b"k", first["webhook-id"], 5, body)


@pytest.mark.parametrize("event", list(AlertEvent)[:7])
def test_the_body_says_what_it_is_and_names_nobody(event: AlertEvent) -> None:
    body = msgspec.json.encode(notice(_notification(event), names_patient=False))
    said = json.loads(body)
    assert said["type"] == f"alarm.{event}"
    assert said["condition"] == "asystole"
    assert (said["measure"], said["value"], said["limit"], said["unit"]) == ("time since the last beat", 4.2, 4.0, "s")
    assert "patient" not in said
    for name in (PATIENT, "Ada", "Nurse Ratched", "seen at the bed"):
        assert name.encode() not in body


def test_a_site_that_says_so_is_told_whose_alarm_it_is_and_still_not_who_acted() -> None:
    body = msgspec.json.encode(notice(_notification(), names_patient=True))
    assert msgspec.json.decode(body, type=Notice).patient == PATIENT
    assert b"Ratched" not in body


def test_the_body_links_to_the_alarm_on_the_board_where_the_site_says_how_it_is_reached() -> None:
    told = _notification()
    linked = json.loads(
        msgspec.json.encode(notice(told, names_patient=False, links=Links("https://board.example/ward/")))
    )
    assert linked["link"] == f"https://board.example/ward/alarm/{told.alert.alert_id}"
    assert PATIENT not in linked["link"]
    assert "link" not in json.loads(msgspec.json.encode(notice(told, names_patient=False)))


def test_the_self_test_links_nowhere() -> None:
    (raised,) = steps(AlertEvent.RAISED, condition=CONDITION, patient=f"{PREFIX}0.0")
    told = Notification(raised, partition=0, offset=0, written_ms=0)
    assert b'"link"' not in msgspec.json.encode(notice(told, names_patient=False, links=Links("http://board")))


@pytest.mark.parametrize("address", ["board", "ftp://board", "http://", "http://u@board", "http://b?q=1", "http://b#f"])
def test_an_address_of_the_board_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="board"):
        Links(address)

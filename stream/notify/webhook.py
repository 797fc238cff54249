"""Every step of every alarm as one signed POST, by the Standard Webhooks scheme (https://www.standardwebhooks.com).

The receiver is the site's own gateway to whatever it has. It is told what the alarm is, and, unless the site says that
it may know, not whose.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from stream.links import NO_LINKS, Links
from stream.metrics import Metrics
from stream.notify.delivery import Delivery
from stream.notify.outbox import PATIENCE, Notification, Patience
from stream.notify.receiver import Receiver
from vitals.clock import Clock
from vitals.selftest import is_self_test

_BASE64_KEY: Final = "whsec_"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The body. The words are those of ``AlertTransition``; what could name a person is not here, but for ``patient``.

    ``type``: ``alarm.`` and the event, ``alarm.raised`` for one; ``self-test.raised`` once a
    minute and partition. ``value`` null: not measured. ``link``: the alarm on the board, where the site says how it is
    reached.
    """

    type: str
    alert_id: str
    step: int
    condition: str
    priority: str
    kind: str
    presence: bool
    signal: str
    onset_us: int
    time_us: int
    text: str
    escalation: int
    until_us: int
    measure: str
    value: float | None
    limit: float | None
    unit: str
    patient: str | msgspec.UnsetType
    link: str | msgspec.UnsetType = msgspec.UNSET
    v: int = 1


def notice(notification: Notification, *, names_patient: bool, links: Links = NO_LINKS) -> Notice:
    """What the receiver is told of one step."""
    alert = notification.alert
    evidence = alert.evidence
    is_test = is_self_test(alert.patient)
    return Notice(
        type=f"{'self-test' if is_test else 'alarm'}.{alert.event}",
        alert_id=alert.alert_id,
        step=alert.step,
        condition=alert.condition or "",
        priority=alert.priority or "",
        kind=alert.kind or "",
        presence=alert.presence,
        signal=alert.signal,
        onset_us=alert.onset_us,
        time_us=alert.time_us,
        text=alert.text,
        escalation=alert.escalation,
        until_us=alert.until_us,
        measure=evidence.measure if evidence else "",
        value=evidence.value if evidence else None,
        limit=evidence.limit if evidence else None,
        unit=evidence.unit if evidence else "",
        patient=alert.patient if names_patient else msgspec.UNSET,
        link=(not is_test and links.to(alert.alert_id)) or msgspec.UNSET,
    )


def signature(key: bytes, name: str, timestamp_s: int, body: bytes) -> str:
    """``v1,`` and base64 of HMAC-SHA256 over ``name.timestamp_s.body``."""
    signed = hmac.new(key, f"{name}.{timestamp_s}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"


def key_of(secret: str) -> bytes:
    """The key: what follows ``whsec_`` is base64, anything else is the key itself. Raises ``ValueError``."""
    if not secret:
        raise ValueError("a webhook needs a secret: nobody could tell its messages from another's")
    if not secret.startswith(_BASE64_KEY):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_BASE64_KEY), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ in the webhook's secret is not base64") from None


class Webhook:
    """See ``Sink``. One step at a time: the receiver sees each alarm's steps in their order."""

    name: Final = "webhook"
    most_at_once: Final = 1

    def __init__(
        self, receiver: Receiver, key: bytes, clock: Clock, *, names_patient: bool, links: Links = NO_LINKS
    ) -> None:
        self._receiver = receiver
        self._key = key
        self._clock = clock
        self._names_patient = names_patient
        self._links = links

    def send(self, notifications: Sequence[Notification]) -> None:
        """See ``Sink``."""
        (one,) = notifications
        body = msgspec.json.encode(notice(one, names_patient=self._names_patient, links=self._links))
        name = f"{one.alert.alert_id}-{one.alert.step}"
        now_s = self._clock.now_us() // 1_000_000
        self._receiver.post(
            body,
            {
                "webhook-id": name,
                "webhook-timestamp": str(now_s),
                "webhook-signature": signature(self._key, name, now_s, body),
            },
        )

    def remember(self, notification: Notification) -> None:
        """Each step is told once and says everything: nothing stands."""

    def tend(self) -> bool:
        """There is nothing to tell between two steps."""
        return False

    def forget(self, partitions: Collection[int]) -> None:
        """Nothing was kept."""

    def oldest_standing(self, partition: int) -> None:
        """Nothing stands."""


class WebhookNotifier(Delivery):
    """Tells ``address`` of every step of every alarm: ``start``, ``stop``. Raises ``ValueError`` for a bad setting."""

    def __init__(
        self,
        kafka: str,
        address: str,
        secret: str,
        metrics: Metrics,
        clock: Clock,
        *,
        names_patient: bool,
        links: Links = NO_LINKS,
        patience: Patience = PATIENCE,
    ) -> None:
        receiver = Receiver(address, patience.timeout_s)
        sink = Webhook(receiver, key_of(secret), clock, names_patient=names_patient, links=links)
        super().__init__(kafka, sink, metrics, clock, patience)

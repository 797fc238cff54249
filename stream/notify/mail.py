"""Calls for a person by mail (SMTP, RFC 5321): every step of an alarm of high or medium priority that calls somebody.

A mail names nobody: it says what was raised, and the alarm's id, by which the board knows whose it is. Its Message-ID
is the same for every try, so that a server or a reader can tell a repeat. What ends is not mailed: mail that comes late
would say that nothing is wrong.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final
from urllib.parse import urlsplit

from stream.links import NO_LINKS, Links
from stream.metrics import Metrics
from stream.notify.delivery import Delivery
from stream.notify.outbox import PATIENCE, Notification, Patience
from stream.notify.receiver import NotNow, Refused
from vitals.alerts import AlertEvent
from vitals.clock import Clock, utc
from vitals.conditions import Priority
from vitals.selftest import is_self_test
from vitals.units import US_PER_MS

_CALLS: Final = frozenset(
    {AlertEvent.RAISED, AlertEvent.RETURNED, AlertEvent.ESCALATED, AlertEvent.REMINDED, AlertEvent.RESUMED}
)
_MAILED: Final = frozenset({Priority.HIGH, Priority.MEDIUM})
_NOT_NOW: Final = 400
_PERMANENT: Final = 500
_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Post:
    """Where mail goes out, as whom, and to whom. ``address``: smtp://, smtp+starttls:// or smtps://host[:port].

    ``user`` empty: nobody logs in. Raises ``ValueError`` for an address that is none, or no sender or receiver.
    """

    address: str
    sender: str
    to: tuple[str, ...]
    user: str = ""
    secret: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or parts.path.strip("/"):
            raise ValueError("the mail server is not smtp://, smtp+starttls:// or smtps://host[:port]")
        if not self.to or not all("@" in name for name in (self.sender, *self.to)):
            raise ValueError("mail needs a sender and receivers, each with an @")

    def __repr__(self) -> str:
        return f"Post({self.address})"


class Mail:
    """See ``Sink``."""

    name: Final = "mail"
    most_at_once: Final = 1

    def __init__(self, post: Post, timeout_s: float, links: Links = NO_LINKS) -> None:
        self._post = post
        self._timeout_s = timeout_s
        self._links = links

    def send(self, notifications: Sequence[Notification]) -> None:
        """See ``Sink``. The self-test is as far as the server's answer: nobody wants its mail."""
        (one,) = notifications
        tests = is_self_test(one.alert.patient)
        if not tests and (one.alert.event not in _CALLS or one.alert.priority not in _MAILED):
            return
        try:
            server = self._open()
            try:
                if tests:
                    code, said = server.noop()
                    if code >= _NOT_NOW:
                        raise smtplib.SMTPResponseException(code, said)
                else:
                    server.send_message(_letter(one, self._post, self._links.to(one.alert.alert_id)))
            finally:
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()
        except smtplib.SMTPRecipientsRefused as refused:
            raise _refusal(max(code for code, _ in refused.recipients.values())) from None
        except smtplib.SMTPResponseException as refused:
            raise _refusal(refused.smtp_code) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotNow(f"no answer ({type(error).__name__})", nobody_there=True) from None

    def remember(self, notification: Notification) -> None:
        """Each call is told once and says everything: nothing stands."""

    def tend(self) -> bool:
        """There is nothing to tell between two steps."""
        return False

    def forget(self, partitions: Collection[int]) -> None:
        """Nothing was kept."""

    def oldest_standing(self, partition: int) -> None:
        """Nothing stands."""

    def _open(self) -> smtplib.SMTP:
        parts = urlsplit(self._post.address)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, port, timeout=self._timeout_s)
        if parts.scheme == "smtp+starttls":
            server.starttls(context=ssl.create_default_context())
        if self._post.user:
            server.login(self._post.user, self._post.secret)
        return server


def _refusal(code: int) -> Refused | NotNow:
    if code >= _PERMANENT:
        return Refused(f"status {code}")
    return NotNow(f"status {code}", nobody_there=False)


def _letter(notification: Notification, post: Post, link: str) -> EmailMessage:
    alert = notification.alert
    letter = EmailMessage()
    letter["From"], letter["To"] = post.sender, ", ".join(post.to)
    letter["Subject"] = f"[{alert.priority}] {alert.condition}: {alert.event}"
    letter["Date"] = format_datetime(utc(notification.written_ms * US_PER_MS))
    letter["Message-ID"] = f"<{alert.alert_id}-{alert.step}@wardwatch>"
    letter["Auto-Submitted"] = "auto-generated"
    began = utc(alert.onset_us).isoformat(timespec="seconds")
    lines = [
        f"{alert.condition}, {alert.priority} priority: {alert.event}",
        f"began {began}",
        alert.text,
        f"alarm {alert.alert_id}: the board says whose it is",
        *((link,) if link else ()),
        "",
        "Wardwatch is not a medical device and never the sole source of alarms.",
    ]
    letter.set_content("\n".join(lines))
    return letter


class MailNotifier(Delivery):
    """Mails every call for a person: ``start``, ``stop``. Raises ``ValueError`` for a bad setting (see ``Post``)."""

    def __init__(
        self,
        kafka: str,
        post: Post,
        metrics: Metrics,
        clock: Clock,
        *,
        links: Links = NO_LINKS,
        patience: Patience = PATIENCE,
    ) -> None:
        super().__init__(kafka, Mail(post, patience.timeout_s, links), metrics, clock, patience)

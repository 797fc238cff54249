"""Clinical alarms in Prometheus's Alertmanager (v2 API), which is told how each alarm *stands*.

    WardAlarm        while the signal is not off; one per alarm, so that a silence on its labels works
    WardAlarmAgain   a call of its own, so that it pages anew: escalated, reminded, resumed, returned; its label
                     ``escalation`` says how many further people must be told, for a route to each
    WardSelfTest     the self-test's patient of one partition; ends by itself when the next one does not come
    WardAlarmMuted   while the alarm is acknowledged or paused: inhibits the two above (monitoring/alertmanager.yml)

Alertmanager keeps no alerts over a restart, so everything that stands is posted again every ``REFRESH_S``. No label
and no annotation names a patient.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import msgspec

from stream.links import NO_LINKS, Links
from stream.metrics import Metrics
from stream.notify.delivery import Delivery
from stream.notify.outbox import PATIENCE, Notification, Patience
from stream.notify.receiver import Receiver
from vitals.alerts import AlertEvent, AlertTransition, Signal
from vitals.clock import Clock
from vitals.selftest import is_self_test

REFRESH_S: Final = 30.0
STANDS_S: Final = 3600.0
"""How long an alarm outlives a ward that is gone for good. A ward that lives says when it ends."""

ALARM: Final = "WardAlarm"
AGAIN: Final = "WardAlarmAgain"
MUTED: Final = "WardAlarmMuted"
SELF_TEST: Final = "WardSelfTest"
SELF_TEST_S: Final = 150.0
"""Two of them may be missed: one that is late is no dead man."""

_CALLS: Final = frozenset({AlertEvent.ESCALATED, AlertEvent.REMINDED, AlertEvent.RESUMED, AlertEvent.RETURNED})
_ANSWERED: Final = frozenset({Signal.ACKNOWLEDGED, Signal.PAUSED})
_PATH: Final = "/api/v2/alerts"

Labels = tuple[tuple[str, str], ...]


class PostableAlert(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One alert as the v2 API takes it; times are RFC 3339. ``link``: the alarm on the board, empty where none is."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str
    link: str = msgspec.field(default="", name="generatorURL")


@dataclass(frozen=True, slots=True)
class Standing:
    """One alarm as Alertmanager knows it: when each of its alerts began, and what they say."""

    partition: int
    offset: int
    began_ms: Mapping[Labels, int]
    annotations: dict[str, str]


def after(before: Standing | None, notification: Notification) -> Standing:
    """How the alarm stands after this step; with nothing in ``began_ms`` it has ended."""
    alert, now_ms = notification.alert, notification.written_ms
    known = before or Standing(notification.partition, notification.offset, {}, {})
    began = {labels: known.began_ms.get(labels, now_ms) for labels in _labels_of(alert, known.began_ms)}
    return replace(known, began_ms=began, annotations=_annotations(alert))


def _labels_of(alert: AlertTransition, before: Collection[Labels]) -> Iterator[Labels]:
    if alert.signal is Signal.OFF:
        return
    yield _labels(ALARM, alert)
    if alert.signal in _ANSWERED:
        yield _labels(MUTED, alert)
        return
    for labels in before:
        if ("alertname", AGAIN) in labels:
            yield labels
    if alert.event in _CALLS:
        yield _labels(AGAIN, alert, call=alert.event.value, step=str(alert.step), escalation=str(alert.escalation))


def _labels(name: str, alert: AlertTransition, **further: str) -> Labels:
    return (
        ("alertname", name),
        ("source", "ward"),
        ("alert_id", alert.alert_id),
        ("condition", alert.condition or ""),
        ("priority", alert.priority or ""),
        ("kind", alert.kind or ""),
        *further.items(),
    )


def _annotations(alert: AlertTransition) -> dict[str, str]:
    said = {"summary": alert.text, "event": alert.event.value, "signal": alert.signal.value}
    if alert.evidence is not None and alert.evidence.value is not None:
        said["measured"] = f"{alert.evidence.measure} {alert.evidence.value:g} {alert.evidence.unit}".strip()
        said["limit"] = f"{alert.evidence.limit:g} {alert.evidence.unit}".strip()
    return said


class Alertmanager:
    """See ``Sink``."""

    name: Final = "alertmanager"
    most_at_once: Final = 200

    def __init__(self, receiver: Receiver, clock: Clock, links: Links = NO_LINKS) -> None:
        self._receiver = receiver
        self._clock = clock
        self._links = links
        self._standing: dict[str, Standing] = {}
        self._refresh_s = 0.0

    def remember(self, notification: Notification) -> None:
        """See ``Sink``."""
        name = notification.alert.alert_id
        standing = after(self._standing.get(name), notification)
        if standing.began_ms:
            self._standing[name] = standing
        else:
            self._standing.pop(name, None)

    def send(self, notifications: Sequence[Notification]) -> None:
        """See ``Sink``."""
        tests = [one for one in notifications if is_self_test(one.alert.patient)]
        alarms = [one for one in notifications if one not in tests]
        self._post([*map(self._self_test, tests), *(alert for one in alarms for alert in self._told(one))])
        for one in alarms:
            self.remember(one)

    def tend(self) -> bool:
        """Everything that stands, again, when it is time."""
        now_s = time.monotonic()
        if now_s < self._refresh_s or not self._standing:
            return False
        self._post([alert for standing in self._standing.values() for alert in self._as_it_stands(standing)])
        self._refresh_s = now_s + REFRESH_S
        return True

    def forget(self, partitions: Collection[int]) -> None:
        """See ``Sink``."""
        self._standing = {name: s for name, s in self._standing.items() if s.partition not in partitions}

    def oldest_standing(self, partition: int) -> int | None:
        """See ``Sink``."""
        return min((s.offset for s in self._standing.values() if s.partition == partition), default=None)

    def _told(self, notification: Notification) -> Iterator[PostableAlert]:
        before = self._standing.get(notification.alert.alert_id)
        now = after(before, notification)
        for labels, began_ms in before.began_ms.items() if before is not None else ():
            if labels not in now.began_ms:
                yield self._alarm(labels, now, began_ms, max(notification.written_ms, began_ms + 1))
        yield from self._as_it_stands(now)

    def _self_test(self, notification: Notification) -> PostableAlert:
        labels = (("alertname", SELF_TEST), ("source", "ward-self-test"), ("partition", str(notification.partition)))
        now_ms = self._clock.now_us() // 1000
        said = {"summary": "The self-test's alarm came out. When this ends, alarms of this partition may not."}
        return _postable(labels, said, notification.written_ms, now_ms + round(SELF_TEST_S * 1000))

    def _as_it_stands(self, standing: Standing) -> Iterator[PostableAlert]:
        until_ms = self._clock.now_us() // 1000 + round(STANDS_S * 1000)
        for labels, began_ms in standing.began_ms.items():
            yield self._alarm(labels, standing, began_ms, until_ms)

    def _alarm(self, labels: Labels, standing: Standing, starts_ms: int, ends_ms: int) -> PostableAlert:
        link = self._links.to(dict(labels)["alert_id"])
        return _postable(labels, standing.annotations, starts_ms, ends_ms, link)

    def _post(self, alerts: Sequence[PostableAlert]) -> None:
        self._receiver.post(msgspec.json.encode(alerts), {}, _PATH)


def _postable(
    labels: Labels, annotations: dict[str, str], starts_ms: int, ends_ms: int, link: str = ""
) -> PostableAlert:
    return PostableAlert(dict(labels), annotations, _rfc3339(starts_ms), _rfc3339(ends_ms), link)


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


class AlertmanagerNotifier(Delivery):
    """Tells the Alertmanager at ``address`` how every alarm stands: ``start``, ``stop``.

    Raises ``ValueError`` for an address that is none.
    """

    def __init__(
        self,
        kafka: str,
        address: str,
        metrics: Metrics,
        clock: Clock,
        *,
        links: Links = NO_LINKS,
        patience: Patience = PATIENCE,
    ) -> None:
        sink = Alertmanager(Receiver(address, patience.timeout_s), clock, links)
        super().__init__(kafka, sink, metrics, clock, patience)

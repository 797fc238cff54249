"""How an alarm stands in Alertmanager after each of its steps."""

from __future__ import annotations

import pytest

from stream.notify.alertmanager import Standing, after
from stream.notify.outbox import Notification
from tests.support.alarms import steps
from vitals.alerts import TRANSITIONS, AlertEvent, State

E = AlertEvent


def _after(*events: AlertEvent) -> dict[str, int]:
    """Alert name (with its call) to when it began; step ``i`` was written at ``i`` seconds."""
    standing: Standing | None = None
    for i, alert in enumerate(steps(*events)):
        standing = after(standing, Notification(alert, partition=3, offset=40 + i, written_ms=1000 * i))
    assert standing is not None
    assert (standing.partition, standing.offset) == (3, 40)
    return {
        " ".join(dict(labels)[word] for word in ("alertname", "call") if word in dict(labels)): began // 1000
        for labels, began in standing.began_ms.items()
    }


@pytest.mark.parametrize(
    ("events", "stands"),
    [
        ((E.RAISED,), {"WardAlarm": 0}),
        ((E.RAISED, E.LATCHED), {"WardAlarm": 0}),
        ((E.RAISED, E.CLEARED), {}),
        ((E.RAISED, E.LATCHED, E.RETURNED), {"WardAlarm": 0, "WardAlarmAgain returned": 2}),
        ((E.RAISED, E.ESCALATED), {"WardAlarm": 0, "WardAlarmAgain escalated": 1}),
        ((E.RAISED, E.ESCALATED, E.LATCHED), {"WardAlarm": 0, "WardAlarmAgain escalated": 1}),
        ((E.RAISED, E.ACKNOWLEDGED), {"WardAlarm": 0, "WardAlarmMuted": 1}),
        ((E.RAISED, E.ESCALATED, E.ACKNOWLEDGED), {"WardAlarm": 0, "WardAlarmMuted": 2}),
        ((E.RAISED, E.ACKNOWLEDGED, E.REMINDED), {"WardAlarm": 0, "WardAlarmAgain reminded": 2}),
        ((E.RAISED, E.PAUSED), {"WardAlarm": 0, "WardAlarmMuted": 1}),
        ((E.RAISED, E.PAUSED, E.RESUMED), {"WardAlarm": 0, "WardAlarmAgain resumed": 2}),
        ((E.RAISED, E.ACKNOWLEDGED, E.CLEARED), {}),
        ((E.RAISED, E.WITHDRAWN), {}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_standing(events: tuple[AlertEvent, ...], stands: dict[str, int]) -> None:
    assert _after(*events) == stands


def test_a_second_escalation_is_a_call_of_its_own() -> None:
    standing: Standing | None = None
    for i, alert in enumerate(steps(E.RAISED, E.ESCALATED, E.ESCALATED)):
        standing = after(standing, Notification(alert, 0, i, i))
    assert standing is not None
    assert sorted(dict(labels).get("step", "") for labels in standing.began_ms) == ["", "1", "2"]


def test_every_event_that_an_alarm_can_have_is_known_here() -> None:
    can_be = {event for row in TRANSITIONS.values() for _, event in row.values() if event is not None}
    told = {E.RAISED, E.RETURNED, E.ESCALATED, E.REMINDED, E.RESUMED}
    assert can_be <= told | {E.CLEARED, E.LATCHED, E.ACKNOWLEDGED, E.PAUSED, E.WITHDRAWN}
    assert {state.signal for state in State} == {row.signal for row in TRANSITIONS}


def test_labels_name_nobody_and_stay_the_same_from_step_to_step() -> None:
    standing: Standing | None = None
    names = set()
    for i, alert in enumerate(steps(E.RAISED, E.LATCHED, E.RETURNED, E.LATCHED)):
        standing = after(standing, Notification(alert, 0, i, i))
        names.add(next(labels for labels in standing.began_ms if ("alertname", "WardAlarm") in labels))
        said = repr(standing)
        assert "Ada" not in said
        assert "Ratched" not in said
    (labels,) = names
    assert dict(labels).keys() == {"alertname", "source", "alert_id", "condition", "priority", "kind"}

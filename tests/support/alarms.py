"""Steps of alarms as ``decide`` writes them, and a way to put them on the topic."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from kafka import KafkaProducer

from stream.topics import Topic
from tests.support.topics import partition_of
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition, Evidence, FindingRef, Signal, alert_id
from vitals.conditions import RULES, Condition
from vitals.findings import Task

PATIENT = "Ada Lovelace 1815"
_SIGNAL = {
    AlertEvent.RAISED: Signal.ON,
    AlertEvent.RETURNED: Signal.ON,
    AlertEvent.ESCALATED: Signal.ON,
    AlertEvent.REMINDED: Signal.ON,
    AlertEvent.RESUMED: Signal.ON,
    AlertEvent.LATCHED: Signal.LATCHED,
    AlertEvent.ACKNOWLEDGED: Signal.ACKNOWLEDGED,
    AlertEvent.PAUSED: Signal.PAUSED,
    AlertEvent.CLEARED: Signal.OFF,
    AlertEvent.WITHDRAWN: Signal.OFF,
}


def steps(
    *events: AlertEvent, condition: Condition = Condition.ASYSTOLE, patient: str = PATIENT, onset_us: int = 1_000_000
) -> list[AlertTransition]:
    """The steps of one alarm, from its first."""
    rule = RULES[condition]
    return [
        AlertTransition(
            alert_id=alert_id(patient, condition, onset_us),
            step=i,
            patient=patient,
            condition=condition,
            priority=rule.priority,
            kind=rule.kind,
            event=event,
            presence=event not in {AlertEvent.LATCHED, AlertEvent.CLEARED, AlertEvent.WITHDRAWN},
            signal=_SIGNAL[event],
            onset_us=onset_us,
            time_us=onset_us + i * 1_000_000,
            input_ms=0,
            text=f"Alarm: {event}",
            evidence=Evidence(
                "time since the last beat", 4.2, 4.0, "s", FindingRef(Task.ECG_RHYTHM, "rhythm-1s-v1", 2, "", "rules")
            ),
            who="Nurse Ratched",
            role="nurse",
            reason="seen at the bed of Ada",
        )
        for i, event in enumerate(events)
    ]


def publish(bootstrap: str, alerts: Sequence[AlertTransition]) -> None:
    """Writes the steps as the worker does, and waits until the broker has them."""
    with closing(KafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)) as producer:
        for alert in alerts:
            sent = producer.send(
                Topic.ALERTS.value,
                codec.encode(alert),
                key=alert.patient.encode(),
                partition=partition_of(alert.patient),
            )
            sent.get(timeout=30)

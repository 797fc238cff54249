"""Somebody who answers alarms while nobody looks: a few of them are acknowledged, as from the board."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from kafka import KafkaConsumer, TopicPartition

from stream.gateways.schedule import Due
from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition, Signal
from vitals.clock import SystemClock
from vitals.conditions import Kind
from vitals.events import Command

WHO: Final = "demo"
ROLE: Final = "nurse"
_REACTION_S: Final = 3.0
_AT_MOST: Final = 5
_SILENT: Final = (Signal.OFF, Signal.ACKNOWLEDGED)


class Nurse:
    """Acknowledges physiological alarms raised after she came that still call after some seconds."""

    def __init__(self, bootstrap: str, send: Callable[[Due], None]) -> None:
        self._send = send
        self._calling: dict[str, tuple[float, AlertTransition]] = {}
        self._answered = 0
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, client_id="wardwatch-nurse"
        )
        self._consumer.assign([TopicPartition(Topic.ALERTS.value, p) for p in range(PARTITIONS)])
        self._consumer.seek_to_end()
        for partition in self._consumer.assignment():
            self._consumer.position(partition)

    def look_after(self) -> None:
        """Reads what was raised, answers what still calls. Does not wait."""
        now = time.monotonic()
        for batch in self._consumer.poll(timeout_ms=0).values():
            for record in batch:
                step = codec.decode(AlertTransition, record.value)
                if step.event is AlertEvent.RAISED and step.kind is Kind.PHYSIOLOGICAL:
                    self._calling[step.alert_id] = (now, step)
                elif step.signal in _SILENT:
                    self._calling.pop(step.alert_id, None)
        for alert_id, (since, step) in list(self._calling.items()):
            if since + _REACTION_S <= now and self._answered < _AT_MOST:
                del self._calling[alert_id]
                self._answered += 1
                self._acknowledge(step)

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _acknowledge(self, step: AlertTransition) -> None:
        command = Command(
            patient=step.patient,
            action="acknowledge",
            who=WHO,
            role=ROLE,
            when_us=SystemClock().now_us(),
            condition=step.condition,
            alert_id=step.alert_id,
        )
        self._send(Due(0.0, Topic.COMMANDS, step.patient.encode(), codec.encode(command), 0))

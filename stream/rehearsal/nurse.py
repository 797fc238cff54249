"""Somebody who answers alarms while nobody looks: a few of them are acknowledged, as from the board."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from kafka import KafkaConsumer, TopicPartition

from stream.gateways.schedule import Due
from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import SystemClock
from vitals.conditions import Kind
from vitals.events import Command

WHO: Final = "demo"
ROLE: Final = "nurse"
_REACTION_S: Final = 3.0
_AT_MOST: Final = 5


class Nurse:
    """Acknowledges the first physiological alarms raised after she came, each after some seconds."""

    def __init__(self, bootstrap: str, send: Callable[[Due], None]) -> None:
        self._send = send
        self._due: deque[tuple[float, AlertTransition]] = deque()
        self._taken = 0
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, client_id="wardwatch-nurse"
        )
        self._consumer.assign([TopicPartition(Topic.ALERTS.value, p) for p in range(PARTITIONS)])
        self._consumer.seek_to_end()
        for partition in self._consumer.assignment():
            self._consumer.position(partition)

    def look_after(self) -> None:
        """Reads what was raised, answers what is due. Does not wait."""
        now = time.monotonic()
        for batch in self._consumer.poll(timeout_ms=0).values():
            for record in batch:
                step = codec.decode(AlertTransition, record.value)
                wanted = step.event is AlertEvent.RAISED and step.kind is Kind.PHYSIOLOGICAL
                if wanted and self._taken < _AT_MOST:
                    self._taken += 1
                    self._due.append((now + _REACTION_S, step))
        while self._due and self._due[0][0] <= now:
            self._acknowledge(self._due.popleft()[1])

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

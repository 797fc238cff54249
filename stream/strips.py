"""``python -m stream strips``: the ECG around every alarm of the ECG, frozen; one process for a site.

It follows ``alerts.v1`` and ``ecg.v1`` without a group, and writes one record to ``strips.v1`` for each alarm that is
raised. A process of its own: a strip may be late, a heartbeat may not. It begins a minute back, always: what it was
killed over is cut again from the same records to the same bytes, and what lies in ``strips.v1`` is not written twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream import children, config
from stream.config import Settings
from stream.freezing import Freezer
from stream.gateways.schedule import Due
from stream.gateways.sending import Sender
from stream.health import Health
from stream.httpserver import HttpServer, probe_routes
from stream.metrics import Metrics
from stream.topics import PARTITIONS, Topic
from stream.web.reader import offsets_at, open_consumer, taken
from vitals import codec
from vitals.alerts import AlertTransition
from vitals.clock import Clock, SystemClock
from vitals.errors import Fault, Unusable
from vitals.strips import Strip
from vitals.units import US_PER_MS, US_PER_S

BACK_US: Final = 60 * US_PER_S
_ECG_BACK_US: Final = 100 * US_PER_S
"""An alarm of a minute ago has its ECG before it."""
_IN_FLIGHT_US: Final = US_PER_S
"""What was written so lately may not have come, even where the log was read to its end."""
_LATE_US: Final = 10 * US_PER_S
_POLL_MS: Final = 200
_AGAIN_S: Final = 1.0
_PROCESS: Final = "strips"


def main(argv: Sequence[str]) -> int:
    """0 when it was asked to end, 2 for a setting or a port that cannot be had."""
    argparse.ArgumentParser(prog="python -m stream strips", description="freeze the ECG of alarms").parse_args(argv)
    metrics, clock = Metrics(process=_PROCESS), SystemClock()
    try:
        settings = config.read(os.environ)
        health = Health(clock, settings.stalled_s)
        health.expect(_PROCESS)
        HttpServer(settings.http_host, settings.http_port, probe_routes(metrics.registry, health)).start()
    except (config.SettingError, Fault) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with children.signals_as_interrupt() as stop, suppress(KeyboardInterrupt):
        while not stop.is_set():
            try:
                _Freezing(settings, metrics, health, clock).run(stop)
            except (Fault, KafkaError, OSError) as error:
                sys.stderr.write(f"{error}\n")
                health.turned()
                stop.wait(_AGAIN_S)
    return 0


class _Freezing:
    """From a minute ago on, until the broker is gone or somebody asks to end."""

    def __init__(self, settings: Settings, metrics: Metrics, health: Health, clock: Clock) -> None:
        self._kafka = settings.kafka
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._began_us = clock.now_us()
        ecg_since_us = self._began_us - _ECG_BACK_US
        self._freezer = Freezer(ecg_since_us, round(settings.clock_ahead_s * US_PER_S))
        self._arrived_us = dict.fromkeys(range(PARTITIONS), ecg_since_us)
        """Of each partition of ``ecg.v1``: when the last record that was taken had arrived."""

    def run(self, stop: threading.Event) -> None:
        """Raises ``Fault`` or ``KafkaError`` when the broker is gone or does not take a strip."""
        with open_consumer(self._kafka) as consumer, closing(Sender(self._kafka)) as sender:
            for record in _to_the_end(consumer, Topic.STRIPS, self._began_us - BACK_US):
                self._take(record)
            # alarms first: the ECG that goes by then knows what it is kept for
            for record in _to_the_end(consumer, Topic.ALERTS, self._began_us - BACK_US):
                self._take(record)
            alerts = {tp: consumer.position(tp) for tp in _partitions(Topic.ALERTS)}
            ecg = _offsets(consumer, Topic.ECG, self._began_us - _ECG_BACK_US)
            consumer.assign([*alerts, *ecg])
            for tp, offset in (alerts | ecg).items():
                consumer.seek(tp, offset)
            while not stop.is_set():
                for records in consumer.poll(timeout_ms=_POLL_MS).values():
                    for record in records:
                        self._take(record)
                self._write(sender, self._read_us(consumer))

    def _take(self, record: Any) -> None:
        """What cannot be read is passed over: who has to know of it is told by the worker."""
        one = taken(record)
        with suppress(Unusable, ValueError):
            match record.topic:
                case Topic.ECG:
                    self._arrived_us[one.partition] = one.arrived_us
                    self._freezer.take_ecg(one.value, one.content_type, one.partition, record.offset, one.arrived_us)
                case Topic.ALERTS:
                    self._freezer.take_alert(codec.decode(AlertTransition, one.value, one.content_type), one.arrived_us)
                case Topic.STRIPS:
                    self._freezer.know(codec.decode(Strip, one.value, one.content_type).alert_id)

    def _read_us(self, consumer: KafkaConsumer) -> int:
        """All ECG that arrived before this was taken."""
        now_us = max(self._clock.now_us(), *self._arrived_us.values())  # ours may be behind the broker's

        def reached_us(tp: TopicPartition) -> int:
            end = consumer.highwater(tp)
            is_at_end = end is not None and consumer.position(tp) >= end
            return now_us - _IN_FLIGHT_US if is_at_end else self._arrived_us[tp.partition]

        return min(map(reached_us, _partitions(Topic.ECG)))

    def _write(self, sender: Sender, read_us: int) -> None:
        freezer, metrics = self._freezer, self._metrics
        made = metrics.counter["wardwatch_strips_total"]
        for strip in freezer.cut(read_us):
            sender.send(Due(0.0, Topic.STRIPS, strip.patient.encode(), codec.encode(strip), 1))
            made.labels("short" if strip.missing else "whole").inc()
        sender.check()
        if freezer.turned_away:
            made.labels("none").inc(freezer.turned_away)
            freezer.turned_away = 0
        metrics.gauge["wardwatch_strips_waiting"].set(freezer.waiting)
        metrics.gauge["wardwatch_strips_memory_bytes"].set(freezer.kept_bytes)
        metrics.gauge["wardwatch_strips_read_timestamp_seconds"].set(read_us / US_PER_S)
        self._health.turned()
        if self._clock.now_us() - read_us < _LATE_US:
            self._health.loaded(_PROCESS, True)


def _partitions(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.value, p) for p in range(PARTITIONS)]


def _offsets(consumer: KafkaConsumer, topic: Topic, since_us: int) -> dict[TopicPartition, int]:
    partitions = _partitions(topic)
    return offsets_at(consumer, partitions, since_us // US_PER_MS, consumer.end_offsets(partitions))


def _to_the_end(consumer: KafkaConsumer, topic: Topic, since_us: int) -> Iterator[Any]:
    """What was written to ``topic`` since then; the consumer then stands at the end of each partition."""
    partitions = _partitions(topic)
    ends = consumer.end_offsets(partitions)
    begins = offsets_at(consumer, partitions, since_us // US_PER_MS, ends)
    consumer.assign(partitions)
    for tp, offset in begins.items():
        consumer.seek(tp, offset)
    while any(consumer.position(tp) < end for tp, end in ends.items()):
        for records in consumer.poll(timeout_ms=_POLL_MS).values():
            yield from records

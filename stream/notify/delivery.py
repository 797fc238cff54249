"""From ``alerts.v1`` to one sink, at least once, on a thread and with a consumer group of its own.

The place in the log moves only past what was delivered, refused or has expired. Beside it stands, as the commit's
metadata, where the oldest alarm that still stands was raised: whoever reads on begins there, so that a sink which is
told how things *stand* (Alertmanager) knows it again without being told anything twice.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from stream.metrics import Metrics
from stream.notify.outbox import Notification, Outbox, Patience
from stream.notify.receiver import NotNow, Refused
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertTransition
from vitals.clock import Clock
from vitals.errors import Unusable
from vitals.selftest import is_self_test, proves

_log = logging.getLogger("wardwatch.notify")

_IDLE_S: Final = 0.5
_ROUND_S: Final = 1.0
_STOP_S: Final = 3.0
_MOST_WAITING: Final = 5000
_LOOK_BACK_S: Final = 900.0
"""A group that has never committed tells the steps of the last quarter of an hour; older ones are only remembered."""


class Sink(Protocol):
    """Who is told. Called from one thread only."""

    @property
    def name(self) -> str: ...

    @property
    def most_at_once(self) -> int: ...

    def remember(self, notification: Notification) -> None:
        """How things stood before: it is not sent."""

    def send(self, notifications: Sequence[Notification]) -> None:
        """At most ``most_at_once`` steps, of as many alarms. Raises ``Refused`` or ``NotNow``; then none was taken."""

    def tend(self) -> bool:
        """Called in every round; whether there was something to tell. Raises ``Refused`` or ``NotNow``."""

    def forget(self, partitions: Collection[int]) -> None:
        """They are another's now."""

    def oldest_standing(self, partition: int) -> int | None:
        """Offset at which the oldest alarm that still stands began."""


@dataclass(slots=True)
class _Place:
    """Of one partition: steps before ``live`` are only remembered; ``next`` is the offset to read next."""

    live: int
    next: int
    committed: tuple[int, str] | None = None


class Delivery(ConsumerRebalanceListener):
    """One sink's deliverer: ``start``, ``stop``. Nothing that its sink does reaches anyone else."""

    def __init__(self, kafka: str, sink: Sink, metrics: Metrics, clock: Clock, patience: Patience) -> None:
        self._kafka = kafka
        self._sink = sink
        self._clock = clock
        self._patience = patience
        self._outbox = Outbox(patience)
        self._ended = metrics.counter["wardwatch_notifications_total"]
        self._backlog = metrics.gauge["wardwatch_notify_backlog"].labels(sink.name)
        self._backlog.set(0)
        self._proven = metrics.gauge["wardwatch_self_test_delivered_timestamp_seconds"]
        self._places: dict[int, _Place] = {}
        self._fresh: set[int] = set()
        self._failures = 0
        self._closed_until_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{sink.name}", daemon=True)

    def start(self) -> None:
        """Begin. The broker need not be there yet."""
        self._thread.start()

    def stop(self) -> None:
        """End within a few seconds; what is not delivered stays in the log for the next one."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """See kafka-python. Seeking has to wait until the poll that this is a part of is over."""
        self._fresh.update(partition.partition for partition in assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """See kafka-python."""
        partitions = {partition.partition for partition in revoked}
        self._fresh -= partitions
        self._places = {p: place for p, place in self._places.items() if p not in partitions}
        for partition in partitions:
            with suppress(KeyError):
                self._proven.remove(self._sink.name, str(partition))
        self._outbox.forget(partitions)
        self._sink.forget(partitions)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._serve()
                except KafkaError as error:
                    _log.warning("%s: the broker is gone (%s)", self._sink.name, type(error).__name__)
                    self._leave_all()
                    self._stopping.wait(self._patience.first_s)
        finally:
            if not self._stopping.is_set():
                # A defect ended this thread. Nobody outside is told any more: that must be seen.
                self._backlog.set(math.inf)

    def _serve(self) -> None:
        with closing(self._consumer()) as consumer:
            consumer.subscribe([Topic.ALERTS.value], listener=self)
            while not self._stopping.is_set():
                self._take(consumer)
                self._deliver()
                self._tend()
                self._commit(consumer)
                self._backlog.set(self._behind(consumer))

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._kafka,
            group_id=f"wardwatch-notify-{self._sink.name}",
            client_id=f"wardwatch-notify-{self._sink.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=10_000,
            # an alarm cannot wait for the stock 30 s and 5 min: a broker that is back, a topic that is made after us
            reconnect_backoff_max_ms=1000,
            metadata_max_age_ms=3000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def _leave_all(self) -> None:
        self.on_partitions_revoked([TopicPartition(Topic.ALERTS.value, p) for p in (*self._places, *self._fresh)])

    def _take(self, consumer: KafkaConsumer) -> None:
        full = len(self._outbox) >= _MOST_WAITING
        (consumer.pause if full else consumer.resume)(*consumer.assignment())
        due_s = self._outbox.next_due_s()
        wait_s = _IDLE_S if due_s is None else max(due_s, self._closed_until_s) - time.monotonic()
        for tp, records in consumer.poll(timeout_ms=round(1000 * min(max(wait_s, 0.0), _IDLE_S))).items():
            place = self._places.get(tp.partition)
            if place is not None:
                for record in records:
                    self._enter(record, place)
        for partition in sorted(self._fresh):
            self._places[partition] = self._open(consumer, TopicPartition(Topic.ALERTS.value, partition))
            self._fresh.discard(partition)

    def _open(self, consumer: KafkaConsumer, tp: TopicPartition) -> _Place:
        committed = consumer.committed(tp, metadata=True)
        if committed is None:
            since_ms = self._clock.now_us() // 1000 - round(_LOOK_BACK_S * 1000)
            end = consumer.end_offsets([tp])[tp]  # asked first: what is written after this is told
            found = consumer.offsets_for_times({tp: since_ms}).get(tp)
            place = _Place(end if found is None else found.offset, consumer.beginning_offsets([tp])[tp])
        else:
            standing = committed.metadata
            place = _Place(committed.offset, int(standing) if standing.isdigit() else committed.offset)
        consumer.seek(tp, place.next)
        self._prove(tp.partition)
        return place

    def _enter(self, record: Any, place: _Place) -> None:
        place.next = record.offset + 1
        try:
            alert = codec.decode(AlertTransition, record.value or b"", codec.content_type(record.headers))
        except Unusable as why:
            self._count("refused")
            _log.error("%s: a record of alerts.v1 cannot be told: %s", self._sink.name, why)
            return
        if not alert.alert_id or self._outbox.is_repeat(alert):
            return
        if is_self_test(alert.patient) and not (record.offset >= place.live and proves(alert)):
            return
        notification = Notification(alert, record.partition, record.offset, record.timestamp)
        if record.offset < place.live:
            self._sink.remember(notification)
        else:
            self._outbox.enter(notification)

    def _deliver(self) -> None:
        end_s = time.monotonic() + _ROUND_S
        while self._closed_until_s <= (now_s := time.monotonic()) < end_s and not self._stopping.is_set():
            due = self._outbox.due(now_s, self._sink.most_at_once)
            if not due:
                return
            self._send(due)

    def _send(self, due: Sequence[Notification]) -> None:
        try:
            self._sink.send(due)
        except NotNow as why:
            self._postpone(due, why)
        except Refused as why:
            if len(due) > 1:  # which of them it was shows when each goes alone
                for one in due:
                    self._send([one])
                return
            _log.error("%s refused a notification: %s", self._sink.name, why)
            self._end(due[0], "refused")
        else:
            self._failures = 0
            for one in due:
                self._outbox.settle(one)
                if is_self_test(one.alert.patient):
                    self._prove(one.partition)
                else:
                    self._count("delivered")

    def _prove(self, partition: int) -> None:
        self._proven.labels(self._sink.name, str(partition)).set(self._clock.now_us() / 1e6)

    def _postpone(self, due: Sequence[Notification], why: NotNow) -> None:
        now_s, now_ms = time.monotonic(), self._clock.now_us() // 1000
        self._failed(why, now_s)
        for one in due:
            if not self._outbox.postpone(one, now_s, now_ms):
                self._end(one, "expired")

    def _failed(self, why: NotNow, now_s: float) -> None:
        if not why.nobody_there:
            return
        self._failures += 1
        if self._failures == 1:
            _log.warning("%s: %s; it is tried again", self._sink.name, why)
        self._closed_until_s = now_s + self._patience.pause_s(self._failures)

    def _end(self, notification: Notification, result: str) -> None:
        self._outbox.settle(notification)
        if is_self_test(notification.alert.patient):
            return
        self._sink.remember(notification)
        self._count(result)

    def _count(self, result: str) -> None:
        self._ended.labels(self._sink.name, result).inc()

    def _tend(self) -> None:
        if time.monotonic() < self._closed_until_s:
            return
        try:
            if self._sink.tend():
                self._failures = 0
        except NotNow as why:
            self._failed(why, time.monotonic())
        except Refused as why:
            _log.error("%s refused how things stand: %s", self._sink.name, why)

    def _commit(self, consumer: KafkaConsumer) -> None:
        moved: dict[TopicPartition, OffsetAndMetadata] = {}
        for partition, place in self._places.items():
            if place.next < place.live:
                continue  # still remembering: nothing has been told
            lowest = self._outbox.lowest(partition)
            standing = self._sink.oldest_standing(partition)
            reached = (place.next if lowest is None else lowest, "" if standing is None else str(standing))
            if reached != place.committed:
                moved[TopicPartition(Topic.ALERTS.value, partition)] = OffsetAndMetadata(*reached, -1)
                place.committed = reached
        if moved:
            consumer.commit(moved)

    def _behind(self, consumer: KafkaConsumer) -> int:
        unread = 0
        for partition, place in self._places.items():
            end = consumer.highwater(TopicPartition(Topic.ALERTS.value, partition))
            unread += max(0, end - place.next) if end is not None else 0
        return len(self._outbox) + unread

"""What was confirmed, counted: the corridors' witness. Counts are made when the broker has the messages, per batch."""

from __future__ import annotations

from typing import Final

from models.engine import Rung
from stream import drifting
from stream.health import Health
from stream.metrics import Metrics
from stream.modelslot import SlotNews
from stream.pipeline import Half, Products
from vitals.clock import Clock
from vitals.errors import Fate
from vitals.findings import Task

_STREAM: Final = {Task.ECG_RHYTHM: "ecg", Task.GLUCOSE: "glucose"}
"""Whose silence is a condition, by the stream that has fallen silent."""


class Tally:
    """See ``Witness``."""

    def __init__(self, metrics: Metrics, health: Health, clock: Clock) -> None:
        self._counter = metrics.counter
        self._gauge = metrics.gauge
        self._histogram = metrics.histogram
        self._health = health
        self._clock = clock
        self._bundle: dict[tuple[str, str], str] = {}
        for drift in drifting.series():
            self._counter["wardwatch_drift_total"].labels(*drift)  # there from the start: the first one is an increase

    def published(self, stream: str, products: Products, now_ms: int) -> None:
        """See ``Witness``."""
        self._count_events(stream, products)
        self._count_windows(products)
        for taken, n in products.decided.items():
            self._counter["wardwatch_findings_decided_total"].labels(taken.value).inc(n)
        self._counter["wardwatch_risks_total"].inc(products.risks)
        for transition, n in products.alerts.items():
            self._counter["wardwatch_alerts_total"].labels(*transition).inc(n)
        for sent_ms in products.completed_ms:
            seconds = max(0, now_ms - sent_ms) / 1000
            self._histogram["wardwatch_event_to_finding_seconds"].labels(stream).observe(seconds)
        for sent_ms in products.alerted_ms:
            self._histogram["wardwatch_event_to_alert_seconds"].observe(max(0, now_ms - sent_ms) / 1000)
        for condition, n in products.present.items():
            self._gauge["wardwatch_alerts_active"].labels(*condition).set(n)
        for priority, n in products.unacknowledged.items():
            self._gauge["wardwatch_alerts_unacknowledged"].labels(priority).set(n)
        for task, n in products.stale.items():
            self._gauge["wardwatch_patients_stale"].labels(_STREAM[Task(task)]).set(n)

    def _count_windows(self, products: Products) -> None:
        for (task, engine), n in products.findings.items():
            self._counter["wardwatch_findings_total"].labels(task, engine).inc(n)
        for (task, says), n in products.said.items():
            self._counter["wardwatch_windows_total"].labels(task, says).inc(n)
        for (task, answer), n in products.paired.items():
            self._counter["wardwatch_paired_windows_total"].labels(task, answer).inc(n)
        for drift, n in products.drifts.items():
            self._counter["wardwatch_drift_total"].labels(*drift).inc(n)
        for task, index in products.stability.items():
            self._gauge["wardwatch_drift_answers_index"].labels(task).set(index)
        for task, n in products.batches:
            self._histogram["wardwatch_batch_windows"].labels(task).observe(n)

    def _count_events(self, stream: str, products: Products) -> None:
        events = self._counter["wardwatch_events_total"]
        if products.scored:
            events.labels(stream, "scored", "").inc(products.scored)
        for reason, n in products.refused.items():
            if n and reason.fate is Fate.DEAD_LETTER:
                events.labels(stream, "dead_lettered", reason.value).inc(n)
                self._counter["wardwatch_dead_letters_total"].labels(stream, reason.value).inc(n)
            elif n:
                events.labels(stream, "dropped", reason.value).inc(n)
        if products.waiting is not None:
            self._gauge["wardwatch_events_waiting"].labels(stream).set(products.waiting)

    def stage(self, stage: str, seconds: float) -> None:
        """See ``Witness``."""
        self._histogram["wardwatch_stage_seconds"].labels(stage).observe(seconds)

    def progressed(self, half: Half, released: int, owed: int, unsaved_since_us: int | None) -> None:
        """See ``Witness``."""
        now_us = self._clock.now_us()
        self._health.progressed(half.stream, released, owed)
        self._gauge["wardwatch_patients"].labels(half.stream).set(half.patients())
        age_s = 0.0 if unsaved_since_us is None else (now_us - unsaved_since_us) / 1e6
        self._gauge["wardwatch_checkpoint_age_seconds"].labels(half.stream).set(age_s)
        if released:
            self._gauge["wardwatch_last_progress_timestamp_seconds"].labels(half.stream).set(now_us / 1e6)

    def lag(self, stream: str, lag: dict[str, int], held: int) -> None:
        """Records not taken, by topic; ``held``: taken and not acknowledged."""
        for topic, n in lag.items():
            self._gauge["wardwatch_lag_records"].labels(topic).set(n)
            self._counter["wardwatch_rewinds_total"].labels(topic)  # there from the start: the first one is an increase
        self._health.behind(stream, sum(lag.values()) + held)

    def overload(self, step: int) -> None:
        """How much is given up: see ``stream/overload.py``."""
        self._gauge["wardwatch_overload_step"].set(step)

    def judged(self, condition: str, worth: str) -> None:
        """A person said what an alarm was worth."""
        self._counter["wardwatch_alarms_judged_total"].labels(condition, worth).inc()

    def rewound(self, topic: str) -> None:
        """A hole in the offsets was sought back."""
        self._counter["wardwatch_rewinds_total"].labels(topic).inc()

    def unreadable(self, checkpoints: int) -> None:
        """So many checkpoints were passed over at an assignment."""
        self._counter["wardwatch_checkpoints_unreadable_total"].inc(checkpoints)

    def slot(self, news: SlotNews) -> None:
        """A slot changed, or did not."""
        task = news.task.value
        self._counter["wardwatch_model_swaps_total"].labels(task, news.result).inc()
        for rung in Rung:
            self._gauge["wardwatch_engine_rung"].labels(task, rung.value).set(rung is news.rung)
        for name, bundle in (("wardwatch_model_info", news.bundle), ("wardwatch_model_beside_info", news.beside)):
            before = self._bundle.get((name, task), "")
            if before and before != bundle:
                self._gauge[name].labels(task, before).set(0)
            if bundle:
                self._gauge[name].labels(task, bundle).set(1)
            self._bundle[name, task] = bundle

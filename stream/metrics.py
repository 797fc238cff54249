"""Every metric of the service, in one table. No label ever carries a patient, a device or a gateway.

Counted per batch, never per message: the usual per-message sensor costs half as much again as the message itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

_LATENCY_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)
_STAGE_S: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)

Process = Literal["worker", "self-test", "shadow", "strips"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One row: the name carries the unit; ``labels`` are closed sets; ``process`` is who has it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    process: Process = "worker"


TABLE: Final[tuple[MetricSpec, ...]] = (
    MetricSpec(
        "wardwatch_events_total",
        "counter",
        ("stream", "outcome", "reason"),
        "events (one patient's chunk, reading or image) by how they ended: scored, dropped, dead_lettered",
    ),
    MetricSpec("wardwatch_events_waiting", "gauge", ("stream",), "events waiting in a window"),
    MetricSpec("wardwatch_findings_total", "counter", ("task", "engine"), "findings published"),
    MetricSpec(
        "wardwatch_windows_total",
        "counter",
        ("task", "says"),
        "windows by what was said of them: likeliest class, range of the forecast 30 min ahead, verdict where no model",
    ),
    MetricSpec(
        "wardwatch_drift_total",
        "counter",
        ("stream", "kind", "scope", "event"),
        "drifts told on drift.v1: gain, leads, mains, bias of a bed, answers of a ward; began, ended (it has settled)",
    ),
    MetricSpec(
        "wardwatch_drift_answers_index",
        "gauge",
        ("task",),
        "population stability index of the newest hour of answers beside the day before",
    ),
    MetricSpec(
        "wardwatch_alarms_judged_total",
        "counter",
        ("condition", "judged"),
        "what staff said of alarms (labels.v1): true, false, not-actionable",
    ),
    MetricSpec(
        "wardwatch_findings_decided_total",
        "counter",
        ("outcome",),
        "findings by what the decide half did with them: decided, known before, other-source (a monitor not followed)",
    ),
    MetricSpec("wardwatch_risks_total", "counter", (), "risks published"),
    MetricSpec("wardwatch_alerts_total", "counter", ("condition", "priority", "event"), "alert transitions published"),
    MetricSpec("wardwatch_alerts_active", "gauge", ("priority", "kind"), "conditions present now"),
    MetricSpec(
        "wardwatch_alerts_unacknowledged", "gauge", ("priority",), "signals on or latched that nobody acknowledged"
    ),
    MetricSpec("wardwatch_patients_stale", "gauge", ("stream",), "patients whose stream is overdue"),
    MetricSpec("wardwatch_patients", "gauge", ("stream",), "patients with state in this worker"),
    MetricSpec(
        "wardwatch_event_to_finding_seconds",
        "histogram",
        ("stream",),
        "from the broker's time of the completing record to the finding confirmed",
        _LATENCY_S,
    ),
    MetricSpec(
        "wardwatch_event_to_alert_seconds",
        "histogram",
        (),
        "from the broker's time of the completing record to the alert confirmed",
        _LATENCY_S,
    ),
    MetricSpec("wardwatch_stage_seconds", "histogram", ("stage",), "time of one batch in one stage", _STAGE_S),
    MetricSpec("wardwatch_batch_windows", "histogram", ("task",), "windows scored together", _BATCH),
    MetricSpec("wardwatch_engine_rung", "gauge", ("task", "rung"), "1 for the rung that serves, else 0"),
    MetricSpec("wardwatch_model_info", "gauge", ("task", "bundle"), "1 for the bundle that serves"),
    MetricSpec("wardwatch_model_beside_info", "gauge", ("task", "bundle"), "1 for the bundle that is asked beside it"),
    MetricSpec(
        "wardwatch_model_swaps_total",
        "counter",
        ("task", "result"),
        "what became of models: shadow, active, proven; challenge, withdrawn; rejected (in the shadow), rolled_back (on"
        " probation), refused (cannot be opened), untrusted (signature), fell_back (to a lower rung)",
    ),
    MetricSpec(
        "wardwatch_paired_windows_total",
        "counter",
        ("task", "answer"),
        "windows that two models were asked about: both call it alike, or otherwise",
    ),
    MetricSpec("wardwatch_lag_records", "gauge", ("topic",), "records in the log that this worker has not taken"),
    MetricSpec(
        "wardwatch_overload_step",
        "gauge",
        (),
        "0 while all is done; 1: no heartbeats classified; from 2 on patients not watched",
    ),
    MetricSpec("wardwatch_last_progress_timestamp_seconds", "gauge", ("half",), "when a record was last acknowledged"),
    MetricSpec("wardwatch_checkpoint_age_seconds", "gauge", ("half",), "age of the oldest unsaved change"),
    MetricSpec(
        "wardwatch_checkpoints_unreadable_total",
        "counter",
        (),
        "checkpoints that could not be read at an assignment: their owners begin anew",
    ),
    MetricSpec("wardwatch_rewinds_total", "counter", ("topic",), "offset gaps found and sought back"),
    MetricSpec("wardwatch_dead_letters_total", "counter", ("stream", "reason"), "kept in the dead-letter topic"),
    MetricSpec("wardwatch_notifications_total", "counter", ("sink", "result"), "notifications by their end"),
    MetricSpec(
        "wardwatch_self_test_delivered_timestamp_seconds",
        "gauge",
        ("sink", "partition"),
        "when this sink last took the alarm of a partition's self-test (at first: when it began to wait)",
    ),
    MetricSpec(
        "wardwatch_self_test_confirmed_timestamp_seconds",
        "gauge",
        (),
        "when the broker last confirmed a message of the self-test",
        process="self-test",
    ),
    MetricSpec("wardwatch_notify_backlog", "gauge", ("sink",), "notifications not yet delivered"),
    MetricSpec("wardwatch_board_pages", "gauge", (), "pages of the board that are open and not hidden"),
    MetricSpec(
        "wardwatch_shadow_alerts_total",
        "counter",
        ("condition", "priority", "event"),
        "alert transitions of rules that are only tried: nobody is told",
        process="shadow",
    ),
    MetricSpec(
        "wardwatch_shadow_lag_records",
        "gauge",
        ("topic",),
        "records in the log that the shadow has not taken",
        process="shadow",
    ),
    MetricSpec(
        "wardwatch_strips_total",
        "counter",
        ("result",),
        "ECG strips of alarms: whole; short (something is missing, the strip says why); none (too many waited)",
        process="strips",
    ),
    MetricSpec("wardwatch_strips_waiting", "gauge", (), "alarms whose strip is not written yet", process="strips"),
    MetricSpec("wardwatch_strips_memory_bytes", "gauge", (), "ECG kept in memory for strips", process="strips"),
    MetricSpec(
        "wardwatch_strips_read_timestamp_seconds",
        "gauge",
        (),
        "all ECG that arrived before this was read for strips",
        process="strips",
    ),
)


class Metrics:
    """The rows of one process made live in one registry. Asking for a name that is not there raises ``KeyError``."""

    def __init__(self, registry: CollectorRegistry | None = None, *, process: Process = "worker") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter that nobody reads
        self.registry = registry if registry is not None else CollectorRegistry()
        self.counter: dict[str, Counter] = {}
        self.gauge: dict[str, Gauge] = {}
        self.histogram: dict[str, Histogram] = {}
        for row in TABLE:
            if row.process != process:
                continue
            if row.kind == "counter":
                self.counter[row.name] = Counter(row.name, row.meaning, row.labels, registry=self.registry)
            elif row.kind == "gauge":
                self.gauge[row.name] = Gauge(row.name, row.meaning, row.labels, registry=self.registry)
            else:
                self.histogram[row.name] = Histogram(
                    row.name, row.meaning, row.labels, buckets=row.buckets, registry=self.registry
                )

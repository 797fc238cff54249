"""The report says what is on the topics and in the metrics, and no law that is broken goes unsaid."""

from __future__ import annotations

import math

import msgspec
import pytest
from prometheus_client import generate_latest

from stream.metrics import Metrics
from stream.rehearsal.report import Counted, Stored, report
from stream.rehearsal.status import Scrape
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition, Signal
from vitals.conditions import Condition, Kind, Priority
from vitals.errors import Reason
from vitals.events import DeadLetter
from vitals.findings import FindingBatch, Findings, Task
from vitals.risk import Band, RiskBatch

SENT = {Topic.ECG: 10, Topic.GLUCOSE: 5, Topic.IMAGING: 3}


def _metrics() -> Metrics:
    """A worker that accounts for all of ``SENT``."""
    metrics = Metrics()
    events = metrics.counter["wardwatch_events_total"]
    events.labels("ecg", "scored", "").inc(7)
    events.labels("ecg", "dropped", "duplicate").inc(1)
    metrics.gauge["wardwatch_events_waiting"].labels("ecg").set(2)
    events.labels("glucose", "scored", "").inc(4)
    events.labels("glucose", "dropped", "duplicate").inc(1)
    events.labels("imaging", "scored", "").inc(2)
    events.labels("imaging", "dead_lettered", "pixels-missing").inc(1)
    return metrics


def _counted(metrics: Metrics) -> Counted:
    return Counted.scraped(generate_latest(metrics.registry).decode())


def _findings(*, value: float = 0.9, timestamp_ms: int = 1_250, input_ms: int = 1_000, end_us: int = 5) -> Stored:
    batch = FindingBatch(
        task=Task.PNEUMONIA, spec="grey-28-v1", model="abc", engine="onnx-cpu", patients=["a", "b"], row=[0, 1],
        end_us=[end_us, end_us], known_us=[5, 5], input_ms=[input_ms, input_ms], verdict=[0, 0],
        columns=["p_normal", "p_pneumonia"], values=[[1 - value, 0.5], [value, None]],
    )  # fmt: skip
    return Stored(Topic.FINDINGS, timestamp_ms, codec.encode(Findings(tables=[batch])))


def _letter(reason: Reason = Reason.PIXELS_MISSING) -> Stored:
    letter = DeadLetter(
        topic="imaging.v1", partition=0, offset=0, timestamp_ms=0, reason=reason.value, detail="", row=-1, key=b"k",
        value=b"v", content_type=codec.MSGPACK,
    )  # fmt: skip
    return Stored(Topic.DEAD_LETTER, 0, codec.encode(letter))


def _alert(event: AlertEvent, step: int = 1, *, timestamp_ms: int = 1_400, input_ms: int = 1_000) -> Stored:
    transition = AlertTransition(
        alert_id="a1", step=step, patient="a", condition=Condition.ASYSTOLE, priority=Priority.HIGH,
        kind=Kind.PHYSIOLOGICAL, event=event, presence=True, signal=Signal.ON, onset_us=1, time_us=1,
        input_ms=input_ms, text="",
    )  # fmt: skip
    return Stored(Topic.ALERTS, timestamp_ms, codec.encode(transition))


def _risk(n: int) -> Stored:
    batch = RiskBatch(
        formula="f", horizon_min=30, patients=["a"] * n, time_us=list(range(n)), input_ms=[0] * n,
        probability=[0.1] * n, lower=[0.0] * n, upper=[0.2] * n, band=[Band.LOW] * n, inputs=[], state=[], end_us=[],
        age_s=[], says=[], model=[], models=[],
    )  # fmt: skip
    return Stored(Topic.RISK, 0, codec.encode(batch))


def test_a_ward_where_everything_is_accounted_for_holds_the_laws() -> None:
    stored = [
        _findings(), _findings(end_us=6, timestamp_ms=1_350), _risk(2), _risk(1), _letter(),
        _alert(AlertEvent.RAISED), _alert(AlertEvent.ACKNOWLEDGED, 2), _alert(AlertEvent.CLEARED, 3),
    ]  # fmt: skip
    made, broken = report(60.04, SENT, _counted(_metrics()), stored, live_ms=1_000)
    assert broken == []
    assert msgspec.to_builtins(made) == {
        "seconds": 60.0,
        "patients": 2,
        "events": {"ecg": 10, "glucose": 5, "imaging": 3},
        "outcomes": {
            "scored": 13,
            "waiting": 2,
            "dropped": {"duplicate": 2},
            "dead_lettered": {"pixels-missing": 1},
        },
        "conserved": True,
        "findings": 4,
        "risks": 3,
        "alerts": {"raised": 1, "acknowledged": 1, "cleared": 1},
        "latency_ms": {
            "event_to_finding": {"p50": 300.0, "p99": 350.0},
            "event_to_alert": {"p50": 400.0, "p99": 400.0},
        },
        "models": {"pneumonia": {"bundle": "abc", "engine": "onnx-cpu"}},
    }


def test_what_a_worker_had_counted_before_is_not_counted_for_this_run() -> None:
    metrics = _metrics()
    before = _counted(metrics)
    metrics.counter["wardwatch_events_total"].labels("ecg", "scored", "").inc(4)
    metrics.gauge["wardwatch_events_waiting"].labels("ecg").set(3)
    now = _counted(metrics).since(before)
    assert now.whole({Topic.ECG: 5})
    assert not now.whole({Topic.ECG: 5, Topic.GLUCOSE: 1})
    assert (now.total("ecg"), now.total("imaging")) == (5, 0)


@pytest.mark.parametrize("sent", [{**SENT, Topic.ECG: 11}, {**SENT, Topic.GLUCOSE: 4}])
def test_an_event_lost_or_counted_twice_breaks_conservation_and_says_where(sent: dict[Topic, int]) -> None:
    made, broken = report(1, sent, _counted(_metrics()), [_letter()], live_ms=1_000)
    assert not made.conserved
    (law,) = broken
    assert law.startswith("ecg: 11" if sent[Topic.ECG] == 11 else "glucose: 4")


@pytest.mark.parametrize("letters", [[], [_letter(), _letter()], [_letter(Reason.CHECKSUM)]])
def test_a_dead_letter_that_was_counted_and_not_kept_breaks_conservation(letters: list[Stored]) -> None:
    made, broken = report(1, SENT, _counted(_metrics()), letters, live_ms=1_000)
    assert not made.conserved
    assert broken == ["the dead letters on the topic are not the ones counted"]


def test_a_finding_read_again_with_the_same_bytes_counts_once() -> None:
    made, broken = report(
        1, SENT, _counted(_metrics()), [_letter(), _findings(), _findings(timestamp_ms=2_000)], live_ms=1_000
    )
    assert (made.findings, broken) == (2, [])


def test_a_finding_that_came_in_two_versions_is_a_broken_law() -> None:
    made, broken = report(1, SENT, _counted(_metrics()), [_letter(), _findings(), _findings(value=0.8)], live_ms=1_000)
    assert broken == ["1 findings came twice and differ"]
    assert made.conserved


def test_a_stream_without_a_score_is_a_broken_law() -> None:
    metrics = Metrics()
    metrics.counter["wardwatch_events_total"].labels("ecg", "scored", "").inc(10)
    _, broken = report(1, {Topic.ECG: 10}, _counted(metrics), [], live_ms=1_000)
    assert broken == ["glucose: nothing was scored", "imaging: nothing was scored"]


def test_an_alert_step_published_again_counts_once_and_one_without_input_has_no_latency() -> None:
    stored = [_letter(), _alert(AlertEvent.RAISED, input_ms=0), _alert(AlertEvent.RAISED, input_ms=0)]
    made, _ = report(1, SENT, _counted(_metrics()), stored, live_ms=1_000)
    assert made.alerts.raised == 1
    assert made.latency_ms.event_to_alert.p50 is None


def test_what_came_before_the_present_began_has_no_part_in_the_latency() -> None:
    stored = [
        _letter(),
        _findings(input_ms=999, timestamp_ms=5_000),
        _findings(end_us=6),
        _alert(AlertEvent.RAISED, input_ms=999),
    ]
    made, _ = report(1, SENT, _counted(_metrics()), stored, live_ms=1_000)
    assert made.latency_ms.event_to_finding.p99 == 250.0
    assert made.latency_ms.event_to_alert.p99 is None


def test_the_status_line_reads_its_figures_off_the_metrics() -> None:
    metrics = _metrics()
    metrics.counter["wardwatch_findings_total"].labels("glucose", "onnx-cpu").inc(40)
    metrics.counter["wardwatch_alerts_total"].labels("asystole", "high", "raised").inc(2)
    metrics.counter["wardwatch_alerts_total"].labels("asystole", "high", "cleared").inc(1)
    metrics.gauge["wardwatch_alerts_active"].labels("high", "physiological").set(1)
    metrics.gauge["wardwatch_lag_records"].labels("ecg.v1").set(3)
    for stream, seconds, times in (("ecg", 0.15, 98), ("glucose", 4.0, 2)):
        for _ in range(times):
            metrics.histogram["wardwatch_event_to_finding_seconds"].labels(stream).observe(seconds)
    scrape = Scrape.of(generate_latest(metrics.registry).decode())
    assert (scrape.refused, scrape.findings, scrape.raised, scrape.active, scrape.lag) == (3, 40, 2, 1, 3)
    assert 100 <= scrape.percentile_ms(0.5, Scrape()) <= 200
    assert math.isnan(scrape.percentile_ms(0.5, scrape))
    assert 3000 <= scrape.percentile_ms(0.99, Scrape()) <= 5000


def test_before_the_first_finding_there_is_no_percentile() -> None:
    assert math.isnan(Scrape.of(generate_latest(Metrics().registry).decode()).percentile_ms(0.5, Scrape()))

"""What the service really writes into its labels is what the rules and panels ask for."""

from __future__ import annotations

from collections import Counter

from models.engine import Rung
from stream.alerting import Deciding
from stream.health import Health
from stream.metrics import Metrics
from stream.modelslot import SlotNews
from stream.pipeline import Products
from stream.tally import Tally
from stream.topics import Topic
from tests.ops.test_monitoring import WORDS
from vitals.clock import ManualClock
from vitals.conditions import Kind, Priority
from vitals.errors import Reason
from vitals.findings import Task

STREAMS = ("ecg", "glucose", "imaging", "decide")


class _Half:
    """Stands for a half that has worked."""

    def __init__(self, stream: str) -> None:
        self.stream = stream

    def patients(self) -> int:
        return 3


def _after_a_day() -> Metrics:
    metrics, clock = Metrics(), ManualClock(1_000_000)
    health = Health(clock, 30.0)
    tally = Tally(metrics, health, clock)
    census = Deciding().census()
    for stream in STREAMS:
        health.expect(stream)
        done = Products([], scored=1, refused=Counter(dict.fromkeys(Reason, 1)), waiting=0)
        done.alerts[("asystole", Priority.HIGH.value, "raised")] += 1
        if stream == "decide":
            done.present = Counter(census.present)
            done.unacknowledged = Counter(census.unacknowledged)
            done.stale = Counter(census.stale)
        tally.published(stream, done, now_ms=1)
        tally.progressed(_Half(stream), released=1, owed=0, unsaved_since_us=None)  # type: ignore[arg-type]
        tally.lag(stream, {Topic.ECG.value: 0}, 0)
    for task in (Task.ECG_BEAT, Task.GLUCOSE):
        for rung in (Rung.ONNX_CPU, Rung.RULES):
            tally.slot(SlotNews(task, "active", "abcd", rung, "a test"))
    return metrics


def test_every_label_of_a_closed_set_has_a_word_of_that_set() -> None:
    seen: dict[str, set[str]] = {label: set() for label in WORDS}
    for family in _after_a_day().registry.collect():
        for sample in family.samples:
            for label, word in sample.labels.items():
                if label in WORDS and word:
                    seen[label].add(word)
    assert seen["half"] == seen["stream"] == set(STREAMS)
    for label in ("topic", "reason", "priority", "kind", "outcome"):
        assert seen[label], f"{label} was never written"
        assert seen[label] <= WORDS[label]
    # the reference of the parity gate is a rung that never serves: its series is there and stays 0
    assert seen["rung"] - {"torch"} == WORDS["rung"]


def test_what_is_stale_is_told_by_the_stream_that_its_patients_are_counted_under() -> None:
    samples = {
        family.name: {sample.labels["stream"] for sample in family.samples}
        for family in _after_a_day().registry.collect()
        if family.name in {"wardwatch_patients_stale", "wardwatch_patients"}
    }
    assert samples["wardwatch_patients_stale"] == {"ecg", "glucose"}
    assert samples["wardwatch_patients_stale"] < samples["wardwatch_patients"]


def test_alarms_are_counted_by_every_priority_and_kind_also_where_there_are_none() -> None:
    metrics = _after_a_day()
    for priority in Priority:
        assert metrics.registry.get_sample_value("wardwatch_alerts_unacknowledged", {"priority": priority}) == 0
    assert (
        metrics.registry.get_sample_value("wardwatch_alerts_active", {"priority": "high", "kind": Kind.TECHNICAL}) == 0
    )

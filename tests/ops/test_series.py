"""How many series there are does not depend on how many patients there are, and none of them knows a name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from prometheus_client import Metric

from stream.checkpoint import Owners
from stream.deciding import Decide
from stream.health import Health
from stream.metrics import TABLE, Metrics
from stream.tally import Tally
from stream.topics import Topic
from tests.support.stay import CALM_RHYTHM, NORMAL_BEAT, VENTRICULAR_BEAT, batch, forecast, record
from vitals import codec
from vitals.clock import ManualClock
from vitals.events import Record
from vitals.findings import Task, Verdict


def _ward(patients: int) -> Iterator[Record]:
    """Three moments in which every patient goes through what alarms: too fast, electrodes off, and well again."""
    names = [f"patient-{n:05d}" for n in range(patients)]
    courses = {
        0: (CALM_RHYTHM | {"heart_rate_bpm": 160.0}, VENTRICULAR_BEAT, 40.0, Verdict.GOOD),
        15: (CALM_RHYTHM | {"heart_rate_bpm": 160.0}, VENTRICULAR_BEAT, 300.0, Verdict.GOOD),
        30: (CALM_RHYTHM, NORMAL_BEAT, 110.0, Verdict.LEAD_OFF),
    }
    offsets = count()
    for second, (rhythm, beat, glucose, verdict) in courses.items():
        sugar = forecast() | {"glucose_mg_dl": glucose}
        for some in batched(names):
            tables = (
                batch(Task.ECG_RHYTHM, [(name, second, rhythm, verdict) for name in some]),
                batch(Task.ECG_BEAT, [(name, second, beat, Verdict.GOOD) for name in some]),
                batch(Task.GLUCOSE, [(name, second, sugar, verdict) for name in some]),
            )
            yield Record(Topic.FINDINGS.value, 0, next(offsets), 1, None, codec.encode(record(*tables)))


def batched(names: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(names), 1000):
        yield names[first : first + 1000]


def _counted(patients: int) -> list[Metric]:
    metrics, clock = Metrics(), ManualClock(1_700_000_000_000_000)
    health = Health(clock, 30.0)
    health.expect("decide")
    tally = Tally(metrics, health, clock)
    half = Decide()
    for taken in _ward(patients):
        products = half.process([taken], Owners(0))
        assert not products.refused
        tally.published("decide", products, now_ms=1)
    passed = half.tick(1_700_000_000_000_000 + 3600 * 1_000_000)
    assert passed is not None
    tally.published("decide", passed, now_ms=1)
    tally.progressed(half, released=3, owed=0, unsaved_since_us=None)
    assert half.patients() == patients
    return list(metrics.registry.collect())


def test_ten_thousand_patients_have_as_many_series_as_ten() -> None:
    few, many = ({(s.name, *sorted(s.labels.items())) for f in _counted(n) for s in f.samples} for n in (10, 10_000))
    assert few == many
    assert len(many) < 400
    assert not any("patient-" in str(part) for series in many for part in series)


def test_every_series_of_time_is_in_buckets_that_add_up_over_workers() -> None:
    timed = [row for row in TABLE if row.name.endswith("_seconds") and row.kind != "gauge"]
    assert {row.name for row in timed} == {
        "wardwatch_event_to_finding_seconds",
        "wardwatch_event_to_alert_seconds",
        "wardwatch_stage_seconds",
    }
    for row in timed:
        assert row.kind == "histogram"
        assert row.buckets == tuple(sorted(row.buckets))
    # the labels of a worker's series name no worker: that is what the scrape adds, and a sum takes away
    assert not {label for row in TABLE for label in row.labels} & {"instance", "worker", "pod"}

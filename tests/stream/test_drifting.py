"""Drift on its way to ``drift.v1``: once for each bed, the same in any bundling and after a restart, and counted."""

from __future__ import annotations

import numpy as np
import pytest

from stream.checkpoint import Owners
from stream.drifting import WardAnswers, judgement
from stream.gateways.schedule import Pace
from stream.gateways.wfdb import Bed, Recording, bundles
from stream.health import Health
from stream.metrics import Metrics
from stream.modelslot import ModelSlot
from stream.observing import ObserveEcg, ObserveGlucose, Observing
from stream.pipeline import Products
from stream.tally import Tally
from stream.topics import PARTITIONS, Topic
from tests.support.ward import judgement as label_of
from tests.support.ward import reading
from vitals import codec
from vitals.clock import ManualClock
from vitals.conditions import Condition
from vitals.events import Checkpoint, DriftKind, DriftNotice, Label, Record
from vitals.findings import Task
from vitals.selftest import PREFIX
from vitals.simulate import Rhythm, Stretch, ecg, glucose
from vitals.units import US_PER_S

START_US = 1_700_000_000 * US_PER_S
TOLD = Observing(max_patients=100, clock_ahead_us=2**61, archive_share=0.0)
SECONDS, CHANGED_S = 420, 240


def recording(seed: int, factor: float) -> Recording:
    """A heart whose amplitude is ``factor`` times as large from ``CHANGED_S`` on."""
    made = ecg(seed, [Stretch(Rhythm.SINUS, SECONDS, 75.0)])
    samples = made.samples.copy()
    after = samples[:, round(CHANGED_S * made.rate_hz) :]
    after[:] = np.rint(after * factor)
    return Recording(f"simulated/{seed}", made.rate_hz, ("I", "II"), made.gain_uv, samples)


BEDS = [
    Bed("bed-1", recording(1, 0.5)),
    Bed("bed-2", recording(2, 1.0)),
    Bed("bed-3", recording(3, 2.0)),
    Bed(f"{PREFIX}0", recording(4, 0.5)),
]


def sent() -> list[Record]:
    due = bundles("g", BEDS, Pace(START_US, speed=1e9))
    return [Record(Topic.ECG.value, 0, i, START_US // 1000 + i, d.key, d.value) for i, d in enumerate(due)]


def notices(products: list[Products]) -> list[tuple[bytes | None, int | None, DriftNotice]]:
    return [
        (m.key, m.partition, codec.decode(DriftNotice, m.value))
        for p in products
        for m in p.messages
        if m.topic is Topic.DRIFT and m.value is not None
    ]


@pytest.fixture(scope="module")
def silent() -> ModelSlot:
    """No model: drift of a bed does not need one."""
    return ModelSlot(Task.ECG_BEAT, "none", lambda _: None)


@pytest.fixture(scope="module")
def expected(silent: ModelSlot) -> list[tuple[bytes | None, int | None, DriftNotice]]:
    half, owners = ObserveEcg({Task.ECG_BEAT: silent}, TOLD), Owners(0)
    return notices([half.process([record], owners) for record in sent()])


def test_a_bed_whose_gain_changes_is_told_and_its_neighbours_and_the_self_test_are_not(
    expected: list[tuple[bytes | None, int | None, DriftNotice]],
) -> None:
    began = {notice.patient: notice for _, _, notice in expected if notice.event == "began"}
    assert began.keys() == {"bed-1", "bed-3"}
    for patient, factor in (("bed-1", 0.5), ("bed-3", 2.0)):
        notice = began[patient]
        assert (notice.stream, notice.task, notice.kind, notice.scope) == ("ecg", Task.ECG_BEAT, DriftKind.GAIN, "bed")
        assert notice.magnitude == pytest.approx(factor, rel=0.1)
        assert CHANGED_S < (notice.when_us - START_US) / US_PER_S <= CHANGED_S + 60
        assert notice.since_us < notice.when_us
    assert {key for key, _, _ in expected} == {b"bed-1", b"bed-3"}
    assert {partition for _, partition, _ in expected} <= set(range(PARTITIONS))


def test_any_bundling_tells_the_same(
    silent: ModelSlot, expected: list[tuple[bytes | None, int | None, DriftNotice]]
) -> None:
    half, owners, everything = ObserveEcg({Task.ECG_BEAT: silent}, TOLD), Owners(0), sent()
    in_sevens = [half.process(everything[i : i + 7], owners) for i in range(0, len(everything), 7)]
    assert notices(in_sevens) == expected


def test_a_restart_with_evidence_gathered_tells_the_same(
    silent: ModelSlot, expected: list[tuple[bytes | None, int | None, DriftNotice]]
) -> None:
    everything, after = sent(), CHANGED_S + 12
    first, owners = ObserveEcg({Task.ECG_BEAT: silent}, TOLD), Owners(0)
    products = [first.process([record], owners) for record in everything[:after]]
    assert not notices(products)
    saved = Checkpoint(
        owner="ecg/0/g", partition=0, offsets={Topic.ECG.value: after - 1}, state=first.snapshot("ecg/0/g")
    )
    second, owners = ObserveEcg({Task.ECG_BEAT: silent}, TOLD), Owners(0)
    second.restore(saved)
    owners.restored(saved)
    products += [second.process([record], owners) for record in everything[after - 5 :]]
    assert notices(products) == expected


def test_a_sensor_that_steps_is_told_with_its_patient() -> None:
    half, owners = ObserveGlucose(ModelSlot(Task.GLUCOSE, "none", lambda _: None), TOLD), Owners(0)
    time_us, mg_dl = glucose(4, START_US, 40.0)
    mg_dl[400:] += 20.0
    due = [reading("ann", int(t), float(g)) for t, g in zip(time_us, mg_dl, strict=True)]
    records = [Record(Topic.GLUCOSE.value, 3, i, START_US // 1000, d.key, d.value) for i, d in enumerate(due)]
    began, ended = notices([half.process(records, owners)])
    assert began[2].kind is DriftKind.BIAS
    assert (began[2].patient, began[2].event, ended[2].event) == ("ann", "began", "ended")
    assert began[2].since_us == ended[2].since_us == int(time_us[400])


def test_answers_of_a_ward_are_told_under_their_task() -> None:
    ward = WardAnswers("ecg")
    said = []
    for hour in range(24):
        usual = hour < 12
        words = {("ecg-beat", "p_n"): 900 if usual else 500, ("ecg-beat", "p_v"): 50 if usual else 450}
        words |= {("ecg-rhythm", "good"): 3600}
        for part in range(2):
            said += ward.take(words, START_US + (2 * hour + part) * 1800 * US_PER_S)
    (notice,) = said
    assert (notice.patient, notice.task, notice.kind, notice.scope) == ("", "ecg-beat", DriftKind.ANSWERS, "ward")
    assert notice.event == "began"
    assert notice.since_us < notice.when_us
    assert ward.index["ecg-rhythm"] == 0.0


def test_what_is_told_is_counted_and_every_kind_has_its_series_from_the_start() -> None:
    metrics = Metrics()
    tally = Tally(metrics, Health(ManualClock(0), 30.0), ManualClock(0))

    def counted() -> dict[tuple[str, ...], float]:
        (family,) = metrics.counter["wardwatch_drift_total"].collect()
        return {tuple(s.labels.values()): s.value for s in family.samples}

    assert len(counted()) == 14
    assert set(counted().values()) == {0.0}
    products = Products([])
    notice = DriftNotice(
        patient="ann", stream="ecg", task="ecg-beat", kind=DriftKind.GAIN, scope="bed", event="began",
        when_us=2, since_us=1, magnitude=0.5,
    )  # fmt: skip
    products.tell_drift(notice, 3)
    products.stability["ecg-beat"] = 0.3
    tally.published("ecg", products, now_ms=1)
    assert counted()["ecg", "gain", "bed", "began"] == 1.0
    assert sum(counted().values()) == 1.0
    assert len(counted()) == 14
    assert metrics.registry.get_sample_value("wardwatch_drift_answers_index", {"task": "ecg-beat"}) == 0.3


@pytest.mark.parametrize("worth", ["true", "false", "not-actionable"])
def test_a_judgement_of_an_alarm_is_counted_by_its_condition(worth: str) -> None:
    label = codec.decode(Label, label_of("ann", Condition.ASYSTOLE, 5, worth).value)
    assert judgement(label) == ("asystole", worth)


@pytest.mark.parametrize(
    ("patient", "task", "value", "alert_id"),
    [
        ("ann", "ecg-beat", "v", None),  # of a window
        ("ann", "asystole", "true", None),
        ("ann", "ecg-beat", "true", "0123"),  # no condition
        ("ann", "asystole", "perhaps", "0123"),
        (f"{PREFIX}1", "heart-rate-high", "true", "0123"),
    ],
)
def test_a_label_of_something_else_is_no_judgement(patient: str, task: str, value: str, alert_id: str | None) -> None:
    label = Label(patient=patient, task=task, end_us=1, value=value, who="Ann", when_us=2, alert_id=alert_id)
    assert judgement(label) is None

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.alerting import Deciding
from tests.support.stay import ANN, CALM_RHYTHM, NORMAL_BEAT, START_US, Stay, at, batch, forecast, record
from vitals import codec
from vitals.bed import BED, TASK_INDEX, TASKS, blank
from vitals.findings import Task, Verdict
from vitals.hazards import hazard
from vitals.measures import READ, measure
from vitals.risk import (
    ABSENT_SAYS,
    BANDS_FROM,
    EXPIRES_S,
    FRESH_S,
    GRID_US,
    HALF_WIDTH,
    RISK,
    WIDENS,
    Band,
    InputState,
    RiskBatch,
    fuse,
)
from vitals.unit import FACTORY

CALM_GLUCOSE: dict[str, float | None] = {"glucose_mg_dl": 110.0} | forecast()


def fused(time_us: int, **said: tuple[float, float]) -> np.void:
    """Risk at ``time_us`` of what the tasks say: ``ecg_rhythm=(0.1, age in seconds)``."""
    beds = blank(FACTORY.defaults)[None].copy()
    for name, (says, age_s) in said.items():
        k = TASK_INDEX[Task(name.replace("_", "-"))]
        beds["says"][0, k], beds["says_us"][0, k] = says, time_us - round(age_s * 1e6)
    out = np.zeros(1, RISK)
    fuse(beds[0], time_us, out[0])
    return out[0]


def says(task: Task, verdict: Verdict = Verdict.GOOD, **values: float | None) -> float:
    """What one finding of a patient of whom nothing else is known says by itself."""
    calm = {Task.ECG_RHYTHM: CALM_RHYTHM, Task.ECG_BEAT: NORMAL_BEAT, Task.GLUCOSE: CALM_GLUCOSE}.get(task, {})
    row = calm | values
    columns = np.array([[row.get(name)] for name in READ[task]], np.float64)
    beds = blank(FACTORY.defaults)[None].copy()
    measure(TASK_INDEX[task], beds[0], columns, 0, at(0), 0, int(verdict), False, np.empty(16))
    return float(hazard(TASK_INDEX[task], beds[0], columns, 0, at(0), int(verdict)))


def moved(p: float, logits: float) -> float:
    return 1 / (1 + math.exp(-(math.log(p / (1 - p)) + logits)))


def test_the_streams_are_joined_by_noisy_or() -> None:
    risk = fused(
        at(100), ecg_rhythm=(0.1, 0), ecg_beat=(0.02, 0), glucose=(0.2, 0), pneumonia=(0.05, 0), breast=(0.0, 0),
        ecg_af=(0.0, 0),
    )  # fmt: skip
    assert risk["probability"] == pytest.approx(1 - 0.9 * 0.98 * 0.8 * 0.95)
    assert Band(risk["band"]) is Band.HIGH
    assert set(risk["state"].tolist()) == {InputState.FRESH}


def test_a_missing_input_is_stated_and_widens_the_interval_but_moves_nothing() -> None:
    risk = fused(at(100), ecg_rhythm=(0.1, 1))
    k = TASK_INDEX[Task.ECG_RHYTHM]
    assert risk["probability"] == pytest.approx(0.1)
    assert risk["lower"] == pytest.approx(moved(0.1, -HALF_WIDTH[k]))
    absent = math.prod(1 - ABSENT_SAYS[i] for i in range(len(TASKS)) if i != k)
    assert risk["upper"] == pytest.approx(1 - (1 - moved(0.1, HALF_WIDTH[k])) * absent)
    states = dict(zip(TASKS, risk["state"].tolist(), strict=True))
    assert states == dict.fromkeys(TASKS, InputState.MISSING) | {Task.ECG_RHYTHM: InputState.FRESH}
    assert np.isnan(risk["age_s"]).sum() == len(TASKS) - 1


def test_a_stale_input_is_used_stated_and_widens_the_interval() -> None:
    k = TASK_INDEX[Task.GLUCOSE]
    halfway_s = float(FRESH_S[k] + EXPIRES_S[k]) / 2
    fresh, stale = (fused(at(9999), glucose=(0.2, age_s)) for age_s in (float(FRESH_S[k]), halfway_s))
    assert (fresh["state"][k], stale["state"][k]) == (InputState.FRESH, InputState.STALE)
    assert stale["probability"] == fresh["probability"] == pytest.approx(0.2)
    assert stale["lower"] == pytest.approx(moved(0.2, -HALF_WIDTH[k] * (1 + WIDENS / 2)))
    assert stale["lower"] < fresh["lower"]
    assert stale["upper"] > fresh["upper"]


def test_an_expired_input_is_as_good_as_missing() -> None:
    k = TASK_INDEX[Task.GLUCOSE]
    risk = fused(at(9999), glucose=(0.9, float(EXPIRES_S[k])), ecg_rhythm=(0.01, 0))
    assert risk["state"][k] == InputState.EXPIRED
    assert risk["probability"] == pytest.approx(0.01)
    assert risk["age_s"][k] == EXPIRES_S[k]


@pytest.mark.parametrize("said", [{}, {"pneumonia": (0.1, 0.0)}, {"ecg_beat": (0.7, 0.0)}, {"ecg_rhythm": (0.9, 60.0)}])
def test_without_a_vital_sign_the_risk_is_withheld(said: dict[str, tuple[float, float]]) -> None:
    risk = fused(at(100_000), **said)
    assert Band(risk["band"]) is Band.WITHHELD
    assert np.isnan([risk["probability"], risk["lower"], risk["upper"]]).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2e7)), min_size=len(TASKS), max_size=len(TASKS)))
def test_the_probability_lies_in_its_interval_and_the_interval_between_0_and_1(said: list[tuple[float, float]]) -> None:
    risk = fused(at(3e7), **{task.name.lower(): pair for task, pair in zip(TASKS, said, strict=True)})
    if risk["band"] != Band.WITHHELD:
        tolerance = 1e-12
        assert 0 <= risk["lower"] <= risk["probability"] + tolerance
        assert risk["probability"] <= risk["upper"] + tolerance <= 1 + 2 * tolerance


def test_a_band_begins_at_its_threshold() -> None:
    for number, threshold in enumerate(BANDS_FROM.tolist()):
        bands = [fused(at(0), ecg_rhythm=(p, 0))["band"] for p in (threshold - 1e-9, threshold + 1e-9)]
        assert bands == [number + 1, number + 2]


@pytest.mark.parametrize(
    ("bpm", "expected"),
    [(75, 0.01), (51, 0.01), (90, 0.01), (110, 0.065), (131, 0.25), (40, 0.25), (20, 0.5), (390, 0.5)],
)
def test_the_heart_rate_says_what_its_anchors_say(bpm: float, expected: float) -> None:
    said = says(Task.ECG_RHYTHM, heart_rate_bpm=bpm, rr_irregularity=0.0, vf_index=0.0)
    assert said == pytest.approx(expected)


def test_the_life_threatening_is_critical_by_itself() -> None:
    assert says(Task.ECG_RHYTHM, since_beat_ms=4000.0) >= 0.95
    assert says(Task.ECG_RHYTHM, vf_index=0.9) >= 0.7
    assert says(Task.GLUCOSE, glucose_mg_dl=50.0) >= BANDS_FROM[2]
    assert says(Task.ECG_BEAT) == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"glucose_mg_dl": 72.0}, {"glucose_mg_dl": 65.0}),
        ({"glucose_mg_dl": 200.0}, {"glucose_mg_dl": 300.0}),
        (forecast(below_70=0.2), forecast(below_70=0.9)),
        (forecast(below_54=0.0), forecast(below_54=0.3)),
        (forecast(above_250=0.0), forecast(above_250=0.5)),
    ],
)
def test_worse_glucose_says_more(better: dict[str, float | None], worse: dict[str, float | None]) -> None:
    assert says(Task.GLUCOSE, **worse) > says(Task.GLUCOSE, **better)


def test_a_ventricular_tachycardia_weighs_for_a_minute() -> None:
    stay = Stay()
    stay.rhythm(0)
    bands: list[Band] = []
    for n in range(6):
        bands += [band for risks in stay.beat(n * 0.4, ventricular=True).risks for band in risks.band]
    assert bands[-1] is Band.CRITICAL
    stay.rhythm(58)
    stay.beat(59)
    later = stay.rhythm(63).risks + stay.beat(64).risks + stay.rhythm(70).risks
    assert later[-1].band == [Band.LOW]


@pytest.mark.parametrize("hostile", [math.nan, math.inf, -math.inf, 1e300, -1.0, None])
@pytest.mark.parametrize("task", list(Task))
def test_numbers_that_cannot_be_say_nothing(task: Task, hostile: float | None) -> None:
    said = says(task, **dict.fromkeys(READ[task], hostile))
    if task is Task.ECG_RHYTHM and hostile in {math.inf, 1e300}:
        assert said == pytest.approx(0.95)  # an endless time without a beat is an asystole
    else:
        assert math.isnan(said)


@pytest.mark.parametrize("verdict", [v for v in Verdict if v > Verdict.POOR])
def test_what_cannot_be_believed_says_nothing_but_a_reading_is_a_reading(verdict: Verdict) -> None:
    assert math.isnan(says(Task.ECG_RHYTHM, verdict, heart_rate_bpm=200.0))
    assert math.isnan(says(Task.PNEUMONIA, verdict, p_pneumonia=1.0))
    assert says(Task.GLUCOSE, verdict, glucose_mg_dl=50.0) >= BANDS_FROM[2]


def test_a_risk_comes_every_five_seconds_of_the_ecg_each_patient_on_a_second_of_their_own() -> None:
    patients = [f"patient-{n}" for n in range(40)]
    deciding = Deciding()
    risks: list[tuple[str, int]] = []
    for second in range(60):
        rows = [(patient, float(second), CALM_RHYTHM, Verdict.GOOD) for patient in patients]
        for out in deciding.decide([record(batch(Task.ECG_RHYTHM, rows))]).risks:
            risks += zip(out.patients, out.time_us, strict=True)
    for patient in patients:
        times = [time_us for name, time_us in risks if name == patient]
        assert times[0] == START_US  # at once, then on the grid
        assert len({time_us % GRID_US for time_us in times[1:]}) == 1
        assert {b - a for a, b in pairwise(times[1:])} == {GRID_US}
    phases = {time_us % GRID_US for _, time_us in risks if time_us > at(5)}
    assert len(phases) == 5


def test_a_risk_comes_at_once_when_the_band_rises_and_not_when_it_falls() -> None:
    stay = Stay()
    stay.rhythms(range(5))
    (rise,) = stay.rhythm(5.4, since_beat_ms=5000.0).risks
    assert rise.band == [Band.CRITICAL]
    assert stay.rhythm(5.5, since_beat_ms=5000.0).risks == []
    assert stay.rhythm(5.6).risks == []
    beat_rise = Stay()
    beat_rise.rhythms(range(5))
    assert beat_rise.beat(5.1).risks == []
    for n in range(5):
        risks = beat_rise.beat(5.5 + n * 0.4, ventricular=True).risks
    assert risks[0].band == [Band.CRITICAL]


def test_every_glucose_and_imaging_finding_makes_a_risk_on_the_clock_of_the_ecg() -> None:
    stay = Stay()
    stay.rhythms(range(1000, 1003))
    (late,) = stay.find(Task.GLUCOSE, 940, CALM_GLUCOSE).risks
    assert late.time_us == [at(1002)]
    assert late.age_s[TASK_INDEX[Task.GLUCOSE]] == [62.0]
    (image,) = stay.find(Task.PNEUMONIA, 1003, {"p_pneumonia": 0.8, "p_normal": 0.2}).risks
    assert image.time_us == [at(1003)]
    assert image.says[TASK_INDEX[Task.PNEUMONIA]][0] == pytest.approx(0.12 * 0.8)
    assert image.input_ms == [at(1003) // 1000 + 40]


def test_a_risk_names_the_findings_and_models_it_rests_on() -> None:
    deciding = Deciding()
    deciding.decide([record(batch(Task.GLUCOSE, [(ANN, 10, CALM_GLUCOSE, Verdict.GOOD)], model="glucose-b"))])
    deciding.decide([record(batch(Task.PNEUMONIA, [(ANN, 20, {"p_pneumonia": 0.1}, Verdict.GOOD)], model="chest-a"))])
    (risks,) = deciding.decide([record(batch(Task.ECG_RHYTHM, [(ANN, 30, CALM_RHYTHM, Verdict.GOOD)]))]).risks
    assert risks.inputs == list(TASKS)
    used = {t: (risks.end_us[k][0], risks.model[k][0]) for k, t in enumerate(risks.inputs)}
    named = {t: (end, risks.models[m] if m >= 0 else None) for t, (end, m) in used.items()}
    assert named == {
        Task.ECG_BEAT: (0, None),
        Task.ECG_RHYTHM: (at(30), "rules"),
        Task.GLUCOSE: (at(10), "glucose-b"),
        Task.PNEUMONIA: (at(20), "chest-a"),
        Task.BREAST: (0, None),
        Task.ECG_AF: (0, None),
    }


@pytest.mark.parametrize("content_type", [codec.MSGPACK, codec.JSON])
def test_risks_survive_the_wire_with_what_is_not_known_as_null(content_type: str) -> None:
    deciding = Deciding()
    rows = [("ann", 1.0, {"p_pneumonia": 0.5}, Verdict.GOOD), ("bob", 2.0, {"p_pneumonia": 0.5}, Verdict.GOOD)]
    (risks,) = deciding.decide([record(batch(Task.PNEUMONIA, rows))]).risks
    assert risks.probability == [None, None]
    assert codec.decode(RiskBatch, codec.encode(risks, content_type), content_type) == risks
    assert "ann" not in repr(risks)


def test_a_patients_record_is_small_enough_to_be_saved_by_the_thousand() -> None:
    assert BED.itemsize < 3000

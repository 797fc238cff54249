"""Each condition raised and cleared by its rule, at its exact limits and delays. The numbers are written out here on
purpose: whoever changes a rule changes them twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from tests.support.stay import CALM_RHYTHM, NORMAL_BEAT, Stay, at, batch, forecast, record
from vitals.alerts import AlertEvent, Signal
from vitals.bed import PVC_CELL_US
from vitals.conditions import Condition, Priority
from vitals.findings import Task, Verdict

RAISED, CLEARED, LATCHED = AlertEvent.RAISED, AlertEvent.CLEARED, AlertEvent.LATCHED
C = Condition


def changes(stay: Stay, condition: Condition) -> list[tuple[AlertEvent, float]]:
    """What became of the condition itself: who was told meanwhile is not asked here."""
    telling = {AlertEvent.ESCALATED, AlertEvent.REMINDED}
    return [(event, second) for event, second in stay.course(condition) if event not in telling]


@dataclass(frozen=True)
class Case:
    """``inside``: the last value that does not raise; ``beyond``: the first that does. ``holds``: the last that keeps
    it up; ``ends``: the first that ends it.
    """

    condition: Condition
    task: Task
    column: str
    inside: float
    beyond: float
    holds: float
    ends: float
    on_s: float
    off_s: float
    every_s: float = 1.0
    end: AlertEvent = CLEARED


def just_above(x: float) -> float:
    return math.nextafter(x, math.inf)


def just_below(x: float) -> float:
    return math.nextafter(x, -math.inf)


RHYTHM, GLUCOSE = Task.ECG_RHYTHM, Task.GLUCOSE
CASES = [
    Case(C.VENTRICULAR_FIBRILLATION, RHYTHM, "vf_index", just_below(0.5), 0.5, 0.4, just_below(0.4), 3, 5, end=LATCHED),
    Case(C.ASYSTOLE, RHYTHM, "since_beat_ms", 3999, 4000, 4000, 3999, 0, 0, end=LATCHED),
    Case(
        C.EXTREME_TACHYCARDIA, RHYTHM, "rate_of_17_bpm", 140, just_above(140), just_above(135), 135, 0, 5, end=LATCHED
    ),
    Case(C.EXTREME_BRADYCARDIA, RHYTHM, "rate_of_5_bpm", 40, just_below(40), just_below(43), 43, 0, 5, end=LATCHED),
    Case(C.HEART_RATE_HIGH, RHYTHM, "heart_rate_bpm", 120, just_above(120), just_above(115), 115, 10, 5),
    Case(C.HEART_RATE_LOW, RHYTHM, "heart_rate_bpm", 50, just_below(50), just_below(53), 53, 10, 5),
    Case(C.IRREGULAR_RHYTHM, RHYTHM, "rr_irregularity", just_below(0.7), 0.7, 0.6, 0.59, 60, 60),
    Case(C.GLUCOSE_VERY_LOW, GLUCOSE, "glucose_mg_dl", 54, just_below(54), just_below(58), 58, 0, 0, 300),
    Case(C.GLUCOSE_LOW, GLUCOSE, "glucose_mg_dl", 70, just_below(70), just_below(75), 75, 0, 0, 300),
    Case(C.GLUCOSE_VERY_HIGH, GLUCOSE, "glucose_mg_dl", 250, just_above(250), just_above(240), 240, 0, 0, 300),
    Case(C.GLUCOSE_HIGH, GLUCOSE, "glucose_mg_dl", 180, just_above(180), just_above(170), 170, 600, 0, 300),
    Case(C.GLUCOSE_LOW_PREDICTED, GLUCOSE, "h30_p_below_70", just_below(0.5), 0.5, 0.35, just_below(0.35), 0, 0, 300),
    Case(C.GLUCOSE_RISING_FAST, GLUCOSE, "trend_mg_dl_min", just_below(3), 3, 2, just_below(2), 0, 0, 300),
    Case(C.PNEUMONIA_SUSPECTED, Task.PNEUMONIA, "p_pneumonia", just_below(0.5), 0.5, 0.5, just_below(0.5), 0, 0, 3600),
    Case(C.BREAST_MALIGNANCY_SUSPECTED, Task.BREAST, "p_malignant", just_below(0.5), 0.5, 0.5, 0.49, 0, 0, 3600),
    Case(C.ATRIAL_FIBRILLATION, Task.ECG_AF, "p_af", just_below(0.5), 0.5, 0.3, just_below(0.3), 30, 60, 30),
]
CALM: dict[Task, dict[str, float | None]] = {
    RHYTHM: CALM_RHYTHM,
    GLUCOSE: {"glucose_mg_dl": 141.0, "trend_mg_dl_min": 0.0} | forecast(),
    Task.PNEUMONIA: {},
    Task.BREAST: {},
    Task.ECG_AF: {},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.condition)
def test_a_condition_is_raised_after_its_delay_beyond_its_limit_and_ends_past_its_hysteresis(case: Case) -> None:
    stay, second = Stay(), 0.0

    def find(value: float) -> float:
        nonlocal second
        second += case.every_s
        stay.find(case.task, second, CALM[case.task] | {case.column: value})
        return second

    for _ in range(round(case.on_s / case.every_s) + 3):
        find(case.inside)
    assert changes(stay, case.condition) == []
    onset_s = find(case.beyond)
    while second - onset_s < case.on_s:
        assert changes(stay, case.condition) == [], "raised before its delay"
        find(case.beyond)
    assert changes(stay, case.condition) == [(RAISED, onset_s + case.on_s)]
    raised = stay.last(case.condition)
    assert raised.onset_us == at(onset_s)
    assert raised.presence
    assert raised.signal is Signal.ON
    assert raised.evidence is not None
    assert raised.evidence.finding is not None
    assert raised.evidence.finding.end_us == raised.time_us
    assert raised.input_ms == raised.time_us // 1000 + 40
    for _ in range(round(case.off_s / case.every_s) + 3):
        find(case.holds)
    assert len(changes(stay, case.condition)) == 1
    gone_s = find(case.ends)
    while second - gone_s < case.off_s:
        assert len(changes(stay, case.condition)) == 1, "ended before its delay"
        find(case.ends)
    assert changes(stay, case.condition)[1:] == [(case.end, gone_s + case.off_s)]
    ended = stay.last(case.condition)
    assert not ended.presence
    assert ended.alert_id == raised.alert_id
    assert ended.step == len(stay.course(case.condition)) - 1


@pytest.mark.parametrize(
    ("condition", "verdict", "on_s", "off_s", "priority"),
    [
        (C.ECG_FLAT, Verdict.FLAT, 3, 2, Priority.HIGH),
        (C.ECG_LEAD_OFF, Verdict.LEAD_OFF, 3, 2, Priority.MEDIUM),
        (C.ECG_POOR_SIGNAL, Verdict.NOISY, 15, 5, Priority.LOW),
        (C.ECG_POOR_SIGNAL, Verdict.CLIPPED, 15, 5, Priority.LOW),
        (C.ECG_POOR_SIGNAL, Verdict.GAP, 15, 5, Priority.LOW),
    ],
)
def test_a_signal_that_cannot_be_read_is_a_technical_condition(
    condition: Condition, verdict: Verdict, on_s: int, off_s: int, priority: Priority
) -> None:
    stay = Stay()
    for second in range(on_s + 1):
        stay.rhythm(second, verdict)
    for second in range(on_s + 1, on_s + off_s + 3):
        stay.rhythm(second, Verdict.POOR)
    assert stay.course(condition) == [(RAISED, on_s), (CLEARED, on_s + 1 + off_s)]
    assert stay.last(condition).priority is priority


@pytest.mark.parametrize(
    ("condition", "task", "on_s"), [(C.BEAT_MODEL_DOWN, Task.ECG_BEAT, 60), (C.GLUCOSE_MODEL_DOWN, GLUCOSE, 600)]
)
def test_a_model_fallen_to_rules_is_told_after_a_while_and_cleared_when_it_serves_again(
    condition: Condition, task: Task, on_s: int
) -> None:
    stay = Stay()
    values = NORMAL_BEAT if task is Task.ECG_BEAT else CALM[task]
    step = on_s // 10
    for second in range(0, on_s + 1, step):
        stay.find(task, second, values, engine="rules")
    assert stay.course(condition) == [(RAISED, on_s)]
    for second in range(on_s + step, on_s + 5 * step, step):
        stay.find(task, second, values, engine="onnx-cpu")
    assert [event for event, _ in stay.course(condition)] == [RAISED, CLEARED]


def test_three_ventricular_beats_are_a_run_and_five_fast_ones_a_tachycardia() -> None:
    stay = Stay()
    stay.beat(0)
    for n in range(1, 3):
        stay.beat(n * 0.45, ventricular=True)
    assert stay.steps == []
    stay.beat(3 * 0.45, ventricular=True)
    assert stay.course(C.PVC_RUN) == [(RAISED, 1.35)]
    stay.beat(4 * 0.45, ventricular=True)
    assert stay.course(C.VENTRICULAR_TACHYCARDIA) == []
    stay.beat(5 * 0.45, ventricular=True)
    assert stay.course(C.VENTRICULAR_TACHYCARDIA) == [(RAISED, 2.25)]
    assert stay.course(C.PVC_RUN) == [(RAISED, 1.35), (CLEARED, 2.25)]
    assert stay.last(C.PVC_RUN).text.endswith("superseded by a worse condition")
    for n in range(8):
        stay.beat(3 + n)
    assert stay.course(C.VENTRICULAR_TACHYCARDIA)[1:] == [(LATCHED, 8)]


def test_five_ventricular_beats_at_a_normal_rate_are_no_tachycardia() -> None:
    stay = Stay()
    for n in range(8):
        stay.beat(n * 0.6, ventricular=True, rr_pre_ms=600.0)
    assert stay.course(C.VENTRICULAR_TACHYCARDIA) == []
    assert [event for event, _ in stay.course(C.PVC_RUN)] == [RAISED]


def test_fast_ventricular_beats_that_come_in_pairs_are_a_tachycardia() -> None:
    """One interval of 640 ms and one of 460, over and over: 109/min, as in mitdb/223."""
    stay = Stay()
    stay.beat(0)
    seconds = 0.6
    for n in range(8):
        before, after = (640.0, 460.0) if n % 2 else (460.0, 640.0)
        seconds += before / 1000
        stay.beat(seconds, ventricular=True, rr_pre_ms=before, rr_post_ms=after)
    assert [event for event, _ in stay.course(C.VENTRICULAR_TACHYCARDIA)] == [RAISED]


def test_a_pause_in_the_beats_breaks_a_run() -> None:
    stay = Stay()
    for second in (0, 0.45, 4.0, 4.45):
        stay.beat(second, ventricular=True)
    assert stay.course(C.PVC_RUN) == []


def test_an_unclassified_beat_neither_makes_nor_breaks_a_run() -> None:
    stay = Stay()
    stay.beat(0, ventricular=True)
    stay.beat(0.45, ventricular=True)
    stay.find(Task.ECG_BEAT, 0.9, {})
    assert stay.course(C.PVC_RUN) == []
    stay.beat(1.35, ventricular=True)
    assert stay.course(C.PVC_RUN) == [(RAISED, 1.35)]


def test_the_eleventh_ventricular_beat_of_a_minute_is_frequent() -> None:
    stay = Stay()
    for n in range(11):
        assert stay.course(C.PVC_FREQUENT) == []
        stay.beat(n * 4.0, ventricular=True)
        stay.beat(n * 4.0 + 1)
    assert stay.course(C.PVC_FREQUENT) == [(RAISED, 40.0)]
    assert stay.last(C.PVC_FREQUENT).evidence.value == 11  # type: ignore[union-attr]
    for n in range(100):
        stay.beat(42.0 + n)
    (event, second) = stay.course(C.PVC_FREQUENT)[1]
    # six are left in the last minute some 20 s after the first ones, and half a minute of that ends it
    assert event is CLEARED
    assert abs(second - 110) <= PVC_CELL_US / 1e6


def test_ten_ventricular_beats_a_minute_are_not_frequent() -> None:
    stay = Stay()
    for n in range(40):
        stay.beat(n * 6.0, ventricular=True)
        stay.beat(n * 6.0 + 1)
    assert stay.course(C.PVC_FREQUENT) == []


def test_an_asystole_takes_the_place_of_a_bradycardia() -> None:
    stay = Stay()
    stay.rhythms(range(20), heart_rate_bpm=35.0)
    assert [e for e, _ in stay.course(C.EXTREME_BRADYCARDIA)] == [RAISED]
    stay.rhythm(20, heart_rate_bpm=35.0, since_beat_ms=4200.0)
    assert stay.course(C.ASYSTOLE) == [(RAISED, 20)]
    assert stay.course(C.EXTREME_BRADYCARDIA)[1:] == [(LATCHED, 20)]
    assert stay.course(C.HEART_RATE_LOW) == []


def test_a_low_reading_takes_the_place_of_its_prediction() -> None:
    stay = Stay()
    stay.glucose(0, 82, below_70=0.8)
    stay.glucose(5, 68, below_70=0.95)
    stay.glucose(10, 52, below_70=0.99, below_54=0.9)
    assert stay.course(C.GLUCOSE_LOW_PREDICTED) == [(RAISED, 0), (CLEARED, 300)]
    assert stay.course(C.GLUCOSE_LOW) == [(RAISED, 300), (CLEARED, 600)]
    assert stay.course(C.GLUCOSE_VERY_LOW) == [(RAISED, 600)]


def test_a_low_later_than_half_an_hour_ahead_is_not_alarmed() -> None:
    stay = Stay()
    values = {"glucose_mg_dl": 100.0} | forecast() | {"h35_p_below_70": 0.99, "h60_p_below_70": 0.99}
    stay.find(GLUCOSE, 0, values)
    assert stay.steps == []


def test_the_glucose_limits_hold_without_a_forecast() -> None:
    stay = Stay()
    stay.find(GLUCOSE, 0, {"glucose_mg_dl": 50.0}, Verdict.TOO_SHORT, engine="rules")
    assert stay.course(C.GLUCOSE_VERY_LOW) == [(RAISED, 0)]


def test_a_value_that_saws_around_its_limit_is_one_alarm() -> None:
    stay = Stay()
    for second in range(120):
        stay.rhythm(second, heart_rate_bpm=124.0 if second % 2 or second < 12 else 118.0)
    assert stay.course(C.HEART_RATE_HIGH) == [(RAISED, 10)]


def test_a_delay_starts_again_when_the_value_comes_back_inside() -> None:
    stay = Stay()
    stay.rhythms(range(10), heart_rate_bpm=130.0)
    stay.rhythm(10)
    stay.rhythms(range(11, 21), heart_rate_bpm=130.0)
    assert stay.course(C.HEART_RATE_HIGH) == []
    stay.rhythm(21, heart_rate_bpm=130.0)
    assert stay.course(C.HEART_RATE_HIGH) == [(RAISED, 21)]
    assert stay.last(C.HEART_RATE_HIGH).onset_us == at(11)


@pytest.mark.parametrize("verdict", [v for v in Verdict if v > Verdict.POOR])
def test_nothing_about_the_heart_is_said_from_a_signal_that_cannot_be_believed(verdict: Verdict) -> None:
    stay = Stay()
    for second in range(60):
        stay.rhythm(second, verdict, heart_rate_bpm=200.0, since_beat_ms=9000.0, vf_index=1.0, rr_irregularity=1.0)
    assert {step.kind for step in stay.steps} == {"technical"}


def test_a_low_heart_rate_from_a_lead_that_is_off_is_technical_only() -> None:
    stay = Stay()
    for second in range(30):
        stay.rhythm(second, Verdict.LEAD_OFF, heart_rate_bpm=20.0, since_beat_ms=9000.0)
    assert {step.condition for step in stay.steps} == {Condition.ECG_LEAD_OFF}


def test_lead_off_during_a_fibrillation_leaves_it_standing_until_a_minute_has_passed() -> None:
    stay = Stay()
    stay.rhythms(range(5), vf_index=0.95)
    assert changes(stay, C.VENTRICULAR_FIBRILLATION) == [(RAISED, 3)]
    for second in range(5, 65):
        stay.rhythm(second, Verdict.LEAD_OFF)
    assert len(changes(stay, C.VENTRICULAR_FIBRILLATION)) == 1
    stay.rhythm(65, Verdict.LEAD_OFF)
    assert changes(stay, C.VENTRICULAR_FIBRILLATION)[1:] == [(LATCHED, 64)]
    assert stay.last(C.VENTRICULAR_FIBRILLATION).text.endswith("not measured for 60 s")


def glucose(stay: Stay, minutes: float, mg_dl: float, trend_mg_dl_min: float = 0.0) -> None:
    stay.find(GLUCOSE, minutes * 60, {"glucose_mg_dl": mg_dl, "trend_mg_dl_min": trend_mg_dl_min} | forecast())


def test_a_fast_fall_is_told_where_it_leads_to_a_low_and_not_from_on_high() -> None:
    stay = Stay()
    glucose(stay, 0, 270, -5.0)
    glucose(stay, 5, 140, -5.0)
    assert changes(stay, C.GLUCOSE_FALLING_FAST) == []
    glucose(stay, 10, 99, -3.0)
    assert changes(stay, C.GLUCOSE_FALLING_FAST) == [(RAISED, 600)]
    glucose(stay, 15, 69, -5.0)
    assert changes(stay, C.GLUCOSE_FALLING_FAST)[1:] == [(CLEARED, 900)]
    assert stay.last(C.GLUCOSE_LOW).signal is Signal.ON


def test_a_fast_rise_out_of_a_low_is_what_the_sugar_was_for() -> None:
    stay = Stay()
    glucose(stay, 0, 80, 5.0)
    assert stay.steps == []


def test_a_sensor_that_always_says_the_same_is_told_of_until_it_moves() -> None:
    stay = Stay()
    for minutes in range(0, 90, 5):
        glucose(stay, minutes, 110)
    assert stay.steps == []
    glucose(stay, 90, 110)
    glucose(stay, 95, 110)
    assert changes(stay, C.GLUCOSE_FROZEN) == [(RAISED, 5400)]
    glucose(stay, 100, 111)
    assert changes(stay, C.GLUCOSE_FROZEN)[1:] == [(CLEARED, 6000)]


@pytest.mark.parametrize("mg_dl", [40.0, 39.0, 400.0, 401.0])
def test_a_sensor_at_the_end_of_its_range_is_not_frozen(mg_dl: float) -> None:
    stay = Stay()
    for minutes in range(0, 200, 5):
        glucose(stay, minutes, mg_dl)
    assert changes(stay, C.GLUCOSE_FROZEN) == []


def arriving(stay: Stay, seconds: Iterable[float], away_s: Callable[[float], float]) -> None:
    """A calm rhythm whose records reach the broker ``away_s`` after the monitor says that it was measured."""
    for second in seconds:
        table = batch(RHYTHM, [(stay.patient, second, CALM_RHYTHM, Verdict.GOOD)])
        table = replace(table, input_ms=[at(second + away_s(second)) // 1000])
        stay.steps += stay.deciding.decide([record(table)]).transitions


@pytest.mark.parametrize("away_s", [30.0, 3600.0, -50.0])
def test_a_clock_that_is_wrong_is_told_of_until_it_is_right(away_s: float) -> None:
    stay = Stay()
    arriving(stay, range(40), lambda second: away_s + 10 * (second % 10) / 10)  # bundles of ten seconds
    (raised,) = stay.steps
    assert (raised.condition, raised.event, raised.time_us) == (C.ECG_CLOCK_WRONG, RAISED, at(31))
    arriving(stay, range(40, 60), lambda _: 0.5)
    assert changes(stay, C.ECG_CLOCK_WRONG)[1:] == [(CLEARED, 50)]


def test_a_backlog_that_drains_is_no_wrong_clock() -> None:
    stay = Stay()
    arriving(stay, range(600), lambda second: max(0.5, 540 - 0.9 * second))
    assert stay.steps == []


def test_a_clock_that_is_a_little_off_is_nobodys_trouble() -> None:
    stay = Stay()
    arriving(stay, range(100), lambda _: 19.0)
    assert stay.steps == []


@pytest.mark.parametrize("hostile", [math.nan, math.inf, -math.inf, 1e300, -1e300, -1.0, None])
def test_numbers_that_cannot_be_raise_nothing_and_harm_nothing(hostile: float | None) -> None:
    stay = Stay()
    for second in range(40):
        values = dict.fromkeys(CALM_RHYTHM, hostile)
        if hostile in {math.inf, 1e300}:
            values["since_beat_ms"] = 500.0  # an endless time without a beat is an asystole, not nonsense
        stay.rhythm(second, **values)
        stay.find(Task.ECG_BEAT, second, dict.fromkeys(NORMAL_BEAT, hostile))
        stay.find(GLUCOSE, second, dict.fromkeys(CALM[GLUCOSE], hostile))
        stay.find(Task.PNEUMONIA, second, {"p_normal": hostile, "p_pneumonia": hostile})
    assert stay.steps == []
    stay.rhythms(range(40, 51), heart_rate_bpm=130.0)
    assert stay.course(C.HEART_RATE_HIGH) == [(RAISED, 50)]

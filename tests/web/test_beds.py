"""The latest of every bed: what counts as newer, what is bounded, what is not known."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stream.web.beds import MAX_NAME, Beds, Section, natural_key
from tests.support.stay import CALM_RHYTHM, NORMAL_BEAT, VENTRICULAR_BEAT, at, batch, forecast
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_QUANTILES, FindingBatch, Task, Verdict
from vitals.risk import Band, InputState, RiskBatch

GOOD = Verdict.GOOD


def rhythm(bed: str, seconds: float, bpm: float | None, verdict: Verdict = GOOD) -> FindingBatch:
    return batch(Task.ECG_RHYTHM, [(bed, seconds, CALM_RHYTHM | {"heart_rate_bpm": bpm}, verdict)])


def risk(bed: str, seconds: float, p: float | None, band: Band) -> RiskBatch:
    inputs = list(reversed(Task))
    n = len(inputs)
    return RiskBatch(
        formula="f", horizon_min=30, patients=[bed], time_us=[at(seconds)], input_ms=[0], probability=[p], lower=[p],
        upper=[p], band=[band], inputs=inputs, state=[[InputState(k % 4)] for k in range(n)], end_us=[[0]] * n,
        age_s=[[float(k)] for k in range(n)], says=[[None]] * n, model=[[-1]] * n, models=[],
    )  # fmt: skip


def test_the_newest_finding_is_shown_whatever_the_order_of_arrival() -> None:
    beds = Beds(8)
    for seconds, bpm in ((10, 70.0), (12, 72.0), (11, 71.0)):
        beds.take(rhythm("a", seconds, bpm), at(13))
    assert beds.heart_rate[beds.index["a"]] == 72.0


def test_of_two_findings_of_one_bed_in_a_batch_the_later_row_stays() -> None:
    beds = Beds(8)
    rows = [
        ("a", 1.0, CALM_RHYTHM, GOOD),
        ("b", 1.0, CALM_RHYTHM, GOOD),
        ("a", 2.0, CALM_RHYTHM | {"heart_rate_bpm": 99.0}, GOOD),
    ]
    beds.take(batch(Task.ECG_RHYTHM, rows), at(3))
    assert beds.heart_rate[beds.index["a"]] == 99.0
    assert beds.ecg_us[beds.index["a"]] == at(2)


def test_a_value_dated_in_the_future_gives_way_to_a_later_one_that_is_dated_right() -> None:
    beds = Beds(8)
    beds.take(rhythm("a", 100_000, 180.0), at(10))
    beds.take(rhythm("a", 11, 70.0), at(11))
    assert beds.heart_rate[beds.index["a"]] == 70.0


def test_the_past_read_back_does_not_undo_a_stream_that_runs_ahead_of_the_clock() -> None:
    beds = Beds(8)
    beds.take(batch(Task.GLUCOSE, [("home", 90_000, {"glucose_mg_dl": 90.0}, GOOD)]), at(20))
    beds.take(batch(Task.GLUCOSE, [("home", 89_700, {"glucose_mg_dl": 80.0}, GOOD)]), at(10))
    held = beds.glucose[beds.index["home"]]
    assert held.mg_dl == 90.0
    assert [mg_dl for _, mg_dl in held.readings] == [80.0, 90.0]


def test_what_is_not_known_is_not_a_number() -> None:
    beds = Beds(8)
    beds.take(rhythm("a", 1, None, Verdict.LEAD_OFF), at(1))
    assert np.isnan(beds.heart_rate[beds.index["a"]])
    assert beds.ecg_verdict[beds.index["a"]] == Verdict.LEAD_OFF


def test_beats_that_are_not_normal_are_marked_at_their_r_peak_and_counted() -> None:
    beds = Beds(8)
    beds.take(
        batch(Task.ECG_BEAT, [("a", s, VENTRICULAR_BEAT if s % 2 else NORMAL_BEAT, GOOD) for s in range(90)]), at(90)
    )
    row = beds.index["a"]
    assert beds.ventricular_per_min(row) == 30
    assert beds.beat(row) == "V"
    assert beds.marks[row][-1] == (at(89) - 400_000, "V")


def test_a_beat_on_unreadable_signal_is_not_shown() -> None:
    beds = Beds(8)
    beds.take(batch(Task.ECG_BEAT, [("a", 1, VENTRICULAR_BEAT, Verdict.NOISY), ("a", 2, {}, GOOD)]), at(2))
    assert beds.beat(beds.index["a"]) == ""


def test_a_forecast_is_shown_whole_or_not_at_all() -> None:
    beds = Beds(8)
    values = forecast(below_70=0.3) | {"glucose_mg_dl": 88.0, "trend_mg_dl_min": -1.2}
    values |= {f"h{h:02d}_q{q:02d}": float(h + q) for h in FORECAST_HORIZONS_MIN for q in FORECAST_QUANTILES}
    beds.take(batch(Task.GLUCOSE, [("a", 0, values, GOOD), ("b", 0, values | {"h60_q95": None}, GOOD)]), at(0))
    a, b = (beds.glucose[beds.index[name]] for name in "ab")
    assert a.forecast is not None
    assert a.forecast[:, -1].tolist() == [65.0, 85.0, 110.0, 135.0, 155.0]
    assert a.p_low == pytest.approx(0.3)
    assert b.forecast is None


def test_readings_are_bounded_and_each_is_kept_once() -> None:
    beds = Beds(8)
    rows = [("a", 300.0 * i, {"glucose_mg_dl": 100.0 + i % 7}, GOOD) for i in range(200)]
    beds.take(batch(Task.GLUCOSE, rows + rows[-5:]), at(60_000))
    readings = beds.glucose[beds.index["a"]].readings
    assert len(readings) == 72
    assert readings[-1][0] == at(300 * 199)


def test_risk_columns_find_their_task_whatever_their_order() -> None:
    beds = Beds(8)
    beds.take_risks(risk("a", 5, 0.42, Band.HIGH), at(5))
    row = beds.index["a"]
    assert beds.risk[row].tolist() == [0.42] * 3
    assert beds.risk_band[row] == Band.HIGH
    assert beds.input_age_s[row].tolist() == [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    beds.take_risks(risk("a", 4, 0.9, Band.CRITICAL), at(5))
    assert beds.risk_band[row] == Band.HIGH


def test_a_withheld_risk_has_no_number() -> None:
    beds = Beds(8)
    beds.take_risks(risk("a", 5, None, Band.WITHHELD), at(5))
    assert np.isnan(beds.risk[beds.index["a"]]).all()


def test_only_the_section_that_changed_is_marked() -> None:
    beds = Beds(8)
    beds.take(rhythm("a", 1, 70.0), at(1))
    row = beds.index["a"]
    before = beds.version[row].copy()
    beds.take_risks(risk("a", 5, 0.1, Band.LOW), at(5))
    assert np.flatnonzero(beds.version[row] != before).tolist() == [Section.RISK]


def test_beds_beyond_the_capacity_are_counted_and_harm_nobody() -> None:
    beds = Beds(2)
    rows = [(name, 1.0, CALM_RHYTHM, GOOD) for name in ("a", "b", "c", "x" * (MAX_NAME + 1))]
    beds.take(batch(Task.ECG_RHYTHM, rows), at(1))
    assert sorted(beds.index) == ["a", "b"]
    assert beds.turned_away == 2


def test_a_row_that_is_let_go_comes_back_empty() -> None:
    beds = Beds(1)
    beds.take(rhythm("a", 1, 70.0), at(1))
    beds.take(batch(Task.ECG_BEAT, [("a", 1, VENTRICULAR_BEAT, GOOD)]), at(1))
    beds.let_go(beds.index["a"])
    beds.take(batch(Task.PNEUMONIA, [("b", 2, {"p_pneumonia": 0.9, "p_normal": 0.1}, GOOD)]), at(2))
    row = beds.index["b"]
    assert np.isnan(beds.heart_rate[row])
    assert beds.ecg_us[row] == 0
    assert beds.beat(row) == ""
    assert row not in beds.marks
    assert beds.images[row][Task.PNEUMONIA].p == pytest.approx(0.9)


def test_columns_that_do_not_fit_are_refused() -> None:
    beds = Beds(8)
    broken = msgspec.structs.replace(rhythm("a", 1, 70.0), row=[3])
    with pytest.raises((ValueError, IndexError)):
        beds.take(broken, at(1))


def test_ten_comes_after_two() -> None:
    names = ["bed-10", "bed-2", "bed-1", "Ward 3", "7"]
    assert sorted(names, key=natural_key) == ["7", "Ward 3", "bed-1", "bed-2", "bed-10"]

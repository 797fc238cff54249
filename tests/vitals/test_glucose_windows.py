"""Readings to windows: the grid, gaps, order, and the same windows however readings are bundled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitals.findings import Verdict
from vitals.simulate import glucose
from vitals.windows.glucose import STEP_US, STEPS, GlucoseStep, GlucoseWindows, Outcome

START_US = 1_700_000_000_000_000
MIN_US = 60_000_000


def feed(minutes: list[float], mg_dl: list[float]) -> GlucoseStep:
    windows = GlucoseWindows()
    row = np.repeat(windows.add(1), len(minutes))
    time_us = START_US + (np.array(minutes) * MIN_US).astype(np.int64)
    return windows.advance(row, time_us, np.array(mg_dl, np.float32))


def test_readings_every_five_minutes_come_out_as_they_are() -> None:
    readings = [100.0 + k for k in range(60)]
    step = feed([5.0 * k for k in range(60)], readings)
    assert step.windows.tolist() == list(range(60))
    np.testing.assert_array_equal(step.glucose[-1, :, 0], np.array(readings[-STEPS:], np.float32) / np.float32(100))
    assert (step.glucose[-1, :, 1] == 1).all()
    assert step.trend_mg_dl_min[-1] == pytest.approx(0.2)
    assert step.verdict[-1] == Verdict.GOOD


def test_a_short_gap_is_bridged_and_said_so_and_a_long_one_is_left_open() -> None:
    minutes = [0.0, 5.0, 10.0, 30.0, 35.0, 60.0, 65.0]
    window = feed(minutes, [100, 100, 100, 140, 140, 200, 200]).glucose[-1]
    known = {5 * (STEPS - 1 - k): tuple(window[k]) for k in range(STEPS)}  # by minutes before the end
    assert known[45] == (pytest.approx(1.2), 0.0)  # halfway between the readings at 10 and 30 min
    assert known[35] == (pytest.approx(1.4), 1.0)
    assert [known[before] for before in (10, 15, 20, 25)] == [(0.0, 0.0)] * 4
    assert known[70] == (0.0, 0.0)  # before the first


def test_a_forecast_waits_for_half_an_hour_of_the_last_hour() -> None:
    verdict = feed([5.0 * k for k in range(12)], [120.0] * 12).verdict
    assert verdict.tolist() == [Verdict.TOO_SHORT] * 5 + [Verdict.GOOD] * 7
    after_a_gap = feed([5.0 * k for k in range(30)] + [300.0], [120.0] * 31)
    assert after_a_gap.verdict[-1] == Verdict.TOO_SHORT


def test_the_slope_is_not_known_from_one_reading_or_after_a_gap() -> None:
    trend = feed([0.0, 2.0, 5.0, 60.0], [100, 101, 110, 150]).trend_mg_dl_min
    assert np.isnan(trend).tolist() == [True, True, False, True]


def test_repeats_are_duplicates_even_with_another_value_and_older_ones_too_late() -> None:
    step = feed([0.0, 5.0, 5.0, 0.0, 3.0, -5.0, 10.0], [100, 110, 300, 100, 105, 90, 120])
    assert [Outcome(o).name for o in step.outcome] == [
        "TAKEN", "TAKEN", "DUPLICATE", "DUPLICATE", "TOO_LATE", "TOO_LATE", "TAKEN",
    ]  # fmt: skip
    assert step.windows.tolist() == [0, 1, 6]
    assert step.glucose[-1, -3:, 0] == pytest.approx([1.0, 1.1, 1.2])


def test_readings_every_minute_fill_four_hours() -> None:
    time_us, mg_dl = glucose(3, START_US, 10.0, step_min=1.0)
    windows = GlucoseWindows()
    step = windows.advance(np.repeat(windows.add(1), len(time_us)), time_us, mg_dl)
    np.testing.assert_allclose(step.glucose[-1, :, 0], mg_dl[::-1][: 5 * STEPS : 5][::-1] / 100, rtol=1e-6)
    assert (step.glucose[-1, :, 1] == 1).all()


def test_a_window_only_knows_what_came_before_it() -> None:
    time_us, mg_dl = glucose(3, START_US, 12.0)
    all_of_it = feed(((time_us - START_US) / MIN_US).tolist(), mg_dl.tolist())
    half = len(time_us) // 2
    part = feed(((time_us[:half] - START_US) / MIN_US).tolist(), mg_dl[:half].tolist())
    assert all_of_it.glucose[:half].tobytes() == part.glucose.tobytes()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_bundling_and_a_checkpoint_give_the_same_windows(seed: int) -> None:
    """Four people with jittered, repeated and late readings, in bundles of any size."""
    random = np.random.default_rng(seed)
    n = 300
    who = random.integers(0, 4, n)
    time_us = START_US + np.cumsum(random.integers(-1, 4, n)) * STEP_US // 3
    mg_dl = random.uniform(40, 400, n).astype(np.float32)
    whole = GlucoseWindows()
    expected = whole.advance(whole.add(4)[who], time_us, mg_dl)
    windows = GlucoseWindows()
    rows = windows.add(4)
    steps = []
    cuts = [0, *sorted(random.choice(np.arange(1, n), 10, replace=False).tolist()), n]
    for k in range(len(cuts) - 1):
        if k == 5:
            saved = windows.snapshot(rows)
            windows = GlucoseWindows()
            rows = windows.add(9)[5:]
            windows.restore(rows, saved)
        at = slice(cuts[k], cuts[k + 1])
        steps.append(windows.advance(rows[who[at]], time_us[at], mg_dl[at]))
    for name in ("outcome", "end_us", "glucose", "trend_mg_dl_min", "verdict"):
        assert np.concatenate([getattr(s, name) for s in steps]).tobytes() == getattr(expected, name).tobytes()

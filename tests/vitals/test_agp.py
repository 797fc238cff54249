"""The figures that a diabetes team reads, on days that can be reckoned by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitals.agp import DAYS, RANGES, SLOTS, STEP_US, STEPS_PER_DAY, Profile, figures, profile, stepped

STEPS = DAYS * STEPS_PER_DAY
EVERY = STEP_US * np.arange(STEPS, dtype=np.int64)
MINUTE = (5 * np.arange(STEPS, dtype=np.int64)) % 1440


def of(values: npt.NDArray[np.float64], at: npt.NDArray[np.int64] = EVERY) -> Profile:
    return profile(0, at, values, MINUTE)


def test_figures_of_two_weeks_are_those_of_the_consensus() -> None:
    said = of(np.tile(np.repeat([50.0, 60.0, 100.0, 200.0, 300.0, 100.0, 100.0, 100.0], 36), DAYS)).figures
    assert said is not None
    assert dict(zip(RANGES, said.share, strict=True)) == {
        "very low": 0.125, "low": 0.125, "in range": 0.5, "high": 0.125, "very high": 0.125,
    }  # fmt: skip
    assert said.mean_mg_dl == 126.25
    assert said.gmi_percent == pytest.approx(6.33, abs=0.005)
    assert said.cv_percent == pytest.approx(61.73, abs=0.01)


@pytest.mark.parametrize(
    ("mg_dl", "name"),
    [(53.9, "very low"), (54, "low"), (69.9, "low"), (70, "in range"), (180, "in range"), (180.1, "high"),
     (250, "high"), (250.1, "very high")],
)  # fmt: skip
def test_a_value_on_a_limit_belongs_where_the_consensus_puts_it(mg_dl: float, name: str) -> None:
    assert figures(np.array([mg_dl])).share[RANGES.index(name)] == 1.0


def test_with_less_than_seventy_percent_of_the_time_measured_there_are_no_figures_but_the_curve_of_what_is() -> None:
    ten_days = EVERY < 10 * 86_400_000_000
    assert of(np.full(ten_days.sum(), 120.0), EVERY[ten_days]).figures is not None
    nine_days = EVERY < 9 * 86_400_000_000
    made = of(np.full(nine_days.sum(), 120.0), EVERY[nine_days])
    assert made.figures is None
    assert made.active == pytest.approx(9 / 14, abs=0.001)
    assert (made.curve_mg_dl == 120.0).all()


def test_a_quarter_of_an_hour_measured_on_a_few_days_only_has_no_percentiles() -> None:
    nights = (MINUTE < 6 * 60) & (EVERY < 4 * 86_400_000_000)
    curve = of(np.full(nights.sum(), 120.0), EVERY[nights]).curve_mg_dl
    assert np.isnan(curve).all()


@pytest.mark.parametrize("interval_min", [1, 5, 15])
def test_monitors_of_any_interval_count_the_same_time(interval_min: int) -> None:
    at = np.arange(0, STEPS * STEP_US, interval_min * 60_000_000, dtype=np.int64)
    low_half = np.where(at < STEPS * STEP_US // 2, 60.0, 120.0)
    made = of(low_half, at)
    assert made.active > 0.999
    assert made.figures is not None
    assert made.figures.share[1] == pytest.approx(0.5, abs=0.001)


def test_the_curve_follows_the_hours_of_the_wearer() -> None:
    made = profile(0, EVERY, np.where(MINUTE < 12 * 60, 90.0, 160.0), (MINUTE + 120) % 1440)
    assert made.curve_mg_dl.shape == (SLOTS, 5)
    assert made.curve_mg_dl[4 * 4, 2] == 90.0
    assert made.curve_mg_dl[1 * 4, 2] == 160.0
    assert made.curve_mg_dl[20 * 4, 2] == 160.0


@given(
    at=st.lists(st.integers(-STEP_US * 10, STEP_US * (STEPS + 10)), min_size=0, max_size=30, unique=True),
    shift=st.integers(0, 2**50),
)
def test_a_step_takes_the_nearest_reading_and_none_that_is_far(at: list[int], shift: int) -> None:
    time_us = np.array(sorted(at), dtype=np.int64) + shift
    value = np.arange(len(at), dtype=np.float64)
    taken = stepped(shift, time_us, value)
    for step in range(0, STEPS, 97):
        distance = np.abs(time_us - (shift + step * STEP_US))
        if not len(distance) or distance.min() > STEP_US * 3 // 2:
            assert np.isnan(taken[step])
        else:
            assert distance[int(taken[step])] == distance.min()

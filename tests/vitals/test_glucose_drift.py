"""What a glucose sensor's readings say of its bias."""

from __future__ import annotations

import numpy as np
import pytest

from vitals.drift.changes import Changes
from vitals.events import DriftKind
from vitals.simulate import glucose
from vitals.windows.glucose import GlucoseWindows

START_US = 1_700_000_000_000_000
CHANGED = 400


def told(
    time_us: np.ndarray, mg_dl: np.ndarray, cuts: tuple[int, ...] = ()
) -> list[tuple[DriftKind, bool, int, int, float]]:
    windows = GlucoseWindows()
    row = windows.add(1)
    said = []
    for part_us, part in zip(np.split(time_us, cuts), np.split(mg_dl.astype(np.float32), cuts), strict=True):
        changes: Changes = windows.advance(np.repeat(row, len(part)), part_us, part).changes
        state, windows = windows.snapshot(row), GlucoseWindows()
        row = windows.add(1)
        windows.restore(row, state)
        for i in range(len(changes)):
            when, since = (int(np.searchsorted(time_us, us)) for us in (changes.end_us[i], changes.from_us[i]))
            said.append((changes.kind[i], bool(changes.began[i]), when, since, float(changes.size[i])))
    return said


@pytest.fixture
def readings() -> tuple[np.ndarray, np.ndarray]:
    return glucose(4, START_US, 48.0)


@pytest.mark.parametrize("step", [20.0, -20.0])
def test_a_step_of_20_is_told_within_twelve_readings_and_settles(
    step: float, readings: tuple[np.ndarray, np.ndarray]
) -> None:
    time_us, mg_dl = readings
    mg_dl[CHANGED:] += step
    began, ended = told(time_us, mg_dl)
    assert began[:2] == (DriftKind.BIAS, True)
    assert CHANGED <= began[2] < CHANGED + 12
    assert began[3] == CHANGED
    assert abs(began[4] - step) < 6
    assert ended == (DriftKind.BIAS, False, began[2] + 12, *began[3:])


def test_meals_and_insulin_are_no_bias() -> None:
    """Up and down by four mg/dL a minute, which is as fast as glucose goes, and a sensor's noise on it."""
    minutes = 5.0 * np.arange(3000)
    time_us = START_US + (minutes * 60e6).astype(np.int64)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        waves = 50.0 * np.sin(2 * np.pi * minutes / 90.0) + 30.0 * np.sin(2 * np.pi * minutes / 400.0 + seed)
        assert told(time_us, 150.0 + waves + rng.normal(0.0, 1.0, len(minutes))) == []


def test_one_wrong_reading_is_no_bias(readings: tuple[np.ndarray, np.ndarray]) -> None:
    time_us, mg_dl = readings
    mg_dl[CHANGED] += 40.0
    assert told(time_us, mg_dl) == []


def test_what_changed_during_a_hole_is_not_told(readings: tuple[np.ndarray, np.ndarray]) -> None:
    time_us, mg_dl = readings
    kept = np.delete(np.arange(len(time_us)), range(CHANGED, CHANGED + 12))
    mg_dl[CHANGED:] += 30.0
    assert told(time_us[kept], mg_dl[kept]) == []


def test_a_sensor_that_jumps_all_the_time_is_not_told_of_each_jump() -> None:
    time_us, mg_dl = glucose(4, START_US, 240.0)
    rng = np.random.default_rng(0)
    jumps = np.where(rng.uniform(size=len(mg_dl)) < 0.05, rng.choice([-25.0, 25.0], len(mg_dl)), 0.0)
    restless = np.clip(mg_dl + np.cumsum(jumps) - np.linspace(0.0, jumps.sum(), len(mg_dl)), 60.0, 400.0)
    assert np.count_nonzero(jumps) > 100
    assert len([said for said in told(time_us, restless) if said[1]]) < 0.1 * np.count_nonzero(jumps)


def test_any_bundling_and_restarts_in_between_tell_the_same(readings: tuple[np.ndarray, np.ndarray]) -> None:
    time_us, mg_dl = readings
    mg_dl[CHANGED:] += 20.0
    expected = told(time_us, mg_dl)
    assert len(expected) == 2
    assert told(time_us, mg_dl, cuts=tuple(range(1, len(time_us), 3))) == expected

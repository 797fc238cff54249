"""Pulses in waves of which the truth is known, in waves that hold none, and in what no sensor should send."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream.gateways.wfdb import read_before
from tests.support.pulsewaves import RATE_HZ, pressure
from vitals.pulse import pulses

LEARNT_S = 3.5


def at_s(wave: np.ndarray) -> np.ndarray:
    return pulses(wave, RATE_HZ).foot / RATE_HZ


@pytest.mark.parametrize("bpm", [35, 60, 90, 150, 200])
def test_every_upstroke_is_found_once_and_where_it_begins(bpm: int) -> None:
    feet = np.arange(0.3, 59.0, 60.0 / bpm)
    found = at_s(pressure(feet, 60.0))
    off = np.abs(found[:, None] - feet)
    assert off.min(axis=1).max() < 0.06
    assert len(set(off.argmin(axis=1))) == len(found)
    assert len(found) >= (feet > LEARNT_S).sum()


def test_the_weak_pulse_of_an_early_beat_counts_and_a_dicrotic_notch_does_not() -> None:
    feet = np.arange(0.3, 30.0, 0.9)
    sizes = np.where(np.arange(len(feet)) % 6 == 5, 22.0, 40.0)
    found = at_s(pressure(feet, 30.0, sizes))
    assert len(found[found > LEARNT_S]) == (feet > LEARNT_S).sum()


def test_a_heart_that_stops_leaves_no_pulses_in_the_unrest_of_the_line() -> None:
    found = at_s(pressure(np.arange(0.3, 30.0, 0.8), 50.0))
    assert found.max() < 30.5


def test_after_a_jump_of_the_sensor_pulses_are_found_again() -> None:
    wave = pressure(np.arange(0.3, 60.0, 0.8), 60.0)
    wave[round(20 * RATE_HZ) :] += 900.0
    found = at_s(wave)
    assert (found > 40).sum() == pytest.approx(25, abs=1)


def test_a_hole_holds_no_pulse_and_neither_do_its_edges() -> None:
    wave = pressure(np.arange(0.3, 30.0, 0.8), 30.0)
    wave[round(10.05 * RATE_HZ) : round(14.0 * RATE_HZ)] = np.nan
    wave[round(14.0 * RATE_HZ) :] += 300.0
    found = at_s(wave)
    assert not ((found > 10.1) & (found < 13.9)).any()
    assert (found > 14.5).sum() == pytest.approx(19, abs=1)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(0),
        np.array([1.0, 2.0, 3.0]),
        np.zeros(5000),
        np.full(5000, 512.0),
        np.full(5000, np.nan),
        np.full(5000, np.inf),
        np.where(np.arange(5000) < 100, 0.0, 1023.0),  # driven to its rail, and staying there
    ],
    ids=["empty", "three samples", "flat", "constant", "nan", "inf", "saturated"],
)
def test_where_there_is_no_pulse_none_is_found(wave: np.ndarray) -> None:
    assert len(pulses(wave, RATE_HZ)) == 0


@given(
    arrays(np.float64, st.integers(0, 3000), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)),
    st.sampled_from([50.0, 125.0, 250.0, 1000.0]),
)
def test_whatever_comes_the_pulses_are_in_order_and_inside_the_wave(wave: np.ndarray, rate_hz: float) -> None:
    found = pulses(wave, rate_hz)
    assert (np.diff(found.foot) > 0).all()
    assert ((found.foot >= 0) & (found.known < len(wave)) & (found.foot <= found.known)).all()


@pytest.mark.parametrize("cut_s", [3.2, 7.77, 20.0, 33.3])
def test_what_is_said_of_a_pulse_rests_on_nothing_later(cut_s: float) -> None:
    rng = np.random.default_rng(2)
    feet = np.cumsum(rng.uniform(0.5, 1.2, 50))
    wave = pressure(feet, 45.0, rng.uniform(20, 60, 50))
    cut = round(cut_s * RATE_HZ)
    whole, part = pulses(wave, RATE_HZ), pulses(wave[:cut], RATE_HZ)
    known = whole.known < cut
    np.testing.assert_array_equal(part.foot, whole.foot[known])
    np.testing.assert_array_equal(part.rise, whole.rise[known])


@pytest.mark.data
@pytest.mark.parametrize("name", ["PLETH", "ABP"])
def test_the_pulses_of_a_real_patient_come_as_often_as_the_heart_beats(data_folder: Path, name: str) -> None:
    path = data_folder / "cinc2015/prealarm60s/v246s"
    if not path.with_suffix(".hea").exists():
        pytest.skip("not run: no v246s here")
    _, waves = read_before(path, 300.0, 60.0)
    (wave,) = (wave for wave in waves if wave.name == name)
    found = pulses(wave.values, wave.rate_hz)
    gaps_s = np.diff(found.foot) / wave.rate_hz
    assert len(found) > 40
    assert np.mean(np.abs(gaps_s / np.median(gaps_s) - 1) < 0.2) > 0.8

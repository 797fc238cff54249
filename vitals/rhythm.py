"""Rate and regularity from the intervals between beats, second by second."""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.signal import GRID_US, RATE_HZ
from vitals.units import US_PER_MS

KEPT: Final = 32
_RATE_BEATS: Final = 8
_SLOW_BEATS: Final = 64
SLOW_BEATS: Final = 5
FAST_BEATS: Final = 17
"""Of so many beats are extreme bradycardia and tachycardia, as the CinC Challenge 2015 defines them."""
_RATE_WITHIN: Final = 12 * RATE_HZ
_PAUSE: Final = 4 * RATE_HZ
_IRREGULAR_BEATS: Final = 24
_IRREGULAR_LEAST: Final = 12
_DIFFERENT: Final = 0.06
_IN_FIBRILLATION: Final = 0.7
_MS: Final = GRID_US / US_PER_MS
_BLIND: Final = 25
"""An interval with more than 100 ms of unmeasured signal in it is not known."""

FIELDS: Final = [
    ("rr_ms", np.float32, (KEPT,)),
    ("n_rr_ms", np.int64),
    ("rr_from", np.int64),  # intervals before this one lie beyond a hole in the signal
    ("rr_slow_ms", np.float64),
    ("n_slow", np.int64),
    ("latest_r", np.int64),
    ("latest_r_blind", np.int64),
    ("any_r", np.bool_),
]


@kernel
def begin(state):
    """A patient of whom nothing is known."""
    state.n_slow = 0
    state.rr_slow_ms = 0.0
    resume(state)


@kernel
def resume(state):
    """A run has begun: the intervals before it do not reach into it."""
    state.n_rr_ms = 0
    state.rr_from = 0
    state.any_r = False


@kernel
def note_beat(state, r, blind):
    """A beat at grid sample ``r``; ``blind`` counts unmeasured samples so far. Returns its interval, ms, 0 unknown."""
    rr_ms = 0.0
    if state.any_r and blind - state.latest_r_blind <= _BLIND:
        rr_ms = (r - state.latest_r) * _MS
        state.rr_ms[state.n_rr_ms % KEPT] = rr_ms
        state.n_rr_ms += 1
        state.n_slow = min(state.n_slow + 1, _SLOW_BEATS)
        state.rr_slow_ms += (min(max(rr_ms, 300.0), 2000.0) - state.rr_slow_ms) / state.n_slow
    else:
        state.rr_from = state.n_rr_ms
    state.any_r = True
    state.latest_r = r
    state.latest_r_blind = blind
    return rr_ms


@kernel
def heart_rate_bpm(state, k):
    """Of up to eight intervals, the longest and the shortest left out of five and more; NaN for less than two.

    Intervals that ended more than 12 s ago do not count, nor what lies before a pause of 4 s; in such a pause the rate
    is not known.
    """
    if not state.any_r or k - state.latest_r > _PAUSE:
        return np.nan
    n = 0
    total = 0.0
    least, most = np.inf, 0.0
    at = state.latest_r
    for i in range(min(state.n_rr_ms - state.rr_from, _RATE_BEATS)):
        rr_ms = np.float64(state.rr_ms[(state.n_rr_ms - 1 - i) % KEPT])
        if k - at > _RATE_WITHIN or rr_ms > _PAUSE * _MS:
            break
        at -= np.int64(rr_ms / _MS)
        n += 1
        total += rr_ms
        least = min(least, rr_ms)
        most = max(most, rr_ms)
    if n < 2:
        return np.nan
    if n >= 5:
        n -= 2
        total -= least + most
    return 60_000.0 * n / total


@kernel
def rate_of_bpm(state, k, beats):
    """Mean rate of the last ``beats`` beats, none left out; NaN for fewer in one piece, and in a pause of 4 s."""
    intervals = beats - 1
    if state.n_rr_ms - state.rr_from < intervals or k - state.latest_r > _PAUSE:
        return np.nan
    total = 0.0
    for i in range(intervals):
        total += state.rr_ms[(state.n_rr_ms - 1 - i) % KEPT]
    return 60_000.0 * intervals / total


@kernel
def irregularity(state):
    """How many of the last 24 intervals differ by more than 6 % of the mean from an earlier one; NaN for less than 12.

    Compared are the one before, the second and the third before, and the least share counts: extra beats in a pattern
    (every second, every third) are not what this is about. 1 stands for the median of atrial fibrillation (CinC 2017).
    """
    n = min(state.n_rr_ms - state.rr_from, _IRREGULAR_BEATS)
    if n < _IRREGULAR_LEAST:
        return np.nan
    mean = 0.0
    for i in range(n):
        mean += state.rr_ms[(state.n_rr_ms - 1 - i) % KEPT]
    mean /= n
    least = 1.0
    for lag in range(1, 4):
        differ = 0
        for i in range(n - lag):
            a = state.rr_ms[(state.n_rr_ms - 1 - i) % KEPT]
            b = state.rr_ms[(state.n_rr_ms - 1 - i - lag) % KEPT]
            differ += abs(a - b) > _DIFFERENT * mean
        least = min(least, differ / (n - lag))
    return min(1.0, least / _IN_FIBRILLATION)

"""Rate and regularity from the intervals between beats, second by second."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.signal import GRID_US, RATE_HZ
from vitals.units import US_PER_MS

KEPT: Final = 32
_RATE_BEATS: Final = 8
_RATE_WITHIN: Final = 12 * RATE_HZ
_IRREGULAR_BEATS: Final = 24
_IRREGULAR_LEAST: Final = 8
_MS: Final = GRID_US / US_PER_MS
_BLIND: Final = 25
"""An interval with more than 100 ms of unmeasured signal in it is not known."""

FIELDS: Final = [
    ("rr_ms", np.float32, (KEPT,)),
    ("n_rr_ms", np.int64),
    ("rr_slow_ms", np.float64),
    ("latest_r", np.int64),
    ("latest_r_blind", np.int64),
    ("any_r", np.bool_),
]


@kernel
def begin(state):
    """A run has begun: what was before it does not reach into it."""
    state.n_rr_ms = 0
    state.any_r = False


@kernel
def note_beat(state, r, blind):
    """A beat at grid sample ``r``; ``blind`` counts unmeasured samples so far. Returns its interval, ms, 0 unknown."""
    rr_ms = 0.0
    if state.any_r and blind - state.latest_r_blind <= _BLIND:
        rr_ms = (r - state.latest_r) * _MS
        state.rr_ms[state.n_rr_ms % KEPT] = rr_ms
        state.n_rr_ms += 1
        within_ms = min(max(rr_ms, 300.0), 2000.0)
        state.rr_slow_ms += (within_ms - state.rr_slow_ms) / min(state.n_rr_ms, 64)
    else:
        state.n_rr_ms = 0
    state.any_r = True
    state.latest_r = r
    state.latest_r_blind = blind
    return rr_ms


@kernel
def heart_rate_bpm(state, k):
    """Of up to eight intervals that ended in the last 12 s, without longest and shortest; NaN for less than two."""
    n = 0
    total = 0.0
    least, most = np.inf, 0.0
    at = state.latest_r
    for i in range(min(state.n_rr_ms, _RATE_BEATS)):
        if k - at > _RATE_WITHIN:
            break
        rr_ms = np.float64(state.rr_ms[(state.n_rr_ms - 1 - i) % KEPT])
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
def irregularity(state):
    """0..1: how far the last intervals are from predicting each other; NaN for less than eight."""
    n = min(state.n_rr_ms, _IRREGULAR_BEATS)
    if n < _IRREGULAR_LEAST:
        return np.nan
    mean = 0.0
    steps = 0.0
    for i in range(n):
        rr_ms = np.float64(state.rr_ms[(state.n_rr_ms - 1 - i) % KEPT])
        mean += rr_ms
        if i > 0:
            steps += min(abs(rr_ms - state.rr_ms[(state.n_rr_ms - i) % KEPT]), 400.0)
    x = (steps / (n - 1)) / (mean / n)
    return 1.0 / (1.0 + math.exp(-(x - 0.12) / 0.02))

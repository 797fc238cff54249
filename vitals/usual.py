"""What is usual for this patient: a slowly moving picture of the prevailing beat, that each beat is compared with."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.rhythm import KEPT
from vitals.signal import LEADS, MASK

BEFORE_R: Final = 92
AFTER_R: Final = 100
SAMPLES: Final = BEFORE_R + AFTER_R

CONTEXT: Final = (
    "rr_pre_s",
    "rr_post_s",
    "rr_pre_to_mean",
    "rr_post_to_mean",
    "rr_pre_to_slow",
    "rr_post_to_pre",
    "rr_before_to_mean",
    "rr_spread",
    "qrs_match_0",
    "qrs_match_1",
    "qrs_size_0",
    "qrs_size_1",
    "p_match_0",
    "p_match_1",
    "t_match_0",
    "t_match_1",
)
"""Per beat, all finite. ``rr_*_s``: seconds, 0 unknown, at most 2. ``*_to_*``: ratios 0..3, 1 unknown; ``mean`` of the
last eight intervals before this one, ``slow`` of about 64. ``rr_spread``: mean absolute step of those eight over their
mean. ``*_match_l``: correlation -1..1 with the usual beat of lead l (QRS -100 to 120 ms, P -280 to -80 ms, T 120 to
400 ms around R), 0 unknown. ``qrs_size_l``: natural logarithm of the ratio of sizes, -3..3.
"""

_QRS: Final = (BEFORE_R - 25, BEFORE_R + 30)
_P: Final = (BEFORE_R - 70, BEFORE_R - 20)
_T: Final = (BEFORE_R + 30, BEFORE_R + 100)
_RATE: Final = 1.0 / 16.0
_LIKE: Final = 0.85
_FORGET: Final = 12
_MEAN_OF: Final = 8

FIELDS: Final = [
    ("usual_uv", np.float32, (LEADS, SAMPLES)),
    ("usual_beats", np.int64),
    ("unusual_run", np.int64),
]


@kernel
def begin(state):
    """Forget the usual beat."""
    state.usual_beats = 0
    state.unusual_run = 0


@kernel
def compare(state, r, rr_pre_ms, rr_post_ms, n_rr, n_known, out):
    """Fill ``out`` (float32[len(CONTEXT)]) for the beat at ``r`` and learn from it.

    ``n_rr``: how many intervals there ever were before this beat's own; of the last of them ``n_known`` are known.
    """
    mean = spread = 0.0
    rr_ms = state.rr_ms
    n = min(n_known, _MEAN_OF)
    for i in range(n):
        value = np.float64(rr_ms[(n_rr - 1 - i) % KEPT])
        mean += value
        if i > 0:
            spread += abs(value - rr_ms[(n_rr - i) % KEPT])
    if n > 0:
        mean /= n
    out[0] = min(rr_pre_ms, 2000.0) * 1e-3
    out[1] = min(rr_post_ms, 2000.0) * 1e-3
    out[2] = _ratio(rr_pre_ms, mean)
    out[3] = _ratio(rr_post_ms, mean)
    out[4] = _ratio(rr_pre_ms, state.rr_slow_ms)
    out[5] = _ratio(rr_post_ms, rr_pre_ms)
    out[6] = _ratio(np.float64(rr_ms[(n_rr - 1) % KEPT]) if n > 0 else 0.0, mean)
    out[7] = min(spread / (n - 1) / mean, 3.0) if n > 1 else 0.0
    best = -1.0
    for lead in range(LEADS):
        likeness, size = match(state, r, lead, _QRS[0], _QRS[1])
        out[8 + lead] = likeness
        out[10 + lead] = size
        out[12 + lead] = match(state, r, lead, _P[0], _P[1])[0]
        out[14 + lead] = match(state, r, lead, _T[0], _T[1])[0]
        best = max(best, likeness)
    _learn(state, r, best, rr_pre_ms, mean)


@kernel
def _ratio(a, b):
    return min(a / b, 3.0) if a > 0.0 and b > 0.0 else 1.0


@kernel
def match(state, r, lead, begin_at, end_at):
    """(correlation, logarithm of the ratio of sizes) of samples begin_at … end_at - 1 of the window with the usual."""
    if state.usual_beats == 0:
        return 0.0, 0.0
    n = end_at - begin_at
    x = state.ring_uv[lead]
    u = state.usual_uv[lead]
    sum_x = sum_u = sum_xx = sum_uu = sum_xu = 0.0
    for i in range(begin_at, end_at):
        a = np.float64(x[(r - BEFORE_R + i) & MASK])
        b = np.float64(u[i])
        sum_x += a
        sum_u += b
        sum_xx += a * a
        sum_uu += b * b
        sum_xu += a * b
    var_x = sum_xx - sum_x * sum_x / n
    var_u = sum_uu - sum_u * sum_u / n
    if var_x < n or var_u < n:  # less than a microvolt
        return 0.0, 0.0
    match = (sum_xu - sum_x * sum_u / n) / math.sqrt(var_x * var_u)
    size = 0.5 * math.log(var_x / var_u)
    return min(max(match, -1.0), 1.0), min(max(size, -3.0), 3.0)


@kernel
def _learn(state, r, best, rr_pre_ms, mean_ms):
    timely = mean_ms == 0.0 or rr_pre_ms == 0.0 or rr_pre_ms > 0.8 * mean_ms
    if state.usual_beats > 0 and best < _LIKE:
        state.unusual_run += 1
        if state.unusual_run < _FORGET:
            return
        state.usual_beats = 0
    elif not timely:
        return
    state.unusual_run = 0
    state.usual_beats += 1
    rate = max(_RATE, 1.0 / state.usual_beats)
    for lead in range(LEADS):
        for i in range(SAMPLES):
            u = state.usual_uv[lead, i]
            state.usual_uv[lead, i] = u + rate * (state.ring_uv[lead, (r - BEFORE_R + i) & MASK] - u)

"""How much the last four seconds look like ventricular fibrillation or flutter: 0..1.

Between heartbeats an ECG is nearly still, in fibrillation it never is: the index sees how steep the 30 % least steep
moments are beside the steep ones, and whether the signal swings at the pace of fibrillation, 4.5 a second. The weights
are a logistic fit to vfdb, cudb, mitdb and mitdb under the muscle noise of nstdb, moved a little towards fewer false
alarms.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.signal import LEAD_SHIFT, LEADS, MASK, MISSING, RATE_HZ, RING

_SPAN: Final = 4 * RATE_HZ
_LAG: Final = 8
_STILL: Final = 0.30
_STEEP: Final = 0.95
_BINS: Final = 512
_BINS_TO_MEAN: Final = 64
_LEAST_UV: Final = 75
"""Less than 0.15 mV from peak to peak is asystole, not fine fibrillation."""
_MISSING_SHARE: Final = 0.1
_PACE_HZ: Final = 4.5
_WEIGHT_STILL: Final = 50.0
_WEIGHT_PACE: Final = -3.0
_BIAS: Final = -7.5


@kernel
def vf_index(state, k):
    """Of the 4 s up to and including grid sample ``k``, over the leads that are there; NaN without 4 s of any."""
    first = k - _SPAN + 1
    if first < state.first_grid:
        return np.nan
    total = 0.0
    leads = 0
    x = np.empty(_SPAN, np.int64)
    for lead in range(min(state.n_leads, LEADS)):
        if _missing(state, lead, first):
            continue
        begin = first & MASK
        here = min(_SPAN, RING - begin)
        x[:here] = state.ring_uv[lead, begin : begin + here]
        x[here:] = state.ring_uv[lead, : _SPAN - here]
        total += _logit(x)
        leads += 1
    if leads == 0:
        return np.nan
    return 1.0 / (1.0 + math.exp(-min(max(total / leads, -50.0), 50.0)))


@kernel
def _missing(state, lead, first):
    missing = 0
    flag = MISSING << (LEAD_SHIFT * lead)
    for k in range(first, first + _SPAN):
        missing += state.ring_flags[k & MASK] & flag != 0
    return missing > _MISSING_SHARE * _SPAN


@kernel
def _logit(x):
    n = len(x)
    mean = np.sum(x) // n
    swing = steps = slope = 0
    lowest = highest = x[0]
    for i in range(1, n):
        swing += abs(x[i] - mean)
        steps += abs(x[i] - x[i - 1])
        lowest = min(lowest, x[i])
        highest = max(highest, x[i])
    for i in range(_LAG, n):
        slope += abs(x[i] - x[i - _LAG])
    if highest - lowest < 2 * _LEAST_UV:
        return -50.0
    pace_hz = steps * RATE_HZ / (2.0 * math.pi * swing)
    count = n - _LAG
    scale = _BINS_TO_MEAN * count / slope
    bins = np.zeros(_BINS, np.int64)
    for i in range(_LAG, n):
        bins[min(np.int64(abs(x[i] - x[i - _LAG]) * scale), _BINS - 1)] += 1
    still = _quantile(bins, _STILL * count)
    steep = _quantile(bins, _STEEP * count)
    return _BIAS + _WEIGHT_STILL * still / steep + _WEIGHT_PACE * abs(math.log(pace_hz / _PACE_HZ))


@kernel
def _quantile(bins, rank):
    """Where in the histogram ``rank`` values lie below, in bins."""
    below = 0
    for b in range(len(bins)):
        if below + bins[b] > rank:
            return b + (rank - below) / bins[b]
        below += bins[b]
    return np.float64(len(bins))

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
    begin = first & MASK
    here = min(_SPAN, RING - begin)
    flag = np.uint8(MISSING << (LEAD_SHIFT * lead))
    missing = _count(state.ring_flags[begin : begin + here], flag) + _count(state.ring_flags[: _SPAN - here], flag)
    return missing > _MISSING_SHARE * _SPAN


@kernel
def _count(flags, flag):
    found = 0
    for one in flags:
        found += (one & flag) != 0
    return found


@kernel
def _logit(x):
    # slices and whole numbers: every loop but the one over the bins runs many samples at a time
    n = len(x)
    mean = np.sum(x) // n
    if _highest(x) + _highest(-x) < 2 * _LEAST_UV:
        return -50.0
    swing = steps = slope = np.int64(0)
    for a in x[1:]:
        swing += abs(a - mean)
    before, after = x[: n - 1], x[1:]
    for i in range(n - 1):
        steps += abs(after[i] - before[i])
    count = n - _LAG
    before, after = x[:count], x[_LAG:]
    change = np.empty(count, np.int64)
    for i in range(count):
        change[i] = abs(after[i] - before[i])
    for a in change:
        slope += a
    pace_hz = steps * RATE_HZ / (2.0 * math.pi * swing)
    scale = _BINS_TO_MEAN * count / slope
    place = np.empty(count, np.int64)
    for i in range(count):
        place[i] = np.int64(min(change[i] * scale, _BINS - 1.0))
    bins = np.zeros(_BINS, np.int64)
    for b in place:
        bins[b] += 1
    still = _quantile(bins, _STILL * count)
    steep = _quantile(bins, _STEEP * count)
    return _BIAS + _WEIGHT_STILL * still / steep + _WEIGHT_PACE * abs(math.log(pace_hz / _PACE_HZ))


@kernel
def _highest(x):
    highest = x[0]
    for a in x:
        highest = a if a > highest else highest
    return highest


@kernel
def _quantile(bins, rank):
    """Where in the histogram ``rank`` values lie below, in bins."""
    below = 0
    for b in range(len(bins)):
        if below + bins[b] > rank:
            return b + (rank - below) / bins[b]
        below += bins[b]
    return np.float64(len(bins))

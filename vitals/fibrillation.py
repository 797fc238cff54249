"""How much the last four seconds look like ventricular fibrillation or flutter: 0..1."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from vitals.signal import MASK, RATE_HZ

_SPAN: Final = 4 * RATE_HZ


@njit(cache=True, nogil=True)
def vf_index(state, k, lead):
    """Of the 4 s of ``lead`` up to and including grid sample ``k``; NaN before there are so many.

    The leakage of a notch at the mean frequency (Kuo & Dillman 1978): what is left of a signal when half a period of it
    is added to itself. A sine leaves nothing, a train of narrow QRS complexes leaves nearly all.
    """
    first = k - _SPAN + 1
    if first < state.first_grid:
        return np.nan
    x = state.ring_uv[lead]
    mean = 0
    for j in range(first, k + 1):
        mean += int(x[j & MASK])
    mean = mean // _SPAN
    total = steps = 0
    for j in range(first + 1, k + 1):
        a = int(x[j & MASK])
        total += abs(a - mean)
        steps += abs(a - int(x[(j - 1) & MASK]))
    if total == 0 or steps == 0:
        return 0.0
    half = int(min(max(math.pi * total / steps + 0.5, 6.0), 125.0))
    left = both = 0
    for j in range(first + half, k + 1):
        a = int(x[j & MASK]) - mean
        b = int(x[(j - half) & MASK]) - mean
        left += abs(a + b)
        both += abs(a) + abs(b)
    leakage = left / both if both > 0 else 1.0
    return 1.0 / (1.0 + math.exp((leakage - 0.5) / 0.05))

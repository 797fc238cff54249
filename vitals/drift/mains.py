"""Whether line frequency (50 or 60 Hz) has come into a bed's ECG: what the filter of the signal path leaves of it.

A second is cut into fifths, which hold whole numbers of periods of both frequencies, so that hum has the same phase in
each of them: their median is the hum. A QRS complex or a pacer spike is in one or two of them and does not move it, and
where they lie further apart than that (muscle) there is no hum to be seen. Every other second is looked at.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals.drift import evidence
from vitals.kernels import kernel
from vitals.signal import LEADS, MASK, RATE_HZ
from vitals.units import US_PER_S

_FREQUENCIES_HZ: Final = (50.0, 60.0)
_PERIOD: Final = 25
"""Grid samples (100 ms) that hold five periods of one and six of the other."""
_PARTS: Final = 5
_PART: Final = RATE_HZ // _PARTS
_FOLDS: Final = _PART // _PERIOD
_PHASE: Final = 2.0 * np.pi * np.outer(_FREQUENCIES_HZ, np.arange(_PERIOD)) / RATE_HZ
_BENT: Final = np.array([[4.0 * np.sin(np.pi * hz / RATE_HZ) ** 2] for hz in _FREQUENCIES_HZ])
_COS: Final = np.cos(_PHASE) * (2.0 / _PART) / _BENT
_SIN: Final = np.sin(_PHASE) * (2.0 / _PART) / _BENT
"""Of second differences, which keep most of a line frequency and next to nothing of the slower waves of the heart."""

_EVERY: Final = 2
_LEARN: Final = 30
_SLOW: Final = 128.0
_TIMES: Final = 1.8
_LEAST_UV: Final = 3.0
"""Hum has to be so many times what it was, and so much more of it at least."""
_AGAINST: Final = -0.5
_STANDS_OUT: Final = 4.0
"""Times the power of what the fifths differ by."""
_ENOUGH: Final = 14.0

FIELDS: Final = [
    ("hum_uv", np.float32),  # what is usual
    ("hum_looks", np.int32),  # that taught it
]


@kernel
def begin(state):
    """Nothing is known of this bed's hum."""
    state.hum_looks = 0
    state.drift_evidence[evidence.MAINS] = 0.0


@kernel
def take_second(state, k):
    """The second of signal that ends before grid sample ``k``."""
    if k // RATE_HZ % _EVERY:
        return
    hum_uv = _hum_uv(state, k - RATE_HZ)
    if state.hum_looks < _LEARN:
        state.hum_looks += 1
        state.hum_uv += (hum_uv - state.hum_uv) / state.hum_looks
        if state.hum_looks == _LEARN:
            evidence.settle(state, evidence.MAINS)
        return
    limit_uv = max(_TIMES * state.hum_uv, state.hum_uv + _LEAST_UV)
    proof = min(max((hum_uv - limit_uv) / _LEAST_UV, _AGAINST), 1.0)
    if evidence.weigh(state, evidence.MAINS, proof, (k // RATE_HZ - 1) * US_PER_S, _ENOUGH):
        evidence.begin(state, evidence.MAINS, hum_uv - state.hum_uv)
        state.hum_looks = 0
    elif proof < 0.0:
        state.hum_uv += (hum_uv - state.hum_uv) / _SLOW


@kernel
def _hum_uv(state, first):
    """Amplitude of the stronger line frequency in the second from grid sample ``first`` on, all leads together."""
    folded = np.empty(_PERIOD)
    re = np.empty((len(_FREQUENCIES_HZ), _PARTS))
    im = np.empty((len(_FREQUENCIES_HZ), _PARTS))
    power = np.zeros(len(_FREQUENCIES_HZ))
    spread = np.zeros(len(_FREQUENCIES_HZ))
    for lead in range(min(state.n_leads, LEADS)):
        ring = state.ring_uv[lead]
        for part in range(_PARTS):
            for i in range(_PERIOD):
                total = np.int64(0)
                for fold in range(_FOLDS):
                    k = first + part * _PART + fold * _PERIOD + i
                    total += (
                        np.int64(ring[k & MASK]) - 2 * np.int64(ring[(k - 1) & MASK]) + np.int64(ring[(k - 2) & MASK])
                    )
                folded[i] = total
            for f in range(len(_FREQUENCIES_HZ)):
                a = b = 0.0
                for i in range(_PERIOD):
                    a += folded[i] * _COS[f, i]
                    b += folded[i] * _SIN[f, i]
                re[f, part] = a
                im[f, part] = b
        for f in range(len(_FREQUENCIES_HZ)):
            a, b = _middle(re[f]), _middle(im[f])
            for part in range(_PARTS):
                re[f, part] = abs(re[f, part] - a)
                im[f, part] = abs(im[f, part] - b)
            power[f] += a * a + b * b
            spread[f] += _middle(re[f]) ** 2 + _middle(im[f]) ** 2
    most = 0.0
    for f in range(len(_FREQUENCIES_HZ)):
        if power[f] > _STANDS_OUT * spread[f]:
            most = max(most, power[f])
    return math.sqrt(most)


@kernel
def _middle(values):
    """The median of ``_PARTS`` values, which it puts in order."""
    for i in range(1, _PARTS):
        value = values[i]
        k = i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value
    return values[_PARTS // 2]

"""Whether line frequency (50 or 60 Hz) has come into a bed's ECG: what the filter of the signal path leaves of it.

The two halves of a second hold whole numbers of periods of both frequencies, so that hum has the same phase in both.
The real part of their cross spectrum is its power, and what has no lasting phase (muscle, QRS complexes) cancels out.
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
_HALF: Final = RATE_HZ // 2
_FOLDS: Final = _HALF // _PERIOD
_PHASE: Final = 2.0 * np.pi * np.outer(_FREQUENCIES_HZ, np.arange(_PERIOD)) / RATE_HZ
_COS: Final = np.cos(_PHASE) * (2.0 / _HALF)
_SIN: Final = np.sin(_PHASE) * (2.0 / _HALF)

_LEARN_S: Final = 60
_SLOW_S: Final = 256.0
_TIMES: Final = 2.0
_LEAST_UV: Final = 4.0
"""Hum has to be twice what it was, and so much more of it at least."""
_ENOUGH_S: Final = 15.0

FIELDS: Final = [
    ("hum_uv", np.float32),  # what is usual
    ("hum_seconds", np.int32),  # that taught it
]


@kernel
def begin(state):
    """Nothing is known of this bed's hum."""
    state.hum_seconds = 0
    state.drift_evidence[evidence.MAINS] = 0.0


@kernel
def take_second(state, k):
    """The second of signal that ends before grid sample ``k``."""
    hum_uv = _hum_uv(state, k - RATE_HZ)
    if state.hum_seconds < _LEARN_S:
        state.hum_seconds += 1
        state.hum_uv += (hum_uv - state.hum_uv) / state.hum_seconds
        if state.hum_seconds == _LEARN_S:
            evidence.settle(state, evidence.MAINS)
        return
    limit_uv = max(_TIMES * state.hum_uv, state.hum_uv + _LEAST_UV)
    proof = min(max((hum_uv - limit_uv) / _LEAST_UV, -1.0), 1.0)
    if evidence.weigh(state, evidence.MAINS, proof, (k // RATE_HZ - 1) * US_PER_S, _ENOUGH_S):
        evidence.begin(state, evidence.MAINS, hum_uv - state.hum_uv)
        state.hum_seconds = 0
    elif proof < 0.0:
        state.hum_uv += (hum_uv - state.hum_uv) / _SLOW_S


@kernel
def _hum_uv(state, first):
    """Amplitude of the stronger line frequency in the second from grid sample ``first`` on, all leads together."""
    folded = np.empty((2, _PERIOD))
    power = np.zeros(len(_FREQUENCIES_HZ))
    for lead in range(min(state.n_leads, LEADS)):
        ring = state.ring_uv[lead]
        for half in range(2):
            for i in range(_PERIOD):
                total = np.int64(0)
                for fold in range(_FOLDS):
                    total += ring[(first + half * _HALF + fold * _PERIOD + i) & MASK]
                folded[half, i] = total
        for f in range(len(_FREQUENCIES_HZ)):
            a = b = c = d = 0.0
            for i in range(_PERIOD):
                a += folded[0, i] * _COS[f, i]
                b += folded[0, i] * _SIN[f, i]
                c += folded[1, i] * _COS[f, i]
                d += folded[1, i] * _SIN[f, i]
            power[f] += a * c + b * d
    return math.sqrt(max(power[0], power[1], 0.0))

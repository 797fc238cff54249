"""The last minute of a patient as a row of beats: for what one beat cannot say, as atrial fibrillation.

Each beat is kept as its interval, how it resembles the usual beat, and the shape of what comes before its QRS, where a
P wave is or is not. Numbers are kept in fiftieths, a byte each: 64 beats of a patient take 1.7 kB.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.signal import RATE_HZ
from vitals.usual import BEFORE_R

BEATS: Final = 64
SECONDS: Final = 64
P_BINS: Final = 13
FEATURES: Final = (
    "rr_s",
    "here",
    "believed",
    "qrs_match",
    "qrs_size",
    "p_match",
    "t_match",
    "qrs_log_mv",
    *(f"p_{at}" for at in range(P_BINS)),
)
"""Per beat: ``rr_s`` the interval before it, 0 unknown, at most 3; ``here`` 1: there is a beat; ``believed`` 1 where
its window can be; ``*_match`` and ``qrs_size`` as in ``usual.CONTEXT``, of the lead whose QRS is more like the usual
one; ``qrs_log_mv`` natural logarithm of its size in mV; ``p_*`` means over 20 ms from 320 ms to 60 ms before R, less
their own mean, over the size of the QRS, -2..2.
"""
CONTEXT: Final = ("seconds", "unreadable", "poor", "beats", "vf_most", "vf_mean")
"""Of the last 64 seconds: how many there are over 64, the shares that cannot be read and that are poor; beats over 64;
the largest fibrillation index and its mean, 0 where it was not measured."""

_KEPT: Final = FEATURES[2:]
_P: Final = _KEPT.index("p_0")
_BIN: Final = 5
_FIRST: Final = BEFORE_R - 80
_QRS: Final = (BEFORE_R - 15, BEFORE_R + 16)
_LEAST_MV: Final = 0.05
_POOR: Final = 1
_UNIT: Final = 50.0
_MOST: Final = 127
_VF_UNIT: Final = 200.0

FIELDS: Final = [
    ("recent_rr_ms", np.uint16, (BEATS,)),
    ("recent_shape", np.int8, (BEATS, len(_KEPT))),
    ("recent_at", np.int32, (BEATS,)),  # grid samples since the run began
    ("recent_verdicts", np.uint8, (SECONDS,)),
    ("recent_vf", np.uint8, (SECONDS,)),
    ("n_recent_beats", np.int64),
    ("n_recent_seconds", np.int64),
]


@kernel
def begin(state):
    """A run has begun: what was before it does not reach into it."""
    state.n_recent_beats = 0
    state.n_recent_seconds = 0


@kernel
def note_beat(state, r, beat):
    """A beat at grid sample ``r`` that is given out; ``beat``: its window, ``ecgpath.BEAT``."""
    lead = 1 if beat.context[9] > beat.context[8] else 0
    ecg_mv = beat.ecg_mv[lead]
    at = state.n_recent_beats % BEATS
    state.n_recent_beats += 1
    state.recent_at[at] = r - state.first_grid
    state.recent_rr_ms[at] = round(min(beat.rr_pre_ms, 3000.0))
    low = high = ecg_mv[_QRS[0]]
    for i in range(_QRS[0], _QRS[1]):
        low, high = min(low, ecg_mv[i]), max(high, ecg_mv[i])
    size = max(np.float64(high - low), _LEAST_MV)
    kept = state.recent_shape[at]
    kept[0] = _small(1.0 if beat.verdict <= _POOR else 0.0)
    kept[1] = _small(beat.context[8 + lead])
    kept[2] = _small(beat.context[10 + lead])
    kept[3] = _small(beat.context[12 + lead])
    kept[4] = _small(beat.context[14 + lead])
    kept[5] = _small(np.log(size))
    mean = 0.0
    for i in range(_FIRST, _FIRST + P_BINS * _BIN):
        mean += ecg_mv[i]
    mean /= P_BINS * _BIN
    for b in range(P_BINS):
        value = 0.0
        for i in range(_FIRST + b * _BIN, _FIRST + (b + 1) * _BIN):
            value += ecg_mv[i]
        kept[_P + b] = _small(min(max((value / _BIN - mean) / size, -2.0), 2.0))


@kernel
def _small(value):
    return round(min(max(value * _UNIT, -_MOST), _MOST))


@kernel
def note_second(state, verdict, vf_index):
    """A second of rhythm that is given out."""
    at = state.n_recent_seconds % SECONDS
    state.recent_verdicts[at] = verdict
    state.recent_vf[at] = 0 if np.isnan(vf_index) else round(min(max(vf_index, 0.0), 1.0) * _VF_UNIT)
    state.n_recent_seconds += 1


@kernel
def fill(state, k, beats, context):
    """The window that ends before grid sample ``k``: ``beats`` float32[BEATS, FEATURES], the newest last, before them
    zeros; ``context`` float32[CONTEXT].
    """
    beats[:] = 0.0
    n = 0
    for back in range(min(state.n_recent_beats, BEATS)):
        at = (state.n_recent_beats - 1 - back) % BEATS
        if k - state.first_grid - state.recent_at[at] > SECONDS * RATE_HZ:
            break
        beat = beats[BEATS - 1 - back]
        beat[0] = state.recent_rr_ms[at] * 1e-3
        beat[1] = 1.0
        for f in range(len(_KEPT)):
            beat[2 + f] = state.recent_shape[at, f] / _UNIT
        n += 1
    seconds = min(state.n_recent_seconds, SECONDS)
    unreadable = poor = 0
    most = total = 0.0
    for s in range(seconds):
        unreadable += state.recent_verdicts[s] > _POOR
        poor += state.recent_verdicts[s] == _POOR
        vf = state.recent_vf[s] / _VF_UNIT
        most = max(most, vf)
        total += vf
    context[0] = seconds / SECONDS
    context[1] = unreadable / seconds if seconds else 1.0
    context[2] = poor / seconds if seconds else 0.0
    context[3] = n / BEATS
    context[4] = most
    context[5] = total / seconds if seconds else 0.0

"""Whether a bed's heartbeats have changed as only cables and amplifiers change them: all leads larger or smaller at
once, or leads in each other's place or upside down.

Each beat is held against a slow picture of the bed's usual QRS complex in all leads together. A heart that changes its
axis, or beats from elsewhere, changes the shape; a gain leaves it as it is, and leads that were exchanged show the old
shape in the other lead. So what counts is which of a few explanations fits, and a beat that none fits says nothing.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals.drift import evidence
from vitals.kernels import kernel
from vitals.signal import GRID_US, LEADS, MASK
from vitals.usual import BEFORE_R

_STEP: Final = 2
POINTS: Final = 28
"""Of the QRS complex in each lead, 8 ms apart, from 100 ms before the R peak to 116 ms after it."""
_FIRST: Final = -25
_SHIFTS: Final = 12
"""The R peak of a lead that was exchanged is another one: pictures are compared up to 96 ms apart."""

_FASTEST_MS: Final = 400.0
"""Above 150 a minute one wave runs into the next, and each is like the next one upside down."""
_LEARNT_BEATS: Final = 32
_ARMED_BEATS: Final = 64
_SETTLING_BEATS: Final = 64
_STRANGE_BEATS: Final = 256
_RATE: Final = 1.0 / 64.0

_LIKE: Final = 0.9
_LESS_REST: Final = 0.5
"""An exchange has to leave half of what is not explained without it."""
_CHANGED: Final = 0.5
"""A factor of 1.65 and of 1 / 1.65, as a natural logarithm: hearts and postures stay below it, mostly."""
_APART: Final = 0.35
_LEAD_SHARE: Final = 0.1
"""A lead with less of the energy has no say in the gain."""
_GAIN_BEATS: Final = 20.0
_LEADS_BEATS: Final = 20.0
_AGAINST: Final = -1.0
_LEAST_UV2: Final = 100.0

FIELDS: Final = [
    ("steady_uv", np.float32, (LEADS, POINTS)),  # each lead about its mean
    ("steady_beats", np.int32),  # that taught it; 0 there is none, below 0 so many beats are waited for
    ("strange_beats", np.int32),  # since one that is like it
]


@kernel
def begin(state):
    """Nothing is known of this bed's beats."""
    state.steady_beats = 0
    state.drift_evidence[evidence.GAIN] = 0.0
    state.drift_evidence[evidence.LEADS_MOVED] = 0.0


@kernel
def take_beat(state, r, rr_pre_ms):
    """The believable beat with its R peak at grid sample ``r`` and its window in the ring."""
    if rr_pre_ms < _FASTEST_MS:
        return
    if state.steady_beats < 0:
        state.steady_beats += 1
    elif state.steady_beats > 0:
        _compare(state, r)
    elif state.usual_beats >= _LEARNT_BEATS:
        _learn(state)


@kernel
def _compare(state, r):
    leads = min(state.n_leads, LEADS)
    x = np.empty((LEADS, POINTS), np.float32)
    seen = _cut(state, r, leads, x)
    known_0 = _product(state.steady_uv[0], state.steady_uv[0])
    known_1 = _product(state.steady_uv[1], state.steady_uv[1]) if leads > 1 else 0.0
    known = known_0 + known_1
    if min(seen, known) < _LEAST_UV2:
        return
    m00, m01, m10, m11 = _products(state, leads, x)
    norm = math.sqrt(seen * known)
    like = (m00 + m11) / norm
    at_us = r * GRID_US
    if like >= _LIKE and _rest((m01 + m10) / norm) >= _LESS_REST * _rest(like):
        _take_usual(state, leads, x, known_0, known_1, at_us)
    else:
        _take_other(state, r, leads, x, known_0, known_1, at_us)


@kernel
def _goes_along(product, lead_known, known, size):
    """Whether a lead has changed its size as all of them together, or is too small to tell."""
    return lead_known <= _LEAD_SHARE * known or abs(math.log(max(product / lead_known, 1e-3)) - size) < _APART


@kernel
def _take_usual(state, leads, x, known_0, known_1, at_us):
    """A beat of the usual shape, whatever its size."""
    m00, _, _, m11 = _products(state, leads, x)
    known = known_0 + known_1
    size = math.log((m00 + m11) / known)
    evidence.weigh(state, evidence.LEADS_MOVED, _AGAINST, at_us, _LEADS_BEATS)
    if abs(size) < _CHANGED or state.steady_beats < _ARMED_BEATS:
        _teach(state, leads, x)
        evidence.weigh(state, evidence.GAIN, _AGAINST, at_us, _GAIN_BEATS)
    elif not (_goes_along(m00, known_0, known, size) and _goes_along(m11, known_1, known, size)):
        _strange(state)
    elif evidence.weigh(state, evidence.GAIN, 1.0, at_us, _GAIN_BEATS):
        evidence.begin(state, evidence.GAIN, math.exp(size))
        state.steady_beats = -_SETTLING_BEATS


@kernel
def _take_other(state, r, leads, x, known_0, known_1, at_us):
    """A beat of another shape: of the usual one in its right place, of the leads in each other's, or neither."""
    usual, usual_shift, moved = 0.0, 0, 0.0
    for shift in range(-_SHIFTS, _SHIFTS + 1):
        seen = _cut(state, r + _STEP * shift, leads, x)
        if seen < _LEAST_UV2:
            continue
        m00, m01, m10, m11 = _products(state, leads, x)
        norm = math.sqrt(seen * (known_0 + known_1))
        if (m00 + m11) / norm > usual:
            usual, usual_shift = (m00 + m11) / norm, shift
        moved = max(moved, (m01 + m10) / norm, (m00 - m11) / norm, (m11 - m00) / norm, (-m00 - m11) / norm)
    if moved >= _LIKE and _rest(moved) < _LESS_REST * _rest(usual) and state.steady_beats == _ARMED_BEATS:
        if evidence.weigh(state, evidence.LEADS_MOVED, 1.0, at_us, _LEADS_BEATS):
            evidence.begin(state, evidence.LEADS_MOVED, moved * moved)
            state.steady_beats = -_SETTLING_BEATS
    elif usual >= _LIKE:
        _cut(state, r + _STEP * usual_shift, leads, x)
        _take_usual(state, leads, x, known_0, known_1, at_us)
    else:
        _strange(state)


@kernel
def _strange(state):
    """A beat that nothing explains: when there are no others any more, what was usual is forgotten."""
    state.strange_beats += 1
    if state.strange_beats > (_STRANGE_BEATS if state.steady_beats == _ARMED_BEATS else _LEARNT_BEATS):
        begin(state)


@kernel
def _teach(state, leads, x):
    state.strange_beats = 0
    for lead in range(leads):
        for i in range(POINTS):
            state.steady_uv[lead, i] += _RATE * (x[lead, i] - state.steady_uv[lead, i])
    state.steady_beats = min(state.steady_beats + 1, _ARMED_BEATS)
    if state.steady_beats == _ARMED_BEATS:
        evidence.settle(state, evidence.GAIN)
        evidence.settle(state, evidence.LEADS_MOVED)


@kernel
def _learn(state):
    """Begin with the usual beat of this moment (``vitals/usual.py``), which is quicker to forget."""
    for lead in range(LEADS):
        total = 0.0
        for i in range(POINTS):
            u = state.usual_uv[lead, BEFORE_R + _FIRST + _STEP * i]
            state.steady_uv[lead, i] = u
            total += u
        for i in range(POINTS):
            state.steady_uv[lead, i] -= total / POINTS
    state.steady_beats = 1
    state.strange_beats = 0


@kernel
def _cut(state, r, leads, out):
    """Fill ``out`` (float32[leads, POINTS], µV, each lead about its mean) with the beat at ``r``; its energy, µV²."""
    energy = 0.0
    for lead in range(leads):
        ring = state.ring_uv[lead]
        total = 0.0
        for i in range(POINTS):
            out[lead, i] = ring[(r + _FIRST + _STEP * i) & MASK]
            total += out[lead, i]
        for i in range(POINTS):
            out[lead, i] -= total / POINTS
        energy += _product(out[lead], out[lead])
    return energy


@kernel
def _products(state, leads, x):
    """Of each lead of ``x`` with each lead of the usual beat: (0 0, 0 1, 1 0, 1 1)."""
    u = state.steady_uv
    if leads == 1:
        return _product(x[0], u[0]), 0.0, 0.0, 0.0
    return _product(x[0], u[0]), _product(x[0], u[1]), _product(x[1], u[0]), _product(x[1], u[1])


@kernel
def _product(a, b):
    total = 0.0
    for i in range(POINTS):
        total += a[i] * b[i]
    return total


@kernel
def _rest(like):
    """Share of the energy that a likeness leaves unexplained."""
    return 1.0 - like * like if like > 0.0 else 1.0

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
_SHIFTS: Final = 7
"""The R peak of a lead that was exchanged is another one: pictures are compared up to 56 ms apart."""

_LEARNT_BEATS: Final = 32
_ARMED_BEATS: Final = 64
_SETTLING_BEATS: Final = 64
_STRANGE_BEATS: Final = 256
_RATE: Final = 1.0 / 64.0

_LIKE: Final = 0.9
_LESS_REST: Final = 0.5
"""An exchange has to leave half of what is not explained without it."""
_CHANGED: Final = 0.4
"""A factor of 1.5 and of 1 / 1.5, as a natural logarithm: hearts and postures stay below it, mostly."""
_APART: Final = 0.35
_LEAD_SHARE: Final = 0.1
"""A lead with less of the energy has no say in the gain."""
_GAIN_BEATS: Final = 24.0
_LEADS_BEATS: Final = 16.0
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
def take_beat(state, r):
    """The believable beat with its R peak at grid sample ``r`` and its window in the ring."""
    if state.steady_beats < 0:
        state.steady_beats += 1
        return
    if state.steady_beats == 0:
        if state.usual_beats >= _LEARNT_BEATS:
            _learn(state)
        return
    leads = min(state.n_leads, LEADS)
    x = np.empty((LEADS, POINTS), np.float32)
    m = np.zeros((LEADS, LEADS))
    seen = known = 0.0
    lead_gain = np.zeros(LEADS)
    lead_known = np.zeros(LEADS)
    for lead in range(leads):
        seen += _cut(state, r, lead, x[lead])
        for i in range(POINTS):
            lead_known[lead] += state.steady_uv[lead, i] * state.steady_uv[lead, i]
        known += lead_known[lead]
    if seen < _LEAST_UV2 or known < _LEAST_UV2:
        return
    for a in range(leads):
        for b in range(leads):
            for i in range(POINTS):
                m[a, b] += x[a, i] * state.steady_uv[b, i]
    norm = math.sqrt(seen * known)
    like = (m[0, 0] + m[1, 1]) / norm
    exchanged = (m[0, 1] + m[1, 0]) / norm if leads > 1 else -1.0
    at_us = r * GRID_US
    if like >= _LIKE and _rest(exchanged) >= _LESS_REST * _rest(like):
        size = math.log((m[0, 0] + m[1, 1]) / known)
        together = True
        for lead in range(leads):
            if lead_known[lead] > _LEAD_SHARE * known:
                lead_gain[lead] = math.log(max(m[lead, lead] / lead_known[lead], 1e-3))
                together &= abs(lead_gain[lead] - size) < _APART
        _usual_shape(state, x, leads, size, together, at_us)
        return
    moved = _moved(state, r, leads, known) if state.steady_beats == _ARMED_BEATS else 0.0
    if moved == 0.0:
        _strange(state)
    elif evidence.weigh(state, evidence.LEADS_MOVED, 1.0, at_us, _LEADS_BEATS):
        evidence.begin(state, evidence.LEADS_MOVED, moved)
        state.steady_beats = -_SETTLING_BEATS


@kernel
def _usual_shape(state, x, leads, size, together, at_us):
    evidence.weigh(state, evidence.LEADS_MOVED, _AGAINST, at_us, _LEADS_BEATS)
    if abs(size) < _CHANGED or state.steady_beats < _ARMED_BEATS:
        _teach(state, x, leads)
        evidence.weigh(state, evidence.GAIN, _AGAINST, at_us, _GAIN_BEATS)
    elif not together:
        _strange(state)
    elif evidence.weigh(state, evidence.GAIN, 1.0, at_us, _GAIN_BEATS):
        evidence.begin(state, evidence.GAIN, math.exp(size))
        state.steady_beats = -_SETTLING_BEATS


@kernel
def _strange(state):
    """A beat that nothing explains: when there are no others any more, what was usual is forgotten."""
    state.strange_beats += 1
    if state.strange_beats > (_STRANGE_BEATS if state.steady_beats == _ARMED_BEATS else _LEARNT_BEATS):
        begin(state)


@kernel
def _teach(state, x, leads):
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
def _cut(state, r, lead, out):
    """Fill ``out`` (float32[POINTS], µV about their mean) with the beat at ``r``; the energy, µV²."""
    ring = state.ring_uv[lead]
    total = 0.0
    for i in range(POINTS):
        out[i] = ring[(r + _FIRST + _STEP * i) & MASK]
        total += out[i]
    mean = total / POINTS
    energy = 0.0
    for i in range(POINTS):
        out[i] -= mean
        energy += out[i] * out[i]
    return energy


@kernel
def _rest(like):
    """Share of the energy that a likeness leaves unexplained."""
    return 1.0 - like * like if like > 0.0 else 1.0


@kernel
def _moved(state, r, leads, known):
    """Share of the beat at ``r`` that leads in each other's place or upside down explain; 0 where they do not explain
    it, or the leads as they were explain it too, shifted.
    """
    x = np.empty((LEADS, POINTS), np.float32)
    as_it_was, moved = 0.0, 0.0
    for shift in range(-_SHIFTS, _SHIFTS + 1):
        m00 = m01 = m10 = m11 = 0.0
        seen = 0.0
        for lead in range(leads):
            seen += _cut(state, r + _STEP * shift, lead, x[lead])
        if seen < _LEAST_UV2:
            continue
        for i in range(POINTS):
            u0 = state.steady_uv[0, i]
            m00 += x[0, i] * u0
            if leads > 1:
                u1 = state.steady_uv[1, i]
                m01 += x[0, i] * u1
                m10 += x[1, i] * u0
                m11 += x[1, i] * u1
        norm = math.sqrt(seen * known)
        as_it_was = max(as_it_was, (m00 + m11) / norm)
        moved = max(moved, (-m00 - m11) / norm, (m11 - m00) / norm, (m00 - m11) / norm)
        if leads > 1:
            moved = max(moved, (m01 + m10) / norm)
    return moved * moved if moved >= _LIKE and _rest(moved) < _LESS_REST * _rest(as_it_was) else 0.0

"""Whether a bed's heartbeats have changed as only cables and amplifiers change them: all leads larger or smaller at
once, or leads in each other's place or upside down.

Each beat is held against slow pictures of the bed's usual QRS complex in all leads together: two of them, since a
heart may beat in two ways by turns (paced or not, a bundle that conducts or not). A heart that changes its axis, or
beats from elsewhere, changes the shape; a gain leaves it as it is, and leads that were exchanged show the old shape in
the other lead. So what counts is which of a few explanations fits, and a beat that none fits says nothing.
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
_PICTURES: Final = 2
_LEARNT_BEATS: Final = 32
_ARMED_BEATS: Final = 64
_SETTLING_BEATS: Final = 64
_STRANGE_BEATS: Final = 48
"""So many in a row are another way to beat."""
_RATE: Final = 1.0 / 64.0

_LIKE: Final = 0.9
_LESS_REST: Final = 0.5
"""An exchange has to leave half of what is not explained without it."""
_CHANGED: Final = 0.35
_SURE: Final = 0.15
"""Natural logarithms: half of a factor of two speaks neither for a change nor against it, and so much more is proof."""
_SPREADS: Final = 3.0
_SPREAD_RATE: Final = 1.0 / 256.0
_FIRST_SPREAD: Final = 0.1
"""A heart whose beats differ in size as a rule has to change by more than that."""
_APART: Final = 0.35
_LEAD_SHARE: Final = 0.1
"""A lead with less of the energy has no say in the gain."""
_GAIN_BEATS: Final = 20.0
_LEADS_BEATS: Final = 20.0
_LEAST_UV2: Final = 100.0

FIELDS: Final = [
    ("picture_uv", np.float32, (_PICTURES, LEADS, POINTS)),  # each lead about its mean
    ("picture_beats", np.int32, (_PICTURES,)),  # that taught it, up to ARMED; 0 there is none
    ("picture_r", np.int64, (_PICTURES,)),  # R peak of the last of them
    ("size_spread", np.float32),  # mean absolute size, as a logarithm
    ("strange_beats", np.int32),  # since one that is like a picture
    ("settling_beats", np.int32),  # to wait for before there are pictures
]


@kernel
def begin(state):
    """Nothing is known of this bed's beats."""
    state.picture_beats[:] = 0
    state.size_spread = _FIRST_SPREAD
    state.strange_beats = 0
    state.settling_beats = 0
    state.drift_evidence[evidence.GAIN] = 0.0
    state.drift_evidence[evidence.LEADS_MOVED] = 0.0


@kernel
def take_beat(state, r, rr_pre_ms):
    """The believable beat with its R peak at grid sample ``r`` and its window in the ring."""
    if rr_pre_ms < _FASTEST_MS:
        return
    if state.settling_beats > 0:
        state.settling_beats -= 1
    elif state.picture_beats[0] + state.picture_beats[1] > 0:
        _compare(state, r)
    elif state.usual_beats >= _LEARNT_BEATS:
        _learn(state, 0, r)


@kernel
def _compare(state, r):
    leads = min(state.n_leads, LEADS)
    x = np.empty((LEADS, POINTS), np.float32)
    seen = _cut(state, r, leads, x)
    if seen < _LEAST_UV2:
        return
    for p in range(_PICTURES):
        if state.picture_beats[p] > 0:
            m00, m01, m10, m11 = _products(state, p, leads, x)
            norm = math.sqrt(seen * _known(state, p, leads))
            like = (m00 + m11) / norm
            if like >= _LIKE and _rest((m01 + m10) / norm) >= _LESS_REST * _rest(like):
                _take_usual(state, p, r, leads, x)
                return
    _take_other(state, r, leads, x)


@kernel
def _goes_along(product, lead_known, known, size):
    """Whether a lead has changed its size as all of them together, or is too small to tell."""
    return lead_known <= _LEAD_SHARE * known or abs(math.log(max(product / lead_known, 1e-3)) - size) < _APART


@kernel
def _take_usual(state, p, r, leads, x):
    """A beat of the shape of picture ``p``, whatever its size."""
    at_us = r * GRID_US
    m00, _, _, m11 = _products(state, p, leads, x)
    known = _known(state, p, leads)
    known_0 = _product(state.picture_uv[p, 0], state.picture_uv[p, 0])
    size = math.log((m00 + m11) / known)
    evidence.weigh(state, evidence.LEADS_MOVED, -1.0, at_us, _LEADS_BEATS)
    changed = max(_CHANGED, _SPREADS * state.size_spread)
    if abs(size) < changed or state.picture_beats[p] < _ARMED_BEATS:
        _teach(state, p, r, leads, x)
    elif not (_goes_along(m00, known_0, known, size) and _goes_along(m11, known - known_0, known, size)):
        _take_strange(state, r)
        return
    if state.picture_beats[p] < _ARMED_BEATS:
        return
    state.size_spread += _SPREAD_RATE * (min(abs(size), 1.0) - state.size_spread)
    proof = min(max((abs(size) - changed) / _SURE, -1.0), 1.0)
    if evidence.weigh(state, evidence.GAIN, proof, at_us, _GAIN_BEATS):
        evidence.begin(state, evidence.GAIN, math.exp(size))
        _settle(state)


@kernel
def _take_other(state, r, leads, x):
    """A beat of another shape: of a usual one in its right place, of the leads in each other's, or neither."""
    usual, usual_shift, usual_picture, moved = 0.0, 0, 0, 0.0
    for p in range(_PICTURES):
        if state.picture_beats[p] == 0:
            continue
        known = _known(state, p, leads)
        for shift in range(-_SHIFTS, _SHIFTS + 1):
            seen = _cut(state, r + _STEP * shift, leads, x)
            if seen < _LEAST_UV2:
                continue
            m00, m01, m10, m11 = _products(state, p, leads, x)
            norm = math.sqrt(seen * known)
            if (m00 + m11) / norm > usual:
                usual, usual_shift, usual_picture = (m00 + m11) / norm, shift, p
            if state.picture_beats[p] == _ARMED_BEATS:
                moved = max(moved, (m01 + m10) / norm, (m00 - m11) / norm, (m11 - m00) / norm, (-m00 - m11) / norm)
    if moved >= _LIKE and _rest(moved) < _LESS_REST * _rest(usual):
        if evidence.weigh(state, evidence.LEADS_MOVED, 1.0, r * GRID_US, _LEADS_BEATS):
            evidence.begin(state, evidence.LEADS_MOVED, moved * moved)
            _settle(state)
    elif usual >= _LIKE:
        _cut(state, r + _STEP * usual_shift, leads, x)
        _take_usual(state, usual_picture, r, leads, x)
    else:
        _take_strange(state, r)


@kernel
def _take_strange(state, r):
    """A beat that nothing explains. When there are only such, they are another way to beat: a picture of it takes the
    place of the one that was not seen for longer.
    """
    state.strange_beats += 1
    if state.strange_beats > _STRANGE_BEATS and state.usual_beats >= _LEARNT_BEATS:
        _learn(state, 0 if state.picture_r[0] <= state.picture_r[1] else 1, r)


@kernel
def _settle(state):
    """What was usual has changed: wait until the new is."""
    begin(state)
    state.settling_beats = _SETTLING_BEATS


@kernel
def _teach(state, p, r, leads, x):
    state.strange_beats = 0
    state.picture_r[p] = r
    for lead in range(leads):
        for i in range(POINTS):
            state.picture_uv[p, lead, i] += _RATE * (x[lead, i] - state.picture_uv[p, lead, i])
    state.picture_beats[p] = min(state.picture_beats[p] + 1, _ARMED_BEATS)
    if state.picture_beats[p] == _ARMED_BEATS:
        evidence.settle(state, evidence.GAIN)
        evidence.settle(state, evidence.LEADS_MOVED)


@kernel
def _learn(state, p, r):
    """Begin picture ``p`` with the usual beat of this moment (``vitals/usual.py``), which is quicker to forget."""
    for lead in range(LEADS):
        total = 0.0
        for i in range(POINTS):
            u = state.usual_uv[lead, BEFORE_R + _FIRST + _STEP * i]
            state.picture_uv[p, lead, i] = u
            total += u
        for i in range(POINTS):
            state.picture_uv[p, lead, i] -= total / POINTS
    state.picture_beats[p] = 1 if _known(state, p, min(state.n_leads, LEADS)) >= _LEAST_UV2 else 0
    state.picture_r[p] = r
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
def _products(state, p, leads, x):
    """Of each lead of ``x`` with each lead of picture ``p``: (0 0, 0 1, 1 0, 1 1)."""
    u = state.picture_uv[p]
    if leads == 1:
        return _product(x[0], u[0]), 0.0, 0.0, 0.0
    return _product(x[0], u[0]), _product(x[0], u[1]), _product(x[1], u[0]), _product(x[1], u[1])


@kernel
def _known(state, p, leads):
    """The energy of picture ``p``, µV²."""
    u = state.picture_uv[p]
    return _product(u[0], u[0]) + (_product(u[1], u[1]) if leads > 1 else 0.0)


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

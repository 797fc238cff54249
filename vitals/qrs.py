"""Heartbeats in the 250 Hz signal of one or two leads: causal, adaptive, with a bounded look back.

In the line of Pan and Tompkins (IEEE Trans Biomed Eng 1985;32:230) and Hamilton (Comput Cardiol 2002): slope and
curvature over 32 ms, rectified and averaged over 100 ms, give an activity per lead; leads are joined by how far their
beats stand out of what lies between. Each peak of the joint activity that nothing within 200 ms exceeds is a candidate.
Several kinds of evidence are weighed as in a logistic regression (fitted to the candidates of 26 MIT-BIH records): how
much each lead takes part, what else there is, likeness to the usual beat, steepness, how soon it comes. When no beat
comes in time, the best candidate that was passed over counts if it is not too bad. Times are grid samples (4 ms).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals import usual
from vitals.kernels import kernel
from vitals.signal import LEADS, MASK, RATE_HZ, RING

_LAG: Final = 8
_AVERAGED: Final = 25
_ALONE: Final = 50  # 200 ms
_MV: Final = 1e-3 / _AVERAGED
_LEARN: Final = 2 * RATE_HZ
_FLOOR_MV: Final = 0.04
_NOTHING: Final = -1e9
_BACK_THRESHOLD: Final = -1.5
_BACK_RR: Final = 1.6
_BACK_MOST: Final = 2 * RATE_HZ
_RELEARN: Final = 3 * RATE_HZ
_LAST: Final = 8
_SUMMIT: Final = 0.65
_BACK: Final = 54
_HIGH: Final = 2.0
_ONE_LEAD: Final = 0.6
_MOST: Final = 2.0
_SOON: Final = 0.6
_W0: Final = -7.2
_W_HEIGHT: Final = 2.12
_W_REST: Final = -3.79
_W_MATCH: Final = 2.14
_W_STEEP: Final = 1.76
_W_SOON: Final = 7.04
_W_MOST: Final = 0.7
_W_LEAST: Final = 7.63
QUEUE: Final = 16
RRS: Final = 32

FIELDS: Final = [
    ("activity", np.float32, (LEADS, RING)),
    ("sum", np.int64, (LEADS,)),
    ("decided", np.int64),  # the next sample to decide upon
    ("learnt", np.bool_),
    ("learn_from", np.int64),
    ("weight", np.float64, (LEADS,)),
    ("beat_level", np.float64, (LEADS,)),
    ("rest_level", np.float64, (LEADS,)),
    ("candidate_at", np.int64),
    ("candidate", np.float64),
    ("before", np.float64),
    ("passed_at", np.int64),
    ("passed", np.float64),
    ("beat_heights", np.float64, (_LAST,)),
    ("other_heights", np.float64, (_LAST,)),
    ("n_heights", np.int64),
    ("n_others", np.int64),
    ("last_peak", np.int64),
    ("last_slope", np.float64),
    ("last_r", np.int64),
    ("rr", np.float64, (RRS,)),
    ("n_rr", np.int64),
    ("queue_r", np.int64, (QUEUE,)),
    ("queued", np.int64),
    ("emitted", np.int64),
]


@kernel
def begin(state):
    """Nothing is known of this patient's beats."""
    state.learnt = False
    state.learn_from = state.first_grid
    state.n_heights = 0
    state.n_others = 0
    state.n_rr = 0
    resume(state)


@kernel
def resume(state):
    """A new run of a patient whose beats are known."""
    state.activity[:] = 0.0
    state.sum[:] = 0
    state.decided = state.first_grid + _ALONE  # what comes before is the edge of the signal
    state.candidate = 0.0
    state.before = 0.0
    state.passed = _NOTHING
    state.last_peak = state.first_grid - RING
    state.last_r = state.first_grid - RING
    state.queued = 0
    state.emitted = 0


@kernel
def take(state, k, n):
    """Activity of grid samples k … k + n - 1, which are in the ring."""
    for lead in range(LEADS):
        total = state.sum[lead]
        for j in range(k, k + n):
            total += _slope(state, j, lead) - _slope(state, j - _AVERAGED, lead)
            state.activity[lead, j & MASK] = total * _MV
        state.sum[lead] = total


@kernel
def _slope(state, k, lead):
    x = state.ring_uv[lead]
    a = np.int64(x[k & MASK])
    b = np.int64(x[(k - _LAG) & MASK])
    c = np.int64(x[(k - 2 * _LAG) & MASK])
    return abs(a - b) + abs(a - 2 * b + c)


@kernel
def _mv(state, k, lead):
    return state.ring_uv[lead, k & MASK] * 1e-3


@kernel
def learn(state, k):
    """First levels, from the samples learn_from … k - 1. False when there is nothing that could be a beat."""
    found = False
    for lead in range(LEADS):
        # the level of beats is the median of the highest of each half second
        top = np.zeros(4)
        n = k - state.learn_from
        mean = 0.0
        for q in range(4):
            for j in range(state.learn_from + q * n // 4, state.learn_from + (q + 1) * n // 4):
                a = state.activity[lead, j & MASK]
                mean += a
                top[q] = max(top[q], a)
        mean /= n
        top.sort()
        level = 0.5 * (top[3] + top[2])
        state.beat_level[lead] = level
        state.rest_level[lead] = mean * 0.5
        if level > _FLOOR_MV:
            found = True
    _weigh(state)
    return found


@kernel
def _weigh(state):
    total = 0.0
    for lead in range(LEADS):
        level = state.beat_level[lead]
        w = (level / (state.rest_level[lead] + 0.01)) ** 2 if level > 0.5 * _FLOOR_MV else 0.0
        state.weight[lead] = w
        total += w
    for lead in range(LEADS):
        state.weight[lead] = (
            state.weight[lead] / total / state.beat_level[lead] if total > 0.0 and state.weight[lead] > 0 else 0.0
        )


@kernel
def decide(state, k):
    """Go on to grid sample ``k``, which has its activity. True when one or more beats joined the queue."""
    if not state.learnt:
        if k - state.learn_from < _LEARN:
            return False
        if not learn(state, k):
            state.learn_from += RATE_HZ // 2
            state.decided = state.learn_from
            return False
        state.learnt = True
        state.n_heights = 0
        state.n_others = 0
        state.candidate = 0.0
        state.passed = _NOTHING
    found = False
    while state.decided <= k:
        m = state.decided
        state.decided += 1
        c = state.weight[0] * state.activity[0, m & MASK] + state.weight[1] * state.activity[1, m & MASK]
        if c > state.candidate:
            if c > state.before:
                state.candidate = c
                state.candidate_at = m
        elif state.candidate > 0.0 and m - state.candidate_at >= _ALONE:
            found |= _peak(state)
            state.candidate = 0.0
        state.before = c
        if state.passed > _NOTHING and _overdue(state, m):
            if state.passed > _BACK_THRESHOLD:
                _beat(state, state.passed_at, _locate(state, state.passed_at), 0.0)
                found = True
            state.passed = _NOTHING
        if m - state.last_peak > _RELEARN and m - state.learn_from > _RELEARN:
            state.learnt = False
            state.learn_from = m - _LEARN
            state.decided = m + 1  # relearn
            break
    return found


@kernel
def _overdue(state, m):
    n = min(state.n_rr, 8)
    if n == 0:
        return m - state.last_peak > RATE_HZ
    mean = 0.0
    for i in range(n):
        mean += state.rr[(state.n_rr - 1 - i) % RRS]
    mean /= n
    return m - state.last_peak > min(_BACK_RR * mean, _BACK_MOST)


@kernel
def _level(heights, count):
    n = min(count, _LAST)
    if n == 0:
        return 1.0
    h = np.sort(heights[:n])
    return h[n // 2] if n % 2 else 0.5 * (h[n // 2] + h[n // 2 - 1])


@kernel
def _steepest(state, p):
    """Greatest weighted change over 12 ms in the samples that the activity at p is made of."""
    best = 0.0
    for j in range(p - _AVERAGED - _LAG, p + 1):
        s = 0.0
        for lead in range(LEADS):
            s += state.weight[lead] * abs(_mv(state, j, lead) - _mv(state, j - 3, lead))
        best = max(best, s)
    return best


@kernel
def _peak(state):
    """Judge the candidate. True when it is a beat."""
    p = state.candidate_at
    tallest = max(state.activity[0, p & MASK], state.activity[1, p & MASK])
    if tallest < _FLOOR_MV:
        return False
    r = _locate(state, p)
    height = state.candidate / _level(state.beat_heights, state.n_heights)
    rest = _level(state.other_heights, state.n_others) if state.n_others else 0.1
    rest /= _level(state.beat_heights, state.n_heights)
    least, most, likeness = np.inf, 0.0, 0.0
    for lead in range(LEADS):
        share = state.weight[lead] * state.beat_level[lead]
        if share == 0.0:
            continue
        top = 0.0
        for j in range(p - 12, p + 13):
            top = max(top, state.activity[lead, j & MASK])
        top = min(top / state.beat_level[lead], _MOST)
        least = min(least, top)
        most = max(most, top)
        likeness += share * usual.match(state, r, lead, usual.BEFORE_R - 20, usual.BEFORE_R + 20)[0]
    if state.usual_beats < 5:
        likeness = 0.8
    steep = math.log(_steepest(state, p) / max(1e-9, state.last_slope) + 1e-3)
    soon = min((p - state.last_peak) / RATE_HZ, _SOON)
    height = min(height, _MOST)
    common = (
        _W0
        + _W_REST * rest
        + _W_MATCH * likeness
        + _W_STEEP * steep
        + _W_SOON * soon
        + _W_MOST * most
        + _W_HEIGHT * height
    )
    score = common + _W_LEAST * least
    if score > 0.0:
        _beat(state, p, r, state.candidate)
        return True
    state.other_heights[state.n_others % _LAST] = state.candidate
    state.n_others += 1
    score = max(score, common + _W_LEAST * _ONE_LEAD * most)
    if score > state.passed and p - state.last_peak > _ALONE:
        state.passed = score
        state.passed_at = p
    return False


@kernel
def _beat(state, p, r, h):
    if state.last_peak >= state.first_grid:
        state.rr[state.n_rr % RRS] = p - state.last_peak
        state.n_rr += 1
    if h > 0.0:
        state.beat_heights[state.n_heights % _LAST] = h
        state.n_heights += 1
    # levels
    for lead in range(LEADS):
        top = 0.0
        for j in range(p - 12, p + 13):
            top = max(top, state.activity[lead, j & MASK])
        rest = 0.0
        n = 0
        for j in range(max(state.last_peak + 35, p - 250), p - 35):
            rest += state.activity[lead, j & MASK]
            n += 1
        if top > 0:
            state.beat_level[lead] += 0.125 * (min(top, 2.0 * state.beat_level[lead] + 0.02) - state.beat_level[lead])
        if n > 0:
            state.rest_level[lead] += 0.125 * (rest / n - state.rest_level[lead])
    state.last_slope = _steepest(state, p)
    state.last_peak = p
    state.last_r = r
    state.passed = _NOTHING
    state.queue_r[state.queued % QUEUE] = r
    state.queued += 1
    _weigh(state)


@kernel
def _locate(state, p):
    """The R peak: the sharpest summit, or the sharpest valley where no summit comes near it."""
    lead = 0
    total = state.weight[0] * state.beat_level[0] + state.weight[1] * state.beat_level[1]
    if state.weight[0] * state.beat_level[0] < 0.1 * total:
        lead = 1
    x = state.ring_uv[lead]
    base = 0
    for j in range(p - _BACK - 15, p - _BACK - 5):
        base += np.int64(x[j & MASK])
    base /= 10
    up = down = 0.0
    up_at = down_at = p - 20
    for j in range(p - _BACK, p - 1):
        a = np.int64(x[j & MASK])
        bend = 2 * a - np.int64(x[(j - 10) & MASK]) - np.int64(x[(j + 10) & MASK])
        s = bend + _HIGH * (a - base)
        if s > up and a >= x[(j - 1) & MASK] and a >= x[(j + 1) & MASK]:
            up, up_at = s, j
        if s < down and a <= x[(j - 1) & MASK] and a <= x[(j + 1) & MASK]:
            down, down_at = s, j
    return up_at if up > -_SUMMIT * down else down_at

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
_MV: Final = 1e-3 / _AVERAGED
_ALONE: Final = 50
"""A candidate is the highest for 200 ms on."""
_CLOSEST: Final = 40
_AROUND: Final = 12
_LEARN: Final = 2 * RATE_HZ
_RELEARN: Final = 3 * RATE_HZ
"""So long without a beat, and its levels are taken from the last two seconds: an electrode may have moved."""
_FLOOR_MV: Final = 0.12
"""Activity of a QRS complex of about 0.1 mV. Less is no heartbeat (AAMI EC13: below 0.15 mV shall not be counted)."""
_LAST: Final = 8
_RATE: Final = 0.125
_NO_SIZE_MV: Final = 0.01
_REST_AFTER: Final = 35
_REST_WITHIN: Final = 250
_USUAL_FROM: Final = 5

_BACK_RR: Final = 1.6
_BACK_MOST: Final = 2 * RATE_HZ
_BACK_SCORE: Final = -1.5
_ONE_LEAD: Final = 0.6
"""A lead can be dead: looking back, one lead counts for both at this share."""
_NOTHING: Final = -1e9

# Evidence for a beat, in natural logarithms of odds. Sizes are relative to the last beats of the same lead.
_SCORE: Final = -7.2
_PER_LEAST: Final = 7.63  # in the lead that takes part least
_PER_MOST: Final = 0.7  # in the lead that takes part most
_PER_HEIGHT: Final = 2.12  # of the joint activity
_PER_REST: Final = -5.0  # height of the last candidates that were no beats
_PER_LIKENESS: Final = 2.14  # correlation with the usual QRS complex
_PER_STEEPNESS: Final = 1.76  # logarithm, relative to the last beat
_PER_S: Final = 7.04  # since the last beat
_LATE_S: Final = 0.6
_SIZE_MOST: Final = 2.0
_LIKENESS_UNKNOWN: Final = 0.8
_UNLIKE: Final = 0.3  # a ventricular beat may be as unlike as it likes
_REST_UNKNOWN: Final = 0.1

# Where in the samples that an activity is made of its R peak is looked for.
_R_BACK: Final = 54
_R_LEAD_SHARE: Final = 0.1
_R_BEND: Final = 10
_R_HEIGHT: Final = 2.0
_R_SUMMIT: Final = 0.65

QUEUE: Final = 16
_RRS: Final = 8

FIELDS: Final = [
    ("sum", np.int64, (LEADS,)),
    ("decided", np.int64),  # the next sample to decide upon
    ("learnt", np.bool_),
    ("learn_from", np.int64),
    ("share", np.float64, (LEADS,)),  # of each lead in the joint activity
    ("beat_level", np.float64, (LEADS,)),  # activity at beats, mV
    ("rest_level", np.float64, (LEADS,)),  # and between them
    ("candidate_at", np.int64),
    ("candidate", np.float64),  # joint activity, about 1 at a beat; 0 none
    ("before", np.float64),
    ("passed_at", np.int64),  # the best candidate since the last beat that was no beat
    ("passed", np.float64),  # its score
    ("beat_heights", np.float64, (_LAST,)),
    ("n_beat_heights", np.int64),
    ("other_heights", np.float64, (_LAST,)),
    ("n_other_heights", np.int64),
    ("last_peak", np.int64),
    ("last_steepness", np.float64),
    ("last_r", np.int64),
    ("rr", np.float64, (_RRS,)),
    ("n_rr", np.int64),
    ("queue_r", np.int64, (QUEUE,)),  # R peaks that were found, from ``emitted`` to ``queued``
    ("queued", np.int64),
    ("emitted", np.int64),
]
DERIVED: Final = [("activity", np.float32, (LEADS, RING))]  # mV
"""What ``recall`` makes of the rest: no snapshot has it."""


@kernel
def begin(state):
    """Nothing is known of this patient's beats."""
    state.learnt = False
    state.learn_from = state.first_grid
    state.n_beat_heights = 0
    state.n_other_heights = 0
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
    state.last_peak = state.first_grid - RATE_HZ
    state.last_r = state.first_grid - RATE_HZ
    state.queued = 0
    state.emitted = 0


@kernel
def recall(state):
    """Make the activity anew from the grid samples in the ring, as far back as all that it is made of is there."""
    state.activity[:] = 0.0
    first = max(state.first_grid, state.next_grid - RING + _AVERAGED + 2 * _LAG)
    for lead in range(LEADS):
        total = np.int64(0)
        for j in range(first - _AVERAGED, first):
            total += _slope_and_bend(state, j, lead)
        for j in range(first, state.next_grid):
            total += _slope_and_bend(state, j, lead) - _slope_and_bend(state, j - _AVERAGED, lead)
            state.activity[lead, j & MASK] = total * _MV


@kernel
def take(state, k, n):
    """Activity of grid samples k … k + n - 1, which are in the ring."""
    for lead in range(LEADS):
        total = state.sum[lead]
        for j in range(k, k + n):
            total += _slope_and_bend(state, j, lead) - _slope_and_bend(state, j - _AVERAGED, lead)
            state.activity[lead, j & MASK] = total * _MV
        state.sum[lead] = total


@kernel
def _slope_and_bend(state, k, lead):
    x = state.ring_uv[lead]
    a = np.int64(x[k & MASK])
    b = np.int64(x[(k - _LAG) & MASK])
    c = np.int64(x[(k - 2 * _LAG) & MASK])
    return abs(a - b) + abs(a - 2 * b + c)


@kernel
def decide(state, k):
    """Go on to grid sample ``k``, which has its activity. True when one or more beats joined the queue."""
    if not state.learnt:
        if k - state.learn_from < _LEARN:
            return False
        if not _learn(state, k):
            state.learn_from += RATE_HZ // 2
            state.decided = max(state.decided, state.learn_from)
            return False
    found = False
    while state.decided <= k:
        m = state.decided
        state.decided += 1
        joint = 0.0
        for lead in range(LEADS):
            if state.share[lead] > 0.0:
                joint += state.share[lead] * state.activity[lead, m & MASK] / state.beat_level[lead]
        if joint > state.candidate:
            if joint > state.before:
                state.candidate = joint
                state.candidate_at = m
        elif state.candidate > 0.0 and m - state.candidate_at >= _ALONE:
            found |= _judge(state)
            state.candidate = 0.0
        state.before = joint
        if state.passed > _NOTHING and _overdue(state, m):
            if state.passed > _BACK_SCORE:
                found |= _beat(state, state.passed_at, _locate(state, state.passed_at))
            state.passed = _NOTHING
        if m - max(state.last_peak, state.learn_from) > _RELEARN:
            state.learnt = False
            state.learn_from = m - _LEARN
            state.decided = max(state.learn_from, state.last_peak + _ALONE)
            break
    return found


@kernel
def _learn(state, k):
    """First levels, from the grid samples learn_from … k - 1. False when there is nothing that could be a beat."""
    n = k - state.learn_from
    top = np.empty(4)
    for lead in range(LEADS):
        mean = 0.0
        for q in range(4):
            top[q] = 0.0
            for j in range(state.learn_from + q * n // 4, state.learn_from + (q + 1) * n // 4):
                a = state.activity[lead, j & MASK]
                mean += a / n
                top[q] = max(top[q], a)
        # the highest of each half second: two of four have a beat in them down to 60 beats a minute
        state.beat_level[lead] = 0.5 * (np.max(top) + _median(top, 4))
        state.rest_level[lead] = 0.5 * mean
    _weigh(state)
    if max(state.beat_level[0], state.beat_level[1]) < _FLOOR_MV:
        return False
    for q in range(4):
        top[q] = 0.0
        for j in range(state.learn_from + q * n // 4, state.learn_from + (q + 1) * n // 4, _AVERAGED):
            top[q] = max(top[q], _steepness(state, j))
    state.last_steepness = _median(top, 4)
    state.n_beat_heights = 0
    state.n_other_heights = 0
    state.candidate = 0.0
    state.passed = _NOTHING
    state.learnt = True
    return True


@kernel
def _weigh(state):
    """The share of each lead in the joint activity: the square of how far its beats stand out."""
    total = 0.0
    for lead in range(LEADS):
        level = state.beat_level[lead]
        stands_out = level / (state.rest_level[lead] + _NO_SIZE_MV)
        state.share[lead] = stands_out * stands_out if level > 0.5 * _FLOOR_MV else 0.0
        total += state.share[lead]
    if total > 0.0:
        for lead in range(LEADS):
            state.share[lead] /= total


@kernel
def _overdue(state, m):
    n = min(state.n_rr, _RRS)
    if n == 0:
        return m - state.last_peak > RATE_HZ
    return m - state.last_peak > min(_BACK_RR * np.sum(state.rr[:n]) / n, _BACK_MOST)


@kernel
def _judge(state):
    """Whether the candidate is a beat; if so it joins the queue."""
    p = state.candidate_at
    if max(state.activity[0, p & MASK], state.activity[1, p & MASK]) < _FLOOR_MV:
        return False
    r = _locate(state, p)
    usual_height = _median(state.beat_heights, state.n_beat_heights) if state.n_beat_heights > 0 else 1.0
    rest = _REST_UNKNOWN
    if state.n_other_heights > 0:
        rest = _median(state.other_heights, state.n_other_heights) / usual_height
    least, most, likeness = np.inf, 0.0, 0.0
    for lead in range(LEADS):
        if state.share[lead] > 0.0:
            size = min(_top(state, p, lead) / state.beat_level[lead], _SIZE_MOST)
            least = min(least, size)
            most = max(most, size)
            like, _ = usual.match(state, r, lead, usual.BEFORE_R - 20, usual.BEFORE_R + 20)
            likeness += state.share[lead] * like
    if state.usual_beats < _USUAL_FROM:
        likeness = _LIKENESS_UNKNOWN
    common = (
        _SCORE
        + _PER_MOST * most
        + _PER_HEIGHT * min(state.candidate / usual_height, _SIZE_MOST)
        + _PER_REST * rest
        + _PER_LIKENESS * max(likeness, _UNLIKE)
        + _PER_STEEPNESS * math.log(_steepness(state, p) / max(1e-9, state.last_steepness) + 1e-3)
        + _PER_S * min((p - state.last_peak) / RATE_HZ, _LATE_S)
    )
    if common + _PER_LEAST * least > 0.0 and _beat(state, p, r):
        state.beat_heights[state.n_beat_heights % _LAST] = state.candidate
        state.n_beat_heights += 1
        return True
    state.other_heights[state.n_other_heights % _LAST] = state.candidate
    state.n_other_heights += 1
    score = common + _PER_LEAST * max(least, _ONE_LEAD * most)
    if score > state.passed and p - state.last_peak > _ALONE:
        state.passed = score
        state.passed_at = p
    return False


@kernel
def _beat(state, p, r):
    """Put the beat whose activity peaks at p into the queue and learn from it; False when the last is too close."""
    if r - state.last_r < _CLOSEST:
        return False
    if state.last_peak >= state.first_grid:
        state.rr[state.n_rr % _RRS] = p - state.last_peak
        state.n_rr += 1
    for lead in range(LEADS):
        level = state.beat_level[lead]
        top = min(_top(state, p, lead), 2.0 * level + 2.0 * _NO_SIZE_MV)  # an artefact shall not set the level
        state.beat_level[lead] += _RATE * (top - level)
        first = max(state.last_peak + _REST_AFTER, p - _REST_WITHIN)
        n = p - _REST_AFTER - first
        if n > 0:
            total = 0.0
            for j in range(first, first + n):
                total += state.activity[lead, j & MASK]
            state.rest_level[lead] += _RATE * (total / n - state.rest_level[lead])
    state.last_steepness = _steepness(state, p)
    state.last_peak = p
    state.last_r = r
    state.passed = _NOTHING
    state.queue_r[state.queued % QUEUE] = r
    state.queued += 1
    _weigh(state)
    return True


@kernel
def _top(state, p, lead):
    """The highest activity of one lead around p: leads do not peak at the same time."""
    top = 0.0
    for j in range(p - _AROUND, p + _AROUND + 1):
        top = max(top, state.activity[lead, j & MASK])
    return top


@kernel
def _steepness(state, p):
    """The greatest change over 12 ms in the samples that the activity at p is made of, relative to the beats' size."""
    steepest = 0.0
    for j in range(p - _AVERAGED - _LAG, p + 1):
        change = 0.0
        for lead in range(LEADS):
            if state.share[lead] > 0.0:
                x = state.ring_uv[lead]
                uv = abs(np.int64(x[j & MASK]) - np.int64(x[(j - 3) & MASK]))
                change += state.share[lead] * uv / state.beat_level[lead]
        steepest = max(steepest, change)
    return steepest


@kernel
def _locate(state, p):
    """The R peak: the highest and sharpest summit, or such a valley where no summit comes near it; in the first lead,
    unless that has next to no part in the beat.
    """
    lead = 0 if state.share[0] >= _R_LEAD_SHARE else 1
    x = state.ring_uv[lead]
    base = 0
    for j in range(p - _R_BACK - 15, p - _R_BACK - 5):
        base += np.int64(x[j & MASK])
    level = base / 10
    summit = valley = 0.0
    summit_at = valley_at = p - 20
    for j in range(p - _R_BACK, p - 1):
        a = np.int64(x[j & MASK])
        before, after = x[(j - 1) & MASK], x[(j + 1) & MASK]
        bend = 2 * a - np.int64(x[(j - _R_BEND) & MASK]) - np.int64(x[(j + _R_BEND) & MASK])
        score = bend + _R_HEIGHT * (a - level)
        if score > summit and a >= before and a >= after:
            summit, summit_at = score, j
        if score < valley and a <= before and a <= after:
            valley, valley_at = score, j
    return summit_at if summit > -_R_SUMMIT * valley else valley_at


@kernel
def _median(values, count):
    """Of the first ``count`` of a short array, or of all when there were more."""
    n = min(count, len(values))
    ordered = np.empty(_LAST)
    for i in range(n):
        k = i
        while k > 0 and ordered[k - 1] > values[i]:
            ordered[k] = ordered[k - 1]
            k -= 1
        ordered[k] = values[i]
    return ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2] + ordered[n // 2 - 1])

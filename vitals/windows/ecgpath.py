"""The signal path of one patient after another, from a chunk's samples to the windows they complete. Compiled."""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals import fibrillation, qrs, quality, recentbeats, rhythm, runs, signal, units, usual
from vitals.drift import evidence, mains, shape
from vitals.findings import BEAT_AFTER_R_US, Verdict
from vitals.kernels import kernel
from vitals.signal import GRID_US, LEADS, MASK, RATE_HZ, RING
from vitals.usual import AFTER_R, BEFORE_R, CONTEXT, SAMPLES

_ALONE_US: Final = 1_500_000
_ALONE: Final = _ALONE_US // GRID_US
"""A beat that is not followed by another is given out so long after its R peak."""
_KEEP_LEVELS_US: Final = 60 * units.US_PER_S
_NEVER: Final = np.iinfo(np.int64).max
_GOOD: Final = int(Verdict.GOOD)
_TOO_SHORT: Final = int(Verdict.TOO_SHORT)
_GAP: Final = int(Verdict.GAP)
_POOR: Final = int(Verdict.POOR)
_NOISY: Final = int(Verdict.NOISY)
_UNSEEN: Final = signal.MISSING | signal.STUCK | signal.RAILED
_HOLE: Final = RATE_HZ // 2
"""After a longer hole nobody can say how long there has been no beat."""

STATE: Final = np.dtype(
    [
        *runs.FIELDS,
        *signal.FIELDS,
        *qrs.FIELDS,
        *rhythm.FIELDS,
        *usual.FIELDS,
        *recentbeats.FIELDS,
        *evidence.FIELDS,
        *shape.FIELDS,
        *mains.FIELDS,
        ("blind", np.int64),  # grid samples of this run in which no lead saw the heart
        ("blind_for", np.int64),  # of them, those without a break up to now
        ("seen_from", np.int64),  # since when the heart has been seen, but for short holes
        ("rr_pre_ms", np.float32, (qrs.QUEUE,)),
        ("n_rr_before", np.int64, (qrs.QUEUE,)),
        ("n_rr_known", np.int64, (qrs.QUEUE,)),
        ("noted", np.int64),
        ("due", np.int64),
        ("qrs_uv", np.float64, (LEADS,)),
        ("known_us", np.int64),
        ("second", np.int64),  # the rhythm window that is open
        ("waiting", np.int32, (2,)),  # chunks that begin in it, and in the next
        *qrs.DERIVED,
    ],
    align=True,
)
BEAT: Final = np.dtype(
    [
        ("chunk", np.int32),
        ("row", np.int32),
        ("end_us", np.int64),
        ("known_us", np.int64),
        ("ecg_mv", np.float32, (LEADS, SAMPLES)),
        ("context", np.float32, (len(CONTEXT),)),
        ("rr_pre_ms", np.float32),
        ("rr_post_ms", np.float32),
        ("verdict", np.uint8),
    ],
    align=True,
)
RHYTHM: Final = np.dtype(
    [
        ("chunk", np.int32),
        ("row", np.int32),
        ("end_us", np.int64),
        ("known_us", np.int64),
        ("heart_rate_bpm", np.float32),
        ("since_beat_ms", np.float32),
        ("rr_irregularity", np.float32),
        ("vf_index", np.float32),
        ("qrs_mv", np.float32),
        ("rate_of_5_bpm", np.float32),
        ("rate_of_17_bpm", np.float32),
        ("verdict", np.uint8),
        ("drift", np.int8),
        ("drift_began", np.bool_),
        ("drift_from_us", np.int64),
        ("drift_size", np.float32),
    ],
    align=True,
)
RECENT: Final = np.dtype(
    [
        ("chunk", np.int32),
        ("row", np.int32),
        ("end_us", np.int64),
        ("known_us", np.int64),
        ("beats", np.float32, (recentbeats.BEATS, len(recentbeats.FEATURES))),
        ("context", np.float32, (len(recentbeats.CONTEXT),)),
        ("verdict", np.uint8),
    ],
    align=True,
)
RECENT_EVERY_S: Final = 30
_RECENT_LEAST_S: Final = 20


@kernel
def advance(
    table, rows, phase, start_us, rate_hz, n_leads, gain_uv, n_samples, samples,
    outcome, scored, cut, beats, rhythms, recents, chunk, offset, n_rhythms, n_recents,
):  # fmt: skip
    """Chunks from ``chunk`` on, whose samples begin at ``offset``, until all are done or ``beats`` might not hold more.

    Returns (next chunk, its offset, beats written, rhythm windows written, windows of recent beats written).
    """
    room = signal.make_room()
    nothing = np.full(8 * signal.BLOCK, signal.NOT_MEASURED, np.int16)
    n_beats = 0
    while chunk < len(rows):
        count = n_samples[chunk]
        if n_beats + most_beats(count / rate_hz[chunk]) > len(beats):
            break
        state = table[rows[chunk]]
        outcome[chunk], restart, fill, skip = runs.admit(state, start_us[chunk], rate_hz[chunk], n_leads[chunk], count)
        if outcome[chunk] == runs.TAKEN:
            if restart:
                n_beats = _flush(state, chunk, rows[chunk], beats, n_beats)
                cut[chunk] += state.waiting[0] + state.waiting[1]
                _restart(state, start_us[chunk], rate_hz[chunk], n_leads[chunk])
            gain_mv = gain_uv[chunk] * 1e-3
            while fill > 0:
                n = min(fill, signal.block_samples(state))
                n_beats, n_rhythms, n_recents = _block(
                    state, nothing, 0, 0, n, gain_mv, room, chunk, rows[chunk], phase[chunk], scored,
                    beats, n_beats, rhythms, n_rhythms, recents, n_recents,
                )  # fmt: skip
                fill -= n
            first_second = runs.frontier_us(state) // units.US_PER_S
            state.waiting[1 if first_second > state.second else 0] += 1
            done = skip
            while done < count:
                n = min(count - done, signal.block_samples(state))
                n_beats, n_rhythms, n_recents = _block(
                    state, samples, offset + done, count, n, gain_mv, room, chunk, rows[chunk], phase[chunk], scored,
                    beats, n_beats, rhythms, n_rhythms, recents, n_recents,
                )  # fmt: skip
                done += n
        offset += np.int64(count) * n_leads[chunk]
        chunk += 1
    return chunk, offset, n_beats, n_rhythms, n_recents


@kernel
def newest(table, rows, recents):
    """The windows of recent beats that end now, of the patients in ``rows``."""
    for i in range(len(rows)):
        state = table[rows[i]]
        recent(state, state.second * RATE_HZ, 0, rows[i], recents, i)


@kernel
def recall(table, rows):
    """Make what a snapshot leaves out anew, for the patients in ``rows``."""
    for row in rows:
        qrs.recall(table[row])


@kernel
def most_beats(seconds):
    """A chunk of so many seconds gives out no more: beats are 0.2 s apart, and the ring holds what may lie behind."""
    return np.int64(5.0 * (seconds + runs.FILLED_US / units.US_PER_S + RING / RATE_HZ)) + qrs.QUEUE + 1


@kernel
def _restart(state, start_us, rate_hz, n_leads):
    same = rate_hz == state.rate_hz and n_leads == state.n_leads
    ahead_us = start_us - runs.frontier_us(state)
    if n_leads != state.n_leads:
        shape.begin(state)
        mains.begin(state)
    runs.begin(state, start_us, rate_hz, n_leads)
    signal.begin(state)
    if same and 0 <= ahead_us <= _KEEP_LEVELS_US and state.learnt:
        qrs.resume(state)
    else:
        qrs.begin(state)
        usual.begin(state)
        rhythm.begin(state)
        state.qrs_uv[:] = np.nan
    rhythm.resume(state)
    recentbeats.begin(state)
    state.blind = 0
    state.blind_for = 0
    state.seen_from = state.first_grid
    state.noted = 0
    state.due = _NEVER
    state.second = state.first_grid // RATE_HZ
    state.waiting[:] = 0


@kernel
def _block(
    state, samples, first, stride, count, gain_mv, room, chunk, row, phase, scored,
    beats, n_beats, rhythms, n_rhythms, recents, n_recents,
):  # fmt: skip
    k = state.next_grid
    n = signal.to_grid(state, samples, first, stride, count, gain_mv, room)
    grid_uv, grid_flags, known_us = room[2], room[3], room[4]
    done = 0
    while done < n:
        # not beyond the end of a second: what its window looks back upon must still be in the ring
        here = min(n - done, RATE_HZ - k % RATE_HZ)
        for i in range(here):
            at = (k + i) & MASK
            for lead in range(LEADS):
                state.ring_uv[lead, at] = grid_uv[lead, done + i]
            state.ring_flags[at] = grid_flags[done + i]
        qrs.take(state, k, here)
        for i in range(here):
            j = k + i
            flags = grid_flags[done + i]
            if flags & _UNSEEN and (flags >> signal.LEAD_SHIFT) & _UNSEEN:
                state.blind += 1
                state.blind_for += 1
                if state.blind_for > _HOLE:
                    state.seen_from = j + 1
            else:
                state.blind_for = 0
            if qrs.decide(state, j):
                _note(state)
            while j >= state.due:
                n_beats = _emit(state, chunk, row, known_us[done + i], beats, n_beats)
        k += here
        done += here
        state.known_us = known_us[done - 1]
        if k % RATE_HZ == 0:
            n_rhythms = _second(state, k, chunk, row, scored, rhythms, n_rhythms)
            recentbeats.note_second(state, rhythms[n_rhythms - 1].verdict, rhythms[n_rhythms - 1].vf_index)
            if (k // RATE_HZ + phase) % RECENT_EVERY_S == 0:
                n_recents = recent(state, k, chunk, row, recents, n_recents)
    return n_beats, n_rhythms, n_recents


@kernel
def _note(state):
    """Enter beats that were found into the history."""
    while state.noted < state.queued:
        at = state.noted % qrs.QUEUE
        r = state.queue_r[at]
        state.n_rr_before[at] = state.n_rr_ms
        state.n_rr_known[at] = state.n_rr_ms - state.rr_from
        state.rr_pre_ms[at] = rhythm.note_beat(state, r, state.blind)
        for lead in range(LEADS):
            low = high = 0
            for j in range(r - 15, r + 16):
                a = np.int64(state.ring_uv[lead, j & MASK])
                low = min(low, a)
                high = max(high, a)
            size = np.float64(high - low)
            old = state.qrs_uv[lead]
            state.qrs_uv[lead] = size if np.isnan(old) else old + 0.2 * (size - old)
        state.noted += 1
    _set_due(state)


@kernel
def _set_due(state):
    waiting = state.queued - state.emitted
    if waiting == 0:
        state.due = _NEVER
    else:
        state.due = state.queue_r[state.emitted % qrs.QUEUE] + (AFTER_R - 1 if waiting > 1 else _ALONE)


@kernel
def _flush(state, chunk, row, beats, n_beats):
    """A run has ended: give out the beats whose windows are whole."""
    if state.rate_hz == 0.0:
        return n_beats
    while state.emitted < state.queued:
        if state.queue_r[state.emitted % qrs.QUEUE] + AFTER_R > state.next_grid:
            state.emitted += 1
        else:
            n_beats = _emit(state, chunk, row, state.known_us, beats, n_beats)
    return n_beats


@kernel
def _emit(state, chunk, row, known_us, beats, n_beats):
    at = state.emitted % qrs.QUEUE
    r = state.queue_r[at]
    following = (state.emitted + 1) % qrs.QUEUE
    rr_post_ms = state.rr_pre_ms[following] if state.queued - state.emitted > 1 else np.float32(0.0)
    beat = beats[n_beats]
    beat.chunk = chunk
    beat.row = row
    beat.end_us = r * GRID_US + BEAT_AFTER_R_US
    beat.known_us = known_us
    beat.rr_pre_ms = state.rr_pre_ms[at]
    beat.rr_post_ms = rr_post_ms
    for lead in range(LEADS):
        for i in range(SAMPLES):
            beat.ecg_mv[lead, i] = state.ring_uv[lead, (r - BEFORE_R + i) & MASK] * 1e-3
    n_rr, n_known = state.n_rr_before[at], state.n_rr_known[at]
    usual.compare(state, r, state.rr_pre_ms[at], rr_post_ms, n_rr, n_known, beat.context)
    first = r - BEFORE_R
    if first < state.first_grid:
        beat.verdict = _TOO_SHORT
    else:
        beat.verdict = quality.best_verdict(state, first, SAMPLES, state.qrs_uv)
    recentbeats.note_beat(state, r, beat)
    if beat.verdict <= _POOR:
        shape.take_beat(state, r, state.rr_pre_ms[at])
    state.emitted += 1
    _set_due(state)
    return n_beats + 1


@kernel
def recent(state, k, chunk, row, recents, n_recents):
    """Give out the window of recent beats that ends before grid sample ``k``."""
    window = recents[n_recents]
    window.chunk = chunk
    window.row = row
    window.end_us = k * GRID_US
    window.known_us = state.known_us
    recentbeats.fill(state, k, window.beats, window.context)
    window.verdict = _GOOD if state.n_recent_seconds >= _RECENT_LEAST_S else _TOO_SHORT
    return n_recents + 1


@kernel
def _second(state, k, chunk, row, scored, rhythms, n_rhythms):
    """Give out the rhythm window that ends before grid sample ``k``."""
    window = rhythms[n_rhythms]
    window.chunk = chunk
    window.row = row
    window.end_us = k * GRID_US
    window.known_us = state.known_us
    window.heart_rate_bpm = rhythm.heart_rate_bpm(state, k)
    since = k - max(state.latest_r, state.seen_from) if state.any_r else k - state.seen_from
    window.since_beat_ms = since * (GRID_US / units.US_PER_MS)
    window.rr_irregularity = rhythm.irregularity(state)
    window.vf_index = fibrillation.vf_index(state, k - 1)
    window.qrs_mv = np.fmax(state.qrs_uv[0], state.qrs_uv[1]) * 1e-3
    window.rate_of_5_bpm = rhythm.rate_of_bpm(state, k, rhythm.SLOW_BEATS)
    window.rate_of_17_bpm = rhythm.rate_of_bpm(state, k, rhythm.FAST_BEATS)
    first = max(k - RATE_HZ, state.first_grid)
    window.verdict = quality.best_verdict(state, first, k - first, state.qrs_uv) if k - first > RATE_HZ // 2 else _GAP
    if window.verdict <= _NOISY and k - RATE_HZ >= state.first_grid:
        mains.take_second(state, k)
    window.drift, window.drift_began = evidence.next_notice(state)
    window.drift_from_us = state.drift_from_us[max(0, window.drift)]
    window.drift_size = state.drift_size[max(0, window.drift)]
    scored[chunk] += state.waiting[0]
    state.waiting[0] = state.waiting[1]
    state.waiting[1] = 0
    state.second = k // RATE_HZ
    return n_rhythms + 1

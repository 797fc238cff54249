"""Which samples of a chunk are new: order, repeats, gaps and clock jumps of one patient's stream.

A run is an unbroken stretch of signal at one rate. Its clock is its first chunk's start plus a count of samples, so
that it does not matter how the stream was cut; a chunk's own start only says whether something is missing or repeated.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.units import US_PER_MS, US_PER_S


class Outcome(enum.IntEnum):
    """What became of one chunk or reading."""

    TAKEN = 0
    DUPLICATE = 1
    TOO_LATE = 2


TAKEN: Final = int(Outcome.TAKEN)
DUPLICATE: Final = int(Outcome.DUPLICATE)
TOO_LATE: Final = int(Outcome.TOO_LATE)

FILLED_US: Final = 500 * US_PER_MS
"""A gap up to this long is bridged as samples that were not measured; a longer one starts a new run."""
LATE_RUN_US: Final = 60 * US_PER_S
"""So much unbroken signal from the past is no resend any more: the device's clock was set back."""

_SLACK_US: Final = 1.0 * US_PER_MS  # start times are often rounded to milliseconds
_GAPS: Final = 4

FIELDS: Final = [
    ("rate_hz", np.float64),
    ("n_leads", np.int32),
    ("gaps", np.int32),
    ("period_us", np.float64),
    ("run_start_us", np.int64),
    ("taken", np.int64),  # samples of this run
    ("first_us", np.int64),  # where the first run began
    ("gap_start_us", np.int64, (_GAPS,)),
    ("gap_end_us", np.int64, (_GAPS,)),
    ("late_next_us", np.int64),
    ("late_us", np.float64),
]


@kernel
def frontier_us(state):
    """Event time of the next sample that this run expects."""
    return state.run_start_us + np.int64(np.rint(state.taken * state.period_us))


@kernel
def admit(state, start_us, rate_hz, n_leads, n_samples):
    """(outcome, restart, fill, skip) of a chunk: whether a new run begins with it, how many unmeasured samples go
    before it, and how many samples at its beginning were taken before.
    """
    if state.rate_hz == 0.0:
        state.first_us = start_us
        return TAKEN, True, 0, 0
    here_us = frontier_us(state)
    ahead_us = np.float64(start_us - here_us)
    slack_us = max(0.5 * state.period_us, _SLACK_US)
    if rate_hz != state.rate_hz or n_leads != state.n_leads:
        if ahead_us < -slack_us:
            return _late(state, start_us, n_samples * US_PER_S / rate_hz)
        _note_gap(state, here_us, start_us)
        state.late_us = 0.0
        return TAKEN, True, 0, 0
    skip = max(0, np.int64(np.rint(-ahead_us / state.period_us)))
    if skip >= n_samples:
        return _late(state, start_us, n_samples * state.period_us)
    state.late_us = 0.0
    if ahead_us > FILLED_US:
        _note_gap(state, here_us, start_us)
        return TAKEN, True, 0, 0
    if ahead_us > slack_us:
        _note_gap(state, here_us, start_us)
        return TAKEN, False, np.int64(np.rint(ahead_us / state.period_us)), 0
    return TAKEN, False, 0, skip if ahead_us < -slack_us else 0


@kernel
def begin(state, start_us, rate_hz, n_leads):
    """Start a run."""
    state.rate_hz = rate_hz
    state.n_leads = n_leads
    state.period_us = US_PER_S / rate_hz
    state.run_start_us = start_us
    state.taken = 0


@kernel
def _note_gap(state, start_us, end_us):
    at = state.gaps % _GAPS
    state.gap_start_us[at] = start_us
    state.gap_end_us[at] = end_us
    state.gaps += 1


@kernel
def _late(state, start_us, duration_us):
    slack_us = max(0.5 * state.period_us, _SLACK_US)
    continues = state.late_us > 0.0 and abs(start_us - state.late_next_us) <= slack_us
    state.late_us = (state.late_us if continues else 0.0) + duration_us
    state.late_next_us = start_us + np.int64(np.rint(duration_us))
    if state.late_us >= LATE_RUN_US:
        state.late_us = 0.0
        state.first_us = start_us
        state.gaps = 0
        return TAKEN, True, 0, 0
    if start_us < state.first_us - slack_us:
        return TOO_LATE, False, 0, 0
    middle_us = start_us + np.int64(0.5 * duration_us)
    for k in range(min(state.gaps, _GAPS)):
        if state.gap_start_us[k] <= middle_us < state.gap_end_us[k]:
            return TOO_LATE, False, 0, 0
    return DUPLICATE, False, 0, 0

"""Evidence that something about one bed's ECG has changed for good, gathered until it is enough: a CUSUM for each kind.

Page's test (Biometrika 1954;41:100) on evidence that is clipped to ±1, so that no single beat or second can decide
(Huber's censored test, Ann Math Stat 1965;36:1753). All of it moves with beats and seconds of event time.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.events import DriftKind
from vitals.kernels import kernel

KINDS: Final = (DriftKind.GAIN, DriftKind.LEADS, DriftKind.MAINS)
"""What the columns of the state stand for."""
GAIN: Final = KINDS.index(DriftKind.GAIN)
LEADS_MOVED: Final = KINDS.index(DriftKind.LEADS)
MAINS: Final = KINDS.index(DriftKind.MAINS)

NOTHING: Final = -1
_N: Final = len(KINDS)

# How far a drift has been told.
_NONE: Final = 0
_BEGAN: Final = 1
_TOLD: Final = 2
_ENDED: Final = 3

FIELDS: Final = [
    ("drift_evidence", np.float32, (_N,)),
    ("evidence_from_us", np.int64, (_N,)),
    ("drift_from_us", np.int64, (_N,)),
    ("drift_size", np.float32, (_N,)),
    ("drift_told", np.uint8, (_N,)),
]


@kernel
def weigh(state, kind, evidence, at_us, enough):
    """Take ``evidence`` (-1 … 1) into account. True when there is ``enough`` of it."""
    if state.drift_evidence[kind] == 0.0:
        state.evidence_from_us[kind] = at_us
    state.drift_evidence[kind] = max(0.0, state.drift_evidence[kind] + evidence)
    return state.drift_evidence[kind] >= enough


@kernel
def begin(state, kind, size):
    """There is a drift of ``kind``: it is told at the end of the second."""
    state.drift_evidence[kind] = 0.0
    state.drift_from_us[kind] = state.evidence_from_us[kind]
    state.drift_size[kind] = size
    state.drift_told[kind] = _BEGAN


@kernel
def settle(state, kind):
    """What there is now is the usual: a drift of ``kind`` that was told has ended."""
    if state.drift_told[kind] == _TOLD:
        state.drift_told[kind] = _ENDED


@kernel
def next_notice(state):
    """(kind, whether it began) of a notice that is due, of which this is the telling; (NOTHING, False) for none."""
    for kind in range(_N):
        if state.drift_told[kind] == _BEGAN:
            state.drift_told[kind] = _TOLD
            return kind, True
        if state.drift_told[kind] == _ENDED:
            state.drift_told[kind] = _NONE
            return kind, False
    return NOTHING, False

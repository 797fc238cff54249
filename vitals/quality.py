"""Whether a stretch of signal can be believed, lead by lead.

A verdict is about the signal and not the heart: a straight line with the small unrest of a living baseline is GOOD.
"""

from __future__ import annotations

from typing import Final

from vitals.findings import Verdict
from vitals.kernels import kernel
from vitals.signal import CLIPPED, LEAD_SHIFT, LEADS, MASK, MISSING, RAILED, STUCK

_LEAD_OFF_SHARE: Final = 0.5
_STUCK_SHARE: Final = 0.5
_GAP_SHARE: Final = 0.15
_CLIPPED_SHARE: Final = 0.03
_PATCH: Final = 25  # 100 ms
_QUIET_PATCH: Final = 0.4
"""Unrest is read where it is least: of patches sorted by unrest the one at this share, between two QRS complexes."""
_NOISY_SHARE: Final = 0.25
_POOR_SHARE: Final = 0.12
"""Of the amplitude of the QRS complexes."""
_NOISY_LEAST_UV: Final = 60.0
_ARTEFACT_UV: Final = 15_000
"""No heart and no pacer spike moves the filtered signal so far: a cable was pulled."""

_GOOD: Final = int(Verdict.GOOD)
_POOR: Final = int(Verdict.POOR)
_NOISY: Final = int(Verdict.NOISY)
_FLAT: Final = int(Verdict.FLAT)
_CLIPPED: Final = int(Verdict.CLIPPED)
_LEAD_OFF: Final = int(Verdict.LEAD_OFF)
_GAP: Final = int(Verdict.GAP)
_MOST_PATCHES: Final = 16


@kernel
def best_verdict(state, first, n, qrs_uv):
    """The verdict of the best lead over the grid samples first … first + n - 1. ``qrs_uv``: float64[2], NaN unknown."""
    best = _LEAD_OFF
    for lead in range(min(state.n_leads, LEADS)):
        verdict = _verdict(state, first, n, lead, qrs_uv[lead])
        best = min(best, verdict)
    return best


@kernel
def _verdict(state, first, n, lead, qrs_uv):
    missing = stuck = clipped = railed = 0
    shift = LEAD_SHIFT * lead
    for k in range(first, first + n):
        flags = state.ring_flags[k & MASK] >> shift
        missing += flags & MISSING != 0
        stuck += flags & STUCK != 0
        clipped += flags & CLIPPED != 0
        railed += flags & RAILED != 0
    if missing + railed > _LEAD_OFF_SHARE * n:
        return _LEAD_OFF
    if missing > _GAP_SHARE * n:
        return _GAP
    if stuck > _STUCK_SHARE * n:
        return _FLAT
    if clipped > _CLIPPED_SHARE * n:
        return _CLIPPED
    return _noise_verdict(state, first, n, lead, qrs_uv)


@kernel
def _noise_verdict(state, first, n, lead, qrs_uv):
    x = state.ring_uv[lead]
    patches = min(n // _PATCH, _MOST_PATCHES)
    least = 0.0
    unrest = [0.0] * _MOST_PATCHES
    for p in range(patches):
        total = 0
        for k in range(first + p * _PATCH, first + (p + 1) * _PATCH):
            a = int(x[k & MASK])
            if abs(a) > _ARTEFACT_UV:
                return _NOISY
            total += abs(a - 2 * int(x[(k - 3) & MASK]) + int(x[(k - 6) & MASK]))
        unrest[p] = total / _PATCH
    for p in range(patches):  # insertion sort: a dozen values
        value = unrest[p]
        q = p
        while q > 0 and unrest[q - 1] > value:
            unrest[q] = unrest[q - 1]
            q -= 1
        unrest[q] = value
    least = unrest[int(_QUIET_PATCH * patches)]
    if least > _NOISY_LEAST_UV and not least <= _NOISY_SHARE * qrs_uv:
        return _NOISY
    if least > 0.5 * _NOISY_LEAST_UV and not least <= _POOR_SHARE * qrs_uv:
        return _POOR
    return _GOOD

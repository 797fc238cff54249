"""The rhythm of a short recording as a whole, in the four classes of the CinC Challenge 2017: N, A, O or ~.

The live path's own window of recent beats at the end of the recording, and the model that serves.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from stream.gateways.wfdb import Recording
from stream.modelslot import ModelSlot
from vitals.units import EARLIEST_US, US_PER_S
from vitals.windows.ecg import EcgWindows

LONGEST_S: Final = 120.0
CLASSES: Final = ("N", "A", "O", "~")
"""In the order of the columns of ``ECG_AF``: sinus rhythm, atrial fibrillation, another rhythm, too noisy."""


def rhythm_of(recording: Recording, slot: ModelSlot) -> str | None:
    """Its class; None where no model serves, ``~`` where there is not even a second of signal."""
    windows = EcgWindows()
    row = windows.add(1)
    leads, n = recording.samples.shape
    per_chunk = max(1, round(recording.rate_hz))
    first = np.arange(0, n, per_chunk, dtype=np.int64)
    count = np.minimum(per_chunk, n - first).astype(np.int32)
    chunks = [recording.samples[:, begin : begin + size].ravel() for begin, size in zip(first, count, strict=True)]
    if chunks:
        windows.advance(
            np.repeat(row, len(first)).astype(np.int32),
            EARLIEST_US + np.rint(first * (US_PER_S / recording.rate_hz)).astype(np.int64),
            np.full(len(first), recording.rate_hz),
            np.full(len(first), leads, np.int32),
            np.full(len(first), recording.gain_uv),
            count,
            np.concatenate(chunks),
        )
    newest = windows.newest(row)
    if newest.context[0, 0] == 0.0:
        return "~"
    scores = slot.score({"beats": newest.beats, "context": newest.context})
    return None if scores is None else CLASSES[int(scores.values[0].argmax())]

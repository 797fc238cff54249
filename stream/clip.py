"""The rhythm of a short recording as a whole, in the four classes of the CinC Challenge 2017: N, A, O or ~.

The live path's own window of recent beats at the end of the recording, and the model that serves.
"""

from __future__ import annotations

from typing import Final

from stream.gateways.wfdb import Recording
from stream.modelslot import ModelSlot
from stream.whole import advanced
from vitals.errors import Fault

LONGEST_S: Final = 120.0
CLASSES: Final = ("N", "A", "O", "~")
"""In the order of the columns of ``ECG_AF``: sinus rhythm, atrial fibrillation, another rhythm, too noisy."""


def rhythm_of(recording: Recording, slot: ModelSlot) -> str | None:
    """Its class; None where no model serves, ``~`` where there is not one second of a signal that a monitor sends."""
    try:
        windows, rows, _ = advanced([recording.samples], recording)
    except Fault:
        return "~"
    newest = windows.newest(rows)
    if newest.context[0, 0] == 0.0:
        return "~"
    scores = slot.score({"beats": newest.beats, "context": newest.context})
    return None if scores is None else CLASSES[int(scores.values[0].argmax())]

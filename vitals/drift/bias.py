"""Whether a glucose sensor reads higher or lower from one reading to the next than blood can.

A lasting bias of a sensor cannot be told from the person's glucose by its readings alone; its coming can. Glucose goes
on nearly as it went: a line through two readings before a moment and a line through two after it meet there within
a few mg/dL, and a step keeps them apart. How far they come apart in a week is a matter of the sensor and how it
filters: each is held against itself, and one that steps all the time is not told of.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.units import US_PER_S

NOTHING: Final = 0
BEGAN: Final = 1
ENDED: Final = 2

_LEAST_MG_DL: Final = 13.0
_TIMES: Final = 1.5
"""A step has to be so much greater than any of the last week."""
_WEEK: Final = 2016
_LEARNT: Final = 288
_SETTLING: Final = 12
_BEND: Final = 0.8
"""Glucose may turn, after a meal: then the slope changes by as much as the lines are apart. A step leaves it."""
_STILL_THERE: Final = 0.5
"""Seen without the first reading after it, a step is still there; a single wrong reading is not."""
_LONGEST_US: Final = 400 * US_PER_S
_SHORTEST_US: Final = 40 * US_PER_S
_EVEN: Final = 2
_SEEN: Final = 5

FIELDS: Final = [
    ("jump_mg_dl", np.float32),  # the greatest of the last week, fading
    ("step_mg_dl", np.float32),
    ("step_us", np.int64),
    ("step_readings", np.int32),  # since the step that was told; 0 none
]
STEP: Final = np.dtype([("from_us", np.int64), ("size_mg_dl", np.float32), ("said", np.uint8)], align=True)
"""What a reading says of it."""


@kernel
def take_reading(state, kept):
    """Of the newest of the last ``kept`` readings: NOTHING, or that a bias BEGAN or has ENDED, and is in ``state``."""
    said = NOTHING
    if state.step_readings > 0:
        state.step_readings += 1
        if state.step_readings > _SETTLING:
            state.step_readings = 0
            said = ENDED
    if state.count < _SEEN or not _even(state, kept):
        return said
    newest = state.count - 1
    b = np.float64(state.glucose_mg_dl[(newest - 4) % kept])
    c = np.float64(state.glucose_mg_dl[(newest - 3) % kept])
    d = np.float64(state.glucose_mg_dl[(newest - 2) % kept])
    e = np.float64(state.glucose_mg_dl[(newest - 1) % kept])
    f = np.float64(state.glucose_mg_dl[newest % kept])
    step = 0.5 * (3.0 * d - e - 3.0 * c + b)
    later = 2.0 * e - f - 2.0 * c + b
    bend = (e - d) - (c - b)
    limit = max(_LEAST_MG_DL, _TIMES * state.jump_mg_dl)
    state.jump_mg_dl = max(abs(step), state.jump_mg_dl * (1.0 - 1.0 / _WEEK))
    stays = later > _STILL_THERE * limit if step > 0.0 else later < -_STILL_THERE * limit
    straight = abs(bend) < _BEND * abs(step)
    if state.count > _LEARNT and state.step_readings == 0 and abs(step) > limit and stays and straight:
        state.step_mg_dl = step
        state.step_us = state.time_us[(newest - 2) % kept]
        state.step_readings = 1
        return BEGAN
    return said


@kernel
def _even(state, kept):
    """Whether the last readings came at the usual pace of one sensor."""
    shortest, longest = _LONGEST_US, _SHORTEST_US
    for k in range(state.count - _SEEN + 1, state.count):
        between_us = state.time_us[k % kept] - state.time_us[(k - 1) % kept]
        shortest = min(shortest, between_us)
        longest = max(longest, between_us)
    return shortest >= _SHORTEST_US and longest <= _LONGEST_US and longest <= _EVEN * shortest

"""Glucose readings to windows: the last four hours on a five-minute grid that ends at the reading.

One window per taken reading. Everything is event time; only what came before a reading is used for its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.drift import bias
from vitals.drift.changes import Changes
from vitals.events import DriftKind
from vitals.findings import Verdict
from vitals.kernels import kernel
from vitals.rows import Rows, RowTable
from vitals.runs import DUPLICATE, TAKEN, TOO_LATE, Outcome
from vitals.units import S_PER_MIN, US_PER_S

__all__ = ["SCALE_MG_DL", "SPEC", "STEPS", "STEP_US", "GlucoseStep", "GlucoseWindows", "Outcome"]

SPEC: Final = "cgm-5min-48-v1"
STEPS: Final = 48
STEP_US: Final = 5 * S_PER_MIN * US_PER_S
SCALE_MG_DL: Final = 100.0

_KEPT: Final = 256
"""Readings remembered per patient: four hours of one a minute, the fastest monitor on the market."""
_BRIDGED_US: Final = 20 * S_PER_MIN * US_PER_S
_MEASURED_US: Final = STEP_US // 2
_TREND_US: Final = 15 * S_PER_MIN * US_PER_S + STEP_US // 5  # three steps, and a minute of jitter
_TREND_SPAN_US: Final = 4 * S_PER_MIN * US_PER_S
_RECENT_STEPS: Final = 12
_RECENT_KNOWN: Final = 6
"""A forecast needs half an hour of the last hour, measured or bridged."""

_US_PER_MIN: Final = float(S_PER_MIN * US_PER_S)
_GOOD: Final = int(Verdict.GOOD)
_TOO_SHORT: Final = int(Verdict.TOO_SHORT)


@dataclass(frozen=True, slots=True)
class GlucoseStep:
    """What a call made of ``r`` readings: ``n`` windows, one for each that was taken.

    ``outcome``: uint8[r], ``Outcome``. ``windows``: int32[n], the reading that each window ends at.
    ``end_us``: int64[n], its event time. ``trend_mg_dl_min``: float32[n], slope over the last 15 min, NaN unknown.
    ``glucose``: float32[n, 48, 2], oldest first. Channel 0 is mg/dL / 100, linear between readings up to 20 min apart
    and 0 where unknown; channel 1 is 1 where a reading lies within 2.5 min, else 0.
    ``verdict``: uint8[n], GOOD, or TOO_SHORT where there is too little history for a forecast.
    ``changes``: steps of a sensor's bias.
    """

    outcome: npt.NDArray[np.uint8]
    windows: npt.NDArray[np.int32]
    end_us: npt.NDArray[np.int64]
    glucose: npt.NDArray[np.float32]
    trend_mg_dl_min: npt.NDArray[np.float32]
    verdict: npt.NDArray[np.uint8]
    changes: Changes


_STATE: Final = np.dtype(
    [
        ("count", np.int64),
        ("time_us", np.int64, (_KEPT,)),
        ("glucose_mg_dl", np.float32, (_KEPT,)),
        *bias.FIELDS,
    ],
    align=True,
)


class GlucoseWindows:
    """Recent readings of many patients, one row each."""

    def __init__(self) -> None:
        self._table = RowTable(SPEC, np.zeros((), _STATE))

    def add(self, n: int) -> Rows:
        """int32[n]: rows of new patients."""
        return self._table.add(n)

    def free(self, rows: Rows) -> None:
        """Forget the patients in ``rows``."""
        self._table.free(rows)

    def snapshot(self, rows: Rows) -> bytes:
        """The state of ``rows`` as bytes."""
        return self._table.snapshot(rows)

    def rows_in(self, state: bytes) -> int:
        """How many rows this is a snapshot of. Raises ``ValueError`` for any other bytes."""
        return self._table.rows_in(state)

    def restore(self, rows: Rows, state: bytes) -> None:
        """Put a snapshot of as many rows into ``rows``. Raises ``ValueError`` for any other bytes."""
        self._table.restore(rows, state)

    def advance(
        self, rows: Rows, time_us: npt.NDArray[np.int64], glucose_mg_dl: npt.NDArray[np.float32]
    ) -> GlucoseStep:
        """Take ``r`` readings in order; a row may occur more than once. All arguments are arrays of length r."""
        r = len(rows)
        outcome = np.empty(r, np.uint8)
        windows = np.empty(r, np.int32)
        glucose = np.zeros((r, STEPS, 2), np.float32)
        trend = np.empty(r, np.float32)
        verdict = np.empty(r, np.uint8)
        step = np.empty(r, bias.STEP)
        n = _advance(self._table.data, rows, time_us, glucose_mg_dl, outcome, windows, glucose, trend, verdict, step)
        windows = windows[:n]
        end_us = time_us[windows]
        told = np.flatnonzero(step["said"][:n] != bias.NOTHING)
        changes = Changes(
            [DriftKind.BIAS] * len(told),
            rows[windows[told]],
            end_us[told],
            step["said"][told] == bias.BEGAN,
            step["from_us"][told],
            step["size_mg_dl"][told],
        )
        return GlucoseStep(outcome, windows, end_us, glucose[:n], trend[:n], verdict[:n], changes)


@kernel
def _advance(table, rows, time_us, glucose_mg_dl, outcome, windows, glucose, trend, verdict, step):
    n = 0
    for i in range(len(rows)):
        state = table[rows[i]]
        outcome[i] = _taken(state, time_us[i])
        if outcome[i] != TAKEN:
            continue
        at = state.count % _KEPT
        state.time_us[at] = time_us[i]
        state.glucose_mg_dl[at] = glucose_mg_dl[i]
        state.count += 1
        windows[n] = i
        _fill(state, glucose[n])
        trend[n] = _slope(state)
        known = 0
        for k in range(STEPS - _RECENT_STEPS, STEPS):
            known += glucose[n, k, 0] > 0.0
        verdict[n] = _GOOD if known >= _RECENT_KNOWN else _TOO_SHORT
        step[n].said = bias.take_reading(state, _KEPT)
        step[n].from_us = state.step_us
        step[n].size_mg_dl = state.step_mg_dl
        n += 1
    return n


@kernel
def _taken(state, time_us):
    """A second value for a time that is already there is a duplicate, whatever it says: the first one was acted on."""
    oldest = max(0, state.count - _KEPT)
    for k in range(state.count - 1, oldest - 1, -1):
        was_us = state.time_us[k % _KEPT]
        if was_us < time_us:
            return TAKEN if k == state.count - 1 else TOO_LATE
        if was_us == time_us:
            return DUPLICATE
    return TAKEN if state.count == 0 else TOO_LATE


@kernel
def _fill(state, window):
    newest = state.count - 1
    oldest = max(0, state.count - _KEPT)
    end_us = state.time_us[newest % _KEPT]
    after = newest
    for k in range(STEPS):
        at_us = end_us - k * STEP_US
        while after > oldest and state.time_us[(after - 1) % _KEPT] >= at_us:
            after -= 1
        after_us = state.time_us[after % _KEPT]
        after_mg_dl = state.glucose_mg_dl[after % _KEPT]
        if after_us < at_us:
            break
        slot = window[STEPS - 1 - k]
        to_after_us = after_us - at_us
        if to_after_us == 0:
            slot[0] = after_mg_dl / SCALE_MG_DL
            slot[1] = 1.0
            continue
        if after == oldest:  # before the first reading: the nearest, where it is near enough to count as measured
            if to_after_us <= _MEASURED_US:
                slot[0] = after_mg_dl / SCALE_MG_DL
                slot[1] = 1.0
            continue
        before_us = state.time_us[(after - 1) % _KEPT]
        before_mg_dl = state.glucose_mg_dl[(after - 1) % _KEPT]
        to_before_us = at_us - before_us
        measured = min(to_before_us, to_after_us) <= _MEASURED_US
        if after_us - before_us <= _BRIDGED_US:
            share = to_before_us / (after_us - before_us)
            slot[0] = (before_mg_dl + share * (after_mg_dl - before_mg_dl)) / SCALE_MG_DL
        elif measured:
            slot[0] = (before_mg_dl if to_before_us < to_after_us else after_mg_dl) / SCALE_MG_DL
        slot[1] = 1.0 if measured else 0.0


@kernel
def _slope(state):
    """Least squares through the readings of the last 15 min, in mg/dL per minute."""
    newest = state.count - 1
    oldest = max(0, state.count - _KEPT)
    end_us = state.time_us[newest % _KEPT]
    n = 0
    sum_t = sum_g = sum_tt = sum_tg = first_min = 0.0
    for k in range(newest, oldest - 1, -1):
        if end_us - state.time_us[k % _KEPT] > _TREND_US:
            break
        t_min = (state.time_us[k % _KEPT] - end_us) / _US_PER_MIN
        g = np.float64(state.glucose_mg_dl[k % _KEPT])
        n += 1
        sum_t += t_min
        sum_g += g
        sum_tt += t_min * t_min
        sum_tg += t_min * g
        first_min = t_min
    if -first_min * _US_PER_MIN < _TREND_SPAN_US:
        return np.nan
    return (n * sum_tg - sum_t * sum_g) / (n * sum_tt - sum_t * sum_t)

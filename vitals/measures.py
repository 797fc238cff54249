"""From a finding to what its conditions are compared on: one number per condition, NaN where it is not known.

Values come from a topic and are not believed: a number outside what can be is not known. A window that cannot be
believed (a verdict above POOR) says nothing about the patient, with one exception: the newest glucose reading is a
measurement and not a window, so the glucose limits hold for it whatever the verdict on the four hours before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.bed import PVC_CELL_US, PVC_CELLS
from vitals.conditions import Condition
from vitals.findings import FORECAST_HORIZONS_MIN, Task, Verdict
from vitals.kernels import kernel
from vitals.sources import has_rival
from vitals.units import GLUCOSE_MAX_MG_DL, GLUCOSE_MIN_MG_DL, US_PER_MS, US_PER_S

_C = Condition

MEASURED: Final[dict[Task, tuple[Condition, ...]]] = {
    Task.ECG_RHYTHM: (
        _C.VENTRICULAR_FIBRILLATION, _C.ASYSTOLE, _C.EXTREME_TACHYCARDIA, _C.EXTREME_BRADYCARDIA, _C.HEART_RATE_HIGH,
        _C.HEART_RATE_LOW, _C.IRREGULAR_RHYTHM, _C.ECG_FLAT, _C.ECG_LEAD_OFF, _C.ECG_POOR_SIGNAL,
        _C.ECG_TWO_MONITORS, _C.ECG_CLOCK_WRONG,
    ),
    Task.ECG_BEAT: (_C.VENTRICULAR_TACHYCARDIA, _C.PVC_RUN, _C.PVC_FREQUENT, _C.BEAT_MODEL_DOWN),
    Task.GLUCOSE: (
        _C.GLUCOSE_VERY_LOW, _C.GLUCOSE_LOW, _C.GLUCOSE_LOW_PREDICTED, _C.GLUCOSE_FALLING_FAST, _C.GLUCOSE_VERY_HIGH,
        _C.GLUCOSE_HIGH, _C.GLUCOSE_RISING_FAST, _C.GLUCOSE_FROZEN, _C.GLUCOSE_MODEL_DOWN,
    ),
    Task.PNEUMONIA: (_C.PNEUMONIA_SUSPECTED,),
    Task.BREAST: (_C.BREAST_MALIGNANCY_SUSPECTED,),
    Task.ECG_AF: (_C.ATRIAL_FIBRILLATION,),
}  # fmt: skip
"""The conditions of a task in the order in which ``measure`` fills them; those of ``NO_DATA`` have no measure."""

PREDICTED_MIN: Final = 30
"""How far ahead a low is alarmed."""
_NEAR: Final = tuple(h for h in FORECAST_HORIZONS_MIN if h <= PREDICTED_MIN)
NEAR: Final = len(_NEAR)

READ: Final[dict[Task, tuple[str, ...]]] = {
    Task.ECG_RHYTHM: (
        "heart_rate_bpm",
        "since_beat_ms",
        "rr_irregularity",
        "vf_index",
        "rate_of_5_bpm",
        "rate_of_17_bpm",
    ),
    Task.ECG_BEAT: ("p_n", "p_s", "p_v", "p_f", "p_q", "rr_pre_ms", "rr_post_ms"),
    Task.GLUCOSE: (
        "glucose_mg_dl",
        *(f"h{h:02d}_p_below_70" for h in _NEAR),
        *(f"h{h:02d}_p_below_54" for h in _NEAR),
        *(f"h{h:02d}_p_above_250" for h in _NEAR),
        "trend_mg_dl_min",
    ),
    Task.PNEUMONIA: ("p_pneumonia",),
    Task.BREAST: ("p_malignant",),
    Task.ECG_AF: ("p_af",),
}
"""Columns of a finding that are read here and in ``vitals/hazards.py``, in the order of the kernels' ``values``."""

ADDED: Final = frozenset({"rate_of_5_bpm", "rate_of_17_bpm"})
"""Columns that older findings do not have: there they are not known."""

RHYTHM_TASK: Final = 1
BEAT_TASK: Final = 0
GLUCOSE_TASK: Final = 2
AF_TASK: Final = 5
"""Places of the vital streams in the order of ``Task``; a test holds them to it."""

_POOR: Final = int(Verdict.POOR)
_FLAT: Final = int(Verdict.FLAT)
_LEAD_OFF: Final = int(Verdict.LEAD_OFF)

_STEADY_US: Final = 15 * US_PER_S
"""A clock that is wrong stays as wrong as it is within so much; bundles of a monitor are shorter."""
_LEVEL_MG_DL: Final = 140.0
"""A fall is alarmed below this level, a rise above it: a fast fall from 270 is what the insulin was for."""
_TREND_MAX: Final = 40.0
_SENSOR_MIN_MG_DL: Final = 40.0
_SENSOR_MAX_MG_DL: Final = 400.0

_HEART_RATE_MAX_BPM: Final = 400.0
_VENTRICULAR_CLASS: Final = 2
_CLASSES: Final = 5
_FAST_RR_MS: Final = 600.0  # 100 beats a minute
_RUN_BROKEN_US: Final = 3 * US_PER_S
_RUN: Final = 3
_TACHYCARDIA_RUN: Final = 5


@kernel
def within(value, lowest, highest):  # type: ignore[no-untyped-def]
    """``value`` where it lies between the two, else NaN."""
    return value if lowest <= value <= highest else np.nan


@kernel
def measure(task, bed, values, i, end_us, input_ms, verdict, by_rules, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (float64[conditions of the task]) from finding ``i`` of ``values`` (float64[columns, n])."""
    if task == RHYTHM_TASK:
        _rhythm(bed, values, i, end_us, input_ms, verdict, out)
    elif task == BEAT_TASK:
        _beat(bed, values, i, end_us, verdict, by_rules, out)
    elif task == GLUCOSE_TASK:
        _glucose(bed, values, i, end_us, verdict, by_rules, out)
    else:
        out[0] = within(values[0, i], 0.0, 1.0) if verdict <= _POOR else np.nan


@kernel
def _rhythm(bed, values, i, end_us, input_ms, verdict, out):  # type: ignore[no-untyped-def]
    out[:7] = np.nan
    if verdict <= _POOR:
        rate = within(values[0, i], 0.0, _HEART_RATE_MAX_BPM)
        out[0] = within(values[3, i], 0.0, 1.0)
        out[1] = within(values[1, i], 0.0, np.inf) / 1000.0
        out[2] = within(values[5, i], 0.0, _HEART_RATE_MAX_BPM)
        out[3] = within(values[4, i], 0.0, _HEART_RATE_MAX_BPM)
        out[4] = rate
        out[5] = rate
        out[6] = within(values[2, i], 0.0, 1.0)
    out[7] = 1.0 if verdict == _FLAT else 0.0
    out[8] = 1.0 if verdict == _LEAD_OFF else 0.0
    out[9] = 1.0 if verdict > _POOR and verdict not in (_FLAT, _LEAD_OFF) else 0.0
    out[10] = 1.0 if has_rival(bed, RHYTHM_TASK, end_us) else 0.0
    out[11] = _clock_wrong_s(bed, end_us, input_ms)


@kernel
def _clock_wrong_s(bed, end_us, input_ms):  # type: ignore[no-untyped-def]
    """How far the monitor's clock is from that of the broker, s; 0 while that changes, as where a backlog drains."""
    if input_ms == 0:
        return np.nan
    away_us = input_ms * US_PER_MS - end_us
    if abs(away_us - bed.clock_us) > _STEADY_US:
        bed.clock_us = away_us
        return 0.0
    return abs(away_us) / US_PER_S


@kernel
def _beat(bed, values, i, end_us, verdict, by_rules, out):  # type: ignore[no-untyped-def]
    cell = end_us // PVC_CELL_US
    passed = min(cell - bed.pvc_cell, PVC_CELLS)
    for k in range(passed):
        bed.pvcs[(cell - k) % PVC_CELLS] = 0
    bed.pvc_cell = cell
    if end_us - bed.last_us[BEAT_TASK] > _RUN_BROKEN_US:
        bed.ventricular_run = 0
        bed.fast_run = 0
    known = verdict <= _POOR
    top = 0
    for k in range(_CLASSES):
        if np.isnan(within(values[k, i], 0.0, 1.0)):
            known = False
        elif values[k, i] > values[top, i]:
            top = k
    out[:3] = np.nan
    if known:
        if top == _VENTRICULAR_CLASS:
            before_ms, after_ms = values[_CLASSES, i], values[_CLASSES + 1, i]
            # of beats that come in pairs the longer interval is no slower rhythm
            fast = 0.0 < before_ms < _FAST_RR_MS or 0.0 < before_ms + after_ms < 2.0 * _FAST_RR_MS
            bed.fast_run = bed.fast_run + 1 if fast else 1
            bed.ventricular_run += 1
            bed.pvcs[cell % PVC_CELLS] += 1
            if bed.ventricular_run >= _RUN:
                bed.run_us = end_us
            if bed.fast_run >= _TACHYCARDIA_RUN:
                bed.tachycardia_us = end_us
        else:
            bed.ventricular_run = 0
            bed.fast_run = 0
        out[0] = bed.fast_run
        out[1] = bed.ventricular_run
        out[2] = bed.pvcs.sum()
    out[3] = 1.0 if by_rules else 0.0


@kernel
def _glucose(bed, values, i, end_us, verdict, by_rules, out):  # type: ignore[no-untyped-def]
    glucose_mg_dl = within(values[0, i], GLUCOSE_MIN_MG_DL, GLUCOSE_MAX_MG_DL)
    out[0] = glucose_mg_dl
    out[1] = glucose_mg_dl
    out[2] = highest(values, 1, i) if verdict <= _POOR else np.nan
    trend_mg_dl_min = within(values[1 + 3 * NEAR, i], -_TREND_MAX, _TREND_MAX)
    below, above = glucose_mg_dl < _LEVEL_MG_DL, glucose_mg_dl > _LEVEL_MG_DL
    out[3] = max(-trend_mg_dl_min if below else 0.0, 0.0) if not np.isnan(trend_mg_dl_min) else np.nan
    out[4] = glucose_mg_dl
    out[5] = glucose_mg_dl
    out[6] = max(trend_mg_dl_min if above else 0.0, 0.0) if not np.isnan(trend_mg_dl_min) else np.nan
    out[7] = _same_reading_s(bed, glucose_mg_dl, end_us)
    out[8] = 1.0 if by_rules else 0.0


@kernel
def _same_reading_s(bed, glucose_mg_dl, end_us):  # type: ignore[no-untyped-def]
    """For how long the sensor has said the same, s. At the ends of its range it has to."""
    if np.isnan(glucose_mg_dl):
        return np.nan
    is_end = glucose_mg_dl <= _SENSOR_MIN_MG_DL or glucose_mg_dl >= _SENSOR_MAX_MG_DL
    if is_end or glucose_mg_dl != bed.reading_mg_dl:
        bed.reading_mg_dl = glucose_mg_dl
        bed.reading_since_us = end_us
    return (end_us - bed.reading_since_us) / US_PER_S


@kernel
def highest(values, first, i):  # type: ignore[no-untyped-def]
    """The greatest of ``NEAR`` probabilities from column ``first`` on; NaN when one of them is none."""
    most = 0.0
    for k in range(first, first + NEAR):
        if np.isnan(within(values[k, i], 0.0, 1.0)):
            return np.nan
        most = max(most, values[k, i])
    return most

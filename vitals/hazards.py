"""What each stream says of the next half hour by itself: a probability of a danger from its latest finding.

These are transparent scores on the scale of a probability, chosen and not fitted: no outcome data lie behind them.
Their anchors are published steps of severity. Between anchors they are straight lines; what a stream sees at once is
joined by noisy-or.

- Heart rate: the steps of NEWS2 (Royal College of Physicians 2017: 51 to 90 scores 0, 91 to 110 and 41 to 50 score 1,
  111 to 130 scores 2, at most 40 and at least 131 score 3) on 0.01, 0.03, 0.10, 0.25, and the extremes beyond them.
- Asystole: from 2 s without a beat on, certain (0.95) at the 4 s of the CinC 2015 definition.
- Fibrillation: nothing up to an index of 0.5, 0.9 at 1. Irregular RR intervals: 0.05 at most.
- Ventricular beats: 10, 30 and 60 in the last minute on 0.02, 0.08 and 0.15; a run of three in the last minute 0.15;
  a ventricular tachycardia (five above 100/min) in the last minute 0.7.
- Glucose: the levels of the ADA (below 70 and below 54 mg/dL) on 0.06 and 0.5, and the forecast of the next 30 min:
  half its probability of a level below 54, a tenth of below 70, a twentieth of above 250.
- Images: 0.12 of the probability of pneumonia (of those in hospital with it 5 to 15 % die within 30 days), 0.01 of
  that of a malignancy, which is no matter of half an hour. Atrial fibrillation says nothing
  of its own: its irregular intervals have said it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.measures import BEAT_TASK, GLUCOSE_TASK, NEAR, RHYTHM_TASK, highest, within
from vitals.units import GLUCOSE_MAX_MG_DL, GLUCOSE_MIN_MG_DL, US_PER_S

RATE_BPM: Final = np.array([30.0, 40.0, 46.0, 51.0, 90.0, 100.0, 120.0, 131.0, 180.0, 220.0])
RATE_SAYS: Final = np.array([0.50, 0.25, 0.03, 0.01, 0.01, 0.03, 0.10, 0.25, 0.40, 0.50])
SINCE_BEAT_S: Final = np.array([2.0, 4.0])
SINCE_BEAT_SAYS: Final = np.array([0.0, 0.95])
VF_INDEX: Final = np.array([0.5, 1.0])
VF_SAYS: Final = np.array([0.0, 0.9])
IRREGULAR_SAYS: Final = 0.05
PVCS_A_MINUTE: Final = np.array([0.0, 10.0, 30.0, 60.0])
PVCS_SAY: Final = np.array([0.003, 0.02, 0.08, 0.15])
RUN_SAYS: Final = 0.15
TACHYCARDIA_SAYS: Final = 0.7
RECENT_US: Final = 60 * US_PER_S
GLUCOSE_MG_DL: Final = np.array([40.0, 54.0, 60.0, 70.0, 80.0, 180.0, 250.0, 300.0, 400.0, 600.0])
GLUCOSE_SAYS: Final = np.array([0.90, 0.50, 0.20, 0.06, 0.02, 0.01, 0.03, 0.06, 0.15, 0.30])
BELOW_54_SAYS: Final = 0.5
BELOW_70_SAYS: Final = 0.1
ABOVE_250_SAYS: Final = 0.05
SHARE_SAYS: Final = np.array([0.0, 0.0, 0.0, 0.12, 0.01, 0.0])
"""Of the probability that a model gives, in the order of ``Task``."""
_POOR: Final = 1


@kernel
def hazard(task, bed, values, i, end_us, verdict):  # type: ignore[no-untyped-def]
    """What finding ``i`` says, 0..1, after ``measure`` has seen it; NaN when it says nothing."""
    if task == GLUCOSE_TASK:
        return _glucose(values, i, verdict)
    if verdict > _POOR:
        return np.nan
    if task == RHYTHM_TASK:
        return _rhythm(values, i)
    if task == BEAT_TASK:
        return _beat(bed, values, i, end_us)
    return SHARE_SAYS[task] * within(values[0, i], 0.0, 1.0)


@kernel
def _rhythm(values, i):  # type: ignore[no-untyped-def]
    rate = within(values[0, i], 0.0, 400.0)
    since_s = within(values[1, i], 0.0, np.inf) / 1000.0
    index = within(values[3, i], 0.0, 1.0)
    if np.isnan(rate) and np.isnan(since_s) and np.isnan(index):
        return np.nan
    safe = 1.0
    if not np.isnan(rate):
        safe *= 1.0 - _line(rate, RATE_BPM, RATE_SAYS)
    if not np.isnan(since_s):
        safe *= 1.0 - _line(since_s, SINCE_BEAT_S, SINCE_BEAT_SAYS)
    if not np.isnan(index):
        safe *= 1.0 - _line(index, VF_INDEX, VF_SAYS)
    irregular = within(values[2, i], 0.0, 1.0)
    if not np.isnan(irregular):
        safe *= 1.0 - IRREGULAR_SAYS * irregular
    return 1.0 - safe


@kernel
def _beat(bed, values, i, end_us):  # type: ignore[no-untyped-def]
    for k in range(5):
        if np.isnan(within(values[k, i], 0.0, 1.0)):
            return np.nan
    safe = 1.0 - _line(float(bed.pvcs.sum()), PVCS_A_MINUTE, PVCS_SAY)
    if end_us - bed.run_us < RECENT_US:
        safe *= 1.0 - RUN_SAYS
    if end_us - bed.tachycardia_us < RECENT_US:
        safe *= 1.0 - TACHYCARDIA_SAYS
    return 1.0 - safe


@kernel
def _glucose(values, i, verdict):  # type: ignore[no-untyped-def]
    glucose_mg_dl = within(values[0, i], GLUCOSE_MIN_MG_DL, GLUCOSE_MAX_MG_DL)
    if np.isnan(glucose_mg_dl):
        return np.nan
    safe = 1.0 - _line(glucose_mg_dl, GLUCOSE_MG_DL, GLUCOSE_SAYS)
    if verdict <= _POOR:
        below_70 = highest(values, 1, i)
        below_54 = highest(values, 1 + NEAR, i)
        above_250 = highest(values, 1 + 2 * NEAR, i)
        if not np.isnan(below_70 + below_54 + above_250):
            safe *= (1.0 - BELOW_54_SAYS * below_54) * (1.0 - BELOW_70_SAYS * below_70)
            safe *= 1.0 - ABOVE_250_SAYS * above_250
    return 1.0 - safe


@kernel
def _line(x, xs, ys):  # type: ignore[no-untyped-def]
    """Straight lines between the points, level beyond the ends."""
    if x <= xs[0]:
        return ys[0]
    for k in range(1, len(xs)):
        if x <= xs[k]:
            return ys[k - 1] + (ys[k] - ys[k - 1]) * (x - xs[k - 1]) / (xs[k] - xs[k - 1])
    return ys[-1]

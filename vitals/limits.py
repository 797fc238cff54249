"""Alarm limits: unit, adult default, guard rails inside which a person may move it for a patient, and source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from vitals.conditions import Condition


@dataclass(frozen=True, slots=True)
class Limit:
    """``lowest`` and ``highest`` are guard rails: a limit outside them is refused, never clamped."""

    unit: str
    default: float
    lowest: float
    highest: float
    source: str

    @property
    def adjustable(self) -> bool:
        """Whether a person may change it at all."""
        return self.lowest < self.highest

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies inside the guard rails. NaN does not."""
        return math.isfinite(value) and self.lowest <= value <= self.highest


_CINC = "CinC Challenge 2015, definition of the alarm"
_ADA = "ADA Standards of Care, Glycemic Goals and Hypoglycemia: level 1 below 70, level 2 below 54 mg/dL"
_CGM = "Battelino et al. 2019, International Consensus on Time in Range: above 180, above 250 mg/dL"
_BEDSIDE = "factory default of adult bedside monitors (Philips IntelliVue: 50 to 120/min, 10 PVCs/min)"
_RATE = "the double arrow of the CGMs on the market: 3 mg/dL a minute and more"
_FIXED = "yes or no: nothing to adjust"
_OURS = "chosen here, not fitted"
_MEASURED = "chosen on recordings: see below"

ADULT: Final[dict[Condition, Limit]] = {
    Condition.VENTRICULAR_FIBRILLATION: Limit("", 0.5, 0.3, 0.9, _MEASURED),
    Condition.ASYSTOLE: Limit("s", 4.0, 3.0, 6.0, _CINC),
    Condition.EXTREME_TACHYCARDIA: Limit("/min", 140.0, 120.0, 200.0, _CINC),
    Condition.EXTREME_BRADYCARDIA: Limit("/min", 40.0, 25.0, 50.0, _CINC),
    Condition.HEART_RATE_HIGH: Limit("/min", 120.0, 70.0, 180.0, _BEDSIDE),
    Condition.HEART_RATE_LOW: Limit("/min", 50.0, 30.0, 100.0, _BEDSIDE),
    Condition.IRREGULAR_RHYTHM: Limit("", 0.7, 0.3, 0.95, _MEASURED),
    Condition.ECG_FLAT: Limit("", 1.0, 1.0, 1.0, _FIXED),
    Condition.ECG_LEAD_OFF: Limit("", 1.0, 1.0, 1.0, _FIXED),
    Condition.ECG_POOR_SIGNAL: Limit("", 1.0, 1.0, 1.0, _FIXED),
    Condition.ECG_NO_DATA: Limit("s", 10.0, 5.0, 60.0, _OURS),
    Condition.ECG_TWO_MONITORS: Limit("", 1.0, 1.0, 1.0, _FIXED),
    Condition.ECG_CLOCK_WRONG: Limit("s", 30.0, 10.0, 600.0, _OURS),
    Condition.VENTRICULAR_TACHYCARDIA: Limit("beats", 5.0, 3.0, 15.0, _CINC),
    Condition.PVC_RUN: Limit("beats", 3.0, 3.0, 15.0, "three or more in a row are a run, AHA/ACC/HRS 2017"),
    Condition.PVC_FREQUENT: Limit("/min", 10.0, 3.0, 60.0, _BEDSIDE),
    Condition.BEAT_MODEL_DOWN: Limit("", 1.0, 1.0, 1.0, _FIXED),
    Condition.ATRIAL_FIBRILLATION: Limit("", 0.5, 0.2, 0.9, _OURS),
    Condition.GLUCOSE_VERY_LOW: Limit("mg/dL", 54.0, 50.0, 70.0, _ADA),
    Condition.GLUCOSE_LOW: Limit("mg/dL", 70.0, 60.0, 100.0, _ADA),
    Condition.GLUCOSE_LOW_PREDICTED: Limit("", 0.5, 0.2, 0.9, _OURS),
    Condition.GLUCOSE_FALLING_FAST: Limit("mg/dL/min", 3.0, 2.0, 5.0, _RATE),
    Condition.GLUCOSE_VERY_HIGH: Limit("mg/dL", 250.0, 200.0, 400.0, _CGM),
    Condition.GLUCOSE_HIGH: Limit("mg/dL", 180.0, 120.0, 300.0, _CGM),
    Condition.GLUCOSE_RISING_FAST: Limit("mg/dL/min", 3.0, 2.0, 5.0, _RATE),
    Condition.GLUCOSE_FROZEN: Limit("s", 5400.0, 1800.0, 14_400.0, _MEASURED),
    Condition.GLUCOSE_MODEL_DOWN: Limit("", 1.0, 1.0, 1.0, _FIXED),
    Condition.GLUCOSE_NO_DATA: Limit("s", 1200.0, 600.0, 3600.0, "signal-loss alert of the CGMs on the market: 20 min"),
    Condition.PNEUMONIA_SUSPECTED: Limit("", 0.5, 0.1, 0.9, _OURS),
    Condition.BREAST_MALIGNANCY_SUSPECTED: Limit("", 0.5, 0.1, 0.9, _OURS),
    Condition.ALARM_FLOOD: Limit("alarms", 10.0, 10.0, 10.0, "EEMUA 191, IEC 62682: ten alarms in ten minutes"),
}
"""Defaults of the adult class."""

LADDERS: Final[tuple[tuple[Condition, ...], ...]] = (
    (
        Condition.EXTREME_BRADYCARDIA,
        Condition.HEART_RATE_LOW,
        Condition.HEART_RATE_HIGH,
        Condition.EXTREME_TACHYCARDIA,
    ),
    (
        Condition.GLUCOSE_VERY_LOW,
        Condition.GLUCOSE_LOW,
        Condition.GLUCOSE_HIGH,
        Condition.GLUCOSE_VERY_HIGH,
    ),
)
"""Limits of one quantity, which must stay in this order: a change that would cross two is refused."""

"""Which measures speak about which type of alarm, and in which direction: +1 for a true alarm, -1 against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SIGNS: Final[Mapping[str, Mapping[str, int]]] = {
    "Asystole": {"gap_all": 1, "gap_least": 1, "steady_ecg": -1, "steady_pulse": -1},
    "Bradycardia": {"slow5": -1, "slow5_most": -1, "slow5_all": -1, "gap": 1, "steady_pulse": -1},
    "Tachycardia": {"fast17_most": 1, "fast17": 1, "fast17_pulse": 1, "fast17_all": 1},
    "Ventricular_Flutter_Fib": {"vf_least": 1, "vf": 1, "steady_ecg": -1, "steady_pulse": -1},
    "Ventricular_Tachycardia": {
        "run5_v": 1, "run5_odd": 1, "run5_odd_least": 1, "run5_broad": 1, "fast5": 1, "pure_least": 1, "pure_rise": 1,
        "steady_ecg": -1, "steady_pulse": -1, "pulse_weakest": -1, "v_before": -1,
    },
}  # fmt: skip

"""Which measures speak about which type of alarm, and in which direction: +1 for a true alarm, -1 against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.verdicts.fitting import Signs

SIGNS: Final[Mapping[str, Signs]] = {
    "Asystole": Signs({"pause": 1, "pulse_pause": 1}),
    "Bradycardia": Signs({"slowest_pulse": -1}),
    "Tachycardia": Signs({"fastest_pulse": 1, "fastest_17": 1}),
    "Ventricular_Flutter_Fib": Signs({"fibrillation": 1, "steady_pulse": -1}),
    "Ventricular_Tachycardia": Signs(
        {"pulse_break": 1},
        {"ventricular": 1, "odd": 1, "alike": 1, "periodic": 1, "slow": 1, "pulse_goes_on": -1},
    ),
}

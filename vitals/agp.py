"""The ambulatory glucose profile: the figures and curves by which a diabetes team reads two weeks of a glucose monitor.

Definitions: Battelino et al. 2019, doi:10.2337/dci19-0028 (ranges, 14 days, at least 70 % of them measured, coefficient
of variation); GMI: Bergenstal et al. 2018, doi:10.2337/dc18-1581. Hours of the day are the wearer's own: the caller
brings the local minute of every step, across daylight saving too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.units import S_PER_MIN, US_PER_S

DAYS: Final = 14
STEP_US: Final = 5 * S_PER_MIN * US_PER_S
STEPS_PER_DAY: Final = 288
ENOUGH: Final = 0.7
"""Share of the 14 days that must be measured for figures to stand for the person."""

RANGES: Final = ("very low", "low", "in range", "high", "very high")
LIMITS_MG_DL: Final = (54.0, 70.0, 180.0, 250.0)
"""Very low is below the first; in range takes both of its limits in; very high is above the last."""

PERCENTILES: Final = (5, 25, 50, 75, 95)
SLOT_MIN: Final = 15
SLOTS: Final = 24 * 60 // SLOT_MIN
_FEWEST_IN_SLOT: Final = 15
"""Five days of one 15 min slot at one reading in 5 min: below that its 5th percentile is one bad night."""

_NEAREST_US: Final = STEP_US * 3 // 2
"""A step takes the nearest reading so far away: half of the slowest monitor's interval, 15 min."""

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the consensus asks for. ``share``: of the measured time in each of ``RANGES``; they add up to 1.

    ``gmi_percent``: the HbA1c that this mean would go with. ``cv_percent``: standard deviation over mean.
    """

    mean_mg_dl: float
    gmi_percent: float
    cv_percent: float
    share: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """Two weeks of one person.

    ``begin_us``: the first of the 14 days. ``glucose_mg_dl``: float64[4032], every five minutes, NaN where nothing was
    measured. ``active``: share of them that was. ``figures``: None where that is below 70 %. ``curve_mg_dl``:
    float64[96, 5], ``PERCENTILES`` by quarter of an hour of the day, NaN where too little was measured.
    """

    begin_us: int
    active: float
    figures: Figures | None
    glucose_mg_dl: Floats = field(repr=False)
    curve_mg_dl: Floats = field(repr=False)


def stepped(begin_us: int, time_us: Times, glucose_mg_dl: Floats) -> Floats:
    """float64[4032]: 14 days from ``begin_us``, each five minutes the nearest reading within 7.5 min, NaN without one.

    ``time_us``: int64[n], strictly ascending; ``glucose_mg_dl``: float64[n]. A monitor with a reading a minute counts
    no more than one with a reading in fifteen.
    """
    steps_us = step_times(begin_us)
    if not len(time_us):
        return np.full(len(steps_us), np.nan)
    after = np.searchsorted(time_us, steps_us).clip(1, max(len(time_us) - 1, 1))
    hi, lo = np.minimum(after, len(time_us) - 1), after - 1
    nearest = np.where(np.abs(time_us[hi] - steps_us) < np.abs(steps_us - time_us[lo]), hi, lo)
    near = np.abs(time_us[nearest] - steps_us) <= _NEAREST_US
    return np.where(near, glucose_mg_dl[nearest], np.nan)


def step_times(begin_us: int) -> Times:
    """int64[4032]: the moments of the steps."""
    return begin_us + STEP_US * np.arange(DAYS * STEPS_PER_DAY, dtype=np.int64)


def profile(begin_us: int, time_us: Times, glucose_mg_dl: Floats, minute_of_day: npt.NDArray[np.int64]) -> Profile:
    """The profile of the 14 days from ``begin_us``.

    ``time_us``, ``glucose_mg_dl``: as for ``stepped``. ``minute_of_day``: int64[4032], 0 to 1439, of every step.
    """
    steps = stepped(begin_us, time_us, glucose_mg_dl)
    known = ~np.isnan(steps)
    active = float(known.mean())
    return Profile(
        begin_us,
        active,
        figures(steps[known]) if active >= ENOUGH else None,
        steps,
        _curve(steps, minute_of_day // SLOT_MIN),
    )


def figures(glucose_mg_dl: Floats) -> Figures:
    """Of ``glucose_mg_dl``: float64[n], n ≥ 1, each standing for the same time."""
    g, mean = glucose_mg_dl, float(glucose_mg_dl.mean())
    very_low, low, high, very_high = LIMITS_MG_DL
    within = (g < very_low, (g >= very_low) & (g < low), (g >= low) & (g <= high), (g > high) & (g <= very_high),
              g > very_high)  # fmt: skip
    return Figures(
        mean_mg_dl=mean,
        gmi_percent=3.31 + 0.02392 * mean,
        cv_percent=100.0 * float(g.std()) / mean,
        share=tuple(float(inside.mean()) for inside in within),
    )


def _curve(steps: Floats, slot: npt.NDArray[np.int64]) -> Floats:
    """Each slot with its neighbours on both sides, as a smooth profile is drawn; the day is a circle."""
    curve = np.full((SLOTS, len(PERCENTILES)), np.nan)
    known = ~np.isnan(steps)
    values, where = steps[known], slot[known]
    for at in range(SLOTS):
        near = values[np.isin(where, [(at - 1) % SLOTS, at, (at + 1) % SLOTS])]
        if len(near) >= _FEWEST_IN_SLOT * 3:
            curve[at] = np.percentile(near, PERCENTILES)
    return curve

"""What is true of a window: symbols, words and later readings turned into targets. Nothing else gives a label.

Class order is the order of the probability columns of the finding (``vitals.findings.COLUMNS``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.conditions import Condition
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, Task
from vitals.units import S_PER_MIN, US_PER_MS, US_PER_S

BEAT_CLASSES: Final = ("n", "s", "v", "f", "q")
CLASSES: Final[dict[Task, tuple[str, ...]]] = {
    Task.ECG_BEAT: BEAT_CLASSES,
    Task.PNEUMONIA: ("normal", "pneumonia"),
    Task.BREAST: ("malignant", "benign"),
    Task.ECG_AF: ("normal", "af", "other", "noise"),
}

# ANSI/AAMI EC57:2012, table 1; nodal escapes (e, j) count as N (de Chazal 2004, doi:10.1109/TBME.2004.827359).
AAMI_CLASS: Final[dict[str, int]] = {
    symbol: index for index, symbols in enumerate(("NLRej", "AaJS", "VE", "F", "/fQ")) for symbol in symbols
}

Q: Final = BEAT_CLASSES.index("q")
CLIP_CLASS: Final = {"N": 0, "A": 1, "O": 2, "~": 3}
"""Words of the CinC Challenge 2017."""

NO_BEAT: Final = -1
"""A detection where the reference has no beat: nothing to learn, but an alarm if it is called V."""
LEFT_OUT: Final = -2

PACED: Final = frozenset({"mitdb/102", "mitdb/104", "mitdb/107", "mitdb/217"})
"""EC57 leaves these out. Here their paced beats teach Q, and nothing else of them teaches anything."""

SAME_PERSON: Final = {
    "cinc2017/A01176": "cinc2017/A00227",
    "mitdb/202": "mitdb/201",
    "cgm_glucobench/colas/18": "cgm_glucobench/colas/17",
    "cgm_glucose_ml/T1D-UOM/UoMGlucose2303": "cgm_glucose_ml/T1D-UOM/UoMGlucose2304",
}
"""Two names of one human being. Records 201 and 202 of MIT-BIH are of one man (its own directory of records). The two
of CinC 2017 are one recording. Of the two people of Colas every window is the same to the bit, of those of T1D-UOM nine
in ten of the smaller set: whatever happened at their publishers, one must not be learnt from where the other is judged
by."""

MATCH_US: Final = 150 * US_PER_MS
"""EC57: a detection within 150 ms of a reference beat is that beat."""

BRIDGE_US: Final = 20 * S_PER_MIN * US_PER_S
"""A later glucose value is read between two readings at most this far apart; beyond, it is not known."""

LIMITS_MG_DL: Final = tuple(float(limit.rpartition("_")[2]) for limit in FORECAST_LIMITS)
LIMIT_IS_UPPER: Final = tuple(limit.startswith("above") for limit in FORECAST_LIMITS)


@dataclass(frozen=True, slots=True)
class AlarmWindows:
    """What a judged alarm says of the windows that it came from: those that ended up to ``before_us`` before its onset.

    ``called``: of these only the windows that the network held most likely to be of this class; None for all.
    ``true``, ``false``: what they are when the alarm was; None where that names no class. Of a false run of
    ventricular beats nobody has said what the beats were. A true alarm that called for nothing ("not-actionable") says
    that the alarm was not worth it, which is about its limit, and nothing of its windows.
    """

    task: Task
    called: int | None
    before_us: int
    true: str
    false: str | None

    def word(self, judgement: str) -> str | None:
        """The label of the windows, None where the judgement names no class."""
        return {"true": self.true, "false": self.false}.get(judgement)

    def covers(self, end_us: int, onset_us: int) -> bool:
        """Whether a window that ended at ``end_us`` is one that an alarm of ``onset_us`` came from."""
        return onset_us - self.before_us <= end_us <= onset_us


OF_ALARM: Final[dict[Condition, AlarmWindows]] = {
    Condition.PNEUMONIA_SUSPECTED: AlarmWindows(Task.PNEUMONIA, None, 0, "pneumonia", "normal"),
    Condition.BREAST_MALIGNANCY_SUSPECTED: AlarmWindows(Task.BREAST, None, 0, "malignant", "benign"),
    # five beats faster than 100/min, three in a row at any rate: such an alarm begins with the last of them
    Condition.VENTRICULAR_TACHYCARDIA: AlarmWindows(Task.ECG_BEAT, 2, 4 * 600 * US_PER_MS, "v", None),
    Condition.PVC_RUN: AlarmWindows(Task.ECG_BEAT, 2, 3 * US_PER_S, "v", None),
    Condition.ATRIAL_FIBRILLATION: AlarmWindows(Task.ECG_AF, 1, 60 * US_PER_S, "af", None),
}
"""Alarms of models whose judgement is a label. Glucose alarms are not among them: the later readings tell the truth."""


def matched(
    detected_us: npt.NDArray[np.int64], reference_us: npt.NDArray[np.int64], tolerance_us: int = MATCH_US
) -> npt.NDArray[np.int64]:
    """int64[detected]: index of the reference beat that each detection is, one to one, -1 for none.

    Both ascending. A reference beat claimed by two detections goes to the nearer one.
    """
    if not len(reference_us) or not len(detected_us):
        return np.full(len(detected_us), -1, dtype=np.int64)
    after = np.clip(np.searchsorted(reference_us, detected_us), 1, max(len(reference_us) - 1, 1))
    after = np.minimum(after, len(reference_us) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(
        np.abs(reference_us[before] - detected_us) <= np.abs(reference_us[after] - detected_us), before, after
    )
    distance = np.abs(reference_us[nearest] - detected_us)
    nearest = np.where(distance <= tolerance_us, nearest, -1).astype(np.int64)
    for twice in np.unique(nearest[:-1][(nearest[:-1] == nearest[1:]) & (nearest[1:] >= 0)]):
        rivals = np.flatnonzero(nearest == twice)
        nearest[np.delete(rivals, np.argmin(distance[rivals]))] = -1
    return nearest


def beat_targets(
    peak_us: npt.NDArray[np.int64], beat_us: npt.NDArray[np.int64], symbol: tuple[str, ...], *, paced: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """int64[detected]: class of each detected R peak, ``NO_BEAT`` or ``LEFT_OUT``; int64[5]: beats nobody detected.

    ``beat_us`` and ``symbol``: all annotations, ascending. Ventricular flutter (``[`` to ``]``) is left out, as EC57
    does: the database marks no beats there. Of a paced record all but Q is left out.
    """
    every = np.array([AAMI_CLASS.get(letter, NO_BEAT) for letter in symbol], dtype=np.int64)
    is_beat = every != NO_BEAT
    reference_us, reference = beat_us[is_beat], every[is_beat]
    match = matched(peak_us, reference_us)
    target = np.where(match >= 0, reference[match], NO_BEAT) if len(reference) else np.full(len(peak_us), NO_BEAT)
    found = np.zeros(len(reference), dtype=bool)
    found[match[match >= 0]] = True
    lost = np.bincount(reference[~found], minlength=len(BEAT_CLASSES))
    for begin_us, end_us in _flutter(beat_us, symbol):
        target[(peak_us >= begin_us) & (peak_us <= end_us)] = LEFT_OUT
    if paced:
        target[target != Q] = LEFT_OUT
        lost[:Q] = 0
    return target, lost


def _flutter(beat_us: npt.NDArray[np.int64], symbol: tuple[str, ...]) -> list[tuple[int, int]]:
    intervals, begin_us = [], None
    for at_us, letter in zip(beat_us.tolist(), symbol, strict=True):
        if letter == "[":
            begin_us = at_us
        elif letter == "]" and begin_us is not None:
            intervals.append((begin_us, at_us))
            begin_us = None
    return intervals


def future_mg_dl(
    end_us: npt.NDArray[np.int64], time_us: npt.NDArray[np.int64], glucose_mg_dl: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """float32[n, 12]: glucose at each horizon after ``end_us``, NaN where it is not known.

    ``time_us`` strictly ascending. Linear between the readings on both sides when they are at most 20 min apart.
    """
    horizon_us = np.array(FORECAST_HORIZONS_MIN, dtype=np.int64) * S_PER_MIN * US_PER_S
    wanted_us = (end_us[:, None] + horizon_us[None, :]).ravel()
    after = np.searchsorted(time_us, wanted_us)
    inside = (after > 0) & (after < len(time_us))
    hi = np.where(inside, after, min(1, len(time_us) - 1))
    lo = np.maximum(hi - 1, 0)
    gap_us = time_us[hi] - time_us[lo]
    share = np.where(gap_us > 0, (wanted_us - time_us[lo]) / np.maximum(gap_us, 1), 0.0)
    value = glucose_mg_dl[lo] + share * (glucose_mg_dl[hi] - glucose_mg_dl[lo])
    known = inside & (gap_us <= BRIDGE_US)
    # a reading exactly at the wanted time is known whatever surrounds it
    exact = inside & (time_us[hi] == wanted_us)
    value = np.where(exact, glucose_mg_dl[hi], value)
    return np.where(known | exact, value, np.nan).astype(np.float32).reshape(len(end_us), len(FORECAST_HORIZONS_MIN))


def first_truth_us(end_us: npt.NDArray[np.int64], time_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64[n]: the first reading after each window's end, on which its target leans; the end itself where none is."""
    after = np.searchsorted(time_us, end_us, side="right")
    known = after < len(time_us)
    return np.where(known, time_us[np.minimum(after, len(time_us) - 1)], end_us).astype(np.int64)


def limit_crossed(future_nh: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[n, 12, 4]: 1 where the future value is beyond each limit, 0 where not, NaN where it is not known."""
    value_nhl = future_nh[:, :, None]
    beyond = np.where(np.array(LIMIT_IS_UPPER), value_nhl > np.array(LIMITS_MG_DL), value_nhl < np.array(LIMITS_MG_DL))
    return np.where(np.isnan(value_nhl), np.nan, beyond).astype(np.float32)


def class_of(task: Task, word: str) -> int | None:
    """Class index of what a person wrote (``V``, ``p_v``, ``pneumonia`` …), None when it is not a class of the task."""
    name = word.strip().lower().removeprefix("p_")
    classes = CLASSES.get(task, ())
    return classes.index(name) if name in classes else None

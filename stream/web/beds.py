"""The latest of every bed, as arrays over beds: the newest finding of each task and the newest risk.

Whole batches are taken at once. What is older than what is held changes nothing, so records may be read again or in
any order; only a value dated after its own arrival gives way to one that is dated right.
"""

from __future__ import annotations

import enum
import re
from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.findings import BEAT_AFTER_R_US, FORECAST_HORIZONS_MIN, FORECAST_QUANTILES, FindingBatch, Task, Verdict
from vitals.risk import RiskBatch
from vitals.selftest import is_self_test
from vitals.units import US_PER_S

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]

INPUTS: Final = tuple(Task)
"""Order of the inputs of a risk in the arrays here."""

MAX_NAME: Final = 200
_AHEAD_US: Final = 60 * US_PER_S
_READINGS: Final = 72
_MARKS: Final = 64
_MINUTE_US: Final = 60 * US_PER_S
_CLASSES: Final = "NSVFQ"
_QUANTILE_COLUMNS: Final = tuple(f"q{q:02d}" for q in FORECAST_QUANTILES)
LOOKED_FOR: Final = {Task.PNEUMONIA: "p_pneumonia", Task.BREAST: "p_malignant"}


class Section(enum.IntEnum):
    """The parts of a tile that change on their own."""

    ECG = 0
    GLUCOSE = 1
    IMAGES = 2
    RISK = 3
    ALARMS = 4


@dataclass(slots=True)
class Glucose:
    """Of one bed. ``forecast``: float64[5, 12] mg/dL, quantile by horizon; None where there is none."""

    readings: list[tuple[int, float]] = field(default_factory=list)
    end_us: int = 0
    arrived_us: int = 0
    verdict: Verdict = Verdict.NOT_EVALUATED
    mg_dl: float = float("nan")
    trend_mg_dl_min: float = float("nan")
    forecast: Floats | None = None
    p_low: float = float("nan")
    p_high: float = float("nan")


@dataclass(frozen=True, slots=True)
class Image:
    """Result of one image; ``p`` NaN where it was not evaluated."""

    end_us: int
    arrived_us: int
    verdict: Verdict
    p: float


class Beds:
    """All beds, at most ``capacity``. A row is a bed; ``seen_us`` 0 marks a row that is free."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.roster = 0
        """Grows whenever a bed comes or goes."""
        self.turned_away = 0
        self._free: list[int] = []
        self._change = 0
        self.version: Ints = np.zeros((capacity, len(Section)), np.int64)
        self.seen_us: Ints = np.zeros(capacity, np.int64)
        self.ecg_us: Ints = np.zeros(capacity, np.int64)
        self.ecg_arrived_us: Ints = np.zeros(capacity, np.int64)
        self.ecg_verdict: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.heart_rate: Floats = np.full(capacity, np.nan)
        self.irregularity: Floats = np.full(capacity, np.nan)
        self.beat_us: Ints = np.zeros(capacity, np.int64)
        self.beat_arrived_us: Ints = np.zeros(capacity, np.int64)
        self.beat_class: npt.NDArray[np.int8] = np.full(capacity, -1, np.int8)
        self.risk_us: Ints = np.zeros(capacity, np.int64)
        self.risk_arrived_us: Ints = np.zeros(capacity, np.int64)
        self.risk_band: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.risk: Floats = np.full((capacity, 3), np.nan)
        """Probability, lower and upper end of its interval."""
        self.risk_horizon_min = 0
        self.input_state: npt.NDArray[np.uint8] = np.zeros((capacity, len(INPUTS)), np.uint8)
        self.input_age_s: Floats = np.full((capacity, len(INPUTS)), np.nan)
        self.input_says: Floats = np.full((capacity, len(INPUTS)), np.nan)
        self.marks: dict[int, deque[tuple[int, str]]] = {}
        """R peak and class of the latest beats that are not normal."""
        self.glucose: dict[int, Glucose] = {}
        self.images: dict[int, dict[Task, Image]] = {}
        self.engines: dict[Task, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self.index)

    def rows_of(self, names: list[str], arrived_us: int) -> Rows:
        """int64[n]: row of each bed, made when new; -1 for one too many, a name beyond its bound, or nobody's."""
        index = self.index
        rows = [index.get(name, -1) for name in names]
        if -1 in rows:
            rows = [self._row(name) if row < 0 else row for name, row in zip(names, rows, strict=True)]
        found = np.array(rows, np.int64)
        known = found[found >= 0]
        self.seen_us[known] = np.maximum(self.seen_us[known], arrived_us)
        return found

    def touch(self, rows: Rows, section: Section) -> None:
        """Mark a section of ``rows`` as changed."""
        self._change += 1
        self.version[rows, section] = self._change

    def take(self, batch: FindingBatch, arrived_us: int) -> None:
        """The findings of one record. Raises ``ValueError``/``IndexError``/``KeyError`` when it does not fit itself."""
        self.engines[batch.task] = (batch.engine, batch.model)
        if not len(batch):
            return
        all_rows = self.rows_of(batch.patients, arrived_us)[np.array(batch.row, np.int64)]
        end_us = np.array(batch.end_us, np.int64)
        verdict = np.array(batch.verdict, np.uint8)
        match batch.task:
            case Task.ECG_RHYTHM:
                self._take_rhythm(batch, all_rows, end_us, verdict, arrived_us)
            case Task.ECG_BEAT:
                self._take_beats(batch, all_rows, end_us, verdict, arrived_us)
            case Task.GLUCOSE:
                self._take_glucose(batch, all_rows, end_us, verdict, arrived_us)
            case Task.PNEUMONIA | Task.BREAST:
                self._take_images(batch, all_rows, end_us, verdict, arrived_us)

    def take_risks(self, batch: RiskBatch, arrived_us: int) -> None:
        """The risks of one record. Raises as ``take`` does."""
        if not len(batch):
            return
        rows = self.rows_of(batch.patients, arrived_us)
        time_us = np.array(batch.time_us, np.int64)
        keep = _newer(rows, time_us, arrived_us, self.risk_us, self.risk_arrived_us)
        if not keep.any():
            return
        inputs = np.array([INPUTS.index(task) for task in batch.inputs], np.int64)
        at = rows[keep]
        self.risk_us[at] = time_us[keep]
        self.risk_arrived_us[at] = arrived_us
        self.risk_band[at] = np.array(batch.band, np.uint8)[keep]
        triple = (batch.probability, batch.lower, batch.upper)
        self.risk[at] = np.array(triple, np.float64).T[keep]
        self.risk_horizon_min = batch.horizon_min
        self.input_state[at[:, None], inputs] = np.array(batch.state, np.uint8).T[keep]
        self.input_age_s[at[:, None], inputs] = np.array(batch.age_s, np.float64).T[keep]
        self.input_says[at[:, None], inputs] = np.array(batch.says, np.float64).T[keep]
        self.touch(at, Section.RISK)

    def ventricular_per_min(self, row: int) -> int:
        """Ventricular beats in the minute before the newest beat."""
        since = int(self.beat_us[row]) - _MINUTE_US
        return sum(1 for r_us, name in self.marks.get(row, ()) if name == "V" and r_us > since)

    def beat(self, row: int) -> str:
        """AAMI class of the newest beat, empty when none was classified."""
        found = int(self.beat_class[row])
        return _CLASSES[found] if found >= 0 else ""

    def let_go(self, row: int) -> None:
        """Forget a bed; its row is used again."""
        name = self.names[row]
        if self.index.pop(name, None) is None:
            return
        self.names[row] = ""
        for zeroed in (self.seen_us, self.ecg_us, self.ecg_arrived_us, self.ecg_verdict, self.beat_us, self.risk_us):
            zeroed[row] = 0
        for unknown in (self.heart_rate, self.irregularity, self.risk, self.input_age_s, self.input_says):
            unknown[row] = np.nan
        self.risk_arrived_us[row] = self.risk_band[row] = 0
        self.input_state[row] = 0
        self.beat_class[row] = -1
        for kept in (self.marks, self.glucose, self.images):
            kept.pop(row, None)
        self._change += 1
        self.version[row] = self._change
        self._free.append(row)
        self.roster += 1

    def silent_since(self, before_us: int) -> list[int]:
        """Rows of the beds from which nothing has arrived since ``before_us``."""
        count = len(self.names)
        return np.flatnonzero((self.seen_us[:count] < before_us) & (self.seen_us[:count] > 0)).tolist()

    def _row(self, name: str) -> int:
        known = self.index.get(name)
        if known is not None:
            return known
        if is_self_test(name):
            return -1
        if not 0 < len(name) <= MAX_NAME or len(self.index) >= self.capacity:
            self.turned_away += 1
            return -1
        if self._free:
            row = self._free.pop()
            self.names[row] = name
        else:
            row = len(self.names)
            self.names.append(name)
        self.index[name] = row
        self.roster += 1
        return row

    def _take_rhythm(
        self, batch: FindingBatch, rows: Rows, end_us: Ints, verdict: npt.NDArray[np.uint8], arrived_us: int
    ) -> None:
        keep = _newer(rows, end_us, arrived_us, self.ecg_us, self.ecg_arrived_us)
        at = rows[keep]
        self.ecg_us[at] = end_us[keep]
        self.ecg_arrived_us[at] = arrived_us
        self.ecg_verdict[at] = verdict[keep]
        self.heart_rate[at] = batch.column("heart_rate_bpm")[keep]
        self.irregularity[at] = batch.column("rr_irregularity")[keep]
        self.touch(at, Section.ECG)

    def _take_beats(
        self, batch: FindingBatch, rows: Rows, end_us: Ints, verdict: npt.NDArray[np.uint8], arrived_us: int
    ) -> None:
        known = np.array([batch.column(f"p_{name.lower()}") for name in _CLASSES])
        believed = (rows >= 0) & (verdict <= Verdict.POOR) & np.isfinite(known).all(axis=0)
        best = known.argmax(axis=0)
        r_us = end_us - BEAT_AFTER_R_US
        for i in np.flatnonzero(believed & (best != 0)).tolist():
            marks = self.marks.setdefault(int(rows[i]), deque(maxlen=_MARKS))
            mark = (int(r_us[i]), _CLASSES[best[i]])
            if mark not in marks:
                marks.append(mark)
        newer = believed & _newer(rows, r_us, arrived_us, self.beat_us, self.beat_arrived_us)
        self.beat_us[rows[newer]] = r_us[newer]
        self.beat_arrived_us[rows[newer]] = arrived_us
        self.beat_class[rows[newer]] = best[newer]
        self.touch(rows[newer], Section.ECG)

    def _take_glucose(
        self, batch: FindingBatch, rows: Rows, end_us: Ints, verdict: npt.NDArray[np.uint8], arrived_us: int
    ) -> None:
        value, trend = batch.column("glucose_mg_dl"), batch.column("trend_mg_dl_min")
        quantiles, low, high = (
            np.array([[batch.column(f"h{h:02d}_{name}") for h in FORECAST_HORIZONS_MIN] for name in names])
            for names in (_QUANTILE_COLUMNS, ("p_below_70",), ("p_above_180",))
        )
        for i in np.flatnonzero(rows >= 0).tolist():
            row, us, mg_dl = int(rows[i]), int(end_us[i]), float(value[i])
            bed = self.glucose.setdefault(row, Glucose())
            if np.isfinite(mg_dl) and (us, mg_dl) not in bed.readings:
                insort(bed.readings, (us, mg_dl))
                del bed.readings[:-_READINGS]
            if us < bed.end_us and not _set_right(bed.end_us, bed.arrived_us, arrived_us):
                continue
            if us < bed.end_us:  # what was held lay in the future
                bed.readings = [reading for reading in bed.readings if reading[0] <= us]
            bed.end_us, bed.arrived_us, bed.verdict = us, arrived_us, Verdict(verdict[i])
            bed.mg_dl, bed.trend_mg_dl_min = mg_dl, float(trend[i])
            forecast = quantiles[:, :, i]
            bed.forecast = forecast if np.isfinite(forecast).all() else None
            bed.p_low, bed.p_high = float(low[0, :, i].max()), float(high[0, :, i].max())
        self.touch(rows[rows >= 0], Section.GLUCOSE)

    def _take_images(
        self, batch: FindingBatch, rows: Rows, end_us: Ints, verdict: npt.NDArray[np.uint8], arrived_us: int
    ) -> None:
        p = batch.column(LOOKED_FOR[batch.task])
        for i in np.flatnonzero(rows >= 0).tolist():
            images = self.images.setdefault(int(rows[i]), {})
            held = images.get(batch.task)
            if held is None or end_us[i] >= held.end_us or _set_right(held.end_us, held.arrived_us, arrived_us):
                images[batch.task] = Image(int(end_us[i]), arrived_us, Verdict(verdict[i]), float(p[i]))
        self.touch(rows[rows >= 0], Section.IMAGES)


def _set_right(held_us: int, held_arrived_us: int, arrived_us: int) -> bool:
    """Whether what is held lies in the future of what has come after it."""
    return held_us > arrived_us + _AHEAD_US and arrived_us > held_arrived_us


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts "bed 2" before "bed 10"."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", name) if part]


def _newer(rows: Rows, time_us: Ints, arrived_us: int, held_us: Ints, held_arrived_us: Ints) -> npt.NDArray[np.bool_]:
    """bool[n]: rows that exist and whose value is not older than the one held, unless that one lies in the future."""
    held = held_us[rows]
    set_right = (held > arrived_us + _AHEAD_US) & (arrived_us > held_arrived_us[rows])
    result: npt.NDArray[np.bool_] = (rows >= 0) & ((time_us >= held) | set_right)
    return result

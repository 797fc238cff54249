"""Risk: what the latest findings of all streams say together about the next half hour of a patient.

The composite is the probability that at least one stream is right about a danger, each stream speaking for itself
(noisy-or): ``p = 1 - Π (1 - p_k)``. What stream ``k`` says, ``p_k``, is a documented function of its latest finding
(``vitals/hazards.py``); it is a transparent score, not a validated clinical prediction. How sure it is shows in the
interval: every input is uncertain by a logit half-width that grows with the age of its finding, and an input that is
not there widens the interval up to what such a stream would say of one patient in twenty. When no vital sign is left
(neither rhythm nor glucose), the risk is withheld.
"""

from __future__ import annotations

import enum
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.bed import TASKS
from vitals.events import Wire
from vitals.findings import Task, nullable
from vitals.kernels import kernel
from vitals.measures import AF_TASK, BEAT_TASK, GLUCOSE_TASK, RHYTHM_TASK
from vitals.units import US_PER_S

HORIZON_MIN: Final = 30
FORMULA: Final = "noisy-or-1"
"""Changes whenever the same findings would give another risk."""

GRID_US: Final = 5 * US_PER_S
"""A risk for every 5 s of a patient's ECG event time; which of the five seconds, differs between patients."""

_DAY_S: Final = 86_400.0
FRESH_S: Final = np.array([30.0, 10.0, 900.0, _DAY_S, 30 * _DAY_S, 60.0])
"""Age up to which an input is fresh, by task; a beat may be as rare as an asystole allows, a CGM reads every 5 min."""
EXPIRES_S: Final = np.array([120.0, 60.0, 3600.0, 7 * _DAY_S, 365 * _DAY_S, 300.0])
"""Age from which an input is as good as missing."""
HALF_WIDTH: Final = np.array([0.6, 0.4, 0.4, 0.8, 0.8, 0.8])
"""Half of the interval of a fresh input in logits: a factor of 1.5 to 2.2 on the odds."""
WIDENS: Final = 3.0
"""How many half-widths a stale input has gained by the time it expires."""
ABSENT_SAYS: Final = np.array([0.05, 0.10, 0.10, 0.03, 0.005, 0.0])
"""What such a stream says of one patient in twenty: the upper end where it is missing."""

BANDS_FROM: Final = np.array([0.05, 0.15, 0.40])
"""Probability from which a risk is guarded, high, critical."""


class Band(enum.IntEnum):
    """What a person reads first. ``WITHHELD``: no vital sign is known, so nothing is said."""

    WITHHELD = 0
    LOW = 1
    GUARDED = 2
    HIGH = 3
    CRITICAL = 4


class InputState(enum.IntEnum):
    """What became of an input. A stale one is used and widens the interval; an expired one is as good as missing."""

    MISSING = 0
    EXPIRED = 1
    STALE = 2
    FRESH = 3


class RiskBatch(Wire, frozen=True, tag="risk", tag_field="type"):
    """Risks of many patients as columns. Row ``i`` is patient ``patients[i]`` at event time ``time_us[i]``.

    A row's identity is (patient, time_us); a later one of the same identity replaces it. A patient may occur more than
    once. ``probability``, ``lower``, ``upper``: of a danger within ``horizon_min``, None when ``band`` is WITHHELD.
    Columns of input ``k`` (``inputs[k]``), each of one value per row: ``state[k]`` (``InputState``), ``end_us[k]``: the
    finding it rests on (0 none), ``age_s[k]``: its age at ``time_us`` (None), ``says[k]``: what it contributes (None),
    ``model[k]``: index into ``models`` (-1 none). ``input_ms``: broker time of the record behind the deciding finding.
    """

    formula: str
    horizon_min: int
    patients: list[str]
    time_us: list[int]
    input_ms: list[int]
    probability: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    band: list[Band]
    inputs: list[Task]
    state: list[list[InputState]]
    end_us: list[list[int]]
    age_s: list[list[float | None]]
    says: list[list[float | None]]
    model: list[list[int]]
    models: list[str]

    def __len__(self) -> int:
        return len(self.patients)


RISK: Final = np.dtype(
    [
        ("row", "<i4"),
        ("finding", "<i4"),
        ("time_us", "<i8"),
        ("probability", "<f8"),
        ("lower", "<f8"),
        ("upper", "<f8"),
        ("band", "<i4"),
        ("state", "<i4", (len(TASKS),)),
        ("end_us", "<i8", (len(TASKS),)),
        ("age_s", "<f8", (len(TASKS),)),
        ("says", "<f8", (len(TASKS),)),
        ("model", "<i4", (len(TASKS),)),
    ]
)
"""One risk as the kernel writes it; NaN where nothing is known."""

_MISSING: Final = int(InputState.MISSING)
_EXPIRED: Final = int(InputState.EXPIRED)
_STALE: Final = int(InputState.STALE)
_FRESH: Final = int(InputState.FRESH)


@kernel
def fuse(bed, time_us, out):  # type: ignore[no-untyped-def]
    """The risk of ``bed`` (one BED) at ``time_us`` into ``out`` (one RISK)."""
    safe = 1.0
    safe_lower = 1.0
    safe_upper = 1.0
    for k in range(len(FRESH_S)):
        age_s = max(time_us - bed.says_us[k], 0) / US_PER_S
        if bed.says_us[k] == 0:
            state = _MISSING
        elif age_s >= EXPIRES_S[k]:
            state = _EXPIRED
        else:
            state = _STALE if age_s > FRESH_S[k] else _FRESH
        out.state[k] = state
        out.end_us[k] = bed.says_us[k]
        out.age_s[k] = np.nan if state == _MISSING else age_s
        if state <= _EXPIRED:
            out.says[k] = np.nan
            out.model[k] = -1 if state == _MISSING else bed.model[k]
            safe_upper *= 1.0 - ABSENT_SAYS[k]
            continue
        p = bed.says[k]
        out.says[k] = p
        out.model[k] = bed.model[k]
        widened = max(age_s - FRESH_S[k], 0.0) / (EXPIRES_S[k] - FRESH_S[k])
        half_width = HALF_WIDTH[k] * (1.0 + WIDENS * widened)
        safe *= 1.0 - p
        safe_lower *= 1.0 - _moved(p, -half_width)
        safe_upper *= 1.0 - _moved(p, half_width)
    out.time_us = time_us
    if out.state[RHYTHM_TASK] <= _EXPIRED and out.state[GLUCOSE_TASK] <= _EXPIRED:
        out.probability = np.nan
        out.lower = np.nan
        out.upper = np.nan
        out.band = 0
        return
    out.probability = 1.0 - safe
    out.lower = 1.0 - safe_lower
    out.upper = 1.0 - safe_upper
    out.band = 1
    for threshold in BANDS_FROM:
        if out.probability >= threshold:
            out.band += 1


@kernel
def _moved(p, logits):  # type: ignore[no-untyped-def]
    """``p`` with its odds moved by ``logits``; 0 and 1 stay."""
    if p <= 0.0 or p >= 1.0:
        return p
    odds = p / (1.0 - p) * math.exp(logits)
    return odds / (1.0 + odds)


@kernel
def due(bed, task, end_us, band):  # type: ignore[no-untyped-def]
    """Whether a finding of ``task`` at ``end_us`` makes a risk: its grid is due, the band rises, or it is rare."""
    if task == RHYTHM_TASK:
        cell = (end_us - bed.risk_phase_us) // GRID_US
        if cell > bed.risk_cell:
            bed.risk_cell = cell
            return True
        return band > bed.band
    return task not in (BEAT_TASK, AF_TASK) or band > bed.band


def risk_batch(risks: npt.NDArray[np.void], patients: list[str], input_ms: list[int], models: list[str]) -> RiskBatch:
    """RISK[n] on the wire, of ``patients[n]``."""
    return RiskBatch(
        formula=FORMULA,
        horizon_min=HORIZON_MIN,
        patients=patients,
        time_us=risks["time_us"].tolist(),
        input_ms=input_ms,
        probability=nullable(risks["probability"]),
        lower=nullable(risks["lower"]),
        upper=nullable(risks["upper"]),
        band=[_BANDS[b] for b in risks["band"].tolist()],
        inputs=list(TASKS),
        state=[[_STATES[s] for s in column] for column in risks["state"].T.tolist()],
        end_us=risks["end_us"].T.tolist(),
        age_s=[nullable(column) for column in risks["age_s"].T],
        says=[nullable(column) for column in risks["says"].T],
        model=risks["model"].T.tolist(),
        models=models,
    )


_BANDS: Final = tuple(Band)
_STATES: Final = tuple(InputState)

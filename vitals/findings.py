"""Findings: what one window says about one patient at one event time, as a table of many patients.

A finding's identity is (patient, task, window spec, end time), for each source of the patient. The columns of a task
are a closed list.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vitals.events import Patient, Text, Wire

FORECAST_HORIZONS_MIN: tuple[int, ...] = tuple(range(5, 65, 5))
FORECAST_QUANTILES: tuple[int, ...] = (5, 25, 50, 75, 95)
FORECAST_LIMITS: tuple[str, ...] = ("below_70", "below_54", "above_180", "above_250")


class Task(enum.StrEnum):
    """What a finding is about. Each task with a model has a slot of its own."""

    ECG_BEAT = "ecg-beat"
    ECG_RHYTHM = "ecg-rhythm"
    GLUCOSE = "glucose"
    PNEUMONIA = "pneumonia"
    BREAST = "breast"
    ECG_AF = "ecg-af"


class Verdict(enum.IntEnum):
    """Whether the window could be believed. Anything above POOR carries no physiological statement."""

    GOOD = 0
    POOR = 1
    NOISY = 2
    FLAT = 3
    CLIPPED = 4
    LEAD_OFF = 5
    GAP = 6
    TOO_SHORT = 7
    WRONG_INPUT = 8
    NOT_EVALUATED = 9


def _forecast_columns() -> tuple[str, ...]:
    per_horizon = ("mean", *(f"q{q:02d}" for q in FORECAST_QUANTILES), *(f"p_{limit}" for limit in FORECAST_LIMITS))
    return tuple(f"h{h:02d}_{name}" for h in FORECAST_HORIZONS_MIN for name in per_horizon)


COLUMNS: dict[Task, tuple[str, ...]] = {
    # probabilities of the AAMI classes; RR before and after in ms (0 unknown)
    Task.ECG_BEAT: ("p_n", "p_s", "p_v", "p_f", "p_q", "rr_pre_ms", "rr_post_ms"),
    # one a second: mean heart rate of the last beats (NaN unknown), ms since the last beat, RR irregularity 0..1,
    # ventricular-fibrillation index 0..1, amplitude of the QRS in mV, mean rate of exactly so many beats
    Task.ECG_RHYTHM: (
        "heart_rate_bpm",
        "since_beat_ms",
        "rr_irregularity",
        "vf_index",
        "qrs_mv",
        "rate_of_5_bpm",
        "rate_of_17_bpm",
    ),
    # the reading, its slope, then the forecast
    Task.GLUCOSE: ("glucose_mg_dl", "trend_mg_dl_min", *_forecast_columns()),
    Task.PNEUMONIA: ("p_normal", "p_pneumonia"),
    Task.BREAST: ("p_malignant", "p_benign"),
    # of the last 64 beats: sinus rhythm, atrial fibrillation, another rhythm, too noisy to say
    Task.ECG_AF: ("p_normal", "p_af", "p_other", "p_noise"),
}

_Columns = Meta(max_length=256)

BEAT_AFTER_R_US = 400_000
"""A beat window ends this long after its R peak: the R peak of an ECG_BEAT finding is ``end_us - BEAT_AFTER_R_US``."""


class FindingBatch(msgspec.Struct, kw_only=True, frozen=True):
    """Findings of one task. Row ``i``: patient ``patients[row[i]]``; ``values[c][i]`` is column ``columns[c]``.

    ``known_us``: event time at which the live path had all it needed. ``input_ms``: broker time of the record that
    completed the window (0 offline). ``sources[i]``: who sent ``patients[i]``, a checksum of the state's owner, 0 or
    empty where that does not matter; the same patient may stand there once for each. ``ref``: what the window was cut
    from where that has a name (an image's instance id), else empty. ``engine`` is the rung that served: tensorrt,
    onnx-cuda, onnx-cpu or rules.
    """

    task: Task
    spec: str
    model: str
    engine: str
    patients: list[Patient]
    row: list[int]
    end_us: list[int]
    known_us: list[int]
    input_ms: list[int]
    verdict: list[int]
    columns: Annotated[list[Text], _Columns]
    values: Annotated[list[list[float | None]], _Columns]
    ref: list[Text] = []
    sources: list[int] = []

    __repr__ = Wire.__repr__

    def __len__(self) -> int:
        return len(self.row)

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """float64[n]: one column; what is not known is NaN."""
        return np.array(self.values[self.columns.index(name)], dtype=np.float64)


class Findings(Wire, frozen=True, tag="findings", tag_field="type"):
    """What one step found of the patients of one partition: one table for each task.

    They go out together because they belong together: one patient's findings of all tables are taken in the order of
    ``known_us`` (then of the tables), and that does not depend on how the signal was cut.
    """

    tables: Annotated[list[FindingBatch], Meta(max_length=64)]


def nullable(column: npt.NDArray[np.floating]) -> list[float | None]:
    """A column for the wire: float64 values, NaN and infinities as null (JSON has no word for them)."""
    as_list: Sequence[float | None] = column.astype(np.float64).tolist()
    finite = np.isfinite(column)
    if finite.all():
        return list(as_list)
    return [x if ok else None for x, ok in zip(as_list, finite.tolist(), strict=True)]

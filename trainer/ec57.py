"""The table of ANSI/AAMI EC57 for beats: each record, all beats together (gross), and the mean of the records."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from trainer import measures
from trainer.measures import Floats

_S, _V = 1, 2
COLUMNS: Final = {
    "qrs_se": "QRS Se",
    "qrs_pp": "QRS +P",
    "v_se": "VEB Se",
    "v_pp": "VEB +P",
    "v_fpr": "VEB FPR",
    "s_se": "SVEB Se",
    "s_pp": "SVEB +P",
    "s_fpr": "SVEB FPR",
}
"""The figures of a row, by what the standard calls them."""
GROSS: Final = "gross"
AVERAGE: Final = "average"


class BeatRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row; None where there is nothing to divide by.

    ``qrs_se``, ``qrs_pp``: of the detector. ``v_…``, ``s_…``: sensitivity, positive predictivity and false positive
    rate of ventricular and supraventricular beats.
    """

    record: str
    beats: int
    qrs_se: float | None
    qrs_pp: float | None
    v_se: float | None
    v_pp: float | None
    v_fpr: float | None
    s_se: float | None
    s_pp: float | None
    s_fpr: float | None


def table(
    people: tuple[str, ...], counts_pjk: Floats, lost_pk: Floats, not_false: dict[int, tuple[int, ...]]
) -> list[BeatRow]:
    """The rows of ``people``, then gross and average.

    ``counts_pjk``, ``not_false``: as of ``measures.confusion`` and ``measures.predictivity``; ``lost_pk``: beats of
    each class that nobody detected.
    """
    counts = np.concatenate([counts_pjk, counts_pjk.sum(axis=0, keepdims=True)])
    lost = np.concatenate([lost_pk, lost_pk.sum(axis=0, keepdims=True)])
    found = counts[:, :-1].sum(axis=(1, 2))
    se, pp = measures.sensitivity(counts, lost), measures.predictivity(counts, not_false)
    false = measures.false_calls(counts, not_false)
    other = found[:, None] - counts[:, :-1].sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr = false / other
        columns = {
            "qrs_se": found / (found + lost.sum(axis=1)),
            "qrs_pp": found / counts.sum(axis=(1, 2)),
            **{f"{name}_se": se[:, k] for name, k in (("v", _V), ("s", _S))},
            **{f"{name}_pp": pp[:, k] for name, k in (("v", _V), ("s", _S))},
            **{f"{name}_fpr": fpr[:, k] for name, k in (("v", _V), ("s", _S))},
        }
    beats = (found + lost.sum(axis=1)).astype(int).tolist()
    rows = [
        BeatRow(record=name, beats=beats[at], **{key: _known(values[at]) for key, values in columns.items()})
        for at, name in enumerate((*people, GROSS))
    ]
    mean = {key: _mean(values[:-1]) for key, values in columns.items()}
    return [*rows, BeatRow(record=AVERAGE, beats=beats[-1], **mean)]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None

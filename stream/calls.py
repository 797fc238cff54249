"""What a model calls each window: the likeliest class, or in which range the glucose will be in half an hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.findings import Task

_AHEAD: Final = "h30_mean"
_RANGES: Final = ("below_70", "in_range", "above_180")
_LOW_MG_DL: Final = 70.0
_HIGH_MG_DL: Final = 180.0


def calls(
    task: Task, columns: Sequence[str], values: npt.NDArray[np.floating[Any]]
) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
    """The words, and for each window which of them. ``values``: float[n, columns], a model's columns of a finding.

    No words where the columns do not say.
    """
    if task is not Task.GLUCOSE:
        return tuple(columns), values.argmax(axis=1)
    if _AHEAD not in columns:
        return (), np.empty(0, np.intp)
    return _RANGES, np.digitize(values[:, columns.index(_AHEAD)], (_LOW_MG_DL, _HIGH_MG_DL))

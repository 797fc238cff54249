"""A batch of findings as arrays, checked: the door of the decide half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.errors import Reason, Unusable
from vitals.findings import FindingBatch
from vitals.measures import READ
from vitals.units import EARLIEST_US, LATEST_US

BY_RULES: Final = "rules"
"""The engine of findings that no model made."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reading:
    """``n`` findings: arrays [n]. ``place``: whose, as a place in ``patients``; ``values``: [columns of ``READ``, n],
    NaN where not known.
    """

    place: Ints
    end_us: Ints
    input_ms: Ints
    verdict: Ints
    values: npt.NDArray[np.float64]
    by_rules: bool


def read(batch: FindingBatch) -> Reading:
    """``batch`` as arrays. Raises ``Unusable``: inconsistent, impossible-time."""
    n = len(batch.row)
    lengths = [len(batch.end_us), len(batch.known_us), len(batch.input_ms), len(batch.verdict)]
    lengths += [len(column) for column in batch.values]
    if any(length != n for length in lengths) or len(batch.ref) not in {0, n}:
        raise Unusable(Reason.INCONSISTENT, "columns of different lengths")
    if len(batch.columns) != len(batch.values):
        raise Unusable(Reason.INCONSISTENT, "names that do not fit the columns")
    place = _ints(batch.row, 0, len(batch.patients) - 1, Reason.INCONSISTENT)
    end_us = _ints(batch.end_us, EARLIEST_US, LATEST_US, Reason.IMPOSSIBLE_TIME)
    input_ms = _ints(batch.input_ms, 0, LATEST_US, Reason.IMPOSSIBLE_TIME)
    verdict = _ints(batch.verdict, 0, 255, Reason.INCONSISTENT)
    try:
        wanted: list[Any] = [batch.values[batch.columns.index(name)] for name in READ[batch.task]]
    except ValueError:
        raise Unusable(Reason.INCONSISTENT, "a column is missing") from None
    return Reading(place, end_us, input_ms, verdict, np.array(wanted, np.float64), batch.engine == BY_RULES)


def _ints(column: list[int], lowest: int, highest: int, reason: Reason) -> Ints:
    try:
        array = np.array(column, np.int64)
    except OverflowError:
        raise Unusable(reason, "a number that does not fit") from None
    if len(array) and (array.min() < lowest or array.max() > highest):
        raise Unusable(reason, "a number outside what can be")
    return array

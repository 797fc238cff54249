"""A record of findings as arrays, checked: the door of the decide half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.bed import TASK_INDEX
from vitals.errors import Reason, Unusable
from vitals.findings import FindingBatch, Findings
from vitals.measures import ADDED, READ
from vitals.sources import ANY
from vitals.units import EARLIEST_US, LATEST_US

BY_RULES: Final = "rules"
"""The engine of findings that no model made."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reading:
    """``n`` findings of a record in the order in which they are decided: arrays [n], which do not depend on how the
    signal was cut into records.

    ``table`` and ``finding``: where each stands; ``place``: whose, as a place in ``patients``; ``source``: who sent it;
    ``task``: as in ``TASKS``; ``values``: float64[columns, n] as in ``READ`` of its task, NaN where not known.
    """

    patients: list[str]
    table: npt.NDArray[np.int64]
    finding: npt.NDArray[np.int64]
    place: Ints
    source: npt.NDArray[np.uint32]
    task: npt.NDArray[np.int32]
    end_us: Ints
    input_ms: Ints
    verdict: Ints
    values: npt.NDArray[np.float64]
    by_rules: npt.NDArray[np.bool_]


def read(findings: Findings) -> Reading:
    """``findings`` as arrays. Raises ``Unusable``: inconsistent, impossible-time."""
    tables = [_table(place, table) for place, table in enumerate(findings.tables)]
    if len(tables) == 1:
        return tables[0][0]
    if not tables:
        raise Unusable(Reason.INCONSISTENT, "no table")
    order = np.argsort(np.concatenate([known_us for _, known_us in tables]), kind="stable")
    readings = [reading for reading, _ in tables]
    offsets = np.cumsum([0, *(len(reading.patients) for reading in readings)])
    rows = max(len(reading.values) for reading in readings)

    def merged(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(reading, name) for reading in readings])[order]

    return Reading(
        [patient for reading in readings for patient in reading.patients],
        merged("table"),
        merged("finding"),
        np.concatenate([reading.place + offset for reading, offset in zip(readings, offsets, strict=False)])[order],
        merged("source"),
        merged("task"),
        merged("end_us"),
        merged("input_ms"),
        merged("verdict"),
        np.concatenate([_padded(reading.values, rows) for reading in readings], axis=1)[:, order],
        merged("by_rules"),
    )


def _table(place_of_table: int, batch: FindingBatch) -> tuple[Reading, Ints]:
    n = len(batch.row)
    lengths = [len(batch.end_us), len(batch.known_us), len(batch.input_ms), len(batch.verdict)]
    lengths += [len(column) for column in batch.values]
    if any(length != n for length in lengths) or len(batch.ref) not in {0, n}:
        raise Unusable(Reason.INCONSISTENT, "columns of different lengths")
    if len(batch.columns) != len(batch.values):
        raise Unusable(Reason.INCONSISTENT, "names that do not fit the columns")
    if len(batch.sources) not in {0, len(batch.patients)}:
        raise Unusable(Reason.INCONSISTENT, "sources that do not fit the patients")
    sources = batch.sources or [ANY] * len(batch.patients)
    place = _ints(batch.row, 0, len(batch.patients) - 1, Reason.INCONSISTENT)
    source = _ints(sources, 0, 2**32 - 1, Reason.INCONSISTENT).astype(np.uint32)[place]
    end_us = _ints(batch.end_us, EARLIEST_US, LATEST_US, Reason.IMPOSSIBLE_TIME)
    known_us = _ints(batch.known_us, EARLIEST_US, LATEST_US, Reason.IMPOSSIBLE_TIME)
    input_ms = _ints(batch.input_ms, 0, LATEST_US, Reason.IMPOSSIBLE_TIME)
    verdict = _ints(batch.verdict, 0, 255, Reason.INCONSISTENT)
    named = dict(zip(batch.columns, batch.values, strict=True))
    if any(name not in named and name not in ADDED for name in READ[batch.task]):
        raise Unusable(Reason.INCONSISTENT, "a column is missing")
    unknown = [None] * n
    wanted: list[Any] = [named.get(name, unknown) for name in READ[batch.task]]
    reading = Reading(
        batch.patients,
        np.full(n, place_of_table),
        np.arange(n),
        place,
        source,
        np.full(n, TASK_INDEX[batch.task], np.int32),
        end_us,
        input_ms,
        verdict,
        np.array(wanted, np.float64),
        np.full(n, batch.engine == BY_RULES),
    )
    return reading, known_us


def _padded(values: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.float64]:
    missing = rows - len(values)
    return np.concatenate([values, np.full((missing, values.shape[1]), np.nan)]) if missing else values


def _ints(column: list[int], lowest: int, highest: int, reason: Reason) -> Ints:
    try:
        array = np.array(column, np.int64)
    except OverflowError:
        raise Unusable(reason, "a number that does not fit") from None
    if len(array) and (array.min() < lowest or array.max() > highest):
        raise Unusable(reason, "a number outside what can be")
    return array

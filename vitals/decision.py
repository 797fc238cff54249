"""One pass over a batch of findings, in their order: each is taken once, and moves its conditions and its risk."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.bed import TASK_INDEX
from vitals.conditions import INDEX, NO_DATA
from vitals.findings import Task
from vitals.hazards import hazard
from vitals.kernels import kernel
from vitals.measures import MEASURED, RHYTHM_TASK, measure
from vitals.presence import DISCHARGE_GRACE_US, EDGE, RULE_TABLE, follow, hear
from vitals.risk import RISK, due, fuse

_PLACES: Final = {task: np.array([INDEX[c] for c in MEASURED[task]], np.int32) for task in Task}
_SILENCE: Final = {task: INDEX[NO_DATA[task]] if task in NO_DATA else -1 for task in Task}


def decide(
    beds: npt.NDArray[np.void],
    task: Task,
    rows: npt.NDArray[np.int32],
    end_us: npt.NDArray[np.int64],
    verdict: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    *,
    by_rules: bool,
    model: int,
    now_us: int,
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void], int]:
    """Take ``n`` findings of ``task`` into ``beds`` (BED[rows]); returns EDGE[e], RISK[r], and how many were known.

    ``rows``, ``end_us``, ``verdict``: [n]; ``values``: [columns, n] in the order of ``READ``. ``now_us``: how far time
    has been told to have passed, 0 if never.
    """
    n = len(rows)
    edges = np.empty(n * 2 * (len(_PLACES[task]) + 1), EDGE)  # untouched pages cost nothing
    risks = np.empty(n + 1, RISK)
    counts: Any = _decide(
        beds, TASK_INDEX[task], rows, end_us, verdict, values, by_rules, model, now_us,
        RULE_TABLE, _PLACES[task], _SILENCE[task], edges, risks,
    )  # fmt: skip
    return edges[: counts[0]], risks[: counts[1]], int(counts[2])


@kernel
def _decide(  # type: ignore[no-untyped-def]
    beds, task, rows, end_us, verdict, values, by_rules, model, now_us, rules, places, silence_of, edges, risks
):
    told = 0
    fused = 0
    repeated = 0
    measures = np.empty(len(places))
    for i in range(len(rows)):
        row = rows[i]
        bed = beds[row]
        t = end_us[i]
        if t <= bed.last_us[task]:
            repeated += 1
            continue
        if bed.discharged_us > 0:
            if t <= bed.discharged_us + DISCHARGE_GRACE_US:
                repeated += 1
                continue
            bed.discharged_us = 0
            bed.admitted_us = t
        measure(task, bed, values, i, t, verdict[i], by_rules, measures)
        for k in range(len(places)):
            c = places[k]
            told = follow(bed, row, c, rules[c], i, t, measures[k], edges, told)
        if silence_of >= 0:
            told = hear(bed, row, silence_of, task, i, t, now_us, edges, told)
        says = hazard(task, bed, values, i, t, verdict[i])
        bed.last_us[task] = t
        if not np.isnan(says):
            bed.says[task] = says
            bed.says_us[task] = t
            bed.model[task] = model
        risk = risks[fused]
        fuse(bed, max(t, bed.last_us[RHYTHM_TASK]), risk)
        if due(bed, task, t, risk.band):
            risk.row = row
            risk.finding = i
            bed.band = risk.band
            fused += 1
    return told, fused, repeated

"""One pass over a batch of findings, in their order: each is taken once, and moves its conditions and its risk."""

from __future__ import annotations

import enum
from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.bed import TASK_INDEX, TASKS
from vitals.conditions import INDEX, NO_DATA
from vitals.hazards import hazard
from vitals.kernels import kernel
from vitals.measures import MEASURED, RHYTHM_TASK, measure
from vitals.presence import DISCHARGE_GRACE_US, EDGE, follow, hear, silence
from vitals.risk import RISK, due, fuse
from vitals.sources import is_followed, note


class Taken(enum.StrEnum):
    """What was done with a finding."""

    DECIDED = "decided"
    KNOWN = "known"  # decided before, older than what was, or a straggler of a patient who was discharged
    OTHER_SOURCE = "other-source"  # of a source that is not followed now


_MOST: Final = max(map(len, MEASURED.values()))
_PLACES: Final = np.full((len(TASKS), _MOST), -1, np.int32)
for _task, _measured in MEASURED.items():
    _PLACES[TASK_INDEX[_task], : len(_measured)] = [INDEX[c] for c in _measured]
_SILENCE: Final = np.array([INDEX[NO_DATA[task]] if task in NO_DATA else -1 for task in TASKS], np.int32)


def decide(
    beds: npt.NDArray[np.void],
    rows: npt.NDArray[np.int32],
    task: npt.NDArray[np.int32],
    source: npt.NDArray[np.uint32],
    end_us: npt.NDArray[np.int64],
    input_ms: npt.NDArray[np.int64],
    verdict: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    by_rules: npt.NDArray[np.bool_],
    model: npt.NDArray[np.int32],
    *,
    rules: npt.NDArray[np.void],
    now_us: int,
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void], Counter[Taken]]:
    """Take ``n`` findings into ``beds`` (BED[rows]); returns EDGE[e], RISK[r], and what was done with how many.

    [n]: ``rows``, ``task`` (as in ``TASKS``), ``source``, ``end_us``, ``input_ms``, ``verdict``, ``by_rules``,
    ``model``. ``values``: [columns, n] in the order of ``READ``. ``rules``: RULE[C]. ``now_us``: how far time has been
    told to have passed, 0 if never.
    """
    n = len(rows)
    edges = np.empty(n * 2 * (_MOST + 1), EDGE)  # untouched pages cost nothing
    risks = np.empty(n + 1, RISK)
    counts: Any = _decide(
        beds, rows, task, source, end_us, input_ms, verdict, values, by_rules, model, now_us,
        rules, _PLACES, _SILENCE, edges, risks,
    )  # fmt: skip
    told, fused, known, elsewhere = counts
    findings = Counter({Taken.DECIDED: n - known - elsewhere, Taken.KNOWN: known, Taken.OTHER_SOURCE: elsewhere})
    return edges[:told], risks[:fused], findings


@kernel
def _decide(  # type: ignore[no-untyped-def]
    beds,
    rows,
    tasks,
    sources,
    end_us,
    input_ms,
    verdict,
    values,
    by_rules,
    model,
    now_us,
    rules,
    places,
    silences,
    edges,
    risks,
):
    told = 0
    fused = 0
    known = 0
    elsewhere = 0
    measures = np.empty(places.shape[1])
    for i in range(len(rows)):
        row = rows[i]
        task = tasks[i]
        bed = beds[row]
        t = end_us[i]
        if not is_followed(bed, task, sources[i], t, verdict[i]):
            elsewhere += 1
            continue
        if t <= bed.last_us[task]:
            known += 1
            continue
        if bed.discharged_us > 0:
            if t <= bed.discharged_us + DISCHARGE_GRACE_US:
                known += 1
                continue
            bed.discharged_us = 0
            bed.admitted_us = t
        if silences[task] >= 0:
            told = silence(bed, row, silences[task], task, rules, t, edges, told)
        measure(task, bed, values, i, t, input_ms[i], verdict[i], by_rules[i], measures)
        for k in range(places.shape[1]):
            c = places[task, k]
            if c < 0:
                break
            told = follow(bed, row, c, rules[c], i, t, measures[k], edges, told)
        if silences[task] >= 0:
            told = hear(bed, row, silences[task], task, i, t, now_us, edges, told)
        says = hazard(task, bed, values, i, t, verdict[i])
        bed.last_us[task] = t
        note(bed, task, t, verdict[i])
        if not np.isnan(says):
            bed.says[task] = says
            bed.says_us[task] = t
            bed.model[task] = model[i]
        risk = risks[fused]
        fuse(bed, max(t, bed.last_us[RHYTHM_TASK]), risk)
        if due(bed, task, t, risk.band):
            risk.row = row
            risk.finding = i
            bed.band = risk.band
            fused += 1
    return told, fused, known, elsewhere

"""The crossed figures as JSON and as the table of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from bench.verdicts.crossing import BLOCKS, Judged, interval, outcome, score
from models.verdicts import Judges

REFERENCE: Final = 81.39
"""Plesinger et al. 2015, real-time event, hidden test set of the challenge."""
_BINS: Final = 10


def report_of(judged: Mapping[str, Sequence[Judged]], judges: Judges) -> dict[str, Any]:
    """Everything, with each alarm that was judged wrongly: for whoever looks for causes."""
    every = [one for those in judged.values() for one in those]
    return {
        "protocol": f"nested crossing over {BLOCKS} blocks of records sorted by name, within each type",
        "beat_model": judges.beat_model,
        "all": _figures(every),
        "by_type": {kind: _figures(those) for kind, those in judged.items()},
        "ece": _ece(every),
        "wrong": [
            [one.heard.record, one.heard.type, int(one.heard.true), round(one.probability, 4)]
            for one in every
            if one.heard.true != one.called
        ],
        "judges": msgspec.to_builtins(judges.by_type),
    }


def page_of(judged: Mapping[str, Sequence[Judged]], judges: Judges) -> Iterator[str]:
    """The table, and what speaks."""
    every = [one for those in judged.values() for one in those]
    yield "| type | alarms, true | TP | FP | FN | TN | true-positive rate | true-negative rate | score [95 %] |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind, those in [*judged.items(), ("**all**", every)]:
        f = _figures(those)
        low, high = f["score_95"]
        yield (
            f"| {kind.replace('_', ' ')} | {f['alarms']}, {f['true']} | {f['tp']} | {f['fp']} | {f['fn']} | "
            f"{f['tn']} | {f['tpr']:.1f} % | {f['tnr']:.1f} % | {f['score']:.1f} [{low:.1f}, {high:.1f}] |"
        )
    yield ""
    yield f"Expected calibration error of the crossed probabilities in ten bins: {_ece(every):.3f}."
    yield ""
    yield "| type | called true from | what speaks, by weight (in logits for one spread; + for a true alarm) |"
    yield "|---|---|---|"
    for kind, judge in judges.by_type.items():
        terms = sorted((*judge.whole, *judge.moments), key=lambda term: -abs(term.weight))
        yield (
            f"| {kind.replace('_', ' ')} | {judge.true_from:g} | "
            f"{', '.join(f'`{term.measure}` {term.weight:+.2f}' for term in terms)} |"
        )


def _figures(judged: Sequence[Judged]) -> dict[str, Any]:
    true, called = outcome(judged)
    low, high = interval(judged)
    return {
        "alarms": len(true),
        "true": int(true.sum()),
        "tp": int((true & called).sum()),
        "fp": int((~true & called).sum()),
        "fn": int((true & ~called).sum()),
        "tn": int((~true & ~called).sum()),
        "tpr": 100.0 * float(called[true].mean()),
        "tnr": 100.0 * float(1.0 - called[~true].mean()),
        "score": score(true, called),
        "score_95": [low, high],
    }


def _ece(judged: Sequence[Judged]) -> float:
    p = np.array([one.probability for one in judged])
    true, _ = outcome(judged)
    at = np.minimum((p * _BINS).astype(int), _BINS - 1)
    gaps = [abs(p[at == b].mean() - true[at == b].mean()) * (at == b).mean() for b in range(_BINS) if (at == b).any()]
    return float(sum(gaps))

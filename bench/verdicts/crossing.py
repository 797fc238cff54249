"""What the judges are worth on alarms that they were not fitted to.

Records are sorted by name and cut into ten blocks, so that neighbours, which may be one patient's, stay together (the
set names no patients). For each block the strength of the ridge is chosen on the other nine alone, by the same crossing
within them. The probability from which an alarm is called true is not chosen: it follows from the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.verdicts.fitting import Signs, fitted
from models.verdicts import Judge
from vitals.evidence import Evidence

BLOCKS: Final = 10
RIDGES: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_DRAWS: Final = 2000
_MISSED: Final = 5
"""A true alarm that is called false costs so much (CinC Challenge 2015)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One alarm with the evidence before it and the verdict of the experts."""

    record: str
    type: str
    true: bool
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Judged:
    """One alarm, and what a judge that had not seen it said."""

    heard: Heard
    probability: float
    called: bool


def crossed(alarms: Sequence[Heard], signs: Signs) -> list[Judged]:
    """Each of the alarms of one type, judged by the others."""
    judged = []
    for rest, block in _blocks(sorted(alarms, key=lambda one: one.record)):
        judge = chosen(rest, signs)
        judged += [_said(judge, one) for one in block]
    return judged


def chosen(alarms: Sequence[Heard], signs: Signs) -> Judge:
    """The judge fitted to all of ``alarms``, with the ridge whose probabilities are best when they are crossed."""
    alarms = sorted(alarms, key=lambda one: one.record)
    true = np.array([one.true for one in alarms])
    ridge = min(RIDGES, key=lambda r: _log_loss(_probabilities(alarms, signs, r), true))
    return fitted([one.evidence for one in alarms], true, signs, ridge)


def score(true: npt.NDArray[np.bool_], called: npt.NDArray[np.bool_]) -> float:
    """(TP + TN) / (TP + TN + FP + 5 FN), in percent."""
    missed, wrong = int((true & ~called).sum()), int((~true & called).sum())
    right = len(true) - missed - wrong
    return 100.0 * right / (right + wrong + _MISSED * missed)


def interval(judged: Sequence[Judged]) -> tuple[float, float]:
    """Of the score: 95 %, by bootstrap over records."""
    true, called = outcome(judged)
    draws = np.random.default_rng(2015).integers(0, len(true), (_DRAWS, len(true)))
    low, high = np.quantile([score(true[d], called[d]) for d in draws], [0.025, 0.975])
    return float(low), float(high)


def outcome(judged: Sequence[Judged]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """bool[n] each: what they were, and what they were called."""
    return np.array([one.heard.true for one in judged]), np.array([one.called for one in judged])


def _probabilities(alarms: Sequence[Heard], signs: Signs, ridge: float) -> npt.NDArray[np.float64]:
    said = []
    for rest, block in _blocks(alarms):
        judge = fitted([one.evidence for one in rest], np.array([one.true for one in rest]), signs, ridge)
        said += [judge.probability(one.evidence) for one in block]
    return np.array(said)


def _blocks(alarms: Sequence[Heard]) -> Iterator[tuple[list[Heard], list[Heard]]]:
    for block in np.array_split(np.arange(len(alarms)), BLOCKS):
        mine = set(block.tolist())
        yield [one for i, one in enumerate(alarms) if i not in mine], [alarms[i] for i in block]


def _said(judge: Judge, one: Heard) -> Judged:
    probability = judge.probability(one.evidence)
    return Judged(one, probability, probability >= judge.true_from)


def _log_loss(probability: npt.NDArray[np.float64], true: npt.NDArray[np.bool_]) -> float:
    p = np.clip(np.where(true, probability, 1.0 - probability), 1e-6, 1.0)
    return float(-np.log(p).mean())

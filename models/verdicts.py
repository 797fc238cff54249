"""Whether a monitor's alarm is true: per type a logistic regression over the evidence of the minute before it.

The weights were fitted by ``python -m bench.verdicts``, which also wrote what they are worth into ``docs/verdicts.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

SHIPPED: Final = Path(__file__).with_name("verdicts.json")


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measure: ``weight`` times its distance from ``usual`` in units of ``spread``, in logits."""

    measure: str
    usual: float
    spread: float
    weight: float


class Judge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one type of alarm. ``prior``: share of true ones among those it was fitted to; ``true_from``: the probability
    from which the verdict is that the alarm is true.
    """

    prior: float
    true_from: float
    bias: float
    terms: tuple[Term, ...]

    def probability(self, evidence: Mapping[str, float]) -> float:
        """That the alarm is true. Raises ``KeyError`` for a measure that is not in ``evidence``."""
        logit = self.bias + sum(t.weight * (evidence[t.measure] - t.usual) / t.spread for t in self.terms)
        return 1.0 / (1.0 + math.exp(-min(max(logit, -30.0), 30.0)))


class Judges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One judge for each type of alarm, and the beat model whose findings were their evidence."""

    beat_model: str
    by_type: dict[str, Judge]


@cache
def shipped() -> Judges:
    """Those that come with the program."""
    return msgspec.json.decode(SHIPPED.read_bytes(), type=Judges)

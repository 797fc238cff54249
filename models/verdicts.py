"""Whether a monitor's alarm is true: per type a logistic regression over the evidence of the minute before it.

Measures of the whole time of the event are added up as usual. Those of its moments are added up within each, and the
moments count by a soft maximum: an event needs to be seen once, with everything that belongs to it at the same time
(multiple-instance learning: Ray & Craven, ICML 2005). The weights were fitted by ``python -m bench.verdicts``, which
also wrote what they are worth into ``docs/verdicts.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from vitals.evidence import Evidence

SHIPPED: Final = Path(__file__).with_name("verdicts.json")
SHARPNESS: Final = 4.0
"""Of the soft maximum over moments: log(sum(exp(4 x))) / 4."""


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
    whole: tuple[Term, ...]
    moments: tuple[Term, ...] = ()

    def probability(self, heard: Evidence) -> float:
        """That the alarm is true. Raises ``KeyError`` for a measure that is not in ``heard``."""
        logit = self.bias + _weighed(self.whole, heard.whole)
        if self.moments:
            logit += soft_maximum(_weighed(self.moments, heard.moments))
        return 1.0 / (1.0 + math.exp(-min(max(logit, -30.0), 30.0)))


def _weighed(terms: Iterable[Term], measures: Mapping[str, Any]) -> Any:
    return sum(term.weight * (measures[term.measure] - term.usual) / term.spread for term in terms)


def soft_maximum(x: npt.NDArray[np.float64]) -> float:
    """Of the moments; 0 where there are none."""
    return float(np.logaddexp.reduce(SHARPNESS * x) / SHARPNESS) if len(x) else 0.0


class Judges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One judge for each type of alarm, and the beat model whose findings were their evidence."""

    beat_model: str
    by_type: dict[str, Judge]


@cache
def shipped() -> Judges:
    """Those that come with the program."""
    return msgspec.json.decode(SHIPPED.read_bytes(), type=Judges)

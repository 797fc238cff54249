"""A logistic regression whose measures may speak only in the direction that physiology gives them.

With some tens of alarms of a type, a weight of the wrong sign is noise; bounding it away costs nothing and says less
about the hidden half. The spread of a measure and the strength of the ridge are the only other things that are fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.verdicts import Judge, Term

Floats = npt.NDArray[np.float64]

RIDGES: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Strengths that are tried: half of it times the sum of squared weights is added to the logarithmic loss."""


def fitted(
    evidence: Sequence[Mapping[str, float]], true: npt.NDArray[np.bool_], signs: Mapping[str, int], ridge: float
) -> Judge:
    """The judge of one type of alarm. ``signs``: of each measure used, +1 where more of it speaks for a true alarm, -1
    against. ``true_from`` is left at one half.
    """
    x = np.array([[one[name] for name in signs] for one in evidence])
    usual, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    z = (x - usual) / spread
    y = np.where(true, 1.0, -1.0)

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = y * (w[0] + z @ w[1:])
        pull = -y / (1.0 + np.exp(np.clip(margin, -500, 500)))
        slope = np.concatenate([[pull.sum()], z.T @ pull + ridge * w[1:]])
        return float(np.logaddexp(0.0, -margin).sum() + 0.5 * ridge * w[1:] @ w[1:]), slope

    bounds = [(None, None), *((0.0, None) if sign > 0 else (None, 0.0) for sign in signs.values())]
    w = minimize(loss, np.zeros(1 + len(signs)), jac=True, method="L-BFGS-B", bounds=bounds).x
    terms = [
        Term(name, *(float(f"{v:.6g}") for v in (u, s, weight)))
        for name, u, s, weight in zip(signs, usual, spread, w[1:], strict=True)
        if abs(weight) > 1e-6
    ]
    return Judge(prior=round(float(true.mean()), 4), true_from=0.5, bias=float(f"{w[0]:.6g}"), terms=tuple(terms))

"""A logistic regression whose measures may speak only in the direction that physiology gives them.

With some tens of alarms of a type, a weight of the wrong sign is noise; bounding it away costs nothing and says less
about the hidden half. Measures of moments enter through the soft maximum of ``models.verdicts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.verdicts import SHARPNESS, Judge, Term
from vitals.evidence import Evidence

Floats = npt.NDArray[np.float64]

TRUE_FROM: Final = 0.18
"""The score S = (TP + TN) / (N + 4 FN) grows by calling an alarm true when p > (1 - p) - 4 S p, that is when p is above
1 / (2 + 4 S); S is near 0.9.
"""
_BEGIN: Final = 0.2


@dataclass(frozen=True, slots=True)
class Signs:
    """Of each measure that is used, of the whole time or of its moments: +1 where more of it speaks for a true alarm,
    -1 where it speaks against.
    """

    whole: Mapping[str, int] = field(default_factory=dict)
    moments: Mapping[str, int] = field(default_factory=dict)


def fitted(heard: Sequence[Evidence], true: npt.NDArray[np.bool_], signs: Signs, ridge: float) -> Judge:
    """The judge of one type of alarm. ``ridge``: half of it times the sum of squared weights is added to the
    logarithmic loss.
    """
    whole = np.array([[one.whole[name] for name in signs.whole] for one in heard]).reshape(len(heard), -1)
    counts = [len(next(iter(one.moments.values()))) if signs.moments else 0 for one in heard]
    moments = np.concatenate(
        [
            np.stack([one.moments[name] for name in signs.moments], axis=1)
            for one, n in zip(heard, counts, strict=True)
            if n
        ]
        or [np.empty((0, 0))]
    )
    of = np.repeat(np.arange(len(heard)), counts)
    usual, spread = zip(*(_scale(column) for table in (whole, moments) for column in table.T), strict=True)
    k = whole.shape[1]
    z = (whole - usual[:k]) / np.array(spread[:k])
    zm = (moments - np.array(usual[k:])) / np.array(spread[k:])
    y = np.where(true, 1.0, -1.0)

    def loss(w: Floats) -> tuple[float, Floats]:
        soft, share = _soft_maxima(zm @ w[1 + k :], of, len(heard))
        margin = y * (w[0] + z @ w[1 : 1 + k] + soft)
        pull = -y / (1.0 + np.exp(np.clip(margin, -500.0, 500.0)))
        slope = np.concatenate([[pull.sum()], z.T @ pull, zm.T @ (pull[of] * share)])
        slope[1:] += ridge * w[1:]
        return float(np.logaddexp(0.0, -margin).sum() + 0.5 * ridge * w[1:] @ w[1:]), slope

    directions = np.array([*signs.whole.values(), *signs.moments.values()], float)
    bounds = [(None, None), *((0.0, None) if sign > 0 else (None, 0.0) for sign in directions)]
    begin = np.concatenate([[0.0], _BEGIN * directions])
    w = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds).x
    terms = [
        Term(name, *(float(f"{value:.6g}") for value in (u, s, weight)))
        for name, u, s, weight in zip([*signs.whole, *signs.moments], usual, spread, w[1:], strict=True)
    ]
    return Judge(round(float(true.mean()), 4), TRUE_FROM, float(f"{w[0]:.6g}"), tuple(terms[:k]), tuple(terms[k:]))


def _scale(column: Floats) -> tuple[float, float]:
    return float(column.mean()), max(float(column.std()), 1e-6)


def _soft_maxima(x: Floats, of: npt.NDArray[np.int64], n: int) -> tuple[Floats, Floats]:
    """float64[n]: the soft maximum of the moments of each; float64[moments]: how much each moment has in its own."""
    highest = np.full(n, -np.inf)
    np.maximum.at(highest, of, SHARPNESS * x)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    power = np.exp(SHARPNESS * x - highest[of])
    total = np.bincount(of, power, n)
    there = total > 0.0
    soft = np.where(there, (highest + np.log(np.where(there, total, 1.0))) / SHARPNESS, 0.0)
    return soft, power / total[of]

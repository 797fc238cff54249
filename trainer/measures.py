"""Measures of probabilities and forecasts against the truth, each for examples that count more or less than once.

Weights are what a bootstrap over people needs: a person drawn twice counts twice. Axes: N examples, K classes,
P people, H horizons, Q quantiles.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RELIABILITY_BINS: Final = 15
_LEAST_P: Final = 1e-9


def confusion(target: Ints, called: Ints, weight: Floats, classes: int) -> Floats:
    """float64[K + 1, K]: rows what it was (the last: nothing was there, target -1), columns what it was called."""
    row = np.where(target < 0, classes, target)
    flat = np.bincount(row * classes + called, weights=weight, minlength=(classes + 1) * classes)
    return flat.astype(np.float64).reshape(classes + 1, classes)


def sensitivity(counts: Floats, lost: Floats) -> Floats:
    """float64[K]: of the reference beats of each class, detected or not, the share called so. NaN without any."""
    return _ratio(np.diag(counts[:-1]), counts[:-1].sum(axis=1) + lost)


def predictivity(counts: Floats, not_false: dict[int, tuple[int, ...]]) -> Floats:
    """float64[K]: of all calls of each class, the share that was so. NaN where it was never called.

    ``not_false``: reference classes that are no false call of a class. EC57 (as WFDB ``bxb`` counts): a fusion beat or
    an unclassifiable one called V is neither right nor wrong, nor is an unclassifiable one called S.
    """
    right = np.diag(counts[:-1])
    return _ratio(right, right + false_calls(counts, not_false))


def false_calls(counts: Floats, not_false: dict[int, tuple[int, ...]]) -> Floats:
    """float64[K]: how many calls of each class were false; ``not_false`` as in ``predictivity``."""
    false: Floats = counts.sum(axis=0) - np.diag(counts[:-1])
    for called, spared in not_false.items():
        false[called] -= counts[list(spared), called].sum()
    return false


def f1(se: Floats, pp: Floats) -> Floats:
    """float64[K]: harmonic mean; 0 where one is 0 or nothing was called, NaN where there was nothing to find."""
    pp = np.where(np.isnan(pp), 0.0, pp)
    total = se + pp
    score: Floats = np.where(
        total > 0, 2 * se * pp / np.where(total > 0, total, 1.0), np.where(np.isnan(se), np.nan, 0.0)
    )
    return score


def auroc(score: Floats, positive: npt.NDArray[np.bool_], weight: Floats) -> float:
    """Area under the ROC curve, ties counted half (Mann & Whitney 1947). NaN without both kinds."""
    order = np.argsort(score, kind="stable")
    ranked, p, w = score[order], positive[order], weight[order]
    up, down = w * p, w * ~p
    total = up.sum() * down.sum()
    if total <= 0:
        return float("nan")
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    up_tied, down_tied = np.add.reduceat(up, starts), np.add.reduceat(down, starts)
    below = np.cumsum(down_tied) - down_tied
    return float((up_tied * (below + 0.5 * down_tied)).sum() / total)


def average_precision(score: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the precision-recall curve, as the mean precision at each positive. NaN without any."""
    if not positive.any():
        return float("nan")
    found = positive[np.argsort(-score, kind="stable")]
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    return float(precision[found].mean())


def reliability(p_nk: Floats, target: Ints, weight: Floats) -> Floats:
    """float64[15, 3]: per bin of the top probability: the weight, the sum of it, the weight that was right."""
    top = p_nk.max(axis=1)
    right = p_nk.argmax(axis=1) == target
    index = np.minimum((top * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    columns = (weight, weight * top, weight * right)
    return np.stack([np.bincount(index, weights=column, minlength=RELIABILITY_BINS) for column in columns], axis=1)


def calibration_error(bins: Floats) -> float:
    """Expected calibration error: mean distance of confidence and accuracy (Naeini et al. 2015)."""
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum())


def brier(p_nk: Floats, target: Ints, weight: Floats) -> float:
    """Mean squared distance of the probabilities from what was so, over all classes (Brier 1950)."""
    distance = p_nk.copy()
    distance[np.arange(len(target)), target] -= 1.0
    return float((weight * (distance**2).sum(axis=1)).sum() / weight.sum())


def log_loss(p_nk: Floats, target: Ints, weight: Floats) -> float:
    """Mean negative logarithm of the probability of what was so."""
    told = np.maximum(p_nk[np.arange(len(target)), target], _LEAST_P)
    return float(-(weight * np.log(told)).sum() / weight.sum())


def per_person(values: Floats, person: npt.NDArray[np.int32], people: int) -> Floats:
    """float64[P, …]: sums of ``values`` [N, …] over each person's examples; NaN counts as nothing."""
    sums = np.zeros((people, *values.shape[1:]))
    np.add.at(sums, person, np.nan_to_num(values))
    return sums


def pinball(quantiles_nhq: Floats, levels: Floats, value_nh: Floats) -> Floats:
    """float64[N, H, Q]: the loss whose least mean is at the true quantile (Koenker & Bassett 1978); NaN unknown."""
    above = value_nh[:, :, None] - quantiles_nhq
    return np.maximum(levels * above, (levels - 1.0) * above)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
    return ratio

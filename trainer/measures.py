"""Measures of probabilities and forecasts against the truth, as sums over each person's examples.

A bootstrap over people draws the same people some hundred times: what a draw needs is not the examples again but each
person's share of every count, weighted. So every measure here is a function of such sums and takes all draws at once.
That, and what EC57 counts as a false call, is why these stay our own; scikit-learn, which they are tested against,
would sort the examples anew for every draw. Where nothing is drawn (curves, the score of an epoch) it is used itself.

Axes: N examples, K classes, P people, H horizons, Q quantiles, D draws; ``…`` any axes in front.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RELIABILITY_BINS: Final = 15
_LEAST_P: Final = 1e-9


def per_person(values: npt.NDArray[Any], person: npt.NDArray[np.integer[Any]], people: int) -> Floats:
    """float64[P, …]: sums of ``values`` [N, …] over each person's examples; NaN counts as nothing."""
    n = len(person)
    whose = csr_array((np.ones(n), (person, np.arange(n))), shape=(people, n))
    sums: Floats = whose @ np.nan_to_num(values.reshape(n, -1).astype(np.float64))
    return sums.reshape(people, *values.shape[1:])


def confusion(target: Ints, called: Ints, person: npt.NDArray[np.integer[Any]], people: int, classes: int) -> Floats:
    """float64[P, K + 1, K]: rows what it was (the last: nothing was there, target -1), columns what it was called."""
    row = np.where(target < 0, classes, target)
    flat = (person * (classes + 1) + row) * classes + called
    counts = np.bincount(flat, minlength=people * (classes + 1) * classes)
    return counts.astype(np.float64).reshape(people, classes + 1, classes)


def sensitivity(counts: Floats, lost: Floats) -> Floats:
    """float64[…, K]: of the reference beats of each class, detected or not, the share called so. NaN without any.

    ``counts``: [… , K + 1, K] as of ``confusion``; ``lost``: [… , K].
    """
    return _ratio(_right(counts), counts[..., :-1, :].sum(axis=-1) + lost)


def predictivity(counts: Floats, not_false: dict[int, tuple[int, ...]]) -> Floats:
    """float64[…, K]: of all calls of each class, the share that was so. NaN where it was never called.

    ``not_false``: reference classes that are no false call of a class. EC57 (as WFDB ``bxb`` counts): a fusion beat or
    an unclassifiable one called V is neither right nor wrong, nor is an unclassifiable one called S.
    """
    right = _right(counts)
    return _ratio(right, right + false_calls(counts, not_false))


def false_calls(counts: Floats, not_false: dict[int, tuple[int, ...]]) -> Floats:
    """float64[…, K]: how many calls of each class were false; ``not_false`` as in ``predictivity``."""
    false: Floats = counts.sum(axis=-2) - _right(counts)
    for called, spared in not_false.items():
        false[..., called] -= counts[..., list(spared), called].sum(axis=-1)
    return false


def f1(se: Floats, pp: Floats) -> Floats:
    """float64[…, K]: harmonic mean; 0 where one is 0 or nothing was called, NaN where there was nothing to find."""
    pp = np.where(np.isnan(pp), 0.0, pp)
    total = se + pp
    score: Floats = np.where(
        total > 0, 2 * se * pp / np.where(total > 0, total, 1.0), np.where(np.isnan(se), np.nan, 0.0)
    )
    return score


def pairs_won(
    score: Floats, positive: npt.NDArray[np.bool_], person: npt.NDArray[np.integer[Any]], people: int
) -> Floats:
    """float64[P, P]: of the pairs of a positive of one person and a negative of the other, how many the positive wins.

    Ties count half (Mann & Whitney 1947).
    """
    up, up_person = score[positive], person[positive]
    order = np.argsort(up, kind="stable")  # searching is several times faster for what is sorted
    up, up_person = up[order], up_person[order]
    won = np.zeros((people, people))
    down, down_person = score[~positive], person[~positive]
    order = np.lexsort((down, down_person))
    down, down_person = down[order], down_person[order]
    begins = np.searchsorted(down_person, np.arange(people + 1))
    for other in np.unique(down_person).tolist():
        of_other = down[begins[other] : begins[other + 1]]
        below = np.searchsorted(of_other, up, side="left") + np.searchsorted(of_other, up, side="right")
        won[:, other] = np.bincount(up_person, weights=0.5 * below, minlength=people)
    return won


def auroc(won_pp: Floats, positive_p: Floats, negative_p: Floats, weight_dp: Floats) -> Floats:
    """float64[D]: area under the ROC curve in each draw, from ``pairs_won`` and each person's number of either kind.

    NaN where a draw has one kind only.
    """
    up, down = np.flatnonzero(positive_p), np.flatnonzero(negative_p)
    won = ((weight_dp[:, up] @ won_pp[np.ix_(up, down)]) * weight_dp[:, down]).sum(axis=1)
    return _ratio(won, (weight_dp @ positive_p) * (weight_dp @ negative_p))


def reliability(p_nk: Floats, target: Ints, person: npt.NDArray[np.integer[Any]], people: int) -> Floats:
    """float64[P, 15, 3]: per person and bin of the top probability: how many, their sum of it, how many were right."""
    top = p_nk.max(axis=1)
    right = p_nk.argmax(axis=1) == target
    index = np.clip((top * RELIABILITY_BINS).astype(np.int64), 0, RELIABILITY_BINS - 1)
    flat = person * RELIABILITY_BINS + index
    columns = (np.ones(len(top)), top, right)
    counted = [np.bincount(flat, weights=column, minlength=people * RELIABILITY_BINS) for column in columns]
    bins: Floats = np.stack(counted, axis=1).astype(np.float64)
    return bins.reshape(people, RELIABILITY_BINS, len(columns))


def calibration_error(bins: Floats) -> Floats:
    """float64[…]: expected calibration error of ``bins`` [… , 15, 3], the mean distance of confidence and accuracy.

    Naeini et al. 2015.
    """
    return _ratio(np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1), bins[..., 0].sum(axis=-1))


def brier(p_nk: Floats, target: Ints) -> Floats:
    """float64[N]: squared distance of the probabilities from what was so, over all classes (Brier 1950)."""
    distance = p_nk.copy()
    distance[np.arange(len(target)), target] -= 1.0
    squares: Floats = (distance**2).sum(axis=1)
    return squares


def log_loss(p_nk: Floats, target: Ints) -> Floats:
    """float64[N]: negative logarithm of the probability of what was so."""
    told: Floats = -np.log(np.maximum(p_nk[np.arange(len(target)), target], _LEAST_P))
    return told


def binary_log_loss(p: Floats, truth: Floats) -> Floats:
    """float64[…]: negative logarithm of the probability of what was so; ``truth`` 0, 1 or NaN where it is not known."""
    told: Floats = -np.log(np.clip(np.where(truth == 1.0, p, 1.0 - p), _LEAST_P, 1.0))
    return np.where(np.isnan(truth), np.nan, told)


def pinball(quantiles_nhq: Floats, levels: Floats, value_nh: Floats) -> Floats:
    """float64[N, H, Q]: the loss whose least mean is at the true quantile (Koenker & Bassett 1978); NaN unknown."""
    above = value_nh[:, :, None] - quantiles_nhq
    return np.maximum(levels * above, (levels - 1.0) * above)


def budget_threshold(p: Floats, positive: npt.NDArray[np.bool_], budget: float) -> float:
    """The lowest threshold above which at most the share ``budget`` of all examples is a false alarm; p > it alarms."""
    false = np.sort(p[~positive])[::-1]
    allowed = int(budget * len(p))
    return float(false[allowed]) if allowed < len(false) else 0.0


CLARKE_ZONES: Final = ("A", "B", "C", "D", "E")


def clarke_zones(reference_mg_dl: Floats, said_mg_dl: Floats) -> Ints:
    """int64[…]: zone of Clarke's error grid, index into ``CLARKE_ZONES`` (Clarke et al. 1987, Diabetes Care 10:622).

    A: within a fifth, or both below 70. B: off, but no harm done. C: a normal value would be corrected. D: a value that
    needs treatment is not seen. E: a low one taken for a high one or the other way round.
    """
    reference, said = reference_mg_dl, said_mg_dl
    accurate = (np.abs(said - reference) <= 0.2 * reference) | ((reference < 70) & (said < 70))
    opposite = ((reference <= 70) & (said >= 180)) | ((reference >= 180) & (said <= 70))
    corrected = ((reference >= 70) & (reference <= 290) & (said >= reference + 110)) | (
        (reference >= 130) & (reference <= 180) & (said <= 1.4 * reference - 182)
    )
    unseen = (said >= 70) & (said <= 180) & ((reference >= 240) | (reference < 70))
    zones: Ints = np.select([accurate, opposite, corrected, unseen], [0, 4, 2, 3], default=1).astype(np.int64)
    return zones


def _right(counts: Floats) -> Floats:
    return np.diagonal(counts[..., :-1, :], axis1=-2, axis2=-1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
    return ratio

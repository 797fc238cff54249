"""The measures against hand-counted cases and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, roc_auc_score

from trainer import measures

DRAW = np.random.default_rng(5)


def of_one(target: list[int], called: list[int], classes: int) -> np.ndarray:
    return measures.confusion(np.array(target), np.array(called), np.zeros(len(target), int), 1, classes)[0]


def test_sensitivity_counts_undetected_beats_as_missed() -> None:
    counts = of_one([0, 0, 1], [0, 1, 1], 2)
    np.testing.assert_allclose(measures.sensitivity(counts, np.array([2.0, 0.0])), [0.25, 1.0])


def test_a_fusion_beat_called_v_is_neither_right_nor_false_but_noise_called_v_is_false() -> None:
    n, v, f, nothing = 0, 2, 3, -1
    counts = of_one([v, f, nothing, n], [v, v, v, n], 5)
    pp = measures.predictivity(counts, {2: (3, 4)})
    assert pp[v] == pytest.approx(0.5)
    assert measures.predictivity(counts, {})[v] == pytest.approx(1 / 3)
    assert measures.false_calls(counts, {2: (3, 4)}).tolist() == [0, 0, 1, 0, 0]


def test_a_class_that_is_never_called_scores_0_and_one_that_never_was_scores_nothing() -> None:
    score = measures.f1(np.array([0.0, np.nan]), np.array([np.nan, np.nan]))
    assert score[0] == 0.0
    assert np.isnan(score[1])


def test_confusion_of_each_person_agrees_with_scikit_learn() -> None:
    target, called, person = (DRAW.integers(0, k, 500) for k in (4, 4, 3))
    counts = measures.confusion(target, called, person, 3, 4)
    for one in range(3):
        mine = person == one
        np.testing.assert_array_equal(counts[one, :-1], confusion_matrix(target[mine], called[mine], labels=range(4)))


def ranked(score: np.ndarray, truth: np.ndarray, person: np.ndarray, weight_dp: np.ndarray) -> np.ndarray:
    people = weight_dp.shape[1]
    return measures.auroc(
        measures.pairs_won(score, truth, person, people),
        np.bincount(person[truth], minlength=people).astype(float),
        np.bincount(person[~truth], minlength=people).astype(float),
        weight_dp,
    )


def test_auroc_agrees_with_scikit_learn_with_ties_in_every_draw_of_people() -> None:
    score = DRAW.integers(0, 20, 400) / 20
    truth = DRAW.random(400) < score
    person = DRAW.integers(0, 30, 400)
    weight_dp = DRAW.integers(0, 4, (7, 30)).astype(float)
    expected = [roc_auc_score(truth, score, sample_weight=weight[person]) for weight in weight_dp]
    np.testing.assert_allclose(ranked(score, truth, person, weight_dp), expected)


def test_auroc_where_every_example_is_a_person_of_its_own() -> None:
    score = DRAW.random(200)
    truth = DRAW.random(200) < score
    everyone = np.ones((1, 200))
    assert ranked(score, truth, np.arange(200), everyone)[0] == pytest.approx(roc_auc_score(truth, score))


def test_auroc_of_one_kind_only_is_not_known() -> None:
    assert np.isnan(ranked(np.array([0.1, 0.2]), np.array([True, True]), np.array([0, 1]), np.ones((1, 2))))


def test_brier_and_log_loss_agree_with_scikit_learn() -> None:
    p = DRAW.random(200)
    truth = (DRAW.random(200) < p).astype(int)
    both = np.stack([1 - p, p], axis=1)
    assert measures.brier(both, truth).mean() == pytest.approx(2 * brier_score_loss(truth, p))
    assert measures.log_loss(both, truth).mean() == pytest.approx(log_loss(truth, p))
    assert measures.binary_log_loss(p, truth.astype(float)).mean() == pytest.approx(log_loss(truth, p))


def test_what_is_not_known_has_no_log_loss() -> None:
    assert np.isnan(measures.binary_log_loss(np.array([0.5]), np.array([np.nan])))[0]


def test_calibration_error_is_small_when_probabilities_mean_what_they_say_and_large_when_not() -> None:
    p = 0.5 + 0.5 * DRAW.random(20_000)
    truth = (DRAW.random(20_000) > p).astype(int)
    person = np.zeros(20_000, int)
    honest = measures.reliability(np.stack([p, 1 - p], axis=1), truth, person, 1)[0]
    boasting = measures.reliability(np.tile([0.999, 0.001], (20_000, 1)), truth, person, 1)[0]
    assert measures.calibration_error(honest) < 0.02
    assert measures.calibration_error(boasting) == pytest.approx(abs(0.999 - (truth == 0).mean()), abs=1e-6)


def test_pinball_is_least_at_the_true_quantile() -> None:
    value = DRAW.normal(size=(4000, 1))
    levels = np.array([0.05, 0.95])
    true = np.quantile(value, levels)

    def loss(shift: float) -> float:
        return float(measures.pinball(np.tile(true + shift, (4000, 1, 1)), levels, value).mean())

    assert loss(0.0) < min(loss(-0.3), loss(0.3))


def test_sums_of_each_person_leave_out_what_is_not_known() -> None:
    values = np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(measures.per_person(values, np.array([1, 1, 0]), 3), [[5, 6], [1, 6], [0, 0]])


def test_the_budget_threshold_lets_through_as_many_false_alarms_as_it_may_and_no_more() -> None:
    p = np.linspace(0.0, 0.99, 100)
    positive = np.zeros(100, bool)
    positive[[95, 97]] = True
    threshold = measures.budget_threshold(p, positive, 0.03)
    assert ((p > threshold) & ~positive).sum() == 3
    assert ((p > threshold) & positive).sum() == 2


@pytest.mark.parametrize(
    ("reference", "said", "zone"),
    [
        (100, 100, "A"),
        (100, 119, "A"),
        (60, 40, "A"),  # both low: the same is done
        (100, 125, "B"),
        (200, 150, "B"),
        (110, 230, "C"),
        (160, 35, "C"),
        (300, 150, "D"),
        (60, 120, "D"),
        (60, 75, "D"),  # more than a fifth off
        (50, 200, "E"),
        (250, 60, "E"),
    ],
)
def test_zones_of_the_error_grid(reference: float, said: float, zone: str) -> None:
    found = measures.clarke_zones(np.array([float(reference)]), np.array([float(said)]))[0]
    assert measures.CLARKE_ZONES[found] == zone

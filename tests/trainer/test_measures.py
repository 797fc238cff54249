"""The measures against hand-counted cases and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from trainer import measures

DRAW = np.random.default_rng(5)


def test_sensitivity_counts_undetected_beats_as_missed() -> None:
    counts = measures.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), np.ones(3), 2)
    np.testing.assert_allclose(measures.sensitivity(counts, np.array([2.0, 0.0])), [0.25, 1.0])


def test_a_fusion_beat_called_v_is_neither_right_nor_false_but_noise_called_v_is_false() -> None:
    n, v, f, nothing = 0, 2, 3, -1
    counts = measures.confusion(np.array([v, f, nothing, n]), np.array([v, v, v, n]), np.ones(4), 5)
    pp = measures.predictivity(counts, {2: (3, 4)})
    assert pp[v] == pytest.approx(0.5)
    assert measures.predictivity(counts, {})[v] == pytest.approx(1 / 3)
    assert measures.false_calls(counts, {2: (3, 4)}).tolist() == [0, 0, 1, 0, 0]


def test_a_class_that_is_never_called_scores_0_and_one_that_never_was_scores_nothing() -> None:
    score = measures.f1(np.array([0.0, np.nan]), np.array([np.nan, np.nan]))
    assert score[0] == 0.0
    assert np.isnan(score[1])


def test_auroc_agrees_with_scikit_learn_with_ties_and_weights() -> None:
    score = DRAW.integers(0, 20, 400) / 20
    truth = DRAW.random(400) < score
    weight = DRAW.integers(0, 4, 400).astype(float)
    assert measures.auroc(score, truth, weight) == pytest.approx(roc_auc_score(truth, score, sample_weight=weight))


def test_auroc_of_one_kind_only_is_not_known() -> None:
    assert np.isnan(measures.auroc(np.array([0.1, 0.2]), np.array([True, True]), np.ones(2)))


def test_average_precision_agrees_with_scikit_learn() -> None:
    score = DRAW.random(300)
    truth = DRAW.random(300) < score
    assert measures.average_precision(score, truth) == pytest.approx(average_precision_score(truth, score))


def test_brier_of_two_classes_is_twice_that_of_one_probability() -> None:
    p = DRAW.random(200)
    truth = (DRAW.random(200) < p).astype(int)
    two = measures.brier(np.stack([1 - p, p], axis=1), truth, np.ones(200))
    assert two == pytest.approx(2 * brier_score_loss(truth, p))


def test_calibration_error_is_small_when_probabilities_mean_what_they_say_and_large_when_not() -> None:
    p = 0.5 + 0.5 * DRAW.random(20_000)
    truth = (DRAW.random(20_000) > p).astype(int)
    honest = measures.reliability(np.stack([p, 1 - p], axis=1), truth, np.ones(20_000))
    boasting = measures.reliability(np.tile([0.999, 0.001], (20_000, 1)), truth, np.ones(20_000))
    assert measures.calibration_error(honest) < 0.02
    assert measures.calibration_error(boasting) == pytest.approx(abs(0.999 - (truth == 0).mean()), abs=1e-6)


def test_pinball_is_least_at_the_true_quantile() -> None:
    value = DRAW.normal(size=(4000, 1))
    levels = np.array([0.05, 0.95])
    true = np.quantile(value, levels)

    def loss(shift: float) -> float:
        return float(measures.pinball(np.tile(true + shift, (4000, 1, 1)), levels, value).mean())

    assert loss(0.0) < min(loss(-0.3), loss(0.3))


def test_a_person_drawn_twice_counts_twice() -> None:
    target, called = np.array([0, 1, 1]), np.array([0, 1, 0])
    twice = measures.confusion(target, called, np.array([2.0, 1.0, 1.0]), 2)
    written_out = measures.confusion(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), np.ones(4), 2)
    np.testing.assert_array_equal(twice, written_out)

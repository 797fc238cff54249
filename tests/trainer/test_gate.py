"""The gate, row by row: a challenger that is bad in one way only is refused by the row that is there for it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from trainer.evaluate import Evaluation
from trainer.gate import RULES, Comparison, judged, opened
from vitals.findings import Task

DRAWS = 200
GOOD: dict[Task, dict[str, float]] = {
    Task.ECG_BEAT: {
        "macro_f1": 0.6,
        "se_n": 0.97,
        "se_s": 0.5,
        "se_v": 0.9,
        "pp_v": 0.9,
        "false_v_per_1000": 2.0,
        "ece": 0.03,
    },
    Task.GLUCOSE: {
        "rmse_30": 15.0,
        "persistence_rmse_30": 17.0,
        "rmse_60": 25.0,
        "persistence_rmse_60": 28.0,
        "coverage90_error": 0.01,
        "pinball": 3.0,
    },
    Task.BREAST: {"auroc": 0.88, "ece": 0.05},
}
GOOD[Task.PNEUMONIA] = {"auroc": 0.97, "ece": 0.03}


def evaluation(
    task: Task, *, people: int = 60, examples: int = 5000, worst: float | None = None, **changed: float
) -> Evaluation:
    metrics = GOOD[task] | changed
    draw = np.random.default_rng(1)
    shared = draw.normal(0.0, 0.03, DRAWS)  # the same people are drawn on both sides
    draws = {name: (value * (1 + shared)).tolist() for name, value in metrics.items()}
    usual = 20.0 if task is Task.GLUCOSE else 0.8
    return Evaluation(
        task=task,
        people=people,
        examples=examples,
        metrics=metrics,
        interval={},
        draws=draws,
        per_person={"one": 0.99 if task is Task.ECG_BEAT else 10.0, "worst": usual if worst is None else worst},
    )


def refusals(challenger: Evaluation, champion: Evaluation | None) -> list[str]:
    return [verdict.rule for verdict in judged(Comparison(challenger, champion)) if not verdict.passed]


@pytest.mark.parametrize("task", GOOD)
def test_an_equal_challenger_passes(task: Task) -> None:
    verdicts = judged(Comparison(evaluation(task), evaluation(task)))
    assert opened(verdicts)


@pytest.mark.parametrize("task", GOOD)
def test_without_a_champion_the_floors_still_stand(task: Task) -> None:
    assert opened(judged(Comparison(evaluation(task), None)))


@pytest.mark.parametrize(
    ("task", "changed", "rule"),
    [
        (Task.ECG_BEAT, {"people": 2}, "enough to judge by"),
        (Task.ECG_BEAT, {"macro_f1": 0.2}, "better than always N"),
        (Task.ECG_BEAT, {"se_v": 0.4}, "finds ventricular beats"),
        (Task.ECG_BEAT, {"pp_v": 0.3}, "not a false alarm machine"),
        (Task.BREAST, {"ece": 0.2}, "probabilities mean something"),
        (Task.GLUCOSE, {"rmse_30": 17.5}, "better than no change at 30 min"),
        (Task.GLUCOSE, {"rmse_60": 28.5}, "better than no change at 60 min"),
        (Task.GLUCOSE, {"coverage90_error": 0.08}, "intervals cover"),
        (Task.PNEUMONIA, {"auroc": 0.7}, "sees the disease"),
    ],
)
def test_each_floor_refuses_without_a_champion(task: Task, changed: dict[str, Any], rule: str) -> None:
    assert refusals(evaluation(task, **changed), None) == [rule]


@pytest.mark.parametrize(
    ("task", "changed", "rule"),
    [
        (Task.ECG_BEAT, {"examples": 4000}, "one frozen set"),
        (Task.ECG_BEAT, {"macro_f1": 0.52}, "classes together no worse"),
        (Task.ECG_BEAT, {"se_v": 0.82}, "ventricular beats found no worse"),
        (Task.ECG_BEAT, {"false_v_per_1000": 6.0}, "ventricular calls no falser"),
        (Task.ECG_BEAT, {"se_s": 0.35}, "supraventricular beats found no worse"),
        (Task.ECG_BEAT, {"se_n": 0.94}, "normal beats called no worse"),
        (Task.ECG_BEAT, {"ece": 0.1}, "calibration no worse"),
        (Task.ECG_BEAT, {"worst": 0.7}, "worst person no worse"),
        (Task.GLUCOSE, {"rmse_30": 15.8}, "error at 30 min no worse"),
        (Task.GLUCOSE, {"rmse_60": 26.5}, "error at 60 min no worse"),
        (Task.GLUCOSE, {"pinball": 3.2}, "quantiles no worse"),
        (Task.GLUCOSE, {"worst": 40.0}, "worst person no worse"),
        (Task.PNEUMONIA, {"auroc": 0.91}, "ranking no worse"),
        (Task.BREAST, {"ece": 0.13}, "calibration no worse"),
    ],
)
def test_each_comparison_refuses_what_is_worse_than_the_champion(
    task: Task, changed: dict[str, Any], rule: str
) -> None:
    assert refusals(evaluation(task, **changed), evaluation(task)) == [rule]


def test_every_row_of_the_table_has_a_case_here() -> None:
    cases = {
        mark.args[1][i][2]
        for test in (
            test_each_floor_refuses_without_a_champion,
            test_each_comparison_refuses_what_is_worse_than_the_champion,
        )
        for mark in test.pytestmark  # type: ignore[attr-defined]
        for i in range(len(mark.args[1]))
    }
    assert cases == {rule.name for rule in RULES}


def test_a_measure_that_cannot_be_taken_refuses() -> None:
    blind = evaluation(Task.BREAST)
    del blind.metrics["auroc"]
    assert refusals(blind, None) == ["sees the disease"]


def test_a_class_that_nobody_of_the_set_has_is_no_reason_to_refuse() -> None:
    sides = []
    for _ in range(2):
        side = evaluation(Task.ECG_BEAT)
        del side.metrics["se_s"], side.draws["se_s"]
        sides.append(side)
    assert refusals(sides[0], sides[1]) == []


def test_noise_in_single_draws_does_not_refuse_a_better_model() -> None:
    better = evaluation(Task.GLUCOSE, rmse_30=14.0, rmse_60=24.0, pinball=2.8)
    assert refusals(better, evaluation(Task.GLUCOSE)) == []


def test_the_text_of_a_verdict_states_both_figures() -> None:
    verdicts = judged(Comparison(evaluation(Task.BREAST, auroc=0.9), evaluation(Task.BREAST)))
    text = next(verdict.text for verdict in verdicts if verdict.rule == "ranking no worse")
    assert "0.9000" in text
    assert "0.8800" in text


def test_no_verdict_is_no_permission() -> None:
    assert not opened([])


def test_a_verdict_travels_as_json() -> None:
    verdicts = judged(Comparison(evaluation(Task.BREAST), None))
    assert len(msgspec.json.decode(msgspec.json.encode(verdicts))) == len(verdicts)

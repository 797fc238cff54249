"""The gate, row by row: a challenger that is bad in one way only is refused by the row that is there for it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from models.spec import TensorSpec
from trainer.evaluate import Evaluation, Subgroup
from trainer.evidence import Contract, Evidence
from trainer.examples import SPEC
from trainer.gate import RULES, Candidate, Comparison, judged, opened
from trainer.labels import CLASSES
from vitals.findings import FORECAST_LIMITS, Task

DRAWS = 200
TWO = (TensorSpec("first", "float32", (None, 2), "mV"), TensorSpec("second", "float32", (None, 3), "1"))
GOOD: dict[Task, dict[str, float]] = {
    Task.ECG_BEAT: {
        "macro_f1": 0.6,
        "se_n": 0.97,
        "se_s": 0.5,
        "se_v": 0.9,
        "pp_v": 0.9,
        "false_v_per_1000": 2.0,
        "ece": 0.03,
        "log_loss": 0.3,
    },
    Task.GLUCOSE: {
        "rmse_30": 15.0,
        "persistence_rmse_30": 17.0,
        "rmse_60": 25.0,
        "persistence_rmse_60": 28.0,
        "coverage90_error": 0.01,
        "pinball": 3.0,
        "clarke_de_30": 0.01,
        "clarke_de_60": 0.02,
        "false_below_70_per_day": 1.0,
        "budget_se_below_70": 0.4,
        **{f"log_loss_{limit}": 0.05 for limit in FORECAST_LIMITS},
        **{f"said_{limit}": 0.1 for limit in FORECAST_LIMITS},
    },
    Task.PNEUMONIA: {"auroc": 0.97, "ece": 0.03, "log_loss": 0.1, "false_pneumonia_per_1000": 20.0},
    Task.BREAST: {"auroc": 0.88, "ece": 0.05, "log_loss": 0.4, "false_malignant_per_1000": 50.0},
    Task.ECG_AF: {
        "macro_f1": 0.75,
        "se_af": 0.8,
        "pp_af": 0.8,
        "ece": 0.05,
        "log_loss": 0.6,
        "false_af_per_1000": 30.0,
    },
}
for _task, _classes in CLASSES.items():
    for _name in _classes:
        GOOD[_task] |= {f"auroc_{_name}": 0.9, f"said_{_name}": 0.2, f"called_{_name}": 0.2}


def evaluation(
    task: Task,
    *,
    people: int = 60,
    examples: int = 5000,
    worst: float | None = None,
    group: float = 0.8,
    frozen: str = "same",
    unusable: int = 0,
    **changed: float,
) -> Evaluation:
    metrics = {"threshold_at_budget": 0.5} | GOOD[task] | changed
    draw = np.random.default_rng(1)
    shared = draw.normal(0.0, 0.03, DRAWS)  # the same people are drawn on both sides
    draws = {name: (value * (1 + shared)).tolist() for name, value in metrics.items()}
    usual = 20.0 if task is Task.GLUCOSE else 0.8
    one = 0.99 if task is Task.ECG_BEAT else 10.0
    of_group = (group * (1 + shared)).tolist()
    classes = list(CLASSES.get(task, ()))
    return Evaluation(
        task=task,
        people=people,
        examples=examples,
        metrics=metrics,
        interval={},
        draws=draws,
        per_person={"one": one if task in (Task.ECG_BEAT, Task.GLUCOSE) else 1.0, "worst": worst or usual},
        windows_of={"one": 100, "worst": 100},
        frozen=frozen,
        unusable=unusable,
        classes=classes,
        confusion=[[100] * len(classes)] * (len(classes) + 1),
        subgroups=[
            Subgroup(trait="sex=f", people=9, examples=99, value=group, interval=(0.0, 1.0), draws=of_group),
        ],
    )


def evidence(task: Task, *, window: str = "", inputs: tuple[TensorSpec, ...] = TWO, **changed: Any) -> Evidence:
    contract = Contract(window=window or SPEC[task], inputs=inputs, outputs=TWO[:1], columns=("p",))
    return Evidence(**{"contract": contract, "us_per_window": 10.0, "onnx_bytes": 100_000} | changed)


def candidate(task: Task, **changed: Any) -> Candidate:
    of_evidence = {
        name: changed.pop(name) for name in ("window", "inputs", *Evidence.__struct_fields__) if name in changed
    }
    return Candidate(evaluation(task, **changed), evidence(task, **of_evidence))


def refusals(challenger: Candidate, champion: Candidate | None) -> list[str]:
    return [verdict.rule for verdict in judged(Comparison(challenger, champion)) if not verdict.passed]


@pytest.mark.parametrize("task", GOOD)
def test_an_equal_challenger_passes(task: Task) -> None:
    assert refusals(candidate(task), candidate(task)) == []


@pytest.mark.parametrize("task", GOOD)
def test_without_a_champion_the_floors_still_stand(task: Task) -> None:
    assert opened(judged(Comparison(candidate(task), None)))


@pytest.mark.parametrize(
    ("task", "changed", "rule"),
    [
        (Task.ECG_BEAT, {"people": 2}, "enough to judge by"),
        (Task.BREAST, {"shared_people": 1}, "held out from the learning"),
        (Task.BREAST, {"shared_windows": 0.01}, "held out from the learning"),
        (Task.BREAST, {"window": "another"}, "reads the windows of the task"),
        (Task.GLUCOSE, {"unusable": 1}, "answers are numbers"),
        (Task.ECG_BEAT, {"us_per_window": 50.0}, "fast enough"),
        (Task.BREAST, {"onnx_bytes": 5 << 20}, "small enough"),
        (Task.ECG_BEAT, {"macro_f1": 0.2}, "better than always N"),
        (Task.ECG_BEAT, {"se_v": 0.4}, "finds ventricular beats"),
        (Task.ECG_BEAT, {"pp_v": 0.3}, "not a false alarm machine"),
        (Task.PNEUMONIA, {"ece": 0.18}, "probabilities mean something"),
        (Task.BREAST, {"ece": 0.22}, "probabilities mean something"),
        (Task.GLUCOSE, {"rmse_30": 17.5}, "better than no change at 30 min"),
        (Task.GLUCOSE, {"rmse_60": 28.5}, "better than no change at 60 min"),
        (Task.GLUCOSE, {"coverage90_error": 0.08}, "intervals cover"),
        (Task.PNEUMONIA, {"auroc": 0.7}, "sees the disease"),
        (Task.ECG_AF, {"macro_f1": 0.4}, "better than always one rhythm"),
        (Task.ECG_AF, {"se_af": 0.4}, "finds fibrillation"),
        (Task.ECG_AF, {"pp_af": 0.4}, "not a false alarm machine"),
    ],
)
def test_each_floor_refuses_without_a_champion(task: Task, changed: dict[str, Any], rule: str) -> None:
    assert refusals(candidate(task, **changed), None) == [rule]


@pytest.mark.parametrize(
    ("task", "changed", "rule"),
    [
        (Task.ECG_BEAT, {"frozen": "another"}, "one frozen set"),
        (Task.ECG_BEAT, {"inputs": TWO[::-1]}, "same contract"),
        (Task.ECG_BEAT, {"us_per_window": 16.0}, "no slower"),
        (Task.ECG_BEAT, {"onnx_bytes": 300_000}, "no larger"),
        (Task.ECG_BEAT, {"macro_f1": 0.52}, "classes together no worse"),
        (Task.ECG_BEAT, {"se_v": 0.82}, "ventricular beats found no worse"),
        (Task.ECG_BEAT, {"false_v_per_1000": 6.0}, "ventricular calls no falser"),
        (Task.ECG_BEAT, {"se_s": 0.3}, "supraventricular beats found no worse"),
        (Task.ECG_BEAT, {"se_n": 0.94}, "normal beats called no worse"),
        (Task.ECG_BEAT, {"said_f": 0.035}, "no class lost"),
        (Task.ECG_BEAT, {"auroc_f": 0.7}, "every class told apart"),
        (Task.ECG_BEAT, {"said_f": 0.5}, "classes said as often as they are"),
        (Task.ECG_BEAT, {"ece": 0.1}, "calibration no worse"),
        (Task.ECG_BEAT, {"log_loss": 0.4}, "probabilities no worse"),
        (Task.ECG_BEAT, {"worst": 0.7}, "worst person no worse"),
        (Task.ECG_BEAT, {"group": 0.65}, "worst subgroup no worse"),
        (Task.ECG_BEAT, {"worst": 0.995}, "not too good to be true"),
        (Task.ECG_BEAT, {"called_v": 0.32}, "calls move within bounds"),
        (Task.ECG_BEAT, {"threshold_at_budget": 0.99}, "alarm threshold within bounds"),
        (Task.GLUCOSE, {"rmse_30": 15.8}, "error at 30 min no worse"),
        (Task.GLUCOSE, {"rmse_60": 26.5}, "error at 60 min no worse"),
        (Task.GLUCOSE, {"pinball": 3.2}, "quantiles no worse"),
        (Task.GLUCOSE, {"log_loss_below_54": 0.06}, "limits foretold no worse"),
        (Task.GLUCOSE, {"clarke_de_60": 0.03}, "no more harm in the error grid"),
        (Task.GLUCOSE, {"false_below_70_per_day": 2.5}, "lows called no falser"),
        (Task.GLUCOSE, {"budget_se_below_70": 0.2}, "lows found within the alarm budget"),
        (Task.GLUCOSE, {"said_below_54": 0.005, "said_below_70": 0.08}, "no class lost"),
        (Task.GLUCOSE, {"worst": 40.0}, "worst person no worse"),
        (Task.GLUCOSE, {"group": 1.0}, "worst subgroup no worse"),
        (Task.GLUCOSE, {"rmse_30": 8.0}, "not too good to be true"),
        (Task.PNEUMONIA, {"auroc": 0.93}, "ranking no worse"),
        (Task.BREAST, {"auroc": 0.78}, "ranking no worse"),
        (Task.PNEUMONIA, {"false_pneumonia_per_1000": 50.0}, "disease called no falser"),
        (Task.BREAST, {"ece": 0.19}, "calibration no worse"),
        (Task.BREAST, {"called_malignant": 0.5}, "calls move within bounds"),
        (Task.ECG_AF, {"macro_f1": 0.65}, "rhythms together no worse"),
        (Task.ECG_AF, {"se_af": 0.65}, "fibrillation found no worse"),
        (Task.ECG_AF, {"false_af_per_1000": 70.0}, "fibrillation called no falser"),
    ],
)
def test_each_comparison_refuses_what_is_worse_than_the_champion(
    task: Task, changed: dict[str, Any], rule: str
) -> None:
    assert rule in refusals(candidate(task, **changed), candidate(task))
    if rule != "no class lost":  # what is hardly said any more is also said less
        assert refusals(candidate(task, **changed), candidate(task)) == [rule]


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


def test_every_row_asks_the_challenger_or_the_pair_and_not_both() -> None:
    assert [rule.name for rule in RULES if (rule.alone is None) == (rule.paired is None)] == []


def test_a_measure_that_cannot_be_taken_refuses() -> None:
    blind = candidate(Task.BREAST)
    del blind.evaluation.metrics["auroc"]
    assert refusals(blind, None) == ["sees the disease"]


def test_a_class_that_nobody_of_the_set_has_is_no_reason_to_refuse() -> None:
    sides = []
    for _ in range(2):
        side = candidate(Task.ECG_BEAT)
        del side.evaluation.metrics["se_s"], side.evaluation.draws["se_s"]
        sides.append(side)
    assert refusals(sides[0], sides[1]) == []


def test_noise_in_single_draws_does_not_refuse_a_better_model() -> None:
    better = candidate(Task.GLUCOSE, rmse_30=14.0, rmse_60=24.0, pinball=2.8)
    assert refusals(better, candidate(Task.GLUCOSE)) == []


def test_a_subgroup_that_is_missing_on_one_side_refuses() -> None:
    less = candidate(Task.ECG_BEAT)
    less.evaluation.subgroups.clear()
    assert refusals(less, candidate(Task.ECG_BEAT)) == ["worst subgroup no worse"]


def test_the_text_of_a_verdict_states_both_figures() -> None:
    verdicts = judged(Comparison(candidate(Task.BREAST, auroc=0.9), candidate(Task.BREAST)))
    text = next(verdict.text for verdict in verdicts if verdict.rule == "ranking no worse")
    assert "0.9000" in text
    assert "0.8800" in text


def test_what_a_machine_took_stands_in_a_verdict_only_where_it_refuses() -> None:
    said = {
        us: next(
            verdict.text
            for verdict in judged(Comparison(candidate(Task.ECG_BEAT, us_per_window=us), None))
            if verdict.rule == "fast enough"
        )
        for us in (10.0, 11.0, 50.0)
    }
    assert said[10.0] == said[11.0]  # a card can be made again
    assert "50.0" in said[50.0]


def test_no_verdict_is_no_permission() -> None:
    assert not opened([])


def test_a_verdict_travels_as_json() -> None:
    verdicts = judged(Comparison(candidate(Task.BREAST), None))
    assert len(msgspec.json.decode(msgspec.json.encode(verdicts))) == len(verdicts)

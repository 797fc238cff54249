"""Runs of the trainer as they are kept, for whoever reads them."""

from __future__ import annotations

from pathlib import Path

from trainer.config import recipe
from trainer.evaluate import Evaluation
from trainer.gate import Verdict
from trainer.runs import Run, keep
from vitals.findings import Task

MEASURES = {
    Task.ECG_BEAT: {"macro_f1": 0.6, "ece": 0.03},
    Task.GLUCOSE: {"rmse_30": 15.0, "coverage90_error": -0.02},
    Task.PNEUMONIA: {"auroc": 0.97, "ece": 0.03},
    Task.BREAST: {"auroc": 0.88, "ece": 0.05},
    Task.ECG_AF: {"macro_f1": 0.7, "ece": 0.05},
}


def keep_run(state: Path, task: Task, ended_s: int, *, bundle: str = "", refused: str = "") -> None:
    """A run of 600 s with both models measured."""
    made = Evaluation(task=task, people=9, examples=90, metrics=MEASURES[task], interval={}, draws={}, per_person={})
    verdicts = [Verdict(rule=rule, passed=rule != refused, text="") for rule in ("better", "calibrated")]
    run = Run(
        task=task,
        began_us=(ended_s - 600) * 1_000_000,
        ended_us=ended_s * 1_000_000,
        dataset="",
        sides={},
        recipe=recipe(task, quick=True),
        curve=[],
        best_epoch=0,
        challenger=made,
        champion=made,
        champion_bundle="abcd",
        verdicts=verdicts,
        bundle=bundle,
    )
    keep(run, state)

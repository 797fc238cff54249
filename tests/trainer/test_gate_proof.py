"""The proof of the gate in short, on invented answers, and that it can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import gate_proof
from bench.gate_proof import SABOTAGE, Scene, held, improved, proof, synthetic
from trainer.config import TRAINED_TASKS
from trainer.evaluate import evaluation
from vitals.findings import Task

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [synthetic(task) for task in TRAINED_TASKS]


def test_nothing_sabotaged_goes_through_and_what_is_better_does(scenes: list[Scene]) -> None:
    report = proof(scenes, sabotaged=2 * len(SABOTAGE) * len(scenes), better=40, seed=1)
    assert report["sabotaged_promoted"] == 0, report["by_kind"]
    assert report["better_promoted"] >= 38, report["refused_by"]["better"]
    assert held(report)


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_a_better_one_is_better(scenes: list[Scene], task: Task) -> None:
    scene = next(scene for scene in scenes if scene.task is task)
    measure = "pinball" if task is Task.GLUCOSE else "log_loss"
    was = scene.champion.evaluation.metrics[measure]
    made = [improved(scene, np.random.default_rng(seed)) for seed in range(5)]
    assert np.mean([evaluation(task, one.said, one.examples, 2).metrics[measure] for one in made]) < was


def test_a_gate_that_lets_everything_through_does_not_hold(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gate_proof, "opened", lambda _: True)
    monkeypatch.setattr(gate_proof, "synthetic", lambda task: next(scene for scene in scenes if scene.task is task))
    out = tmp_path / "gate.json"
    asked = ["gate_proof", "--synthetic", "--sabotaged", "8", "--better", "5", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", asked)
    assert gate_proof.main() == 1
    report = json.loads(out.read_text())
    assert (report["sabotaged"], report["sabotaged_promoted"]) == (8, 8)
    assert {champion["answers"] for champion in report["champions"].values()} == {"invented"}


def test_a_gate_that_is_always_shut_does_not_hold() -> None:
    assert not held({"sabotaged_promoted": 0, "better": 100, "better_promoted": 94})
    assert held({"sabotaged_promoted": 0, "better": 100, "better_promoted": 95})

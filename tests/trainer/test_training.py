"""The same data and recipe give the same weights: twice, after a kill, and whatever the machine it learns on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from models.registry import Registry
from tests.trainer.small import NOW_US, breast, small, world
from tests.trainer.synthetic import breast_set
from trainer import runs
from trainer.config import RecipeError, with_figures
from trainer.corpus.sources import Source
from trainer.dataset import Dataset, Side
from trainer.fit import Epoch
from trainer.frozen import freeze
from trainer.train import Trained, train
from vitals.findings import Task

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).resolve().parents[2]

LEARNS_UNTIL_KILLED = """
import sys
from pathlib import Path
import msgspec, torch
from trainer.config import Recipe
from trainer.frozen import thaw
from trainer.train import train
torch.set_num_threads(1)
dataset, checkpoints, recipe = sys.argv[1:]
train(thaw(Path(dataset), "breast"), msgspec.json.decode(recipe, type=Recipe), checkpoints=Path(checkpoints),
      told=lambda epoch: (print(epoch.run, epoch.epoch, flush=True), sys.stdin.readline()))
"""


def weights_hash(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def hash_of(trained: Trained) -> str:
    return weights_hash(trained.network.state_dict())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return breast(world(tmp_path_factory.mktemp("breast")), small(), train=120, validation=40)


def test_twice_gives_the_same_weights_and_another_seed_others(dataset: Dataset) -> None:
    first = train(dataset, small(epochs=2))
    again = train(dataset, small(epochs=2))
    assert hash_of(again) == hash_of(first)
    assert again.calibration == first.calibration
    assert hash_of(train(dataset, small(epochs=2, seed=8))) != hash_of(first)


@pytest.mark.parametrize(("folds", "killed_in"), [(0, "train 2"), (2, "fold 2 1")])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    dataset: Dataset, tmp_path: Path, folds: int, killed_in: str
) -> None:
    chosen = small(epochs=3, patience=0, folds=folds)
    path = freeze(dataset, tmp_path, chosen.split, list[Source](), NOW_US)
    recipe = msgspec.json.encode(chosen).decode()
    learner = subprocess.Popen(
        [sys.executable, "-c", LEARNS_UNTIL_KILLED, str(path), str(tmp_path / "checkpoints"), recipe],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert learner.stdin is not None
    assert learner.stdout is not None
    while (line := learner.stdout.readline()) != f"{killed_in}\n":
        assert line, "it ended before it could be killed"
        learner.stdin.write("\n")
        learner.stdin.flush()
    learner.send_signal(signal.SIGKILL)
    assert learner.wait() == -signal.SIGKILL
    learner.stdin.close()
    learner.stdout.close()

    heard: list[str] = []
    resumed = train(
        dataset, chosen, checkpoints=tmp_path / "checkpoints", told=lambda e: heard.append(f"{e.run} {e.epoch}")
    )
    untouched = train(dataset, chosen)
    assert hash_of(resumed) == hash_of(untouched)
    assert resumed.calibration == untouched.calibration
    assert [(e.run, e.epoch, e.loss, e.score) for e in resumed.curve] == [
        (e.run, e.epoch, e.loss, e.score) for e in untouched.curve
    ]
    assert heard == [f"{e.run} {e.epoch}" for e in untouched.curve]


def test_what_another_run_left_is_not_taken_up(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, small(epochs=1), checkpoints=tmp_path)
    (left,) = tmp_path.iterdir()
    other = train(dataset, small(epochs=1, learning_rate=1e-3), checkpoints=tmp_path)
    assert hash_of(other) == hash_of(train(dataset, small(epochs=1, learning_rate=1e-3)))
    assert not left.exists()


def test_it_stops_when_patience_is_over_and_keeps_the_best(dataset: Dataset) -> None:
    draw = np.random.default_rng(0)
    noise = {side: dataset[side].of(np.arange(len(dataset[side]))) for side in Side}
    for examples in noise.values():
        examples.target[:] = draw.integers(0, 2, len(examples))
    aimless = Dataset(dataset.task, dataset.spec, noise, "noise")
    trained = train(aimless, small(epochs=40, patience=2, learning_rate=1e-2))
    scores = [epoch.score for epoch in trained.curve]
    assert len(scores) == trained.best_epoch + 2 < 40
    assert int(np.argmax(scores)) + 1 == trained.best_epoch
    assert trained.score == pytest.approx(max(scores))


def test_mixed_precision_learns_as_well_and_keeps_whole_weights(dataset: Dataset) -> None:
    half, whole = (train(dataset, small(epochs=3, mixed_precision=mixed)) for mixed in (True, False))
    assert {tensor.dtype for tensor in half.network.parameters()} == {torch.float32}
    assert hash_of(half) != hash_of(whole)
    for rough, exact in zip(half.curve, whole.curve, strict=True):
        assert rough.loss == pytest.approx(exact.loss, rel=0.05)


def test_dropout_and_other_figures_are_the_recipe_s(dataset: Dataset) -> None:
    chosen = with_figures(
        small(epochs=1), {"dropout": 0.25, "augment.noise": 0.01, "network_arguments.width": 8, "epochs": 2}
    )
    assert (chosen.dropout, chosen.augment.noise, chosen.epochs) == (0.25, 0.01, 2)
    assert chosen.augment.flip == small().augment.flip
    trained = train(dataset, chosen)
    assert {layer.p for layer in trained.network.modules() if isinstance(layer, nn.Dropout)} == {0.25}
    assert trained.network_arguments == {"width": 8}


@pytest.mark.parametrize("figures", [{"no_such": 1}, {"augment.no_such": 1}, {"dropout": 1.0}, {"task": "glucose"}])
def test_a_figure_that_a_recipe_does_not_have_is_refused(figures: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        with_figures(small(), figures)


def test_every_epoch_is_heard_as_it_comes(dataset: Dataset) -> None:
    heard: list[Epoch] = []
    trained = train(dataset, small(epochs=2), told=heard.append)
    assert heard == trained.curve


def test_two_processes_under_torchrun_make_one_model(tmp_path: Path) -> None:
    at = world(tmp_path)
    breast_set(at.data)
    where = {"WARDWATCH_DATA": at.data, "WARDWATCH_STATE": at.state, "WARDWATCH_REGISTRY": at.registry}
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("-m", "trainer", "once", "--task", "breast", "--quick", "--epochs", "4", "--fresh", "--threads", "1"),
        ],
        cwd=ROOT,
        env=os.environ | {name: str(path) for name, path in where.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.stdout.count("breast: auroc") == 1, ran.stderr
    (run,) = runs.kept(at.state, Task.BREAST)
    assert [epoch.epoch for epoch in run.curve] == [1, 2, 3, 4]
    assert run.curve[-1].loss < run.curve[0].loss
    assert run.challenger.metrics["auroc"] > 0.9
    assert (ran.returncode == 0) is bool(run.bundle)
    assert len(Registry(at.registry).bundles(Task.BREAST)) >= bool(run.bundle)

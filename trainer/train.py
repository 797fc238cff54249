"""One training run: seeded, stopped by people it does not learn from, calibrated on people it has not learnt from."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from torch import nn

from models.nets import af, catalogue, ecg, glucose, imaging
from models.spec import Calibration
from trainer.calibrate import fitted
from trainer.config import Recipe
from trainer.dataset import Dataset, Examples, Side
from trainer.fit import Epoch, Fit, Fitter, Floats, Weights, answers
from trainer.losses import score
from trainer.world import ALONE, World
from vitals.findings import Task
from vitals.windows.ecg import CONTEXT

FINAL: Final = "all"
"""The fit on everybody after cross-validation: nobody is left to score it."""

_NETWORK: Final[dict[Task, tuple[str, dict[str, int]]]] = {
    Task.ECG_BEAT: (ecg.NETWORK, {"context": len(CONTEXT)}),
    Task.GLUCOSE: (glucose.NETWORK, {}),
    Task.PNEUMONIA: (imaging.NETWORK, {}),
    Task.BREAST: (imaging.NETWORK, {}),
    Task.ECG_AF: (af.NETWORK, {}),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that has learnt. ``network_name``, ``network_arguments``: how to build it again.

    ``score``: of the network that was chosen, on validation people, or on everybody out of fold; higher is better.
    """

    network: nn.Module = field(repr=False)
    network_name: str
    network_arguments: dict[str, int]
    calibration: Calibration
    curve: list[Epoch] = field(repr=False)
    best_epoch: int
    folds: int
    began_from: str
    score: float


def train(
    dataset: Dataset,
    recipe: Recipe,
    *,
    weights: Weights | None = None,
    began_from: str = "",
    world: World = ALONE,
    checkpoints: Path | None = None,
    told: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Trains on ``dataset`` as ``recipe`` says; the held-out people are never looked at.

    ``weights``: a champion's, to train on from where they fit; ``began_from``: its name. With folds every fit begins
    anew: weights that have learnt from a fold cannot be judged on it. ``checkpoints``: a folder of this task's; what a
    run of the same dataset, recipe and start left there is taken up again. ``told``: hears of every epoch.
    """
    name, arguments = _NETWORK[recipe.task]
    arguments = {**arguments, **recipe.network_arguments}
    learn, validate = dataset[Side.TRAIN], dataset[Side.VALIDATE]
    goes_on = weights is not None and bool(recipe.fine_tune) and not recipe.folds
    start = weights if goes_on and weights is not None and _fits(name, arguments, weights) else None
    began_from = began_from if start is not None else ""
    own = None if checkpoints is None else _own(checkpoints, dataset, recipe, began_from, world)
    fitter = Fitter(recipe, name, arguments, start=start, world=world, checkpoints=own, told=told)
    if recipe.folds:
        fit, outputs, target = _cross_validated(fitter, _both(learn, validate))
    else:
        fit = fitter.fit("train", learn, validate, recipe.epochs)
        outputs, target = answers(recipe.task, fit.network, validate), validate.target
    return Trained(
        network=fit.network.cpu(),
        network_name=name,
        network_arguments=arguments,
        calibration=fitted(recipe.task, outputs, target),
        curve=fitter.curve,
        best_epoch=fit.best_epoch,
        folds=recipe.folds,
        began_from=began_from,
        score=score(recipe.task, outputs, target),
    )


def _own(checkpoints: Path, dataset: Dataset, recipe: Recipe, began_from: str, world: World) -> Path:
    """The folder of exactly this run. What other runs left behind goes: nobody will take it up."""
    named = f"{dataset.hash} {began_from} {world.size} {world.device.type} ".encode() + msgspec.json.encode(recipe)
    own = checkpoints / hashlib.sha256(named).hexdigest()[:16]
    if world.first and checkpoints.is_dir():
        for other in checkpoints.iterdir():
            if other != own:
                shutil.rmtree(other)
    return own


def _cross_validated(fitter: Fitter, everyone: Examples) -> tuple[Fit, dict[str, Floats], npt.NDArray[Any]]:
    """The final fit on everyone, and outputs for everyone of networks that had not seen them."""
    recipe = fitter.recipe
    fold_of = folds_of(everyone, recipe.folds)
    outputs: dict[str, Floats] = {}
    best_epochs = []
    for fold in range(recipe.folds):
        inside = fold_of[everyone.person] == fold
        apart = everyone.of(np.flatnonzero(inside))
        fit = fitter.fit(f"fold {fold + 1}", everyone.of(np.flatnonzero(~inside)), apart, recipe.epochs)
        best_epochs.append(fit.best_epoch)
        for name, values in answers(recipe.task, fit.network, apart).items():
            outputs.setdefault(name, np.zeros((len(everyone), *values.shape[1:])))[inside] = values
    epochs = round(float(np.median(best_epochs)))
    return fitter.fit(FINAL, everyone, None, epochs), outputs, everyone.target


def folds_of(examples: Examples, folds: int) -> npt.NDArray[np.int64]:
    """int64[P]: a fold for each person, so that rare classes are spread: richest person first, to the poorest fold.

    No fold gets more people than its even share, rounded up.
    """
    if examples.target.ndim > 1 or len(np.unique(examples.target)) < 2:
        rarity = np.ones(len(examples))
    else:
        counts = np.bincount(examples.target + 2)  # room for the marks below zero
        rarity = np.where(examples.target >= 0, 1.0 / counts[examples.target + 2], 0.0)
    worth = np.bincount(examples.person, weights=rarity, minlength=len(examples.people))
    most = -(-len(worth) // folds)
    filled, members = np.zeros(folds), np.zeros(folds, np.int64)
    fold_of = np.zeros(len(worth), np.int64)
    for person in np.argsort(-worth, kind="stable"):
        fold = int(np.argmin(np.where(members < most, filled, np.inf)))
        fold_of[person] = fold
        filled[fold] += worth[person]
        members[fold] += 1
    return fold_of


def _both(one: Examples, other: Examples) -> Examples:
    people = one.people + other.people
    return Examples(
        people=people,
        person=np.concatenate([one.person, other.person + len(one.people)]).astype(np.int32),
        inputs={name: np.concatenate([one.inputs[name], other.inputs[name]]) for name in one.inputs},
        target=np.concatenate([one.target, other.target]),
        end_us=np.concatenate([one.end_us, other.end_us]),
        lost=np.concatenate([one.lost, other.lost]),
    )


def _fits(name: str, arguments: dict[str, int], weights: Weights) -> bool:
    shapes = {key: tensor.shape for key, tensor in catalogue.build(name, arguments).state_dict().items()}
    return shapes == {key: tensor.shape for key, tensor in weights.items()}

"""One training run: seeded, stopped by people it does not learn from, calibrated on people it has not learnt from."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from models.nets import af, catalogue, ecg, glucose, imaging
from models.spec import Calibration
from trainer.augment import augmented
from trainer.calibrate import fitted
from trainer.config import Recipe
from trainer.dataset import Dataset, Examples, Side
from trainer.losses import OUTPUTS, loss, score
from vitals.findings import Task
from vitals.windows.ecg import CONTEXT

Floats = npt.NDArray[np.float64]

_NETWORK: Final[dict[Task, tuple[str, dict[str, int]]]] = {
    Task.ECG_BEAT: (ecg.NETWORK, {"context": len(CONTEXT)}),
    Task.GLUCOSE: (glucose.NETWORK, {}),
    Task.PNEUMONIA: (imaging.NETWORK, {}),
    Task.BREAST: (imaging.NETWORK, {}),
    Task.ECG_AF: (af.NETWORK, {}),
}
_ANSWER_BATCH: Final = 1024
_WARM_UP: Final = 0.1
_GRADIENT_NORM: Final = 1.0


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a training curve. ``score``: on validation people, higher is better; NaN-free: 0 without any."""

    run: str
    epoch: int
    loss: float
    score: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that has learnt. ``network_name``, ``network_arguments``: how to build it again."""

    network: nn.Module = field(repr=False)
    network_name: str
    network_arguments: dict[str, int]
    calibration: Calibration
    curve: list[Epoch] = field(repr=False)
    best_epoch: int
    folds: int
    began_from: str


def train(
    dataset: Dataset, recipe: Recipe, *, weights: Mapping[str, torch.Tensor] | None = None, began_from: str = ""
) -> Trained:
    """Trains on ``dataset`` as ``recipe`` says; the held-out people are never looked at.

    ``weights``: a champion's, to train on from where they fit; ``began_from``: its name for the card. With folds every
    fit begins anew: weights that have learnt from a fold cannot be judged on it.
    """
    name, arguments = _NETWORK[recipe.task]
    arguments = {**arguments, **recipe.network_arguments}
    learn, validate = dataset[Side.TRAIN], dataset[Side.VALIDATE]
    goes_on = weights is not None and bool(recipe.fine_tune) and not recipe.folds
    start = weights if goes_on and weights is not None and _fits(name, arguments, weights) else None
    run = _Run(recipe, name, arguments, start)
    if recipe.folds:
        fit, outputs, target = _cross_validated(run, _both(learn, validate))
    else:
        fit = run.fit("train", learn, validate, recipe.epochs)
        outputs, target = answers(recipe.task, fit.network, validate), validate.target
    calibration = fitted(recipe.task, outputs, target)
    return Trained(
        network=fit.network,
        network_name=name,
        network_arguments=arguments,
        calibration=calibration,
        curve=run.curve,
        best_epoch=fit.best_epoch,
        folds=recipe.folds,
        began_from=began_from if start is not None else "",
    )


def answers(task: Task, network: nn.Module, examples: Examples) -> dict[str, Floats]:
    """The network's named outputs for every example, float64[N, …]."""
    network.eval()
    parts: list[tuple[torch.Tensor, ...]] = []
    with torch.inference_mode():
        for begin in range(0, len(examples), _ANSWER_BATCH):
            rows = slice(begin, begin + _ANSWER_BATCH)
            parts.append(_called(network, {n: torch.from_numpy(t[rows]) for n, t in examples.inputs.items()}))
    return {
        name: torch.cat([part[i] for part in parts]).numpy().astype(np.float64) for i, name in enumerate(OUTPUTS[task])
    }


@dataclass(frozen=True, slots=True)
class _Fit:
    network: nn.Module
    best_epoch: int


class _Run:
    """What all fits of one training run share: the recipe, the start, the curve."""

    def __init__(
        self, recipe: Recipe, name: str, arguments: dict[str, int], start: Mapping[str, torch.Tensor] | None
    ) -> None:
        self.recipe = recipe
        self.curve: list[Epoch] = []
        self._name, self._arguments, self._start = name, arguments, start

    def fit(self, run: str, learn: Examples, validate: Examples | None, epochs: int) -> _Fit:
        """Trains until ``epochs`` are over or ``patience`` epochs brought nothing; keeps the best of them.

        Without ``validate`` or patience every epoch is run and the last is kept.
        """
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        network = catalogue.build(self._name, self._arguments)
        rate = recipe.learning_rate
        if self._start is not None:
            network.load_state_dict(dict(self._start))
            rate *= recipe.fine_tune
        draw = torch.Generator().manual_seed(recipe.seed)
        order = np.random.default_rng(recipe.seed)
        learn = learn.of(np.flatnonzero(_teaches(learn.target)))
        chance = _chances(learn, recipe)
        steps = max(1, (recipe.draws_per_epoch or len(learn)) // recipe.batch_size)
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _Schedule(steps * recipe.epochs))
        best_score, best_epoch, best = -math.inf, epochs, copy.deepcopy(network.state_dict())
        bar = tqdm(range(1, epochs + 1), desc=f"{recipe.task} {run}", unit="epoch", disable=None)
        for epoch in bar:
            began = time.monotonic()
            network.train()
            total = 0.0
            for rows in _batches(len(learn), chance, steps, recipe.batch_size, order):
                inputs = {name: torch.from_numpy(tensor[rows]) for name, tensor in learn.inputs.items()}
                outputs = _called(network, augmented(recipe.task, inputs, recipe.augment, draw))
                value = loss(recipe.task, outputs, torch.from_numpy(learn.target[rows]))
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
                optimiser.step()
                schedule.step()
                total += float(value.detach())
            now = score(recipe.task, answers(recipe.task, network, validate), validate.target) if validate else 0.0
            self.curve.append(
                Epoch(run=run, epoch=epoch, loss=total / steps, score=now, seconds=time.monotonic() - began)
            )
            bar.set_postfix(loss=f"{total / steps:.4f}", score=f"{now:.4f}")
            if validate is None or not recipe.patience:
                best, best_epoch = network.state_dict(), epoch
            elif now > best_score:
                best_score, best_epoch, best = now, epoch, copy.deepcopy(network.state_dict())
            elif epoch - best_epoch >= recipe.patience:
                break
        bar.close()
        network.load_state_dict(best)
        return _Fit(network.eval(), best_epoch)


def _cross_validated(run: _Run, everyone: Examples) -> tuple[_Fit, dict[str, Floats], npt.NDArray[Any]]:
    """The final fit on everyone, and outputs for everyone of networks that had not seen them."""
    recipe = run.recipe
    fold_of = folds_of(everyone, recipe.folds)
    outputs: dict[str, Floats] = {}
    best_epochs = []
    for fold in range(recipe.folds):
        inside = fold_of[everyone.person] == fold
        apart = everyone.of(np.flatnonzero(inside))
        fit = run.fit(f"fold {fold + 1}", everyone.of(np.flatnonzero(~inside)), apart, recipe.epochs)
        best_epochs.append(fit.best_epoch)
        for name, values in answers(recipe.task, fit.network, apart).items():
            outputs.setdefault(name, np.zeros((len(everyone), *values.shape[1:])))[inside] = values
    epochs = round(float(np.median(best_epochs)))
    return run.fit("all", everyone, None, epochs), outputs, everyone.target


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


def _teaches(target: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if target.ndim > 1:
        return np.ones(len(target), dtype=bool)
    return np.asarray(target >= 0)


def _chances(learn: Examples, recipe: Recipe) -> Floats | None:
    """float64[N]: how likely each example is drawn; None draws evenly."""
    if not (recipe.class_balance or recipe.person_balance):
        return None
    per_person = np.bincount(learn.person, minlength=len(learn.people)).astype(np.float64)
    chance: Floats = per_person[learn.person] ** -recipe.person_balance
    if learn.target.ndim == 1:
        per_class = np.bincount(learn.target).astype(np.float64)
        chance *= np.maximum(per_class, 1.0)[learn.target] ** -recipe.class_balance
    share: Floats = chance / chance.sum()
    return share


def _batches(
    n: int, chance: Floats | None, steps: int, size: int, order: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Rows of each batch of one epoch: drawn with replacement by ``chance``, or in shuffled passes."""
    if chance is not None:
        cumulative = np.cumsum(chance)
        rows = np.searchsorted(cumulative, order.random(steps * size) * cumulative[-1])
        return list(np.minimum(rows, n - 1).reshape(steps, size))
    passes = math.ceil(steps * size / n)
    rows = np.concatenate([order.permutation(n) for _ in range(passes)])[: steps * size]
    return list(rows.reshape(steps, size))


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Warm-up, then down a cosine to nothing (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    steps: int

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return (
            done / _WARM_UP if done < _WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
        )


def _fits(name: str, arguments: dict[str, int], weights: Mapping[str, torch.Tensor]) -> bool:
    shapes = {key: tensor.shape for key, tensor in catalogue.build(name, arguments).state_dict().items()}
    return shapes == {key: tensor.shape for key, tensor in weights.items()}


def _called(network: nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    outputs = network(**inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)

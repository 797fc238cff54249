"""One fit of one network: epochs, early stopping, and a checkpoint after each epoch.

Whatever is drawn at random in an epoch depends on (seed, epoch, rank) alone. So a fit that was killed and goes on from
its checkpoint ends with the same weights, to the bit on a CPU, as one that was left alone.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from models.nets import catalogue
from trainer.augment import augmented
from trainer.config import Recipe
from trainer.dataset import Examples
from trainer.losses import OUTPUTS, loss, score
from trainer.world import World
from vitals.findings import Task

Floats = npt.NDArray[np.float64]
Weights = Mapping[str, torch.Tensor]

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
class Fit:
    """A fitted network, as it was after ``best_epoch``, where its validation score was ``score``."""

    network: nn.Module = field(repr=False)
    best_epoch: int
    score: float


@dataclass(slots=True)
class _Progress:
    """What a checkpoint holds. ``state``: of network, optimiser and scaler after ``epoch``; ``best``: weights."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    curve: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)


class Fitter:
    """What all fits of one training run share: the recipe, the network to build, the world, the curve.

    ``start``: weights to begin from; ``checkpoints``: the folder of this run's, None keeps none. ``told``: hears of
    every epoch, in the first process, those before a resumption too; what it raises ends the fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        arguments: dict[str, int],
        *,
        start: Weights | None,
        world: World,
        checkpoints: Path | None,
        told: Callable[[Epoch], None] | None,
    ) -> None:
        self.recipe = recipe
        self.curve: list[Epoch] = []
        self._name, self._arguments, self._start = name, arguments, start
        self._world, self._checkpoints, self._told = world, checkpoints, told

    def fit(self, run: str, learn: Examples, validate: Examples | None, epochs: int) -> Fit:
        """Trains until ``epochs`` are over or ``patience`` epochs brought nothing; keeps the best of them.

        Without ``validate`` or patience every epoch is run and the last is kept.
        """
        recipe, world = self.recipe, self._world
        network = self._built().to(world.device)
        rate = recipe.learning_rate * (recipe.fine_tune if self._start is not None else 1.0)
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=recipe.weight_decay)
        scaler = torch.amp.GradScaler(world.device.type, enabled=recipe.mixed_precision and world.half is torch.float16)
        learn = learn.of(np.flatnonzero(_teaches(learn.target)))
        chance = _chances(learn, recipe)
        steps = max(1, (recipe.draws_per_epoch or len(learn)) // recipe.batch_size)

        parts = {"network": network, "optimiser": optimiser, "scaler": scaler}
        so_far = self._resumed(run, parts)
        stops = validate is not None and recipe.patience > 0
        shared = world.together(network)
        bar = tqdm(
            total=epochs, initial=so_far.epoch, desc=f"{recipe.task} {run}", unit="epoch",
            disable=None if world.first else True,
        )  # fmt: skip
        while so_far.epoch < epochs and not (stops and so_far.epoch - so_far.best_epoch >= recipe.patience):
            began, epoch = time.monotonic(), so_far.epoch + 1
            order, draw = self._dice(epoch)
            shared.train()
            total = 0.0
            for step, rows in enumerate(_batches(len(learn), chance, steps, recipe.batch_size, order)):
                for group in optimiser.param_groups:
                    group["lr"] = rate * _share_of_rate((epoch - 1) * steps + step, steps * recipe.epochs)
                value = self._loss(shared, learn, rows[world.rank :: world.size], draw)
                optimiser.zero_grad(set_to_none=True)
                scaler.scale(value).backward()
                scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
                scaler.step(optimiser)
                scaler.update()
                total += float(value.detach())
            now = self._score(network, validate)
            so_far.epoch = epoch
            if not stops or now > so_far.best_score:
                so_far.best_score, so_far.best_epoch = now, epoch
                so_far.best = copy.deepcopy(network.state_dict())
            made = Epoch(run=run, epoch=epoch, loss=total / steps, score=now, seconds=time.monotonic() - began)
            so_far.curve.append(msgspec.structs.asdict(made))
            self._keep(run, so_far, parts)
            self._say(made)
            bar.update()
            bar.set_postfix(loss=f"{made.loss:.4f}", score=f"{now:.4f}")
        bar.close()
        network.load_state_dict(so_far.best)
        return Fit(network.eval(), so_far.best_epoch, so_far.best_score)

    def _built(self) -> nn.Module:
        torch.manual_seed(self.recipe.seed)
        network = catalogue.build(self._name, self._arguments)
        if self._start is not None:
            network.load_state_dict(dict(self._start))
        if self.recipe.dropout is not None:
            for layer in network.modules():
                if isinstance(layer, nn.Dropout):
                    layer.p = self.recipe.dropout
        return network

    def _dice(self, epoch: int) -> tuple[np.random.Generator, torch.Generator]:
        """The order of the examples, the same for all; and augmentation, which (as dropout) is each process's own."""
        seeds = np.random.SeedSequence([self.recipe.seed, epoch, self._world.rank]).generate_state(2, np.uint64)
        torch.manual_seed(int(seeds[0]))
        return np.random.default_rng([self.recipe.seed, epoch]), torch.Generator().manual_seed(int(seeds[1]))

    def _loss(
        self, network: nn.Module, learn: Examples, rows: npt.NDArray[np.int64], draw: torch.Generator
    ) -> torch.Tensor:
        recipe, device = self.recipe, self._world.device
        cut = {name: torch.from_numpy(tensor[rows]) for name, tensor in learn.inputs.items()}
        inputs = {name: x.to(device) for name, x in augmented(recipe.task, cut, recipe.augment, draw).items()}
        with torch.autocast(device.type, self._world.half, enabled=recipe.mixed_precision):
            outputs = _called(network, inputs)
        whole = tuple(output.float() for output in outputs)
        return loss(recipe.task, whole, torch.from_numpy(learn.target[rows]).to(device))

    def _score(self, network: nn.Module, validate: Examples | None) -> float:
        if validate is None:
            return 0.0
        task = self.recipe.task
        now = score(task, answers(task, network, validate), validate.target) if self._world.first else 0.0
        return self._world.told(now)

    def _say(self, made: Epoch) -> None:
        self.curve.append(made)
        if self._told is not None and self._world.first:
            self._told(made)

    def _resumed(self, run: str, parts: Mapping[str, Any]) -> _Progress:
        path = self._path(run)
        if path is None or not path.exists():
            return _Progress()
        so_far = _Progress(**torch.load(path, map_location=self._world.device, weights_only=True))
        for name, part in parts.items():
            part.load_state_dict(so_far.state[name])
        for point in so_far.curve:
            self._say(Epoch(**point))
        return so_far

    def _keep(self, run: str, so_far: _Progress, parts: Mapping[str, Any]) -> None:
        path = self._path(run)
        if path is None or not self._world.first:
            return
        so_far.state = {name: part.state_dict() for name, part in parts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".tmp")
        with staged.open("wb") as file:
            torch.save({name: getattr(so_far, name) for name in _Progress.__slots__}, file)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)

    def _path(self, run: str) -> Path | None:
        return None if self._checkpoints is None else self._checkpoints / f"{run.replace(' ', '-')}.pt"


def answers(task: Task, network: nn.Module, examples: Examples) -> dict[str, Floats]:
    """The network's named outputs for every example, float64[N, …]."""
    network.eval()
    device = next(network.parameters()).device
    parts: list[tuple[torch.Tensor, ...]] = []
    with torch.inference_mode():
        for begin in range(0, len(examples), _ANSWER_BATCH):
            rows = slice(begin, begin + _ANSWER_BATCH)
            inputs = {n: torch.from_numpy(t[rows]).to(device) for n, t in examples.inputs.items()}
            parts.append(tuple(output.cpu() for output in _called(network, inputs)))
    return {
        name: torch.cat([part[i] for part in parts]).numpy().astype(np.float64) for i, name in enumerate(OUTPUTS[task])
    }


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


def _share_of_rate(step: int, steps: int) -> float:
    """Warm-up, then down a cosine to nothing (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    done = min(step / steps, 1.0)
    return done / _WARM_UP if done < _WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


def _called(network: nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    outputs = network(**inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)

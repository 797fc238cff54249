"""The search for a better recipe: Optuna over the ``[search]`` table of the recipe file.

A trial is one training run, scored on validation people (or, with folds, on everybody out of fold); the held-out people
are for the gate and are not looked at here. A study belongs to one dataset, one recipe and one search space, and is
kept in the state folder: what was stopped goes on, and a trial that was cut off is tried again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from trainer.config import Axis, Places, Recipe, RecipeError, with_figures
from trainer.dataset import Dataset
from trainer.fit import Epoch
from trainer.tracking import TrackedRun
from trainer.train import FINAL, train
from vitals.clock import Clock

Sampler = Literal["grid", "random", "bayes"]

_FOLDER: Final = "tuning"
_TRIALS_BEFORE_PRUNING: Final = 4
_EPOCHS_BEFORE_PRUNING: Final = 2

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The best of a study. ``trials``: that ended, ``pruned`` of them given up early; ``score``: higher is better."""

    recipe: Recipe
    score: float
    trials: int
    pruned: int


def tuned(
    base: Recipe,
    axes: Mapping[str, Axis],
    dataset: Dataset,
    places: Places,
    clock: Clock,
    sampler: Sampler,
    trials: int,
) -> Found:
    """The best recipe after ``trials`` trials in all, those of earlier calls among them (a grid: at most all of it).

    Raises ``RecipeError`` for a figure that a recipe does not have, and when no trial came to an end.
    """
    study = _study(base, axes, dataset, places, sampler)
    if sampler == "grid":
        trials = min(trials, int(np.prod([len(_grid(axis)) for axis in axes.values()])))
    for cut_off in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(cut_off.number, state=TrialState.FAIL)
        study.enqueue_trial(cut_off.params)

    def objective(trial: Trial) -> float:
        figures = {name: _suggested(trial, name, axis) for name, axis in axes.items()}
        chosen = with_figures(base, figures)
        tracked = TrackedRun(places, chosen, f"trial {trial.number}", {"study": study.study_name}, clock)
        told = _Reporter(trial, tracked)
        try:
            trained = train(dataset, chosen, told=told)
        except optuna.TrialPruned:
            tracked.failed()
            raise
        tracked.scored(trained.score)
        return trained.score

    left = trials - len(_finished(study))
    if left > 0:
        study.optimize(objective, n_trials=left)
    pruned = study.get_trials(states=(TrialState.PRUNED,))
    try:
        best = study.best_trial
    except ValueError:
        raise RecipeError(f"{base.task}: no trial came to an end") from None
    return Found(
        recipe=with_figures(base, best.params),
        score=float(best.value or 0.0),
        trials=len(_finished(study)),
        pruned=len(pruned),
    )


class _Reporter:
    """Tells every epoch to the study, which may prune the trial, and to MLflow."""

    def __init__(self, trial: Trial, tracked: TrackedRun) -> None:
        self._trial, self._tracked = trial, tracked
        self._steps = 0

    def __call__(self, made: Epoch) -> None:
        self._tracked.epoch(made)
        if made.run == FINAL:  # nobody is left to score it
            return
        self._trial.report(made.score, self._steps)
        self._steps += 1
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _study(base: Recipe, axes: Mapping[str, Axis], dataset: Dataset, places: Places, sampler: Sampler) -> optuna.Study:
    folder = places.state / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    named = msgspec.json.encode((base, dict(axes)))
    study = optuna.create_study(
        study_name=f"{sampler}-{dataset.hash[:12]}-{hashlib.sha256(named).hexdigest()[:12]}",
        storage=JournalStorage(JournalFileBackend(str(folder / f"{base.task}.journal"))),
        pruner=optuna.pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, _EPOCHS_BEFORE_PRUNING),
        direction="maximize",
        load_if_exists=True,
    )
    # a study that goes on must not draw the same numbers again
    seed = base.seed + len(study.get_trials())
    if sampler == "grid":
        study.sampler = optuna.samplers.GridSampler({name: _grid(axis) for name, axis in axes.items()}, base.seed)
    elif sampler == "random":
        study.sampler = optuna.samplers.RandomSampler(seed)
    else:
        study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    ended: list[FrozenTrial] = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return ended


def _suggested(trial: Trial, name: str, axis: Axis) -> int | float | str:
    value: int | float | str
    if axis.choices:
        value = trial.suggest_categorical(name, axis.choices)
    elif isinstance(axis.low, int) and isinstance(axis.high, int):
        value = trial.suggest_int(name, axis.low, axis.high, log=axis.log)
    else:
        value = trial.suggest_float(name, axis.low, axis.high, log=axis.log)
    return value


def _grid(axis: Axis) -> list[int | float | str]:
    if axis.choices:
        return axis.choices
    spaced = np.geomspace if axis.log else np.linspace
    points = np.clip(spaced(axis.low, axis.high, axis.points), axis.low, axis.high)
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return sorted({round(point) for point in points.tolist()})
    return [float(point) for point in points]

"""The search for a recipe: every sampler, what was stopped goes on, and the held-out people are not looked at."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.trainer.small import NOW_US, breast, small, world
from trainer.config import TRAINED_TASKS, Axis, Places, RecipeError, recipe, search_space, with_figures, written
from trainer.dataset import Dataset, Side
from trainer.tune import Sampler, tuned
from vitals.clock import ManualClock
from vitals.findings import Task

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]

AXES = {"learning_rate": Axis(choices=[1e-5, 4e-3]), "dropout": Axis(choices=[0.1, 0.3])}
RANGES = {"learning_rate": Axis(low=1e-5, high=1e-2, log=True), "batch_size": Axis(low=32, high=64)}
BASE = small(epochs=2)


@pytest.fixture(scope="module")
def learnt_from(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    whole = breast(world(tmp_path_factory.mktemp("breast")), BASE, train=100, validation=40)
    sides = {side: whole[side] for side in (Side.TRAIN, Side.VALIDATE)}  # whoever asks for the third fails
    return Dataset(whole.task, whole.spec, sides, whole.hash)


def studies(at: Places) -> list[optuna.Study]:
    storage = JournalStorage(JournalFileBackend(str(at.state / "tuning" / "breast.journal")))
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


def test_a_grid_is_gone_through_once_and_the_best_is_found(learnt_from: Dataset, tmp_path: Path) -> None:
    at = world(tmp_path)
    found = tuned(BASE, AXES, learnt_from, at, ManualClock(NOW_US), "grid", 10)
    (study,) = studies(at)
    tried = [tuple(sorted(trial.params.items())) for trial in study.get_trials()]
    assert found.trials == len(tried) == len(set(tried)) == 4
    assert found.recipe.learning_rate == 4e-3
    assert found.score == max(trial.value for trial in study.get_trials() if trial.value is not None)


@pytest.mark.parametrize("sampler", ["random", "bayes"])
def test_a_search_that_was_stopped_goes_on_and_tries_again_what_was_cut_off(
    learnt_from: Dataset, tmp_path: Path, sampler: Sampler
) -> None:
    at = world(tmp_path)
    tuned(BASE, RANGES, learnt_from, at, ManualClock(NOW_US), sampler, 2)
    (study,) = studies(at)
    killed = study.ask()
    figures = {"learning_rate": killed.suggest_float("learning_rate", 1e-5, 1e-2, log=True), "batch_size": 40}
    killed.suggest_int("batch_size", 32, 64)
    found = tuned(BASE, RANGES, learnt_from, at, ManualClock(NOW_US), sampler, 4)
    (study,) = studies(at)
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    assert found.trials == len(ended) == 4
    assert figures["learning_rate"] in [trial.params["learning_rate"] for trial in ended]
    assert len({trial.params["learning_rate"] for trial in ended}) == 4
    assert all(32 <= trial.params["batch_size"] <= 64 for trial in ended)


def test_another_recipe_is_another_study(learnt_from: Dataset, tmp_path: Path) -> None:
    at = world(tmp_path)
    one = {"dropout": Axis(choices=[0.1])}
    for base in (BASE, small(epochs=1)):
        tuned(base, one, learnt_from, at, ManualClock(NOW_US), "grid", 1)
    assert len(studies(at)) == 2


def test_a_hopeless_trial_is_given_up_early(learnt_from: Dataset, tmp_path: Path) -> None:
    base = small(epochs=6, patience=0)
    axes = {"learning_rate": Axis(choices=[4e-3, 4.1e-3, 4.2e-3, 4.3e-3, 1e-7, 1.1e-7, 1.2e-7])}
    found = tuned(base, axes, learnt_from, world(tmp_path), ManualClock(NOW_US), "grid", 7)
    assert found.trials == 7
    assert found.recipe.learning_rate > 1e-3
    (study,) = studies(world(tmp_path))
    pruned = study.get_trials(states=(TrialState.PRUNED,))
    assert len(pruned) == found.pruned
    assert all(trial.params["learning_rate"] < 1e-3 or len(trial.intermediate_values) > 2 for trial in pruned)


def test_a_figure_that_no_recipe_has_stops_the_search(learnt_from: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        tuned(BASE, {"magic": Axis(choices=[1])}, learnt_from, world(tmp_path), ManualClock(NOW_US), "grid", 1)


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_every_recipe_says_what_may_be_searched_and_its_figures_exist(task: Task) -> None:
    figures = {name: axis.choices[0] if axis.choices else axis.low for name, axis in search_space(task).items()}
    assert figures
    with_figures(recipe(task), figures)


def test_a_found_recipe_is_written_as_one_that_can_be_read(tmp_path: Path) -> None:
    chosen = with_figures(BASE, {"learning_rate": 0.0123, "augment.noise": 0.5})
    path = tmp_path / "found.toml"
    path.write_bytes(written(chosen))
    assert recipe(Task.BREAST, path=path) == chosen
    with pytest.raises(RecipeError, match="no \\[search\\] table"):
        search_space(Task.BREAST, path)


@pytest.mark.parametrize(
    "axis", [{"low": 2, "high": 1}, {}, {"choices": [1], "low": 1, "high": 2}, {"low": 0, "high": 1, "log": True}]
)
def test_an_axis_that_says_nothing_or_too_much_is_refused(axis: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"choices|grid"):
        Axis(**axis)

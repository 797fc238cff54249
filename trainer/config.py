"""What a run is told: a recipe per task (``recipes/*.toml``), and the few settings of the machine.

A recipe is the whole of what decides a model apart from the data: it is hashed into the dataset manifest's neighbour,
the bundle's card. Settings are read here, once, at the composition root.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from vitals.errors import WardwatchError
from vitals.findings import Task

RECIPES: Final = Path(__file__).parent / "recipes"
TRAINED_TASKS: Final = (Task.ECG_BEAT, Task.GLUCOSE, Task.PNEUMONIA, Task.BREAST, Task.ECG_AF)

WINDOWS_TOPIC: Final = "windows.v1"
LABELS_TOPIC: Final = "labels.v1"
DRIFT_TOPIC: Final = "drift.v1"
GATE_TOPIC: Final = "gate.v1"
CHALLENGES_TOPIC: Final = "challenges.v1"


class RecipeError(WardwatchError):
    """A recipe holds something it may not, or the task has none."""


class SplitRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is kept apart. A person's side depends on their name only, so it never moves as the corpus grows.

    ``held_out``, ``validate``, ``train``: shell patterns of person names, asked in this order. Whoever matches none
    goes by a hash of the name: ``held_out_share`` and ``validate_share`` of the people to those sides, the others to
    training.
    """

    held_out: tuple[str, ...] = ()
    validate: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    held_out_share: float = 0.15
    validate_share: float = 0.15


class CorpusRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is read. ``max_windows_per_person``: evenly spaced in time; 0 keeps all."""

    max_windows_per_person: int = 0


class AugmentRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Changes to a window that do not change its label. Probabilities 0..1; ``amplitude``: factor up to 1 ± it.

    ECG: ``swap_leads``, ``drop_lead`` (one lead becomes silent), ``wander_mv`` (baseline, up to).
    Images: ``flip`` (left-right), ``shift_pixels``, ``shade`` (added grey, up to).
    Both: ``amplitude``, ``noise`` (standard deviation, in mV or grey, up to).
    """

    amplitude: float = 0.0
    noise: float = 0.0
    swap_leads: float = 0.0
    drop_lead: float = 0.0
    wander_mv: float = 0.0
    flip: float = 0.0
    shift_pixels: int = 0
    shade: float = 0.0


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about one training run but the data.

    ``patience``: epochs without a better validation score before the end, and the best is kept; 0 runs them all and
    keeps the last, where the score of few people is noise. ``draws_per_epoch``: windows drawn with replacement per
    epoch; 0 is one pass over all. ``class_balance``, ``person_balance``: 0 draws as they come, 1 draws every class
    (every person) equally often. ``dropout``: of every layer that has one, instead of the network's own.
    ``mixed_precision``: forward passes in bfloat16 (float16 where the GPU has no better). ``folds``: 0 stops and
    calibrates on the validation people; K ≥ 2 joins them to the training people, cross-validates by person, calibrates
    on the out-of-fold outputs and fits once more on all for the median of the best epochs. ``fine_tune``: the share of
    the learning rate with which a champion's weights are trained on; 0 always begins anew.
    """

    task: Task
    network_arguments: dict[str, int] = {}
    seed: int = 7
    epochs: int = 20
    patience: int = 5
    batch_size: int = 128
    draws_per_epoch: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    class_balance: float = 0.0
    person_balance: float = 0.0
    dropout: float | None = None
    mixed_precision: bool = False
    folds: int = 0
    fine_tune: float = 0.2
    bootstrap: int = 300
    split: SplitRecipe = SplitRecipe()
    corpus: CorpusRecipe = CorpusRecipe()
    augment: AugmentRecipe = AugmentRecipe()

    def __post_init__(self) -> None:
        if self.task not in TRAINED_TASKS:
            raise ValueError(f"no network for {self.task}")
        if min(self.epochs, self.batch_size) < 1 or self.patience < 0 or self.folds == 1 or self.folds < 0:
            raise ValueError("epochs and batch_size are at least 1, patience at least 0; folds is 0 or at least 2")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError("dropout is a probability below 1")
        if self.split.held_out_share + self.split.validate_share >= 1:
            raise ValueError("someone must be left to learn from")


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one figure of a recipe may be: one of ``choices``, or anything from ``low`` to ``high``.

    ``log``: tried evenly over orders of magnitude. ``points``: how many values of a range a grid has.
    """

    choices: list[int | float | str] = []
    low: int | float = 0
    high: int | float = 0
    log: bool = False
    points: int = 3

    def __post_init__(self) -> None:
        if bool(self.choices) == (self.low < self.high):
            raise ValueError("choices, or a low below a high")
        if self.points < 2 or (self.log and self.low <= 0):
            raise ValueError("a grid has two points or more, and a logarithm begins above zero")


def recipe(task: Task, *, quick: bool = False, path: Path | None = None) -> Recipe:
    """The recipe of ``task``; ``quick`` lays its ``[quick]`` table over it. Raises ``RecipeError``."""
    table = _table(task, path)
    overlay = _as_table(table.pop("quick", {}))
    table.pop("search", None)
    return _made(task, _laid_over(table, overlay) if quick else table)


def search_space(task: Task, path: Path | None = None) -> dict[str, Axis]:
    """The ``[search]`` table of the recipe of ``task``: by figure (``augment.noise`` is one of a table below).

    Raises ``RecipeError``, also when there is none.
    """
    try:
        axes = msgspec.convert(_table(task, path).get("search", {}), dict[str, Axis])
    except (msgspec.ValidationError, ValueError) as error:
        raise RecipeError(f"{task}: search: {error}") from None
    if not axes:
        raise RecipeError(f"the recipe of {task} has no [search] table: nothing to choose from")
    return axes


def with_figures(chosen: Recipe, figures: Mapping[str, object]) -> Recipe:
    """``chosen`` with some figures replaced, by the names of ``search_space``. Raises ``RecipeError``."""
    overlay: dict[str, object] = {}
    for name, value in figures.items():
        table, dot, below = name.partition(".")
        if dot:
            overlay[table] = {**_as_table(overlay.get(table)), below: value}
        else:
            overlay[name] = value
    return _made(chosen.task, _laid_over(_as_table(msgspec.to_builtins(chosen)), overlay))


def written(chosen: Recipe) -> bytes:
    """``chosen`` as a recipe file."""
    table = _as_table(msgspec.to_builtins(chosen))
    return msgspec.toml.encode({name: value for name, value in table.items() if value is not None})


def _table(task: Task, path: Path | None) -> dict[str, object]:
    path = path or RECIPES / f"{task}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path.name}: {error}") from None


def _made(task: Task, table: Mapping[str, object]) -> Recipe:
    try:
        made = msgspec.convert(table, Recipe)
    except (msgspec.ValidationError, ValueError) as error:
        raise RecipeError(f"recipe of {task}: {error}") from None
    if made.task is not task:
        raise RecipeError(f"this recipe is for {made.task}, not for {task}")
    return made


def _laid_over(table: Mapping[str, object], overlay: Mapping[str, object]) -> dict[str, object]:
    merged = dict(table)
    for name, value in overlay.items():
        below = merged.get(name)
        merged[name] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _as_table(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, dict) else {}


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where things lie on this machine. ``data``: public sets; ``state``: working files; ``registry``: models;
    ``bundles``: those that came with the program; ``tracking``: address of an MLflow server, empty for a local store.
    ``signing_key``: what bundles are signed with, None for not at all.
    """

    data: Path
    state: Path
    registry: Path
    bundles: Path
    signing_key: Path | None = None
    tracking: str = ""


def places(environment: Mapping[str, str]) -> Places:
    """From ``WARDWATCH_DATA``, ``WARDWATCH_STATE``, ``WARDWATCH_REGISTRY``, the same variables as the worker's,
    ``WARDWATCH_SIGNING_KEY``, which no worker knows, and ``MLFLOW_TRACKING_URI``.

    Data defaults to ``../shared/data`` beside the project when it is there, else to the user's cache folder.
    """
    project = Path(__file__).parent.parent
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wardwatch"
    beside = project.parent / "shared" / "data"
    data = environment.get("WARDWATCH_DATA") or (beside if beside.is_dir() else cache / "data")
    state = Path(environment.get("WARDWATCH_STATE") or ".wardwatch")
    registry = Path(environment.get("WARDWATCH_REGISTRY") or state / "registry")
    key = environment.get("WARDWATCH_SIGNING_KEY")
    return Places(
        data=Path(data),
        state=state,
        registry=registry,
        bundles=project / "models" / "bundles",
        signing_key=Path(key) if key else None,
        tracking=environment.get("MLFLOW_TRACKING_URI", ""),
    )

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
RELEASES_TOPIC: Final = "releases.v1"


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
    (every person) equally often. ``folds``: 0 stops and calibrates on the validation people; K ≥ 2 joins them to the
    training people, cross-validates by person, calibrates on the out-of-fold outputs and fits once more on all for the
    median of the best epochs. ``fine_tune``: the share of the learning rate with which a champion's weights are trained
    on; 0 always begins anew.
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
        if self.split.held_out_share + self.split.validate_share >= 1:
            raise ValueError("someone must be left to learn from")


def recipe(task: Task, *, quick: bool = False, path: Path | None = None) -> Recipe:
    """The recipe of ``task``; ``quick`` lays its ``[quick]`` table over it. Raises ``RecipeError``."""
    path = path or RECIPES / f"{task}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        overlay = table.pop("quick", {})
        made = msgspec.convert(_laid_over(table, overlay) if quick else table, Recipe)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise RecipeError(f"{path.name}: {error}") from None
    if made.task is not task:
        raise RecipeError(f"{path.name} is for {made.task}")
    return made


def _laid_over(table: Mapping[str, object], overlay: Mapping[str, object]) -> dict[str, object]:
    merged = dict(table)
    for name, value in overlay.items():
        below = merged.get(name)
        merged[name] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where things lie on this machine. ``data``: public sets; ``state``: working files; ``registry``: models."""

    data: Path
    state: Path
    registry: Path
    bundles: Path


def places(environment: Mapping[str, str]) -> Places:
    """From ``WARDWATCH_DATA``, ``WARDWATCH_STATE`` and ``WARDWATCH_REGISTRY``, the same variables as the worker's.

    Data defaults to ``../shared/data`` beside the project when it is there, else to the user's cache folder.
    """
    project = Path(__file__).parent.parent
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wardwatch"
    beside = project.parent / "shared" / "data"
    data = environment.get("WARDWATCH_DATA") or (beside if beside.is_dir() else cache / "data")
    state = Path(environment.get("WARDWATCH_STATE") or ".wardwatch")
    registry = Path(environment.get("WARDWATCH_REGISTRY") or state / "registry")
    return Places(data=Path(data), state=state, registry=registry, bundles=project / "models" / "bundles")

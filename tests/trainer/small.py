"""A small world that learns in seconds: where it lies, its data, a recipe that is over soon."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.trainer.synthetic import breast_set
from trainer.config import Places, Recipe, recipe
from trainer.dataset import Dataset, assembled
from trainer.gather import gathered
from vitals.findings import Task

NOW_US = 1_800_000_000_000_000


def world(folder: Path, tracking: str = "") -> Places:
    return Places(
        data=folder / "data",
        state=folder / "state",
        registry=folder / "registry",
        bundles=folder / "none",
        tracking=tracking,
    )


def small(task: Task = Task.BREAST, **changed: object) -> Recipe:
    short = {"epochs": 4, "patience": 4, "draws_per_epoch": 0, "bootstrap": 60, "learning_rate": 4e-3}
    return msgspec.structs.replace(recipe(task), **(short | changed))


def breast(at: Places, chosen: Recipe, **sizes: int) -> Dataset:
    """The assembled dataset of a look-alike of BreastMNIST, which is written into ``at`` first."""
    breast_set(at.data, **sizes)
    corpus = gathered(Task.BREAST, at, None, chosen.corpus)
    return assembled(Task.BREAST, corpus.people, chosen.split, corpus.excluded)

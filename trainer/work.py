"""What a turn has done so far, so that one that was killed can be taken up: the dataset it froze, its checkpoints."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Final

import msgspec

from trainer.config import Recipe
from trainer.dataset import Dataset
from trainer.frozen import folder, thaw
from vitals.clock import Clock
from vitals.units import US_PER_S

FOLDER: Final = "work"
_FILE: Final = "taken.json"
_FRESH_US: Final = 24 * 3600 * US_PER_S
"""After a day the ward has moved on: a turn that was killed begins again with what is known now."""


class _Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken up. ``recipe``: a hash of it."""

    dataset: str
    recipe: str
    when_us: int


class Work:
    """The working files of one task's turn; gone when it is done."""

    def __init__(self, state: Path, recipe: Recipe, clock: Clock) -> None:
        self._folder = state / FOLDER / recipe.task
        self._datasets = folder(state, recipe.task)
        self._task, self._clock = recipe.task, clock
        self._recipe = hashlib.sha256(msgspec.json.encode(recipe)).hexdigest()

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints of the turn lie."""
        return self._folder / "checkpoints"

    def dataset(self) -> Dataset | None:
        """The dataset of a turn by this recipe that was killed less than a day ago, None when there is none."""
        try:
            taken = msgspec.json.decode((self._folder / _FILE).read_bytes(), type=_Taken)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        path = self._datasets / f"{taken.dataset}.npz"
        stale = self._clock.now_us() - taken.when_us > _FRESH_US
        if stale or taken.recipe != self._recipe or not path.exists():
            return None
        return thaw(path, self._task)

    def took(self, dataset: Path) -> None:
        """Notes that the turn learns from the frozen ``dataset``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        taken = _Taken(dataset=dataset.stem, recipe=self._recipe, when_us=self._clock.now_us())
        staged = self._folder / f"{_FILE}.tmp"
        staged.write_bytes(msgspec.json.encode(taken))
        staged.replace(self._folder / _FILE)

    def done(self) -> None:
        """The turn is over: nothing of it is taken up again."""
        shutil.rmtree(self._folder, ignore_errors=True)

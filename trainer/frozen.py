"""Datasets on disk: the arrays under the name of their content, and a manifest beside them that people can read.

    <folder>/<task>/<hash>.npz    everything that was learnt from and compared on, the newest only
    <folder>/<task>/<hash>.json   whose it was, what was left out and why, where it came from and under what terms

A manifest outlives its arrays as long as a bundle names it: who was in a model's dataset must still be known when only
the model is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from trainer.config import SplitRecipe
from trainer.corpus.sources import Source
from trainer.dataset import Dataset, DatasetRefused, Examples, Side, content_hash, flat, unflat
from trainer.examples import SPEC
from trainer.labels import CLASSES
from vitals.findings import Task

_FOLDER: Final = "datasets"


class SideManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One side. ``people``: public names and pseudonyms; ``windows``: how many; ``per_class``: of these, by class."""

    people: list[str]
    windows: int
    per_class: dict[str, int] = {}


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a frozen dataset is. ``frozen_us``: UTC; ``excluded``: windows left out, by reason."""

    task: Task
    spec: str
    hash: str
    frozen_us: int
    sides: dict[str, SideManifest]
    excluded: dict[str, int]
    sources: list[Source]
    split: SplitRecipe
    format: int = 1

    def has(self, person: str) -> bool:
        """Whether ``person`` is on any side."""
        return any(person in side.people for side in self.sides.values())


def folder(state: Path, task: Task) -> Path:
    """Where the datasets of ``task`` lie."""
    return state / _FOLDER / task


def freeze(dataset: Dataset, state: Path, split: SplitRecipe, sources: Sequence[Source], now_us: int) -> Path:
    """Writes the arrays and the manifest, and removes older arrays: the newest is the one compared on."""
    manifest = DatasetManifest(
        task=dataset.task,
        spec=dataset.spec,
        hash=dataset.hash,
        frozen_us=now_us,
        sides={str(side): _of_side(dataset.task, dataset[side]) for side in Side},
        excluded=dict(dataset.excluded),
        sources=list(sources),
        split=split,
    )
    return _kept(dataset, manifest, folder(state, dataset.task))


def thaw(path: Path, task: Task) -> Dataset:
    """A frozen dataset. Raises ``DatasetRefused`` when its content is not what its name says."""
    with np.load(path, allow_pickle=False) as file:
        named = {name: file[name] for name in file.files}
    sides = {side: unflat(side, named) for side in Side}
    made = Dataset(task, SPEC[task], sides, content_hash(task, sides))
    if made.hash != path.stem:
        raise DatasetRefused(f"frozen dataset {path.stem[:12]} was altered")
    return made


def newest(state: Path, task: Task) -> Path | None:
    """The frozen arrays of ``task``, None when there are none."""
    return next(folder(state, task).glob("*.npz"), None)


def manifests(state: Path, task: Task) -> Iterator[DatasetManifest]:
    """Every manifest of ``task``."""
    for path in sorted(folder(state, task).glob("*.json")):
        yield msgspec.json.decode(path.read_bytes(), type=DatasetManifest)


def without(state: Path, task: Task, people: Collection[str], now_us: int) -> int:
    """Freezes the arrays of ``task`` again without ``people``; how many windows went. The old manifest stays.

    Where a side would stay empty the arrays are removed altogether.
    """
    path = newest(state, task)
    if path is None:
        return 0
    dataset = thaw(path, task)
    kept = {side: dataset[side].without(people) for side in Side}
    gone = sum(len(dataset[side]) - len(kept[side]) for side in Side)
    if not gone:
        return 0
    if not all(len(examples) for examples in kept.values()):
        path.unlink()
        return gone
    smaller = Dataset(task, dataset.spec, kept, content_hash(task, kept))
    was = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=DatasetManifest)
    excluded = dict(was.excluded) | {"erased": was.excluded.get("erased", 0) + gone}
    sides = {str(side): _of_side(task, kept[side]) for side in Side}
    _kept(
        smaller,
        msgspec.structs.replace(was, hash=smaller.hash, frozen_us=now_us, sides=sides, excluded=excluded),
        path.parent,
    )
    return gone


def _kept(dataset: Dataset, manifest: DatasetManifest, at: Path) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    path = at / f"{dataset.hash}.npz"
    beside = path.with_suffix(".json")
    staged = beside.with_suffix(".tmp")
    staged.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    staged.replace(beside)
    if not path.exists():
        staged = path.with_suffix(".tmp")
        with staged.open("wb") as file:
            np.savez(file, allow_pickle=False, **flat(dataset.sides))
        staged.replace(path)
    for older in at.glob("*.npz"):
        if older != path:
            older.unlink()
    return path


def _of_side(task: Task, examples: Examples) -> SideManifest:
    names = CLASSES.get(task, ())
    per_class = {name: int((examples.target == k).sum()) for k, name in enumerate(names)}
    return SideManifest(people=list(examples.people), windows=len(examples), per_class=per_class)

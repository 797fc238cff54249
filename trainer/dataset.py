"""Examples of many people, split by person, in one fixed order, named by their content.

A person is on one side only, for ever: the side follows from the name alone, so it does not move as the corpus grows,
and two names of one human being follow the same one.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.config import SplitRecipe
from trainer.examples import SPEC, Array, PersonExamples
from trainer.labels import SAME_PERSON
from vitals.errors import WardwatchError
from vitals.findings import Task

_INPUT: Final = "input."
_SHARE_BITS: Final = 64


class DatasetRefused(WardwatchError):
    """There is nothing to learn from, or a frozen dataset is not what its name says."""


class Side(enum.StrEnum):
    """What a person is for. ``HELD_OUT``: the gate's people, whom no model may ever have learnt from."""

    TRAIN = "train"
    VALIDATE = "validate"
    HELD_OUT = "held-out"


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples of several people. ``people``: names, ascending; ``person``: int32[N], index into them.

    ``inputs``, ``target``, ``end_us``: as in ``PersonExamples``, one after the other. ``lost``: int64[P, K].
    ``traits``: of each person, as in ``PersonExamples``; empty where nothing is known of anybody.
    """

    people: tuple[str, ...] = field(repr=False)
    person: npt.NDArray[np.int32] = field(repr=False)
    inputs: dict[str, Array] = field(repr=False)
    target: Array = field(repr=False)
    end_us: npt.NDArray[np.int64] = field(repr=False)
    lost: npt.NDArray[np.int64] = field(repr=False)
    traits: tuple[str, ...] = field(repr=False, default=())

    def __len__(self) -> int:
        return len(self.person)

    def of(self, rows: npt.NDArray[Any]) -> Examples:
        """The examples at ``rows`` (indices or a mask); the list of people stays."""
        inputs = {name: tensor[rows] for name, tensor in self.inputs.items()}
        return Examples(
            self.people, self.person[rows], inputs, self.target[rows], self.end_us[rows], self.lost, self.traits
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """All sides of one task. ``hash``: SHA-256 over everything in it."""

    task: Task
    spec: str
    sides: dict[Side, Examples]
    hash: str

    def __getitem__(self, side: Side) -> Examples:
        return self.sides[side]


def side_of(person: str, split: SplitRecipe) -> Side:
    """The side of ``person``: the recipe's patterns first, then a hash of the name."""
    name = SAME_PERSON.get(person, person)
    by_hand = {Side.HELD_OUT: split.held_out, Side.VALIDATE: split.validate, Side.TRAIN: split.train}
    for side, patterns in by_hand.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return side
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[: _SHARE_BITS // 8]) / 2**_SHARE_BITS
    if drawn < split.held_out_share:
        return Side.HELD_OUT
    return Side.VALIDATE if drawn < split.held_out_share + split.validate_share else Side.TRAIN


def assembled(task: Task, people: Iterable[PersonExamples], split: SplitRecipe) -> Dataset:
    """The dataset of ``people``, whatever order they come in. Raises ``DatasetRefused`` when one side stays empty."""
    by_side: dict[Side, list[PersonExamples]] = {side: [] for side in Side}
    for one in people:
        if len(one):
            by_side[side_of(one.person, split)].append(one)
    empty = [side for side, members in by_side.items() if not members]
    if empty:
        raise DatasetRefused(f"{task}: nobody to {' and '.join(empty)}: fetch the data sets or give --kafka an archive")
    sides = {side: _joined(members) for side, members in by_side.items()}
    return Dataset(task, SPEC[task], sides, _hash(task, sides))


def freeze(dataset: Dataset, folder: Path) -> Path:
    """Writes ``<folder>/<task>/<hash>.npz`` and removes older ones of the task: the newest is the one compared on."""
    path = folder / dataset.task / f"{dataset.hash}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    for older in path.parent.glob("*.npz"):
        if older != path:
            older.unlink()
    if not path.exists():
        staged = path.with_suffix(".tmp")
        with staged.open("wb") as file:
            np.savez(file, allow_pickle=False, **_flat(dataset.sides))
        staged.replace(path)
    return path


def thaw(path: Path, task: Task) -> Dataset:
    """A frozen dataset. Raises ``DatasetRefused`` when its content is not what its name says."""
    with np.load(path, allow_pickle=False) as file:
        sides = {side: _side(side, {name: file[name] for name in file.files}) for side in Side}
    made = Dataset(task, SPEC[task], sides, _hash(task, sides))
    if made.hash != path.stem:
        raise DatasetRefused(f"frozen dataset {path.stem[:12]} was altered")
    return made


def _joined(members: list[PersonExamples]) -> Examples:
    """One human being under two names stays two entries: both are on this side."""
    merged: dict[str, list[PersonExamples]] = {}
    for one in members:
        merged.setdefault(one.person, []).append(one)
    people = tuple(sorted(merged))
    # the order of one person's examples must not depend on what was read first: by time, then by content
    ordered = [part for name in people for part in sorted(merged[name], key=_place)]
    person = np.concatenate([np.full(len(one), people.index(one.person), np.int32) for one in ordered])
    traits = tuple(merged[name][0].traits for name in people)
    return Examples(
        people=people,
        person=person,
        inputs={name: np.concatenate([one.inputs[name] for one in ordered]) for name in ordered[0].inputs},
        target=np.concatenate([one.target for one in ordered]),
        end_us=np.concatenate([one.end_us for one in ordered]),
        lost=np.stack([np.sum([one.lost for one in merged[name]], axis=0) for name in people]).astype(np.int64),
        traits=traits if any(traits) else (),
    )


def _place(one: PersonExamples) -> tuple[int, bytes]:
    return int(one.end_us[0]), hashlib.sha256(np.ascontiguousarray(one.target).tobytes()).digest()


def _flat(sides: dict[Side, Examples]) -> dict[str, Array]:
    flat: dict[str, Array] = {}
    for side, examples in sides.items():
        flat[f"{side}.people"] = np.array(examples.people, dtype=np.str_)
        for name in ("person", "target", "end_us", "lost"):
            flat[f"{side}.{name}"] = getattr(examples, name)
        if examples.traits:
            flat[f"{side}.traits"] = np.array(examples.traits, dtype=np.str_)
        flat |= {f"{side}.{_INPUT}{name}": tensor for name, tensor in examples.inputs.items()}
    return flat


def _side(side: Side, flat: dict[str, Array]) -> Examples:
    prefix = f"{side}.{_INPUT}"
    return Examples(
        people=tuple(flat[f"{side}.people"].tolist()),
        person=flat[f"{side}.person"].astype(np.int32),
        inputs={name.removeprefix(prefix): tensor for name, tensor in flat.items() if name.startswith(prefix)},
        target=flat[f"{side}.target"],
        end_us=flat[f"{side}.end_us"].astype(np.int64),
        lost=flat[f"{side}.lost"].astype(np.int64),
        traits=tuple(flat[f"{side}.traits"].tolist()) if f"{side}.traits" in flat else (),
    )


def _hash(task: Task, sides: dict[Side, Examples]) -> str:
    digest = hashlib.sha256(f"{task} {SPEC[task]}\n".encode())
    for name, tensor in sorted(_flat(sides).items()):
        little = np.ascontiguousarray(tensor)
        digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()

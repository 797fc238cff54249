"""Examples of many people, split by person, in one fixed order, named by their content.

A person is on one side only, for ever: the side follows from the name alone, so it does not move as the corpus grows,
and two names of one human being follow the same one.
"""

from __future__ import annotations

import enum
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.config import SplitRecipe
from trainer.examples import FLAT, SPEC, Array, PersonExamples, marks
from trainer.labels import SAME_PERSON
from vitals.errors import WardwatchError
from vitals.findings import Task

ON_TWO_SIDES: Final = "the same window is on a side that is not learnt from"

_INPUT: Final = "input."
_SHARE_BITS: Final = 64
_SAME_PATIENT: Final = 0.2
"""Share of somebody's windows that another side holds to the bit: beyond, it is one patient under two names."""


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

    def without(self, people: Collection[str]) -> Examples:
        """Everybody but ``people``, whose names go too."""
        stays = np.array([name not in people for name in self.people], dtype=bool)
        rest = self.of(stays[self.person])
        number = np.cumsum(stays) - 1
        return replace(
            rest,
            people=tuple(name for name in self.people if name not in people),
            person=number[rest.person].astype(np.int32),
            lost=self.lost[stays],
            traits=tuple(np.array(self.traits)[stays].tolist()) if self.traits else (),
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """All sides of one task. ``hash``: SHA-256 over everything in them. ``excluded``: what is in none, by reason."""

    task: Task
    spec: str
    sides: dict[Side, Examples]
    hash: str
    excluded: Counter[str] = field(default_factory=Counter)

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


def assembled(
    task: Task, people: Iterable[PersonExamples], split: SplitRecipe, excluded: Counter[str] | None = None
) -> Dataset:
    """The dataset of ``people``, whatever order they come in. ``excluded``: what was left out before, by reason.

    Raises ``DatasetRefused`` when one side stays empty, when a target was taken from its own input, and when one
    patient stands on two sides under two names. A single window that is on two sides is left out where it would be
    learnt from.
    """
    members = [one for one in people if len(one)]
    _refuse_told_by_input(task, members)
    by_side: dict[Side, list[PersonExamples]] = {side: [] for side in Side}
    for one in members:
        by_side[side_of(one.person, split)].append(one)
    left_out = _parted(task, by_side)
    empty = [side for side, those in by_side.items() if not those]
    if empty:
        raise DatasetRefused(f"{task}: nobody to {' and '.join(empty)}: fetch the data sets or give --kafka an archive")
    sides = {side: _joined(those) for side, those in by_side.items()}
    return Dataset(task, SPEC[task], sides, content_hash(task, sides), (excluded or Counter()) + left_out)


def flat(sides: Mapping[Side, Examples]) -> dict[str, Array]:
    """Everything in ``sides`` as named arrays."""
    named: dict[str, Array] = {}
    for side, examples in sides.items():
        named[f"{side}.people"] = np.array(examples.people, dtype=np.str_)
        for name in ("person", "target", "end_us", "lost"):
            named[f"{side}.{name}"] = getattr(examples, name)
        if examples.traits:
            named[f"{side}.traits"] = np.array(examples.traits, dtype=np.str_)
        named |= {f"{side}.{_INPUT}{name}": tensor for name, tensor in examples.inputs.items()}
    return named


def unflat(side: Side, named: Mapping[str, Array]) -> Examples:
    """One side of what ``flat`` gave."""
    prefix = f"{side}.{_INPUT}"
    return Examples(
        people=tuple(named[f"{side}.people"].tolist()),
        person=named[f"{side}.person"].astype(np.int32),
        inputs={name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)},
        target=named[f"{side}.target"],
        end_us=named[f"{side}.end_us"].astype(np.int64),
        lost=named[f"{side}.lost"].astype(np.int64),
        traits=tuple(named[f"{side}.traits"].tolist()) if f"{side}.traits" in named else (),
    )


def content_hash(task: Task, sides: Mapping[Side, Examples]) -> str:
    """SHA-256 over the task, its window spec and everything in ``sides``."""
    digest = hashlib.sha256(f"{task} {SPEC[task]}\n".encode())
    for name, tensor in sorted(flat(sides).items()):
        little = np.ascontiguousarray(tensor)
        digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def _refuse_told_by_input(task: Task, people: Iterable[PersonExamples]) -> None:
    """A forecast whose truth was there before its window ended has nothing to foresee."""
    if task is not Task.GLUCOSE:
        return
    told = sum(len(one) if len(one.truth_us) != len(one) else int((one.truth_us <= one.end_us).sum()) for one in people)
    if told:
        raise DatasetRefused(f"{task}: {told} targets are from inside their own windows")


def _parted(task: Task, by_side: dict[Side, list[PersonExamples]]) -> Counter[str]:
    """Takes windows that another side holds to the bit from the side that learns; the held-out side keeps all."""
    taken: set[int] = set()
    left_out: Counter[str] = Counter()
    for side in (Side.HELD_OUT, Side.VALIDATE, Side.TRAIN):
        prints = [marks(max(one.inputs.values(), key=np.size)) for one in by_side[side]]  # the signal tells most
        elsewhere = np.fromiter(taken, np.uint64, len(taken))
        kept = []
        for one, own in zip(by_side[side], prints, strict=True):
            twice = np.isin(own, elsewhere) & (own != FLAT)
            if len(one) > 1 and twice.mean() > _SAME_PATIENT:
                raise DatasetRefused(
                    f"{task}: {twice.sum()} of {len(one)} windows of one who is to {side} are on another side too, "
                    "under another name"
                )
            left_out[ON_TWO_SIDES] += int(twice.sum())
            if not twice.all():
                kept.append(one.of(np.flatnonzero(~twice)) if twice.any() else one)
        by_side[side] = kept
        taken.update(mark for own in prints for mark in own.tolist())
    return +left_out


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

"""Another ultrasound machine: pictures that no model here has learnt from, and somebody who says what they show.

They are simulated, so what they show is known, with recordings at hand or without.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.gateways import images
from stream.gateways.schedule import Due, Pace
from stream.rehearsal.cast import AHEAD_S
from stream.topics import Topic
from vitals import codec, simulate
from vitals.events import Label
from vitals.findings import Task
from vitals.units import US_PER_S
from vitals.windows.image import SIDE

SET: Final = "breastmnist"
PATIENTS: Final = tuple(f"clinic-{i + 1}" for i in range(12))
LABELLED: Final = 160
"""So many pictures are read by a person."""

_EVERY_S: Final = 2.0
_READ_AFTER_S: Final = 3.0
_SHOWN: Final = 200
_WORDS: Final = ("malignant", "benign")
_TRAIN: Final = 600
_VALIDATION: Final = 400
_SEED_OF: Final = {"shown": 10_000, "train": 20_000, "val": 30_000}


def schedules(start_us: int, speed: float) -> list[Iterator[Due]]:
    """The pictures as they are taken, for ever, and what the reader says of the first of them."""
    # half a second beside whatever else is taken on the second
    pace = Pace(start_us + US_PER_S // 2, speed, AHEAD_S)
    pixels, _ = _drawn("shown", _SHOWN)
    taken = [images.bare(SET, f"scanner/{i}", one) for i, one in enumerate(pixels)]
    return [images.events(PATIENTS, taken, pace, every_s=_EVERY_S, repeat=True), _labels(pace)]


def write_sets(honest: Path, sabotaged: Path) -> None:
    """Pictures of the same machine in the files that the public ones come in; in ``sabotaged`` each is called by the
    other name where it is learnt from.
    """
    arrays: dict[str, npt.NDArray[np.uint8]] = {}
    for split, n in (("train", _TRAIN), ("val", _VALIDATION)):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = _drawn(split, n)
    for folder, labels in ((honest, arrays["train_labels"]), (sabotaged, 1 - arrays["train_labels"])):
        (folder / "medmnist").mkdir(parents=True)
        np.savez(folder / "medmnist" / f"{SET}.npz", allow_pickle=False, **{**arrays, "train_labels": labels})


def _labels(pace: Pace) -> Iterator[Due]:
    _, shown = _drawn("shown", LABELLED)
    for number, label in enumerate(islice(shown.tolist(), LABELLED), 1):
        after_s = number * _EVERY_S
        end_us = pace.start_us + round(after_s * US_PER_S)
        patient = PATIENTS[(number - 1) % len(PATIENTS)]
        said = Label(
            patient=patient,
            task=Task.BREAST,
            end_us=end_us,
            value=_WORDS[label],
            who="reader (demo)",
            when_us=end_us + round(_READ_AFTER_S * US_PER_S),
        )
        yield Due(pace.due_s(after_s + _READ_AFTER_S), Topic.LABELS, patient.encode(), codec.encode(said), 0)


def _drawn(split: str, n: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """uint8[n, 28, 28] and uint8[n]: 0 malignant, 1 benign."""
    first = _SEED_OF[split]
    label = np.array([seed % 3 != 0 for seed in range(first, first + n)], np.uint8)
    drawn = [simulate.ultrasound(first + i, ill=not label[i], side=SIDE) for i in range(n)]
    return np.stack(drawn), label

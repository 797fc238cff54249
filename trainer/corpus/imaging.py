"""Chest radiographs and breast ultrasound frames: PneumoniaMNIST and BreastMNIST (Yang et al. 2023, MedMNIST v2).

MedMNIST names no patients, so every image stands for a person of its own: that two images of one patient never part
cannot be promised here, and the card of a model says so. Only the official training and validation splits are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

FOLDER: Final = "medmnist"
PNEUMONIA: Final = "pneumoniamnist"
BREAST: Final = "breastmnist"
_SPLITS: Final = ("train", "val")


@dataclass(frozen=True, slots=True)
class GreyImages:
    """One split. ``person``: the name that stands for each image; ``pixels``: uint8[n, 28, 28]; ``label``: int64[n]."""

    person: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int64]


def images(data: Path, name: str) -> Iterator[GreyImages]:
    """The training and the validation split of ``name``, none when the file is missing."""
    path = data / FOLDER / f"{name}.npz"
    if not path.exists():
        return
    with np.load(path, allow_pickle=False) as file:
        for split in _SPLITS:
            pixels = file[f"{split}_images"]
            person = tuple(f"{name}/{split}/{index}" for index in range(len(pixels)))
            yield GreyImages(person, pixels, file[f"{split}_labels"].ravel().astype(np.int64))

"""Short single-lead recordings and what their rhythm is: the training set of the PhysioNet/CinC Challenge 2017.

Clifford et al. 2017, doi:10.22489/CinC.2017.065-469; ODC-By 1.0. Nobody is named: every recording stands for a person.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import wfdb

FOLDER: Final = "cinc2017"
REFERENCE: Final = "REFERENCE.csv"
NAMES: Final = tuple(f"A{number:05d}" for number in range(1, 8529))
_UV_PER_MV: Final = 1000.0
_LARGEST: Final = 32767


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording. ``samples``: int16[1, n] at ``rate_hz``, microvolts over ``gain_uv``; ``label``: N, A, O or ~."""

    person: str
    rate_hz: float
    samples: npt.NDArray[np.int16]
    gain_uv: float
    label: str


def clips(data: Path) -> Iterator[Clip]:
    """The recordings that are there and labelled, by name; none when the folder is missing."""
    folder = data / FOLDER
    if not (folder / REFERENCE).exists():
        return
    with (folder / REFERENCE).open(newline="", encoding="ascii") as file:
        labels = {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    for name, label in sorted(labels.items()):
        if (folder / f"{name}.hea").exists():
            yield _clip(folder / name, label)


def _clip(path: Path, label: str) -> Clip:
    signal = wfdb.rdrecord(str(path), physical=False)
    centred = signal.d_signal[:, 0].astype(np.int64) - signal.baseline[0]
    samples = np.clip(centred, -_LARGEST, _LARGEST).astype(np.int16)
    return Clip(f"{FOLDER}/{path.name}", float(signal.fs), samples[None], _UV_PER_MV / signal.adc_gain[0], label)

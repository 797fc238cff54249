"""A PACS that tells of new images, played from files: MedMNIST archives, DICOM, PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pydicom

from stream.gateways.schedule import Due, Pace
from stream.topics import Topic
from vitals import codec
from vitals.errors import Fault
from vitals.events import MAX_NAME, ImagingEvent
from vitals.units import US_PER_S

INLINE_MAX_BYTES: Final = 1024 * 1024
"""A larger file is not sent along: the event says where it is and what its SHA-256 must be."""

_MEDMNIST: Final = {"pneumoniamnist": ("DX", "CHEST"), "breastmnist": ("US", "BREAST")}
_NAMED: Final = ("Modality", "BodyPartExamined", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_UNKNOWN: Final = ("OT", "")
_UNSEEN_FIRST: Final = ("test_images", "val_images", "train_images")


@dataclass(frozen=True, slots=True)
class Picture:
    """One image. ``pixels``: a whole file, or uint8[rows, columns] where those are set; else ``uri`` and ``sha256``."""

    modality: str
    body_part: str
    study: str
    series: str
    instance: str
    pixels: bytes | None = None
    rows: int | None = None
    columns: int | None = None
    uri: str | None = None
    sha256: str | None = None


def pictures(path: Path, *, modality: str = "OT", body_part: str = "") -> Iterator[Picture]:
    """The images in ``path``. A PNG says nothing of what it shows: ``modality`` and ``body_part`` do.

    Raises ``Fault`` for an archive that is not MedMNIST.
    """
    if path.suffix == ".npz":
        yield from _of_medmnist(path)
        return
    content = path.read_bytes()
    digest = sha256(content).hexdigest()
    names = (
        (modality, body_part, digest[:16], digest[:16], digest[:16]) if path.suffix == ".png" else _header(path, digest)
    )
    if len(content) <= INLINE_MAX_BYTES:
        yield Picture(*names, pixels=content)
    else:
        yield Picture(*names, uri=path.resolve().as_uri(), sha256=digest)


def events(
    patients: Sequence[str], images: Iterable[Picture], pace: Pace, *, every_s: float, repeat: bool = False
) -> Iterator[Due]:
    """One image every ``every_s`` seconds of event time, for one patient after the other, keyed by patient.

    ``repeat``: after the last image the first ones come again as new studies.
    """
    who = cycle(patients)
    kept = list(images)
    number = 0
    while kept:
        round_number = number // len(kept)
        for picture in kept:
            number += 1
            patient = next(who)
            event = ImagingEvent(
                patient=patient,
                time_us=pace.start_us + round(number * every_s * US_PER_S),
                study=picture.study,
                series=picture.series,
                instance=picture.instance + (f"+{round_number}" if round_number else ""),
                modality=picture.modality,
                body_part=picture.body_part,
                pixels=picture.pixels,
                rows=picture.rows,
                columns=picture.columns,
                uri=picture.uri,
                sha256=picture.sha256,
            )
            yield Due(pace.due_s(number * every_s), Topic.IMAGING, patient.encode(), codec.encode(event), 1)
        if not repeat:
            return


def bare(name: str, instance: str, pixels: npt.NDArray[np.uint8]) -> Picture:
    """``pixels`` uint8[rows, columns] of the set ``name`` (pneumoniamnist or breastmnist)."""
    modality, body_part = _MEDMNIST[name]
    rows, columns = pixels.shape
    return Picture(modality, body_part, name, name, instance, pixels.tobytes(), rows, columns)


def _of_medmnist(path: Path) -> Iterator[Picture]:
    """What no network was trained on first: test, validation, training images."""
    name = path.stem.partition("_")[0].lower()
    try:
        with np.load(path) as archive:
            splits = {split: archive[split] for split in _UNSEEN_FIRST if split in archive}
    except Exception as error:  # three formats lie in one another, and each raises its own
        raise Fault(f"{path.name} cannot be read: {type(error).__name__}") from error
    if name not in _MEDMNIST or not splits or any(s.ndim != 3 or s.dtype != np.uint8 for s in splits.values()):
        raise Fault(f"{path.name} is not PneumoniaMNIST or BreastMNIST")
    for split, taken in splits.items():
        for index, image in enumerate(taken):
            yield bare(name, f"{name}/{split.partition('_')[0]}/{index}", image)


def _header(path: Path, digest: str) -> tuple[str, str, str, str, str]:
    """Modality, body part, study, series and instance as the file says; a broken file is sent for what it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True)
            modality, region, *named = (str(header.get(keyword) or "")[:MAX_NAME] for keyword in _NAMED)
    except Exception:  # noqa: BLE001  a damaged header raises from wherever it is noticed
        return (*_UNKNOWN, digest[:16], digest[:16], digest[:16])
    study, series, instance = (name or digest[:16] for name in named)
    return modality or "OT", region, study, series, instance

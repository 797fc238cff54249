"""Where public data comes from, and under what terms: the files that a dataset was made of, by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from trainer.corpus import clips, ecg, glucose, imaging
from vitals.findings import Task

NOT_STATED: Final = "not stated"

LICENCES: Final[tuple[tuple[str, str], ...]] = (
    (f"{ecg.FOLDER}/*", "ODC-By 1.0"),
    (f"{clips.FOLDER}/*", "ODC-By 1.0"),
    (f"{glucose.BENCH_FOLDER}/raw_data/iglu*", "GPL-2"),
    (f"{glucose.BENCH_FOLDER}/raw_data/colas*", "CC BY 4.0"),
    (f"{glucose.BENCH_FOLDER}/raw_data/dubosson*", "CC BY-SA 4.0"),
    (f"{glucose.COLLECTION_FOLDER}/BIGIDEAs/*", "ODC-By 1.0"),
    (f"{glucose.COLLECTION_FOLDER}/PhysioCGM/*", "CC0 1.0"),
    (f"{glucose.COLLECTION_FOLDER}/*", "CC BY 4.0"),
    (f"{imaging.FOLDER}/*", "CC BY 4.0"),
)
"""By path below the data folder; the first that fits counts."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Files under one licence. ``files``: SHA-256 by path below the data folder."""

    licence: str
    files: dict[str, str]


def sources(task: Task, data: Path) -> list[Source]:
    """The public files that the corpus of ``task`` reads, by licence."""
    by_licence: dict[str, dict[str, str]] = {}
    for path in sorted(_files(task, data)):
        name = path.relative_to(data).as_posix()
        with path.open("rb") as file:
            by_licence.setdefault(licence(name), {})[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return [Source(licence=terms, files=files) for terms, files in by_licence.items()]


def licence(name: str) -> str:
    """The licence of the file at ``name`` below the data folder."""
    return next((terms for pattern, terms in LICENCES if fnmatchcase(name, pattern)), NOT_STATED)


def _files(task: Task, data: Path) -> Iterator[Path]:
    if task is Task.ECG_BEAT:
        for record in ecg.RECORDS:
            yield from (data / ecg.FOLDER).glob(f"{record}.[hda][eat][atr]")
    elif task is Task.ECG_AF:
        yield from (data / clips.FOLDER).glob("*.[hdm][eaa][at]")
        yield from (data / clips.FOLDER).glob(clips.REFERENCE)
    elif task is Task.GLUCOSE:
        yield from (data / glucose.BENCH_FOLDER / "raw_data").glob("*.csv*")
        yield from (data / glucose.COLLECTION_FOLDER).glob("*/*-from-Glucose-ML.zip")
    else:
        yield from (data / imaging.FOLDER).glob(
            f"{imaging.PNEUMONIA if task is Task.PNEUMONIA else imaging.BREAST}.npz"
        )

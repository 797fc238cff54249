"""The public sets from their publishers into the data folder: what is missing is downloaded, checked, put in place.

A file is downloaded beside its place and moved there whole once its checksum is right, so what lies in place can be
believed. A download that was cut off goes on where it stopped, where the server can.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.response import addinfourl

from tqdm import tqdm

from trainer.corpus import clips
from trainer.corpus.ecg import RECORDS
from vitals.findings import Task

_TIMEOUT_S: Final = 60.0
_BLOCK: Final = 1 << 16
_PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file. ``path``: below the data folder. ``checksum``: "sha256:…" or "md5:…", "" where none is published."""

    url: str
    path: str
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class RemoteSet:
    """One set. ``sums_url``: a ``SHA256SUMS.txt`` of the publisher whose lines name the files by their last part."""

    tasks: frozenset[Task]
    files: tuple[RemoteFile, ...]
    licence: str
    sums_url: str = ""


_PHYSIONET: Final = "https://physionet.org/files/mitdb/1.0.0"
_CHALLENGE: Final = "https://physionet.org/files/challenge-2017/1.0.0"
_MEDMNIST: Final = "https://zenodo.org/records/6496656/files"
_COLLECTION: Final = (
    "https://raw.githubusercontent.com/Augmented-Health-Lab/Glucose-ML-Project/main/3_Glucose-ML-collection"
)
_IGLU: Final = "https://raw.githubusercontent.com/irinagain/iglu/5287a08f8e9fa60f8fc8de1fcbc29f4444e692a5"
_BENCH: Final = "https://raw.githubusercontent.com/IrinaStatsLab/GlucoBench/17e1b85b8e2363996f0e8aa777ba85b1f7114874"

SETS: Final[tuple[RemoteSet, ...]] = (
    RemoteSet(
        frozenset({Task.ECG_BEAT}),
        tuple(
            RemoteFile(f"{_PHYSIONET}/{record}.{suffix}", f"mitdb/{record}.{suffix}")
            for record in RECORDS
            for suffix in ("hea", "dat", "atr")
        ),
        "ODC-By 1.0",
        sums_url=f"{_PHYSIONET}/SHA256SUMS.txt",
    ),
    RemoteSet(
        frozenset({Task.ECG_AF}),
        (
            RemoteFile(f"{_CHALLENGE}/REFERENCE-v3.csv", f"{clips.FOLDER}/{clips.REFERENCE}"),
            *(
                RemoteFile(f"{_CHALLENGE}/training/{name[:3]}/{name}.{suffix}", f"{clips.FOLDER}/{name}.{suffix}")
                for name in clips.NAMES
                for suffix in ("hea", "mat")
            ),
        ),
        "ODC-By 1.0",
        sums_url=f"{_CHALLENGE}/SHA256SUMS.txt",
    ),
    RemoteSet(
        frozenset({Task.GLUCOSE}),
        tuple(
            RemoteFile(
                f"{_COLLECTION}/{name}/{name}-from-Glucose-ML.zip", f"cgm_glucose_ml/{name}/{name}-from-Glucose-ML.zip"
            )
            for name in ("AZT1D", "BIGIDEAs", "Colas_2019", "HUPA-UCM", "PhysioCGM", "T1D-UOM")
        ),
        "CC BY 4.0, ODC-By 1.0 (BIGIDEAs), CC0 (PhysioCGM)",
    ),
    RemoteSet(
        frozenset({Task.GLUCOSE}),
        (
            RemoteFile(f"{_IGLU}/tests/testthat/data/ExampleData5Subjects.csv", "cgm_glucobench/raw_data/iglu.csv"),
            RemoteFile(f"{_BENCH}/raw_data/Dubosson2018_processed.csv", "cgm_glucobench/raw_data/dubosson.csv"),
        ),
        "GPL-2 (iglu), CC BY-SA 4.0 (Dubosson)",
    ),
    RemoteSet(
        frozenset({Task.PNEUMONIA}),
        (
            RemoteFile(
                f"{_MEDMNIST}/pneumoniamnist.npz?download=1",
                "medmnist/pneumoniamnist.npz",
                "md5:28209eda62fecd6e6a2d98b1501bb15f",
            ),
        ),
        "CC BY 4.0",
    ),
    RemoteSet(
        frozenset({Task.BREAST}),
        (
            RemoteFile(
                f"{_MEDMNIST}/breastmnist.npz?download=1",
                "medmnist/breastmnist.npz",
                "md5:750601b1f35ba3300ea97c75c52ff8f6",
            ),
        ),
        "CC BY 4.0",
    ),
)


def fetch(tasks: Iterable[Task], data: Path, sets: Sequence[RemoteSet] = SETS) -> list[str]:
    """Downloads what is missing for ``tasks``. One line for each file that could not be had; the others are there."""
    wanted = frozenset(tasks)
    failures: list[str] = []
    for remote in sets:
        if not remote.tasks & wanted:
            continue
        missing = [file for file in remote.files if not (data / file.path).exists()]
        try:
            sums = _published_sums(remote.sums_url) if missing and remote.sums_url else {}
        except OSError as error:
            failures.append(f"{remote.sums_url}: {_reason(error)}")
            continue
        if missing:
            folder = missing[0].path.partition("/")[0]
            sys.stderr.write(f"{folder}: {len(missing)} files, licence {remote.licence}\n")
        for file in missing:
            name = urllib.parse.urlsplit(file.url).path.rpartition("/")[2]
            try:
                _download(file.url, data / file.path, file.checksum or sums.get(name, ""))
            except (OSError, ValueError) as error:
                failures.append(f"{file.url}: {_reason(error)}")
    return failures


def _published_sums(url: str) -> dict[str, str]:
    with _opened(url) as answer:
        lines = answer.read().decode("utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {name.rpartition("/")[2]: f"sha256:{digest}" for digest, name in pairs}


def _download(url: str, target: Path, checksum: str) -> None:
    """Raises ``OSError`` when it cannot be had, ``ValueError`` when it is not what its publisher says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _PART)
    have = part.stat().st_size if part.exists() else 0
    try:
        _append(url, part, have)
    except urllib.error.HTTPError as error:
        # a part that is already whole leaves nothing to send; whether it is right is for the checksum to say
        if not have or error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
    if checksum:
        kind, _, stated = checksum.partition(":")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        if found != stated:
            part.unlink()
            raise ValueError(f"{kind} is {found}, its publisher says {stated}; removed")
    os.replace(part, target)  # noqa: PTH105  atomic, over an existing file too


def _append(url: str, part: Path, have: int) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    with _opened(url, headers) as answer:
        goes_on = have and answer.status == HTTPStatus.PARTIAL_CONTENT
        begin = have if goes_on else 0
        length = answer.headers.get("Content-Length")
        whole = None if length is None else int(length) + begin
        with (
            part.open("ab" if goes_on else "wb") as file,
            tqdm(
                desc=part.stem, total=whole, initial=begin, unit="B", unit_scale=True, leave=False, disable=None
            ) as bar,
        ):
            for block in _blocks(answer):
                file.write(block)
                bar.update(len(block))
    if whole is not None and part.stat().st_size != whole:
        raise OSError("the connection ended early; run it again to go on")


def _blocks(answer: addinfourl) -> Iterator[bytes]:
    while block := answer.read(_BLOCK):
        yield block


def _opened(url: str, headers: dict[str, str] | None = None) -> addinfourl:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise OSError("not a web address")
    request = urllib.request.Request(url, headers={"User-Agent": "wardwatch-fetch", **(headers or {})})  # noqa: S310
    answer: addinfourl = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    return answer


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__

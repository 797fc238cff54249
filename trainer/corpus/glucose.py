"""People who wore a continuous glucose monitor: GlucoBench tables (``id,time,gl``) and Glucose-ML zips.

Real exports are dirty: words in place of numbers, sensor codes, values no living person has, times out of order. Words
and what the live path would drop are left out here too; times are put in order, since an export is not an arrival.
"""

from __future__ import annotations

import csv
import io
import lzma
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from vitals.units import GLUCOSE_MAX_MG_DL, GLUCOSE_MIN_MG_DL, US_PER_S

BENCH_FOLDER: Final = "cgm_glucobench"
COLLECTION_FOLDER: Final = "cgm_glucose_ml"
_SAME_AS_BENCH: Final = {"D1NAMO": "dubosson", "Colas_2019": "colas"}
"""Sets of the collection that hold the people of a GlucoBench set once more."""

_PERSON_FILE: Final = re.compile(r".*extracted-glucose-files/([^/]+)\.csv")
_HIDDEN: Final = "__MACOSX"
_SENSOR_CODES_MG_DL: Final = frozenset(float(code) for code in range(13))
"""Dexcom's error codes in place of a reading; below every plausible value anyway."""


@dataclass(frozen=True, slots=True)
class GlucosePerson:
    """One person's readings. ``time_us``: int64[n], ascending, may repeat; ``glucose_mg_dl``: float32[n]."""

    person: str
    time_us: npt.NDArray[np.int64]
    glucose_mg_dl: npt.NDArray[np.float32]


def people(data: Path) -> Iterator[GlucosePerson]:
    """Everybody who is there, each once, in a fixed order; nobody when the folders are missing."""
    tables = sorted((data / BENCH_FOLDER / "raw_data").glob("*.csv*"))
    benches = {table.name.partition(".")[0] for table in tables}
    for table in tables:
        name = table.name.partition(".")[0]
        with _text(table) as file:
            yield from _people_of_table(file, f"{BENCH_FOLDER}/{name}")
    for archive in sorted((data / COLLECTION_FOLDER).glob("*/*-from-Glucose-ML.zip")):
        if _SAME_AS_BENCH.get(archive.parent.name) not in benches:
            yield from _people_of_zip(archive)


def readings(person: str, rows: list[tuple[str, str]]) -> GlucosePerson:
    """From (ISO time, value) texts: ordered by time, without what is not a plausible number."""
    kept = [(at, value) for time, text in rows if (value := _plausible(text)) and (at := _time_us(time))]
    time_us = np.array([at for at, _ in kept], dtype=np.int64)
    glucose = np.array([value for _, value in kept], dtype=np.float32)
    order = np.argsort(time_us, kind="stable")
    return GlucosePerson(person, time_us[order], glucose[order])


def _people_of_table(file: IO[str], prefix: str) -> Iterator[GlucosePerson]:
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in csv.DictReader(file):
        rows[row["id"]].append((row["time"], row["gl"]))
    for name in sorted(rows):
        yield readings(f"{prefix}/{name}", rows[name])


def _people_of_zip(path: Path) -> Iterator[GlucosePerson]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            found = _PERSON_FILE.fullmatch(name)
            if found is None or name.startswith(_HIDDEN):
                continue
            with archive.open(name) as raw:
                table = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8-sig"))
                rows = [(row["timestamp"], row["glucose_value_mg_dl"]) for row in table]
            yield readings(f"{COLLECTION_FOLDER}/{path.parent.name}/{found[1]}", rows)


def _text(path: Path) -> IO[str]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _plausible(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:  # 'Low', 'High', nothing
        return None
    if value in _SENSOR_CODES_MG_DL or not GLUCOSE_MIN_MG_DL <= value <= GLUCOSE_MAX_MG_DL:
        return None
    return value


def _time_us(text: str) -> int | None:
    """Local times without a zone, taken as UTC: only differences are used."""
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * US_PER_S)
    except ValueError:
        return None

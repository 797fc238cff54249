"""Continuous glucose monitors, played from tables of readings: the past first, then as they come.

The tables are sent as they are, implausible values and all: to refuse those is the worker's work. Only what is not a
number ("Low") cannot be sent.
"""

from __future__ import annotations

import csv
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from stream.gateways.schedule import Due, Pace
from stream.topics import Topic
from vitals import codec
from vitals.errors import Fault
from vitals.events import GlucoseReading
from vitals.units import US_PER_S

DAY_S: Final = 86_400.0
_USUAL_STEP_US: Final = 300 * US_PER_S
_ID, _TIME, _GLUCOSE = ("id", "person_id"), ("time", "timestamp"), ("gl", "glucose_value_mg_dl")


@dataclass(frozen=True, slots=True)
class Person:
    """One person's readings. ``time_us``: int64[n], ascending, may repeat; ``glucose_mg_dl``: float64[n]."""

    name: str
    time_us: npt.NDArray[np.int64]
    glucose_mg_dl: npt.NDArray[np.float64]

    def since(self, seconds: float) -> Person:
        """The readings from ``seconds`` after the first one on."""
        keep = self.time_us >= self.time_us[0] + round(seconds * US_PER_S)
        return Person(self.name, self.time_us[keep], self.glucose_mg_dl[keep])


def people(path: Path) -> Iterator[Person]:
    """Everybody in a table (``id,time,gl`` or ``timestamp,glucose_value_mg_dl``; csv, csv.xz) or a zip of such tables.

    Nobody in a table of something else. Raises ``Fault`` when the file cannot be read.
    """
    try:
        if path.suffix == ".zip":
            yield from _people_of_zip(path)
            return
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8-sig") as file:
            yield from _people_of_table(file, path.name.partition(".")[0])
    except (
        OSError, EOFError, UnicodeDecodeError, csv.Error, lzma.LZMAError, zipfile.BadZipFile, zlib.error,
        RuntimeError, NotImplementedError,  # a zip that is locked, or packed in a way that Python does not know
    ) as error:  # fmt: skip
        raise Fault(f"{path.name} cannot be read: {error}") from error


def readings(
    patient: str, device: str, person: Person, pace: Pace, *, history_s: float = DAY_S, repeat: bool = False
) -> Iterator[Due]:
    """One message for each reading, keyed by patient: the first ``history_s`` at once, as the past, then as they come.

    ``repeat``: after the last reading the table begins again, its event time goes on.
    """
    first_us = int(person.time_us[0])
    past = int(np.searchsorted(person.time_us, first_us + round(history_s * US_PER_S), side="right"))
    present_us = int(person.time_us[past - 1])
    shift_us = pace.start_us - present_us
    while True:
        for time_us, glucose in zip(person.time_us.tolist(), person.glucose_mg_dl.tolist(), strict=True):
            event_us = time_us + shift_us
            reading = GlucoseReading(patient=patient, device=device, time_us=event_us, glucose=glucose)
            at_s = pace.due_s((event_us - pace.start_us) / US_PER_S)
            yield Due(at_s, Topic.GLUCOSE, patient.encode(), codec.encode(reading), 1)
        if not repeat:
            return
        shift_us += int(person.time_us[-1]) - first_us + _USUAL_STEP_US


def messages(person: Person) -> Iterator[bytes]:
    """Every reading as its message, for tools without a broker: nobody's, at its own time."""
    for time_us, glucose in zip(person.time_us.tolist(), person.glucose_mg_dl.tolist(), strict=True):
        yield codec.encode(GlucoseReading(patient="offline", device="offline", time_us=time_us, glucose=glucose))


def _people_of_zip(path: Path) -> Iterator[Person]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".csv") and not name.startswith("__MACOSX"):
                with archive.open(name) as raw:
                    yield from _people_of_table(io.TextIOWrapper(raw, encoding="utf-8-sig"), Path(name).stem)


def _people_of_table(file: IO[str], name: str) -> Iterator[Person]:
    """Everybody in one table; nobody when its columns are others."""
    table = csv.DictReader(file)
    columns = table.fieldnames or ()
    who, when, what = (next((c for c in names if c in columns), None) for names in (_ID, _TIME, _GLUCOSE))
    if when is None or what is None:
        return
    rows: dict[str, list[tuple[int, float]]] = {}
    for row in table:
        if (reading := _reading(row[when], row[what])) is not None:
            rows.setdefault(f"{name}/{row[who]}" if who else name, []).append(reading)
    for person, taken in rows.items():
        taken.sort(key=lambda reading: reading[0])
        times, values = zip(*taken, strict=True)
        yield Person(person, np.array(times, np.int64), np.array(values, np.float64))


def _reading(time: str, glucose: str) -> tuple[int, float] | None:
    """Local times carry no zone; taken as UTC, since only differences matter here."""
    try:
        value = float(glucose)
        time_us = round(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * US_PER_S)
    except (ValueError, TypeError):
        return None
    return (time_us, value) if math.isfinite(value) else None

"""ECG records with reference beats: the MIT-BIH Arrhythmia Database as WFDB files (Moody & Mark 2001).

Only the records below are read, whatever else lies in the folder: the other half of the usual inter-patient split
(DS2 of de Chazal 2004, doi:10.1109/TBME.2004.827359) is for testing alone and nothing here may learn from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import wfdb

from vitals.units import EARLIEST_US, US_PER_S

DS1_RECORDS: Final = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
    "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230",
)  # fmt: skip
PACED_RECORDS: Final = ("102", "104", "107", "217")
RECORDS: Final = tuple(sorted(DS1_RECORDS + PACED_RECORDS))
FOLDER: Final = "mitdb"

START_US: Final = EARLIEST_US
"""Recordings of long ago carry no date: they all begin here. Windows do not depend on it but through whole seconds."""

NOT_MEASURED: Final = np.int16(-32768)
_UV_PER_MV: Final = 1000.0
_OLDEST: Final = 80


@dataclass(frozen=True, slots=True)
class EcgRecord:
    """One recording and its reference beats.

    ``samples``: int16[leads, n] at ``rate_hz``, microvolts over ``gain_uv``, -32768 where nothing was measured.
    ``beat_us``: int64[m], event time of every annotation, ascending; ``symbol``: its letter in the WFDB alphabet.
    ``traits``: what is known of the person and the device, as in ``PersonExamples``.
    """

    person: str
    rate_hz: float
    samples: npt.NDArray[np.int16]
    gain_uv: float
    beat_us: npt.NDArray[np.int64]
    symbol: tuple[str, ...]
    traits: str = ""


def records(data: Path) -> Iterator[EcgRecord]:
    """The records that are there, in a fixed order; none when the folder is missing."""
    for name in RECORDS:
        path = data / FOLDER / name
        if path.with_suffix(".hea").exists() and path.with_suffix(".atr").exists():
            yield record(path, person=f"{FOLDER}/{name}")


def record(path: Path, person: str) -> EcgRecord:
    """One WFDB record (``path`` without suffix) with its ``.atr`` annotations."""
    signal = wfdb.rdrecord(str(path), physical=False)
    annotation = wfdb.rdann(str(path), "atr")
    gain_uv = _UV_PER_MV / signal.adc_gain[0]
    leads = []
    for lead in range(signal.n_sig):
        raw = signal.d_signal[:, lead].astype(np.float64)
        missing = signal.d_signal[:, lead] == np.iinfo(np.int16).min
        # one gain per recording on the wire: leads of another gain are brought to that of the first
        scaled = np.rint((raw - signal.baseline[lead]) * (signal.adc_gain[0] / signal.adc_gain[lead]))
        leads.append(np.where(missing, NOT_MEASURED, np.clip(scaled, -32767, 32767)).astype(np.int16))
    beat_us = START_US + np.rint(annotation.sample * (US_PER_S / signal.fs)).astype(np.int64)
    traits = ";".join((*_age_and_sex(signal.comments), f"lead={signal.sig_name[0]}"))
    return EcgRecord(person, float(signal.fs), np.stack(leads), gain_uv, beat_us, tuple(annotation.symbol), traits)


def _age_and_sex(comments: list[str]) -> list[str]:
    """From the header's first comment as MIT-BIH writes it: ``69 M 1085 1629 x1``, -1 for an age that is not known."""
    found = re.match(r"(-?\d+) ([MF])\b", comments[0]) if comments else None
    if found is None:
        return []
    sex = f"sex={found[2].lower()}"
    if int(found[1]) < 0:
        return [sex]
    decade = min(int(found[1]) // 10 * 10, _OLDEST)
    return [f"age={decade}{'+' if decade == _OLDEST else f'-{decade + 9}'}", sex]

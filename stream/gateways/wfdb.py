"""Bedside monitors behind a ward gateway, played from WFDB records: one-second chunks of all leads at their rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import wfdb

from stream.gateways.schedule import Due, Pace
from stream.topics import Topic
from vitals import codec
from vitals.errors import Fault
from vitals.events import EcgBundle
from vitals.units import US_PER_S

CHUNK_S: Final = 1.0
NOT_MEASURED: Final = -32768
_LARGEST: Final = 32767
_UV_PER: Final = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0}
_NOT_ECG: Final = ("PLETH", "RESP", "ABP", "ART", "PAP", "CVP", "SPO2", "CO2")
_PULSE: Final = ("PLETH", "PPG", "ABP", "ART")


@dataclass(frozen=True, slots=True)
class Recording:
    """The ECG of one record. ``samples``: int16[leads, n] at ``rate_hz``, microvolts over ``gain_uv``; -32768 where
    nothing was measured.
    """

    name: str
    rate_hz: float
    leads: tuple[str, ...]
    gain_uv: float
    samples: npt.NDArray[np.int16]

    @property
    def seconds(self) -> float:
        """How long it is."""
        count: int = self.samples.shape[1]
        return count / self.rate_hz


@dataclass(frozen=True, slots=True)
class Wave:
    """One pulse wave of a record, arterial pressure or plethysmogram. ``values``: float64[n] at ``rate_hz`` in the unit
    of the record, NaN where nothing was measured.
    """

    name: str
    rate_hz: float
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bed:
    """A patient and what the monitor there plays, from ``from_s`` seconds into the recording."""

    patient: str
    recording: Recording
    from_s: float = 0.0


def read(path: Path) -> Recording:
    """The record at ``path`` (with or without ``.hea``). Raises ``Fault`` when it cannot be read or has no ECG."""
    with _readable(path) as stem:
        return _recording(f"{stem.parent.name}/{stem.name}", wfdb.rdrecord(str(stem), return_res=64))


def read_before(path: Path, end_s: float, span_s: float) -> tuple[Recording, tuple[Wave, ...]]:
    """The ECG and the pulse waves of the last ``span_s`` before ``end_s``, or before the end of the record where that
    comes first. No later sample is read. Raises ``Fault`` as ``read`` does, and where nothing lies in that span.
    """
    with _readable(path) as stem:
        header = wfdb.rdheader(str(stem))
        last = min(header.sig_len or 0, round(end_s * header.fs))
        first = max(0, last - round(span_s * header.fs))
        if last <= first:
            raise Fault(f"{path.name} has no sample before {end_s:g} s")
        record = wfdb.rdrecord(str(stem), sampfrom=first, sampto=last, return_res=64)
        return _recording(f"{stem.parent.name}/{stem.name}", record), _waves(record)


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The name of the record at ``path``; whatever goes wrong with it is a ``Fault``."""
    try:
        yield path.with_suffix("") if path.suffix in {".hea", ".dat"} else path
    except Fault:
        raise
    except Exception as error:  # the reader takes a header at its word until something does not fit
        raise Fault(f"{path.name} is not a WFDB record: {error}") from error


def _waves(record: wfdb.Record) -> tuple[Wave, ...]:
    return tuple(
        Wave(name, float(record.fs), np.where(np.isfinite(record.p_signal[:, i]), record.p_signal[:, i], np.nan))
        for i, name in enumerate(record.sig_name)
        if name.upper().startswith(_PULSE)
    )


def _recording(name: str, record: wfdb.Record) -> Recording:
    ecg = [i for i in range(record.n_sig) if _is_ecg(record.sig_name[i], record.units[i])]
    if not ecg:
        raise Fault(f"{name} holds no ECG")
    per_unit = np.array([_UV_PER[record.units[i]] for i in ecg])
    finest_uv = float(min(scale / record.adc_gain[i] for scale, i in zip(per_unit, ecg, strict=True)))
    samples, gain_uv = quantised((record.p_signal[:, ecg] * per_unit).T, finest_uv)
    return Recording(name, float(record.fs), tuple(record.sig_name[i] for i in ecg), gain_uv, samples)


def quantised(signal_uv: npt.NDArray[np.float64], gain_uv: float) -> tuple[npt.NDArray[np.int16], float]:
    """``signal_uv[leads, n]`` as int16 and its gain: ``gain_uv``, or coarser where that would not fit 16 bits.

    One gain serves all leads of a chunk on the wire. NaN becomes -32768.
    """
    measured = np.isfinite(signal_uv)
    peak_uv = float(np.abs(signal_uv[measured]).max(initial=0.0))
    gain_uv = max(gain_uv, peak_uv / _LARGEST)
    return np.where(measured, np.rint(signal_uv / gain_uv), NOT_MEASURED).astype(np.int16), gain_uv


def bundles(gateway: str, beds: Sequence[Bed], pace: Pace, *, repeat: bool = False) -> Iterator[Due]:
    """One message a second of event time for all ``beds``, keyed by gateway; by patient when there is one bed.

    A chunk is sent when its last sample has been taken. ``repeat``: a recording that ends begins again, its event time
    goes on; else its bed falls silent, and with the last one the gateway.
    """
    key = (beds[0].patient if len(beds) == 1 else gateway).encode()
    for chunk in count():
        parts = [(bed, *_span(bed, chunk, repeat)) for bed in beds]
        parts = [(bed, first, last) for bed, first, last in parts if last > first]
        if not parts:
            return
        taken = [_samples(bed, first, last) for bed, first, last in parts]
        rates = [bed.recording.rate_hz for bed, _, _ in parts]
        bundle = EcgBundle(
            gateway=gateway,
            sequence=chunk,
            patients=[bed.patient for bed, _, _ in parts],
            devices=[bed.recording.name for bed, _, _ in parts],
            start_us=[
                pace.start_us + round(first * US_PER_S / rate) for (_, first, _), rate in zip(parts, rates, strict=True)
            ],
            rate_hz=rates,
            leads=[list(bed.recording.leads) for bed, _, _ in parts],
            gain_uv=[bed.recording.gain_uv for bed, _, _ in parts],
            n_samples=[last - first for _, first, last in parts],
            samples=b"".join(block.astype("<i2").tobytes() for block in taken),
        )
        yield Due(pace.due_s((chunk + 1) * CHUNK_S), Topic.ECG, key, codec.encode(bundle), len(parts))


def _is_ecg(name: str, unit: str) -> bool:
    return unit in _UV_PER and not name.upper().startswith(_NOT_ECG)


def _span(bed: Bed, chunk: int, repeat: bool) -> tuple[int, int]:
    """First sample of the chunk and the one after its last, counted from where the bed began."""
    rate = bed.recording.rate_hz
    first, last = round(chunk * CHUNK_S * rate), round((chunk + 1) * CHUNK_S * rate)
    if repeat:
        return first, last
    return first, min(last, bed.recording.samples.shape[1] - round(bed.from_s * rate))


def _samples(bed: Bed, first: int, last: int) -> npt.NDArray[np.int16]:
    begin = round(bed.from_s * bed.recording.rate_hz)
    return bed.recording.samples.take(np.arange(begin + first, begin + last), axis=1, mode="wrap")

"""Bytes to arrays over patients: decode, bound, and set aside row by row what cannot be used.

Nothing here raises for bad data: what is wrong with a record is in ``refused``, and the rest of it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from stream.deadletter import WHOLE_RECORD, envelope
from vitals import codec, units
from vitals.errors import Fate, Reason, Unusable
from vitals.events import DISTRUSTED_FLAGS, MAX_NAME, DeadLetter, EcgBundle, GlucoseReading, ImagingEvent, Record

_SENSOR_CODES_MG_DL: Final = frozenset(range(13))
"""Dexcom and Nightscout send error codes 0..12 in the place of a reading."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One event that ended here. ``letter`` is there when a person could use it; ``share``: how much of its record
    ended with it.
    """

    reason: Reason
    letter: DeadLetter | None
    share: float = 1.0


def refuse(
    record: Record, why: Unusable, *, row: int = WHOLE_RECORD, value: bytes | None = None, share: float = 1.0
) -> Refusal:
    """The end of one event, by the fate of its reason."""
    kept = why.reason.fate is Fate.DEAD_LETTER
    return Refusal(why.reason, envelope(record, why, row=row, value=value) if kept else None, share)


@dataclass(frozen=True, slots=True)
class EcgChunks:
    """The good chunks of one bundle, as arrays over its ``c`` chunks; ``samples``: int16, chunk after chunk."""

    gateway: str
    patients: list[str]
    start_us: npt.NDArray[np.int64]
    rate_hz: npt.NDArray[np.float64]
    n_leads: npt.NDArray[np.int32]
    gain_uv: npt.NDArray[np.float64]
    n_samples: npt.NDArray[np.int32]
    samples: npt.NDArray[np.int16]


def ecg_chunks(record: Record, clock_ahead_us: int) -> tuple[EcgChunks | None, list[Refusal]]:
    """The usable chunks in one ``ecg.v1`` record, and what was wrong with the others."""
    try:
        bundle = codec.decode(EcgBundle, record.value, record.content_type)
        chunks = _columns(bundle)
    except Unusable as why:
        return None, [refuse(record, why)]
    wrong = _wrong_chunks(chunks, record.timestamp_ms * units.US_PER_MS + clock_ahead_us)
    if not wrong:
        return chunks, []
    share = 1.0 / len(chunks.patients)
    refusals = []
    for row, reason in wrong.items():
        part = codec.encode(_only(bundle, chunks, row), record.content_type)
        refusals.append(refuse(record, Unusable(reason), row=row, value=part, share=share))
    keep = np.array([row not in wrong for row in range(len(chunks.patients))])
    return (_kept(chunks, keep) if keep.any() else None), refusals


def _columns(bundle: EcgBundle) -> EcgChunks:
    n = len(bundle.patients)
    columns = (bundle.devices, bundle.start_us, bundle.rate_hz, bundle.leads, bundle.gain_uv, bundle.n_samples)
    if n == 0 or any(len(column) != n for column in columns):
        raise Unusable(Reason.INCONSISTENT, "columns of different length")
    if min(bundle.n_samples) < 1 or max(bundle.n_samples) > codec.MAX_VALUE_BYTES:
        raise Unusable(Reason.INCONSISTENT, "a chunk without samples")
    n_leads = np.fromiter(map(len, bundle.leads), np.int32, n)
    if n_leads.min() < 1:
        raise Unusable(Reason.INCONSISTENT, "a chunk without leads")
    n_samples = np.array(bundle.n_samples, np.int32)
    if 2 * int((n_samples.astype(np.int64) * n_leads).sum()) != len(bundle.samples):
        raise Unusable(Reason.INCONSISTENT, "the samples do not fit their counts")
    if not all(-(2**62) < t < 2**62 for t in bundle.start_us):
        raise Unusable(Reason.IMPOSSIBLE_TIME)
    return EcgChunks(
        gateway=bundle.gateway,
        patients=bundle.patients,
        start_us=np.array(bundle.start_us, np.int64),
        rate_hz=np.array(bundle.rate_hz, np.float64),
        n_leads=n_leads,
        gain_uv=np.array(bundle.gain_uv, np.float64),
        n_samples=n_samples,
        samples=np.frombuffer(bundle.samples, "<i2"),
    )


def _wrong_chunks(chunks: EcgChunks, latest_us: int) -> dict[int, Reason]:
    """Row to reason, for the chunks that no monitor could have sent."""
    name_lengths = np.fromiter(map(len, chunks.patients), np.int32, len(chunks.patients))
    checks = (
        (Reason.IMPOSSIBLE_NAME, (name_lengths > 0) & (name_lengths <= MAX_NAME)),
        (Reason.IMPOSSIBLE_RATE, (chunks.rate_hz >= units.RATE_MIN_HZ) & (chunks.rate_hz <= units.RATE_MAX_HZ)),
        (Reason.IMPOSSIBLE_GAIN, (chunks.gain_uv > 0) & (chunks.gain_uv <= units.GAIN_MAX_UV)),
        (Reason.IMPOSSIBLE_TIME, (chunks.start_us >= units.EARLIEST_US) & (chunks.start_us <= units.LATEST_US)),
        (Reason.CLOCK_AHEAD, chunks.start_us <= latest_us),
    )
    wrong: dict[int, Reason] = {}
    for reason, good in checks:
        if not good.all():
            for row in np.flatnonzero(~good).tolist():
                wrong.setdefault(row, reason)
    return wrong


def _kept(chunks: EcgChunks, keep: npt.NDArray[np.bool_]) -> EcgChunks:
    sizes = chunks.n_samples * chunks.n_leads
    return EcgChunks(
        gateway=chunks.gateway,
        patients=[p for p, good in zip(chunks.patients, keep.tolist(), strict=True) if good],
        start_us=chunks.start_us[keep],
        rate_hz=chunks.rate_hz[keep],
        n_leads=chunks.n_leads[keep],
        gain_uv=chunks.gain_uv[keep],
        n_samples=chunks.n_samples[keep],
        samples=chunks.samples[np.repeat(keep, sizes)],
    )


def _only(bundle: EcgBundle, chunks: EcgChunks, row: int) -> EcgBundle:
    """The bundle of one chunk: what a person needs to see of it, and nobody else's signal."""
    ends = np.cumsum(chunks.n_samples.astype(np.int64) * chunks.n_leads)
    end = 2 * int(ends[row])
    start = end - 2 * int(chunks.n_samples[row]) * int(chunks.n_leads[row])
    one = slice(row, row + 1)
    return msgspec.structs.replace(
        bundle,
        patients=bundle.patients[one],
        devices=bundle.devices[one],
        start_us=bundle.start_us[one],
        rate_hz=bundle.rate_hz[one],
        leads=bundle.leads[one],
        gain_uv=bundle.gain_uv[one],
        n_samples=bundle.n_samples[one],
        samples=bundle.samples[start:end],
    )


@dataclass(frozen=True, slots=True)
class Readings:
    """Usable glucose readings, as columns; ``record`` is the position in the batch each came from."""

    record: list[int]
    patients: list[str]
    time_us: npt.NDArray[np.int64]
    glucose_mg_dl: npt.NDArray[np.float32]


def readings(records: Sequence[Record], clock_ahead_us: int) -> tuple[Readings, list[Refusal]]:
    """The usable readings of a batch of ``glucose.v1`` records, in order."""
    taken: list[int] = []
    events: list[GlucoseReading] = []
    values: list[float] = []
    refusals: list[Refusal] = []
    for i, record in enumerate(records):
        try:
            event = codec.decode(GlucoseReading, record.value, record.content_type)
            _check_time(event.time_us, record, clock_ahead_us)
            values.append(_mg_dl(event))
        except Unusable as why:
            refusals.append(refuse(record, why))
        else:
            taken.append(i)
            events.append(event)
    return (
        Readings(
            taken,
            [e.patient for e in events],
            np.array([e.time_us for e in events], np.int64),
            np.array(values, np.float32),
        ),
        refusals,
    )


def image_event(record: Record, clock_ahead_us: int) -> ImagingEvent:
    """The event in one ``imaging.v1`` record. Raises ``Unusable``."""
    event = codec.decode(ImagingEvent, record.value, record.content_type)
    _check_time(event.time_us, record, clock_ahead_us)
    return event


def _mg_dl(event: GlucoseReading) -> float:
    value = event.glucose
    if not DISTRUSTED_FLAGS.isdisjoint(event.flags):
        raise Unusable(Reason.SENSOR_STATUS)
    if not np.isfinite(value):
        raise Unusable(Reason.NOT_FINITE)
    if event.unit == "mmol/L":
        value = units.mg_dl_from_mmol_l(value)
    elif event.unit != "mg/dL":
        raise Unusable(Reason.WRONG_UNIT)
    elif value in _SENSOR_CODES_MG_DL:
        raise Unusable(Reason.SENSOR_CODE)
    if not units.GLUCOSE_MIN_MG_DL <= value <= units.GLUCOSE_MAX_MG_DL:
        raise Unusable(Reason.IMPLAUSIBLE)
    return value


def _check_time(time_us: int, record: Record, clock_ahead_us: int) -> None:
    if not units.EARLIEST_US <= time_us <= units.LATEST_US:
        raise Unusable(Reason.IMPOSSIBLE_TIME)
    if time_us > record.timestamp_ms * units.US_PER_MS + clock_ahead_us:
        raise Unusable(Reason.CLOCK_AHEAD)

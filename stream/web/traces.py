"""The last seconds of ECG of the beds on view, cut out of the gateways' bundles.

Every bundle of the partitions that are read is kept whole for a few seconds: a bed that comes on view has its trace at
once, and one that is not on view costs nothing but its share of the bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vitals.codec import JSON
from vitals.events import EcgBundle
from vitals.units import GAIN_MAX_UV, RATE_MAX_HZ, RATE_MIN_HZ, US_PER_S

KEPT_S: Final = 12.0
MAX_KEPT_BYTES: Final = 24 * 1024 * 1024
_SHOWN_RATE_HZ: Final = 500.0
_MAX_CHUNKS: Final = 120
_NOT_MEASURED: Final = -32768
_PREFERRED: Final = ("MLII", "II")
_LOST_US: Final = 10 * US_PER_S
_SET_BACK_US: Final = 10 * US_PER_S


class _Bundle(msgspec.Struct, tag="ecg", tag_field="type"):
    """An ``EcgBundle`` whose samples stay where they are."""

    gateway: str
    patients: list[str]
    start_us: list[int]
    rate_hz: list[float]
    leads: list[list[str]]
    gain_uv: list[float]
    n_samples: list[int]
    samples: memoryview


_decode_msgpack = msgspec.msgpack.Decoder(_Bundle).decode
_decode_json = msgspec.json.Decoder(EcgBundle).decode


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stretch of one lead. ``samples``: int16[n], times ``gain_uv`` is µV; -32768 was not measured.

    ``number`` grows with every chunk of the bed; what a viewer has not been sent is what has a greater one.
    """

    number: int
    start_us: int
    rate_hz: float
    gain_uv: float
    lead: str
    samples: npt.NDArray[np.int16]


class _Kept:
    """One bundle in memory, and where each patient's samples begin in it."""

    __slots__ = ("arrived_us", "bundle", "place", "size", "starts")

    def __init__(self, bundle: _Bundle, place: dict[str, int], arrived_us: int, size: int) -> None:
        self.bundle = bundle
        self.place = place
        self.arrived_us = arrived_us
        self.size = size
        columns = (bundle.start_us, bundle.rate_hz, bundle.leads, bundle.gain_uv, bundle.n_samples)
        if any(len(column) != len(bundle.patients) for column in columns):
            raise ValueError("columns of different lengths")
        counts = np.array(bundle.n_samples, np.int64) * np.array([len(leads) for leads in bundle.leads], np.int64)
        if counts.min(initial=0) < 0 or 2 * int(counts.sum()) != len(bundle.samples):
            raise ValueError("columns that do not fit the samples")
        self.starts = np.concatenate(([0], np.cumsum(counts)))


class Traces:
    """Traces of the beds on view. Written by the reader's thread, read by the server's: every call takes the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, deque[_Kept]] = {}
        self._kept_bytes: dict[int, int] = {}
        self._places: dict[str, tuple[list[str], dict[str, int]]] = {}
        self._on_view: dict[str, deque[Chunk]] = {}
        self._last_heard: dict[str, tuple[int, int]] = {}  # partition and broker time of the last chunk of each bed
        self._number = 0

    def show(self, beds: Collection[str]) -> None:
        """Exactly these beds are on view from now on."""
        with self._lock:
            for bed in [bed for bed in self._on_view if bed not in beds]:
                del self._on_view[bed]
                self._last_heard.pop(bed, None)
            for bed in beds:
                if bed not in self._on_view:
                    self._on_view[bed] = deque(maxlen=_MAX_CHUNKS)
                    for kept, partition in self._oldest_first():
                        if bed in kept.place:
                            self._last_heard[bed] = (partition, kept.arrived_us)
                            self._cut(kept, bed)

    def on_view(self) -> dict[str, int | None]:
        """Each bed on view, with the partition it is on; None when that has brought others' chunks and not its own."""
        with self._lock:
            return {bed: self._partition_of(bed) for bed in self._on_view}

    def take(self, value: bytes, content_type: str, partition: int, arrived_us: int) -> None:
        """One record of ``ecg.v1``. Raises ``ValueError`` when it cannot be shown."""
        try:
            bundle = _from_json(value) if content_type == JSON else _decode_msgpack(value)
        except msgspec.DecodeError as error:
            raise ValueError("not an ECG bundle") from error
        with self._lock:
            kept = _Kept(bundle, self._place(bundle), arrived_us, len(value))
            queue = self._kept.setdefault(partition, deque())
            queue.append(kept)
            total = self._kept_bytes.get(partition, 0) + kept.size
            oldest_us = arrived_us - round(KEPT_S * US_PER_S)
            while len(queue) > 1 and (total > MAX_KEPT_BYTES or queue[0].arrived_us < oldest_us):
                total -= queue.popleft().size
            self._kept_bytes[partition] = total
            for bed in self._on_view.keys() & kept.place.keys():
                self._last_heard[bed] = (partition, arrived_us)
                self._cut(kept, bed)

    def leave(self, partition: int) -> None:
        """The partition is no longer read: what was kept of it would grow old."""
        with self._lock:
            self._kept.pop(partition, None)
            self._kept_bytes.pop(partition, None)
            for bed in [bed for bed, (where, _) in self._last_heard.items() if where == partition]:
                del self._last_heard[bed]

    def since(self, bed: str, number: int) -> list[Chunk]:
        """Chunks of a bed on view that are newer than chunk ``number``, oldest first."""
        with self._lock:
            return [chunk for chunk in self._on_view.get(bed, ()) if chunk.number > number]

    def kept_bytes(self) -> int:
        """Bytes of bundles in memory."""
        with self._lock:
            return sum(self._kept_bytes.values())

    def _partition_of(self, bed: str) -> int | None:
        partition, heard_us = self._last_heard.get(bed, (-1, 0))
        queue = self._kept.get(partition)
        if not queue or queue[-1].arrived_us - heard_us > _LOST_US:
            return None
        return partition

    def _oldest_first(self) -> list[tuple[_Kept, int]]:
        every = [(kept, partition) for partition, queue in self._kept.items() for kept in queue]
        return sorted(every, key=lambda one: one[0].arrived_us)

    def _place(self, bundle: _Bundle) -> dict[str, int]:
        """Index of each patient; a gateway sends the same list every second."""
        known = self._places.get(bundle.gateway)
        if known is not None and known[0] == bundle.patients:
            return known[1]
        place = {patient: i for i, patient in enumerate(bundle.patients)}
        if len(self._places) > 50_000:
            self._places.clear()
        self._places[bundle.gateway] = (bundle.patients, place)
        return place

    def _cut(self, kept: _Kept, bed: str) -> None:
        at = kept.place.get(bed)
        bundle = kept.bundle
        if at is None or not bundle.leads[at] or bundle.n_samples[at] <= 0:
            return
        rate_hz, gain_uv, start_us = bundle.rate_hz[at], bundle.gain_uv[at], bundle.start_us[at]
        if not (RATE_MIN_HZ <= rate_hz <= RATE_MAX_HZ and 0 < gain_uv <= GAIN_MAX_UV):
            return
        chunks = self._on_view[bed]
        if chunks and start_us <= chunks[-1].start_us:
            if start_us > chunks[-1].start_us - _SET_BACK_US:
                return  # seen before, or too late for a moving trace
            chunks.clear()
        leads = bundle.leads[at]
        lead = next((leads.index(name) for name in _PREFERRED if name in leads), 0)
        n = bundle.n_samples[at]
        begin = int(kept.starts[at]) + lead * n
        samples = np.frombuffer(bundle.samples, "<i2", n, 2 * begin)
        longest = round(KEPT_S * rate_hz)
        if n > longest:
            start_us += round((n - longest) / rate_hz * US_PER_S)
            samples = samples[-longest:]
        samples, rate_hz = _thinned(samples, rate_hz)
        self._number += 1
        chunks.append(Chunk(self._number, start_us, rate_hz, gain_uv, leads[lead][:8], samples))


def _from_json(value: bytes) -> _Bundle:
    bundle = _decode_json(value)
    return _Bundle(
        bundle.gateway,
        bundle.patients,
        bundle.start_us,
        bundle.rate_hz,
        bundle.leads,
        bundle.gain_uv,
        bundle.n_samples,
        memoryview(bundle.samples),
    )


def _thinned(samples: npt.NDArray[np.int16], rate_hz: float) -> tuple[npt.NDArray[np.int16], float]:
    """At most 500 Hz: of each group the sample farthest from the median of all, so that no R peak is lost."""
    every = int(np.ceil(rate_hz / _SHOWN_RATE_HZ))
    whole = len(samples) // every
    if every < 2 or whole == 0:
        return samples, rate_hz
    groups = samples[: whole * every].reshape(whole, every)
    away = np.abs(groups.astype(np.int32) - int(np.median(groups)))
    away[groups == _NOT_MEASURED] = np.iinfo(np.int32).max  # what was not measured must not be drawn over
    return groups[np.arange(whole), away.argmax(axis=1)], rate_hz / every

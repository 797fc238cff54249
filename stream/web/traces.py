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

import numpy as np
import numpy.typing as npt

from stream.recent import Kept, Recent
from vitals.units import US_PER_S

KEPT_S: Final = 12.0
MAX_KEPT_BYTES: Final = 24 * 1024 * 1024
_SHOWN_RATE_HZ: Final = 500.0
_MAX_CHUNKS: Final = 120
_NOT_MEASURED: Final = -32768
_PREFERRED: Final = ("MLII", "II")
_LOST_US: Final = 10 * US_PER_S
_SET_BACK_US: Final = 10 * US_PER_S


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


class Traces:
    """Traces of the beds on view. Written by the reader's thread, read by the server's: every call takes the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, Recent] = {}
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
        with self._lock:
            recent = self._kept.setdefault(partition, Recent(KEPT_S, MAX_KEPT_BYTES))
            kept = recent.take(value, content_type, offset=0, arrived_us=arrived_us)
            for bed in self._on_view.keys() & kept.place.keys():
                self._last_heard[bed] = (partition, arrived_us)
                self._cut(kept, bed)

    def leave(self, partition: int) -> None:
        """The partition is no longer read: what was kept of it would grow old."""
        with self._lock:
            self._kept.pop(partition, None)
            for bed in [bed for bed, (where, _) in self._last_heard.items() if where == partition]:
                del self._last_heard[bed]

    def since(self, bed: str, number: int) -> list[Chunk]:
        """Chunks of a bed on view that are newer than chunk ``number``, oldest first."""
        with self._lock:
            return [chunk for chunk in self._on_view.get(bed, ()) if chunk.number > number]

    def kept_bytes(self) -> int:
        """Bytes of bundles in memory."""
        with self._lock:
            return sum(recent.size for recent in self._kept.values())

    def _partition_of(self, bed: str) -> int | None:
        partition, heard_us = self._last_heard.get(bed, (-1, 0))
        recent = self._kept.get(partition)
        if not recent or recent.newest_us - heard_us > _LOST_US:
            return None
        return partition

    def _oldest_first(self) -> list[tuple[Kept, int]]:
        every = [(kept, partition) for partition, recent in self._kept.items() for kept in recent]
        return sorted(every, key=lambda one: one[0].arrived_us)

    def _cut(self, kept: Kept, bed: str) -> None:
        at = kept.row_of(bed)
        if at is None:
            return
        bundle = kept.bundle
        rate_hz, gain_uv, start_us = bundle.rate_hz[at], bundle.gain_uv[at], bundle.start_us[at]
        chunks = self._on_view[bed]
        if chunks and start_us <= chunks[-1].start_us:
            if start_us > chunks[-1].start_us - _SET_BACK_US:
                return  # seen before, or too late for a moving trace
            chunks.clear()
        leads = bundle.leads[at]
        lead = next((leads.index(name) for name in _PREFERRED if name in leads), 0)
        samples = kept.samples(at)[lead]
        n = len(samples)
        longest = round(KEPT_S * rate_hz)
        if n > longest:
            start_us += round((n - longest) / rate_hz * US_PER_S)
            samples = samples[-longest:]
        samples, rate_hz = _thinned(samples, rate_hz)
        self._number += 1
        chunks.append(Chunk(self._number, start_us, rate_hz, gain_uv, leads[lead][:8], samples))


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

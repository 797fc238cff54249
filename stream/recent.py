"""The raw ECG bundles of the last seconds of one partition, kept whole and bounded in seconds and in bytes.

A patient's samples are only looked for when somebody asks: who is not asked for costs nothing but a share of the bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vitals.codec import JSON, MAX_VALUE_BYTES
from vitals.events import MAX_LEADS, EcgBundle, Text
from vitals.units import EARLIEST_US, GAIN_MAX_UV, LATEST_US, RATE_MAX_HZ, RATE_MIN_HZ, US_PER_S

_MOST_GATEWAYS: Final = 50_000


class _Bundle(msgspec.Struct, tag="ecg", tag_field="type"):
    """An ``EcgBundle`` whose samples stay where they are."""

    gateway: Text
    patients: list[str]
    start_us: list[int]
    rate_hz: list[float]
    leads: list[Annotated[list[Text], Meta(max_length=MAX_LEADS)]]
    gain_uv: list[float]
    n_samples: list[int]
    samples: memoryview


_decode_msgpack = msgspec.msgpack.Decoder(_Bundle).decode
_decode_json = msgspec.json.Decoder(EcgBundle).decode


class Kept:
    """One bundle in memory, and where each patient's samples begin in it."""

    __slots__ = ("_starts", "arrived_us", "bundle", "offset", "place", "size")

    def __init__(self, bundle: _Bundle, place: dict[str, int], arrived_us: int, offset: int, size: int) -> None:
        self.bundle = bundle
        self.place = place
        self.arrived_us = arrived_us
        self.offset = offset
        self.size = size
        columns = (bundle.start_us, bundle.rate_hz, bundle.leads, bundle.gain_uv, bundle.n_samples)
        if any(len(column) != len(bundle.patients) for column in columns):
            raise ValueError("columns of different lengths")
        if max(bundle.n_samples, default=0) > MAX_VALUE_BYTES:
            raise ValueError("columns of numbers that do not fit the samples")
        counts = np.array(bundle.n_samples, np.int64) * np.array([len(leads) for leads in bundle.leads], np.int64)
        if counts.min(initial=0) < 0 or 2 * int(counts.sum()) != len(bundle.samples):
            raise ValueError("columns that do not fit the samples")
        self._starts = np.concatenate(([0], np.cumsum(counts)))

    def row_of(self, patient: str) -> int | None:
        """Where the patient stands in the bundle; None when there is no chunk that a monitor could have sent."""
        row = self.place.get(patient)
        bundle = self.bundle
        if row is None or not bundle.leads[row] or bundle.n_samples[row] <= 0:
            return None
        is_possible = (
            RATE_MIN_HZ <= bundle.rate_hz[row] <= RATE_MAX_HZ
            and 0 < bundle.gain_uv[row] <= GAIN_MAX_UV
            and EARLIEST_US <= bundle.start_us[row] <= LATEST_US
        )
        return row if is_possible else None

    def samples(self, row: int) -> npt.NDArray[np.int16]:
        """int16[leads, n] of one patient: a view of the bundle."""
        n_leads, n = len(self.bundle.leads[row]), self.bundle.n_samples[row]
        return np.frombuffer(self.bundle.samples, "<i2", n_leads * n, 2 * int(self._starts[row])).reshape(n_leads, n)


class Recent:
    """What arrived in the last ``kept_s`` seconds before the newest, at most ``most_bytes`` of it.

    ``let_go_us``: when the newest bundle arrived that is not here any more, 0 while all is.
    """

    def __init__(self, kept_s: float, most_bytes: int) -> None:
        self._kept_us = round(kept_s * US_PER_S)
        self._most_bytes = most_bytes
        self._queue: deque[Kept] = deque()
        self._places: dict[str, tuple[list[str], dict[str, int]]] = {}
        self.size = 0
        self.let_go_us = 0

    def __iter__(self) -> Iterator[Kept]:
        """Oldest first."""
        return iter(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def take(self, value: bytes, content_type: str, offset: int, arrived_us: int) -> Kept:
        """One record of ``ecg.v1``. Raises ``ValueError`` when it is not a bundle that fits itself."""
        try:
            bundle = _from_json(value) if content_type == JSON else _decode_msgpack(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError("not an ECG bundle") from error
        try:
            kept = Kept(bundle, self._place(bundle), arrived_us, offset, len(value))
        except OverflowError:
            raise ValueError("columns of numbers that do not fit") from None
        self._queue.append(kept)
        self.size += kept.size
        while len(self) > 1 and (self.size > self._most_bytes or self.oldest_us < arrived_us - self._kept_us):
            self.let_go()
        return kept

    @property
    def oldest_us(self) -> int:
        """When the oldest arrived. Raises ``IndexError`` when there is none."""
        return self._queue[0].arrived_us

    @property
    def newest_us(self) -> int:
        """When the newest arrived. Raises ``IndexError`` when there is none."""
        return self._queue[-1].arrived_us

    def let_go(self) -> None:
        """Forget the oldest. Raises ``IndexError`` when there is none."""
        oldest = self._queue.popleft()
        self.size -= oldest.size
        self.let_go_us = oldest.arrived_us

    def _place(self, bundle: _Bundle) -> dict[str, int]:
        """Index of each patient; a gateway sends the same list every second."""
        known = self._places.get(bundle.gateway)
        if known is not None and known[0] == bundle.patients:
            return known[1]
        place = {patient: i for i, patient in enumerate(bundle.patients)}
        if len(self._places) > _MOST_GATEWAYS:
            self._places.clear()
        self._places[bundle.gateway] = (bundle.patients, place)
        return place


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

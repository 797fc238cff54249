"""One browser: what it looks at, what it has been told, and the next frames for it.

Nothing is queued for a viewer. The next frames are made when the last ones have left, from how things stand then: a
slow browser gets fewer and newer frames, never more memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from stream.web import tiles
from stream.web.traces import Chunk, Traces
from stream.web.ward import BED_ORDER, MAX_PAGE, URGENCY_ORDER, Ward
from vitals.units import US_PER_S

TRACE_MAGIC: Final = 0x5457
_HEAD: Final = struct.Struct("<HHI")  # magic, chunks, 0
_CHUNK: Final = struct.Struct("<IIdffI8s4x")  # key, number, start ms, rate Hz, gain µV, samples, lead
_SAY_THE_TIME_US: Final = US_PER_S

_encode = msgspec.json.Encoder().encode
_decode_view = msgspec.json.Decoder(tiles.View).decode
_decode_said = msgspec.json.Decoder(tiles.View | tiles.Seen).decode


def parse_said(text: str | bytes) -> tiles.View | tiles.Seen:
    """What a browser says on its socket. Raises ``ValueError`` for anything else."""
    said = _decode_said(text)
    return _checked(said) if isinstance(said, tiles.View) else said


def parse_view(text: str | bytes) -> tiles.View:
    """What somebody asks to see. Raises ``ValueError`` for anything else."""
    return _checked(_decode_view(text))


def _checked(view: tiles.View) -> tiles.View:
    if not (0 <= view.page <= 100_000 and 1 <= view.size <= MAX_PAGE and len(view.find) <= 100):
        raise ValueError("out of bounds")
    if view.order not in (BED_ORDER, URGENCY_ORDER):
        raise ValueError("no such order")
    return view


class Viewer:
    """Made for one connection."""

    def __init__(self, ward: Ward, traces: Traces) -> None:
        self._ward = ward
        self._traces = traces
        self._told: dict[int, list[int]] = {}
        self._sent_to: dict[int, int] = {}
        self._last_ward: tiles.WardFrame | None = None
        self._last_said_us = 0
        self.view = tiles.View()
        self.names: list[str] = []
        """Beds on the page."""
        self.alarms: list[tiles.AlarmShown] = []
        """Alarms that it lists."""

    def next_frames(self) -> tuple[list[bytes], bytes | None]:
        """JSON frames in the order they must arrive, then the traces, if there is anything to say.

        The caller puts ``names`` on view in between: the traces of a new bed come with the next call.
        """
        frames: list[bytes] = []
        ward_frame, self.names = self._ward.frame(self.view)
        self.alarms = ward_frame.alarms
        if ward_frame != self._last_ward:
            frames.append(_encode(ward_frame))
            self._last_ward = ward_frame
        beds = self._ward.changed(ward_frame.order, self._told)
        now_us = self._ward.now_us()
        if beds or abs(now_us - self._last_said_us) >= _SAY_THE_TIME_US:
            frames.append(_encode(tiles.BedsFrame(now_us, beds)))
            self._last_said_us = now_us
        return frames, self._next_traces(ward_frame.order)

    def _next_traces(self, keys: Sequence[int]) -> bytes | None:
        for key in self._sent_to.keys() - set(keys):
            del self._sent_to[key]
        chunks: list[tuple[int, Chunk]] = []
        for key, name in zip(keys, self.names, strict=True):
            fresh = self._traces.since(name, self._sent_to.get(key, 0))
            if fresh:
                self._sent_to[key] = fresh[-1].number
                chunks += [(key, chunk) for chunk in fresh]
        return pack_traces(chunks) if chunks else None


def pack_traces(chunks: Sequence[tuple[int, Chunk]]) -> bytes:
    """Chunks for ``traceframes.js``, little-endian; parts are padded to 8 bytes, for typed arrays to be laid on."""
    parts = [_HEAD.pack(TRACE_MAGIC, len(chunks), 0)]
    for key, chunk in chunks:
        lead = chunk.lead.encode("ascii", "replace")[:8]
        n = len(chunk.samples)
        parts.append(
            _CHUNK.pack(key, chunk.number & 0xFFFFFFFF, chunk.start_us / 1000, chunk.rate_hz, chunk.gain_uv, n, lead)
        )
        body = chunk.samples.tobytes()
        parts += (body, bytes(-len(body) % 8))
    return b"".join(parts)

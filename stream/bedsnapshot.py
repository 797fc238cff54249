"""The patients of a partition as bytes, and back: what a checkpoint of the decide half holds.

Sealed by a checksum against damage; no more is ever unpacked than its own words say it is.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

_MAGIC: Final = b"WWDECID2"
_HEADER: Final = struct.Struct("<8sI")
_MOST_BYTES: Final = 256 * 1024 * 1024


class Saved(msgspec.Struct, array_like=True):
    """``beds``: the rows of ``patients``, packed; ``limits``: the unit's defaults that they were kept beside;
    ``audited``: number and hash of the newest audit entry.
    """

    patients: list[str]
    models: list[str]
    now_us: int
    limits: list[float]
    audited: tuple[int, str]
    beds: bytes


def written(saved: Saved) -> bytes:
    """``saved`` as bytes."""
    return sealed(msgspec.msgpack.encode(saved))


def sealed(body: bytes) -> bytes:
    """``body`` behind its checksum."""
    return _head(body) + body


def read(state: bytes) -> Saved:
    """What was written. Raises ``ValueError`` for any other bytes."""
    body = state[_HEADER.size :]
    if state[: _HEADER.size] != _head(body):
        raise ValueError("not a snapshot of alarms, one of another version, or a damaged one")
    return msgspec.msgpack.decode(body, type=Saved)


def pack(beds: bytes) -> bytes:
    """``beds`` in fewer bytes."""
    return zlib.compress(beds, 1)


def unpack(packed: bytes, size: int) -> bytes:
    """What was packed, which must be of ``size``: no more than that is ever unpacked. Raises ``ValueError``."""
    if size > _MOST_BYTES:
        raise ValueError("a snapshot of more alarms than a partition has")
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(packed, size + 1)
    except zlib.error:
        raise ValueError("a snapshot of alarms that cannot be unpacked") from None
    if len(unpacked) != size or not unpacking.eof or unpacking.unused_data:
        raise ValueError("a snapshot of alarms of another size than it says")
    return unpacked


def _head(body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, zlib.crc32(body))

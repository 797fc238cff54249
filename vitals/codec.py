"""Bytes to events and back: the only file that knows the wire.

MessagePack by default, JSON when the record's ``content-type`` says so. Everything is bounded before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from vitals.errors import Reason, Unusable
from vitals.events import SCHEMA_VERSION, Wire

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
MAX_VALUE_BYTES: Final = 4 * 1024 * 1024

W = TypeVar("W", bound=Wire)

_encode_msgpack = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_decoders: dict[tuple[type[Wire], bool], msgspec.msgpack.Decoder[Wire] | msgspec.json.Decoder[Wire]] = {}


class _Version(msgspec.Struct):
    v: int = SCHEMA_VERSION


_version_msgpack = msgspec.msgpack.Decoder(_Version)
_version_json = msgspec.json.Decoder(_Version)


def encode(event: Wire, content_type: str = MSGPACK) -> bytes:
    """The bytes of ``event``."""
    return _encode_json(event) if content_type == JSON else _encode_msgpack(event)


def content_type(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """What the headers of a record say that its value is; MessagePack where they say nothing."""
    return next((value.decode("latin-1") for name, value in headers if name == "content-type" and value), MSGPACK)


def decode(kind: type[W], value: bytes, content_type: str = MSGPACK) -> W:
    """The event in ``value``. Raises ``Unusable`` (oversized, schema-version, malformed); nothing else."""
    if len(value) > MAX_VALUE_BYTES:
        raise Unusable(Reason.OVERSIZED, f"{len(value)} bytes")
    is_json = content_type == JSON
    decoder = _decoders.get((kind, is_json))
    if decoder is None:
        make = msgspec.json.Decoder if is_json else msgspec.msgpack.Decoder
        decoder = _decoders[kind, is_json] = make(kind)
    try:
        event = decoder.decode(value)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _refusal(value, content_type, error) from None
    if event.v != SCHEMA_VERSION:
        raise Unusable(Reason.SCHEMA_VERSION, f"version {event.v}")
    return event  # type: ignore[return-value]


def _refusal(value: bytes, content_type: str, error: Exception) -> Unusable:
    """A record of another version fails to decode too: say which of the two it was. Never quote the content."""
    try:
        version = (_version_json if content_type == JSON else _version_msgpack).decode(value).v
    except (msgspec.DecodeError, RecursionError, ValueError):
        return Unusable(Reason.MALFORMED, f"not {content_type}")
    if version != SCHEMA_VERSION:
        return Unusable(Reason.SCHEMA_VERSION, f"version {version}")
    if " of length <= " in str(error):
        return Unusable(Reason.OVERSIZED, f"more than the schema allows {_where(error)}")
    return Unusable(Reason.MALFORMED, f"does not fit the schema {_where(error)}")


def _where(error: Exception) -> str:
    """The path in the schema, which holds no content: a key of a map stands there as dots."""
    _, there, path = str(error).rpartition(" - at ")
    return f"at {path}" if there else "at the root"

"""The envelope for what could not be used, and the limit at which a flood of it stops the line."""

from __future__ import annotations

from collections import deque
from typing import Final

from stream.topics import MAX_MESSAGE_BYTES
from vitals.errors import Fault, Unusable
from vitals.events import DeadLetter, Record

_WINDOW = 2000
_MIN_EVENTS = 200

WHOLE_RECORD = -1


_KEPT_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024
_KEPT_KEY_BYTES: Final = 16 * 1024
"""A letter about the largest message must itself be a message: what is beyond this is cut off, and it says so."""


def envelope(record: Record, why: Unusable, *, row: int = WHOLE_RECORD, value: bytes | None = None) -> DeadLetter:
    """``record`` (or ``value``, the part of it that could not be used) with the reason."""
    kept = record.value if value is None else value
    detail = why.detail
    if len(kept) > _KEPT_BYTES:
        detail = f"{detail}; the first {_KEPT_BYTES} of {len(kept)} bytes are kept"
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        reason=why.reason.value,
        detail=detail,
        row=row,
        key=record.key[:_KEPT_KEY_BYTES] if record.key else record.key,
        value=kept[:_KEPT_BYTES],
        content_type=record.content_type,
    )


class DeadLetterLimit:
    """Stops the line when most of what comes cannot be used: that is a bad deployment, not bad data."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._recent: deque[tuple[int, int]] = deque()
        self._events = 0
        self._dead = 0

    def count(self, events: int, dead: int) -> None:
        """Add one batch. Raises ``Fault`` when over ``share`` of the last events (at least 200) were dead letters."""
        self._recent.append((events, dead))
        self._events += events
        self._dead += dead
        while self._events > _WINDOW and len(self._recent) > 1:
            old_events, old_dead = self._recent.popleft()
            self._events -= old_events
            self._dead -= old_dead
        if self._events >= _MIN_EVENTS and self._dead > self._share * self._events:
            raise Fault(f"{self._dead} of the last {self._events} events were dead letters")

"""The envelope for what could not be used, and the limit at which a flood of it stops the line."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from stream.topics import MAX_MESSAGE_BYTES
from vitals.errors import Fate, Fault, Reason, Unusable
from vitals.events import DeadLetter, Record
from vitals.units import US_PER_S

_WINDOW_US: Final = 60 * US_PER_S
_MIN_RECORDS: Final = 100

WHOLE_RECORD = -1


_KEPT_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024
_KEPT_ASIDE_BYTES: Final = 16 * 1024
_KEPT_NAME: Final = 100
"""A letter about the largest message must itself be a message: what is beyond this is cut off, and it says so."""


def envelope(record: Record, why: Unusable, *, row: int = WHOLE_RECORD, value: bytes | None = None) -> DeadLetter:
    """``record`` (or ``value``, the part of it that could not be used) with the reason."""
    kept = record.value if value is None else value
    detail = why.detail
    if len(kept) > _KEPT_BYTES:
        detail = f"{detail}; the first {_KEPT_BYTES} of {len(kept)} bytes are kept"
    heavy = sum(len(name) + len(content or b"") for name, content in record.headers) > _KEPT_ASIDE_BYTES
    key_is_long = record.key is not None and len(record.key) > _KEPT_ASIDE_BYTES
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        reason=why.reason.value,
        detail=detail,
        row=row,
        key=record.key[:_KEPT_ASIDE_BYTES] if record.key else record.key,
        value=kept[:_KEPT_BYTES],
        content_type=record.content_type[:_KEPT_NAME],
        headers=[] if heavy else list(record.headers),
        cut=len(kept) > _KEPT_BYTES or heavy or key_is_long,
    )


class DeadLetterLimit:
    """Stops the line when most of what comes cannot be used: that is a bad deployment, not bad data.

    Counted in records of the last minute, so that one gateway that sends rubbish for its thousand beds is one gateway
    among others; a record of which a part cannot be used counts as that part. Below a hundred records nothing is said:
    a quiet stream that goes wrong is paged for, not stopped.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._recent: deque[tuple[int, int, float, Counter[Reason]]] = deque()
        self._records = 0
        self._lost = 0.0

    def count(self, now_us: int, records: int, lost: float, refused: Counter[Reason]) -> None:
        """Add a batch, of whose ``records`` so many were ``lost``. Raises ``Fault`` when over ``share`` of all were.

        ``refused``: its events by reason, for the message.
        """
        self._recent.append((now_us, records, lost, refused))
        self._records += records
        self._lost += lost
        while self._recent[0][0] < now_us - _WINDOW_US:
            _, old_records, old_lost, _ = self._recent.popleft()
            self._records -= old_records
            self._lost -= old_lost
        if self._records >= _MIN_RECORDS and self._lost > self._share * self._records:
            raise Fault(
                f"{self._lost:.0f} of the last {self._records} records cannot be used ({self._reasons()}); "
                "nothing more is taken: look at what was deployed"
            )

    def _reasons(self) -> str:
        total: Counter[Reason] = Counter()
        for *_, refused in self._recent:
            total += Counter({reason: n for reason, n in refused.items() if reason.fate is Fate.DEAD_LETTER})
        return ", ".join(f"{reason}: {n}" for reason, n in total.most_common(3))

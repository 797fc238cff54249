"""The newest strips of ``strips.v1`` in memory, as they came, by the alarm they belong to. Bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from vitals import codec
from vitals.strips import Strip

MOST_BYTES: Final = 128 * 1024 * 1024
"""About 5,000 strips of two leads at 360 Hz; older ones stay in the topic."""


class Frozen:
    """Written by a reader's thread, read by the server's."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self.size = 0

    def take(self, value: bytes, content_type: str) -> None:
        """One record of ``strips.v1``. Raises ``Unusable`` when it is none."""
        alert_id = codec.decode(Strip, value, content_type).alert_id
        with self._lock:
            before, _ = self._kept.pop(alert_id, (b"", ""))
            self._kept[alert_id] = value, content_type
            self.size += len(value) - len(before)
            while self.size > self._most_bytes:
                _, (oldest, _) = self._kept.popitem(last=False)
                self.size -= len(oldest)

    def of(self, alert_id: str) -> Strip | None:
        """The strip of an alarm; None when there is none, or none any more."""
        with self._lock:
            kept = self._kept.get(alert_id)
        return codec.decode(Strip, *kept) if kept is not None else None

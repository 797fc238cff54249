"""The waiting room before the engine: whatever has come by the time the engine is free is taken together.

No timer and no minimum: an empty ward is answered at once, a full one in large batches. Bounded by bytes, so that a
broker that delivers faster than we score is held back at the door.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything with a size in bytes."""

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Sized)


class Inbox(Generic[T]):
    """A bounded queue that is emptied whole. One putter, one taker, one event loop."""

    def __init__(self, *, max_bytes: int, max_batch_bytes: int) -> None:
        self._items: deque[T] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_batch_bytes = max_batch_bytes
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: T) -> None:
        """Wait until there is room, then add. One item is always let in, however large."""
        while self._items and self._bytes + item.size > self._max_bytes:
            self._changed.clear()
            await self._changed.wait()
        self._items.append(item)
        self._bytes += item.size
        self._changed.set()

    async def take(self) -> list[T]:
        """Wait for something, then take all that is there, up to the batch's bound and at least one."""
        while not self._items:
            self._changed.clear()
            await self._changed.wait()
        taken: list[T] = []
        taken_bytes = 0
        while self._items and (not taken or taken_bytes + self._items[0].size <= self._max_batch_bytes):
            item = self._items.popleft()
            taken.append(item)
            taken_bytes += item.size
        self._bytes -= taken_bytes
        self._changed.set()
        return taken

    def clear(self) -> None:
        """Throw everything away (a rebalance: it will be read again)."""
        self._items.clear()
        self._bytes = 0
        self._changed.set()

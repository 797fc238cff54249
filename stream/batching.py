"""The waiting room before the engine: whatever has come by the time the engine is free is taken together.

No timer and no minimum: an empty ward is answered at once, a full one in large batches. Bounded by bytes, so that a
broker that delivers faster than we score is held back at the door.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything with a size in bytes."""

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Sized)


class Inbox(Generic[T]):
    """A bounded queue that is emptied whole. Any putters, one taker, one event loop."""

    def __init__(self, *, max_bytes: int, max_batch_bytes: int) -> None:
        self._items: deque[T] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_batch_bytes = max_batch_bytes
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: T) -> None:
        """Wait until there is room, then add. One item is always let in, however large."""
        while self._items and self._bytes + item.size > self._max_bytes:
            self._emptied.clear()
            await self._emptied.wait()
        self._items.append(item)
        self._bytes += item.size
        self._filled.set()

    async def take(self, wait_s: float) -> list[T]:
        """Wait for something, then take all there is up to the bound; empty after ``wait_s`` of nothing."""
        if not self._items:
            self._filled.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), wait_s)
        taken: list[T] = []
        taken_bytes = 0
        while self._items and (not taken or taken_bytes + self._items[0].size <= self._max_batch_bytes):
            item = self._items.popleft()
            taken.append(item)
            taken_bytes += item.size
        self._bytes -= taken_bytes
        self._emptied.set()
        return taken

    def clear(self) -> None:
        """Throw everything away (a rebalance: it will be read again)."""
        self._items.clear()
        self._bytes = 0
        self._emptied.set()

"""The waiting room before the engine: whatever has come by the time the engine is free is taken together.

No timer and no minimum: an empty ward is answered at once, a full one in large batches. It takes whatever comes and
says when that is too much: then nothing more is fetched for it, and what waits in the log stands in nobody's way.
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
    """A queue that is emptied by the batch: at most ``batch_items`` and ``batch_bytes``, or one item, however large.

    Full from ``full_bytes`` on, until half of it is left. Any putters, one taker, one event loop.
    """

    def __init__(self, *, full_bytes: int, batch_bytes: int, batch_items: int) -> None:
        self._items: deque[T] = deque()
        self._bytes = 0
        self._full_bytes = full_bytes
        self._batch_bytes = batch_bytes
        self._batch_items = batch_items
        self._filled = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def holds_a_batch(self) -> bool:
        """Whether waiting any longer would make no batch larger."""
        return len(self._items) >= self._batch_items or self._bytes >= self._batch_bytes

    def put(self, item: T) -> None:
        """Add it."""
        self._items.append(item)
        self._bytes += item.size
        self._filled.set()
        if self._bytes >= self._full_bytes:
            self._full.set()
            self._room.clear()

    async def full(self) -> None:
        """Wait until it is full."""
        await self._full.wait()

    async def room(self) -> None:
        """Wait until it is not full any more."""
        await self._room.wait()

    async def take(self, wait_s: float) -> list[T]:
        """Wait for something, then take all there is up to the bounds; empty after ``wait_s`` of nothing."""
        if not self._items:
            self._filled.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), wait_s)
        taken: list[T] = []
        taken_bytes = 0
        while self._items and len(taken) < self._batch_items:
            if taken and taken_bytes + self._items[0].size > self._batch_bytes:
                break
            item = self._items.popleft()
            taken.append(item)
            taken_bytes += item.size
        self._left(self._bytes - taken_bytes)
        return taken

    def clear(self) -> None:
        """Throw everything away (a rebalance: it will be read again)."""
        self._items.clear()
        self._left(0)

    def _left(self, n_bytes: int) -> None:
        self._bytes = n_bytes
        if n_bytes <= self._full_bytes // 2:
            self._full.clear()
            self._room.set()

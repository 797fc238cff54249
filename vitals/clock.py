"""Time as a thing that is handed in. Nothing else in ``vitals`` or the corridors may ask what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Processing time, as microseconds since 1970 UTC."""

    def now_us(self) -> int: ...


def utc(time_us: int) -> datetime:
    """A moment for people, in UTC."""
    return datetime.fromtimestamp(time_us / 1_000_000, UTC)


def utc_day(time_us: int) -> str:
    """Its day: 2026-11-21."""
    return f"{utc(time_us):%Y-%m-%d}"


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000


class ManualClock:
    """A clock that stands still until it is moved: replay and tests."""

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def advance(self, seconds: float) -> None:
        self._now_us += round(seconds * 1_000_000)

    def set(self, now_us: int) -> None:
        self._now_us = now_us

"""What a gateway sends and when: messages in the order they fall due, on a time line that may outrun the clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream.topics import Topic


@dataclass(frozen=True, slots=True)
class Due:
    """One message. ``at_s``: seconds after the start; ``events``: patients' chunks, readings or images in it."""

    at_s: float
    topic: Topic
    key: bytes
    value: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How event time runs: from ``start_us``, ``speed`` seconds a second (inf: all at once).

    Once it is ``ahead_s`` ahead of the clock it waits for it: a worker refuses what is too far in the future.
    """

    start_us: int
    speed: float = 1.0
    ahead_s: float = math.inf

    def due_s(self, offset_s: float) -> float:
        """When to send what happened ``offset_s`` seconds of event time after the start; -inf for the past: at once."""
        if offset_s <= 0:
            return -math.inf
        return max(offset_s / self.speed, offset_s - self.ahead_s)


def in_order(schedules: Iterable[Iterator[Due]]) -> Iterator[Due]:
    """Many schedules as one; what falls due together keeps the order of ``schedules``."""
    return heapq.merge(*schedules, key=lambda due: due.at_s)

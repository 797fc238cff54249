"""What waits for one sink: a queue for each alarm, so that one its sink will not take holds up only itself."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Final

from vitals.alerts import AlertTransition

_REMEMBERED: Final = 20_000
"""Alarms whose last step is known, so that a worker's repeats after a crash do not page twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often: pauses between two tries double from ``first_s`` to ``longest_s``.

    ``keep_s``: nothing older than this is tried a second time. ``timeout_s``: of one connection.
    """

    first_s: float = 0.25
    longest_s: float = 30.0
    keep_s: float = 3600.0
    timeout_s: float = 5.0

    def pause_s(self, tries: int) -> float:
        """How long to wait after so many tries that failed."""
        return min(self.longest_s, self.first_s * 2.0 ** min(tries - 1, 30))


PATIENCE: Final = Patience()


@dataclass(slots=True)
class Notification:
    """One step of one alarm on its way to one sink. ``written_ms``: the broker's time of its record."""

    alert: AlertTransition
    partition: int
    offset: int
    written_ms: int
    tries: int = 0
    due_s: float = 0.0


class Outbox:
    """Notifications by alarm, each alarm's in the order in which they came. Times ``*_s`` are of one steady clock."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._queues: dict[str, deque[Notification]] = {}
        self._steps: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def is_repeat(self, alert: AlertTransition) -> bool:
        """Whether this step was seen before; from now on it was."""
        name = alert.alert_id
        last = self._steps.get(name, -1)
        if alert.step <= last:
            return True
        self._steps[name] = alert.step
        self._steps.move_to_end(name)
        if len(self._steps) > _REMEMBERED:
            self._steps.popitem(last=False)
        return False

    def enter(self, notification: Notification) -> None:
        """Behind whatever waits for the same alarm."""
        self._queues.setdefault(notification.alert.alert_id, deque()).append(notification)
        self._waiting.setdefault(notification.partition, set()).add(notification.offset)

    def due(self, now_s: float, most: int) -> list[Notification]:
        """The first of each alarm whose time has come, at most ``most``; they stay here until they are settled."""
        return list(islice((queue[0] for queue in self._queues.values() if queue[0].due_s <= now_s), most))

    def settle(self, notification: Notification) -> None:
        """It has come to its end. Only ever the first of its alarm."""
        name = notification.alert.alert_id
        queue = self._queues[name]
        queue.popleft()
        if not queue:
            del self._queues[name]
        self._waiting[notification.partition].remove(notification.offset)

    def postpone(self, notification: Notification, now_s: float, now_ms: int) -> bool:
        """A try failed. False when it is too old for another one; then it has to be settled."""
        notification.tries += 1
        if now_ms - notification.written_ms >= self._patience.keep_s * 1000:
            return False
        notification.due_s = now_s + self._patience.pause_s(notification.tries)
        # behind the others, so that those which nobody takes do not keep the sink from the rest
        self._queues[notification.alert.alert_id] = self._queues.pop(notification.alert.alert_id)
        return True

    def next_due_s(self) -> float | None:
        """When the next one may be tried; None when nothing waits."""
        return min((queue[0].due_s for queue in self._queues.values()), default=None)

    def lowest(self, partition: int) -> int | None:
        """The first offset of ``partition`` that is not settled."""
        return min(self._waiting.get(partition, ()), default=None)

    def forget(self, partitions: Collection[int]) -> None:
        """They are another's now, who will read what was not committed. What was seen of them is forgotten too."""
        self._waiting = {p: offsets for p, offsets in self._waiting.items() if p not in partitions}
        for name, queue in list(self._queues.items()):
            kept = deque(n for n in queue if n.partition not in partitions)
            if kept:
                self._queues[name] = kept
            else:
                del self._queues[name]
        self._steps.clear()

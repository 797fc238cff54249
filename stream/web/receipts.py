"""The board's receipts: which calls of the alarms a page has really shown, as other channels say what they delivered.

A call is a step of an alarm of high or medium priority after which its signal is on or latched. It waits from when it
is first sent to a page until a page says that it has painted it. Only pages that can be seen are waited for: where
there is none nothing is backlog here, and that there is none is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from stream.metrics import Metrics
from stream.web import tiles
from vitals.alerts import Signal
from vitals.clock import Clock
from vitals.conditions import Priority
from vitals.units import US_PER_S

SINK: Final = "board"
GRACE_S: Final = 5
"""So long a page may take before what it has not shown counts as backlog."""

_CALLING: Final = frozenset({Signal.ON, Signal.LATCHED})

Call = tuple[str, int]
"""Alert id and step."""


class Receipts:
    """Of all pages together, on one thread: it is enough when one of them has shown a call."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._clock = clock
        self._delivered = metrics.counter["wardwatch_notifications_total"].labels(SINK, "delivered")
        self._backlog = metrics.gauge["wardwatch_notify_backlog"].labels(SINK)
        self._pages = metrics.gauge["wardwatch_board_pages"]
        self._open = 0
        self._waiting: dict[Call, int] = {}
        self._shown: set[Call] = set()

    def pages(self, count: int) -> None:
        """So many are open now, and not hidden."""
        if not self._open:  # whoever comes first has the time that it takes
            self._waiting = dict.fromkeys(self._waiting, self._clock.now_us())
        self._open = count
        self._pages.set(count)
        self._tell()

    def sent(self, alarms: Iterable[tiles.AlarmShown]) -> None:
        """What a page is told of now: its alarms as they stand."""
        now_us = self._clock.now_us()
        calls = {(a.alert_id, a.step) for a in alarms if a.signal in _CALLING and a.priority != Priority.LOW}
        self._shown &= calls
        self._waiting = {call: self._waiting.get(call, now_us) for call in calls - self._shown}
        self._tell()

    def shown(self, calls: Iterable[Call]) -> None:
        """What a page says that it has painted; what nobody waits for is passed over."""
        for call in calls:
            if self._waiting.pop(call, None) is not None:
                self._shown.add(call)
                self._delivered.inc()

    def _tell(self) -> None:
        late_us = self._clock.now_us() - GRACE_S * US_PER_S
        self._backlog.set(sum(since_us < late_us for since_us in self._waiting.values()) if self._open else 0)

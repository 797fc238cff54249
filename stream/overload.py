"""What is given up when more comes than can be carried: never silently, and never the alarms of those who are watched.

Work that is late is of no use at a bedside, and late for everybody is worse than nothing for some. So a worker that
falls behind for good lets go step by step, always the same patients first: the model's opinion of the heartbeats (rate,
asystole and fibrillation go on by rules), then whole patients, whose beds say so by their alarm for missing data. When
it keeps up again it takes them back one step at a time, later each time it had to let go again soon after.

A worker that catches up after a restart is behind too, but less waits from look to look: it gives nothing up.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from vitals.clock import Clock
from vitals.units import US_PER_S

_log = logging.getLogger(__name__)

_BEHIND_US: Final = 1_500_000
_KEEPS_UP_US: Final = 1 * US_PER_S
_LOOK_US: Final = 1 * US_PER_S
_PATIENCE: Final = 2
"""So many looks in a row must find it behind before the first thing is given up: a start is slow for a moment."""
_PATIENCE_AFTER: Final = 1
"""So many before the next: what was given up last must have had its effect."""
_SHRINKS: Final = 0.02
"""A backlog that is not smaller by this share than at the last look does not shrink."""
_FEW: Final = 32
"""So few records are a moment's worth."""
_HOLD_US: Final = 15 * US_PER_S
_HOLD_MOST_US: Final = 600 * US_PER_S


@dataclass(frozen=True, slots=True)
class Relief:
    """Shares of the patients: whose heartbeats no model sees, and who are not watched at all."""

    unscored: float = 0.0
    unwatched: float = 0.0


NOTHING: Final = Relief()
STEPS: Final = (
    NOTHING, Relief(1.0), Relief(1.0, 0.25), Relief(1.0, 0.5), Relief(1.0, 0.7), Relief(1.0, 0.85),
)  # fmt: skip


class Overload:
    """Follows how late the records are that are taken and how many wait, and says what to give up.

    ``relief`` is asked by the thread that observes, ``waiting`` told by the one that supervises.
    """

    def __init__(self, clock: Clock) -> None:
        self.step = 0
        self._clock = clock
        self._late_us = 0
        self._records = 0
        self._looked_us = 0
        self._behind = 0
        self._kept_up_since_us = 0
        self._hold_us = _HOLD_US
        self._eased_us = 0

    def relief(self, oldest_ms: int) -> Relief:
        """What to give up in a batch whose oldest record has this broker time."""
        now_us = self._clock.now_us()
        self._late_us = now_us - oldest_ms * 1000
        if self._late_us > _KEEPS_UP_US:
            self._kept_up_since_us = now_us
        return STEPS[self.step]

    def waiting(self, records: int) -> None:
        """So many records of the log are not taken into a batch yet. Called about once a second."""
        now_us = self._clock.now_us()
        if now_us - self._looked_us < _LOOK_US:
            return
        shrinks = records < max(_FEW, (1.0 - _SHRINKS) * self._records)
        self._looked_us, self._records = now_us, records
        self._behind = self._behind + 1 if self._late_us > _BEHIND_US and not shrinks else 0
        if self._behind >= (_PATIENCE_AFTER if self.step else _PATIENCE):
            self._behind = 0
            self._give_up(now_us)
        elif self.step and now_us - self._kept_up_since_us > self._hold_us:
            self._take_back(now_us)

    def _give_up(self, now_us: int) -> None:
        if self.step == len(STEPS) - 1:
            return
        soon = self._eased_us and now_us - self._eased_us < 4 * self._hold_us
        self._hold_us = min(2 * self._hold_us, _HOLD_MOST_US) if soon else _HOLD_US
        self._eased_us = 0
        self.step += 1
        self._say("falling behind")

    def _take_back(self, now_us: int) -> None:
        self.step -= 1
        self._eased_us = self._kept_up_since_us = now_us
        self._say("keeping up")

    def _say(self, why: str) -> None:
        relief = STEPS[self.step]
        _log.warning(
            "%s: the heartbeats of %.0f %% of the patients are not classified, %.0f %% are not watched",
            why,
            100 * relief.unscored,
            100 * relief.unwatched,
        )


def nothing(oldest_ms: int) -> Relief:
    """Where time does not press: offline."""
    return NOTHING

"""Whether what is said of a task's windows, by everybody together, is no longer said as often as it was.

Answers are counted in blocks of at least an hour and so many windows, and the shares of a block are held against those
of a day's worth of blocks before by the population stability index: the sum of (p - q) ln(p / q) over the answers,
below 0.1 little, from 0.25 on much. Two blocks in a row have to differ: a patient who came for an hour is no drift.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from vitals.units import US_PER_S

_MUCH: Final = 0.25
_LITTLE: Final = 0.1
_BLOCK_US: Final = 3600 * US_PER_S
_BLOCK_ANSWERS: Final = 200
_DAY_BLOCKS: Final = 24
_FIRST_BLOCKS: Final = 6
_IN_A_ROW: Final = 2
_LEAST_SHARE: Final = 0.001
"""What an answer that is not given counts as: the logarithm of nothing is not wanted."""

Shares = Mapping[str, float]


def stability_index(now: Shares, before: Shares) -> float:
    """Population stability index of two sets of shares."""
    pairs = [
        (max(now.get(word, 0.0), _LEAST_SHARE), max(before.get(word, 0.0), _LEAST_SHARE))
        for word in sorted({*now, *before})
    ]
    return sum((p - q) * math.log(p / q) for p, q in pairs)


@dataclass(frozen=True, slots=True)
class Judged:
    """One whole block. ``index``: None while there is too little to hold it against. ``event``: what is to be told of
    a drift that came ``from_us`` on.
    """

    index: float | None
    from_us: int
    event: Literal["began", "ended"] | None = None


@dataclass(slots=True)
class Answers:
    """The answers of one task as they come."""

    _block: Counter[str] = field(default_factory=Counter)
    _block_from_us: int = 0
    _before: dict[str, float] = field(default_factory=dict)
    _blocks: int = 0
    _unlike: int = 0
    _unlike_from_us: int = 0

    def take(self, said: Mapping[str, int], until_us: int) -> Judged | None:
        """So many windows of each answer, none of them later than ``until_us``. What a block says that is whole now."""
        if not self._block:
            self._block_from_us = until_us
        self._block.update(said)
        if until_us - self._block_from_us < _BLOCK_US or self._block.total() < _BLOCK_ANSWERS:
            return None
        shares = {word: n / self._block.total() for word, n in self._block.items()}
        self._block.clear()
        judged = self._judge(shares)
        self._remember(shares)
        return judged

    def _judge(self, shares: Shares) -> Judged:
        if self._blocks < _FIRST_BLOCKS:
            return Judged(None, self._block_from_us)
        index = stability_index(shares, self._before)
        event: Literal["began", "ended"] | None = None
        if index >= _MUCH:
            if self._unlike == 0:
                self._unlike_from_us = self._block_from_us
            self._unlike += 1
            if self._unlike == _IN_A_ROW:
                event = "began"
        elif index < _LITTLE or self._unlike < _IN_A_ROW:
            if self._unlike >= _IN_A_ROW:
                event = "ended"
            self._unlike = 0
        return Judged(index, self._unlike_from_us, event)

    def _remember(self, shares: Shares) -> None:
        self._blocks += 1
        rate = 1.0 / min(self._blocks, _DAY_BLOCKS)
        for word in {*self._before, *shares}:
            before = self._before.get(word, 0.0)
            self._before[word] = before + rate * (shares.get(word, 0.0) - before)

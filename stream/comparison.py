"""Two models on the same windows, one right after the other: may the newer one stand where the older one stood?

Neither the ward nor the machine is different for the two, so what differs is the models. A successor may be better; it
may not be much slower, and what it says of the ward may not jump. Pure: what was said and how long it took comes in.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.calls import calls
from vitals.findings import Task

LEAST_WINDOWS: Final = 100
"""Below these, what is said of the windows is not judged."""
JUMP_SHARE: Final = 0.5
JUMP_POINTS: Final = 0.02
"""A call may become more or less frequent by half, and by two windows in a hundred beyond that."""
JUMP_PROBABILITY: Final = 0.10
JUMP_MG_DL: Final = 15.0
"""The mean of a column may not move by more."""

LEAST_CALLS: Final = 30
LEAST_CALLS_FOR_TAIL: Final = 100
"""Calls of the engines below which the median, and the tail, are not judged."""
SLOWER: Final = 2.0
TAIL_SHARE: Final = 0.05
"""The median may be twice the predecessor's; one call in twenty may take longer than twice its 99th percentile. (Of two
99th percentiles of a few hundred calls on a busy machine one is now and then twice the other for no reason.)"""
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Answers:
    """float64[n, columns]: what one model said of n windows, and how long its engine took for them."""

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    seconds: float

    def of(self, columns: Sequence[str]) -> npt.NDArray[np.float64]:
        """float64[n, len(columns)]: some columns, in that order; NaN where this model has no such column."""
        unknown = np.full(len(self.values), np.nan)
        has = {name: self.values[:, k] for k, name in enumerate(self.columns)}
        return np.stack([has.get(name, unknown) for name in columns], axis=1)


class Comparison:
    """What was seen of an older and a newer model of ``task``."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.windows = 0
        self._called: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._sum: defaultdict[str, float] = defaultdict(float)
        self._seconds: tuple[deque[float], deque[float]] = (deque(maxlen=_REMEMBERED), deque(maxlen=_REMEMBERED))

    def add(self, older: Answers, newer: Answers) -> npt.NDArray[np.bool_]:
        """Both on the same windows. bool[n]: which of them both call the same."""
        words = []
        for answers, called, seconds in zip((older, newer), self._called, self._seconds, strict=True):
            names, index = calls(self._task, answers.columns, answers.values)
            words.append(np.array(names, dtype=str)[index])
            called.update(words[-1].tolist())
            seconds.append(answers.seconds)
        moved = newer.of(older.columns) - older.values
        for name, by in zip(older.columns, moved.sum(axis=0).tolist(), strict=True):
            self._sum[name] += by
        self.windows += len(older.values)
        alike: npt.NDArray[np.bool_] = words[0] == words[1]
        return alike

    def objection(self) -> str:
        """Why the newer one may not serve; empty as long as nothing speaks against it."""
        return self._slower() or (self._jumped() if self.windows >= LEAST_WINDOWS else "")

    def _slower(self) -> str:
        older, newer = (np.array(seconds) for seconds in self._seconds)
        if len(newer) < LEAST_CALLS:
            return ""
        was, now = float(np.median(older)), float(np.median(newer))
        if now > SLOWER * was:
            return f"slower: median {_ms(now)} a call, its predecessor's {_ms(was)}"
        if len(newer) >= LEAST_CALLS_FOR_TAIL:
            limit = SLOWER * float(np.percentile(older, 99))
            share = float((newer > limit).mean())
            if share > TAIL_SHARE:
                return f"slower: {share:.0%} of its calls above {_ms(limit)}, twice its predecessor's 99th percentile"
        return ""

    def _jumped(self) -> str:
        older, newer = self._called
        for word in sorted({*older, *newer}):
            was, now = older[word] / self.windows, newer[word] / self.windows
            if abs(now - was) > JUMP_SHARE * was + JUMP_POINTS:
                return f"calls {word} in {now:.1%} of {self.windows} windows, its predecessor in {was:.1%} of them"
        for name, total in self._sum.items():
            by, limit = total / self.windows, JUMP_PROBABILITY if "p_" in name else JUMP_MG_DL
            if not abs(by) <= limit:
                return f"the mean of {name} is {by:+.3g} beside its predecessor's on {self.windows} windows"
        return ""


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"

"""Challenger and champion on the same live windows: which of them is nearer to what people then say was true?

    python -m trainer challenger --task ecg-beat --kafka HOST:PORT

Labels come one by one, for days, and somebody looks whenever they like. So the test is one that may be looked at and
stopped at any time: an e-process. Somebody who bets that the challenger is better, at fair odds if it is not, ends with
more than 1/α times the stake with probability α at most, however long the game goes on (Ville 1939; Ramdas et al. 2023,
doi:10.1214/23-STS894). The stake is laid once for each person, on the mean difference of the Brier score over the first
of that person's windows that were labelled: windows of one person resemble each other, people are drawn by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.corpus.challenges import PairedWindow
from trainer.labels import CLASSES, class_of
from vitals.findings import Task

ALPHA: Final = 0.05
"""With this probability at most one of two equal models is ever declared the better one; and as much for the worse."""
WINDOWS_PER_PERSON: Final = 5
"""A person counts once so many of their windows are labelled."""
_FULL: Final = 0.1
"""A mean difference of the Brier score (0 to 1) that is as much as can be won or lost on one person."""
_STAKES: Final = np.array([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0])
"""Shares of the capital that are laid, side by side: nobody knows beforehand how large the difference is."""


class Evidence:
    """Capital of somebody who bet a unit that differences are above zero on the average. ``e``: what they have now."""

    def __init__(self) -> None:
        self._capital = np.ones(len(_STAKES))
        self.most = 1.0

    @property
    def e(self) -> float:
        return float(self._capital.mean())

    def add(self, difference: float) -> None:
        """One person's. Beyond ±``_FULL`` it counts as that."""
        self._capital *= 1 + _STAKES * float(np.clip(difference / _FULL, -1, 1))
        self.most = max(self.most, self.e)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a challenge stands. ``better``, ``worse``: the most evidence there ever was, declared at 1/α.

    ``gain``: mean over people of the champion's Brier score less the challenger's, NaN without anybody.
    """

    champion: str
    challenger: str
    windows: int
    alike: int
    labelled: int
    people: int
    gain: float
    better: float
    worse: float

    @property
    def verdict(self) -> str:
        """What was declared: once it was beyond doubt, nothing that comes later takes it back."""
        if max(self.better, self.worse) < 1 / ALPHA:
            return "undecided"
        return "the challenger is better" if self.better > self.worse else "the champion is better"

    def text(self) -> str:
        """A few lines for people."""
        share = f"{self.alike / self.windows:.1%}" if self.windows else "none"
        return (
            f"challenger {self.challenger} beside {self.champion}: {self.verdict}\n"
            f"  {self.windows} windows of both, {share} called alike; {self.labelled} labelled, {self.people} people "
            f"with {WINDOWS_PER_PERSON} of them\n"
            f"  Brier score lower by {self.gain:+.4f}; evidence that it is better {self.better:.3g}, worse "
            f"{self.worse:.3g} (declared at {1 / ALPHA:.0f})"
        )


@dataclass(frozen=True, slots=True)
class LabelledGain:
    """Of one window: when its label came, when it ended, the champion's Brier score less the challenger's."""

    labelled_us: int
    end_us: int
    gain: float


def standings(
    task: Task, paired: Iterable[PairedWindow], labels: Mapping[tuple[str, int], tuple[int, str]]
) -> list[Standing]:
    """One for each two models that were asked, the newest last.

    ``labels``: when it was said (µs), and what, by patient and end of the window.
    """
    of_models: dict[tuple[str, str], list[PairedWindow]] = defaultdict(list)
    for window in paired:
        of_models[window.champion, window.challenger].append(window)
    return [_standing(task, *models, windows, labels) for models, windows in of_models.items()]


def _standing(
    task: Task,
    champion: str,
    challenger: str,
    windows: list[PairedWindow],
    labels: Mapping[tuple[str, int], tuple[int, str]],
) -> Standing:
    gains: dict[str, list[LabelledGain]] = defaultdict(list)
    for window in windows:
        when_us, word = labels.get((window.patient, window.end_us), (0, ""))
        truth = class_of(task, word)
        if truth is not None:
            column = window.columns.index(f"p_{CLASSES[task][truth]}")
            gain = _brier(window.said_by_champion, column) - _brier(window.said_by_challenger, column)
            gains[window.patient].append(LabelledGain(when_us, window.end_us, gain))
    better, worse, means = Evidence(), Evidence(), []
    for mean in in_the_order_of_labels(gains):
        better.add(mean)
        worse.add(-mean)
        means.append(mean)
    return Standing(
        champion=champion,
        challenger=challenger,
        windows=len(windows),
        alike=sum(int(w.said_by_champion.argmax() == w.said_by_challenger.argmax()) for w in windows),
        labelled=sum(len(of_person) for of_person in gains.values()),
        people=len(means),
        gain=float(np.mean(means)) if means else float("nan"),
        better=better.most,
        worse=worse.most,
    )


def in_the_order_of_labels(gains: Mapping[str, list[LabelledGain]]) -> list[float]:
    """Each person's mean over the first ``WINDOWS_PER_PERSON`` labels, in the order in which the last of these came.

    Nothing here is ordered by the gain itself, not even where labels came at once: that would be a choice of evidence.
    """
    complete = []
    for of_person in gains.values():
        first = sorted(of_person, key=lambda one: (one.labelled_us, one.end_us))[:WINDOWS_PER_PERSON]
        if len(first) == WINDOWS_PER_PERSON:
            complete.append((first[-1].labelled_us, float(np.mean([one.gain for one in first]))))
    return [mean for _, mean in sorted(complete, key=lambda one: one[0])]


def _brier(probability: np.ndarray[tuple[int, ...], np.dtype[np.floating]], truth: int) -> float:
    """Half the squared distance to the truth: 0 to 1."""
    aim = np.zeros(len(probability))
    aim[truth] = 1.0
    return 0.5 * float(np.square(probability - aim).sum())

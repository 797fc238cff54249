"""Feeding an ``EcgWindows`` in any cutting, and comparing what came out to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from vitals.windows.ecg import EcgStep, EcgWindows, Outcome

START_US = 1_700_000_000_123_457
NOT_COMPARED = {"chunk", "row"}


@dataclass
class Seen:
    """Everything that one patient's chunks brought."""

    steps: list[EcgStep] = field(default_factory=list)

    def column(self, kind: str, name: str) -> np.ndarray:
        return np.concatenate([getattr(getattr(step, kind), name) for step in self.steps])

    def bits(self) -> dict[str, bytes]:
        names = [
            (kind, name) for kind in ("beats", "rhythm", "recent") for name in getattr(self.steps[0], kind).__slots__
        ]
        return {f"{k}.{n}": self.column(k, n).tobytes() for k, n in names if n not in NOT_COMPARED}

    def total(self, name: str) -> int:
        return int(sum(getattr(step, name).sum() for step in self.steps))

    def outcomes(self) -> list[Outcome]:
        return [Outcome(o) for step in self.steps for o in step.outcome]

    @property
    def r_s(self) -> np.ndarray:
        """R peaks in seconds from START_US."""
        return (self.column("beats", "end_us") - 400_000 - START_US) / 1e6


def start_us(sample: int, rate_hz: float) -> int:
    return START_US + round(sample * 1e6 / rate_hz)


def advance(
    windows: EcgWindows,
    row: np.ndarray,
    samples: np.ndarray,
    at: Sequence[int],
    rate_hz: float = 250.0,
    gain_uv: float = 5.0,
) -> EcgStep:
    """One call for one patient: chunks samples[:, at[0]:at[1]], samples[:, at[1]:at[2]] …"""
    pieces = [samples[:, a:b] for a, b in pairwise(at)]
    c = len(pieces)
    return windows.advance(
        np.repeat(row, c).astype(np.int32),
        np.array([start_us(a, rate_hz) for a in at[:-1]], np.int64),
        np.full(c, rate_hz),
        np.full(c, len(samples), np.int32),
        np.full(c, gain_uv),
        np.array([p.shape[1] for p in pieces], np.int32),
        np.concatenate([p.ravel() for p in pieces]),
    )


def whole(samples: np.ndarray, rate_hz: float = 250.0, gain_uv: float = 5.0) -> Seen:
    """The windows of a signal that comes as one chunk."""
    windows = EcgWindows()
    return Seen([advance(windows, windows.add(1), samples, [0, samples.shape[1]], rate_hz, gain_uv)])


def matched(reference_s: np.ndarray, found_s: np.ndarray, within_s: float = 0.15) -> tuple[int, int, int]:
    """(true positives, false negatives, false positives), one to one in order of time, as EC57 compares beats."""
    i = j = hits = 0
    while i < len(reference_s) and j < len(found_s):
        off = found_s[j] - reference_s[i]
        nearer_found = j + 1 < len(found_s) and abs(found_s[j + 1] - reference_s[i]) < abs(off)
        nearer_reference = i + 1 < len(reference_s) and abs(reference_s[i + 1] - found_s[j]) < abs(off)
        if abs(off) <= within_s and not nearer_found and not nearer_reference:
            hits, i, j = hits + 1, i + 1, j + 1
        elif (abs(off) <= within_s and nearer_found) or off < -within_s:
            j += 1
        else:
            i += 1
    return hits, len(reference_s) - hits, len(found_s) - hits

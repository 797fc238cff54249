"""Pressure waves with pulses where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RATE_HZ = 250.0


def pressure(at_s: Sequence[float], seconds: float, size: Sequence[float] | float = 40.0) -> np.ndarray:
    """float64[n], mmHg over 80: from each of ``at_s`` on an upstroke of 0.2 s and a fall with a dicrotic notch."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = 80.0 + np.random.default_rng(5).normal(0.0, 0.15, len(time_s))
    for begin_s, height in zip(at_s, np.broadcast_to(size, len(at_s)), strict=True):
        since_s = np.clip(time_s - begin_s, 0.0, None)
        wave += height * np.exp(2.0) * (since_s / 0.2) ** 2 * np.exp(-since_s / 0.1)  # highest after 0.2 s
        wave += 0.2 * height * np.exp(-0.5 * ((since_s - 0.42) / 0.03) ** 2) * (since_s > 0)
    return wave

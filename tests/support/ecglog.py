"""Monitors whose every sample is known by its time, and the log that their chunks make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitals import codec
from vitals.events import EcgBundle
from vitals.strips import Chunk
from vitals.units import US_PER_S

START_US = 1_700_000_000 * US_PER_S
DELAY_US = 40_000
"""From a chunk's last sample to the broker."""


@dataclass(frozen=True)
class Monitor:
    """Lead ``k`` at sample ``i`` since ``START_US`` is ``(7 * i + 1000 * k) % 30000``."""

    rate_hz: float = 250.0
    leads: tuple[str, ...] = ("MLII", "V1")
    gain_uv: float = 5.0
    gateway: str = "ward-a"
    partition: int = 0

    def samples(self, from_s: float, to_s: float) -> npt.NDArray[np.int16]:
        """int16[leads, n] of that time."""
        i = np.arange(round(from_s * self.rate_hz), round(to_s * self.rate_hz))
        return np.stack([(7 * i + 1000 * k) % 30000 for k in range(len(self.leads))]).astype(np.int16)

    def chunk(self, from_s: float, to_s: float, *, arrives_s: float | None = None, ahead_s: float = 0.0) -> Chunk:
        """What it sends of that time; ``ahead_s``: its clock is wrong by so much."""
        arrived_us = us(to_s if arrives_s is None else arrives_s) + DELAY_US
        return Chunk(
            arrived_us=arrived_us,
            partition=self.partition,
            offset=arrived_us,
            gateway=self.gateway,
            start_us=START_US + round(round(from_s * self.rate_hz) * US_PER_S / self.rate_hz) + round(ahead_s * 1e6),
            rate_hz=self.rate_hz,
            gain_uv=self.gain_uv,
            leads=self.leads,
            samples=self.samples(from_s, to_s),
        )

    def seconds(self, first: int, last: int) -> list[Chunk]:
        """A chunk for each second."""
        return [self.chunk(second, second + 1) for second in range(first, last)]


def us(seconds: float) -> int:
    """So many seconds after ``START_US``."""
    return START_US + round(seconds * US_PER_S)


def bundle(patient: str, chunk: Chunk) -> bytes:
    """The record that carries ``chunk`` for ``patient``, and a neighbour's beside it."""
    both = [patient, "neighbour"]
    event = EcgBundle(
        gateway=chunk.gateway,
        sequence=0,
        patients=both,
        devices=["d", "d"],
        start_us=[chunk.start_us] * 2,
        rate_hz=[chunk.rate_hz] * 2,
        leads=[list(chunk.leads)] * 2,
        gain_uv=[chunk.gain_uv] * 2,
        n_samples=[chunk.samples.shape[1]] * 2,
        samples=chunk.samples.astype("<i2").tobytes() + np.zeros_like(chunk.samples).tobytes(),
    )
    return codec.encode(event)

"""A ward that goes on whatever happens to those who watch it: monitors, sensors and images, sent in real time.

Its troubled hearts raise and end alarms all the time (too fast, flat, silent), so that every disturbance meets some.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from stream.gateways import wfdb
from stream.gateways.schedule import Due, Pace, in_order
from stream.gateways.sending import Sender, play
from stream.gateways.wfdb import Bed, Recording, bundles
from tests.support.ward import heart, image, reading
from vitals.units import US_PER_S

RECORDS = ("100", "106", "119", "200", "203", "207", "208", "222")
GATEWAYS = 4
_SILENT_FROM, _SILENT_TO, _PERIOD = 24, 40, 60
"""Seconds of each minute in which one monitor sends nothing: longer than the limit for no data."""


def troubled(seed: int) -> Recording:
    """A minute of a heart that is well, then far too fast, well, and for six seconds still."""
    parts = [heart(22, 76, seed=seed), heart(14, 168, seed=seed + 1), heart(16, 70, seed=seed + 2)]
    parts.append(heart(8, 70, stops_at_s=1.5, seed=seed + 3))
    gain_uv = max(part.gain_uv for part in parts)
    assert all(part.gain_uv == gain_uv for part in parts)
    return replace(parts[0], name=f"troubled/{seed}", samples=np.concatenate([p.samples for p in parts], axis=1))


def recordings(folder: Path | None) -> list[Recording]:
    """Real ones where there are any, else hearts of arithmetic."""
    files = [folder / name for name in RECORDS if (folder / f"{name}.hea").is_file()] if folder else []
    return [wfdb.read(file) for file in files] or [heart(90, 58 + 9 * i, seed=50 + i) for i in range(6)]


def schedule(start_us: int, folder: Path | None) -> Iterator[Due]:
    """Everything the ward sends, in the order of its times, without end."""
    pace = Pace(start_us)
    known = recordings(folder)
    lines: list[Iterator[Due]] = []
    for g in range(GATEWAYS):
        beds = [Bed(f"bed-{g}-{i}", known[(3 * g + i) % len(known)], 37.0 * g) for i in range(4)]
        beds.append(Bed(f"troubled-{g}", troubled(10 * g), 11.0 * g))
        lines.append(bundles(f"gateway-{g}", beds, pace, repeat=True))
    lines.append(_with_silences(bundles("alone", [Bed("alone", troubled(90), 30.0)], pace, repeat=True)))
    lines.append(_sensors(pace))
    return in_order(lines)


def _with_silences(line: Iterator[Due]) -> Iterator[Due]:
    return (due for n, due in enumerate(line) if not _SILENT_FROM <= n % _PERIOD < _SILENT_TO)


def _sensors(pace: Pace) -> Iterator[Due]:
    n = 0
    while True:
        n += 1
        patient = f"bed-0-{n % 4}"
        at_us = pace.start_us + n * US_PER_S
        yield replace(reading(patient, at_us, 60 + (7 * n) % 150), at_s=float(n))
        if n % 5 == 0:
            yield replace(image(f"bed-1-{n % 4}", at_us, seed=n), at_s=float(n))


class LiveWard:
    """Sends from ``start`` to ``stop`` on a thread of its own."""

    def __init__(self, kafka: str, folder: Path | None) -> None:
        self._kafka = kafka
        self._folder = folder
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._send, name="ward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more; what was sent is confirmed. Raises what the sender met."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _send(self) -> None:
        try:
            with closing(Sender(self._kafka)) as sender:
                play(schedule(time.time_ns() // 1000, self._folder), sender.send, self._stop)
        except Exception as error:  # noqa: BLE001 - told by stop()
            self._error = error

"""Alive means that acknowledged offsets advance. A process that answers and does not get on is not healthy.

Faust's own web answers 200 while an agent hangs and while the process is a zombie; this asks for progress instead, and
whether the event loop itself still turns. Asked from threads that hang on neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vitals.clock import Clock


@dataclass(slots=True)
class _Half:
    progress_us: int
    owed: int = 0
    loaded: bool = False


@dataclass(slots=True)
class Health:
    """What each half last reported. Written by the corridors, read by the probes."""

    clock: Clock
    stalled_s: float
    _halves: dict[str, _Half] = field(default_factory=dict)
    _turned_us: int = 0

    def expect(self, stream: str) -> None:
        """This half runs here."""
        self._halves[stream] = _Half(self.clock.now_us())

    def loaded(self, stream: str, is_loaded: bool) -> None:
        """Whether the half's state stands for its present partitions."""
        half = self._halves[stream]
        if half.loaded != is_loaded:
            half.loaded, half.progress_us = is_loaded, self.clock.now_us()

    def progressed(self, stream: str, released: int, owed: int) -> None:
        """``released`` records were acknowledged, ``owed`` wait for it (taken or not)."""
        half = self._halves[stream]
        half.owed = owed
        if released or not owed:
            half.progress_us = self.clock.now_us()

    def behind(self, stream: str, owed: int) -> None:
        """``owed`` records were not acknowledged, as somebody sees it who is not the half itself."""
        half = self._halves[stream]
        half.owed = max(half.owed, owed)

    def is_ready(self) -> bool:
        """Every half has its state."""
        return bool(self._halves) and all(half.loaded for half in self._halves.values())

    def turned(self) -> None:
        """The event loop got round to saying so; from now on it is expected to."""
        self._turned_us = self.clock.now_us()

    def stalled(self) -> list[str]:
        """What does not get on and has not for ``stalled_s``, and what it owes: nothing is wrong when this is empty."""
        now_us = self.clock.now_us()
        late_us = now_us - round(self.stalled_s * 1e6)
        wrong = [
            f"{name}: {half.owed} records wait, the last acknowledged {(now_us - half.progress_us) / 1e6:.0f} s ago"
            for name, half in self._halves.items()
            if half.owed and half.progress_us < late_us
        ]
        if 0 < self._turned_us < late_us:
            wrong.append(f"the event loop has not turned for {(now_us - self._turned_us) / 1e6:.0f} s")
        return wrong

"""The ECG around an alarm, frozen: 10 s before and 5 s after the moment it was raised, cut from the gateways' chunks.

``cut`` is a pure function of the alarm and of the chunks in the log: however they come, and however often it is done,
the bytes are the same. What a monitor sends twice, late or with holes is taken as the signal path takes it
(``vitals/runs.py``, docs/order.md), so that a strip shows what was scored.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from vitals import runs
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import RULES, Condition, Priority
from vitals.events import MAX_NAME, Wire
from vitals.findings import Task
from vitals.units import EARLIEST_US, LATEST_US, US_PER_MS, US_PER_S

BEFORE_US: Final = 10 * US_PER_S
AFTER_US: Final = 5 * US_PER_S
PATIENCE_US: Final = 10 * US_PER_S
"""So long after the last sample should have arrived, a strip is cut of what is there."""
MOST_BYTES: Final = 1024 * 1024
"""Of samples in one strip: 16 leads at 2 kHz. A message must remain a message."""
MOST_STRETCHES: Final = 200

NOT_MEASURED: Final = -32768
_CHUNK_US: Final = 10 * US_PER_S
"""The longest chunk that is waited for: so long after a sample was taken it may arrive, on time."""
_MOST_TEXT: Final = 500
_SLACK_US: Final = 10 * US_PER_MS
_RUN: Final = np.dtype(runs.FIELDS)
_ECG: Final = frozenset({Task.ECG_BEAT, Task.ECG_RHYTHM, Task.ECG_AF})


class Missing(enum.StrEnum):
    """Why a strip is not whole."""

    NO_ECG = "no-ecg"  # the patient sent none in its time
    GAPS = "gaps"  # samples of its time were not measured, or did not come in time
    LET_GO = "let-go"  # the alarm was told too late, or memory was short: they were not kept any more
    LARGE = "large"  # more leads or pieces than a strip holds


class Stretch(msgspec.Struct, frozen=True):
    """An unbroken stretch of one monitor, as in an ``EcgBundle``: its samples times ``gain_uv`` are µV, -32768 was not
    measured. ``samples``: int16[leads, n], little-endian, lead after lead, at ``rate_hz`` from ``start_us`` on.
    """

    gateway: str
    start_us: int
    rate_hz: float
    gain_uv: float
    leads: list[str]
    samples: bytes

    def __repr__(self) -> str:
        return f"Stretch({len(self.leads)} leads, {len(self.samples)} bytes)"


class Strip(Wire, frozen=True, tag="strip", tag_field="type"):
    """What there was of a patient's ECG from ``from_us`` to ``to_us``, around the moment ``time_us`` at which the alert
    was raised. ``stretches``: monitor by monitor, in the order of time; between them nothing was measured.

    ``condition``, ``priority`` and ``text`` are those of the step that raised it. ``missing``: why it is not whole.
    """

    alert_id: str
    patient: str
    condition: Condition
    priority: Priority
    text: str
    time_us: int
    from_us: int
    to_us: int
    stretches: list[Stretch]
    missing: list[Missing]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A strip that has to be cut. ``since_us`` to ``until_us``: when its samples arrive, by the broker's clock."""

    step: AlertTransition
    condition: Condition
    priority: Priority
    time_us: int
    since_us: int
    until_us: int

    @property
    def from_us(self) -> int:
        """Time of its first sample."""
        return self.time_us - BEFORE_US

    @property
    def to_us(self) -> int:
        """Time after its last sample."""
        return self.time_us + AFTER_US

    @property
    def first_arrives_us(self) -> int:
        """When its first sample arrives at the earliest, by the broker's clock."""
        return self.since_us + _CHUNK_US


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of the patient with its place in the log. ``samples``: int16[leads, n]."""

    arrived_us: int
    partition: int
    offset: int
    gateway: str
    start_us: int
    rate_hz: float
    gain_uv: float
    leads: tuple[str, ...]
    samples: npt.NDArray[np.int16]

    @property
    def end_us(self) -> int:
        """Time after its last sample."""
        n: int = self.samples.shape[1]
        return self.start_us + round(n * US_PER_S / self.rate_hz)


def wanted(step: AlertTransition, told_us: int) -> Wanted | None:
    """The strip that belongs to this step of an alarm; None unless it raises one that the ECG has to do with.

    ``told_us``: the broker's time of its record.
    """
    if step.event is not AlertEvent.RAISED or step.condition is None or step.priority is None:
        return None
    if not (0 < len(step.patient) <= MAX_NAME and 0 < len(step.alert_id) <= MAX_NAME):
        return None
    if not EARLIEST_US <= step.time_us <= LATEST_US:
        return None
    finding = step.evidence.finding if step.evidence is not None else None
    task = finding.task if finding is not None else RULES[step.condition].task
    if task not in _ECG:
        return None
    # the record that completed the deciding second tells how far the monitor's clock is from the broker's
    arrived_us = min(step.input_ms * US_PER_MS if step.input_ms else step.time_us, told_us)
    return Wanted(
        step=step,
        condition=step.condition,
        priority=step.priority,
        time_us=step.time_us,
        since_us=arrived_us - BEFORE_US - _CHUNK_US,
        until_us=arrived_us + AFTER_US + PATIENCE_US,
    )


def cut(wanted: Wanted, chunks: Iterable[Chunk], *, read_us: int, let_go: bool = False) -> Strip | None:
    """The strip; None when it is not whole and more may come.

    ``chunks``: those of the patient that concern it, in any order. ``read_us``: all that arrived before it is there.
    ``let_go``: some that concern it are not there any more.
    """
    monitors: dict[tuple[int, str], _Monitor] = {}
    there = [chunk for chunk in chunks if chunk.arrived_us <= read_us]
    for chunk in sorted(there, key=lambda one: (one.arrived_us, one.partition, one.offset)):
        monitor = monitors.setdefault((chunk.partition, chunk.gateway), _Monitor())
        monitor.take(chunk)
        seen = [one for one in monitors.values() if one.began_us < wanted.to_us]
        if seen and all(one.end_us >= wanted.to_us for one in seen):
            break
    else:
        if read_us < wanted.until_us:
            return None
    return _strip(wanted, list(monitors.values()), let_go=let_go)


class _Monitor:
    """The chunks of one gateway on one partition, put together."""

    def __init__(self) -> None:
        self._run: Any = np.zeros(1, _RUN)[0]
        self.pieces: list[_Piece] = []
        self.began_us = 0
        self.end_us = 0

    def take(self, chunk: Chunk) -> None:
        """The next chunk of the log."""
        run = self._run
        n_leads, n = chunk.samples.shape
        outcome, restart, fill, skip = runs.admit(run, chunk.start_us, chunk.rate_hz, n_leads, n)
        if outcome != runs.TAKEN:
            return
        if restart:
            runs.begin(run, chunk.start_us, chunk.rate_hz, n_leads)
        last = self.pieces[-1] if self.pieces else None
        if restart or last is None or (last.gain_uv, last.leads) != (chunk.gain_uv, chunk.leads):
            run["taken"] += fill
            last = _Piece(chunk.gateway, int(runs.frontier_us(run)), chunk.rate_hz, chunk.gain_uv, chunk.leads, [])
            self.pieces.append(last)
        elif fill:
            last.blocks.append(np.full((n_leads, fill), NOT_MEASURED, np.int16))
            run["taken"] += fill
        last.blocks.append(chunk.samples[:, skip:])
        run["taken"] += n - skip
        self.began_us = self.began_us or int(run["first_us"])
        self.end_us = int(runs.frontier_us(run))


@dataclass(slots=True)
class _Piece:
    """A stretch while it grows."""

    gateway: str
    start_us: int
    rate_hz: float
    gain_uv: float
    leads: tuple[str, ...]
    blocks: list[npt.NDArray[np.int16]]


def _strip(wanted: Wanted, monitors: Sequence[_Monitor], *, let_go: bool) -> Strip:
    stretches: list[Stretch] = []
    whole = large = False
    room = MOST_BYTES
    for monitor in monitors:
        measured_us = 0.0
        for piece in monitor.pieces:
            start_us, samples = _inside(piece, wanted.from_us, wanted.to_us)
            n = samples.shape[1]
            if n == 0:
                continue
            measured_us += np.count_nonzero((samples != NOT_MEASURED).any(axis=0)) * US_PER_S / piece.rate_hz
            n_leads = min(len(piece.leads), room // (2 * n)) if len(stretches) < MOST_STRETCHES else 0
            large = large or n_leads < len(piece.leads)
            if n_leads == 0:
                continue
            data = samples[:n_leads].astype("<i2").tobytes()
            room -= len(data)
            leads = list(piece.leads[:n_leads])
            stretches.append(Stretch(piece.gateway, start_us, piece.rate_hz, piece.gain_uv, leads, data))
        whole = whole or measured_us >= BEFORE_US + AFTER_US - _SLACK_US
    why = {
        Missing.NO_ECG: not stretches and not let_go,
        Missing.GAPS: bool(stretches) and not whole,
        Missing.LET_GO: let_go and not whole,
        Missing.LARGE: large,
    }
    return Strip(
        alert_id=wanted.step.alert_id,
        patient=wanted.step.patient,
        condition=wanted.condition,
        priority=wanted.priority,
        text=wanted.step.text[:_MOST_TEXT],
        time_us=wanted.time_us,
        from_us=wanted.from_us,
        to_us=wanted.to_us,
        stretches=stretches,
        missing=[word for word, it_is in why.items() if it_is],
    )


def _inside(piece: _Piece, from_us: int, to_us: int) -> tuple[int, npt.NDArray[np.int16]]:
    """Of a piece what lies in the time from ``from_us`` to before ``to_us``, and when it begins."""
    samples = np.concatenate(piece.blocks, axis=1)
    per_us = piece.rate_hz / US_PER_S
    first, end = (
        min(samples.shape[1], max(0, int(np.ceil((us - piece.start_us) * per_us - 1e-6)))) for us in (from_us, to_us)
    )
    return piece.start_us + round(first / per_us), samples[:, first:end]

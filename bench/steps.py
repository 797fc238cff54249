"""Where the microseconds of a patient-second go: every step of the corridor by itself, on one thread, without a broker.

    python -m bench.steps [--patients N]

CPU time, real recordings, batches of five gateways of a hundred patients, as a worker of 10,000 patients takes them.
The lines under the signal path are its kernels run alone over the same state; what is left of it is bookkeeping, the
blocks and the beat windows. What a worker spends beyond the sum is the Kafka client, the event loop and the board.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import njit

from bench.load import RATE_HZ, bundles
from models.registry import Registry
from stream import ingest
from stream.alerting import Deciding
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, begin_serving, open_slots
from stream.publish import message
from stream.scoring import Scored, Scorer, Ward, beat_windows, recent_windows, rhythm_windows
from stream.topics import PARTITIONS, Topic
from vitals import codec, fibrillation, qrs, quality, signal, usual
from vitals.events import Record
from vitals.findings import Findings, Task
from vitals.windows.ecg import RECENT_EVERY_S, EcgWindows

_START_US = 1_700_000_000_000_000
_PER_GATEWAY = 100
_GATEWAYS_A_BATCH = 5
_WARM_S = 8
_SECONDS = 8
_SAVED_EVERY_S = 4.0


class _Spent:
    """CPU seconds by step; nothing is counted while ``on`` is false."""

    def __init__(self) -> None:
        self.on = False
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        began = time.process_time()
        yield
        if self.on:
            self.seconds[step] += time.process_time() - began


class _TimedSlot:
    """The model's part of scoring, by itself."""

    def __init__(self, slot: ModelSlot, spent: _Spent) -> None:
        self._slot, self._spent = slot, spent
        self.serving = slot.serving

    def score(self, inputs: Any) -> Any:
        with self._spent.of("model"):
            return self._slot.score(inputs)


def measure(patients: int = 2_000) -> dict[str, float]:
    """Microseconds per patient-second, by step."""
    spent = _Spent()
    slots = open_slots(lambda news: None)
    begin_serving(Registry(SHIPPED_BUNDLES), slots)
    timed = {task: _TimedSlot(slots[task], spent) for task in (Task.ECG_BEAT, Task.ECG_AF)}
    scorer = Scorer(timed, 0.02)  # type: ignore[arg-type]
    windows, deciding = EcgWindows(), [Deciding() for _ in range(PARTITIONS)]
    rows = windows.add(patients)
    names = [f"patient-{i:06d}" for i in range(patients)]
    partition = (np.arange(patients) % PARTITIONS).astype(np.int32)
    numbers = np.arange(patients, dtype=np.uint32)
    ward = Ward(names, partition, numbers, np.ones_like(numbers))
    for second in range(_WARM_S + _SECONDS):
        spent.on = second >= _WARM_S
        at_us = _START_US + second * 1_000_000
        made = list(bundles(patients, _PER_GATEWAY, at_us, 1, second))
        for first in range(0, len(made), _GATEWAYS_A_BATCH):
            batch = made[first : first + _GATEWAYS_A_BATCH]
            who = rows[first * _PER_GATEWAY : (first + len(batch)) * _PER_GATEWAY]
            _one_batch([b.value for b in batch], who, windows, scorer, ward, deciding, at_us, spent)
        with spent.of("alarms by the clock"):
            for one in deciding:
                one.tick(at_us)
    with spent.of("checkpoint"):
        windows.snapshot(rows)
    spent.seconds["checkpoint"] *= _SECONDS / _SAVED_EVERY_S
    spent.seconds["publish: tables and bytes"] -= spent.seconds["model"]
    table = {name: 1e6 * s / (patients * _SECONDS) for name, s in spent.seconds.items()}
    table |= {f"  of it {name}": us for name, us in _kernels(windows, rows, made[0].value).items()}
    return {name: round(us, 2) for name, us in table.items()}


def _one_batch(
    values: list[bytes],
    rows: np.ndarray,
    windows: EcgWindows,
    scorer: Scorer,
    ward: Ward,
    deciding: list[Deciding],
    at_us: int,
    spent: _Spent,
) -> None:
    with spent.of("decode"):
        found = [
            ingest.ecg_chunks(Record(Topic.ECG.value, 0, 0, at_us // 1000 + 2000, b"", value), 2**61)[0]
            for value in values
        ]
        columns = ("start_us", "rate_hz", "n_leads", "gain_uv", "n_samples", "samples")
        chunks = [np.concatenate([getattr(c, name) for c in found]) for name in columns]
    with spent.of("signal path: order, filter, QRS, quality, windows"):
        step = windows.advance(rows, *chunks, phase=(rows % RECENT_EVERY_S).astype(np.uint8))
    scored = Scored()
    arrived_ms = np.full(len(rows), at_us // 1000)
    with spent.of("publish: tables and bytes"):
        scorer.score(beat_windows(step.beats, arrived_ms), ward, 0, scored)
        scorer.score(rhythm_windows(step.rhythm, arrived_ms), ward, 0, scored)
        scorer.score(recent_windows(step.recent, arrived_ms), ward, 0, scored)
        sent = scored.messages()
    for out in sent:
        if out.topic is not Topic.FINDINGS or out.partition is None or out.value is None:
            continue
        with spent.of("decide: decode"):
            findings = codec.decode(Findings, out.value)
        with spent.of("decide: fuse and alarm"):
            decided = deciding[out.partition].decide([findings])
        with spent.of("decide: bytes"):
            for risks in decided.risks:
                message(Topic.RISK, risks)
            for alert in decided.transitions:
                message(Topic.ALERTS, alert)


def _kernels(windows: EcgWindows, rows: np.ndarray, value: bytes) -> dict[str, float]:
    """Microseconds per patient-second of each kernel alone, over a copy of the state."""
    bundle = ingest.ecg_chunks(Record(Topic.ECG.value, 0, 0, 2**41, b"", value), 2**61)[0]
    assert bundle is not None
    samples = np.tile(bundle.samples, len(rows) // _PER_GATEWAY)
    calls: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "filter and grid": (_grid, (rows, samples)),
        "QRS": (_qrs, (rows,)),
        "fibrillation index": (_fibrillation, (rows,)),
        "quality": (_quality, (rows,)),
        "context of one beat": (_context, (rows, np.zeros(len(usual.CONTEXT), np.float32))),
    }
    table: dict[str, float] = {}
    for name, (kernel, arguments) in calls.items():
        kernel(windows._table.data.copy(), *arguments)
        copies = [windows._table.data.copy() for _ in range(5)]
        began = time.process_time()
        for state in copies:
            kernel(state, *arguments)
        table[name] = 1e6 * (time.process_time() - began) / (len(copies) * len(rows))
    return table


@njit
def _grid(table, rows, samples):  # type: ignore[no-untyped-def]
    room = signal.make_room()
    for q in range(len(rows)):
        state = table[rows[q]]
        done = 0
        while done < RATE_HZ:
            n = min(RATE_HZ - done, signal.block_samples(state))
            signal.to_grid(state, samples, 2 * RATE_HZ * q + done, RATE_HZ, n, 0.005, room)
            done += n


@njit
def _qrs(table, rows):  # type: ignore[no-untyped-def]
    for row in rows:
        state = table[row]
        state.decided = state.next_grid - signal.RATE_HZ
        qrs.take(state, state.next_grid - signal.RATE_HZ, signal.RATE_HZ)
        for k in range(state.next_grid - signal.RATE_HZ, state.next_grid):
            qrs.decide(state, k)


@njit
def _fibrillation(table, rows):  # type: ignore[no-untyped-def]
    for row in rows:
        fibrillation.vf_index(table[row], table[row].next_grid // signal.RATE_HZ * signal.RATE_HZ - 1)


@njit
def _quality(table, rows):  # type: ignore[no-untyped-def]
    for row in rows:
        state = table[row]
        quality.best_verdict(state, state.next_grid - signal.RATE_HZ, signal.RATE_HZ, state.qrs_uv)


@njit
def _context(table, rows, out):  # type: ignore[no-untyped-def]
    for row in rows:
        state = table[row]
        usual.compare(state, state.next_grid - 400, np.float32(800.0), np.float32(800.0), state.n_rr_ms, 8, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=2_000)
    for step, us in measure(parser.parse_args().patients).items():
        print(f"{us:8.2f} µs  {step}")

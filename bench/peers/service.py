"""What every peer is given: our windows, our network, our wire, as plain callables. No checkpoint, ledger or guard.

``of_event`` is one patient's chunk at a time, ``of_batch`` whatever messages a library hands over together. State is in
this process's memory, and a chunk is believed as it comes. Where a library is asked to keep the state, it is given
``saved``: that of one gateway.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import onnxruntime

from models.calibration import calibrated
from models.registry import Bundle, Registry
from models.spec import ONNX_FILE
from stream.modelslot import SHIPPED_BUNDLES
from stream.topics import PARTITIONS
from vitals.events import EcgBundle
from vitals.findings import COLUMNS, FindingBatch, Findings, Task, Verdict, nullable
from vitals.windows.ecg import BEAT_SPEC, RHYTHM_SPEC, BeatWindows, EcgStep, EcgWindows, RhythmWindows

ENGINE_ROWS = 128
"""Bare ONNX Runtime is fastest from here on: 7.7 µs a beat, 8.4 at 32 (bench/engines.py)."""

Windows = BeatWindows | RhythmWindows
Infer = Callable[[dict[str, np.ndarray]], np.ndarray]

_decode = msgspec.msgpack.Decoder(EcgBundle).decode
_encode = msgspec.msgpack.Encoder().encode
_BEAT_COLUMNS = list(COLUMNS[Task.ECG_BEAT])
_RHYTHM_COLUMNS = list(COLUMNS[Task.ECG_RHYTHM])


def kafka() -> str:
    """The broker, from the environment."""
    return os.environ["KAFKA"]


def bundle() -> Bundle:
    """The beat network that ships."""
    found = Registry(Path(SHIPPED_BUNDLES)).current(Task.ECG_BEAT)
    assert found is not None
    return found


def onnx(net: Bundle) -> Infer:
    """The network in ONNX Runtime with nothing around it, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(net.read(ONNX_FILE), options, providers=["CPUExecutionProvider"])

    def infer(inputs: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(inputs["context"])
        if rows <= ENGINE_ROWS:
            return session.run(["logits"], inputs)[0]
        parts = [{k: v[i : i + ENGINE_ROWS] for k, v in inputs.items()} for i in range(0, rows, ENGINE_ROWS)]
        return np.concatenate([session.run(["logits"], part)[0] for part in parts])

    return infer


class Service:
    """Chunks to findings. ``engine`` is what a finding says of itself."""

    def __init__(self, infer: Infer, net: Bundle, engine: str) -> None:
        self._infer = infer
        self._manifest = net.manifest
        self._engine = engine
        self._model = net.short
        self._windows = EcgWindows()
        self._names: list[str] = []
        self._partition = np.empty(0, np.int32)
        self._row: dict[str, int] = {}
        self._patients: dict[str, list[str]] = {}

    def of_event(self, value: bytes, arrived_ms: int) -> tuple[str, bytes | None]:
        """The patient of one message, and the record of what was found in it."""
        event = _decode(value)
        patient = event.patients[0]
        step = self._windows.advance(self._rows([patient]), *_columns([event]))
        tables = [
            self._table(task, [patient], [0] * n, windows, slice(None), [arrived_ms] * n, columns(windows))
            for task, windows, columns in self._found(step)
            if (n := len(windows))
        ]
        return patient, _encode(Findings(tables=tables)) if tables else None

    def of_batch(self, values: Sequence[bytes], arrived_ms: Sequence[int]) -> Iterator[tuple[int, str, bytes]]:
        """For each partition: itself, one of its patients, and the record of what was found."""
        events = [_decode(value) for value in values]
        self._patients.update((event.gateway, event.patients) for event in events)
        patients = list(chain.from_iterable(event.patients for event in events))
        step = self._windows.advance(self._rows(patients), *_columns(events))
        came_ms = np.repeat(np.array(arrived_ms, np.int64), [len(event.patients) for event in events])
        tables: dict[int, list[FindingBatch]] = {}
        for task, windows, columns in self._found(step):
            said = columns(windows)
            partition = self._partition[windows.row]
            order = np.argsort(partition, kind="stable")
            for index in np.split(order, np.flatnonzero(np.diff(partition[order])) + 1) if len(order) else ():
                unique, row = np.unique(windows.row[index], return_inverse=True)
                names = [self._names[r] for r in unique.tolist()]
                came = came_ms[windows.chunk[index]].tolist()
                table = self._table(task, names, row.tolist(), windows, index, came, said)
                tables.setdefault(int(partition[index[0]]), []).append(table)
        for number, found in tables.items():
            yield number, found[0].patients[0], _encode(Findings(tables=found))

    def saved(self, gateway: str) -> bytes:
        """The state of a gateway's patients."""
        patients = self._patients[gateway]
        return _encode((patients, self._windows.snapshot(self._rows(patients))))

    def take_back(self, saved: bytes) -> None:
        """What ``saved`` gave before a restart."""
        patients, state = msgspec.msgpack.decode(saved, type=tuple[list[str], bytes])
        self._windows.restore(self._rows(patients), state)

    def _found(self, step: EcgStep) -> tuple[tuple[Task, Windows, Callable[[Any], list[np.ndarray]]], ...]:
        return (Task.ECG_BEAT, step.beats, self._beats), (Task.ECG_RHYTHM, step.rhythm, _rhythm)

    def _rows(self, patients: list[str]) -> np.ndarray:
        row = self._row
        fresh = [patient for patient in dict.fromkeys(patients) if patient not in row]
        if fresh:
            rows = self._windows.add(len(fresh)).tolist()
            row.update(zip(fresh, rows, strict=True))
            top = max(rows) + 1
            if top > len(self._names):
                self._names.extend([""] * (top - len(self._names)))
                self._partition = np.resize(self._partition, top)
            for patient, r in zip(fresh, rows, strict=True):
                self._names[r] = patient
                self._partition[r] = crc32(patient.encode()) % PARTITIONS
        return np.array([row[patient] for patient in patients], np.int32)

    def _beats(self, beats: BeatWindows) -> list[np.ndarray]:
        believed = np.flatnonzero(beats.verdict <= Verdict.POOR)
        p = np.full((len(beats), len(self._manifest.columns)), np.nan)
        if len(believed):
            inputs = {"ecg_mv": beats.ecg_mv[believed], "context": beats.context[believed]}
            p[believed] = calibrated(self._manifest, {"logits": self._infer(inputs)})
        return [*p.T, beats.rr_pre_ms, beats.rr_post_ms]

    def _table(
        self,
        task: Task,
        patients: list[str],
        row: list[int],
        windows: Windows,
        index: np.ndarray | slice,
        came_ms: list[int],
        columns: list[np.ndarray],
    ) -> FindingBatch:
        beats = task is Task.ECG_BEAT
        return FindingBatch(
            task=task,
            spec=BEAT_SPEC if beats else RHYTHM_SPEC,
            model=self._model if beats else "rules",
            engine=self._engine if beats else "rules",
            patients=patients,
            row=row,
            end_us=windows.end_us[index].tolist(),
            known_us=windows.known_us[index].tolist(),
            input_ms=came_ms,
            verdict=windows.verdict[index].tolist(),
            columns=_BEAT_COLUMNS if beats else _RHYTHM_COLUMNS,
            values=[nullable(column[index]) for column in columns],
        )


def _columns(events: list[EcgBundle]) -> tuple[np.ndarray, ...]:
    """What ``EcgWindows.advance`` takes after the rows."""
    leads = [[len(names) for names in event.leads] for event in events]
    samples = [np.frombuffer(event.samples, "<i2") for event in events]
    return (
        np.array(list(chain.from_iterable(event.start_us for event in events)), np.int64),
        np.array(list(chain.from_iterable(event.rate_hz for event in events)), np.float64),
        np.array(list(chain.from_iterable(leads)), np.int32),
        np.array(list(chain.from_iterable(event.gain_uv for event in events)), np.float64),
        np.array(list(chain.from_iterable(event.n_samples for event in events)), np.int32),
        samples[0] if len(samples) == 1 else np.concatenate(samples),
    )


def _rhythm(rhythm: RhythmWindows) -> list[np.ndarray]:
    return [getattr(rhythm, name) for name in _RHYTHM_COLUMNS]

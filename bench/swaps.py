"""Fifty swaps of the beat model under full load: is anything lost, is a batch ever of two models, what does it cost?

    python -m bench.swaps [--patients 5000] [--swaps 50] [--out bench/reports/swap.json]

One worker, N patients live: a quiet minute, one release after the other, a quiet minute. Each release goes through
shadow and probation, shortened to two seconds each so that fifty fit into minutes; the two models by turns are the
shipped one and one of the same network with a slightly other calibration, so that none of their answers is the same.

Afterwards the worker's account of events is held to what lies on the topic, and for some gateways everything is scored
once more here, by each model alone: a finding must be there and must be what the model that it names says, and on a
partition the name may change once a swap. A table in which that is not so is a mixed batch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from bench.trial import Trial, Worker, findings_of, keep_all, load_of, records, running
from models.announce import announce
from models.registry import Bundle, Registry
from models.spec import MANIFEST_FILE, AffineSoftmax, Calibration, ConformalForecast, TemperatureSoftmax, encoded
from stream.broker import JavaNode, create_topics
from stream.brokerjars import cache_folder
from stream.checkpoint import Owners
from stream.modelslot import SHIPPED_BUNDLES, WINDOW_OF, ModelSlot, Way
from stream.observing import ObserveEcg, Observing
from stream.topics import Topic
from vitals.clock import SystemClock
from vitals.events import Record
from vitals.findings import Task

_WARM_S: Final = 25
_STAY_S: Final = 2
_SWAP_DEADLINE_S: Final = 60.0
_SETTLE_S: Final = 60.0
_POLL_S: Final = 0.5
_LONGEST_S: Final = 3600
_CHECKED_PATIENTS: Final = 500
_AT_ONCE: Final = 200
_OTHER: Final = 1.001
_EVENTS: Final = "wardwatch_events_total"


@dataclass(frozen=True)
class Swapped:
    """What was seen. ``lost``: events that nobody accounts for, and findings that are missing.

    ``p99_ratio``: from chunk to finding, while models were swapped over the quiet time before and after.
    """

    swaps: int
    lost: int
    mixed_batches: int
    p99_ratio: float
    p99_quiet_ms: float
    p99_swapping_ms: float
    patients: int
    events: int
    dropped: int
    paired_windows: int
    checked_patients: int
    checked_findings: int
    quiet_s: int
    swapping_s: float
    shadow_s: int
    probation_s: int


class _Bundle(msgspec.Struct):
    gateway: str
    patients: list[str]


class Table(msgspec.Struct):
    """What is read of a table of findings."""

    task: str
    model: str
    patients: list[str]
    row: list[int]
    end_us: list[int]
    values: list[list[float | None]]


class _Findings(msgspec.Struct):
    tables: list[Table]


Name = tuple[str, str, int]
Said = tuple[float | None, ...]


def sibling(bundle: Bundle, folder: Path) -> Path:
    """A bundle in ``folder`` of the same network with a slightly other calibration."""
    match bundle.manifest.calibration:
        case AffineSoftmax(scale, bias):
            calibration: Calibration = AffineSoftmax(tuple(_OTHER * x for x in scale), bias)
        case TemperatureSoftmax(temperature, bias):
            calibration = TemperatureSoftmax(_OTHER * temperature, bias)
        case ConformalForecast(offset, scale, bias):
            shifted = tuple(tuple(x + _OTHER - 1 for x in row) for row in offset)
            calibration = ConformalForecast(shifted, tuple(_OTHER * x for x in scale), bias)
    return recalibrated(bundle, calibration, folder)


def recalibrated(bundle: Bundle, calibration: Calibration, folder: Path) -> Path:
    """A bundle in ``folder`` of the same network with this calibration."""
    folder.mkdir(parents=True)
    for name in bundle.file_hashes:
        (folder / name).write_bytes(bundle.read(name))
    manifest = msgspec.structs.replace(bundle.manifest, calibration=calibration)
    (folder / MANIFEST_FILE).write_bytes(encoded(manifest))
    return folder


def swapped(patients: int, swaps: int, quiet_s: int, per_gateway: int = 100) -> Swapped:
    """The whole trial."""
    stay = {"model_shadow_s": str(_STAY_S), "model_probation_s": str(_STAY_S)}
    trial = Trial(patients, _LONGEST_S, per_gateway=per_gateway, warm_s=0, settings=stay)
    with JavaNode(cache_folder()) as node, tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as name:
        folder = Path(name)
        create_topics(node.bootstrap)
        keep_all(node.bootstrap, (Topic.ECG, Topic.FINDINGS))
        registry = Registry.seeded(folder / "0" / "registry", SHIPPED_BUNDLES)
        first = registry.current(Task.ECG_BEAT)
        assert first is not None
        models = [first, registry.add(sibling(first, folder / "sibling"))]
        began_ms = time.time() * 1000
        with Worker(node.bootstrap, folder / "0", trial) as worker:
            with running(load_of(trial), node.bootstrap):
                time.sleep(_WARM_S)
                moments_ms = [time.time() * 1000]
                time.sleep(quiet_s)
                moments_ms.append(time.time() * 1000)
                for number in range(swaps):
                    _swap(worker, registry, models[(number + 1) % 2], node.bootstrap)
                moments_ms.append(time.time() * 1000)
                time.sleep(quiet_s)
                moments_ms.append(time.time() * 1000)
            chunks, checked = _sent(node.bootstrap, began_ms, patients)
            accounted, dropped = _settled(worker, chunks)
            paired = worker.total("wardwatch_paired_windows_total")
        ended_ms = time.time() * 1000
        took, when, _ = findings_of(node.bootstrap, moments_ms[0], moments_ms[-1])
        alone = {bundle.short: _said_alone(bundle, checked) for bundle in models}
        missing, mixed, n_findings = held(_tables(node.bootstrap, began_ms, ended_ms), alone, swaps)
    swapping = (when >= moments_ms[1]) & (when < moments_ms[2])
    p99_quiet_ms, p99_swapping_ms = (float(np.percentile(took[some], 99)) for some in (~swapping, swapping))
    return Swapped(
        swaps=swaps,
        lost=abs(chunks - accounted) + missing,
        mixed_batches=mixed,
        p99_ratio=round(p99_swapping_ms / p99_quiet_ms, 3),
        p99_quiet_ms=round(p99_quiet_ms, 1),
        p99_swapping_ms=round(p99_swapping_ms, 1),
        patients=patients,
        events=chunks,
        dropped=dropped,
        paired_windows=round(paired),
        checked_patients=len({record.key for record in checked}) * per_gateway,
        checked_findings=n_findings,
        quiet_s=2 * quiet_s,
        swapping_s=round((moments_ms[2] - moments_ms[1]) / 1000, 1),
        shadow_s=_STAY_S,
        probation_s=_STAY_S,
    )


def _swap(worker: Worker, registry: Registry, bundle: Bundle, kafka: str) -> None:
    """One release, until the journal says that it is proven. The worker is not asked: that would cost it something."""
    registry.promote(bundle.task, bundle.hash)
    announce(kafka, registry, bundle, "promote", "bench.swaps", SystemClock())
    end = time.monotonic() + _SWAP_DEADLINE_S
    while registry.history(bundle.task)[-1].action != "proven":
        if time.monotonic() > end:
            raise RuntimeError(f"bundle {bundle.short} was not proven: {worker.said()}")
        time.sleep(_POLL_S)


def _settled(worker: Worker, chunks: int) -> tuple[int, int]:
    """How many events the worker accounts for once it has caught up, and how many of them it dropped."""
    end = time.monotonic() + _SETTLE_S
    while True:
        accounted = worker.total(_EVENTS, stream="ecg") + worker.total("wardwatch_events_waiting", stream="ecg")
        if accounted >= chunks or time.monotonic() > end:
            return round(accounted), round(worker.total(_EVENTS, stream="ecg", outcome="dropped"))
        time.sleep(_POLL_S)


def _sent(kafka: str, began_ms: float, patients: int) -> tuple[int, list[Record]]:
    """How many chunks lie on the topic, and the records of gateways with so many patients as are checked."""
    chunks, kept, checked = 0, set[str](), list[Record]()
    beds = 0
    for record in records(kafka, Topic.ECG, began_ms, time.time() * 1000):
        bundle = msgspec.msgpack.decode(record.value(), type=_Bundle)
        chunks += len(bundle.patients)
        if bundle.gateway not in kept and beds < min(patients, _CHECKED_PATIENTS):
            kept.add(bundle.gateway)
            beds += len(bundle.patients)
        if bundle.gateway in kept:
            place = (record.topic(), record.partition(), record.offset(), record.timestamp()[1])
            checked.append(Record(*place, record.key(), record.value()))
    return chunks, checked


def held(
    tables: Iterable[tuple[int, Table]], expected: Mapping[str, Mapping[Name, Said]], swaps: int
) -> tuple[int, int, int]:
    """Findings that are missing, tables that are not of one model, and how many findings were looked at.

    ``tables``: with their partition, in the order of its log; ``expected``: by model, what it says of which window.
    """
    names = next(iter(expected.values())).keys()
    patients = {patient for patient, _, _ in names}
    seen: set[Name] = set()
    mixed = 0
    serving: dict[int, list[str]] = defaultdict(list)
    for partition, table in tables:
        is_of_one = True
        for finding, said in _rows(table, patients):
            seen.add(finding)
            is_of_one &= table.task != Task.ECG_BEAT or said == expected.get(table.model, {}).get(finding)
        mixed += not is_of_one
        named = serving[partition]
        if table.task == Task.ECG_BEAT and named[-1:] != [table.model]:
            named.append(table.model)
    mixed += sum(max(0, len(named) - 1 - swaps) for named in serving.values())
    return len(names - seen), mixed, len(seen)


def _tables(kafka: str, began_ms: float, ended_ms: float) -> Iterator[tuple[int, Table]]:
    for record in records(kafka, Topic.FINDINGS, began_ms, ended_ms):
        for table in msgspec.msgpack.decode(record.value(), type=_Findings).tables:
            yield record.partition(), table


def _rows(table: Table, patients: set[str]) -> Iterator[tuple[Name, Said]]:
    wanted = [name in patients for name in table.patients]
    for i, row in enumerate(table.row):
        if wanted[row]:
            yield (table.patients[row], table.task, table.end_us[i]), tuple(column[i] for column in table.values)


def _said_alone(bundle: Bundle, checked: list[Record]) -> dict[Name, Said]:
    """What ``bundle`` says of every window of these records."""
    slot = ModelSlot(bundle.task, WINDOW_OF[bundle.task], lambda _: None)
    slot.stage(bundle, Way.AT_ONCE)
    half = ObserveEcg({bundle.task: slot}, Observing(max_patients=20_000, clock_ahead_us=2**61, archive_share=0.0))
    said: dict[Name, Said] = {}
    for first in range(0, len(checked), _AT_ONCE):
        products = half.process(checked[first : first + _AT_ONCE], Owners(0))
        for made in products.messages:
            if made.topic is Topic.FINDINGS and made.value is not None:
                for table in msgspec.msgpack.decode(made.value, type=_Findings).tables:
                    said.update(_rows(table, set(table.patients)))
    return said


def main() -> None:
    quick = bool(os.environ.get("QUICK"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=200 if quick else 5000)
    parser.add_argument("--swaps", type=int, default=5 if quick else 50)
    parser.add_argument("--quiet", type=int, default=10 if quick else 60, help="seconds before, and after")
    parser.add_argument("--out", type=Path, default=Path("bench/reports/swap.json"))
    asked = parser.parse_args()
    seen = swapped(asked.patients, asked.swaps, asked.quiet)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(seen)), indent=2) + b"\n")
    print(
        f"{seen.swaps} swaps under {seen.patients:,} patients: {seen.lost} lost, {seen.mixed_batches} mixed batches; "
        f"p99 to a finding {seen.p99_swapping_ms:.0f} ms, {seen.p99_quiet_ms:.0f} ms in the quiet time "
        f"({seen.p99_ratio:.2f} of it)"
    )


if __name__ == "__main__":
    main()

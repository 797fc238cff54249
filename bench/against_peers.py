"""Patients per CPU-second of the service: ours beside its peers, on one Kafka broker, in one run.

    python -m bench.against_peers [--only NAME…] [--rounds 3] [--out bench/reports/against_peers.json]

The usual per-event Faust service, Quix Streams and Bytewax, each its library's own way, and the limit: a bare loop of
librdkafka and ONNX Runtime. All have the same windows, the same network and the same wire; what each publishes is
compared, finding by finding, with the brokerless corridor, and one that differs has no figure. Real recordings, two
leads at 360 Hz, a chunk a second for each patient (``bench.load``).

CPU is user and system time of all threads of the service process, from a warm start until its last finding is there,
while it works off a backlog. Rounds are interleaved; a ratio is the median of the rounds' ratios. QUICK=1 for less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from bench import load, trial
from bench.peers import environment
from models.registry import Registry
from stream.broker import create_topics, free_ports, open_broker
from stream.checkpoint import Owners
from stream.modelslot import SHIPPED_BUNDLES, begin_serving, open_slots
from stream.observing import ObserveEcg, Observing
from stream.topics import MAX_MESSAGE_BYTES, PARTITIONS, Topic
from tests.support.findings import decoded
from tests.support.topics import delete_all_topics
from vitals.events import Record
from vitals.findings import Task

QUICK = bool(os.environ.get("QUICK"))
WARMING_S = 4
TOLERANCE = 1e-4
"""Of a probability: float32 in another library."""
_QUIET_S = 1.0
_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Load:
    """``patients`` for ``seconds`` after the warming, so many to a message.

    ``carried``: patients whom a core of ours carries about. A backlog is worked off faster than life by that over
    ``patients``, and ours has to save its state as often in event time as it does live.
    """

    patients: int
    per_gateway: int
    seconds: int
    carried: int

    @property
    def checkpoint_s(self) -> float:
        return CHECKPOINT_S * self.patients / self.carried


CHECKPOINT_S = 4.0
"""The setting as it ships."""
BUNDLES = Load(5000, 100, 8, 20_000) if QUICK else Load(10_000, 100, 10, 20_000)
EACH = Load(500, 1, 20 if QUICK else 40, 4000)
EACH_BRIEFLY = Load(500, 1, 6 if QUICK else 12, 4000)


@dataclass(frozen=True)
class Contender:
    """``module`` is run by ``python`` with ``settings`` beside KAFKA and STATE."""

    name: str
    load: Load
    module: tuple[str, ...]
    python: Callable[[], Path] = lambda: Path(sys.executable)
    settings: dict[str, str] = field(default_factory=dict)


_WORKER = ("bench.peers.ours",)
CONTENDERS = (
    Contender("wardwatch", BUNDLES, _WORKER),
    Contender("wardwatch without metrics", BUNDLES, _WORKER, settings={"METRICS": "none"}),
    Contender("limit", BUNDLES, ("bench.peers.limit",)),
    Contender("bytewax", BUNDLES, ("bench.peers.bytewax_flow",), environment.python, {"LOAD": "bundles"}),
    Contender("quixstreams", BUNDLES, ("bench.peers.quix",), environment.python, {"LOAD": "bundles"}),
    Contender("bytewax kept", BUNDLES, ("bench.peers.bytewax_flow",), environment.python, {"LOAD": "kept"}),
    Contender("quixstreams kept", BUNDLES, ("bench.peers.quix",), environment.python, {"LOAD": "kept"}),
    Contender("wardwatch each", EACH, _WORKER),
    Contender("bytewax each", EACH, ("bench.peers.bytewax_flow",), environment.python, {"LOAD": "each"}),
    Contender("quixstreams each", EACH, ("bench.peers.quix",), environment.python, {"LOAD": "each"}),
    Contender("usual faust each", EACH_BRIEFLY, ("bench.peers.usual_faust", "worker"), settings={"ENGINE": "torch"}),
    Contender(
        "usual faust onnx each", EACH_BRIEFLY, ("bench.peers.usual_faust", "worker"), settings={"ENGINE": "onnx"}
    ),
)
RATIOS = {
    "usual_faust": ("wardwatch", "usual faust each"),
    "quixstreams": ("wardwatch", "quixstreams"),
    "bytewax": ("wardwatch", "bytewax"),
    "limit": ("wardwatch", "limit"),
    "usual_faust_with_onnx": ("wardwatch", "usual faust onnx each"),
    "quixstreams_keeping_state": ("wardwatch", "quixstreams kept"),
    "bytewax_keeping_state": ("wardwatch", "bytewax kept"),
    "without_metrics": ("wardwatch", "wardwatch without metrics"),
    "each_to_usual_faust": ("wardwatch each", "usual faust each"),
    "each_to_quixstreams": ("wardwatch each", "quixstreams each"),
    "each_to_bytewax": ("wardwatch each", "bytewax each"),
}


COMPARED = frozenset({Task.ECG_BEAT, Task.ECG_RHYTHM})
"""What the peers find too. Ours looks at the recent beats of each patient once in 30 s beside it."""


@dataclass(frozen=True)
class Played:
    """A load as messages (key, value), and the findings that have to come of it."""

    warming: list[tuple[bytes, bytes]]
    messages: list[tuple[bytes, bytes]]
    warm_findings: int
    findings: dict[Task, np.ndarray]


@cache
def played(what: Load) -> Played:
    """``what`` as messages that lie in the past (no chunk is ahead of the clock), through the corridor offline."""
    seconds = WARMING_S + what.seconds
    start_us = (time.time_ns() // 1_000_000_000 - seconds - 60) * 1_000_000
    every = [(b.gateway, b.value) for b in load.bundles(what.patients, what.per_gateway, start_us, seconds)]
    messages = [(name.encode(), value) for name, value in every]
    first = len(messages) * WARMING_S // seconds
    with tempfile.TemporaryDirectory() as folder:
        slots = open_slots(lambda news: None)
        begin_serving(Registry.seeded(Path(folder), SHIPPED_BUNDLES), slots)
        told = Observing(max_patients=1_000_000, clock_ahead_us=2**61, archive_share=0.0)
        half = ObserveEcg(slots, told)
        found = [_offline(half, part) for part in (messages[:first], messages[first:])]
    warm = _count(_tables(found[0]))
    return Played(messages[:first], messages[first:], warm, _tables(found[0] + found[1]))


def _offline(half: ObserveEcg, messages: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    owners, values = Owners(0), []
    for i in range(0, len(messages), 32):
        records = [Record(Topic.ECG.value, 0, i, 0, key, value) for key, value in messages[i : i + 32]]
        products = half.process(records, owners)
        values += [m.value for m in products.messages if m.topic is Topic.FINDINGS and m.value is not None]
    return values


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2 if QUICK else 3)
    parser.add_argument("--only", nargs="+", help="names of contenders")
    parser.add_argument("--out", type=Path, default=Path("bench/reports/against_peers.json"))
    asked = parser.parse_args(argv)
    chosen = [c for c in CONTENDERS if not asked.only or c.name in asked.only]
    rounds: dict[str, list[dict[str, float]]] = {c.name: [] for c in chosen}
    with open_broker(None) as kafka:
        for number in range(asked.rounds):
            for contender in chosen:
                figures = measure(kafka, contender)
                rounds[contender.name].append(figures)
                print(f"round {number + 1}: {contender.name}: {json.dumps(figures)}", flush=True)
            report = reported(rounds)
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            asked.out.write_text(json.dumps(report, indent=2) + "\n")
            draw(report, asked.out.with_suffix(".png"))
    print(json.dumps(report["ratio_to"], indent=2))
    return 0


def measure(kafka: str, contender: Contender) -> dict[str, float]:
    """Raises ``AssertionError`` when its findings are not those of the corridor."""
    what = played(contender.load)
    delete_all_topics(kafka)
    create_topics(kafka)
    with tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as state, closing(_findings_from(kafka)) as consumer:
        _send(kafka, what.warming)
        with (Path(state) / "log").open("w+b") as log:
            command = [contender.python(), "-m", *contender.module]
            process = subprocess.Popen(command, env=_environment(kafka, state, contender), stdout=log, stderr=log)
            try:
                values: list[bytes] = []
                _wait(process, consumer, values, what.warm_findings)
                before_s = _cpu_s(process.pid)
                _send(kafka, what.messages)
                cpu_s = _wait(process, consumer, values, _count(what.findings)) - before_s
                memory_mb = round(trial.rss_mb(process.pid))
            except AssertionError:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace")[-3000:])
                raise
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
    patient_seconds = contender.load.patients * contender.load.seconds
    return {
        "patient_seconds_per_cpu_second": round(patient_seconds / cpu_s),
        "us_per_patient_second": round(1e6 * cpu_s / patient_seconds, 2),
        "cpu_s": round(cpu_s, 3),
        "rss_mb": memory_mb,
        "findings": _count(what.findings),
        "largest_difference": _compared(_tables(values), what.findings),
    }


def reported(rounds: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    rate = {name: [r["patient_seconds_per_cpu_second"] for r in figures] for name, figures in rounds.items()}
    ratios = {
        name: [round(a / b, 3) for a, b in zip(rate[ours], rate[theirs], strict=True)]
        for name, (ours, theirs) in RATIOS.items()
        if ours in rate and theirs in rate
    }
    return {
        "machine": {"cores": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("faust-streaming", "onnxruntime", "torch", "confluent-kafka")}
        | dict(line.split("==") for line in environment.PINS.read_text().split() if line.startswith(environment.PEERS)),
        "loads": {"bundles": vars(BUNDLES), "each": vars(EACH), "usual faust": vars(EACH_BRIEFLY)},
        "contenders": {
            name: {key: statistics.median(r[key] for r in figures) for key in figures[0]}
            for name, figures in rounds.items()
        },
        "rounds": rate,
        "ratio_to": {name: statistics.median(values) for name, values in ratios.items()},
        "ratio_by_round": ratios,
    }


def draw(report: dict[str, object], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415  only for the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    rounds = report["rounds"]
    assert isinstance(rounds, dict)
    names = sorted(rounds, key=lambda name: statistics.median(rounds[name]))
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(names) + 1))
    axes.barh(
        [name.replace(" each", ", a message a patient") for name in names],
        [statistics.median(rounds[name]) for name in names],
        color=["#1f6f8b" if name.startswith("wardwatch") else "#b8b8b8" for name in names],
    )
    for place, name in enumerate(names):
        axes.plot(rounds[name], [place] * len(rounds[name]), "k.", markersize=4)
    axes.set_xlabel("patients at one chunk a second, per core of the service")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _environment(kafka: str, state: str, contender: Contender) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WARDWATCH_")}
    ours = {
        "WARDWATCH_KAFKA": kafka,
        "WARDWATCH_STATE": state,
        "WARDWATCH_ROLE": "observe",
        "WARDWATCH_HTTP_PORT": str(free_ports(1)[0]),
        "WARDWATCH_ARCHIVE_SHARE": "0",
        "WARDWATCH_CHECKPOINT_S": str(contender.load.checkpoint_s),
    }
    checkpoint_s = str(contender.load.checkpoint_s)
    peers = {"KAFKA": kafka, "STATE": state, "CHECKPOINT_S": checkpoint_s}
    own = ours if contender.module == _WORKER else peers
    return {**inherited, **own, **contender.settings}


def _send(kafka: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "enable.idempotence": True,  # else a batch that is sent again comes after the next one
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 1 << 21,
        }
    )
    for key, value in messages:
        producer.produce(Topic.ECG.value, value, key, partition=crc32(key) % PARTITIONS)
        producer.poll(0)
    assert producer.flush(60) == 0, "the broker did not take the load"


def _findings_from(kafka: str) -> Consumer:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(Topic.FINDINGS.value, p, 0) for p in range(PARTITIONS)])
    return consumer


def _wait(process: subprocess.Popen[bytes], consumer: Consumer, values: list[bytes], findings: int) -> float:
    """CPU seconds of ``process`` when the last of so many findings had come; ``values`` takes the messages."""
    came_s, cpu_s, counted, there = time.monotonic(), 0.0, 0, 0
    while True:
        messages = consumer.consume(500, 0.05)
        if messages:
            came_s, cpu_s = time.monotonic(), _cpu_s(process.pid)
            values += [message.value() for message in messages if message.error() is None]
        elif time.monotonic() - came_s > _QUIET_S:
            there += sum(len(batch) for batch in decoded(values[counted:]))
            counted = len(values)
            if there >= findings:
                return cpu_s
            assert process.poll() is None, "the service ended by itself"
            assert time.monotonic() - came_s < _DEADLINE_S, f"{there} of {findings} findings came"


def _cpu_s(pid: int) -> float:
    assert not Path(f"/proc/{pid}/task/{pid}/children").read_text(), "a service with processes below it"
    return trial.cpu_s(pid)


def _tables(values: Iterable[bytes]) -> dict[Task, np.ndarray]:
    """float64[findings, …] of each task: patient, end, what else is said; sorted, a second copy left out."""
    parts: dict[Task, list[np.ndarray]] = {}
    for batch in decoded(values):
        if batch.task not in COMPARED:
            continue
        patient = np.array([int(name.rpartition("-")[2]) for name in batch.patients])[batch.row]
        said = np.array(batch.values, np.float64)
        rows = np.vstack([patient, batch.end_us, batch.known_us, batch.verdict, said]).T
        parts.setdefault(batch.task, []).append(rows)
    return {task: _unique(np.concatenate(rows)) for task, rows in parts.items()}


def _unique(rows: np.ndarray) -> np.ndarray:
    """By bytes: what is not known twice (NaN) is a second copy too."""
    _, first = np.unique(
        np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}").ravel(), return_index=True
    )
    return rows[first]


def _count(tables: dict[Task, np.ndarray]) -> int:
    return sum(map(len, tables.values()))


def _compared(found: dict[Task, np.ndarray], expected: dict[Task, np.ndarray]) -> float:
    """The largest difference. Raises ``AssertionError`` when it is not a matter of rounding."""
    assert found.keys() == expected.keys(), "findings of other tasks"
    largest = 0.0
    for task, table in expected.items():
        assert found[task].shape == table.shape, f"{task}: {len(found[task])} findings, not {len(table)}"
        assert np.allclose(found[task], table, rtol=0, atol=TOLERANCE, equal_nan=True), f"{task}: other findings"
        largest = max(largest, float(np.nanmax(np.abs(found[task] - table))))
    return largest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Patient-seconds per CPU-second: our worker, with gateway bundles and without, beside the usual per-event service.

One real Kafka, one run, the rounds interleaved: the ratios are the result, the absolute figures belong to this machine.
Every service works off the same backlog of real or simulated ECG (two leads, 360 Hz, one chunk a second for each
patient) with the same bundle and the same windows. CPU is the service's own process time for the backlog, once ten
seconds of the same patients have warmed it up.

    python -m bench.events_per_cpu [--patients 64] [--seconds 60] [--rounds 3] [--out out/events_per_cpu.json]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from models.registry import Registry
from stream.broker import JavaNode, create_topics, free_ports
from stream.brokerjars import cache_folder
from stream.gateways.schedule import Due, Pace, in_order
from stream.gateways.wfdb import Bed, bundles
from stream.modelslot import SHIPPED_BUNDLES
from stream.replay import Sender
from stream.topics import PARTITIONS, Topic
from tests.support.topics import delete_all_topics
from tests.support.ward import heart

_TICKS = os.sysconf("SC_CLK_TCK")
_QUIET_S = 4.0
_WARMING_S = 10
_BEDS_PER_GATEWAY = 32


@dataclass(frozen=True)
class Contender:
    name: str
    bundled: bool
    command: list[str]
    environment: Callable[[str, Path], dict[str, str]]


def _ours(kafka: str, state: Path) -> dict[str, str]:
    port = str(free_ports(1)[0])
    return {
        "WARDWATCH_KAFKA": kafka,
        "WARDWATCH_STATE": str(state),
        "WARDWATCH_ROLE": "observe",
        "WARDWATCH_HTTP_PORT": port,
        "WARDWATCH_ARCHIVE_SHARE": "0",
    }


def _usual(kafka: str, state: Path) -> dict[str, str]:
    return {"KAFKA": kafka, "REGISTRY": str(state / "registry")}


_WORKER = [sys.executable, "-m", "stream", "worker"]
CONTENDERS = (
    Contender("wardwatch, gateway bundles", True, _WORKER, _ours),
    Contender("wardwatch, one message per patient", False, _WORKER, _ours),
    Contender("usual Faust, one message per patient", False, [sys.executable, "-m", "bench.peers.usual_faust"], _usual),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/events_per_cpu.json"))
    asked = parser.parse_args()
    figures: dict[str, list[float]] = {c.name: [] for c in CONTENDERS}
    with JavaNode(cache_folder()) as node:
        for number in range(asked.rounds):
            for contender in CONTENDERS:
                rate = measure(node.bootstrap, contender, asked.patients, asked.seconds)
                figures[contender.name].append(rate)
                print(f"round {number + 1}: {contender.name}: {rate:,.0f} patient-seconds per CPU-second", flush=True)
    middle = {name: statistics.median(values) for name, values in figures.items()}
    usual = middle[CONTENDERS[-1].name]
    report = {
        "patients": asked.patients,
        "seconds": asked.seconds,
        "patient_seconds_per_cpu_second": figures,
        "times_the_usual": {name: round(value / usual, 2) for name, value in middle.items()},
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["times_the_usual"], indent=2))


def measure(kafka: str, contender: Contender, patients: int, seconds: int) -> float:
    delete_all_topics(kafka)
    create_topics(kafka)
    start_us = time.time_ns() // 1000 - seconds * 1_000_000
    beds = [Bed(f"bed-{i}", heart(seconds, 55 + i % 50, seed=i)) for i in range(patients)]
    groups = (
        [beds[i : i + _BEDS_PER_GATEWAY] for i in range(0, patients, _BEDS_PER_GATEWAY)]
        if contender.bundled
        else [[bed] for bed in beds]
    )
    schedules = [bundles(f"gateway-{i}", group, Pace(start_us, speed=1e9)) for i, group in enumerate(groups)]
    messages = list(in_order(schedules))
    warming = len(messages) * _WARMING_S // seconds
    with tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as folder:
        state = Path(folder)
        Registry.seeded(state / "registry", SHIPPED_BUNDLES)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WARDWATCH_")}
        process = subprocess.Popen(
            contender.command,
            env={**environment, **contender.environment(kafka, state)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _send(kafka, messages[:warming])
            before_s = _cpu_when_worked_off(kafka, process, there=0)
            events = _send(kafka, messages[warming:])
            return events / (_cpu_when_worked_off(kafka, process, there=_findings_there(kafka)) - before_s)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _send(kafka: str, messages: list[Due]) -> int:
    with closing(Sender(kafka)) as sender:
        for due in messages:
            sender.send(due)
    return sum(due.events for due in messages)


def _findings_there(kafka: str) -> int:
    with closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)) as consumer:
        return sum(consumer.end_offsets([TopicPartition(Topic.FINDINGS.value, p) for p in range(PARTITIONS)]).values())


def _cpu_when_worked_off(kafka: str, process: subprocess.Popen[bytes], there: int) -> float:
    """CPU seconds of the process at its last finding: more than ``there``, then none for four seconds."""
    with closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)) as consumer:
        partitions = [TopicPartition(Topic.FINDINGS.value, p) for p in range(PARTITIONS)]
        cpu_s, began, changed = 0.0, there, time.monotonic()
        while there == began or time.monotonic() - changed < _QUIET_S:
            now_there = sum(consumer.end_offsets(partitions).values())
            if now_there != there:
                there, changed, cpu_s = now_there, time.monotonic(), _cpu_s(process.pid)
            if process.poll() is not None:
                raise RuntimeError("the service ended by itself")
            time.sleep(0.02)
        return cpu_s


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()

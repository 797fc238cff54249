"""One trial: a broker, a worker and N patients for a while, each a process of its own, and what was seen of them.

Latencies are differences of the broker's own clock: from the record that completed a finding (or brought about an
alarm) to the record that it is in. They are read back when the trial is over, so that reading costs the trial nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from stream.broker import JavaNode, create_topics, free_ports
from stream.brokerjars import cache_folder
from stream.topics import PARTITIONS, Topic

Ints = npt.NDArray[np.int64]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_READY_S: Final = 240.0
_SAMPLE_S: Final = 2.0
_AFTER_S: Final = 3.0
FINDING_MS: Final = 1000.0
ALARM_MS: Final = 2000.0


class _Table(msgspec.Struct):
    task: str
    input_ms: list[int]


class _Findings(msgspec.Struct):
    tables: list[_Table]


class _Alert(msgspec.Struct):
    event: str
    input_ms: int


@dataclass(frozen=True)
class Trial:
    """``warm_s`` seconds that do not count, then ``seconds`` that do. ``settings``: of the worker, beside its usual;
    ``beside``: the command of one process more, which is told ``--kafka``.
    """

    patients: int
    seconds: int
    per_gateway: int = 100
    warm_s: int = 25
    settings: dict[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()


@dataclass
class Seen:
    """What a trial showed. Cores: CPU seconds a second. ``lag``: records of the ECG not taken yet, at every sample."""

    patients: int
    seconds: float
    findings: int
    images: int
    rhythm_findings_share: float
    alarms: int
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    p99_ms_by_minute: list[float]
    worker_cores: float
    worker_rss_mb: float
    broker_cores: float
    load_cores: float
    load_late_s: float
    lag: list[float]
    stages_s: dict[str, float]

    @property
    def us_per_patient_second(self) -> float:
        return 1e6 * self.worker_cores / self.patients

    def falls_short(self) -> str:
        """Why this many patients are too many; empty when they are not."""
        third = max(1, len(self.lag) // 3)
        records_a_second = self.patients / 100
        if self.p99_ms["chunk_to_finding"] >= FINDING_MS:
            return f"p99 to a finding {self.p99_ms['chunk_to_finding']:.0f} ms"
        if self.p99_ms["chunk_to_alarm"] >= ALARM_MS:
            return f"p99 to an alarm {self.p99_ms['chunk_to_alarm']:.0f} ms"
        if np.mean(self.lag[-third:]) > np.mean(self.lag[:third]) + max(8.0, records_a_second):
            return "the lag grows"
        if self.rhythm_findings_share < 0.97:
            return f"{self.rhythm_findings_share:.1%} of the rhythm windows are there"
        if self.load_late_s > 1.0:
            return f"the load itself was {self.load_late_s:.1f} s late"
        return ""


def run(trial: Trial) -> Seen:
    """Start everything, play, stop everything, read back."""
    with JavaNode(cache_folder()) as node, tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as folder:
        create_topics(node.bootstrap)
        with _Worker(node.bootstrap, Path(folder), trial) as worker:
            load = _start_load(node.bootstrap, trial)
            beside = subprocess.Popen([*trial.beside, "--kafka", node.bootstrap]) if trial.beside else None
            assert node._process is not None
            pids = {"worker": worker.pid, "broker": node._process.pid, "load": load.pid}
            time.sleep(trial.warm_s)
            began_ms, before, began_s = time.time() * 1000, _cpu_s(pids), time.monotonic()
            stages = worker.stages_s()
            lag, rss_mb = [], 0.0
            while load.poll() is None and time.monotonic() - began_s < trial.seconds:
                time.sleep(_SAMPLE_S)
                lag.append(worker.lag())
                rss_mb = max(rss_mb, _rss_mb(worker.pid))
            spent_s = time.monotonic() - began_s
            after = _cpu_s(pids)
            ended_ms = time.time() * 1000
            stages = {name: value - stages.get(name, 0.0) for name, value in worker.stages_s().items()}
            said = msgspec.json.decode(load.communicate(timeout=60)[0])
            if beside is not None:
                beside.terminate()
                beside.wait(30)
            time.sleep(_AFTER_S)
        to_finding, counts, when = _to_finding(node.bootstrap, began_ms, ended_ms)
        to_alarm = _to_alarm(node.bootstrap, began_ms, ended_ms)
    cores = {name: (after[name] - before[name]) / spent_s for name in pids}
    both = {"chunk_to_finding": to_finding, "chunk_to_alarm": to_alarm}
    return Seen(
        patients=trial.patients,
        seconds=round(spent_s, 1),
        findings=len(to_finding),
        images=counts["pneumonia"],
        rhythm_findings_share=counts["ecg-rhythm"] / (trial.patients * (ended_ms - began_ms) / 1000),
        alarms=len(to_alarm),
        p50_ms={name: _percentile(values, 50) for name, values in both.items()},
        p99_ms={name: _percentile(values, 99) for name, values in both.items()},
        p99_ms_by_minute=[
            _percentile(to_finding[(when >= at) & (when < at + 60_000)], 99)
            for at in np.arange(began_ms, ended_ms - 1000, 60_000)
        ],
        worker_cores=cores["worker"],
        worker_rss_mb=rss_mb,
        broker_cores=cores["broker"],
        load_cores=cores["load"],
        load_late_s=said["late_s"],
        lag=lag,
        stages_s=stages,
    )


class _Worker:
    """``python -m stream worker`` in the role that does everything, the ward board included."""

    def __init__(self, kafka: str, folder: Path, trial: Trial) -> None:
        self._port = free_ports(1)[0]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WARDWATCH_")}
        told = {"kafka": kafka, "state": str(folder), "http_port": str(self._port), "worker_id": "bench"}
        told |= {"max_patients": str(max(20_000, 2 * trial.patients)), **trial.settings}
        self._environment = environment | {f"WARDWATCH_{name.upper()}": value for name, value in told.items()}
        self._log = folder / "worker.log"

    def __enter__(self) -> _Worker:
        with self._log.open("wb") as log:
            argv = [sys.executable, "-m", "stream", "worker"]
            self._process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)
        self.pid = self._process.pid
        end = time.monotonic() + _READY_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the worker is not ready: {self._log.read_text()[-2000:]}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        ended = self._process.poll()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        if ended is not None:
            raise RuntimeError(f"the worker ended by itself: {self._log.read_text()[-2000:]}")

    def lag(self) -> float:
        return sum(value for labels, value in self._samples("wardwatch_lag_records") if labels["topic"] == Topic.ECG)

    def stages_s(self) -> dict[str, float]:
        return {labels["stage"]: value for labels, value in self._samples("wardwatch_stage_seconds_sum")}

    def _samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for family in text_string_to_metric_families(self._get("/metrics")):
            for sample in family.samples:
                if sample.name == name:
                    yield sample.labels, sample.value

    def _is_ready(self) -> bool:
        try:
            return bool(self._get("/health/ready"))
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=20) as answer:
            return str(answer.read().decode())


def _start_load(kafka: str, trial: Trial) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "bench.load", "--kafka", kafka, "--patients", str(trial.patients)]
    argv += ["--seconds", str(trial.warm_s + trial.seconds), "--per-gateway", str(trial.per_gateway)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


def _to_finding(kafka: str, began_ms: float, ended_ms: float) -> tuple[Ints, Counter[str], Ints]:
    """Of the findings of an ECG milliseconds from record to finding and when it was written; how many of each task."""
    decode = msgspec.msgpack.Decoder(_Findings).decode
    parts: list[Ints] = [np.empty(0, np.int64)]
    when: list[Ints] = [np.empty(0, np.int64)]
    counts: Counter[str] = Counter()
    for at_ms, value in _records(kafka, Topic.FINDINGS, began_ms, ended_ms):
        for table in decode(value).tables:
            counts[table.task] += len(table.input_ms)
            if table.task.startswith("ecg"):
                parts.append(at_ms - np.array(table.input_ms, np.int64))
                when.append(np.full(len(table.input_ms), at_ms))
    return np.concatenate(parts), counts, np.concatenate(when)


def _to_alarm(kafka: str, began_ms: float, ended_ms: float) -> Ints:
    decode = msgspec.msgpack.Decoder(_Alert).decode
    alerts = ((at_ms, decode(value)) for at_ms, value in _records(kafka, Topic.ALERTS, began_ms, ended_ms))
    return np.array([at_ms - a.input_ms for at_ms, a in alerts if a.event == "raised" and a.input_ms], np.int64)


def _records(kafka: str, topic: Topic, began_ms: float, ended_ms: float) -> Iterator[tuple[int, bytes]]:
    settings = {"bootstrap.servers": kafka, "group.id": "bench", "enable.auto.commit": False, "log_level": 0}
    with closing(Consumer(settings)) as consumer:
        wanted = [TopicPartition(topic.value, p, round(began_ms)) for p in range(PARTITIONS)]
        start = consumer.offsets_for_times(wanted, 30.0)
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic.value, p), 30.0)[1] for p in range(PARTITIONS)}
        left = {tp.partition for tp in start if 0 <= tp.offset < ends[tp.partition]}
        consumer.assign([tp for tp in start if tp.partition in left])
        while left:
            for record in consumer.consume(500, 1.0):
                if record.timestamp()[1] <= ended_ms:
                    yield record.timestamp()[1], record.value()
                if record.offset() >= ends[record.partition()] - 1:
                    left.discard(record.partition())


def _percentile(values: Ints, q: float) -> float:
    return round(float(np.percentile(values, q)), 1) if len(values) else float("nan")


def _cpu_s(pids: dict[str, int]) -> dict[str, float]:
    return {name: cpu_s(pid) for name, pid in pids.items()}


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

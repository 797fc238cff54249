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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prometheus_client.parser import text_string_to_metric_families

from stream.broker import JavaNode, create_topics, free_ports
from stream.brokerjars import cache_folder
from stream.topics import PARTITIONS, Topic
from vitals.conditions import RULES, Condition
from vitals.findings import Task

Ints = npt.NDArray[np.int64]

_READY_S: Final = 240.0
_SAMPLE_S: Final = 2.0
_AFTER_S: Final = 3.0
_RETENTION: Final = ("retention.bytes", "retention.ms")
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
    condition: Condition | None = None

    @property
    def is_of_a_chunk(self) -> bool:
        """An ECG chunk raised it; an image or a flood of other alarms has its own time."""
        return self.condition is not None and RULES[self.condition].task in (Task.ECG_BEAT, Task.ECG_RHYTHM)


@dataclass(frozen=True)
class Trial:
    """``warm_s`` seconds that do not count, then ``seconds`` that do. ``settings``: of the workers, beside their usual;
    ``beside``: the command of one process more, which is told ``--kafka``, and starts when it begins to count.
    """

    patients: int
    seconds: int
    per_gateway: int = 100
    workers: int = 1
    warm_s: int = 25
    bucket_s: int = 60
    settings: dict[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()


@dataclass
class Sample:
    """The worker at one moment. ``lag``: records of the ECG not taken yet; ``step``: of overload."""

    at_s: float
    rss_mb: float
    files: int
    lag: float
    step: int


@dataclass
class Bucket:
    """What was completed in ``bucket_s`` seconds from ``at_s`` on: milliseconds from chunk to finding and to alarm."""

    at_s: float
    findings: int
    alarms: int
    p99_ms: dict[str, float]


@dataclass
class Seen:
    """What a trial showed. Cores: CPU seconds a second; of several workers the sum, as of their memory. ``samples`` are
    of the first of them.
    """

    patients: int
    seconds: float
    findings: int
    images: int
    rhythm_findings_share: float
    alarms: int
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    worker_cores: float
    worker_rss_mb: float
    broker_cores: float
    load_cores: float
    load_late_s: float
    stages_s: dict[str, float]
    samples: list[Sample]
    buckets: list[Bucket]

    @property
    def us_per_patient_second(self) -> float:
        return 1e6 * self.worker_cores / self.patients

    def falls_short(self) -> str:
        """Why this many patients are too many; empty when they are not."""
        lag = [sample.lag for sample in self.samples]
        third = max(1, len(lag) // 3)
        records_a_second = self.patients / 100
        to_finding_ms, to_alarm_ms = self.p99_ms["chunk_to_finding"], self.p99_ms["chunk_to_alarm"]
        reasons = {
            "overload gave something up": any(sample.step for sample in self.samples),
            f"p99 to a finding {to_finding_ms:.0f} ms": to_finding_ms >= FINDING_MS,
            f"p99 to an alarm {to_alarm_ms:.0f} ms": to_alarm_ms >= ALARM_MS,
            "the lag grows": np.mean(lag[-third:]) > np.mean(lag[:third]) + max(8.0, records_a_second),
            f"{self.rhythm_findings_share:.1%} of the rhythm windows are there": self.rhythm_findings_share < 0.97,
            f"the load itself was {self.load_late_s:.1f} s late": self.load_late_s > 1.0,
        }
        return next((why for why, is_so in reasons.items() if is_so), "")


def run(trial: Trial) -> Seen:
    """Start everything, play, stop everything, read back."""
    with JavaNode(cache_folder()) as node, tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as folder:
        create_topics(node.bootstrap)
        keep_all(node.bootstrap)
        with ExitStack() as stack:
            workers = [
                stack.enter_context(Worker(node.bootstrap, Path(folder) / str(number), trial))
                for number in range(trial.workers)
            ]
            load = stack.enter_context(running(load_of(trial), node.bootstrap))
            assert node._process is not None
            pids = {"worker": [w.pid for w in workers], "broker": [node._process.pid], "load": [load.pid]}
            time.sleep(trial.warm_s)
            if trial.beside:
                stack.enter_context(running(trial.beside, node.bootstrap))
            began_ms, before, began_s = time.time() * 1000, _cpu_s(pids), time.monotonic()
            stages = workers[0].stages_s()
            samples = []
            while load.poll() is None and time.monotonic() - began_s < trial.seconds:
                time.sleep(_SAMPLE_S)
                samples.append(workers[0].sample(time.monotonic() - began_s))
            spent_s = time.monotonic() - began_s
            after = _cpu_s(pids)
            ended_ms = time.time() * 1000
            stages = {name: value - stages.get(name, 0.0) for name, value in workers[0].stages_s().items()}
            rss = sum(rss_mb(one.pid) for one in workers[1:])
            said = msgspec.json.decode(load.communicate(timeout=60)[0])
            time.sleep(_AFTER_S)
        to_finding, finding_ms, counts = findings_of(node.bootstrap, began_ms, ended_ms)
        to_alarm, alarm_ms = _alarms_of(node.bootstrap, began_ms, ended_ms)
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
        worker_cores=cores["worker"],
        worker_rss_mb=rss + max(sample.rss_mb for sample in samples),
        broker_cores=cores["broker"],
        load_cores=cores["load"],
        load_late_s=said["late_s"],
        stages_s=stages,
        samples=samples,
        buckets=[
            _bucket(
                at_ms,
                began_ms,
                trial.bucket_s,
                {"chunk_to_finding": (to_finding, finding_ms), "chunk_to_alarm": (to_alarm, alarm_ms)},
            )
            for at_ms in np.arange(began_ms, ended_ms - 1000, 1000 * trial.bucket_s)
        ],
    )


def _bucket(at_ms: float, began_ms: float, seconds: int, both: dict[str, tuple[Ints, Ints]]) -> Bucket:
    within = {name: took[(when >= at_ms) & (when < at_ms + 1000 * seconds)] for name, (took, when) in both.items()}
    return Bucket(
        at_s=round((at_ms - began_ms) / 1000),
        findings=len(within["chunk_to_finding"]),
        alarms=len(within["chunk_to_alarm"]),
        p99_ms={name: _percentile(took, 99) for name, took in within.items()},
    )


class Worker:
    """``python -m stream worker`` in the role that does everything, the ward board included."""

    def __init__(self, kafka: str, folder: Path, trial: Trial) -> None:
        folder.mkdir(exist_ok=True)
        self._port = free_ports(1)[0]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WARDWATCH_")}
        told = {"kafka": kafka, "state": str(folder), "http_port": str(self._port), "worker_id": folder.name}
        told |= {"max_patients": str(max(20_000, 2 * trial.patients)), **trial.settings}
        self._environment = environment | {f"WARDWATCH_{name.upper()}": value for name, value in told.items()}
        self._log = folder / "worker.log"

    def __enter__(self) -> Worker:
        self.start()
        return self

    def start(self) -> None:
        """Returns when it is ready."""
        with self._log.open("wb") as log:
            argv = [sys.executable, "-m", "stream", "worker"]
            self._process = subprocess.Popen(argv, env=self._environment, stdout=log, stderr=log)
        self.pid = self._process.pid
        end = time.monotonic() + _READY_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the worker is not ready: {self.said()}")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        ended = self._process.poll()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        if ended is not None:
            raise RuntimeError(f"the worker ended by itself: {self.said()}")

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text()[-2000:]

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def sample(self, at_s: float) -> Sample:
        seen = {"wardwatch_lag_records": 0.0, "wardwatch_overload_step": 0.0}
        for family in text_string_to_metric_families(self._get("/metrics")):
            if family.name in seen:
                ours = (one for one in family.samples if one.labels.get("topic", Topic.ECG) == Topic.ECG)
                seen[family.name] = sum(one.value for one in ours)
        files = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        lag, step = seen.values()
        return Sample(round(at_s, 1), round(rss_mb(self.pid), 1), files, lag, int(step))

    def total(self, name: str, **labels: str) -> float:
        """Sum of a metric over all samples that carry ``labels``."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self._get("/metrics"))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def stages_s(self) -> dict[str, float]:
        return {
            sample.labels["stage"]: sample.value
            for family in text_string_to_metric_families(self._get("/metrics"))
            for sample in family.samples
            if sample.name == "wardwatch_stage_seconds_sum"
        }

    def _is_ready(self) -> bool:
        try:
            return bool(self._get("/health/ready"))
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=20) as answer:
            return str(answer.read().decode())


def keep_all(kafka: str, topics: tuple[Topic, ...] = (Topic.FINDINGS, Topic.ALERTS)) -> None:
    """What is read back at the end must not be thrown away before: the findings and alarms."""
    keep = [ConfigEntry(name, "-1", incremental_operation=AlterConfigOpType.SET) for name in _RETENTION]
    resources = [ConfigResource(ResourceType.TOPIC, topic.value, incremental_configs=keep) for topic in topics]
    admin = AdminClient({"bootstrap.servers": kafka})
    for done in admin.incremental_alter_configs(resources).values():
        done.result(30)


def load_of(trial: Trial) -> tuple[str, ...]:
    """The command of the trial's load."""
    argv = (sys.executable, "-m", "bench.load", "--patients", str(trial.patients))
    return (*argv, "--seconds", str(trial.warm_s + trial.seconds), "--per-gateway", str(trial.per_gateway))


@contextmanager
def running(argv: tuple[str, ...], kafka: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the block; it is told ``--kafka``."""
    with subprocess.Popen([*argv, "--kafka", kafka], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def findings_of(kafka: str, began_ms: float, ended_ms: float) -> tuple[Ints, Ints, Counter[str]]:
    """Of the findings of an ECG milliseconds from record to finding and when it was written; how many of each task."""
    decode = msgspec.msgpack.Decoder(_Findings).decode
    parts: list[Ints] = [np.empty(0, np.int64)]
    when: list[Ints] = [np.empty(0, np.int64)]
    counts: Counter[str] = Counter()
    for record in records(kafka, Topic.FINDINGS, began_ms, ended_ms):
        at_ms = record.timestamp()[1]
        for table in decode(record.value()).tables:
            counts[table.task] += len(table.input_ms)
            if table.task.startswith("ecg"):
                parts.append((at_ms - np.array(table.input_ms, np.int64)).astype(np.int32))
                when.append(np.full(len(table.input_ms), at_ms))
    return np.concatenate(parts), np.concatenate(when), counts


def _alarms_of(kafka: str, began_ms: float, ended_ms: float) -> tuple[Ints, Ints]:
    decode = msgspec.msgpack.Decoder(_Alert).decode
    written = records(kafka, Topic.ALERTS, began_ms, ended_ms)
    alerts = ((record.timestamp()[1], decode(record.value())) for record in written)
    raised = [
        (at_ms - a.input_ms, at_ms) for at_ms, a in alerts if a.event == "raised" and a.input_ms and a.is_of_a_chunk
    ]
    took, when = np.array(raised, np.int64).reshape(-1, 2).T
    return took, when


def records(kafka: str, topic: Topic, began_ms: float, ended_ms: float) -> Iterator[Message]:
    """What was written between two moments of the broker's clock, in the order of each partition."""
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
                    yield record
                if record.offset() >= ends[record.partition()] - 1:
                    left.discard(record.partition())


def _percentile(values: Ints, q: float) -> float:
    return round(float(np.percentile(values, q)), 1) if len(values) else float("nan")


def _cpu_s(pids: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(map(cpu_s, some)) for name, some in pids.items()}


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, to the nanosecond (CPUCLOCK_SCHED of <linux/posix-timers.h>)."""
    return time.clock_gettime((~pid << 3) | 2)


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

"""The demo's trainer, beside the worker: what is labelled on the ward teaches a model, which is let in and serves.

Then somebody spoils the labels that are learnt from, and the gate keeps that model out. The trainer is a program of its
own, known here by its command line, its topics and its metrics only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from stream import children
from stream.gateways.schedule import Due
from stream.rehearsal import scanner
from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.errors import Fault
from vitals.events import GateVerdict
from vitals.findings import Task

_TASK: Final = Task.BREAST
_LABELS: Final = 60
_STOP_GRACE_S: Final = 5.0
_AGAIN_S: Final = 20.0
_BUSY: Final = 1
_SHORT: Final = 12


class Training:
    """Runs from ``__enter__`` to ``__exit__``. ``released``: bundles that were let in; ``refused``: reasons by turn."""

    def __init__(self, bootstrap: str, folder: Path, metrics_port: int, say: Callable[[str], None]) -> None:
        self.log = folder / "trainer.log"
        self.metrics = f"http://127.0.0.1:{metrics_port}/metrics"
        self.released: list[str] = []
        self.refused: list[list[str]] = []
        self.served: str | None = None
        self._bootstrap, self._folder, self._port, self._say = bootstrap, folder, metrics_port, say
        self._stack = ExitStack()
        self._sabotage: subprocess.Popen[bytes] | None = None
        self._sabotage_after = 0.0

    @staticmethod
    def told(folder: Path) -> dict[str, str]:
        """What the worker is told: a registry that ends with the demo, and that every window goes to the archive."""
        return {"WARDWATCH_REGISTRY": str(folder / "registry"), "WARDWATCH_ARCHIVE_SHARE": "1"}

    def __enter__(self) -> Self:
        scanner.write_sets(self._folder / "data", self._folder / "sabotaged")
        self._output = self._stack.enter_context(self.log.open("wb"))
        self._consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        self._stack.callback(self._consumer.close)
        self._consumer.assign([TopicPartition(Topic.GATE.value, p) for p in range(PARTITIONS)])
        self._consumer.seek_to_end()
        for partition in self._consumer.assignment():
            self._consumer.position(partition)
        self._watch = self._start("data", "watch", "--every-h", "0", "--labels", str(_LABELS),
                                  "--metrics-port", str(self._port))  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._watch, self._sabotage):
            if process is not None:
                children.stop(process, _STOP_GRACE_S)
        self._stack.close()

    def schedules(self, start_us: int, speed: float) -> list[Iterator[Due]]:
        """What is taken and read meanwhile."""
        return scanner.schedules(start_us, speed)

    def look_after(self, worker_metrics: str) -> None:
        """Says what the gate said and what serves; has the labels spoilt once a model of the ward serves."""
        if self._watch.poll() is not None:
            raise Fault(f"the trainer ended; see {self.log}")
        for batch in self._consumer.poll(timeout_ms=0).values():
            for record in batch:
                self._take(codec.decode(GateVerdict, record.value))
        serving = _serving(worker_metrics)
        if self.released and serving != self.served and self.released[-1].startswith(serving):
            self.served = serving
            self._say(f"Served      {_TASK} model {serving}, from one batch to the next")
        if self.served is not None and not self.refused:
            self._spoil()

    def missing(self) -> list[str]:
        """What should have been seen and was not."""
        gaps = []
        if self.served is None:
            gaps.append("no model that learnt on the ward came to serve it")
        if not self.refused:
            gaps.append("no spoilt model was refused")
        return gaps

    def _take(self, verdict: GateVerdict) -> None:
        if verdict.bundle:
            self.released.append(verdict.bundle)
            self._say(f"Trained     {verdict.task}, because of {verdict.why}: let in as {verdict.bundle[:_SHORT]}")
            return
        self.refused.append(verdict.refused)
        self._say(f"Refused     a {verdict.task} model ({verdict.why})")
        for reason in verdict.refused:
            self._say(f"            {reason}")

    def _spoil(self) -> None:
        if self._sabotage is not None and self._sabotage.poll() == _BUSY:
            self._sabotage, self._sabotage_after = None, time.monotonic() + _AGAIN_S
        if self._sabotage is None and time.monotonic() >= self._sabotage_after:
            self._say("Sabotage    a model learns from labels that were turned round")
            self._sabotage = self._start("sabotaged", "once", "--fresh")

    def _start(self, data: str, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        told = {
            "WARDWATCH_DATA": str(self._folder / data),
            "WARDWATCH_STATE": str(self._folder / "state"),
            "WARDWATCH_REGISTRY": str(self._folder / "registry"),
        }
        common = ("--task", _TASK, "--quick", "--threads", "1", "--kafka", self._bootstrap)
        argv = [sys.executable, "-m", "trainer", command, *common, *arguments]
        return children.start(argv, output=self._output, env=told)


def fresh_folder() -> Path:
    """Where the demo's trainer works: emptied each time, so that it begins from what came with the program."""
    folder = Path(os.environ.get("WARDWATCH_STATE", ".wardwatch")) / "demo-training"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _serving(metrics: str) -> str:
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "wardwatch_model_info" and sample.labels["task"] == _TASK and sample.value:
                return sample.labels["bundle"]
    return ""

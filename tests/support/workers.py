"""A real worker process, started on a free port and stopped, killed or watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from stream.broker import free_ports

_DEADLINE_S = 90.0
_COLD_START_S = 240.0  # the first worker on a machine compiles the signal path
_PROJECT = Path(__file__).resolve().parents[2]


def environment_of(kafka: str, state: Path, port: int, settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, with the settings of a worker that saves every second instead of those that a person may have set."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("WARDWATCH_")},
        "WARDWATCH_KAFKA": kafka,
        "WARDWATCH_STATE": str(state),
        "WARDWATCH_HTTP_PORT": str(port),
        "WARDWATCH_CHECKPOINT_S": "1",
        **{f"WARDWATCH_{name.upper()}": value for name, value in settings.items()},
    }


class WorkerProcess:
    """``python -m stream worker`` with settings of its own. ``state`` outlives it, as a pod's volume would."""

    command = "worker"

    def __init__(self, kafka: str, state: Path, **settings: str) -> None:
        self.port = free_ports(1)[0]
        self.log = state / f"{self.command}.log"
        self._environment = environment_of(kafka, state, self.port, {"worker_id": "test", **settings})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.begin()
        try:
            self.wait_until(self.is_ready, "ready", _COLD_START_S)
        except BaseException:
            self.kill()
            raise
        return self

    def begin(self) -> None:
        """Start it, and do not wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream", self.command],
                cwd=_PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL, as the kernel does it when memory runs out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """SIGTERM, as an orchestrator does it. The exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)

    def wait(self) -> int:
        """The exit status of a worker that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=_DEADLINE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        try:
            return self.get("/health/ready")[0] == 200
        except OSError:
            return False

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Values of one metric by its labels' values, in the order of the labels' names."""
        found: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name:
                    found[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
        return found

    def total(self, name: str, *labels: str) -> float:
        """Sum of a metric over all samples that carry ``labels``."""
        return sum(value for key, value in self.samples(name).items() if set(labels) <= set(key))

    def wait_until(self, condition: object, what: str, deadline_s: float = _DEADLINE_S) -> None:
        assert callable(condition)
        assert self._process is not None
        end = time.monotonic() + deadline_s
        while not condition():
            if self._process.poll() is not None:
                raise AssertionError(f"the worker ended with {self._process.returncode}: {self.log_tail()}")
            if time.monotonic() > end:
                raise AssertionError(f"not {what} within {deadline_s:g} s: {self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


class StripsProcess(WorkerProcess):
    """``python -m stream strips``, the same way."""

    command = "strips"

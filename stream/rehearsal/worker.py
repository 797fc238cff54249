"""The demo's one worker: a process of its own, told by the environment, asked over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self

from stream import children
from vitals.errors import Fault

_HOST: Final = "127.0.0.1"
_READY_DEADLINE_S: Final = 240.0
"""The first start on a machine compiles every kernel of the signal path."""
_TELL_EVERY_S: Final = 10.0
_STOP_GRACE_S: Final = 12.0
_ASK_TIMEOUT_S: Final = 5.0
CLOCK_AHEAD_S: Final = 86_400
"""Faster than real time, events come from the future; the worker must take them."""


class DemoWorker:
    """Runs from ``__enter__`` to ``__exit__``; what it says goes to ``log``. ``told``: further settings."""

    def __init__(self, bootstrap: str, port: int, told: Mapping[str, str] | None = None) -> None:
        self.address = f"http://{_HOST}:{port}"
        self.log = Path(os.environ.get("WARDWATCH_STATE", ".wardwatch")) / "demo-worker.log"
        self._told = {
            "WARDWATCH_KAFKA": bootstrap,
            "WARDWATCH_ROLE": "all",
            "WARDWATCH_HTTP_HOST": _HOST,
            "WARDWATCH_HTTP_PORT": str(port),
            "WARDWATCH_WORKER_ID": f"demo-{os.getpid()}",
            "WARDWATCH_CLOCK_AHEAD_S": str(CLOCK_AHEAD_S),
            **(told or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._output = self.log.open("wb")
        argv = [sys.executable, "-m", "stream", "worker"]
        self._process = children.start(argv, output=self._output, env=self._told)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            children.stop(self._process, _STOP_GRACE_S)
        if self._output is not None:
            self._output.close()

    def must_run(self) -> None:
        """Raises ``Fault`` with the end of its log when the worker has ended."""
        if self._process is None or self._process.poll() is not None:
            said = self.log.read_text(errors="replace").strip().splitlines()[-8:]
            raise Fault("\n  ".join([f"The worker ended; its log ({self.log}) ends:", *said]))

    def wait_until_ready(self, still: Callable[[float], None]) -> None:
        """Returns when the worker has its state and takes records; meanwhile tells ``still`` how many seconds it waits.

        Raises ``Fault`` when that does not come about.
        """
        begin = told = time.monotonic()
        while (now := time.monotonic()) < begin + _READY_DEADLINE_S:
            self.must_run()
            with suppress(OSError):
                self._ask("/health/ready")
                return
            if now >= told + _TELL_EVERY_S:
                told = now
                still(now - begin)
            time.sleep(0.1)
        raise Fault(f"the worker was not ready within {_READY_DEADLINE_S:g} s; see {self.log}")

    def metrics(self) -> str:
        """The text of ``/metrics``. Raises ``Fault`` when the worker does not answer."""
        try:
            return self._ask("/metrics")
        except OSError as error:
            self.must_run()
            raise Fault(f"the worker does not answer: {error}") from error

    def _ask(self, path: str) -> str:
        """Raises ``OSError`` (``URLError``, also for a status that is not 200)."""
        with urllib.request.urlopen(self.address + path, timeout=_ASK_TIMEOUT_S) as answer:  # noqa: S310  our own
            text: str = answer.read().decode()
            return text

"""Workers at their posts: each is started again as soon as it ends, as an orchestrator would do it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.broker import free_ports
from tests.support.workers import environment_of

_PROJECT: Final = Path(__file__).resolve().parents[2]
_POLL_S: Final = 0.02
_BACK_OFF_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Life:
    """One process: when it began and ended (seconds of the epoch) and with which status."""

    began_s: float
    ended_s: float
    status: int


@dataclass(slots=True)
class Post:
    """One worker with a name of its own. ``program``: what is run; a test main may take the place of the worker."""

    kafka: str
    state: Path
    name: str
    program: tuple[str, ...] = ("stream", "worker")
    settings: dict[str, str] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _leave: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    @property
    def log(self) -> Path:
        return self.state / f"{self.name}.log"

    def man(self) -> None:
        """Keep a process here from now on."""
        self.port = self.port or free_ports(1)[0]
        self._leave.clear()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that is here now."""
        if self._process is not None:
            self._process.send_signal(number)

    def leave(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the process and start no other."""
        self._leave.set()
        self.send(number)
        if self._keeper is not None:
            self._keeper.join()

    def began_after(self, when_s: float, deadline_s: float = 60.0) -> float:
        """When the process that follows on ``when_s`` was started."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for life in self.lives:
                if life.began_s > when_s:
                    return life.began_s
            if self._began_s > when_s:
                return self._began_s
            time.sleep(_POLL_S)
        raise AssertionError(f"nobody took the post again: {self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    _began_s: float = 0.0

    def _keep(self) -> None:
        while not self._leave.is_set():
            self._began_s = time.time()
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *self.program],
                    cwd=_PROJECT,
                    env=environment_of(self.kafka, self.state, self.port, {"worker_id": self.name, **self.settings}),
                    stdout=log,
                    stderr=log,
                )
            status = self._process.wait()
            self.lives.append(Life(self._began_s, time.time(), status))
            if time.time() - self._began_s < _BACK_OFF_S:
                self._leave.wait(_BACK_OFF_S)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

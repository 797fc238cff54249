"""Processes of ours that must not outlive us: started in a session of their own, killed by the kernel when we die.

A session of their own, because Ctrl-C reaches every process of the terminal's group at once and we want to stop them in
order. On Linux the kernel kills a child when the *thread* that started it ends, so start children from the main thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_AGAIN_S = 0.05
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    argv: Sequence[str],
    *,
    output: IO[bytes] | int | None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts ``argv``; both its outputs go to ``output`` (``None``: ours). ``env`` is added to our environment."""
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509  one prctl call, no lock is taken between fork and exec
    )


def stop(process: subprocess.Popen[bytes], grace_s: float) -> int:
    """Ends the process and its group: SIGTERM, then SIGKILL after ``grace_s``. Returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[threading.Event]:
    """SIGTERM, SIGHUP and SIGINT raise ``KeyboardInterrupt``, so that every ``finally`` runs. Main thread only.

    SIGINT too: a shell that starts us in the background has it ignored, and Python then leaves it so. The Kafka client
    runs a loop of its own inside its calls, which swallows whatever is raised there and may then wait for ever for what
    it dropped: a signal that comes inside it is raised once the call is over. The event says at once that one came.
    """
    came = threading.Event()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        came.set()
        if _inside_kafka(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            raise KeyboardInterrupt(signal.Signals(signum).name)

    caught = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM)
    before = {signum: signal.signal(signum, interrupt) for signum in caught}
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _inside_kafka(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "kafka":
            return True
        frame = frame.f_back
    return False

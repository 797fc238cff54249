"""The demo as a person starts and ends it: a real Kafka, a real worker, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

ROOT = Path(__file__).resolve().parents[2]
_DEADLINE_S = 300.0
"""The first start on a machine compiles the signal path."""


@contextmanager
def _demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m stream demo`` without recordings, with its working files in ``folder``."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "TMPDIR": str(folder),
            "WARDWATCH_STATE": str(folder / "state"),
            "WARDWATCH_DATA": str(folder),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    try:
        yield demo
    finally:
        if demo.poll() is None:
            demo.kill()
        demo.wait()
        demo.stdout.close()


def _read_until(demo: subprocess.Popen[str], word: str) -> str:
    assert demo.stdout is not None
    end = time.monotonic() + _DEADLINE_S
    said = []
    for line in demo.stdout:
        said.append(line)
        if word in line:
            return line
        if time.monotonic() > end:
            break
    raise AssertionError(f"{word!r} was not said: {''.join(said)[-2000:]}")


def _processes_of(folder: Path) -> list[str]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in environ.read_bytes():
                found.append(environ.parent.name)
        except OSError:
            continue
    return found


def _command(pid: str) -> str:
    return Path("/proc", pid, "cmdline").read_bytes().decode()


def _nobody_listens_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_without_a_person_it_checks_the_laws_and_writes_the_report(kafka_topics: str, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    with _demo(tmp_path, "--kafka", kafka_topics, "--for", "12", "--speed", "2", "--report", str(report)) as demo:
        said, _ = demo.communicate(timeout=_DEADLINE_S)
    assert demo.returncode == 0, said[-2000:]
    assert "The laws hold." in said
    made = json.loads(report.read_text())
    assert made["conserved"]
    assert made["patients"] >= 12
    assert min(made["events"].values()) > 0
    ended = made["outcomes"]
    total = ended["scored"] + ended["waiting"] + sum((*ended["dropped"].values(), *ended["dead_lettered"].values()))
    assert "clock-ahead" not in ended["dead_lettered"], "what is faster than the clock is taken in the demo"
    assert total == sum(made["events"].values())
    assert made["alerts"]["raised"] > 0
    assert set(made["models"]) == {"ecg-beat", "ecg-rhythm", "ecg-af", "glucose", "pneumonia", "breast"}
    assert 0 < made["latency_ms"]["event_to_finding"]["p50"] <= made["latency_ms"]["event_to_finding"]["p99"]
    assert not _processes_of(tmp_path)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_it_leaves_no_process_no_port_and_no_data(tmp_path: Path, ending: signal.Signals) -> None:
    with _demo(tmp_path) as demo:
        kafka = int(_read_until(demo, "Kafka  ").rpartition(":")[2])
        board = int(_read_until(demo, "Ward board").rpartition(":")[2])
        assert not _nobody_listens_on(board)
        demo.send_signal(ending)
        said, _ = demo.communicate(timeout=_DEADLINE_S)
    assert (demo.returncode, said.splitlines()[-1]) == (0, "Everything is stopped.")
    assert not _processes_of(tmp_path)
    assert _nobody_listens_on(kafka)
    assert _nobody_listens_on(board)
    assert not list(tmp_path.glob("wardwatch-kafka-*"))


def test_a_worker_that_dies_ends_the_demo_and_is_told(kafka_topics: str, tmp_path: Path) -> None:
    with _demo(tmp_path, "--kafka", kafka_topics) as demo:
        _read_until(demo, "Ward board")
        (worker,) = [pid for pid in _processes_of(tmp_path) if "worker" in _command(pid)]
        os.kill(int(worker), signal.SIGKILL)
        said, _ = demo.communicate(timeout=_DEADLINE_S)
    assert demo.returncode == 1
    assert "The worker ended" in said or "the worker does not answer" in said  # whichever is noticed first
    assert not _processes_of(tmp_path)

"""Debian's own Prometheus and Alertmanager, started on free ports with this project's configuration."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from stream import children
from stream.broker import free_ports
from tests.support.receivers import until
from tests.support.tools import program

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"


class Served:
    """A process with an HTTP port."""

    def __init__(self, argv: list[str], port: int, folder: Path, name: str) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._argv = argv
        self._log = folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        """Starts it (again) and waits until it is ready."""
        with self._log.open("ab") as log:
            self._process = children.start(self._argv, output=log)
        try:
            until(self._is_ready, f"{Path(self._argv[0]).name} is ready; its log ends: {self._log_tail()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it."""
        children.stop(self._process, grace_s=5.0)

    def get(self, path: str, query: Mapping[str, str] = {}) -> Any:
        """The JSON at ``path``."""
        pairs = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        with urllib.request.urlopen(f"{self.address}{path}?{pairs}", timeout=10) as answer:
            return json.load(answer)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"it ended with status {self._process.returncode}: {self._log_tail()}")
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-800:]


@contextmanager
def alertmanager(folder: Path, receiver: str) -> Iterator[Served]:
    """Alertmanager with ``monitoring/alertmanager.yml``; only the receiver's address is another."""
    (port,) = free_ports(1)
    written = (MONITORING / "alertmanager.yml").read_text(encoding="utf-8")
    config = folder / "alertmanager.yml"
    config.write_text(written.replace("http://alert-receiver:8099", receiver), encoding="utf-8")
    assert written.count("http://alert-receiver:8099") == 3
    argv = [
        program("prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    served = Served(argv, port, folder, "alertmanager")
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def prometheus(
    folder: Path, target: str, alertmanager_address: str, self_test: str, strips: str, trainer: str
) -> Iterator[Served]:
    """Prometheus with ``monitoring/prometheus.yml`` and its rules; only addresses and intervals are others.

    Without an address of a trainer there is none to ask; a shadow there never is.
    """
    addresses = {"worker": target, "self-test": self_test, "strips": strips, "trainer": trainer, "shadow": ""}
    (port,) = free_ports(1)
    written = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    written["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "250ms")
    written["rule_files"] = [str(MONITORING / name) for name in written["rule_files"]]
    jobs = {job["job_name"]: job for job in written["scrape_configs"]}
    assert jobs.keys() == addresses.keys()
    for name, job in jobs.items():
        for found in [key for key in job if key.endswith("_sd_configs")]:
            del job[found]
        job["static_configs"] = [{"targets": [addresses[name].removeprefix("http://")]}]
    written["scrape_configs"] = [job for name, job in jobs.items() if addresses[name]]
    host = alertmanager_address.removeprefix("http://")
    written["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [host]}]}]
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(written), encoding="utf-8")
    argv = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        # what fires before the discovery of Alertmanager (5 s) is over is only sent again after this; stock is a minute
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    ]
    served = Served(argv, port, folder, "prometheus")
    try:
        yield served
    finally:
        served.stop()

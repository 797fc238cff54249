"""The whole way for real: Kafka, worker, self-test, Prometheus with the rules, Alertmanager, somebody who is told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import wfdb
from prometheus_client import start_http_server

from stream.broker import JavaNode, free_ports
from stream.gateways import wfdb as monitor
from stream.gateways.schedule import Pace
from stream.gateways.sending import Sender, play
from stream.gateways.wfdb import Bed, bundles
from stream.topics import Topic
from tests.ops.test_monitoring import DASHBOARDS
from tests.support.kept import keep_run
from tests.support.monitors import Served, alertmanager, prometheus
from tests.support.receivers import HttpReceiver, Post, until
from tests.support.topics import read_all
from tests.support.ward import image, judgement, reading
from tests.support.workers import WorkerProcess, environment_of
from trainer.config import TRAINED_TASKS
from trainer.metrics import registry_of
from vitals import codec
from vitals.conditions import Condition
from vitals.strips import Strip

pytestmark = [pytest.mark.broker, pytest.mark.prometheus]

PROJECT = Path(__file__).resolve().parents[2]
SPEED = 20.0
"""Of the self-test: an alarm of each partition every three seconds."""
VT_RECORD, VT_FROM_S = "mitdb/205", 1460.0
"""Ventricular tachycardia within the next seconds."""


@dataclass
class Site:
    """What runs, and where to ask it."""

    kafka: str
    worker: WorkerProcess
    manager: Served
    server: Served
    people: HttpReceiver

    def told(self, path: str) -> list[str]:
        """Alerts that began, as whoever listens at ``path`` was told."""
        return _named(self.people.posts, path)

    def data(self, query: str) -> list[float]:
        answer = self.server.get("/api/v1/query", {"query": query})
        return [float(sample["value"][1]) for sample in answer["data"]["result"]]

    def standing(self, state: str, **labels: str) -> list[str]:
        """Names of the alerts that Alertmanager has in ``state``."""
        return [
            alert["labels"]["alertname"]
            for alert in self.manager.get("/api/v2/alerts")
            if alert["status"]["state"] == state and labels.items() <= alert["labels"].items()
        ]

    def panels_without_data(self) -> list[str]:
        return [
            f"{path.name}: {panel['title']}: {target['expr']}"
            for path in DASHBOARDS
            for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
            for target in panel.get("targets", ())
            if not (found := self.data(target["expr"])) or all(map(math.isnan, found))
        ]


def _named(posts: list[Post], path: str) -> list[str]:
    return [
        alert["labels"]["alertname"]
        for post in posts
        if post.path == path
        for alert in post.json["alerts"]
        if alert["status"] == "firing"
    ]


@contextmanager
def _beside(kafka: str, folder: Path, command: str, *arguments: str) -> Iterator[str]:
    """A process beside the worker; where its metrics are."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "stream", command, *arguments]
    with (folder / f"{command}.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=PROJECT, env=environment_of(kafka, folder, port, {}), stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def _trainer(folder: Path) -> Iterator[str]:
    """A trainer that had its turn an hour ago, as `trainer watch --metrics-port` tells of it."""
    for task in TRAINED_TASKS:
        keep_run(folder, task, round(time.time()) - 3600, bundle="abcd")
    server, thread = start_http_server(0, "127.0.0.1", registry_of(folder))
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def site(kafka_topics: str, tmp_path: Path) -> Iterator[Site]:
    """Everything, well: only the dead man's signs of life go out."""
    with (
        HttpReceiver() as people,
        alertmanager(tmp_path, people.address) as manager,
        WorkerProcess(kafka_topics, tmp_path, alertmanager=manager.address, clock_ahead_s="86400") as worker,
        _beside(kafka_topics, tmp_path, "selftest", "--speed", str(SPEED)) as self_test,
        _beside(kafka_topics, tmp_path, "strips") as strips,
        _trainer(tmp_path) as trainer,
        prometheus(tmp_path, f"http://127.0.0.1:{worker.port}", manager.address, self_test, strips, trainer) as server,
    ):
        made = Site(kafka_topics, worker, manager, server, people)
        people.wait_for(lambda posts: {"Watchdog", "WardSelfTest"} <= set(_named(posts, "/dead-man")), 60)
        until(lambda: made.data("up") == [1.0] * 4, "all are scraped")
        yield made


def _fifth_ventricular_beat_s(path: Path) -> float:
    notes = wfdb.rdann(str(path), "atr")
    run = 0
    for sample, symbol in zip(notes.sample.tolist(), notes.symbol, strict=True):
        run = run + 1 if symbol == "V" and sample / notes.fs > VT_FROM_S else 0
        if run == 5:
            return float(sample / notes.fs)
    raise AssertionError("no tachycardia")


@pytest.mark.data
def test_a_tachycardia_is_in_alertmanager_within_five_seconds_and_every_panel_shows_data(
    site: Site, data_folder: Path
) -> None:
    path = data_folder / VT_RECORD
    began_s = VT_FROM_S - 12.0
    stop = threading.Event()
    with closing(Sender(site.kafka)) as sender:
        start_s = time.time()
        beds = bundles("ward", [Bed("bed-1", monitor.read(path), began_s)], Pace(round(start_s * 1e6)))
        ward = threading.Thread(target=play, args=(beds, sender.send, stop))
        ward.start()
        try:
            tachycardia = {"alertname": "WardAlarm", "condition": "ventricular-tachycardia"}
            until(lambda: site.standing("active", **tachycardia), "the tachycardia stands", 60)
            seen_s = time.time()
            happened_s = start_s + _fifth_ventricular_beat_s(path) - began_s
            assert 0 < seen_s - happened_s < 5.0
            site.people.wait_for(lambda posts: "WardAlarm" in _named(posts, "/bedside"), 5)

            numbers = count()

            def shown() -> bool:
                now_us, n = time.time_ns() // 1000, next(numbers)
                sender.send(reading("bed-1", now_us, 110.0))
                sender.send(reading("bed-1", now_us, 110.0))
                sender.send(image("bed-1", now_us, seed=n))
                sender.send(judgement("bed-1", Condition.VENTRICULAR_TACHYCARDIA, now_us))
                return not site.panels_without_data()

            try:
                until(shown, "every panel shows data", 40)
            except TimeoutError:
                pytest.fail(f"no data for {site.panels_without_data()}")
            until(lambda: _strip_of(site.kafka, Condition.VENTRICULAR_TACHYCARDIA), "its ECG is frozen", 30)
        finally:
            stop.set()
            ward.join()
    assert not site.told("/operators")
    assert "WardSelfTest" not in site.told("/bedside")
    strip = _strip_of(site.kafka, Condition.VENTRICULAR_TACHYCARDIA)
    assert strip is not None
    (stretch,) = strip.stretches
    record = monitor.read(path)
    first = round((began_s + stretch.start_us / 1e6 - start_s) * record.rate_hz)
    sent = record.samples[:, first : first + round(15 * record.rate_hz)]
    assert (strip.missing, stretch.samples) == ([], sent.astype("<i2").tobytes())


def _strip_of(kafka: str, condition: Condition) -> Strip | None:
    made = (codec.decode(Strip, record.value) for record in read_all(kafka, Topic.STRIPS))
    return next((strip for strip in made if strip.condition is condition), None)


def test_a_worker_that_ends_is_one_page_and_what_follows_from_it_is_none(site: Site) -> None:
    site.worker.kill()
    site.people.wait_for(lambda posts: _named(posts, "/operators"), 60)
    until(lambda: "WorkerDown" in site.standing("suppressed"), "its consequence is known and silenced", 60)
    assert set(site.told("/operators")) == {"WorkersAbsent"}
    assert not site.told("/bedside")


def test_a_broker_that_dies_is_one_page_and_what_follows_from_it_is_none(site: Site, broker: JavaNode) -> None:
    broker.kill()
    try:
        site.people.wait_for(lambda posts: _named(posts, "/operators"), 90)
        until(lambda: "WorkersAbsent" in site.standing("suppressed"), "its consequence is known and silenced", 90)
        assert set(site.told("/operators")) == {"BrokerDown"}
    finally:
        broker.start()

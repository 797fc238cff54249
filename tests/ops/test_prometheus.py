"""The whole way of a fault of the service: a worker's page, Prometheus, a rule, Alertmanager, a person's receiver."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.health import Health
from stream.httpserver import HttpServer, probe_routes
from stream.metrics import TABLE, Metrics
from tests.ops.test_monitoring import DASHBOARDS
from tests.support.monitors import Served, alertmanager, prometheus
from tests.support.receivers import HttpReceiver, Post, http_receiver, until
from vitals.clock import SystemClock

pytestmark = pytest.mark.prometheus

WORDS = {
    "stream": "ecg", "half": "ecg", "topic": "ecg.v1", "outcome": "scored", "reason": "", "task": "ecg-beat",
    "engine": "onnx-cpu", "rung": "onnx-cpu", "bundle": "abcd", "condition": "asystole", "priority": "low",
    "kind": "technical", "event": "raised", "stage": "ecg.process", "sink": "webhook", "result": "delivered",
    "partition": "0",
}  # fmt: skip
"""A word for each label: what a worker that is well might say."""
FAULTS = {"wardwatch_dead_letters_total", "wardwatch_rewinds_total", "wardwatch_checkpoints_unreadable_total"}
"""What such a worker does not count."""


ROWS = [row for row in TABLE if row.process == "worker"]


class Worker:
    """A worker's own HTTP port with its own page of metrics; only what it counts is made up here."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        clock = SystemClock()
        self._http = HttpServer("127.0.0.1", 0, probe_routes(self.metrics.registry, Health(clock, 30.0)))
        self.address = f"http://127.0.0.1:{self._http.start()}"
        self._runs = True
        for row in ROWS:
            labels = {name: WORDS[name] for name in row.labels}
            if row.kind == "gauge":
                gauge = self.metrics.gauge[row.name]
                (gauge.labels(**labels) if labels else gauge).set(0 if row.name != "wardwatch_model_info" else 1)
        self.metrics.gauge["wardwatch_engine_rung"].labels("ecg-beat", "onnx-cpu").set(1)
        self.metrics.gauge["wardwatch_last_progress_timestamp_seconds"].labels("ecg").set_to_current_time()
        self.work()

    def work(self) -> None:
        """One more of everything that is counted or timed."""
        for row in ROWS:
            labels = {name: WORDS[name] for name in row.labels}
            if row.kind == "counter" and row.name not in FAULTS:
                counter = self.metrics.counter[row.name]
                (counter.labels(**labels) if labels else counter).inc()
            elif row.kind == "histogram":
                histogram = self.metrics.histogram[row.name]
                (histogram.labels(**labels) if labels else histogram).observe(0.01)
        self.metrics.counter["wardwatch_events_total"].labels("ecg", "dropped", "duplicate").inc()
        self.metrics.counter["wardwatch_rewinds_total"].labels("ecg.v1").inc(0)

    def stop(self) -> None:
        """Also the second time."""
        if self._runs:
            self._runs = False
            self._http.stop()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    try:
        yield made
    finally:
        made.stop()


def _named(posts: list[Post], path: str) -> list[str]:
    return [
        alert["labels"]["alertname"]
        for post in posts
        if post.path == path
        for alert in post.json["alerts"]
        if alert["status"] == "firing"
    ]


def _data(served: Served, query: str) -> list[float]:
    answer = served.get("/api/v1/query", {"query": query})
    return [float(sample["value"][1]) for sample in answer["data"]["result"]]


def _panels_without_data(served: Served) -> list[str]:
    return [
        f"{panel['title']}: {target['expr']}"
        for path in DASHBOARDS
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", ())
        if not _data(served, target["expr"]) or any(map(math.isnan, _data(served, target["expr"])))
    ]


def test_a_fault_of_the_service_reaches_a_person_and_a_dead_worker_is_one_page(tmp_path: Path, worker: Worker) -> None:
    site: HttpReceiver
    with (
        http_receiver() as site,
        alertmanager(tmp_path, site.address) as manager,
        prometheus(tmp_path, worker.address, manager.address) as server,
    ):
        # a worker that is well: only the dead man's sign of life goes out
        site.wait_for(lambda posts: "Watchdog" in _named(posts, "/dead-man"))
        until(lambda: _data(server, 'up{job="worker"}') == [1.0], "the worker is scraped")

        def shown() -> bool:
            worker.work()
            return not _panels_without_data(server)

        try:
            until(shown, "every panel of the dashboards shows data")
        except TimeoutError:
            pytest.fail(f"no data for {_panels_without_data(server)}")
        assert not _named(site.posts, "/operators")

        # its model fails while serving
        worker.metrics.counter["wardwatch_model_swaps_total"].labels("ecg-beat", "fell_back").inc()
        site.wait_for(lambda posts: _named(posts, "/operators") == ["ModelFellBack"])
        (page,) = (post.json for post in site.posts if post.path == "/operators")
        assert page["alerts"][0]["labels"]["severity"] == "page"
        assert page["alerts"][0]["annotations"]["runbook"] == "docs/runbook.md#modelfellback"

        # it dies: the cause is told, and what follows from it is not
        worker.stop()
        site.wait_for(lambda posts: "WorkersAbsent" in _named(posts, "/operators"), deadline_s=60)
        inhibited = {"filter": 'alertname="WorkerDown"', "active": "false"}
        until(lambda: manager.get("/api/v2/alerts", inhibited), "its consequence is known and silenced", 60)
        assert set(_named(site.posts, "/operators")) == {"ModelFellBack", "WorkersAbsent"}
        assert not _named(site.posts, "/bedside")

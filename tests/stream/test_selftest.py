"""The dead man: patients who are nobody go the whole way, count for nothing, and are missed when a stage is broken."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from stream.checkpoint import Owners
from stream.deciding import Decide
from stream.gateways.schedule import Pace, in_order
from stream.gateways.selftest import patients, recording, schedules
from stream.gateways.wfdb import Bed, bundles
from stream.metrics import Metrics
from stream.modelslot import ModelSlot
from stream.notify.alertmanager import Alertmanager
from stream.notify.outbox import Notification, Patience
from stream.notify.receiver import Receiver
from stream.notify.webhook import WebhookNotifier
from stream.observing import ObserveEcg, Observing
from stream.score import watched_ecg
from stream.topics import PARTITIONS, Topic
from stream.web.tiles import View
from stream.web.ward import Ward
from tests.support.alarms import steps
from tests.support.receivers import HttpReceiver, Post, until
from tests.support.stay import CALM_RHYTHM, Stay, at, batch, record
from tests.support.workers import WorkerProcess, environment_of
from vitals import codec
from vitals.alerts import AlertEvent
from vitals.clock import ManualClock, SystemClock
from vitals.events import Record
from vitals.findings import Task, Verdict
from vitals.selftest import CONDITION, PREFIX, proves
from vitals.units import EARLIEST_US

NOBODY = f"{PREFIX}0.0"
PROJECT = Path(__file__).resolve().parents[2]


def test_each_partition_has_a_patient_of_its_own_on_both_sides() -> None:
    assert [crc32(name.encode()) % PARTITIONS for name in patients()] == list(range(PARTITIONS))
    first = list(islice(in_order(schedules(Pace(EARLIEST_US))), PARTITIONS))
    assert sorted(crc32(due.key) % PARTITIONS for due in first) == list(range(PARTITIONS))


def test_their_alarm_comes_and_goes_once_a_minute_and_no_other(slots: dict[Task, ModelSlot]) -> None:
    minute = recording()
    five = dataclasses.replace(minute, samples=np.tile(minute.samples, 5))
    told = [step for _, decided in watched_ecg(five, slots) for step in decided.transitions]
    assert Counter((step.condition, step.event) for step in told) == {
        (CONDITION, AlertEvent.RAISED): 5,
        (CONDITION, AlertEvent.CLEARED): 4,
    }
    assert sum(map(proves, told)) == 5


def _findings_of(patient: str, seconds: int) -> list[Record]:
    """A heart at 130/min, second by second."""
    racing = CALM_RHYTHM | {"heart_rate_bpm": 130.0}
    tables = [record(batch(Task.ECG_RHYTHM, [(patient, s, racing, Verdict.GOOD)])) for s in range(seconds)]
    return [Record(Topic.FINDINGS.value, 0, n, 0, None, codec.encode(table)) for n, table in enumerate(tables)]


@pytest.mark.parametrize(("patient", "counted"), [("somebody", 1), (NOBODY, 0)])
def test_they_are_decided_like_everybody_and_count_for_nothing(patient: str, counted: int) -> None:
    products = Decide().process(_findings_of(patient, 15), Owners(0))
    assert Topic.ALERTS in {message.topic for message in products.messages}
    assert products.alerts.total() == counted
    stay = Stay(patient=patient)
    stay.rhythms(range(15), heart_rate_bpm=130.0)
    census = stay.deciding.census()
    assert sum(census.present.values()) == sum(census.unacknowledged.values()) == counted
    assert sum(census.expected.values()) == counted


def test_no_board_shows_them() -> None:
    ward = Ward(ManualClock(at(20)), 10)
    for patient in (NOBODY, "somebody"):
        ward.take_findings(record(batch(Task.ECG_RHYTHM, [(patient, 1, CALM_RHYTHM, Verdict.GOOD)])), at(2))
        for step in steps(AlertEvent.RAISED, condition=CONDITION, patient=patient):
            ward.take_alert(step, at(3))
    frame, names = ward.frame(View())
    assert names == ["somebody"]
    assert (frame.total, frame.alarm_total, frame.not_carried) == (1, 1, 0)


@pytest.mark.parametrize(("patient", "archived"), [("somebody", True), (NOBODY, False)])
def test_nothing_is_learnt_from_them(patient: str, archived: bool, slots: dict[Task, ModelSlot]) -> None:
    half = ObserveEcg(slots, Observing(max_patients=10, clock_ahead_us=2**61, archive_share=1.0))
    sent = islice(bundles("gateway", [Bed(patient, recording())], Pace(EARLIEST_US, 1e9)), 12)
    values = [due.value for due in sent]
    records = [Record(Topic.ECG.value, 0, n, 0, None, value) for n, value in enumerate(values)]
    topics = {message.topic for message in half.process(records, Owners(0)).messages}
    assert Topic.FINDINGS in topics
    assert (Topic.WINDOWS in topics) is archived


def test_alertmanager_is_told_of_each_and_hears_of_its_absence_by_itself() -> None:
    clock = ManualClock(at(0))
    with HttpReceiver() as site:
        sink = Alertmanager(Receiver(site.address, 5.0), clock)
        (raised,) = steps(AlertEvent.RAISED, condition=CONDITION, patient=NOBODY)
        sink.send([Notification(raised, partition=5, offset=3, written_ms=at(0) // 1000)])
        assert not sink.tend(), "nothing is kept alive that has to come from the patient"
        assert sink.oldest_standing(5) is None
    (post,) = site.posts
    (alert,) = post.json
    assert alert["labels"] == {"alertname": "WardSelfTest", "source": "ward-self-test", "partition": "5"}
    assert PREFIX.encode() not in post.body
    starts, ends = (np.datetime64(alert[name].removesuffix("+00:00")) for name in ("startsAt", "endsAt"))
    assert ends - starts == np.timedelta64(150, "s")


SPEED = 20.0
LIMIT_S = 150.0 / SPEED
"""The rule's 150 s, at this speed."""


class Chain:
    """Everything from the patients to the sink as processes of their own; the notifier is the real one, in this one."""

    def __init__(self, kafka: str, folder: Path, site: HttpReceiver) -> None:
        self._kafka, self._site = kafka, site
        self.observe, self.decide = (self._worker(folder, role) for role in ("observe", "decide"))
        self._environment = environment_of(kafka, folder, 0, {})
        self.metrics = Metrics()
        self._notifier = self._made_notifier()
        self._sender: subprocess.Popen[bytes] | None = None

    def _worker(self, folder: Path, role: str) -> WorkerProcess:
        own = folder / role
        own.mkdir()
        return WorkerProcess(self._kafka, own, role=role, worker_id=role, clock_ahead_s="86400", stalled_s="60")

    def _made_notifier(self) -> WebhookNotifier:
        patience = Patience(first_s=0.1, longest_s=0.3, keep_s=3600.0, timeout_s=2.0)
        address = self._site.address
        return WebhookNotifier(
            self._kafka, address, "s", self.metrics, SystemClock(), names_patient=False, patience=patience
        )

    def age_s(self) -> float:
        """Of the partition that has waited longest; infinite until each has one."""
        told = [
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "wardwatch_self_test_delivered_timestamp_seconds"
        ]
        return time.time() - min(told) if len(told) == PARTITIONS else float("inf")

    def start_sender(self) -> None:
        argv = [sys.executable, "-m", "stream", "selftest", "--speed", str(SPEED)]
        self._sender = subprocess.Popen(argv, cwd=PROJECT, env=self._environment)

    def stop_sender(self) -> None:
        assert self._sender is not None
        self._sender.send_signal(signal.SIGTERM)
        assert self._sender.wait(30) == 0

    def start_notifier(self) -> None:
        self._notifier = self._made_notifier()
        self._notifier.start()

    def stop_notifier(self) -> None:
        self._notifier.stop()

    def taken(self) -> list[Post]:
        return self._site.taken()

    def refuse(self) -> None:
        self._site.answer = lambda _path, _body: 503

    def take(self) -> None:
        self._site.answer = lambda _path, _body: 200


@contextmanager
def chain(kafka: str, folder: Path) -> Iterator[Chain]:
    with HttpReceiver() as site:
        made = Chain(kafka, folder, site)
        with made.observe, made.decide:
            made.start_notifier()
            made.start_sender()
            try:
                yield made
            finally:
                made.stop_sender()
                made.stop_notifier()


def freeze(worker: WorkerProcess) -> None:
    os.kill(worker.pid, signal.SIGSTOP)


def replace(worker: WorkerProcess) -> None:
    worker.kill()
    worker.start()


@pytest.mark.broker
def test_whichever_stage_breaks_the_silence_is_heard_and_it_ends_when_the_stage_is_mended(
    kafka_topics: str, tmp_path: Path
) -> None:
    with chain(kafka_topics, tmp_path) as running:

        def dead() -> bool:
            return running.age_s() > LIMIT_S

        def come_out(saying: str) -> None:
            """Two more of each partition, not only a notifier that has just begun to wait."""
            before = len(running.taken())
            until(lambda: len(running.taken()) >= before + 2 * PARTITIONS and not dead(), saying, 60)

        stages: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "door": (running.stop_sender, running.start_sender),
            "observe": (lambda: freeze(running.observe), lambda: replace(running.observe)),
            "decide": (lambda: freeze(running.decide), lambda: replace(running.decide)),
            "outbox": (running.stop_notifier, running.start_notifier),
            "sink": (running.refuse, running.take),
        }
        come_out("the alarm of every partition comes out")
        for stage, (breaks, mends) in stages.items():
            breaks()
            until(dead, f"the dead man is heard: {stage}", 60)
            mends()
            come_out(f"and lives again: {stage}")
        assert {post.json["type"] for post in running.taken()} == {"self-test.raised"}
        counted = running.metrics.registry.get_sample_value
        assert not counted("wardwatch_notifications_total", {"sink": "webhook", "result": "delivered"})

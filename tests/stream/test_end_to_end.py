"""The whole way through a real Kafka and a real worker process: door to alarm, swap under load, kill -9."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from bench.swaps import sibling
from models.registry import Registry
from stream import audit, explain
from stream.checkpoint import Owners
from stream.gateways.schedule import Due, Pace
from stream.gateways.wfdb import Bed, bundles
from stream.imagestore import ImageStore
from stream.modelslot import SHIPPED_BUNDLES, begin_serving, open_slots
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.replay import Sender
from stream.topics import Topic
from tests.support.bad_input import bad_inputs
from tests.support.findings import by_identity, decoded
from tests.support.topics import read_all
from tests.support.ward import heart, r_peaks_s, reading, ward
from tests.support.workers import WorkerProcess
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import Condition
from vitals.errors import Fate, Reason
from vitals.events import Command, DeadLetter, EcgBundle, ModelRelease, Record
from vitals.findings import BEAT_AFTER_R_US, FindingBatch, Task
from vitals.risk import RiskBatch
from vitals.unit import FACTORY
from vitals.units import US_PER_S

pytestmark = pytest.mark.broker

EVENTS = "wardwatch_events_total"


def now_us() -> int:
    return time.time_ns() // 1000


def send(kafka: str, messages: Iterable[Due]) -> int:
    """Everything, confirmed. How many events it was."""
    total = 0
    with closing(Sender(kafka)) as sender:
        for due in messages:
            sender.send(due)
            total += due.events
    return total


def settled(worker: WorkerProcess, events: int) -> Callable[[], bool]:
    def is_settled() -> bool:
        return worker.total(EVENTS) + worker.total("wardwatch_events_waiting") >= events

    return is_settled


def findings(kafka: str) -> list[FindingBatch]:
    return decoded(r.value for r in read_all(kafka, Topic.FINDINGS.value))


def alerts(kafka: str) -> list[AlertTransition]:
    return [codec.decode(AlertTransition, r.value) for r in read_all(kafka, Topic.ALERTS.value)]


def test_one_heartbeat_from_the_door_to_the_alarm_and_its_acknowledgement(kafka_topics: str, tmp_path: Path) -> None:
    start_us = now_us() - 30 * US_PER_S
    recording = heart(30, 72, stops_at_s=15)
    with WorkerProcess(kafka_topics, tmp_path) as worker:
        events = send(kafka_topics, bundles("gateway", [Bed("bed-7", recording)], Pace(start_us, speed=1e9)))
        worker.wait_until(settled(worker, events), "all chunks accounted for")
        beats = [b for b in findings(kafka_topics) if b.task is Task.ECG_BEAT]
        found_s = sorted((end - BEAT_AFTER_R_US - start_us) / US_PER_S for b in beats for end in b.end_us)
        assert all(b.model and b.engine == "onnx-cpu" for b in beats)
        known_s = r_peaks_s(15, 72)[3:-1]
        missed = [r for r in known_s if min(abs(r - f) for f in found_s) > 0.02]
        assert missed == []

        worker.wait_until(
            lambda: any(a.condition is Condition.ASYSTOLE for a in alerts(kafka_topics)), "an alarm for asystole"
        )
        raised = next(a for a in alerts(kafka_topics) if a.condition is Condition.ASYSTOLE)
        assert (raised.event, raised.patient, raised.presence) == (AlertEvent.RAISED, "bed-7", True)
        assert 15.0 - 0.9 <= (raised.onset_us - start_us) / US_PER_S <= 20.0
        risks = [codec.decode(RiskBatch, r.value) for r in read_all(kafka_topics, Topic.RISK.value)]
        assert any("bed-7" in risk.patients for risk in risks)

        command = Command(
            patient="bed-7", action="acknowledge", who="nurse", role="nurse", when_us=now_us(), alert_id=raised.alert_id
        )
        with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
            partition = read_all(kafka_topics, Topic.ALERTS.value)[0].partition
            producer.send(Topic.COMMANDS.value, codec.encode(command), key=b"bed-7", partition=partition).get(10)
        worker.wait_until(
            lambda: any(
                a.alert_id == raised.alert_id and a.event is AlertEvent.ACKNOWLEDGED for a in alerts(kafka_topics)
            ),
            "the acknowledgement",
        )
    assert worker.stop() == 0

    told = explain.explain(kafka_topics, raised.alert_id, FACTORY, timedelta(hours=1))
    assert told is not None
    assert told.same == len(told.written) >= 2, "every step comes out of the log again to the same bytes"
    assert told.found_at
    assert told.from_records
    said = "\n".join(explain.report(told))
    assert "Asystole" in said
    assert "bed-7" not in said
    assert explain.main([raised.alert_id, "--kafka", kafka_topics]) == 0
    assert explain.main(["no-such-alarm", "--kafka", kafka_topics]) == 1
    chains, wrong = audit.read_chains(kafka_topics)
    (entry,) = (entry for chain in chains.values() for entry in chain)
    assert (entry.command, entry.outcome, wrong) == (command, "done", [])
    assert audit.main(["--head", entry.hash, "--kafka", kafka_topics]) == 0
    assert audit.main(["--head", "0" * 64, "--kafka", kafka_topics]) == 1


def test_a_worker_whose_units_file_is_wrong_does_not_start_and_says_where(kafka_topics: str, tmp_path: Path) -> None:
    file = tmp_path / "unit.toml"
    file.write_text("[heart-rate-high]\nlimit = 300\n")
    worker = WorkerProcess(kafka_topics, tmp_path, unit=str(file))
    with pytest.raises(AssertionError, match=r"line 2: heart-rate-high\.limit 300 lies outside 70 to 180"):
        worker.start()
    assert worker.wait() == 2


def test_a_deployment_that_nobody_can_read_stops_the_line(kafka_topics: str, tmp_path: Path) -> None:
    start_us = now_us() - 40 * US_PER_S
    beds = [Bed(f"bed-{b}", heart(30, 60 + b)) for b in range(2)]
    good = list(bundles("gateway", beds, Pace(start_us, speed=1e9)))
    newer = [msgspec.structs.replace(codec.decode(EcgBundle, due.value), v=2) for due in good]
    unread = [dataclasses.replace(good[0], value=codec.encode(bundle)) for bundle in newer * 5]
    with WorkerProcess(kafka_topics, tmp_path) as worker:
        send(kafka_topics, unread[:60])  # below a hundred: each is kept
        worker.wait_until(lambda: worker.total("wardwatch_dead_letters_total") == 60, "sixty letters")
        send(kafka_topics, unread)
        assert worker.wait() == 1
    said = worker.log_tail()
    assert re.search(r"stopping: \d+ of the last \d+ records cannot be used \(schema-version: \d+\)", said)
    assert "bed-" not in said
    kept = {
        (letter.partition, letter.offset)
        for letter in (codec.decode(DeadLetter, r.value) for r in read_all(kafka_topics, Topic.DEAD_LETTER.value))
    }
    assert 60 <= len(kept) < 60 + len(unread)
    with closing(KafkaAdminClient(bootstrap_servers=kafka_topics)) as admin:
        committed = admin.list_group_offsets("wardwatch")["wardwatch"]
    (place,) = [at.offset for tp, at in committed.items() if tp.topic == Topic.ECG and at.offset > 0]
    assert place <= len(kept), "nothing is acknowledged that is neither used nor kept"


def test_everything_a_ward_can_get_wrong_is_counted_and_harms_nobody(kafka_topics: str, tmp_path: Path) -> None:
    start_us = now_us() - 60 * US_PER_S
    good = ward(start_us, 10)
    bad = bad_inputs(now_us())
    with WorkerProcess(kafka_topics, tmp_path, dead_letter_share="1") as worker:
        half = len(good) // 2
        events = send(kafka_topics, good[:half])
        with closing(KafkaProducer(bootstrap_servers=kafka_topics, max_request_size=8 << 20, acks="all")) as producer:
            for case in bad:
                producer.send(case.topic.value, case.value, key=case.key, headers=list(case.headers), partition=0)
            producer.flush()
        events += send(kafka_topics, good[half:])
        worker.wait_until(settled(worker, events + len(bad)), "all events accounted for")
        assert worker.total(EVENTS) + worker.total("wardwatch_events_waiting") == events + len(bad)
        for reason in {case.reason for case in bad if case.reason is not None}:
            expected = sum(case.reason is reason for case in bad)
            assert worker.total(EVENTS, reason.value) == expected, reason
    kept = [codec.decode(DeadLetter, r.value) for r in read_all(kafka_topics, Topic.DEAD_LETTER.value)]
    for reason in Reason:
        if reason.fate is Fate.DEAD_LETTER:
            assert sum(k.reason == reason for k in kept) == sum(case.reason is reason for case in bad), reason
    with_bad = by_identity(findings(kafka_topics), leave_out=frozenset({"input_ms"}))
    beds = {patient for patient, *_ in with_bad if patient.startswith("bed-")}
    assert beds == {f"bed-{g}-{b}" for g in range(2) for b in range(4)}


def test_a_release_is_swapped_in_under_load_and_nothing_is_lost(kafka_topics: str, tmp_path: Path) -> None:
    start_us = now_us() - 4000 * US_PER_S
    registry = Registry.seeded(tmp_path / "registry", SHIPPED_BUNDLES)
    before = registry.current(Task.GLUCOSE)
    assert before is not None
    after = registry.add(sibling(before, tmp_path / "made"))
    readings = [
        reading(f"person-{p}", start_us + i * 60 * US_PER_S, 100 + (i * 7 + p) % 60)
        for i in range(60)
        for p in range(20)
    ]
    stay = {"model_shadow_s": "1", "model_probation_s": "1"}
    with WorkerProcess(kafka_topics, tmp_path, **stay) as worker, closing(Sender(kafka_topics)) as sender:
        swapped = False
        for n, due in enumerate(readings):
            sender.send(due)
            if n == len(readings) // 2:
                worker.wait_until(lambda: worker.total(EVENTS, "glucose") > 100, "the first readings scored")
                registry.promote(Task.GLUCOSE, after.hash)
                release = ModelRelease(
                    task="glucose", bundle=after.hash, uri="", when_us=now_us(), action="promote", report=""
                )
                with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
                    producer.send(Topic.RELEASES.value, codec.encode(release), key=b"glucose").get(10)
            if n > len(readings) // 2 and not swapped:
                worker.wait_until(
                    lambda: worker.samples("wardwatch_model_info").get((after.short, "glucose")) == 1, "the swap"
                )
                swapped = True
        worker.wait_until(lambda: worker.total(EVENTS, "glucose") >= len(readings), "all readings scored")
        assert worker.total(EVENTS, "glucose", "scored") == len(readings)
    found = by_identity(findings(kafka_topics))
    assert len(found) == len(readings)
    assert {b.model for b in findings(kafka_topics)} == {before.short, after.short}


def test_kill_9_twice_and_not_a_finding_is_lost_or_changed(kafka_topics: str, tmp_path: Path) -> None:
    start_us = now_us() - 300 * US_PER_S
    messages = ward(start_us, 60)
    third = len(messages) // 3
    for _ in range(2):
        worker = WorkerProcess(kafka_topics, tmp_path)
        worker.start()
        send(kafka_topics, messages[:third])
        messages = messages[third:]
        worker.wait_until(lambda: worker.total("wardwatch_findings_total") > 50, "findings")  # noqa: B023
        worker.kill()
    send(kafka_topics, messages)
    with WorkerProcess(kafka_topics, tmp_path) as worker:
        worker.wait_until(lambda: worker.total("wardwatch_lag_records") == 0, "caught up")
        expected = _undisturbed(kafka_topics)
        worker.wait_until(lambda: by_identity(findings(kafka_topics)).keys() >= expected.keys(), "every finding")
    assert by_identity(findings(kafka_topics)) == expected


def test_a_lost_checkpoint_costs_no_memory_of_what_the_log_still_has(kafka_topics: str, tmp_path: Path) -> None:
    start_us = now_us() - 5 * 3600 * US_PER_S
    # whole groups of four hours and more: without them no forecast can be made
    before = [
        reading(f"person-{p}", start_us + i * 300 * US_PER_S, 100 + 3 * i + p) for i in range(55) for p in range(4)
    ]
    after = [reading(f"person-{p}", start_us + 55 * 300 * US_PER_S, 90 + p) for p in range(4)]
    with WorkerProcess(kafka_topics, tmp_path) as worker:
        send(kafka_topics, before)
        worker.wait_until(lambda: worker.total(EVENTS, "glucose", "scored") == len(before), "all readings scored")
        worker.wait_until(lambda: _glucose_checkpoints(kafka_topics) != {}, "checkpoints")
        worker.wait_until(lambda: worker.total("wardwatch_checkpoint_age_seconds") == 0, "everything saved")
    told = len(read_all(kafka_topics, Topic.FINDINGS.value))
    with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
        for key, partition in _glucose_checkpoints(kafka_topics).items():
            producer.send(Topic.CHECKPOINTS.value, b"\xc1 of a build to come", key=key, partition=partition).get(10)
    with WorkerProcess(kafka_topics, tmp_path) as worker:
        assert len(read_all(kafka_topics, Topic.FINDINGS.value)) == told
        send(kafka_topics, after)
        worker.wait_until(lambda: worker.total(EVENTS, "glucose", "scored") == len(after), "the next readings scored")
        assert worker.total("wardwatch_checkpoints_unreadable_total") > 0
    found = by_identity(findings(kafka_topics))
    assert found == _undisturbed(kafka_topics)


def _glucose_checkpoints(kafka: str) -> dict[bytes, int]:
    """Partitions by key."""
    return {
        r.key: r.partition
        for r in read_all(kafka, Topic.CHECKPOINTS.value)
        if r.value and r.key.startswith(b"glucose/")
    }


def _undisturbed(kafka: str) -> dict[tuple[str, str, str, int], bytes]:
    """The findings of the records that are in the log, computed here without an interruption."""
    slots = open_slots(lambda news: None)
    begin_serving(Registry(SHIPPED_BUNDLES), slots)
    told = Observing(max_patients=1000, clock_ahead_us=2**61, archive_share=0.0)
    halves = {
        Topic.ECG: ObserveEcg(slots, told),
        Topic.GLUCOSE: ObserveGlucose(slots[Task.GLUCOSE], told),
        Topic.IMAGING: ObserveImaging(slots, ImageStore(()), told),
    }
    batches: list[FindingBatch] = []
    for topic, half in halves.items():
        records = [
            Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value) for r in read_all(kafka, topic.value)
        ]
        products = half.process(records, Owners(0))
        batches += decoded(m.value for m in products.messages if m.topic is Topic.FINDINGS and m.value)
    return by_identity(batches)

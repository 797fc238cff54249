"""What the demo is made of: topics read back from a mark, a nurse who answers, a worker that may not come up."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from stream import demo
from stream.gateways.schedule import Due
from stream.gateways.sending import Sender
from stream.rehearsal.cast import AHEAD_S, assemble
from stream.rehearsal.nurse import Nurse
from stream.rehearsal.readback import marks, records_since
from stream.rehearsal.worker import DemoWorker
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition, Signal
from vitals.conditions import Condition, Kind, Priority
from vitals.errors import Fault
from vitals.events import Command, EcgBundle, GlucoseReading, ImagingEvent
from vitals.units import US_PER_S

START_US = 1_800_000_000_000_000


def _raised(
    patient: str, kind: Kind = Kind.PHYSIOLOGICAL, event: AlertEvent = AlertEvent.RAISED, signal: Signal = Signal.ON
) -> Due:
    step = AlertTransition(
        alert_id=f"alert of {patient}", step=1, patient=patient, condition=Condition.ASYSTOLE, priority=Priority.HIGH,
        kind=kind, event=event, presence=True, signal=signal, onset_us=1, time_us=1, input_ms=1, text="",
    )  # fmt: skip
    return Due(0.0, Topic.ALERTS, patient.encode(), codec.encode(step), 0)


def _send(bootstrap: str, *messages: Due) -> None:
    with closing(Sender(bootstrap)) as sender:
        for message in messages:
            sender.send(message)


@pytest.mark.broker
def test_what_was_there_before_the_mark_is_not_read_back(kafka_topics: str) -> None:
    _send(kafka_topics, *(Due(0.0, Topic.RISK, bytes([i]), b"old", 0) for i in range(20)))
    since = marks(kafka_topics, [Topic.RISK])
    _send(kafka_topics, *(Due(0.0, Topic.RISK, bytes([i]), b"new", 0) for i in range(30)))
    assert [record.value for record in records_since(kafka_topics, Topic.RISK, since)] == [b"new"] * 30


@pytest.mark.broker
def test_a_nurse_acknowledges_alarms_raised_after_she_came_and_no_others(
    kafka_topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.rehearsal.nurse._REACTION_S", 0.5)
    _send(kafka_topics, _raised("before she came"))
    given: list[Due] = []
    with closing(Nurse(kafka_topics, given.append)) as nurse:
        _send(
            kafka_topics, _raised("a"), _raised("b", kind=Kind.TECHNICAL), _raised("c", event=AlertEvent.CLEARED),
            _raised("e"), _raised("e", event=AlertEvent.CLEARED, signal=Signal.OFF),
            *(_raised(f"d{i}") for i in range(20)),
        )  # fmt: skip
        end = time.monotonic() + 30
        while len(given) < 5 and time.monotonic() < end:
            nurse.look_after()
    commands = [codec.decode(Command, due.value) for due in given]
    assert len(commands) == 5
    assert all(command.action == "acknowledge" and command.alert_id for command in commands)
    assert not {command.patient for command in commands} & {"before she came", "b", "c", "e"}
    assert [due.key.decode() for due in given] == [command.patient for command in commands]


def test_a_worker_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path))
    monkeypatch.setenv("WARDWATCH_NO_SUCH_SETTING", "1")
    with DemoWorker("127.0.0.1:1", 1) as worker, pytest.raises(Fault, match="WARDWATCH_NO_SUCH_SETTING is not a"):
        worker.wait_until_ready(lambda _: None)


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--for", "-1"], ["--report", "x.json"]])
def test_a_command_line_that_means_nothing_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        demo.main(arguments)
    assert refused.value.code == 2


def test_a_broker_that_does_not_answer_ends_the_demo_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.broker._NAMED_DEADLINE_S", 0.2)
    assert demo.main(["--kafka", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "no Kafka broker answers at 127.0.0.1:1"


def test_without_recordings_the_ward_is_full_all_the_same() -> None:
    _check_ward(None)


@pytest.mark.data
def test_with_recordings_the_ward_plays_them(data_folder: Path) -> None:
    cast = assemble(data_folder)
    _check_ward(data_folder)
    played = [bed.recording for beds in cast.gateways.values() for bed in beds]
    assert sum(r.name.startswith("mitdb/") and r.samples.shape[0] == 2 for r in played) >= 12
    assert not [note for note in cast.notes if "simulated" in note]


def _check_ward(folder: Path | None) -> None:
    """At least twelve patients, all three streams within ten seconds, both kinds of message, and a past for glucose."""
    cast = assemble(folder)
    assert len(cast.patients) >= 12
    first: list[Due] = []
    for schedule in cast.schedules(START_US, 1.0, "run"):
        for due in schedule:
            if due.at_s > 10:
                break
            first.append(due)
    bundles = [codec.decode(EcgBundle, due.value) for due in first if due.topic is Topic.ECG]
    assert {len(b.patients) > 1 for b in bundles} == {True, False}
    assert len({patient for b in bundles for patient in b.patients}) >= 12
    readings = [codec.decode(GlucoseReading, due.value) for due in first if due.topic is Topic.GLUCOSE]
    for patient in {r.patient for r in readings}:
        past = [r.time_us for r in readings if r.patient == patient and r.time_us <= START_US]
        assert max(past) == START_US
        assert len(past) > 200
    assert any("×" in r.device for r in readings)
    images = [codec.decode(ImagingEvent, due.value) for due in first if due.topic is Topic.IMAGING]
    assert {(i.modality, i.body_part) for i in images} >= {("DX", "CHEST"), ("US", "BREAST")}
    beds = {patient for b in bundles for patient in b.patients}
    assert {r.patient for r in readings} & beds, "nobody in whom streams meet"
    assert {i.patient for i in images} <= beds


def test_time_is_shifted_to_now_and_never_outruns_the_clock_by_more_than_the_worker_allows() -> None:
    cast = assemble(None)
    for schedule in cast.schedules(START_US, 100.0, "run"):
        for _, due in zip(range(2000), schedule, strict=False):
            event = codec.decode(_KIND[due.topic], due.value)
            time_us = event.start_us[0] if isinstance(event, EcgBundle) else event.time_us
            ahead_s = (time_us - START_US) / US_PER_S - max(due.at_s, 0.0)
            assert ahead_s <= AHEAD_S + 1


_KIND = {Topic.ECG: EcgBundle, Topic.GLUCOSE: GlucoseReading, Topic.IMAGING: ImagingEvent}

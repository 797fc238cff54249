"""Alarms and the ECG of the last seconds: the same strip whenever it is cut, and memory that ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.freezing import Freezer
from tests.support.alarms import PATIENT, steps
from tests.support.ecglog import Monitor, bundle, us
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import Condition
from vitals.selftest import PREFIX
from vitals.strips import Chunk, Missing, Strip

MOMENT_S = 60
LOG = Monitor().seconds(25, 90)


def alarm(
    moment_s: float = MOMENT_S, *, patient: str = PATIENT, condition: Condition = Condition.ASYSTOLE
) -> AlertTransition:
    (raised,) = steps(AlertEvent.RAISED, onset_us=us(moment_s), patient=patient, condition=condition)
    return raised


def freezer(**bounds: int) -> Freezer:
    return Freezer(0, 60_000_000, **bounds)


def feed(one: Freezer, chunks: Iterable[Chunk], *, patient: str = PATIENT) -> list[Strip]:
    """Hand them in; what is cut after each."""
    made: list[Strip] = []
    for chunk in chunks:
        one.take_ecg(bundle(patient, chunk), codec.MSGPACK, chunk.partition, chunk.offset, chunk.arrived_us)
        made += one.cut(chunk.arrived_us)
    return made


def frozen(before: Sequence[Chunk], after: Sequence[Chunk], **bounds: int) -> Strip:
    """The strip of an alarm that is told between two parts of the log."""
    one = freezer(**bounds)
    assert feed(one, before) == []
    one.take_alert(alarm(), us(MOMENT_S + 1))
    made = one.cut(before[-1].arrived_us if before else 0) + feed(one, after)
    (strip,) = made
    assert one.waiting == 0
    return strip


@pytest.mark.parametrize("told_at", range(0, 46, 5))
def test_an_alarm_told_before_or_after_its_ecg_has_the_same_strip(told_at: int) -> None:
    strip = frozen(LOG[:told_at], LOG[told_at:])
    assert strip.missing == []
    assert codec.encode(strip) == codec.encode(frozen([], LOG))


def test_whoever_begins_again_later_in_the_log_makes_the_same_bytes() -> None:
    assert {codec.encode(frozen([], LOG[begin:])) for begin in range(20)} == {codec.encode(frozen(LOG[:36], LOG[36:]))}


@given(st.lists(st.booleans(), min_size=130, max_size=130))
def test_two_gateways_are_cut_the_same_however_their_partitions_are_read(turns: list[bool]) -> None:
    other = Monitor(360.0, ("II",), gateway="ward-b", partition=3).seconds(25, 90)
    one = freezer()
    one.take_alert(alarm(), us(MOMENT_S + 1))
    queues = [iter(LOG), iter(other)]
    reached = [0, 0]
    made: list[Strip] = []
    for turn in [*turns, *[True, False] * 65]:
        chunk = next(queues[turn], None)
        if chunk is None:
            continue
        one.take_ecg(bundle(PATIENT, chunk), codec.MSGPACK, chunk.partition, chunk.offset, chunk.arrived_us)
        reached[turn] = chunk.arrived_us
        made += one.cut(min(reached))
    (strip,) = made
    assert [stretch.gateway for stretch in strip.stretches] == ["ward-a", "ward-b"]
    assert strip.missing == []


def test_an_alarm_that_is_told_twice_and_one_whose_strip_is_there_are_not_cut_again() -> None:
    one = freezer()
    one.take_alert(alarm(), us(61))
    one.take_alert(alarm(), us(62))
    one.know(alarm(70).alert_id)
    one.take_alert(alarm(70), us(71))
    assert [strip.time_us for strip in feed(one, LOG)] == [us(60)]


def test_two_alarms_of_one_patient_each_have_their_own_seconds() -> None:
    one = freezer()
    for moment_s in (60, 63):
        one.take_alert(alarm(moment_s), us(moment_s + 1))
    assert [(strip.from_us, strip.to_us) for strip in feed(one, LOG)] == [(us(50), us(65)), (us(53), us(68))]


def test_an_alarm_of_the_self_test_leaves_no_strip() -> None:
    one = freezer()
    one.take_alert(alarm(patient=f"{PREFIX}0.0"), us(61))
    assert one.waiting == 0


def test_an_alarm_that_comes_too_late_says_that_its_seconds_were_let_go() -> None:
    strip = frozen(LOG[:60], LOG[60:])
    assert strip.missing == [Missing.GAPS, Missing.LET_GO]
    assert strip.stretches[0].start_us > us(50)


def test_memory_for_what_came_lately_is_bounded_in_bytes_over_all_partitions() -> None:
    size = len(bundle(PATIENT, LOG[0]))
    other = Monitor(gateway="ward-b", partition=6).seconds(25, 90)
    one = freezer(most_kept_bytes=20 * size)
    for pair in zip(LOG, other, strict=True):
        feed(one, pair[:1])
        feed(one, pair[1:], patient="somebody")
        assert one.kept_bytes <= 20 * size
    assert one.kept_bytes > 18 * size
    strip = frozen(LOG[:36], LOG[36:], most_kept_bytes=5 * size)
    assert Missing.LET_GO in strip.missing


def test_what_waits_is_bounded_in_number_and_in_bytes() -> None:
    one = freezer(most_waiting=3)
    for i in range(5):
        one.take_alert(alarm(patient=f"patient-{i}"), us(61))
    assert (one.waiting, one.turned_away) == (3, 2)
    strip = frozen(LOG[:30], LOG[30:], most_waiting_bytes=8 * LOG[0].samples.nbytes)
    assert strip.missing == [Missing.GAPS, Missing.LET_GO]
    assert sum(len(stretch.samples) for stretch in strip.stretches) <= 8 * LOG[0].samples.nbytes


def test_a_silent_patient_is_waited_for_and_then_has_what_there_was() -> None:
    one = freezer()
    one.take_alert(alarm(condition=Condition.ECG_NO_DATA), us(61))
    feed(one, LOG[:28])
    assert one.cut(us(74.9)) == []
    (strip,) = one.cut(us(75.1))
    assert strip.missing == [Missing.GAPS]
    assert [(s.start_us, len(s.samples)) for s in strip.stretches] == [(us(50), 4 * 3 * 250)]


def test_a_chunk_from_the_future_does_not_end_the_strip() -> None:
    monitor = Monitor()
    ahead = monitor.chunk(55, 56, ahead_s=3000.0, arrives_s=56)
    log = sorted([*LOG, ahead], key=lambda chunk: chunk.arrived_us)
    assert codec.encode(frozen([], log)) == codec.encode(frozen([], LOG))


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x91" * 5000, bundle(PATIENT, LOG[0])[:-7]])
def test_bytes_that_are_no_bundle_are_refused_and_harm_nothing(value: bytes) -> None:
    one = freezer()
    one.take_alert(alarm(), us(61))
    made = feed(one, LOG[:30])
    with pytest.raises(ValueError, match=r"bundle|columns"):
        one.take_ecg(value, codec.MSGPACK, 0, 5, us(55))
    made += feed(one, LOG[30:])
    assert [strip.missing for strip in made] == [[]]
    assert one.kept_bytes > 0

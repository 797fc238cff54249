"""Cutting a strip: the samples that were sent, whatever happened to them on the way, and what is missing is said."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.alarms import steps
from tests.support.ecglog import Monitor, us
from vitals import codec, strips
from vitals.alerts import AlertEvent
from vitals.conditions import Condition
from vitals.strips import MOST_BYTES, NOT_MEASURED, Chunk, Missing, Stretch, Strip, Wanted

MOMENT_S = 60.0
LOG_S = (40, 75)
"""What a log holds around it, second by second."""
FOR_EVER_US = us(3600)


def wanted(condition: Condition = Condition.ASYSTOLE) -> Wanted:
    (raised,) = steps(AlertEvent.RAISED, condition=condition, onset_us=us(MOMENT_S))
    found = strips.wanted(raised, us(MOMENT_S + 1))
    assert found is not None
    return found


def strip_of(chunks: list[Chunk], *, let_go: bool = False) -> Strip:
    made = strips.cut(wanted(), chunks, read_us=FOR_EVER_US, let_go=let_go)
    assert made is not None
    return made


def samples_of(stretch: Stretch) -> np.ndarray:
    return np.frombuffer(stretch.samples, "<i2").reshape(len(stretch.leads), -1)


@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 360.0, 499.5, 2000.0])
@pytest.mark.parametrize("n_leads", [1, 12])
def test_a_strip_has_every_sample_of_ten_seconds_before_and_five_after_of_all_leads(
    rate_hz: float, n_leads: int
) -> None:
    monitor = Monitor(rate_hz, leads=tuple(f"L{k}" for k in range(n_leads)))
    made = strip_of(monitor.seconds(*LOG_S))
    (stretch,) = made.stretches
    assert made.missing == []
    assert (made.from_us, made.time_us, made.to_us) == (us(50), us(60), us(65))
    assert (stretch.rate_hz, stretch.gain_uv, stretch.leads) == (rate_hz, 5.0, list(monitor.leads))
    assert made.from_us <= stretch.start_us < made.from_us + 1e6 / rate_hz + 2
    first = round((stretch.start_us - us(0)) * rate_hz / 1e6)
    sent = monitor.samples(first / rate_hz, 65.0)
    assert np.array_equal(samples_of(stretch), sent[:, : samples_of(stretch).shape[1]])
    assert abs(sent.shape[1] - samples_of(stretch).shape[1]) <= 1


cuts = st.lists(st.integers(LOG_S[0] * 250 + 1, LOG_S[1] * 250 - 1), max_size=60, unique=True)


@given(cuts=cuts, again=st.sets(st.integers(0, 30)), order=st.randoms())
def test_the_bytes_do_not_depend_on_how_the_signal_came(cuts: list[int], again: set[int], order: object) -> None:
    monitor = Monitor()
    ends = [LOG_S[0], *(cut / 250 for cut in sorted(cuts)), LOG_S[1]]
    chunks = [monitor.chunk(a, b) for a, b in itertools.pairwise(ends)]
    repeats = [replace(c, arrived_us=c.arrived_us + 20_000, offset=c.offset + 1) for c in chunks]
    log = chunks + [repeats[i] for i in sorted(again) if i < len(repeats)]
    order.shuffle(log)  # type: ignore[attr-defined]
    assert codec.encode(strip_of(log)) == codec.encode(strip_of(monitor.seconds(*LOG_S)))


def test_of_a_chunk_that_overlaps_only_what_is_new_is_taken() -> None:
    monitor = Monitor()
    before, after = monitor.seconds(LOG_S[0], 58), monitor.seconds(60, LOG_S[1])
    log = [*before, monitor.chunk(57, 59), monitor.chunk(58, 60), *after]
    assert strip_of(log) == strip_of(monitor.seconds(*LOG_S))


def test_a_short_gap_is_bridged_as_not_measured_and_a_longer_one_ends_the_stretch() -> None:
    monitor = Monitor()
    head, tail = monitor.seconds(LOG_S[0], 55), monitor.seconds(56, LOG_S[1])
    short = strip_of([*head, monitor.chunk(55.4, 56), *tail])
    (stretch,) = short.stretches
    samples = samples_of(stretch)
    assert (samples[:, 1250:1350] == NOT_MEASURED).all()
    assert np.array_equal(samples[:, :1250], monitor.samples(50, 55))
    assert np.array_equal(samples[:, 1350:], monitor.samples(55.4, 65))
    assert short.missing == [Missing.GAPS]
    long = strip_of([*head, *tail])
    assert [(s.start_us, samples_of(s).shape[1]) for s in long.stretches] == [(us(50), 1250), (us(56), 2250)]
    assert long.missing == [Missing.GAPS]


def test_a_chunk_whose_place_is_passed_is_left_out_as_the_signal_path_leaves_it_out() -> None:
    monitor = Monitor()
    log = [*monitor.seconds(LOG_S[0], 55), *monitor.seconds(56, LOG_S[1])]
    late = monitor.chunk(55, 56, arrives_s=58)
    assert strip_of([*log, late]) == strip_of(log)


def test_another_rate_gain_or_name_of_a_lead_begins_a_stretch() -> None:
    begin, end = Monitor(), replace(Monitor(), rate_hz=500.0)
    for other in (end, replace(begin, gain_uv=2.5), replace(begin, leads=("MLII", "V5"))):
        made = strip_of([*begin.seconds(LOG_S[0], 57), *other.seconds(57, LOG_S[1])])
        first, second = made.stretches
        assert np.array_equal(samples_of(first), begin.samples(50, 57))
        assert np.array_equal(samples_of(second), other.samples(57, 65))
        assert (second.start_us, second.rate_hz, second.gain_uv) == (us(57), other.rate_hz, other.gain_uv)
        assert made.missing == []


def test_two_monitors_of_one_patient_are_both_there_each_at_its_own_rate() -> None:
    one, other = Monitor(), Monitor(360.0, ("II",), gateway="ward-b", partition=5)
    made = strip_of([*one.seconds(*LOG_S), *other.seconds(*LOG_S)])
    assert [(s.gateway, s.rate_hz, s.leads) for s in made.stretches] == [
        ("ward-a", 250.0, ["MLII", "V1"]),
        ("ward-b", 360.0, ["II"]),
    ]
    assert made.missing == []


def test_a_clock_that_is_set_forward_is_a_gap_and_one_set_back_is_not_followed() -> None:
    monitor = Monitor()
    head = monitor.seconds(LOG_S[0], 58)
    forward = [monitor.chunk(s, s + 1, ahead_s=3.0) for s in range(58, 75)]
    made = strip_of([*head, *forward])
    assert [s.start_us for s in made.stretches] == [us(50), us(61)]
    assert np.array_equal(samples_of(made.stretches[1]), monitor.samples(58, 62))
    back = [monitor.chunk(s, s + 1, ahead_s=-30.0) for s in range(58, 75)]
    (stretch,) = strip_of([*head, *back]).stretches
    assert np.array_equal(samples_of(stretch), monitor.samples(50, 58))


def test_it_waits_for_the_last_samples_and_then_for_what_may_still_come() -> None:
    monitor, one = Monitor(), wanted()
    chunks = monitor.seconds(*LOG_S)
    last = monitor.chunk(64, 65)
    assert strips.cut(one, chunks, read_us=last.arrived_us - 1) is None
    assert strips.cut(one, chunks, read_us=last.arrived_us) == strip_of(chunks)
    gone = monitor.seconds(LOG_S[0], 62)
    assert strips.cut(one, gone, read_us=one.until_us - 1) is None
    short = strips.cut(one, gone, read_us=one.until_us)
    assert short is not None
    assert short.missing == [Missing.GAPS]
    assert np.array_equal(samples_of(short.stretches[0]), monitor.samples(50, 62))


def test_a_patient_without_ecg_has_a_strip_that_says_so() -> None:
    assert (strip_of([]).stretches, strip_of([]).missing) == ([], [Missing.NO_ECG])
    assert strip_of([], let_go=True).missing == [Missing.LET_GO]
    assert strip_of(Monitor().seconds(*LOG_S), let_go=True).missing == []


def test_samples_that_the_monitor_itself_did_not_measure_are_a_gap() -> None:
    chunks = Monitor().seconds(*LOG_S)
    chunks[15] = replace(chunks[15], samples=np.full_like(chunks[15].samples, NOT_MEASURED))
    assert strip_of(chunks).missing == [Missing.GAPS]


def test_more_leads_than_a_strip_holds_are_left_out_and_it_remains_a_message() -> None:
    made = strip_of(Monitor(2000.0, leads=tuple(f"L{k}" for k in range(64))).seconds(*LOG_S))
    (stretch,) = made.stretches
    assert made.missing == [Missing.LARGE]
    assert len(stretch.leads) == MOST_BYTES // (2 * 15 * 2000)
    assert len(codec.encode(made)) < MOST_BYTES + 2000


@pytest.mark.parametrize(
    ("condition", "has_one"),
    [
        (Condition.ECG_NO_DATA, True),
        (Condition.VENTRICULAR_TACHYCARDIA, True),
        (Condition.GLUCOSE_NO_DATA, False),
        (Condition.PNEUMONIA_SUSPECTED, False),
        (Condition.ALARM_FLOOD, False),
    ],
)
def test_what_the_ecg_has_nothing_to_do_with_has_no_strip(condition: Condition, has_one: bool) -> None:
    (raised,) = steps(AlertEvent.RAISED, condition=condition, onset_us=us(MOMENT_S))
    bare = codec.decode(type(raised), codec.encode(raised))
    without = type(raised)(**{name: getattr(bare, name) for name in bare.__struct_fields__ if name != "evidence"})
    assert (strips.wanted(without, us(MOMENT_S)) is not None) is has_one


def test_only_what_is_raised_has_a_strip_not_its_further_steps() -> None:
    told = steps(AlertEvent.RAISED, AlertEvent.LATCHED, AlertEvent.RETURNED, onset_us=us(MOMENT_S))
    assert [strips.wanted(step, us(MOMENT_S)) is not None for step in told] == [True, False, False]


def test_neither_a_strip_nor_its_pieces_show_in_a_log() -> None:
    made = strip_of(Monitor().seconds(*LOG_S))
    assert made.patient not in repr(made)
    assert "b'" not in repr(made.stretches[0])

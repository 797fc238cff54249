"""The counting behind the table of the burden, on recordings made by hand; and one real corridor behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from bench.alarms import truth
from bench.alarms.burden import Burden, page_of, report_of
from bench.alarms.counting import Alarm, Replay, Verdict, begun, found
from bench.alarms.replays import ecg
from bench.alarms.truth import Event, Truth, What
from models.registry import Registry
from stream.modelslot import SHIPPED_BUNDLES, begin_serving, open_slots
from tests.support.alarms import steps
from vitals import simulate
from vitals.alerts import AlertEvent
from vitals.conditions import Condition

C, E = Condition, AlertEvent
JUDGED = frozenset({C.ASYSTOLE, C.VENTRICULAR_FIBRILLATION, C.VENTRICULAR_TACHYCARDIA})


def _replay(alarms: list[Alarm], *events: Event) -> Replay:
    return Replay("somebody", 3600.0, alarms, Truth(events, JUDGED, 0.0, 3600.0))


@pytest.mark.parametrize(
    ("alarm", "verdict"),
    [
        (Alarm(C.ASYSTOLE, 100, 104, 110), Verdict.TRUE),
        (Alarm(C.VENTRICULAR_FIBRILLATION, 104, 107, 120), Verdict.TRUE),  # another name: a person comes all the same
        (Alarm(C.ASYSTOLE, 114, 118, 125), Verdict.TRUE),  # 4 s after its end
        (Alarm(C.ASYSTOLE, 116, 120, 125), Verdict.FALSE),
        (Alarm(C.EXTREME_TACHYCARDIA, 500, 507, 520), Verdict.NOT_LABELLED),
    ],
)
def test_an_alarm_is_true_near_an_event_and_false_only_where_labels_would_know(alarm: Alarm, verdict: Verdict) -> None:
    assert _replay([alarm], Event(What.ASYSTOLE, 100, 110)).verdict(alarm) is verdict


def test_an_alarm_outside_of_what_was_labelled_is_not_judged() -> None:
    alarm = Alarm(C.ASYSTOLE, 5, 9, 20)
    replay = Replay("somebody", 60.0, [alarm], Truth((), JUDGED, 48.0, 61.0))
    assert replay.verdict(alarm) is Verdict.NOT_LABELLED


def test_an_alarm_where_more_may_have_happened_than_is_labelled_is_not_judged() -> None:
    inside, outside = (Alarm(C.VENTRICULAR_TACHYCARDIA, t - 2, t, t + 9) for t in (50, 80))
    replay = Replay("somebody", 90.0, [], Truth((), JUDGED, 0.0, 90.0, open=((40.0, 60.0),)))
    assert (replay.verdict(inside), replay.verdict(outside)) == (Verdict.NOT_LABELLED, Verdict.FALSE)


def test_an_event_is_found_by_a_red_alarm_in_time_and_named_by_its_own() -> None:
    events = [Event(What.ASYSTOLE, 100, 110), Event(What.VF, 200, 300), Event(What.VT, 400, 402, counts=False)]
    alarms = [
        Alarm(C.EXTREME_BRADYCARDIA, 99, 103, 112),
        Alarm(C.PVC_RUN, 201, 202, 290),  # not red
        Alarm(C.VENTRICULAR_FIBRILLATION, 210, 240, 290),  # 40 s late
    ]
    assert [(one.event.what, one.red, one.named) for one in found(_replay(alarms, *events))] == [
        (What.ASYSTOLE, True, False),
        (What.VF, False, False),
    ]


def test_an_episode_that_comes_back_while_it_is_latched_is_a_second_alarm() -> None:
    told = steps(E.RAISED, E.LATCHED, E.RETURNED, E.ESCALATED, E.ACKNOWLEDGED, E.CLEARED, onset_us=10_000_000)
    alarms = begun(told, 60.0, start_us=0)
    assert [(a.onset_s, a.told_s, a.over_s) for a in alarms] == [(10, 10, 11), (12, 12, 15)]
    assert begun(told[:1], 60.0, start_us=0)[0].over_s == 60.0


def test_beats_by_hand_become_the_events_they_are_by_definition(tmp_path: Path) -> None:
    """20 s of 75/min, six ventricular beats at 150/min, 5 s without a beat, then six beats at 36/min."""
    rate = 360
    times = [n * 0.8 for n in range(26)]
    symbols = ["N"] * 26
    times += [20.8 + n * 0.4 for n in range(1, 7)]
    symbols += "VVVVVV"
    times += [times[-1] + 5.0]
    times += [times[-1] + 1.667 * n for n in range(1, 6)]
    symbols += ["N"] * 6
    order = np.array([round(t * rate) for t in times])
    wfdb.wrann("made", "atr", order, symbol=symbols, fs=rate, write_dir=str(tmp_path))
    told = truth.mitdb(tmp_path / "made", 60.0)
    whats = {event.what for event in told.events if event.counts}
    assert whats == {What.VT, What.RUN, What.ASYSTOLE, What.EXTREME_BRADYCARDIA, What.SLOW}
    (vt,) = (event for event in told.events if event.what is What.VT)
    assert (round(vt.from_s, 1), round(vt.to_s, 1)) == (21.2, 23.2)


def test_the_figures_of_a_set_add_up() -> None:
    alarms = [Alarm(C.ASYSTOLE, 100, 104, 110), Alarm(C.ASYSTOLE, 900, 904, 910), Alarm(C.PVC_RUN, 901, 902, 903)]
    burden = Burden.of("made", [_replay(alarms, Event(What.ASYSTOLE, 100, 110)), Replay("other", 82_800.0, [])])
    report = report_of([burden])["made"]
    assert report["patient_days"] == 1.0
    assert report["alarms"]["asystole"] == {"priority": "high", "a_day": 2.0, "true": 1, "false": 1, "not labelled": 0}
    assert report["red_ppv"] == 0.5
    assert report["false_red"] == [["somebody", "asystole", 904]]
    assert report["worst_patient"] == ("somebody", 3)
    assert any(line.startswith("| made | 2 | 1.00 | 3.0 | 2 | 1 | 1 | 0 | 1.0 | 50 %") for line in page_of([burden]))


def test_a_recording_goes_through_the_corridor_of_the_wards(tmp_path: Path) -> None:
    """20 s of sinus rhythm, 12 s of asystole, sinus rhythm again, as a WFDB record: one true alarm."""
    script = [simulate.Stretch(simulate.Rhythm.SINUS, 20, 75), simulate.Stretch(simulate.Rhythm.ASYSTOLE, 12)]
    played = simulate.ecg(1, [*script, simulate.Stretch(simulate.Rhythm.SINUS, 20, 75)], 250.0)
    millivolts = played.samples.T.astype(np.float64) * played.gain_uv / 1000.0
    wfdb.wrsamp("made", 250, ["mV", "mV"], ["II", "V1"], millivolts, fmt=["16", "16"], write_dir=str(tmp_path))
    slots = open_slots(lambda _: None)
    begin_serving(Registry.seeded(tmp_path / "registry", SHIPPED_BUNDLES), slots)
    try:
        replay = ecg(tmp_path / "made", slots, lambda s: Truth((Event(What.ASYSTOLE, 20, 32),), JUDGED, 0.0, s))
    finally:
        for slot in slots.values():
            slot.close()
    (asystole,) = (alarm for alarm in replay.alarms if alarm.condition is C.ASYSTOLE)
    assert replay.verdict(asystole) is Verdict.TRUE
    assert 23 < asystole.told_s < 26
    assert [one.named for one in found(replay)] == [True]

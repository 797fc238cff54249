from __future__ import annotations

import math

import pytest

from stream.alerting import Deciding
from tests.support.stay import ANN, CALM_RHYTHM, Stay, at, batch, command, record
from vitals.alerts import AlertEvent, Signal
from vitals.conditions import Condition, Kind, Priority
from vitals.decision import Taken
from vitals.errors import Reason, Unusable
from vitals.findings import FindingBatch, Task, Verdict
from vitals.roles import ACTIONS, MAY, Role
from vitals.unit import read

E, C = AlertEvent, Condition


def asystole(stay: Stay, second: float) -> None:
    stay.rhythm(second, since_beat_ms=5000.0)


def test_a_latching_alarm_outlives_its_condition_until_somebody_acknowledges_it() -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.rhythm(2)
    assert stay.last(C.ASYSTOLE).signal is Signal.LATCHED
    assert not stay.last(C.ASYSTOLE).presence
    stay.do("acknowledge", 9, alert_id=stay.last(C.ASYSTOLE).alert_id)
    step = stay.last(C.ASYSTOLE)
    assert (step.event, step.signal, step.presence) == (E.ACKNOWLEDGED, Signal.OFF, False)
    assert (step.who, step.role, step.reason) == ("n.okafor", "nurse", "at the bed")
    assert step.time_us == at(9)


def test_what_comes_back_while_latched_is_the_same_alert() -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.rhythm(2)
    asystole(stay, 3)
    assert stay.course(C.ASYSTOLE) == [(E.RAISED, 1), (E.LATCHED, 2), (E.RETURNED, 3)]
    steps = [s for s in stay.steps if s.condition is C.ASYSTOLE]
    assert len({s.alert_id for s in steps}) == 1
    assert [s.step for s in steps] == [0, 1, 2]
    assert {s.onset_us for s in steps} == {at(1)}


def test_what_comes_back_after_an_acknowledgement_is_another_alert() -> None:
    stay = Stay()
    asystole(stay, 1)
    first = stay.last(C.ASYSTOLE).alert_id
    stay.do("acknowledge", 1.5)
    stay.rhythm(2)
    assert stay.last(C.ASYSTOLE).event is E.CLEARED
    asystole(stay, 3)
    assert stay.last(C.ASYSTOLE).event is E.RAISED
    assert stay.last(C.ASYSTOLE).alert_id != first


def test_an_acknowledgement_of_another_alert_or_condition_leaves_this_one_on() -> None:
    stay = Stay()
    asystole(stay, 1)
    assert stay.do("acknowledge", 2, alert_id="0" * 24) == []
    assert stay.do("acknowledge", 2, condition="glucose-low") == []
    assert stay.do("acknowledge", 2, condition="asystole", alert_id="0" * 24) == []
    assert stay.last(C.ASYSTOLE).signal is Signal.ON
    assert [s.event for s in stay.do("acknowledge", 2, condition="asystole")] == [E.ACKNOWLEDGED]


def test_an_acknowledgement_read_twice_is_told_once() -> None:
    stay = Stay()
    asystole(stay, 1)
    assert len(stay.do("acknowledge", 2)) == 1
    assert stay.do("acknowledge", 2) == []


def test_an_unanswered_alarm_is_escalated_twice_and_with_the_time_it_was_due() -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.tick(30.9)
    assert stay.last(C.ASYSTOLE).event is E.RAISED
    stay.tick(500)
    course = [(event, s) for event, s in stay.course(C.ASYSTOLE) if event is not E.LATCHED]
    assert course == [(E.RAISED, 1), (E.ESCALATED, 31), (E.ESCALATED, 61)]
    levels = [s.escalation for s in stay.steps if s.condition is C.ASYSTOLE and s.event is E.ESCALATED]
    assert levels == [1, 2]


def test_a_latched_alarm_goes_on_escalating() -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.rhythms(range(2, 35))
    stay.tick(35)
    assert stay.course(C.ASYSTOLE) == [(E.RAISED, 1), (E.LATCHED, 2), (E.ESCALATED, 31)]
    assert stay.last(C.ASYSTOLE).signal is Signal.LATCHED


def test_escalation_stops_on_acknowledgement_and_a_reminder_comes_while_the_danger_lasts() -> None:
    stay = Stay()
    stay.glucose(0, 50)
    stay.do("acknowledge", 60)
    stay.tick(600)
    assert stay.course(C.GLUCOSE_VERY_LOW) == [(E.RAISED, 0), (E.ACKNOWLEDGED, 60)]
    stay.glucose(15, 51)
    stay.tick(961)
    assert stay.course(C.GLUCOSE_VERY_LOW)[2:] == [(E.REMINDED, 960)]
    assert stay.last(C.GLUCOSE_VERY_LOW).signal is Signal.ON
    assert stay.last(C.GLUCOSE_VERY_LOW).escalation == 0


def test_a_pause_silences_what_is_on_and_ends_by_itself() -> None:
    stay = Stay()
    stay.glucose(0, 65)
    steps = stay.do("pause", 10, seconds=100)
    assert [(s.condition, s.event, s.signal) for s in steps] == [
        (None, E.PAUSED, Signal.PAUSED),
        (C.GLUCOSE_LOW, E.PAUSED, Signal.PAUSED),
    ]
    assert {s.until_us for s in steps} == {at(110)}
    assert steps[1].presence
    stay.tick(109.9)
    assert stay.last(C.GLUCOSE_LOW).event is E.PAUSED
    told = stay.tick(400).transitions
    assert [(s.condition, s.event, s.time_us) for s in told] == [
        (None, E.RESUMED, at(110)),
        (C.GLUCOSE_LOW, E.RESUMED, at(110)),
    ]


def test_a_pause_read_twice_is_told_once_and_a_shorter_one_takes_nothing_away() -> None:
    stay = Stay()
    stay.glucose(0, 65)
    assert len(stay.do("pause", 10, seconds=100)) == 2
    assert stay.do("pause", 10, seconds=100) == []
    assert stay.do("pause", 20, seconds=30) == []
    (longer,) = stay.do("pause", 100, seconds=60)
    assert (longer.condition, longer.until_us) == (None, at(160))
    stay.tick(200)
    assert stay.course(C.GLUCOSE_LOW)[-1] == (E.RESUMED, 160)


def test_a_reminder_waits_for_the_end_of_a_pause_and_escalation_starts_again_with_it() -> None:
    stay = Stay()
    for second in range(60):
        asystole(stay, second)
    stay.tick(60)
    assert stay.last(C.ASYSTOLE).escalation == 2
    stay.do("acknowledge", 61)
    stay.do("pause", 70, seconds=60)
    for second in range(60, 140):
        asystole(stay, second)
    stay.tick(129.9)
    assert stay.last(C.ASYSTOLE).event is E.ACKNOWLEDGED  # due at 121
    stay.tick(131)
    assert stay.course(C.ASYSTOLE)[-1] == (E.REMINDED, 130)
    assert stay.last(C.ASYSTOLE).escalation == 0
    stay.tick(161)
    assert stay.course(C.ASYSTOLE)[-1] == (E.ESCALATED, 160)
    assert stay.last(C.ASYSTOLE).escalation == 1


def test_an_alarm_begun_in_a_pause_stays_silent_until_its_end_unless_it_is_of_high_priority() -> None:
    stay = Stay()
    stay.glucose(0, 100)
    stay.do("pause", 10)
    stay.find(Task.GLUCOSE, 60, {"glucose_mg_dl": 65.0})
    assert (stay.last(C.GLUCOSE_LOW).event, stay.last(C.GLUCOSE_LOW).signal) == (E.RAISED, Signal.PAUSED)
    asystole(stay, 70)
    assert (stay.last(C.ASYSTOLE).event, stay.last(C.ASYSTOLE).signal) == (E.RAISED, Signal.ON)
    stay.tick(131)
    assert stay.last(C.GLUCOSE_LOW).signal is Signal.ON
    assert stay.course(C.GLUCOSE_LOW) == [(E.RAISED, 60), (E.RESUMED, 130)]


def test_a_pause_that_nobody_ended_does_not_silence_what_begins_after_it() -> None:
    stay = Stay()
    stay.glucose(0, 100)
    stay.do("pause", 10, seconds=60)
    stay.find(Task.GLUCOSE, 71, {"glucose_mg_dl": 65.0})
    assert stay.last(C.GLUCOSE_LOW).signal is Signal.ON


def test_a_latching_alarm_that_ends_in_a_pause_is_there_when_the_pause_is_over() -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.do("pause", 2, seconds=10)
    stay.rhythms(range(3, 14))
    stay.tick(13)
    assert stay.course(C.ASYSTOLE) == [(E.RAISED, 1), (E.PAUSED, 2), (E.LATCHED, 3), (E.RESUMED, 12)]
    assert stay.last(C.ASYSTOLE).signal is Signal.LATCHED


def test_resuming_ends_the_pause_at_once() -> None:
    stay = Stay()
    stay.glucose(0, 65)
    stay.do("pause", 10)
    assert [(s.condition, s.event) for s in stay.do("resume", 20)] == [(None, E.RESUMED), (C.GLUCOSE_LOW, E.RESUMED)]
    assert stay.do("resume", 21) == []
    stay.tick(300)
    assert [e for e, _ in stay.course(C.GLUCOSE_LOW)] == [E.RAISED, E.PAUSED, E.RESUMED]


def test_a_snooze_holds_for_its_condition_only() -> None:
    stay = Stay()
    stay.glucose(0, 190)
    stay.glucose(10, 190)
    assert stay.last(C.GLUCOSE_HIGH).signal is Signal.ON
    stay.do("snooze", 700, condition="glucose-high", seconds=7200)
    assert (stay.last(C.GLUCOSE_HIGH).event, stay.last(C.GLUCOSE_HIGH).signal) == (E.PAUSED, Signal.PAUSED)
    stay.glucose(15, 65)
    assert stay.last(C.GLUCOSE_LOW).signal is Signal.ON
    stay.glucose(20, 190)
    stay.glucose(30, 190)
    assert (stay.last(C.GLUCOSE_HIGH).event, stay.last(C.GLUCOSE_HIGH).signal) == (E.RAISED, Signal.PAUSED)
    for minute in range(35, 135, 5):
        stay.glucose(minute, 190)
    stay.tick(7901)
    assert stay.course(C.GLUCOSE_HIGH)[-1] == (E.RESUMED, 7900)


def test_a_snooze_of_what_is_quiet_is_told_and_outlasts_a_pause() -> None:
    stay = Stay()
    stay.glucose(0, 100)
    (note,) = stay.do("snooze", 10, condition="glucose-low", seconds=600)
    assert (note.event, note.alert_id, note.until_us) == (E.SNOOZED, "", at(610))
    stay.do("pause", 20, seconds=60)
    stay.find(Task.GLUCOSE, 50, {"glucose_mg_dl": 65.0})
    stay.tick(100)
    assert stay.last(C.GLUCOSE_LOW).signal is Signal.PAUSED
    stay.tick(611)
    assert stay.course(C.GLUCOSE_LOW)[1:] == [(E.RAISED, 50), (E.RESUMED, 610)]


def test_a_snoozed_high_that_climbs_on_calls_again_and_a_wobble_does_not() -> None:
    stay = Stay()
    stay.glucose(0, 190)
    stay.glucose(10, 190)
    stay.do("snooze", 601, condition="glucose-high", seconds=7200)
    stay.glucose(15, 200)
    stay.glucose(20, 229)
    assert stay.last(C.GLUCOSE_HIGH).signal is Signal.PAUSED
    stay.glucose(25, 231)
    void = stay.last(C.GLUCOSE_HIGH)
    assert (void.event, void.signal, void.time_us) == (E.RESUMED, Signal.ON, at(1500))
    assert "void" in void.text
    stay.glucose(30, 290)
    assert stay.course(C.GLUCOSE_HIGH)[-1] == (E.CLEARED, 1800)  # a very high one takes its place


def test_a_snoozed_low_rate_that_falls_on_calls_again_and_can_be_snoozed_again() -> None:
    stay = Stay()
    stay.rhythms(range(12), heart_rate_bpm=49.0)
    stay.do("snooze", 12, condition="heart-rate-low", seconds=1800)
    stay.rhythms(range(13, 20), heart_rate_bpm=52.0)
    assert stay.last(C.HEART_RATE_LOW).signal is Signal.PAUSED
    stay.rhythms(range(20, 23), heart_rate_bpm=41.0)
    assert stay.course(C.HEART_RATE_LOW)[-1] == (E.RESUMED, 20)
    stay.do("snooze", 23, condition="heart-rate-low", seconds=1800)
    stay.rhythms(range(23, 30), heart_rate_bpm=41.0)
    assert stay.last(C.HEART_RATE_LOW).signal is Signal.PAUSED


@pytest.mark.parametrize("noticed_s", [22, 300])
def test_a_snooze_is_void_when_the_stream_falls_silent(noticed_s: float) -> None:
    """By the passing of time, or by the finding that ends the silence: with the same times."""
    stay = Stay()
    stay.rhythms(range(12), heart_rate_bpm=130.0)
    stay.do("snooze", 12, condition="heart-rate-high", seconds=1800)
    stay.do("snooze", 12, condition="ecg-lead-off", seconds=1800)
    stay.tick(noticed_s) if noticed_s < 60 else stay.rhythm(50, heart_rate_bpm=130.0)
    assert stay.course(C.HEART_RATE_HIGH)[-1] == (E.RESUMED, 21)
    assert stay.last(C.HEART_RATE_HIGH).signal is Signal.ON
    assert stay.course(C.ECG_LEAD_OFF) == [(E.SNOOZED, 12)]  # equipment may stay snoozed


def test_a_snooze_is_void_when_its_measure_lapses() -> None:
    stay = Stay()
    stay.rhythms(range(12), heart_rate_bpm=130.0)
    stay.do("snooze", 12, condition="heart-rate-high", seconds=1800)
    stay.rhythms(range(12, 80), heart_rate_bpm=None)
    assert [e for e, _ in stay.course(C.HEART_RATE_HIGH)][-2:] == [E.CLEARED, E.RESUMED]
    stay.rhythms(range(80, 95), heart_rate_bpm=130.0)
    assert stay.last(C.HEART_RATE_HIGH).signal is Signal.ON


@pytest.mark.parametrize(("role", "action"), [(r, a) for r in [*Role, "matron"] for a in ACTIONS])
def test_a_role_may_do_what_its_row_of_the_table_says_and_nothing_else(role: str, action: str) -> None:
    stay = Stay()
    asystole(stay, 1)
    details = {
        "snooze": {"condition": "asystole"},
        "limit": {"condition": "asystole", "upper": 5.0},
        "admit": {"condition": "glucose-no-data"},
    }.get(action, {})
    allowed = action in MAY.get(Role(role), ()) if role in tuple(Role) else False
    if allowed:
        stay.do(action, 2, role=role, **details)
        return
    before = stay.deciding.snapshot()
    with pytest.raises(Unusable, match="not for this role"):
        stay.do(action, 2, role=role, **details)
    assert stay.deciding.snapshot() == before


def test_a_unit_gives_its_own_limits_delays_and_rights() -> None:
    unit = read(
        """
        [heart-rate-high]
        limit = 100
        on_delay_s = 5
        escalate_s = 20
        [roles]
        nurse = ["acknowledge"]
        """
    )
    stay = Stay(Deciding(unit))
    stay.rhythms(range(10), heart_rate_bpm=110.0)
    stay.tick(26)
    assert stay.course(C.HEART_RATE_HIGH) == [(E.RAISED, 5), (E.ESCALATED, 25)]
    with pytest.raises(Unusable, match="not for this role"):
        stay.do("pause", 27)


def test_after_a_restart_with_another_unit_moved_limits_stay_and_the_others_are_the_units() -> None:
    stay = Stay()
    stay.rhythm(0)
    stay.do("limit", 1, condition="heart-rate-low", lower=55.0)
    other = Stay(Deciding(read("[heart-rate-high]\nlimit = 100")))
    other.deciding.restore(stay.deciding.snapshot())
    other.rhythms(range(2, 20), heart_rate_bpm=110.0)
    other.rhythms(range(20, 40), heart_rate_bpm=54.0)
    assert other.course(C.HEART_RATE_HIGH)[0] == (E.RAISED, 12)
    assert other.course(C.HEART_RATE_LOW) == [(E.RAISED, 30)]


def test_a_moved_limit_holds_from_the_next_finding_and_says_who_moved_it() -> None:
    stay = Stay()
    stay.rhythms(range(3), heart_rate_bpm=130.0)
    (note,) = stay.do("limit", 3, condition="heart-rate-high", upper=135.0)
    assert note.event is E.LIMITED
    assert note.who == "n.okafor"
    assert "135" in note.text
    assert "120" in note.text
    assert stay.do("limit", 3, condition="heart-rate-high", upper=135.0) == []
    stay.rhythms(range(3, 30), heart_rate_bpm=135.0)
    assert stay.course(C.HEART_RATE_HIGH) == [(E.LIMITED, 3)]
    stay.rhythms(range(30, 41), heart_rate_bpm=136.0)
    assert stay.course(C.HEART_RATE_HIGH)[1:] == [(E.RAISED, 40)]
    assert stay.last(C.HEART_RATE_HIGH).evidence.limit == 135.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "limit", "condition": "heart-rate-high", "upper": 181.0},
        {"action": "limit", "condition": "heart-rate-high", "upper": math.nan},
        {"action": "limit", "condition": "heart-rate-high", "lower": 100.0},
        {"action": "limit", "condition": "heart-rate-high", "upper": 130.0, "lower": 100.0},
        {"action": "limit", "condition": "heart-rate-high"},
        {"action": "limit", "condition": "heart-rate-low", "lower": 29.0},
        {"action": "limit", "condition": "heart-rate-low", "lower": 40.0},  # meets extreme bradycardia
        {"action": "limit", "condition": "ecg-lead-off", "upper": 1.0},
        {"action": "limit", "condition": "fever", "upper": 1.0},
        {"action": "limit", "upper": 130.0},
        {"action": "pause", "seconds": 120.1},
        {"action": "pause", "seconds": 0.0},
        {"action": "pause", "seconds": -5.0},
        {"action": "pause", "seconds": math.nan},
        {"action": "pause", "seconds": math.inf},
        {"action": "snooze"},
        {"action": "snooze", "condition": "asystole", "seconds": 61.0},
        {"action": "acknowledge", "condition": "fever"},
        {"action": "acknowledge", "who": ""},
        {"action": "acknowledge", "who": "  "},
        {"action": "acknowledge", "role": ""},
        {"action": "acknowledge", "patient": "nobody"},
        {"action": "admit", "condition": "asystole"},
        {"action": "admit", "condition": "asystole", "patient": "new"},
        {"action": "pause", "seconds": 60.0, "at": 92.1},  # a minute and more after its arrival
        {"action": "pause", "seconds": 60.0, "at": -2e9},
    ],
    ids=str,
)
def test_a_command_that_may_not_be_done_is_refused_and_changes_nothing(wrong: dict[str, object]) -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.tick(2)
    before = stay.deciding.snapshot()
    details = dict(wrong)
    action, when = str(details.pop("action")), float(details.pop("at", 2.0))  # type: ignore[arg-type]
    asked = command(action, when, **{"patient": ANN, **details})  # type: ignore[arg-type]
    with pytest.raises(Unusable) as refused:
        stay.deciding.command(asked, at(32) // 1000)
    assert refused.value.reason is Reason.REFUSED_COMMAND
    assert "ann" not in str(refused.value)
    assert stay.deciding.snapshot() == before


def test_a_patient_admitted_without_any_data_is_alarmed_about() -> None:
    stay = Stay()
    (note,) = stay.do("admit", 0)
    assert note.event is E.ADMITTED
    assert stay.do("admit", 5) == []
    stay.tick(10)
    assert stay.course(C.ECG_NO_DATA) == []
    stay.tick(77)
    assert stay.course(C.ECG_NO_DATA) == [(E.RAISED, 10)]
    stay.tick(1201)
    assert stay.course(C.GLUCOSE_NO_DATA) == [(E.RAISED, 1200)]
    stay.rhythm(1300)
    assert stay.course(C.ECG_NO_DATA)[-1] == (E.CLEARED, 1300)


def test_only_the_stream_named_at_admission_is_expected() -> None:
    stay = Stay()
    stay.do("admit", 0, condition="ecg-no-data")
    stay.tick(5000)
    assert {step.condition for step in stay.steps if step.alert_id} == {C.ECG_NO_DATA}


@pytest.mark.parametrize("ticks", [(), (110.5,), (110.5, 111.5, 140.0), tuple(range(101, 190))])
def test_silence_is_told_with_the_same_times_whenever_it_is_noticed(ticks: tuple[float, ...]) -> None:
    stay = Stay()
    stay.rhythm(100)
    for second in ticks:
        stay.tick(second)
    stay.rhythm(189.5)
    steps = [s for s in stay.steps if s.condition is C.ECG_NO_DATA and s.event is not E.ESCALATED]
    assert [(s.event, s.time_us, s.input_ms) for s in steps] == [
        (E.RAISED, at(110), 0),
        (E.CLEARED, at(189.5), at(189.5) // 1000 + 40),
    ]
    assert steps[1].evidence.value == 89.5  # type: ignore[union-attr]


def test_a_stream_that_comes_in_time_is_never_silent() -> None:
    stay = Stay()
    for second in (0, 10, 20):
        stay.rhythm(second)
        stay.tick(second + 10)
    assert stay.steps == []
    stay.tick(30.000001)
    assert stay.course(C.ECG_NO_DATA) == [(E.RAISED, 30)]


def test_old_data_that_come_late_do_not_end_the_silence() -> None:
    stay = Stay()
    stay.rhythm(0)
    stay.tick(60)
    for second in range(1, 50):
        stay.rhythm(second)
    assert stay.course(C.ECG_NO_DATA) == [(E.RAISED, 10)]
    stay.rhythm(50)
    assert stay.course(C.ECG_NO_DATA) == [(E.RAISED, 10), (E.CLEARED, 50)]


def test_what_can_no_longer_be_measured_ends_by_itself_though_nothing_comes() -> None:
    stay = Stay()
    stay.rhythms(range(11), heart_rate_bpm=130.0)
    stay.tick(200)
    assert [c for c in stay.course(C.HEART_RATE_HIGH) if c[0] is not E.ESCALATED] == [(E.RAISED, 10), (E.CLEARED, 70)]
    assert stay.last(C.HEART_RATE_HIGH).evidence.value is None  # type: ignore[union-attr]


def test_what_is_due_is_met_in_the_order_of_its_times_however_late() -> None:
    often, once = Stay(), Stay()
    for stay in (often, once):
        stay.rhythms(range(11), heart_rate_bpm=130.0)
        stay.glucose(0.2, 50, below_70=0.9)
        stay.do("pause", 15, seconds=120)
    for second in range(16, 4000):
        often.tick(second)
    once.tick(3999)
    assert often.steps == once.steps
    assert {s.event for s in once.steps} >= {E.RESUMED, E.ESCALATED, E.CLEARED}
    assert often.deciding.snapshot() == once.deciding.snapshot()


def test_time_that_goes_backwards_changes_nothing() -> None:
    stay = Stay()
    stay.rhythm(100)
    stay.tick(105)
    before = stay.deciding.snapshot()
    assert stay.tick(50).transitions == []
    assert stay.deciding.snapshot() == before


def test_a_discharge_withdraws_every_alarm_and_stragglers_do_not_admit_again() -> None:
    stay = Stay()
    asystole(stay, 1)
    stay.do("limit", 2, condition="heart-rate-high", upper=139.0)
    steps = stay.do("discharge", 3)
    assert [(s.condition, s.event) for s in steps] == [(C.ASYSTOLE, E.WITHDRAWN), (None, E.DISCHARGED)]
    assert stay.do("discharge", 3) == []
    asystole(stay, 4)
    stay.tick(60)
    assert stay.steps[-1].event is E.DISCHARGED
    stay.rhythms(range(100, 111), heart_rate_bpm=130.0)
    assert stay.course(C.HEART_RATE_HIGH)[-1] == (E.RAISED, 110)  # with the limit of an adult again


def test_a_discharged_patient_is_forgotten_after_an_hour() -> None:
    stay = Stay()
    stay.rhythm(0)
    stay.do("discharge", 1)
    stay.tick(3600)
    assert stay.deciding.patients == 1
    stay.tick(3602)
    assert stay.deciding.patients == 0
    stay.rhythm(4000)
    assert stay.deciding.patients == 1


def test_an_old_admission_or_discharge_read_again_does_nothing() -> None:
    stay = Stay()
    stay.do("admit", 0)
    stay.do("discharge", 10)
    assert stay.do("admit", 0) == []
    assert [s.event for s in stay.do("admit", 20)] == [E.ADMITTED]
    assert stay.do("discharge", 10) == []


def test_a_finding_known_before_changes_nothing() -> None:
    stay = Stay()
    asystole(stay, 1)
    before = stay.deciding.snapshot()
    for second in (1, 0.5):
        decided = stay.rhythm(second)
        assert (decided.findings[Taken.KNOWN], decided.risks, decided.transitions) == (1, [], [])
    assert stay.deciding.snapshot() == before


def test_a_batch_that_cannot_be_read_is_refused_whole_and_harms_no_other() -> None:
    good = batch(Task.ECG_RHYTHM, [(ANN, 1, {"since_beat_ms": 5000.0}, Verdict.GOOD)])

    def broken(**changes: object) -> FindingBatch:
        fields = {name: getattr(good, name) for name in good.__struct_fields__}
        return FindingBatch(**(fields | {"patients": ["bob"]} | changes))

    wrong = [
        broken(row=[1]),
        broken(row=[-1]),
        broken(row=[0, 0]),
        broken(end_us=[]),
        broken(end_us=[2**70]),
        broken(end_us=[0]),
        broken(verdict=[-1]),
        broken(verdict=[1000]),
        broken(input_ms=[-(2**70)]),
        broken(columns=["heart_rate_bpm"]),
        broken(columns=[*good.columns[1:], "a"]),
        broken(values=good.values[:-1]),
        broken(ref=["a", "b"]),
    ]
    deciding = Deciding()
    decided = deciding.decide([*map(record, wrong), record(good)])
    assert [place for place, _ in decided.refused] == list(range(len(wrong)))
    assert {why.reason for _, why in decided.refused} == {Reason.INCONSISTENT, Reason.IMPOSSIBLE_TIME}
    assert [(s.patient, s.event) for s in decided.transitions] == [(ANN, E.RAISED)]
    assert deciding.patients == 1


def test_a_finding_of_an_older_version_says_nothing_of_the_columns_that_came_later() -> None:
    stay = Stay()
    new = batch(
        Task.ECG_RHYTHM, [(ANN, 1, CALM_RHYTHM | {"heart_rate_bpm": 150.0, "since_beat_ms": 5000.0}, Verdict.GOOD)]
    )
    fields = {name: getattr(new, name) for name in new.__struct_fields__}
    old = FindingBatch(**(fields | {"columns": new.columns[:5], "values": new.values[:5]}))
    decided = stay.deciding.decide([record(old)])
    assert not decided.refused
    assert [step.condition for step in decided.transitions] == [C.ASYSTOLE]


def test_an_empty_call_decides_nothing() -> None:
    deciding = Deciding()
    assert deciding.decide([]).risks == []
    assert deciding.decide([record(batch(Task.GLUCOSE, []))]).risks == []
    assert deciding.tick(at(0)).transitions == []
    assert deciding.census().unacknowledged == dict.fromkeys(Priority, 0)


def test_the_census_counts_what_is_present_unanswered_and_overdue() -> None:
    deciding = Deciding()
    ann, bob = Stay(deciding, "ann"), Stay(deciding, "bob")
    asystole(ann, 1)
    ann.glucose(0.1, 66)
    bob.rhythm(100)
    bob.glucose(1, 64)
    bob.do("acknowledge", 101)
    deciding.tick(at(105))
    census = deciding.census()
    assert census.present[Priority.HIGH, Kind.PHYSIOLOGICAL] == 0  # lapsed
    assert census.present[Priority.MEDIUM, Kind.PHYSIOLOGICAL] == 2
    assert census.present[Priority.MEDIUM, Kind.TECHNICAL] == 1
    assert census.unacknowledged == {Priority.HIGH: 1, Priority.MEDIUM: 2, Priority.LOW: 0}
    assert census.stale == {Task.ECG_RHYTHM: 1, Task.GLUCOSE: 0}
    assert census.expected == {Task.ECG_RHYTHM: 2, Task.GLUCOSE: 2}


def burst(stay: Stay, begin_s: int, count: int, every_s: int = 30) -> None:
    """Runs of ventricular beats: each is an alarm, and over before the next."""
    for k in range(count):
        at_s = begin_s + k * every_s
        for i in range(3):
            stay.beat(at_s + 0.9 * i, ventricular=True, rr_pre_ms=900.0)
        for i in range(3, every_s - 3):
            stay.beat(at_s + 0.9 * i)


def test_the_tenth_alarm_in_ten_minutes_is_a_flood_and_says_what_it_is_made_of() -> None:
    stay = Stay()
    burst(stay, 0, 9)
    assert stay.course(C.ALARM_FLOOD) == []
    burst(stay, 270, 1)
    raised = stay.last(C.ALARM_FLOOD)
    assert (raised.event, raised.priority, raised.time_us) == (E.RAISED, Priority.MEDIUM, at(271.8))
    assert "10 in 10 min" in raised.text
    assert "PVC run" in raised.text
    stay.tick(602)
    assert stay.course(C.ALARM_FLOOD)[1:] == [(E.ESCALATED, 571.8), (E.CLEARED, 601.8)]


def test_a_flood_takes_no_alarm_away() -> None:
    stay = Stay()
    burst(stay, 0, 100)
    asystole(stay, 2991)
    assert len([e for e, _ in stay.course(C.PVC_RUN) if e is E.RAISED]) == 100
    assert [e for e, _ in stay.course(C.ALARM_FLOOD)].count(E.RAISED) == 1
    assert (stay.last(C.ASYSTOLE).event, stay.last(C.ASYSTOLE).signal) == (E.RAISED, Signal.ON)


def test_nine_alarms_in_ten_minutes_and_one_a_minute_are_no_flood() -> None:
    stay = Stay()
    burst(stay, 0, 12, every_s=67)
    assert stay.course(C.ALARM_FLOOD) == []


def test_a_flood_that_ebbed_before_the_next_alarm_is_told_as_over_first() -> None:
    stay = Stay()
    burst(stay, 0, 10)
    burst(stay, 700, 1)
    assert [e for e, _ in stay.course(C.ALARM_FLOOD) if e is not E.ESCALATED] == [E.RAISED, E.CLEARED]


def test_a_flood_survives_a_restart() -> None:
    before, after = Stay(), Stay()
    burst(before, 0, 9)
    after.deciding.restore(before.deciding.snapshot())
    burst(after, 270, 1)
    assert [e for e, _ in after.course(C.ALARM_FLOOD)] == [E.RAISED]

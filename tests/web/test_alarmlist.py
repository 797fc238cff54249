"""Open alarms as the topic tells them, played by the real decide half."""

from __future__ import annotations

import random

from stream.web.alarmlist import AlarmList, urgency
from tests.support.stay import ANN, Stay
from vitals.alerts import AlertTransition, Signal
from vitals.conditions import Condition, Priority


def told(steps: list[AlertTransition]) -> AlarmList:
    alarms = AlarmList()
    for step in steps:
        alarms.take(step)
    return alarms


def low_glucose() -> Stay:
    stay = Stay()
    stay.glucose(0, 100)
    stay.glucose(5, 50)
    return stay


def test_an_alarm_is_open_from_raised_to_cleared() -> None:
    stay = low_glucose()
    assert [a.condition for a in told(stay.steps).of(ANN)] == [Condition.GLUCOSE_VERY_LOW]
    stay.do("acknowledge", 400, condition=Condition.GLUCOSE_VERY_LOW)
    alarm = told(stay.steps).of(ANN)[0]
    assert (alarm.signal, alarm.who) == (Signal.ACKNOWLEDGED, "n.okafor")
    stay.glucose(10, 120)
    assert told(stay.steps).of(ANN) == []


def test_a_replay_in_any_order_brings_nothing_back() -> None:
    stay = low_glucose()
    stay.glucose(10, 120)
    alarms = told(stay.steps)
    shuffled = stay.steps * 2
    random.Random(4).shuffle(shuffled)
    for step in shuffled:
        alarms.take(step)
    assert alarms.all() == []


def test_steps_that_overtake_each_other_end_in_the_newest() -> None:
    stay = low_glucose()
    stay.do("acknowledge", 400, condition=Condition.GLUCOSE_VERY_LOW)
    assert told(stay.steps[::-1]).of(ANN)[0].signal is Signal.ACKNOWLEDGED


def test_an_escalation_still_shows_what_it_was_raised_for() -> None:
    stay = low_glucose()
    stay.tick(5 * 60 + 301)
    alarm = told(stay.steps).of(ANN)[0]
    assert alarm.escalation == 1
    assert alarm.evidence is not None
    assert alarm.evidence.value == 50


def test_an_alarm_that_is_over_still_shows_what_it_was_raised_for() -> None:
    stay = Stay()
    stay.rhythms(range(20), heart_rate_bpm=150.0)
    stay.rhythms(range(20, 40))
    (alarm,) = told(stay.steps).of(ANN)
    assert (alarm.condition, alarm.signal) == (Condition.EXTREME_TACHYCARDIA, Signal.LATCHED)
    assert alarm.evidence is not None
    assert alarm.evidence.value == 150.0


def test_an_answered_high_alarm_is_less_urgent_than_an_unanswered_low_one() -> None:
    stay = low_glucose()
    high = told(stay.steps).of(ANN)
    assert high[0].priority is Priority.HIGH
    assert urgency(high) == 6
    stay.do("acknowledge", 400, condition=Condition.GLUCOSE_VERY_LOW)
    assert urgency(told(stay.steps).of(ANN)) == 3
    assert urgency([]) == 0


def test_a_pause_is_kept_until_its_end() -> None:
    stay = low_glucose()
    stay.do("pause", 400, seconds=60.0)
    alarms = told(stay.steps)
    assert ANN in alarms.paused_until_us
    stay.do("resume", 410)
    assert ANN not in told(stay.steps).paused_until_us

"""What alarms ask of the staff, counted from the steps in their log."""

from __future__ import annotations

import pytest

from stream import burden
from stream.burden import Burden, report
from tests.support.alarms import PATIENT, publish, steps
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import SystemClock
from vitals.conditions import Condition
from vitals.events import Label
from vitals.selftest import PREFIX

E = AlertEvent
DAY_US = 86_400_000_000


def told(*alarms: list[AlertTransition]) -> Burden:
    found = Burden()
    for alarm in alarms:
        for step in alarm:
            found.take(step)
    return found


def label(step: AlertTransition, value: str) -> Label:
    return Label(patient=step.patient, task="", end_us=0, value=value, who="n", when_us=1, alert_id=step.alert_id)


def test_alarms_are_counted_by_bed_and_day_and_a_step_told_twice_once() -> None:
    asystole = steps(E.RAISED, E.ESCALATED, E.ACKNOWLEDGED, E.CLEARED)
    lead_off = steps(E.RAISED, E.CLEARED, condition=Condition.ECG_LEAD_OFF, patient="bob")
    next_day = steps(E.RAISED, condition=Condition.ALARM_FLOOD, onset_us=DAY_US + 1)
    found = told(asystole, asystole, lead_off, next_day)
    assert dict(found.alarms[PATIENT, "1970-01-01"]) == {"high": 1, "technical": 0, "floods": 0, "escalated": 1}
    assert found.alarms["bob", "1970-01-01"]["technical"] == 1
    assert found.alarms[PATIENT, "1970-01-02"]["floods"] == 1
    assert found.answered_s[PATIENT, "1970-01-01"] == [2.0]


def test_the_patients_of_the_self_test_are_no_burden() -> None:
    assert not told(steps(E.RAISED, E.CLEARED, patient=f"{PREFIX}0.0")).alarms


def test_the_report_says_how_many_of_the_judged_were_true_and_names_nobody_unless_asked() -> None:
    first, second = steps(E.RAISED), steps(E.RAISED, onset_us=2_000_000)
    found = told(first, second)
    found.judge(label(first[0], "true"))
    found.judge(label(second[0], "false"))
    found.judge(label(steps(E.RAISED, patient="bob")[0], "true"))  # an alarm from before
    lines = list(report(found, by_bed=False))
    assert lines[1].split() == ["1970-01-01", "1", "2", "0", "0", "0", "0", "0", "2.0", "2", "1", "of", "2"]
    assert PATIENT not in "".join(lines)
    assert PATIENT in "".join(report(found, by_bed=True))


@pytest.mark.broker
def test_it_is_read_from_the_topics(kafka_topics: str, capsys: pytest.CaptureFixture[str]) -> None:
    publish(kafka_topics, steps(E.RAISED, E.ACKNOWLEDGED, onset_us=SystemClock().now_us()))
    assert burden.main(["--last", "1h", "--kafka", kafka_topics]) == 0
    _, day = capsys.readouterr().out.splitlines()
    assert day.split()[1:3] == ["1", "1"]

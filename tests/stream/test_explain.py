"""Why an alarm was told, and what is said where other code had told it. The whole way: ``test_end_to_end``."""

from __future__ import annotations

import time
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from stream import explain
from stream.alerting import Deciding
from stream.codeversion import CODE
from stream.explain import Outcome, Written
from stream.topics import Topic
from tests.support.alarms import publish, steps
from tests.support.stay import ANN, CALM_RHYTHM, START_US, batch, record
from tests.support.topics import write_of
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.findings import Task, Verdict
from vitals.unit import FACTORY
from vitals.units import US_PER_S

OTHER = "0" * 12


def written(step: AlertTransition) -> Written:
    return Written(0, 0, codec.encode(step), step)


def test_bytes_that_differ_are_laid_to_the_code_only_where_the_code_differs() -> None:
    (step,) = (replace(s, code=CODE) for s in steps(AlertEvent.RAISED))
    otherwise = replace(step, text="Asystole: of another kind")
    assert written(step).against(step) is Outcome.SAME
    assert written(step).against(None) is Outcome.ABSENT
    assert written(step).against(otherwise) is Outcome.DIFFERENT
    assert written(replace(step, code=OTHER)).against(step) is Outcome.SAME_BY_OTHER_CODE
    assert written(replace(step, code=OTHER)).against(otherwise) is Outcome.CHANGED_BY_CODE


def test_a_step_from_before_there_was_a_version_is_the_same_but_for_it() -> None:
    (step,) = (replace(s, code=CODE) for s in steps(AlertEvent.RAISED))
    value = codec.encode(replace(step, code=""))
    fields = msgspec.msgpack.decode(codec.encode(step))
    del fields["code"]
    value = msgspec.msgpack.encode(fields)
    without = Written(0, 0, value, codec.decode(AlertTransition, value))
    assert without.against(step) is Outcome.SAME_BY_OTHER_CODE


@pytest.mark.broker
def test_an_alarm_of_other_code_is_explained_and_not_called_different(
    kafka_topics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began_s = round(time.time() - START_US / US_PER_S) - 60
    rhythms = [CALM_RHYTHM | {"heart_rate_bpm": 130.0 if s < 20 else 80.0} for s in range(40)]
    found = [record(batch(Task.ECG_RHYTHM, [(ANN, began_s + s, r, Verdict.GOOD)])) for s, r in enumerate(rhythms)]
    deciding = Deciding()
    told = [step for one in found for step in deciding.decide([one]).transitions]
    assert [s.event for s in told] == [AlertEvent.RAISED, AlertEvent.CLEARED]
    assert {s.code for s in told} == {CODE}
    write_of(kafka_topics, Topic.FINDINGS, ANN, found)
    publish(kafka_topics, [replace(s, code=OTHER) for s in told])
    assert explain.main([told[0].alert_id, "--kafka", kafka_topics]) == 0
    said = capsys.readouterr().out
    assert f"decided by rules and limits {FACTORY.version}, code {OTHER}" in said
    assert f"decided again by rules and limits {FACTORY.version}, code {CODE}" in said
    assert "2 of 2 steps come out of the log to the same bytes, but for the version of the code" in said

    publish(kafka_topics, [replace(told[0], code=OTHER, text="said otherwise")])
    again = explain.explain(kafka_topics, told[0].alert_id, FACTORY, timedelta(hours=1))
    assert again is not None
    assert again.outcomes == [Outcome.CHANGED_BY_CODE, Outcome.SAME_BY_OTHER_CODE]
    assert explain.main([told[0].alert_id, "--kafka", kafka_topics]) == 1
    assert "it was decided by other code" in capsys.readouterr().out

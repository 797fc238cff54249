from __future__ import annotations

import itertools
from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitals import codec
from vitals.alerts import (
    IMPOSSIBLE,
    TRANSITIONS,
    AlertEvent,
    AlertTransition,
    Evidence,
    FindingRef,
    Signal,
    State,
    Stimulus,
    alert_id,
    transition,
)
from vitals.bed import TASK_INDEX
from vitals.conditions import CONDITIONS, INDEX, NO_DATA, PAUSE_MAX_S, RULES, Condition, Kind, Priority, title
from vitals.errors import Fault
from vitals.findings import COLUMNS, Task
from vitals.limits import ADULT, LADDERS
from vitals.measures import BEAT_TASK, GLUCOSE_TASK, MEASURED, READ, RHYTHM_TASK


def test_every_pair_of_state_and_stimulus_is_either_in_the_table_or_declared_impossible() -> None:
    pairs = set(itertools.product(State, Stimulus))
    listed = {(state, stimulus) for state, row in TRANSITIONS.items() for stimulus in row}
    assert listed | IMPOSSIBLE == pairs
    assert not listed & IMPOSSIBLE


@pytest.mark.parametrize(("state", "stimulus"), sorted(IMPOSSIBLE))
def test_what_cannot_come_about_stops_the_line(state: State, stimulus: Stimulus) -> None:
    with pytest.raises(Fault, match=state.name):
        transition(state, stimulus)


def test_a_change_of_state_is_always_told_and_a_state_that_stays_is_told_only_as_an_escalation() -> None:
    for state, row in TRANSITIONS.items():
        for stimulus, (after, event) in row.items():
            if after is not state:
                assert event is not None, (state, stimulus)
            elif event is not None:
                assert event is AlertEvent.ESCALATED, (state, stimulus)


@given(st.lists(st.sampled_from(Stimulus)))
def test_presence_follows_onset_and_end_alone_whatever_people_and_timers_do(stimuli: list[Stimulus]) -> None:
    state, present = State.REST, False
    for stimulus in stimuli:
        if (state, stimulus) in IMPOSSIBLE:
            continue
        state, _ = transition(state, stimulus)
        if stimulus in {Stimulus.ONSET, Stimulus.ONSET_IN_PAUSE}:
            present = True
        elif stimulus in {Stimulus.END, Stimulus.END_LATCHING, Stimulus.WITHDRAW}:
            present = False
        assert state.present is present
        assert (state is State.REST) == (state.signal is Signal.OFF)


@given(st.sampled_from([s for s in State if s is not State.REST]))
def test_an_acknowledgement_always_silences(state: State) -> None:
    after, _ = transition(state, Stimulus.ACKNOWLEDGE)
    assert after.signal in {Signal.ACKNOWLEDGED, Signal.OFF}


def test_every_condition_has_one_rule_and_one_limit() -> None:
    assert set(RULES) == set(ADULT) == set(Condition) == set(INDEX)
    measured = [condition for conditions in MEASURED.values() for condition in conditions]
    assert sorted([*measured, *NO_DATA.values(), Condition.ALARM_FLOOD]) == sorted(Condition)


def test_a_condition_reads_the_findings_of_one_task_and_is_superseded_by_earlier_ones_of_it() -> None:
    for task, conditions in MEASURED.items():
        assert all(RULES[condition].task is task for condition in conditions)
    for task, condition in NO_DATA.items():
        assert RULES[condition].task is task
    for condition, rule in RULES.items():
        for worse in rule.superseded_by:
            assert RULES[worse].task is rule.task
            assert MEASURED[rule.task].index(worse) < MEASURED[rule.task].index(condition)
            assert RULES[worse].priority.rank >= rule.priority.rank


def test_nothing_suppresses_itself_by_way_of_others() -> None:
    TopologicalSorter({condition: rule.superseded_by for condition, rule in RULES.items()}).prepare()


def test_the_kernels_know_the_tasks_by_their_place() -> None:
    assert tuple(TASK_INDEX[task] for task in (Task.ECG_BEAT, Task.ECG_RHYTHM, Task.GLUCOSE)) == (
        BEAT_TASK,
        RHYTHM_TASK,
        GLUCOSE_TASK,
    )
    assert all(set(columns) <= set(COLUMNS[task]) for task, columns in READ.items())


def test_defaults_lie_inside_their_guard_rails_and_in_order() -> None:
    assert all(limit.allows(limit.default) for limit in ADULT.values())
    for ladder in LADDERS:
        defaults = [ADULT[condition].default for condition in ladder]
        assert defaults == sorted(set(defaults))


def test_what_is_urgent_is_followed_up_and_nothing_can_be_silenced_without_end() -> None:
    for rule in RULES.values():
        if rule.priority is Priority.HIGH:
            assert 0 < rule.escalate_s <= 300
            assert rule.remind_s > 0
            assert rule.snooze_max_s <= 900
        assert 0 < rule.snooze_max_s <= 86_400
        assert rule.hysteresis >= 0
    assert PAUSE_MAX_S == 120
    assert {RULES[c].kind for c in NO_DATA.values()} == {Kind.TECHNICAL}


def test_an_alert_is_named_by_patient_condition_and_episode_and_its_name_shows_no_patient() -> None:
    name = alert_id("patient-ann", Condition.ASYSTOLE, 5)
    assert name == alert_id("patient-ann", Condition.ASYSTOLE, 5)
    others = {
        alert_id("patient-bob", Condition.ASYSTOLE, 5),
        alert_id("patient-ann", Condition.PVC_RUN, 5),
        alert_id("patient-ann", Condition.ASYSTOLE, 6),
    }
    assert len(others | {name}) == 4
    assert "ann" not in name
    assert len(name) == 24


def test_titles_are_written_for_people() -> None:
    assert [title(c) for c in (Condition.ECG_LEAD_OFF, Condition.PVC_RUN, Condition.BEAT_MODEL_DOWN)] == [
        "ECG lead off",
        "PVC run",
        "Beat model down",
    ]
    assert len({title(c) for c in CONDITIONS}) == len(CONDITIONS)


@pytest.mark.parametrize("content_type", [codec.MSGPACK, codec.JSON])
def test_a_transition_survives_the_wire_and_hides_in_a_log(content_type: str) -> None:
    step = AlertTransition(
        alert_id="0a",
        step=2,
        patient="patient-ann",
        condition=Condition.GLUCOSE_LOW,
        priority=Priority.MEDIUM,
        kind=Kind.PHYSIOLOGICAL,
        event=AlertEvent.RAISED,
        presence=True,
        signal=Signal.ON,
        onset_us=1,
        time_us=2,
        input_ms=3,
        text="Glucose low",
        evidence=Evidence("glucose", 66.0, 70.0, "mg/dL", FindingRef(Task.GLUCOSE, "s", 1, "m", "onnx-cpu")),
    )
    assert codec.decode(AlertTransition, codec.encode(step, content_type), content_type) == step
    assert "ann" not in repr(step)

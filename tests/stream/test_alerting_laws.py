"""The laws of the decide half: the same findings give the same bytes, however cut, crashed or doubled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerting import Decided, Deciding
from tests.support.stay import (
    CALM_RHYTHM,
    NORMAL_BEAT,
    VENTRICULAR_BEAT,
    Stay,
    at,
    batch,
    command,
    forecast,
    record,
)
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import RULES, Condition
from vitals.decision import Taken
from vitals.findings import Task, Verdict
from vitals.risk import RiskBatch

Finding = tuple[Task, str, float, dict[str, float | None], Verdict]

_LOOKS: dict[Task, list[tuple[dict[str, float | None], Verdict]]] = {
    Task.ECG_RHYTHM: [
        (CALM_RHYTHM, Verdict.GOOD),
        (CALM_RHYTHM | {"heart_rate_bpm": 150.0}, Verdict.GOOD),
        (CALM_RHYTHM | {"heart_rate_bpm": 175.0}, Verdict.GOOD),
        (CALM_RHYTHM | {"since_beat_ms": 5200.0, "heart_rate_bpm": None}, Verdict.POOR),
        (CALM_RHYTHM | {"vf_index": 0.9}, Verdict.GOOD),
        ({}, Verdict.LEAD_OFF),
        ({}, Verdict.FLAT),
    ],
    Task.ECG_BEAT: [(NORMAL_BEAT, Verdict.GOOD), (VENTRICULAR_BEAT, Verdict.GOOD), ({}, Verdict.NOISY)],
    Task.GLUCOSE: [
        ({"glucose_mg_dl": 110.0} | forecast(), Verdict.GOOD),
        ({"glucose_mg_dl": 52.0} | forecast(below_70=0.9, below_54=0.7), Verdict.GOOD),
        ({"glucose_mg_dl": 260.0}, Verdict.TOO_SHORT),
        ({"glucose_mg_dl": 330.0}, Verdict.TOO_SHORT),
    ],
    Task.PNEUMONIA: [({"p_pneumonia": 0.9, "p_normal": 0.1}, Verdict.GOOD), ({"p_pneumonia": 0.1}, Verdict.GOOD)],
    Task.BREAST: [({"p_malignant": 0.9, "p_benign": 0.1}, Verdict.GOOD), ({}, Verdict.WRONG_INPUT)],
    Task.ECG_AF: [({"p_af": 0.9, "p_normal": 0.1}, Verdict.GOOD), ({"p_af": 0.1}, Verdict.GOOD)],
}


SNOOZABLE = [condition for condition, rule in RULES.items() if rule.rearm]


@st.composite
def wards(draw: st.DrawFn) -> list[Finding]:
    """Findings of three patients in the order of the log; each stream in the order of its own time."""
    clock: dict[tuple[str, Task], float] = {}
    findings: list[Finding] = []
    for _ in range(draw(st.integers(5, 70))):
        task = draw(st.sampled_from([Task.ECG_RHYTHM, Task.ECG_RHYTHM, Task.ECG_BEAT, Task.GLUCOSE, *Task]))
        patient = draw(st.sampled_from(["ann", "bob", "cy"]))
        second = clock.get((patient, task), 0.0) + draw(st.sampled_from([0.5, 1.0, 1.0, 4.0, 15.0, 100.0, 4000.0]))
        clock[patient, task] = second
        values, verdict = draw(st.sampled_from(_LOOKS[task]))
        findings.append((task, patient, second, values, verdict))
    return findings


def decide(deciding: Deciding, findings: Iterable[Finding]) -> Decided:
    """One call: a batch for each run of one task."""
    runs = groupby(findings, key=lambda finding: finding[0])
    return deciding.decide([record(batch(task, [finding[1:] for finding in run])) for task, run in runs])


def risk_rows(batches: Iterable[RiskBatch]) -> list[tuple[object, ...]]:
    """Every risk as a row of its own, models by name."""
    rows: list[tuple[object, ...]] = []
    for risks in batches:
        for i in range(len(risks)):
            models = [risks.models[column[i]] if column[i] >= 0 else "" for column in risks.model]
            inputs = [tuple(c[i] for c in column) for column in (risks.state, risks.end_us, risks.age_s, risks.says)]
            own = (risks.patients[i], risks.time_us[i], risks.input_ms[i], risks.band[i])
            rows.append((*own, risks.probability[i], risks.lower[i], risks.upper[i], tuple(models), *inputs))
    return rows


def steps(transitions: Iterable[AlertTransition]) -> list[bytes]:
    return [codec.encode(step) for step in transitions]


def of_one_task(transitions: Iterable[AlertTransition]) -> list[AlertTransition]:
    """All but the flood, which joins the tasks of a patient as the risk does."""
    return [step for step in transitions if step.condition is not Condition.ALARM_FLOOD]


def cut(findings: Sequence[Finding], places: Iterable[int]) -> list[Sequence[Finding]]:
    edges = sorted({0, len(findings), *(place % (len(findings) + 1) for place in places)})
    return [findings[a:b] for a, b in pairwise(edges)]


@given(wards(), st.lists(st.integers(0, 1000), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_same_findings_give_the_same_bytes_however_they_are_cut(ward: list[Finding], places: list[int]) -> None:
    whole, pieces = Deciding(), Deciding()
    at_once = decide(whole, ward)
    in_turn = [decide(pieces, part) for part in cut(ward, places)]
    assert steps(at_once.transitions) == [step for part in in_turn for step in steps(part.transitions)]
    assert risk_rows(at_once.risks) == risk_rows(risks for part in in_turn for risks in part.risks)
    assert whole.snapshot() == pieces.snapshot()


@given(wards(), st.lists(st.integers(0, 1000), max_size=12), st.sets(st.sampled_from(SNOOZABLE), min_size=1))
@settings(max_examples=60, deadline=None)
def test_snoozes_are_void_at_the_same_moment_however_the_findings_are_cut(
    ward: list[Finding], places: list[int], snoozed: set[Condition]
) -> None:
    told: list[list[bytes]] = []
    for deciding, parts in ((Deciding(), [ward]), (Deciding(), cut(ward, places))):
        for patient in ("ann", "bob", "cy"):
            deciding.command(command("admit", 0.1, patient=patient))
            for condition in sorted(snoozed):
                deciding.command(command("snooze", 0.2, patient=patient, condition=condition))
        told.append([step for part in parts for step in steps(decide(deciding, part).transitions)])
        told[-1].append(deciding.snapshot())
    assert told[0] == told[1]


@given(wards(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_alarms_do_not_depend_on_how_patients_and_tasks_are_interleaved(ward: list[Finding], random: object) -> None:
    streams: dict[tuple[str, Task], list[Finding]] = {}
    for finding in ward:
        streams.setdefault((finding[1], finding[0]), []).append(finding)
    other: list[Finding] = []
    while waiting := [stream for stream in streams.values() if stream]:
        other.append(random.choice(waiting).pop(0))  # type: ignore[attr-defined]
    one, two = (decide(Deciding(), findings).transitions for findings in (ward, other))
    assert sorted(steps(of_one_task(one))) == sorted(steps(of_one_task(two)))


@given(wards(), st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_crash_loses_doubles_and_changes_nothing(ward: list[Finding], saved_at: int, died_at: int) -> None:
    """State is taken back from a snapshot, and what was read since is read again."""
    saved_at %= len(ward) + 1
    died_at = saved_at + died_at % (len(ward) - saved_at + 1)
    undisturbed = Deciding()
    expected = decide(undisturbed, ward)
    first = Deciding()
    told = [decide(first, ward[:saved_at])]
    snapshot = first.snapshot()
    told.append(decide(first, ward[saved_at:died_at]))
    second = Deciding()
    second.restore(snapshot)
    assert second.snapshot() == snapshot
    told.append(decide(second, ward[saved_at:]))
    by_name: dict[tuple[str, int], bytes] = {}
    for step in (step for decided in told for step in decided.transitions):
        assert by_name.setdefault((step.alert_id, step.step), codec.encode(step)) == codec.encode(step)
    assert by_name == {(s.alert_id, s.step): codec.encode(s) for s in expected.transitions}
    assert set(risk_rows(r for d in told for r in d.risks)) == set(risk_rows(expected.risks))
    assert second.snapshot() == undisturbed.snapshot()


@given(wards(), st.sets(st.integers(0, 60)))
@settings(max_examples=100, deadline=None)
def test_alarms_do_not_depend_on_when_the_passing_of_time_is_told(ward: list[Finding], told_before: set[int]) -> None:
    """As long as it is not told ahead of what is still to come (see ``stream/agents/horizon.py``)."""
    never, often = Deciding(), Deciding()
    expected = decide(never, ward).transitions
    came: list[AlertTransition] = []
    for k, finding in enumerate(ward):
        if k in told_before:
            came += often.tick(min(at(second) for _, _, second, *_ in ward[k:]) - 1).transitions
        came += decide(often, [finding]).transitions
    end_us = at(max((finding[2] for finding in ward), default=0.0) + 9000)
    expected += never.tick(end_us).transitions
    came += often.tick(end_us).transitions
    assert sorted(steps(came)) == sorted(steps(expected))


@given(wards())
@settings(max_examples=30, deadline=None)
def test_findings_that_come_again_change_nothing(ward: list[Finding]) -> None:
    deciding = Deciding()
    decide(deciding, ward)
    before = deciding.snapshot()
    again = decide(deciding, ward)
    assert (again.transitions, again.risks, again.findings[Taken.KNOWN]) == ([], [], len(ward))
    assert deciding.snapshot() == before


@given(
    wards(),
    st.lists(st.tuples(st.sampled_from(["acknowledge", "pause", "resume", "snooze", "tick"]), st.integers(0, 70))),
)
@settings(max_examples=60, deadline=None)
def test_a_restart_between_any_two_steps_of_people_and_time_is_not_seen(
    ward: list[Finding], acts: list[tuple[str, int]]
) -> None:
    steady, restarted = Deciding(), Deciding()
    told: list[list[bytes]] = [[], []]
    for place, finding in enumerate(ward):
        for k, deciding in enumerate((steady, restarted)):
            told[k] += steps(decide(deciding, [finding]).transitions)
            for action, _ in (act for act in acts if act[1] == place):
                if action == "tick":
                    told[k] += steps(deciding.tick(at(finding[2] + 40)).transitions)
                else:
                    details = {"condition": "glucose-high"} if action == "snooze" else {}
                    asked = command(action, finding[2], patient=finding[1], **details)
                    told[k] += steps(deciding.command(asked).transitions)
        fresh = Deciding()
        fresh.restore(restarted.snapshot())
        restarted = fresh
    assert told[0] == told[1]
    assert steady.snapshot() == restarted.snapshot()


def test_a_restart_in_the_middle_of_an_episode_keeps_its_name_its_steps_and_its_timers() -> None:
    before = Stay()
    before.rhythm(1, since_beat_ms=5000.0)
    before.do("pause", 2, seconds=20)
    after = Stay()
    after.deciding.restore(before.deciding.snapshot())
    after.tick(60)
    resumed, escalated = (s for s in after.steps if s.condition is Condition.ASYSTOLE and s.time_us <= at(52))
    assert resumed.alert_id == before.last(Condition.ASYSTOLE).alert_id
    assert (resumed.event, resumed.step, resumed.time_us) == (AlertEvent.RESUMED, 2, at(22))
    assert (escalated.event, escalated.step, escalated.time_us) == (AlertEvent.ESCALATED, 3, at(52))


def snapshot_of_one() -> bytes:
    stay = Stay()
    stay.rhythm(1, since_beat_ms=5000.0)
    return stay.deciding.snapshot()


@pytest.mark.parametrize(
    "foreign", [b"", b"\x00", b"not a snapshot" * 40, snapshot_of_one()[:-1], snapshot_of_one() + b"\x00"]
)
def test_foreign_bytes_are_not_taken_for_a_snapshot(foreign: bytes) -> None:
    stay = Stay()
    stay.rhythm(1)
    before = stay.deciding.snapshot()
    with pytest.raises(ValueError, match="snapshot"):
        stay.deciding.restore(foreign)
    assert stay.deciding.snapshot() == before


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=80, deadline=None)
def test_a_damaged_snapshot_is_refused(place: int, flip: int) -> None:
    snapshot = bytearray(snapshot_of_one())
    snapshot[place % len(snapshot)] ^= flip
    deciding = Deciding()
    with pytest.raises(ValueError, match="snapshot"):
        deciding.restore(bytes(snapshot))
    assert deciding.patients == 0

"""One bed lived through at random: findings, people and time in any order, held against the table of transitions."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.stay import START_US, Stay
from vitals.alerts import TRANSITIONS, AlertEvent, AlertTransition, Signal, State
from vitals.conditions import ESCALATIONS, PAUSE_MAX_S, RULES, Condition, Priority

EDGES = {
    (before, event, after) for before, row in TRANSITIONS.items() for after, event in row.values() if event is not None
}
SILENT = {Signal.ACKNOWLEDGED, Signal.PAUSED, Signal.OFF}
PEOPLE = st.sampled_from(["acknowledge", "pause", "resume", "snooze"])
SNOOZED = st.sampled_from([Condition.HEART_RATE_HIGH, Condition.ASYSTOLE, Condition.ECG_LEAD_OFF])


def state_after(step: AlertTransition) -> State:
    return next(s for s in State if (s.present, s.signal) == (step.presence, step.signal))


class Bed(RuleBasedStateMachine):
    """``now_s`` only grows; people act on what they see, a moment later."""

    def __init__(self) -> None:
        super().__init__()
        self.stay = Stay()
        self.now_s = 0.0
        self.read = 0
        self.state: dict[Condition, State] = {}
        self.steps: dict[str, int] = {}
        self.told_others: dict[str, int] = {}
        self.stay.rhythm(0)

    @rule(seconds=st.integers(1, 12), rate=st.sampled_from([75.0, 125.0, 145.0, 170.0]))
    def heart_beats(self, seconds: int, rate: float) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.stay.rhythm(self.now_s, heart_rate_bpm=rate)

    @rule(seconds=st.integers(1, 6))
    def heart_stops(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.stay.rhythm(self.now_s, heart_rate_bpm=None, since_beat_ms=5000.0)

    @rule(seconds=st.sampled_from([1, 15, 40, 130]))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds
        self.stay.tick(self.now_s)

    @rule(action=PEOPLE, condition=SNOOZED, seconds=st.sampled_from([10.0, 60.0]))
    def somebody_acts(self, action: str, condition: Condition, seconds: float) -> None:
        self.stay.tick(self.now_s)
        details: dict[str, object] = {"seconds": seconds} if action in {"pause", "snooze"} else {}
        if action == "snooze":
            details["condition"] = condition
        self.stay.do(action, self.now_s, **details)

    @invariant()
    def every_step_is_one_of_the_table_and_has_the_next_number(self) -> None:
        while self.read < len(self.stay.steps):
            step = self.stay.steps[self.read]
            self.read += 1
            time_s = (step.time_us - START_US) / 1e6
            if step.condition is None or not step.alert_id:
                if step.event is AlertEvent.PAUSED:
                    assert step.until_us - step.time_us <= PAUSE_MAX_S * 1e6
                continue
            before, after = self.state.get(step.condition, State.REST), state_after(step)
            assert (before, step.event, after) in EDGES
            assert step.step == self.steps.get(step.alert_id, -1) + 1
            self.state[step.condition], self.steps[step.alert_id] = after, step.step
            assert step.escalation <= ESCALATIONS
            if step.event is AlertEvent.ESCALATED:
                assert before.signal not in SILENT, "somebody else was called for what is answered or paused"
                assert step.escalation == self.told_others.get(step.alert_id, 0) + 1
            self.told_others[step.alert_id] = step.escalation
            assert time_s <= self.now_s

    @invariant()
    def what_is_present_and_of_high_priority_is_silent_only_because_somebody_said_so(self) -> None:
        said_so = {AlertEvent.ACKNOWLEDGED, AlertEvent.PAUSED}
        for condition, state in self.state.items():
            if RULES[condition].priority is Priority.HIGH and state in {State.PAUSED, State.ACKNOWLEDGED}:
                own = [step for step in self.stay.steps if step.condition is condition]
                assert any(step.who or step.event in said_so for step in own)


Bed.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBed = Bed.TestCase

"""The signal of one patient's condition in its record: moved by the table of ``vitals/alerts.py``, and its timers.

Timers run on the time of people, not of findings: an escalation is due so long after the step that armed it, and is
told with that time however late the passing of time is noticed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.alerts import AlertEvent, AlertTransition, Evidence, Signal, State, Stimulus, alert_id, transition
from vitals.conditions import CONDITIONS, ESCALATIONS, Condition, Priority, title
from vitals.flood import FLOOD, WITHIN_US
from vitals.kernels import kernel
from vitals.unit import Unit
from vitals.units import US_PER_S

_STATES: Final = tuple(State)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asked for it."""

    who: str = ""
    role: str = ""
    reason: str = ""


NOBODY: Final = Person()


@dataclass(frozen=True, slots=True)
class Cause:
    """What brought a step about, for the record."""

    text: str
    evidence: Evidence | None = None
    input_ms: int = 0
    person: Person = NOBODY
    until_us: int = 0


class Bed:
    """One patient's record (a view of ``BED``) with the name that belongs to it. ``code``: version of what decides."""

    __slots__ = ("code", "patient", "record", "unit")

    def __init__(self, patient: str, record: Any, unit: Unit, code: str) -> None:
        self.patient = patient
        self.record = record
        self.unit = unit
        self.code = code

    def state(self, c: int) -> State:
        """State of condition ``c``."""
        return _STATES[int(self.record["state"][c])]

    def alert_id(self, c: int) -> str:
        """Name of the alert of condition ``c``; empty when there is none."""
        if self.state(c) is State.REST:
            return ""
        return alert_id(self.patient, CONDITIONS[c], int(self.record["onset_us"][c]))

    def in_pause(self, c: int, time_us: int) -> bool:
        """Whether an onset at ``time_us`` finds its signal paused. A pause does not hold for what is of high priority
        and new; a snooze holds for its own condition whatever the priority.
        """
        if time_us < self.record["snoozed_until_us"][c]:
            return True
        return (
            bool(time_us < self.record["paused_until_us"])
            and self.unit.rules[CONDITIONS[c]].priority is not Priority.HIGH
        )

    def onset(self, c: int, onset_us: int, time_us: int, cause: Cause) -> AlertTransition:
        """Condition ``c`` has become present. What comes back while its signal is latched is the same alert."""
        if self.state(c) is State.REST:
            self.record["onset_us"][c] = onset_us
            self.record["step"][c] = 0
            self.record["level"][c] = 0
        step = self.stimulate(
            c, Stimulus.ONSET_IN_PAUSE if self.in_pause(c, time_us) else Stimulus.ONSET, time_us, cause
        )
        assert step is not None  # noqa: S101 - the table tells of every onset
        return step

    def end(self, c: int, time_us: int, cause: Cause) -> AlertTransition | None:
        """Condition ``c`` has gone."""
        latching = self.unit.rules[CONDITIONS[c]].latching
        return self.stimulate(c, Stimulus.END_LATCHING if latching else Stimulus.END, time_us, cause)

    def resume(self, c: int, time_us: int, cause: Cause) -> AlertTransition | None:
        """A pause or a snooze is over; the signal comes back when neither holds any longer."""
        record = self.record
        if 0 < record["due_us"][c] < time_us and self.state(c) is State.ACKNOWLEDGED:
            record["due_us"][c] = time_us  # a reminder that has waited comes with the end of what it waited for
        if time_us < record["paused_until_us"] or time_us < record["snoozed_until_us"][c]:
            return None
        return self.stimulate(c, Stimulus.RESUME, time_us, cause)

    def void_snooze(self, c: int, time_us: int, why: str) -> AlertTransition | None:
        """A snooze of condition ``c`` ends before its time, for ``why``; None when there is none, or a pause holds."""
        if self.record["snoozed_until_us"][c] <= time_us:
            return None
        self.record["snoozed_until_us"][c] = 0
        cause = Cause(f"the snooze is void: {why}")
        if self.state(c) is State.REST:
            return self.note(c, AlertEvent.RESUMED, time_us, cause)
        return self.resume(c, time_us, cause)

    def stimulate(self, c: int, stimulus: Stimulus, time_us: int, cause: Cause) -> AlertTransition | None:
        """Move the signal of condition ``c``. Raises ``Fault`` for a stimulus that its state cannot meet."""
        record = self.record
        before = self.state(c)
        after, event = transition(before, stimulus)
        if event is None:
            return None
        name = alert_id(self.patient, CONDITIONS[c], int(record["onset_us"][c]))
        record["state"][c] = after
        if event is AlertEvent.ESCALATED:
            record["level"][c] += 1
        elif event is AlertEvent.REMINDED:
            record["level"][c] = 0
        if not (before is State.ON and after is State.LATCHED):  # the escalation of an unanswered alert runs on
            record["due_us"][c] = self._due_us(c, after, time_us)
        step = int(record["step"][c])
        record["step"][c] = step + 1
        return self._tell(c, name, step, event, after, time_us, cause)

    def note(self, c: int, event: AlertEvent, time_us: int, cause: Cause) -> AlertTransition:
        """Something about condition ``c`` that is no step of an alert: a snooze, another limit."""
        return self._tell(c, "", 0, event, self.state(c), time_us, cause)

    def note_all(self, event: AlertEvent, time_us: int, cause: Cause) -> AlertTransition:
        """Something about all alarms of the patient."""
        person = cause.person
        return AlertTransition(
            alert_id="",
            step=0,
            patient=self.patient,
            condition=None,
            priority=None,
            kind=None,
            event=event,
            presence=False,
            signal=Signal.PAUSED if time_us < self.record["paused_until_us"] else Signal.OFF,
            onset_us=time_us,
            time_us=time_us,
            input_ms=0,
            text=cause.text,
            until_us=cause.until_us,
            who=person.who,
            role=person.role,
            reason=person.reason,
            rules=self.unit.version,
            code=self.code,
        )

    def _due_us(self, c: int, state: State, time_us: int) -> int:
        rule = self.unit.rules[CONDITIONS[c]]
        after_s = 0.0
        if state in {State.ON, State.LATCHED} and self.record["level"][c] < ESCALATIONS:
            after_s = rule.escalate_s
        elif state is State.ACKNOWLEDGED:
            after_s = rule.remind_s
        return time_us + round(after_s * US_PER_S) if after_s else 0

    def _tell(
        self, c: int, name: str, step: int, event: AlertEvent, state: State, time_us: int, cause: Cause
    ) -> AlertTransition:
        condition: Condition = CONDITIONS[c]
        rule = self.unit.rules[condition]
        person = cause.person
        return AlertTransition(
            alert_id=name,
            step=step,
            patient=self.patient,
            condition=condition,
            priority=rule.priority,
            kind=rule.kind,
            event=event,
            presence=state.present,
            signal=state.signal,
            onset_us=int(self.record["onset_us"][c]) if name else time_us,
            time_us=time_us,
            input_ms=cause.input_ms,
            text=f"{title(condition)}: {cause.text}",
            evidence=cause.evidence,
            escalation=int(self.record["level"][c]) if name else 0,
            until_us=cause.until_us,
            who=person.who,
            role=person.role,
            reason=person.reason,
            rules=self.unit.version,
            code=self.code,
        )


class Due(enum.IntEnum):
    """What the passing of time asks of a signal."""

    PAUSE_OVER = 0
    SNOOZE_OVER = 1
    TIMER = 2
    FLOOD_OVER = 3


DUE: Final = np.dtype([("row", "<i4"), ("condition", "<i4"), ("what", "<i4"), ("time_us", "<i8")])
"""One thing that is due; ``condition`` -1 means all of the patient's."""

_ACKNOWLEDGED: Final = int(State.ACKNOWLEDGED)


def due(beds: npt.NDArray[np.void], rows: npt.NDArray[np.int32], now_us: int) -> npt.NDArray[np.void]:
    """DUE[n]: for each of ``rows`` all that is due at ``now_us``, a pause before the rest."""
    out = np.empty(len(rows) * (2 * len(CONDITIONS) + 2), DUE)
    n: Any = _due(beds, rows, now_us, out)
    return out[:n]


@kernel
def _due(beds, rows, now_us, out):  # type: ignore[no-untyped-def]
    n = 0
    for row in rows:
        bed = beds[row]
        paused_us = bed.paused_until_us
        if 0 < paused_us <= now_us:
            n = _tell_due(out, n, row, -1, 0, paused_us)
        flood_us = bed.raised_us[0] + WITHIN_US
        if (bed.present >> np.uint64(FLOOD)) & np.uint64(1) and flood_us <= now_us:
            n = _tell_due(out, n, row, FLOOD, 3, flood_us)
        for c in range(len(bed.due_us)):
            snoozed_us = bed.snoozed_until_us[c]
            if 0 < snoozed_us <= now_us:
                n = _tell_due(out, n, row, c, 1, snoozed_us)
            due_us = bed.due_us[c]
            if due_us == 0:
                continue
            if bed.state[c] == _ACKNOWLEDGED:  # a reminder waits for the end of a pause
                due_us = max(due_us, paused_us, snoozed_us)
            if due_us <= now_us:
                n = _tell_due(out, n, row, c, 2, due_us)
    return n


@kernel
def _tell_due(out, n, row, condition, what, time_us):  # type: ignore[no-untyped-def]
    out[n].row = row
    out[n].condition = condition
    out[n].what = what
    out[n].time_us = time_us
    return n + 1

"""Alarm signals: what becomes of a condition until a person has dealt with it.

Whether a condition is present and what its signal does are two separate facts (ISO/IEEE 11073-10207: presence of the
condition, presence of the signal). A ``State`` is a pair of them that can be; ``TRANSITIONS`` says what each stimulus
does in each state. A pair that cannot come about is not in the table and raises ``Fault``: there is no silent default.
"""

from __future__ import annotations

import enum
from hashlib import blake2b
from typing import Final

import msgspec

from vitals.conditions import Condition, Kind, Priority
from vitals.errors import Fault
from vitals.events import Wire
from vitals.findings import Task


class Signal(enum.StrEnum):
    """What is shown and sounded."""

    OFF = "off"
    ON = "on"
    LATCHED = "latched"  # the condition has gone, nobody has acknowledged it yet
    ACKNOWLEDGED = "acknowledged"
    PAUSED = "paused"  # by a pause of the patient's alarms or a snooze of this one


class AlertEvent(enum.StrEnum):
    """What happened: the word in a transition and in a metric label."""

    RAISED = "raised"
    RETURNED = "returned"  # came back while the signal was still latched: the same alert
    CLEARED = "cleared"
    LATCHED = "latched"
    ACKNOWLEDGED = "acknowledged"
    PAUSED = "paused"
    RESUMED = "resumed"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    WITHDRAWN = "withdrawn"  # the patient was discharged
    SNOOZED = "snoozed"
    LIMITED = "limited"  # a limit was changed
    ADMITTED = "admitted"
    DISCHARGED = "discharged"


class Stimulus(enum.IntEnum):
    """What can act on a signal."""

    ONSET = 0
    ONSET_IN_PAUSE = 1
    END = 2
    END_LATCHING = 3
    ACKNOWLEDGE = 4
    PAUSE = 5
    RESUME = 6
    ESCALATE = 7
    REMIND = 8
    WITHDRAW = 9


class State(enum.IntEnum):
    """Presence of the condition and of the signal together."""

    present: bool
    signal: Signal

    def __new__(cls, number: int, present: bool, signal: Signal) -> State:
        member = int.__new__(cls, number)
        member._value_ = number
        member.present = present
        member.signal = signal
        return member

    REST = 0, False, Signal.OFF
    ON = 1, True, Signal.ON
    ACKNOWLEDGED = 2, True, Signal.ACKNOWLEDGED
    PAUSED = 3, True, Signal.PAUSED
    LATCHED = 4, False, Signal.LATCHED
    LATCHED_PAUSED = 5, False, Signal.PAUSED


_S, _I, _E = State, Stimulus, AlertEvent

TRANSITIONS: Final[dict[State, dict[Stimulus, tuple[State, AlertEvent | None]]]] = {
    _S.REST: {
        _I.ONSET: (_S.ON, _E.RAISED),
        _I.ONSET_IN_PAUSE: (_S.PAUSED, _E.RAISED),
        _I.ACKNOWLEDGE: (_S.REST, None),
        _I.PAUSE: (_S.REST, None),
        _I.RESUME: (_S.REST, None),
        _I.WITHDRAW: (_S.REST, None),
    },
    _S.ON: {
        _I.END: (_S.REST, _E.CLEARED),
        _I.END_LATCHING: (_S.LATCHED, _E.LATCHED),
        _I.ACKNOWLEDGE: (_S.ACKNOWLEDGED, _E.ACKNOWLEDGED),
        _I.PAUSE: (_S.PAUSED, _E.PAUSED),
        _I.RESUME: (_S.ON, None),
        _I.ESCALATE: (_S.ON, _E.ESCALATED),
        _I.WITHDRAW: (_S.REST, _E.WITHDRAWN),
    },
    _S.ACKNOWLEDGED: {
        _I.END: (_S.REST, _E.CLEARED),
        _I.END_LATCHING: (_S.REST, _E.CLEARED),
        _I.ACKNOWLEDGE: (_S.ACKNOWLEDGED, None),
        _I.PAUSE: (_S.ACKNOWLEDGED, None),
        _I.RESUME: (_S.ACKNOWLEDGED, None),
        _I.REMIND: (_S.ON, _E.REMINDED),
        _I.WITHDRAW: (_S.REST, _E.WITHDRAWN),
    },
    _S.PAUSED: {
        _I.END: (_S.REST, _E.CLEARED),
        _I.END_LATCHING: (_S.LATCHED_PAUSED, _E.LATCHED),
        _I.ACKNOWLEDGE: (_S.ACKNOWLEDGED, _E.ACKNOWLEDGED),
        _I.PAUSE: (_S.PAUSED, None),
        _I.RESUME: (_S.ON, _E.RESUMED),
        _I.WITHDRAW: (_S.REST, _E.WITHDRAWN),
    },
    _S.LATCHED: {
        _I.ONSET: (_S.ON, _E.RETURNED),
        _I.ONSET_IN_PAUSE: (_S.PAUSED, _E.RETURNED),
        _I.ACKNOWLEDGE: (_S.REST, _E.ACKNOWLEDGED),
        _I.PAUSE: (_S.LATCHED_PAUSED, _E.PAUSED),
        _I.RESUME: (_S.LATCHED, None),
        _I.ESCALATE: (_S.LATCHED, _E.ESCALATED),
        _I.WITHDRAW: (_S.REST, _E.WITHDRAWN),
    },
    _S.LATCHED_PAUSED: {
        _I.ONSET: (_S.ON, _E.RETURNED),
        _I.ONSET_IN_PAUSE: (_S.PAUSED, _E.RETURNED),
        _I.ACKNOWLEDGE: (_S.REST, _E.ACKNOWLEDGED),
        _I.PAUSE: (_S.LATCHED_PAUSED, None),
        _I.RESUME: (_S.LATCHED, _E.RESUMED),
        _I.WITHDRAW: (_S.REST, _E.WITHDRAWN),
    },
}

IMPOSSIBLE: Final[frozenset[tuple[State, Stimulus]]] = frozenset(
    {
        (_S.REST, _I.END),  # what is absent cannot end, what is present cannot begin
        (_S.REST, _I.END_LATCHING),
        (_S.LATCHED, _I.END),
        (_S.LATCHED, _I.END_LATCHING),
        (_S.LATCHED_PAUSED, _I.END),
        (_S.LATCHED_PAUSED, _I.END_LATCHING),
        (_S.ON, _I.ONSET),
        (_S.ON, _I.ONSET_IN_PAUSE),
        (_S.ACKNOWLEDGED, _I.ONSET),
        (_S.ACKNOWLEDGED, _I.ONSET_IN_PAUSE),
        (_S.PAUSED, _I.ONSET),
        (_S.PAUSED, _I.ONSET_IN_PAUSE),
        (_S.REST, _I.ESCALATE),  # escalation runs only while nobody has answered and nothing is paused
        (_S.ACKNOWLEDGED, _I.ESCALATE),
        (_S.PAUSED, _I.ESCALATE),
        (_S.LATCHED_PAUSED, _I.ESCALATE),
        (_S.REST, _I.REMIND),  # a reminder runs only after an acknowledgement
        (_S.ON, _I.REMIND),
        (_S.PAUSED, _I.REMIND),
        (_S.LATCHED, _I.REMIND),
        (_S.LATCHED_PAUSED, _I.REMIND),
    }
)
"""Every pair that the table leaves out, with the reason; a test holds the two together to be all pairs."""


def transition(state: State, stimulus: Stimulus) -> tuple[State, AlertEvent | None]:
    """The state after ``stimulus`` and what there is to tell. Raises ``Fault`` for a pair not in the table."""
    after = TRANSITIONS[state].get(stimulus)
    if after is None:
        raise Fault(f"no transition for {stimulus.name} in {state.name}")
    return after


class FindingRef(msgspec.Struct, frozen=True):
    """Which finding it was: with the patient of the transition, its identity, and what made it."""

    task: Task
    spec: str
    end_us: int
    model: str
    engine: str
    ref: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """What the decision saw: ``value`` of ``measure`` against ``limit``, in ``unit``. ``value`` None: not measured."""

    measure: str
    value: float | None
    limit: float
    unit: str
    finding: FindingRef | None = None


class AlertTransition(Wire, frozen=True, tag="alert", tag_field="type"):
    """One step of one alert. Its identity is (``alert_id``, ``step``); the newest step says how things stand.

    ``condition``, ``priority`` and ``kind`` are None for what concerns the patient's alarms as a whole (a pause, an
    admission); ``alert_id`` is empty where there is no alert (those, and a limit or a snooze with nothing raised).
    ``presence``: whether the condition is present; ``signal``: what its signal does after this step. ``onset_us``:
    when the condition began, before any delay; ``time_us``: event time of the step (of a command: when it was given,
    of a timer: when it was due). ``input_ms``: broker time of the record that completed the deciding window, 0 where
    none did. ``escalation``: how many further people must be told. ``until_us``: end of a pause or snooze, else 0.
    ``rules``: version of the rules and limits that decided it (``Unit.version``); ``code``: of the code that did.
    """

    alert_id: str
    step: int
    patient: str
    condition: Condition | None
    priority: Priority | None
    kind: Kind | None
    event: AlertEvent
    presence: bool
    signal: Signal
    onset_us: int
    time_us: int
    input_ms: int
    text: str
    evidence: Evidence | None = None
    escalation: int = 0
    until_us: int = 0
    who: str = ""
    role: str = ""
    reason: str = ""
    rules: str = ""
    code: str = ""


def alert_id(patient: str, condition: Condition, onset_us: int) -> str:
    """The name of an episode: the same whoever computes it, and it does not show the patient."""
    return blake2b(f"{condition}\0{onset_us}\0{patient}".encode(), digest_size=12).hexdigest()

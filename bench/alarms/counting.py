"""Alarms held against what happened: which were true, which false, and what was missed.

An alarm is one beginning of a signal: an episode that is raised, or that comes back while it is latched. It is **true**
when something that excuses it (``EXCUSES``) overlaps the time from its onset to its end, within ``NEAR_S``; **false**
when the labels of the recording cover that condition and that time and there is no such thing; else **not labelled**.
A red alarm is one of high priority about the patient. Any red alarm during a life-threatening event is true, whatever
it calls it: it brings a person to the bed. ``named`` counts separately those that also call it by its name.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.alarms.truth import Event, Truth, What
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import RULES, Condition, Kind, Priority
from vitals.units import EARLIEST_US, US_PER_S

NEAR_S: Final = 5.0
"""Annotators and delays differ by seconds; a nurse does not mind."""
LATE_S: Final = 30.0
"""An alarm further behind the beginning of a life-threatening event than this does not count as finding it."""

_C = Condition
LIFE_THREATENING: Final = (What.VF, What.VT, What.ASYSTOLE, What.EXTREME_BRADYCARDIA, What.EXTREME_TACHYCARDIA)
NAMED: Final[dict[What, frozenset[Condition]]] = {
    What.VF: frozenset({_C.VENTRICULAR_FIBRILLATION, _C.VENTRICULAR_TACHYCARDIA}),
    What.VT: frozenset({_C.VENTRICULAR_TACHYCARDIA, _C.VENTRICULAR_FIBRILLATION}),
    What.ASYSTOLE: frozenset({_C.ASYSTOLE}),
    What.EXTREME_BRADYCARDIA: frozenset({_C.EXTREME_BRADYCARDIA, _C.ASYSTOLE}),
    What.EXTREME_TACHYCARDIA: frozenset({_C.EXTREME_TACHYCARDIA, _C.VENTRICULAR_TACHYCARDIA}),
}
RED: Final = frozenset(c for c, r in RULES.items() if r.priority is Priority.HIGH and r.kind is Kind.PHYSIOLOGICAL)
_RUNS: Final = frozenset({What.RUN, What.VT, What.VF})
_EXCUSES: Final[dict[Condition, frozenset[What]]] = {
    **{condition: frozenset(LIFE_THREATENING) for condition in RED},
    _C.HEART_RATE_HIGH: frozenset({What.FAST, What.EXTREME_TACHYCARDIA, What.VT, What.VF}),
    _C.HEART_RATE_LOW: frozenset({What.SLOW, What.EXTREME_BRADYCARDIA, What.ASYSTOLE, What.VF}),
    _C.IRREGULAR_RHYTHM: frozenset({What.IRREGULAR}),
    _C.ATRIAL_FIBRILLATION: frozenset({What.IRREGULAR}),
    _C.PVC_RUN: _RUNS,
    _C.PVC_FREQUENT: _RUNS | {What.PVCS},
    _C.GLUCOSE_LOW_PREDICTED: frozenset({What.LOW_AHEAD}),
}


class Verdict(enum.StrEnum):
    """On one alarm."""

    TRUE = "true"
    FALSE = "false"
    NOT_LABELLED = "not labelled"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One beginning of a signal. Seconds from the start: when it began, when it was told, when it was over."""

    condition: Condition
    onset_s: float
    told_s: float
    over_s: float


@dataclass(slots=True)
class Replay:
    """One recording that was watched, and what is known of it."""

    patient: str
    seconds: float
    alarms: list[Alarm]
    truth: Truth = field(default_factory=Truth)

    def verdict(self, alarm: Alarm) -> Verdict:
        """See the head of this file."""
        excuses = _EXCUSES.get(alarm.condition, frozenset())
        if any(event.what in excuses and _meets(alarm, event) for event in self.truth.events):
            return Verdict.TRUE
        labelled = self.truth.from_s <= alarm.told_s <= self.truth.to_s
        labelled &= not any(from_s <= alarm.told_s <= to_s + NEAR_S for from_s, to_s in self.truth.open)
        return Verdict.FALSE if labelled and alarm.condition in self.truth.judged else Verdict.NOT_LABELLED


@dataclass(frozen=True, slots=True)
class Found:
    """One life-threatening event, and whether a red alarm told of it, and by its name."""

    patient: str
    event: Event
    red: bool
    named: bool


def begun(steps: Iterable[AlertTransition], seconds: float, start_us: int = EARLIEST_US) -> list[Alarm]:
    """The alarms of one patient from the steps in their order. What is open at the end is over there."""
    alarms: list[Alarm] = []
    open_at: dict[Condition, int] = {}
    for step in steps:
        if step.condition is None or not step.alert_id:
            continue
        time_s = (step.time_us - start_us) / US_PER_S
        if step.event in {AlertEvent.RAISED, AlertEvent.RETURNED}:
            onset_s = (step.onset_us - start_us) / US_PER_S if step.event is AlertEvent.RAISED else time_s
            open_at[step.condition] = len(alarms)
            alarms.append(Alarm(step.condition, onset_s, time_s, seconds))
        elif not step.presence and step.condition in open_at:
            at = open_at.pop(step.condition)
            alarms[at] = Alarm(step.condition, alarms[at].onset_s, alarms[at].told_s, time_s)
    return alarms


def found(replay: Replay) -> list[Found]:
    """Every life-threatening event of the recording that has to be found."""
    return [
        Found(
            replay.patient,
            event,
            any(a.condition in RED and _tells(a, event) for a in replay.alarms),
            any(a.condition in NAMED[event.what] and _tells(a, event) for a in replay.alarms),
        )
        for event in replay.truth.events
        if event.counts and event.what in LIFE_THREATENING
    ]


def verdicts(replays: Sequence[Replay]) -> Counter[tuple[Condition, Verdict]]:
    """How many alarms of each condition were what."""
    return Counter((alarm.condition, replay.verdict(alarm)) for replay in replays for alarm in replay.alarms)


def _meets(alarm: Alarm, event: Event) -> bool:
    return alarm.onset_s <= event.to_s + NEAR_S and event.from_s - NEAR_S <= alarm.over_s


def _tells(alarm: Alarm, event: Event) -> bool:
    """Whether it is on during the event, and was told in time."""
    return _meets(alarm, event) and alarm.told_s <= min(event.to_s + NEAR_S, event.from_s + LATE_S)

"""What a person asks of the alarms of one patient: acknowledge, pause, resume, snooze, limit, admit, discharge.

A command has a name behind it, is bounded, and changes nothing when it comes a second time. What is refused is
``Unusable``: it is kept with its reason, and never clamped to something that nobody asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from vitals.alerts import AlertEvent, AlertTransition, Evidence, State, Stimulus
from vitals.bed import TASK_INDEX, blank
from vitals.conditions import CONDITIONS, INDEX, NO_DATA, PAUSE_MAX_S, Compare, Condition
from vitals.errors import Reason, Unusable
from vitals.events import Command
from vitals.limits import LADDERS
from vitals.roles import may
from vitals.signals import NOBODY, Bed, Cause, Person
from vitals.unit import Unit
from vitals.units import EARLIEST_US, LATEST_US, US_PER_MS, US_PER_S

CLOCK_AHEAD_US = 60 * US_PER_S
"""A command given further after its arrival than this is from a wrong clock: its pause would outlast its bound."""


def check(command: Command, unit: Unit, arrived_ms: int) -> None:
    """Raises ``Unusable`` when ``command`` has no name, no role that may do it in ``unit``, or no possible time.
    ``arrived_ms``: 0 when not known.
    """
    if not command.who.strip() or not command.role.strip():
        raise _refused("nobody's name or role")
    if not may(command.role, command.action, unit.may):
        raise _refused(f"{command.action} is not for this role")
    latest_us = arrived_ms * US_PER_MS + CLOCK_AHEAD_US if arrived_ms else LATEST_US
    if not EARLIEST_US <= command.when_us <= latest_us:
        raise _refused("an impossible time")


def obey(command: Command, bed: Bed) -> list[AlertTransition]:
    """What ``command`` changes in ``bed``. Raises ``Unusable`` when it may not, and has then changed nothing."""
    return list(_ACTIONS[command.action](command, bed))


def _acknowledge(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    only = _condition(command) if command.condition is not None else None
    cause = Cause("acknowledged", person=_person(command))
    for c in np.flatnonzero(bed.record["state"]).tolist():
        if only is not None and c != only:
            continue
        if command.alert_id is not None and bed.alert_id(c) != command.alert_id:
            continue
        yield from _told(bed.stimulate(c, Stimulus.ACKNOWLEDGE, command.when_us, cause))


def _pause(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    seconds = _seconds(command, PAUSE_MAX_S)
    until_us = command.when_us + round(seconds * US_PER_S)
    if until_us <= bed.record["paused_until_us"]:
        return
    bed.record["paused_until_us"] = until_us
    cause = Cause(f"paused for {seconds:g} s", person=_person(command), until_us=until_us)
    yield bed.note_all(AlertEvent.PAUSED, command.when_us, cause)
    for c in np.flatnonzero(bed.record["state"]).tolist():
        yield from _told(bed.stimulate(c, Stimulus.PAUSE, command.when_us, cause))


def _resume(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    record = bed.record
    cause = Cause("resumed", person=_person(command))
    if command.condition is not None:
        c = _condition(command)
        record["snoozed_until_us"][c] = 0
        yield from _told(bed.resume(c, command.when_us, cause))
        return
    record["snoozed_until_us"] = 0
    yield from pause_over(bed, command.when_us, cause)


def pause_over(bed: Bed, time_us: int, cause: Cause) -> Iterator[AlertTransition]:
    """The pause of all alarms ends at ``time_us``."""
    was_paused = bed.record["paused_until_us"] > 0
    bed.record["paused_until_us"] = 0
    if was_paused:
        yield bed.note_all(AlertEvent.RESUMED, time_us, cause)
    for c in np.flatnonzero(bed.record["state"]).tolist():
        yield from _told(bed.resume(c, time_us, cause))


def _snooze(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    c = _condition(command)
    longest_s = bed.unit.rules[CONDITIONS[c]].snooze_max_s
    seconds = _seconds(command, longest_s)
    until_us = command.when_us + round(seconds * US_PER_S)
    if until_us <= bed.record["snoozed_until_us"][c]:
        return
    bed.record["snoozed_until_us"][c] = until_us
    if np.isinf(bed.record["snoozed_at"][c]):
        bed.record["snoozed_at"][c] = np.nan
    cause = Cause(f"snoozed for {seconds:g} s", person=_person(command), until_us=until_us)
    step = bed.stimulate(c, Stimulus.PAUSE, command.when_us, cause)
    yield step if step is not None else bed.note(c, AlertEvent.SNOOZED, command.when_us, cause)


def _limit(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    c = _condition(command)
    condition = CONDITIONS[c]
    limit, rule = bed.unit.limits[condition], bed.unit.rules[condition]
    below = rule.compare is Compare.BELOW
    value = command.lower if below else command.upper
    if value is None or (command.upper if below else command.lower) is not None:
        raise _refused("a limit on the wrong side")
    if not limit.adjustable or not limit.allows(value):
        raise _refused("a limit outside its guard rails")
    limits = bed.record["limit"]
    old = float(limits[c])
    for ladder in LADDERS:
        steps = [value if step is condition else float(limits[INDEX[step]]) for step in ladder]
        if condition in ladder and any(a >= b for a, b in itertools.pairwise(steps)):
            raise _refused("a limit that crosses another")
    if value == old:
        return
    limits[c] = value
    text = f"limit {value:g} {limit.unit}, was {old:g}"
    evidence = Evidence(rule.measure, old, value, limit.unit)
    yield bed.note(c, AlertEvent.LIMITED, command.when_us, Cause(text, evidence, person=_person(command)))


def _admit(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    silences = {condition: task for task, condition in NO_DATA.items()}
    if command.condition is not None:
        expected = CONDITIONS[_condition(command)]
        if expected not in silences:
            raise _refused("not the silence of a stream")
        silences = {expected: silences[expected]}
    record = bed.record
    if command.when_us <= record["discharged_us"]:
        return  # an older command, read again
    fresh = [TASK_INDEX[task] for task in silences.values() if not record["heard_us"][TASK_INDEX[task]]]
    if not fresh:
        return
    record["discharged_us"] = 0
    record["admitted_us"] = command.when_us
    for k in fresh:
        record["heard_us"][k] = command.when_us
    yield bed.note_all(AlertEvent.ADMITTED, command.when_us, Cause("admitted", person=_person(command)))


def _discharge(command: Command, bed: Bed) -> Iterator[AlertTransition]:
    record = bed.record
    if record["discharged_us"] or command.when_us < record["admitted_us"]:
        return
    cause = Cause("discharged", person=_person(command))
    for c in np.flatnonzero(record["state"]).tolist():
        yield from _told(bed.stimulate(c, Stimulus.WITHDRAW, command.when_us, cause))
    kept = {name: record[name].copy() for name in ("last_us", "risk_phase_us")}
    empty = blank(bed.unit.defaults)
    for name in empty.dtype.names or ():
        record[name] = kept.get(name, empty[name])
    record["discharged_us"] = command.when_us
    yield bed.note_all(AlertEvent.DISCHARGED, command.when_us, cause)


_ACTIONS = {
    "acknowledge": _acknowledge,
    "pause": _pause,
    "resume": _resume,
    "snooze": _snooze,
    "limit": _limit,
    "admit": _admit,
    "discharge": _discharge,
}


def timer(bed: Bed, c: int, time_us: int) -> AlertTransition | None:
    """The escalation or the reminder of condition ``c`` is due."""
    if bed.state(c) is State.ACKNOWLEDGED:
        return bed.stimulate(c, Stimulus.REMIND, time_us, Cause("still present after its acknowledgement"))
    return bed.stimulate(c, Stimulus.ESCALATE, time_us, Cause("nobody has acknowledged it"))


def snooze_over(bed: Bed, c: int, time_us: int) -> AlertTransition | None:
    """The snooze of condition ``c`` ends at ``time_us``."""
    bed.record["snoozed_until_us"][c] = 0
    return bed.resume(c, time_us, Cause("the snooze is over", person=NOBODY))


def _told(step: AlertTransition | None) -> Iterator[AlertTransition]:
    if step is not None:
        yield step


def _condition(command: Command) -> int:
    try:
        return INDEX[Condition(command.condition or "")]
    except ValueError:
        raise _refused("not a condition") from None


def _seconds(command: Command, longest_s: float) -> float:
    seconds = longest_s if command.seconds is None else command.seconds
    if not math.isfinite(seconds) or not 0 < seconds <= longest_s:
        raise _refused("a duration outside its bounds")
    return seconds


def _person(command: Command) -> Person:
    return Person(command.who, command.role, command.reason)


def _refused(why: str) -> Unusable:
    return Unusable(Reason.REFUSED_COMMAND, why)

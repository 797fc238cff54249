"""Which conditions are present: compiled over the findings of many patients.

Everything here is event time and a pure function of one patient's findings of one task, in their order. What time
alone brings about (a stream that falls silent, a measure too old to stand for the patient) has a due time of its own,
and is told with that time whether a later finding or the passing of time brings it to light.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.bed import TASK_INDEX
from vitals.conditions import CONDITIONS, INDEX, NO_DATA, RULES, Compare, Condition, Kind, Rule
from vitals.kernels import kernel
from vitals.units import US_PER_S

DISCHARGE_GRACE_US: Final = 60 * US_PER_S
"""Findings up to so long after a discharge are stragglers; a later one admits the patient anew."""


class Change(enum.IntEnum):
    """What became of a condition."""

    ONSET = 0
    END = 1
    LAPSE = 2  # ended because it could not be measured any more
    SUPERSEDED = 3  # ended because a worse one is present
    WORSENED = 4  # so much worse than when it was snoozed that the snooze is void


RULE: Final = np.dtype(
    [
        ("compare", "<i4"),
        ("hysteresis", "<f8"),
        ("on_us", "<i8"),
        ("off_us", "<i8"),
        ("lapse_us", "<i8"),
        ("superseded_by", "<u8"),
        ("rearm", "<f8"),
        ("silent_task", "<i4"),  # the task whose silence this condition is, -1 for all others
        ("blind_with", "<i4"),  # the condition that voids a snooze of this one: nobody may snooze what is not seen
    ]
)

EDGE: Final = np.dtype(
    [
        ("row", "<i4"),
        ("condition", "<i4"),
        ("change", "<i4"),
        ("finding", "<i4"),  # which finding of the batch, -1 when none decided it
        ("time_us", "<i8"),
        ("onset_us", "<i8"),
        ("value", "<f8"),
        ("limit", "<f8"),
    ]
)
"""One change of one condition, in the order in which the findings brought them about."""


def rule_table(rules: Mapping[Condition, Rule] = RULES) -> npt.NDArray[np.void]:
    """RULE[C]: ``rules`` as the kernels read them."""
    table = np.zeros(len(CONDITIONS), RULE)
    silence = {condition: TASK_INDEX[task] for task, condition in NO_DATA.items()}
    for i, condition in enumerate(CONDITIONS):
        rule = rules[condition]
        superiors = sum(1 << INDEX[worse] for worse in rule.superseded_by)
        on_us, off_us, lapse_us = (round(s * US_PER_S) for s in (rule.on_delay_s, rule.off_delay_s, rule.lapse_s))
        blind = -1
        if rule.kind is Kind.PHYSIOLOGICAL and rule.task in NO_DATA:
            blind = INDEX[NO_DATA[rule.task]]
        silent = silence.get(condition, -1)
        table[i] = (rule.compare, rule.hysteresis, on_us, off_us, lapse_us, superiors, rule.rearm, silent, blind)
    return table


_ONSET: Final = int(Change.ONSET)
_END: Final = int(Change.END)
_LAPSE: Final = int(Change.LAPSE)
_SUPERSEDED: Final = int(Change.SUPERSEDED)
_WORSENED: Final = int(Change.WORSENED)
_ABOVE: Final = int(Compare.ABOVE)
_BELOW: Final = int(Compare.BELOW)


@kernel
def is_present(bed, c):  # type: ignore[no-untyped-def]
    """Whether condition ``c`` is present."""
    return (bed.present >> np.uint64(c)) & np.uint64(1) == np.uint64(1)


@kernel
def _tell(edges, n, row, c, change, finding, time_us, onset_us, value, limit):  # type: ignore[no-untyped-def]
    edge = edges[n]
    edge.row = row
    edge.condition = c
    edge.change = change
    edge.finding = finding
    edge.time_us = time_us
    edge.onset_us = onset_us
    edge.value = value
    edge.limit = limit
    return n + 1


@kernel
def _begin(bed, c):  # type: ignore[no-untyped-def]
    bed.present |= np.uint64(1) << np.uint64(c)
    bed.gone_us[c] = 0


@kernel
def _finish(bed, c):  # type: ignore[no-untyped-def]
    bed.present &= ~(np.uint64(1) << np.uint64(c))
    bed.since_us[c] = 0
    bed.gone_us[c] = 0
    if not np.isinf(bed.snoozed_at[c]):
        bed.snoozed_at[c] = np.nan


@kernel
def _void_snooze(bed, c, time_us):  # type: ignore[no-untyped-def]
    if bed.snoozed_until_us[c] > time_us:
        bed.snoozed_at[c] = np.inf


@kernel
def _worsens(bed, c, rule, end_us, value):  # type: ignore[no-untyped-def]
    """Whether condition ``c`` has become so much worse than when it was snoozed that the snooze is void, once."""
    if rule.rearm == 0.0 or np.isinf(bed.snoozed_at[c]):
        return False
    if end_us >= bed.snoozed_until_us[c] or np.isnan(bed.snoozed_at[c]):
        bed.snoozed_at[c] = value
        return False
    worse = bed.snoozed_at[c] - value if rule.compare == _BELOW else value - bed.snoozed_at[c]
    if worse < rule.rearm:
        return False
    bed.snoozed_at[c] = np.inf
    return True


@kernel
def _beyond(value, limit, rule, present):  # type: ignore[no-untyped-def]
    """Whether ``value`` is beyond ``limit``, which hysteresis moves for what is already present."""
    slack = rule.hysteresis if present else 0.0
    if rule.compare == _ABOVE:
        return value > limit - slack
    if rule.compare == _BELOW:
        return value < limit + slack
    return value >= limit - slack


@kernel
def follow(bed, row, c, rule, finding, end_us, value, edges, n):  # type: ignore[no-untyped-def]
    """Condition ``c`` after a finding at ``end_us`` whose measure is ``value`` (NaN unknown). Returns the new ``n``."""
    n = lapse(bed, row, c, rule, end_us, edges, n)
    present = is_present(bed, c)
    if bed.present & rule.superseded_by:
        if present:
            n = _tell(edges, n, row, c, _SUPERSEDED, finding, end_us, bed.since_us[c], value, bed.limit[c])
        _finish(bed, c)
        return n
    if np.isnan(value):
        return n
    bed.known_us[c] = end_us
    limit = bed.limit[c]
    beyond = _beyond(value, limit, rule, present)
    if present:
        if beyond:
            bed.gone_us[c] = 0
            if _worsens(bed, c, rule, end_us, value):
                n = _tell(edges, n, row, c, _WORSENED, finding, end_us, bed.since_us[c], value, limit)
            return n
        if bed.gone_us[c] == 0:
            bed.gone_us[c] = end_us
        if end_us - bed.gone_us[c] >= rule.off_us:
            n = _tell(edges, n, row, c, _END, finding, end_us, bed.since_us[c], value, limit)
            _finish(bed, c)
        return n
    if not beyond:
        bed.since_us[c] = 0
        return n
    if bed.since_us[c] == 0:
        bed.since_us[c] = end_us
    if end_us - bed.since_us[c] >= rule.on_us:
        _begin(bed, c)
        n = _tell(edges, n, row, c, _ONSET, finding, end_us, bed.since_us[c], value, limit)
        _worsens(bed, c, rule, end_us, value)
    return n


@kernel
def lapse(bed, row, c, rule, now_us, edges, n):  # type: ignore[no-untyped-def]
    """Let go of what has not been measured for too long at ``now_us``, a running delay included."""
    if rule.lapse_us == 0 or bed.known_us[c] == 0 or now_us - bed.known_us[c] <= rule.lapse_us:
        return n
    if is_present(bed, c):
        due_us = bed.known_us[c] + rule.lapse_us
        n = _tell(edges, n, row, c, _LAPSE, -1, due_us, bed.since_us[c], np.nan, bed.limit[c])
        _void_snooze(bed, c, due_us)
    _finish(bed, c)
    bed.known_us[c] = 0
    return n


@kernel
def hear(bed, row, c, task, finding, end_us, now_us, edges, n):  # type: ignore[no-untyped-def]
    """A finding at ``end_us`` breaks the silence of ``task``; ``c`` is its no-data condition.

    What the passing of time has raised ends only when the data are fresh again at ``now_us``: old data coming in late
    are still no data.
    """
    bed.heard_us[task] = max(bed.heard_us[task], end_us)
    if is_present(bed, c) and end_us + _hold_us(bed, c) >= now_us:
        silent_s = (end_us - bed.since_us[c]) / US_PER_S + bed.limit[c]
        n = _tell(edges, n, row, c, _END, finding, end_us, bed.since_us[c], silent_s, bed.limit[c])
        _finish(bed, c)
    return n


@kernel
def silence(bed, row, c, task, rules, now_us, edges, n):  # type: ignore[no-untyped-def]
    """Raise condition ``c`` when ``task`` has been silent for longer than its limit at ``now_us``: with the time at
    which it was, whenever that is noticed, and before anything that a later finding brings about.
    """
    due_us = bed.heard_us[task] + _hold_us(bed, c)
    if bed.heard_us[task] == 0 or is_present(bed, c) or now_us <= due_us:
        return n
    _begin(bed, c)
    bed.since_us[c] = due_us
    for k in range(len(rules)):
        if rules[k].blind_with == c:
            _void_snooze(bed, k, due_us)
    return _tell(edges, n, row, c, _ONSET, -1, due_us, due_us, bed.limit[c], bed.limit[c])


@kernel
def _hold_us(bed, c):  # type: ignore[no-untyped-def]
    return np.int64(bed.limit[c] * US_PER_S)


@kernel
def pass_time(table, rows, rules, now_us, edges):  # type: ignore[no-untyped-def]
    """What time alone has brought about by ``now_us`` in ``rows``. Returns the number of ``edges`` (C per row)."""
    n = 0
    for row in rows:
        bed = table[row]
        for c in range(len(rules)):
            rule = rules[c]
            if rule.silent_task >= 0:
                n = silence(bed, row, c, rule.silent_task, rules, now_us, edges, n)
            else:
                n = lapse(bed, row, c, rule, now_us, edges, n)
    return n

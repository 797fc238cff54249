"""Alarm flood: so many alarms of one bed that nobody can look at each (ten in ten minutes: EEMUA 191, IEC 62682).

Every alarm is still told: a flood is told beside them, once, with what it is made of. It joins the streams of a
patient, so like the risk it depends on the order in which findings of different tasks stand in the log. The silence of
a stream does not count: the passing of time is told at no certain moment.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np

from vitals.bed import FLOOD_ALARMS
from vitals.conditions import CONDITIONS, INDEX, Condition, title
from vitals.units import US_PER_S

FLOOD: Final = INDEX[Condition.ALARM_FLOOD]
WITHIN_S: Final = 600.0
WITHIN_US: Final = round(WITHIN_S * US_PER_S)
_BIT: Final = np.uint64(1 << FLOOD)


def counted(record: Any, c: int, known_us: int) -> bool:
    """An alarm of condition ``c`` was raised in ``record`` (a BED) by what could be known at ``known_us``: whether a
    flood begins with it.
    """
    times = np.append(record["raised_us"], known_us)
    order = np.argsort(times, kind="stable")[1:]
    record["raised"] = np.append(record["raised"], np.uint8(c))[order]
    record["raised_us"] = times[order]
    first_us, last_us = record["raised_us"][[0, -1]].tolist()
    if record["present"] & _BIT or first_us == 0 or last_us - first_us > WITHIN_US:
        return False
    record["present"] |= _BIT
    record["since_us"][FLOOD] = known_us
    return True


def over(record: Any) -> None:
    """The flood of ``record`` has ended."""
    record["present"] &= ~_BIT
    record["since_us"][FLOOD] = 0


def summary(record: Any) -> str:
    """What it is made of, the most frequent first: ``10 in 10 min: PVC run 6, Heart rate high 4``."""
    made_of = Counter(title(CONDITIONS[c]) for c in record["raised"].tolist()).most_common()
    return f"{FLOOD_ALARMS} in {WITHIN_S / 60:g} min: {', '.join(f'{name} {n}' for name, n in made_of)}"

"""What the decide half remembers of a patient: one record of one dtype, so that a snapshot is one copy.

Axes: T tasks (in the order of ``Task``), C conditions (in the order of ``CONDITIONS``). A time of 0 is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.conditions import CONDITIONS
from vitals.findings import Task

TASKS: Final[tuple[Task, ...]] = tuple(Task)
TASK_INDEX: Final[dict[Task, int]] = {task: k for k, task in enumerate(TASKS)}
PVC_CELLS: Final = 12
PVC_CELL_US: Final = 5_000_000
"""Ventricular beats are counted in cells of 5 s of event time; twelve of them are the last minute."""

FLOOD_ALARMS: Final = 10
"""So many alarms of a bed within ten minutes are a flood."""

_T, _C = len(TASKS), len(CONDITIONS)

BED: Final = np.dtype(
    [
        ("last_us", "<i8", (_T,)),  # end of the newest finding taken; nothing at or before it is taken again
        ("heard_us", "<i8", (_T,)),  # when a stream was last heard of, counted from admission; 0 while not expected
        ("source", "<u4", (_T,)),  # who is followed, 0 nobody yet (``vitals/sources.py``)
        ("believed_us", "<i8", (_T,)),  # end of the newest finding that could be believed
        ("rival_us", "<i8", (_T,)),  # where the one that is followed stood when another one was last heard
        ("admitted_us", "<i8"),
        ("discharged_us", "<i8"),
        # conditions
        ("present", "<u8"),  # a bit for each
        ("since_us", "<i8", (_C,)),  # when it began, be it raised or still in its delay
        ("gone_us", "<i8", (_C,)),  # since when a present one has been inside its limit again
        ("known_us", "<i8", (_C,)),  # when it was last measured
        ("limit", "<f8", (_C,)),
        ("snoozed_at", "<f8", (_C,)),  # how bad it was when it was snoozed, inf once that snooze is void
        ("clock_us", "<i8"),  # from the end of a rhythm window to its arrival, as long as it stays about the same
        ("reading_mg_dl", "<f8"),
        ("reading_since_us", "<i8"),  # the first of the readings that say the same as the newest
        # heartbeats
        ("ventricular_run", "<i4"),
        ("fast_run", "<i4"),
        ("run_us", "<i8"),  # end of the last beat of a run of 3
        ("tachycardia_us", "<i8"),  # end of the last beat of a fast run of 5
        ("pvc_cell", "<i8"),
        ("pvcs", "<i4", (PVC_CELLS,)),
        # risk
        ("says", "<f8", (_T,)),
        ("says_us", "<i8", (_T,)),  # end of the finding that said it
        ("model", "<i4", (_T,)),
        ("risk_phase_us", "<i8"),
        ("risk_cell", "<i8"),
        ("band", "<i4"),
        # signals
        ("state", "<u1", (_C,)),
        ("level", "<u1", (_C,)),  # further people told
        ("step", "<i4", (_C,)),
        ("onset_us", "<i8", (_C,)),  # of the alert, which may outlive the condition
        ("due_us", "<i8", (_C,)),  # when the escalation or the reminder is due
        ("snoozed_until_us", "<i8", (_C,)),
        ("paused_until_us", "<i8"),
        ("raised_us", "<i8", (FLOOD_ALARMS,)),  # the latest alarms raised, oldest first
        ("raised", "<u1", (FLOOD_ALARMS,)),
    ]
)


def blank(limits: Sequence[float]) -> npt.NDArray[np.void]:
    """BED[()]: a patient of whom nothing is known, and their ``limits``, in the order of ``CONDITIONS``."""
    bed = np.zeros((), BED)
    bed["limit"] = limits
    bed["snoozed_at"] = np.nan
    bed["model"] = -1
    return bed

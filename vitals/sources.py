"""Which of several senders of one patient is followed: one at a time for each task, the first until it fails.

A source is whose state a window was cut from (a gateway on a partition). Two of them send the same patient while a
patient is moved, when two monitors hang on one heart, or when one name was given to two people. Taken together their
heartbeats would be counted twice. So the one that is followed keeps the bed, and another takes over when it has been
silent for ``HOLD_S``, or has for so long sent only what cannot be believed while the other can be. What the others send
meanwhile is counted and changes nothing but one thing: that there is a second monitor is itself a condition.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vitals.findings import Task, Verdict
from vitals.kernels import kernel
from vitals.units import US_PER_S

ANY: Final = 0
"""The source of findings that have none: always taken."""

HOLD_S: Final = (5.0, 5.0, 660.0, 0.0, 0.0, 0.0)
"""By task, in event time. For the ECG half of what it takes to alarm silence; for glucose two missing readings.
Recent beats are those of the monitor whose rhythm is followed."""
RIVAL_S: Final = 5.0
"""A second monitor is there as long as one of its believable rhythm windows is not older than this."""

_HOLD_US: Final = np.array([round(s * US_PER_S) for s in HOLD_S], np.int64)
_RIVAL_US: Final = np.int64(RIVAL_S * US_PER_S)
_POOR: Final = int(Verdict.POOR)
_RHYTHM, _RECENT = (tuple(Task).index(task) for task in (Task.ECG_RHYTHM, Task.ECG_AF))


@kernel
def is_followed(bed, task, source, end_us, verdict):  # type: ignore[no-untyped-def]
    """Whether a finding comes from the source that is followed, which it may have become by this finding."""
    if source == ANY or source == bed.source[_RHYTHM if task == _RECENT else task]:
        return True
    if task == _RECENT:
        return False
    believed = verdict <= _POOR
    silent = end_us - bed.last_us[task] > _HOLD_US[task]
    better = believed and end_us - bed.believed_us[task] > _HOLD_US[task]
    if bed.source[task] == ANY or silent or better:
        bed.source[task] = source
        return True
    if believed:
        # on the clock of the one that is followed: the other one's may be off
        bed.rival_us[task] = bed.last_us[task]
    return False


@kernel
def note(bed, task, end_us, verdict):  # type: ignore[no-untyped-def]
    """A finding of the source that is followed was taken."""
    if verdict <= _POOR:
        bed.believed_us[task] = end_us


@kernel
def has_rival(bed, task, end_us):  # type: ignore[no-untyped-def]
    """Whether a second source was heard a moment ago."""
    return bed.rival_us[task] > 0 and end_us - bed.rival_us[task] <= _RIVAL_US

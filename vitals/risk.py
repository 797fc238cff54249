"""Risk: what the latest findings of all streams say together about the next half hour of a patient.

The composite is the probability that at least one stream is right about a danger, each stream speaking for itself
(noisy-or): ``p = 1 - Π (1 - p_k)``. What stream ``k`` says, ``p_k``, is a documented function of its latest finding
(``vitals/hazards.py``); it is a transparent score, not a validated clinical prediction. How sure it is shows in the
interval: every input is uncertain by a logit half-width that grows with the age of its finding, and an input that is
not there widens the interval up to what such a stream would say of one patient in twenty. When no vital sign is left
(neither ECG nor glucose), the risk is withheld.
"""

from __future__ import annotations

import enum
from typing import Final

from vitals.events import Wire
from vitals.findings import Task

HORIZON_MIN: Final = 30
FORMULA: Final = "noisy-or-1"
"""Changes whenever the same findings would give another risk."""

INPUTS: Final[tuple[Task, ...]] = tuple(Task)


class Band(enum.IntEnum):
    """What a person reads first. ``WITHHELD``: no vital sign is known, so nothing is said."""

    WITHHELD = 0
    LOW = 1
    GUARDED = 2
    HIGH = 3
    CRITICAL = 4


class InputState(enum.IntEnum):
    """What became of an input. A stale one is used and widens the interval; an expired one is as good as missing."""

    MISSING = 0
    EXPIRED = 1
    STALE = 2
    FRESH = 3


class RiskBatch(Wire, frozen=True, tag="risk", tag_field="type"):
    """Risks of many patients as columns. Row ``i`` is patient ``patients[i]`` at event time ``time_us[i]``.

    A row's identity is (patient, time_us); a later one of the same identity replaces it. A patient may occur more than
    once. ``probability``, ``lower``, ``upper``: of a danger within ``horizon_min``, None when ``band`` is WITHHELD.
    Columns of input ``k`` (``inputs[k]``), each of one value per row: ``state[k]`` (``InputState``), ``end_us[k]``: the
    finding it rests on (0 none), ``age_s[k]``: its age at ``time_us`` (None), ``says[k]``: what it contributes (None),
    ``model[k]``: index into ``models`` (-1 none). ``input_ms``: broker time of the record behind the deciding finding.
    """

    formula: str
    horizon_min: int
    patients: list[str]
    time_us: list[int]
    input_ms: list[int]
    probability: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    band: list[Band]
    inputs: list[Task]
    state: list[list[InputState]]
    end_us: list[list[int]]
    age_s: list[list[float | None]]
    says: list[list[float | None]]
    model: list[list[int]]
    models: list[str]

    def __len__(self) -> int:
        return len(self.patients)

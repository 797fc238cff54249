"""What can be alarmed: one closed table. A row is a rule; nothing about a condition is decided anywhere else.

Priority and kind are the words of IEC 60601-1-8 (high: at once, medium: prompt, low: be aware). A condition reads the
findings of one task only, so its course does not depend on how the tasks are interleaved. A measure that is not known
leaves a condition as it is, for at most ``lapse_s``. Sources stand beside the limits (``vitals/limits.py``) and below.

CinC 2015: Clifford et al., "The PhysioNet/Computing in Cardiology Challenge 2015: Reducing False Arrhythmia Alarms in
the ICU" (asystole: no QRS for 4 s; extreme bradycardia: below 40/min for 5 beats; extreme tachycardia: above 140/min
for 17 beats; ventricular tachycardia: 5 or more ventricular beats faster than 100/min; flutter or fibrillation: 4 s).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from vitals.findings import Task


class Priority(enum.StrEnum):
    """How soon a person must act."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 low, 1 medium, 2 high."""
        return _RANK[self]


_RANK: Final = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2}


class Kind(enum.StrEnum):
    """Whether it is about the patient or about the equipment."""

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class Compare(enum.IntEnum):
    """How a measure is held against its limit. What is present ends past the hysteresis, not at the limit itself."""

    ABOVE = 0  # present when measure > limit, ends when measure <= limit - hysteresis
    BELOW = 1  # present when measure < limit, ends when measure >= limit + hysteresis
    AT_LEAST = 2  # present when measure >= limit, ends when measure < limit - hysteresis


class Condition(enum.StrEnum):
    """Everything that can be alarmed, worst first inside a stream: a condition is superseded by earlier ones only."""

    VENTRICULAR_FIBRILLATION = "ventricular-fibrillation"
    ASYSTOLE = "asystole"
    EXTREME_TACHYCARDIA = "extreme-tachycardia"
    EXTREME_BRADYCARDIA = "extreme-bradycardia"
    HEART_RATE_HIGH = "heart-rate-high"
    HEART_RATE_LOW = "heart-rate-low"
    IRREGULAR_RHYTHM = "irregular-rhythm"
    ECG_FLAT = "ecg-flat"
    ECG_LEAD_OFF = "ecg-lead-off"
    ECG_POOR_SIGNAL = "ecg-poor-signal"
    ECG_NO_DATA = "ecg-no-data"
    ECG_TWO_MONITORS = "ecg-two-monitors"
    ECG_CLOCK_WRONG = "ecg-clock-wrong"
    VENTRICULAR_TACHYCARDIA = "ventricular-tachycardia"
    PVC_RUN = "pvc-run"
    PVC_FREQUENT = "pvc-frequent"
    BEAT_MODEL_DOWN = "beat-model-down"
    ATRIAL_FIBRILLATION = "atrial-fibrillation"
    GLUCOSE_VERY_LOW = "glucose-very-low"
    GLUCOSE_LOW = "glucose-low"
    GLUCOSE_LOW_PREDICTED = "glucose-low-predicted"
    GLUCOSE_FALLING_FAST = "glucose-falling-fast"
    GLUCOSE_VERY_HIGH = "glucose-very-high"
    GLUCOSE_HIGH = "glucose-high"
    GLUCOSE_RISING_FAST = "glucose-rising-fast"
    GLUCOSE_FROZEN = "glucose-frozen"
    GLUCOSE_MODEL_DOWN = "glucose-model-down"
    GLUCOSE_NO_DATA = "glucose-no-data"
    PNEUMONIA_SUSPECTED = "pneumonia-suspected"
    BREAST_MALIGNANCY_SUSPECTED = "breast-malignancy-suspected"
    ALARM_FLOOD = "alarm-flood"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table.

    ``task``: whose findings it reads; None for what is made of other alarms.
    ``measure``: what is compared, a word for people; ``compare`` and ``hysteresis`` (in the limit's unit): how.
    ``on_delay_s``: event time it must hold before it is raised; ``off_delay_s``: it must be gone before it ends.
    ``lapse_s``: how long a present condition outlives its last known measure; 0 for ever.
    ``superseded_by``: while one of these is present this one is taken as absent.
    ``latching``: unless acknowledged, the signal outlives the condition.
    ``escalate_s``: unacknowledged that long, the next person is told, twice at most; 0 never.
    ``remind_s``: still present that long after the acknowledgement, the signal comes on again; 0 never.
    ``snooze_max_s``: the longest snooze. ``rearm``: so much worse than when it was snoozed, in the limit's unit, and
    the snooze is void; 0: its measure has no degrees, or its snooze is too short to matter.
    """

    task: Task | None
    priority: Priority
    kind: Kind
    measure: str
    compare: Compare
    hysteresis: float = 0.0
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    lapse_s: float = 60.0
    superseded_by: tuple[Condition, ...] = ()
    latching: bool = False
    escalate_s: float = 0.0
    remind_s: float = 0.0
    snooze_max_s: float = 0.0
    rearm: float = 0.0


_C = Condition
_PHYS, _TECH = Kind.PHYSIOLOGICAL, Kind.TECHNICAL
_HIGH, _MEDIUM, _LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW
_RHYTHM, _BEAT, _GLUCOSE = Task.ECG_RHYTHM, Task.ECG_BEAT, Task.GLUCOSE
_GLUCOSE_LAPSE_S: Final = 3600.0

RULES: Final[dict[Condition, Rule]] = {
    _C.VENTRICULAR_FIBRILLATION: Rule(
        task=_RHYTHM, priority=_HIGH, kind=_PHYS, measure="fibrillation index", compare=Compare.AT_LEAST,
        hysteresis=0.1, on_delay_s=3, off_delay_s=5, latching=True, escalate_s=30, remind_s=60, snooze_max_s=60,
    ),
    _C.ASYSTOLE: Rule(
        task=_RHYTHM, priority=_HIGH, kind=_PHYS, measure="time since the last beat", compare=Compare.AT_LEAST,
        superseded_by=(_C.VENTRICULAR_FIBRILLATION,), latching=True, escalate_s=30, remind_s=60, snooze_max_s=60,
    ),
    _C.EXTREME_TACHYCARDIA: Rule(
        task=_RHYTHM, priority=_HIGH, kind=_PHYS, measure="heart rate of 17 beats", compare=Compare.ABOVE,
        hysteresis=5, off_delay_s=5, superseded_by=(_C.VENTRICULAR_FIBRILLATION,),
        latching=True, escalate_s=60, remind_s=120, snooze_max_s=120, rearm=20,
    ),
    _C.EXTREME_BRADYCARDIA: Rule(
        task=_RHYTHM, priority=_HIGH, kind=_PHYS, measure="heart rate of 5 beats", compare=Compare.BELOW,
        hysteresis=3, off_delay_s=5,
        superseded_by=(_C.VENTRICULAR_FIBRILLATION, _C.ASYSTOLE),
        latching=True, escalate_s=60, remind_s=120, snooze_max_s=120, rearm=5,
    ),
    _C.HEART_RATE_HIGH: Rule(
        task=_RHYTHM, priority=_MEDIUM, kind=_PHYS, measure="heart rate", compare=Compare.ABOVE,
        hysteresis=5, on_delay_s=10, off_delay_s=5,
        superseded_by=(_C.VENTRICULAR_FIBRILLATION, _C.EXTREME_TACHYCARDIA),
        escalate_s=180, remind_s=600, snooze_max_s=1800, rearm=15,
    ),
    _C.HEART_RATE_LOW: Rule(
        task=_RHYTHM, priority=_MEDIUM, kind=_PHYS, measure="heart rate", compare=Compare.BELOW,
        hysteresis=3, on_delay_s=10, off_delay_s=5,
        superseded_by=(_C.VENTRICULAR_FIBRILLATION, _C.ASYSTOLE, _C.EXTREME_BRADYCARDIA),
        escalate_s=180, remind_s=600, snooze_max_s=1800, rearm=8,
    ),
    _C.IRREGULAR_RHYTHM: Rule(
        task=_RHYTHM, priority=_LOW, kind=_PHYS, measure="irregularity of the RR intervals", compare=Compare.AT_LEAST,
        hysteresis=0.1, on_delay_s=60, off_delay_s=60,
        superseded_by=(_C.VENTRICULAR_FIBRILLATION, _C.ASYSTOLE), snooze_max_s=3600,
    ),
    _C.ECG_FLAT: Rule(
        # no electrical signal at all is a lead fault or an asystole; which of them, only a person at the bed can say
        task=_RHYTHM, priority=_HIGH, kind=_TECH, measure="flat line", compare=Compare.AT_LEAST,
        on_delay_s=3, off_delay_s=2, lapse_s=0, escalate_s=60, remind_s=120, snooze_max_s=120,
    ),
    _C.ECG_LEAD_OFF: Rule(
        task=_RHYTHM, priority=_MEDIUM, kind=_TECH, measure="electrode off", compare=Compare.AT_LEAST,
        on_delay_s=3, off_delay_s=2, lapse_s=0, superseded_by=(_C.ECG_FLAT,),
        escalate_s=180, remind_s=600, snooze_max_s=1800,
    ),
    _C.ECG_POOR_SIGNAL: Rule(
        task=_RHYTHM, priority=_LOW, kind=_TECH, measure="signal that cannot be read", compare=Compare.AT_LEAST,
        on_delay_s=15, off_delay_s=5, lapse_s=0, superseded_by=(_C.ECG_FLAT, _C.ECG_LEAD_OFF),
        escalate_s=600, remind_s=900, snooze_max_s=3600,
    ),
    _C.ECG_NO_DATA: Rule(
        task=_RHYTHM, priority=_MEDIUM, kind=_TECH, measure="time without data", compare=Compare.ABOVE,
        lapse_s=0, escalate_s=120, remind_s=600, snooze_max_s=1800,
    ),
    _C.ECG_TWO_MONITORS: Rule(
        # two monitors on one heart, or one name given to two people: then one of them is not watched
        task=_RHYTHM, priority=_MEDIUM, kind=_TECH, measure="a second monitor sends this patient",
        compare=Compare.AT_LEAST, on_delay_s=10, off_delay_s=10, escalate_s=180, remind_s=600, snooze_max_s=3600,
    ),
    _C.ECG_CLOCK_WRONG: Rule(
        # what is shown as now is not: a backlog that drains comes nearer all the while and is none of this
        task=_RHYTHM, priority=_LOW, kind=_TECH, measure="clock of the monitor, steadily away from the time of arrival",
        compare=Compare.AT_LEAST, on_delay_s=30, off_delay_s=10, snooze_max_s=3600,
    ),
    _C.VENTRICULAR_TACHYCARDIA: Rule(
        task=_BEAT, priority=_HIGH, kind=_PHYS, measure="ventricular beats in a row above 100/min",
        compare=Compare.AT_LEAST, off_delay_s=5, latching=True, escalate_s=30, remind_s=60, snooze_max_s=60,
    ),
    _C.PVC_RUN: Rule(
        task=_BEAT, priority=_MEDIUM, kind=_PHYS, measure="ventricular beats in a row", compare=Compare.AT_LEAST,
        off_delay_s=10, superseded_by=(_C.VENTRICULAR_TACHYCARDIA,), escalate_s=300, remind_s=600, snooze_max_s=1800,
        rearm=4,
    ),
    _C.PVC_FREQUENT: Rule(
        task=_BEAT, priority=_LOW, kind=_PHYS, measure="ventricular beats in a minute", compare=Compare.ABOVE,
        hysteresis=4, off_delay_s=30, snooze_max_s=3600, rearm=10,
    ),
    _C.BEAT_MODEL_DOWN: Rule(
        task=_BEAT, priority=_LOW, kind=_TECH, measure="beats are not classified", compare=Compare.AT_LEAST,
        on_delay_s=60, off_delay_s=10, lapse_s=0, snooze_max_s=3600,
    ),
    _C.ATRIAL_FIBRILLATION: Rule(
        # two windows of a minute that overlap by half: an episode of 30 s and more
        task=Task.ECG_AF, priority=_LOW, kind=_PHYS, measure="probability of atrial fibrillation",
        compare=Compare.AT_LEAST, hysteresis=0.2, on_delay_s=30, off_delay_s=60, lapse_s=300, snooze_max_s=3600,
    ),
    _C.GLUCOSE_VERY_LOW: Rule(
        task=_GLUCOSE, priority=_HIGH, kind=_PHYS, measure="glucose", compare=Compare.BELOW,
        hysteresis=4, lapse_s=_GLUCOSE_LAPSE_S, escalate_s=300, remind_s=900, snooze_max_s=900, rearm=6,
    ),
    _C.GLUCOSE_LOW: Rule(
        task=_GLUCOSE, priority=_MEDIUM, kind=_PHYS, measure="glucose", compare=Compare.BELOW,
        hysteresis=5, lapse_s=_GLUCOSE_LAPSE_S, superseded_by=(_C.GLUCOSE_VERY_LOW,),
        escalate_s=600, remind_s=1200, snooze_max_s=1800, rearm=8,
    ),
    _C.GLUCOSE_LOW_PREDICTED: Rule(
        task=_GLUCOSE, priority=_MEDIUM, kind=_PHYS, measure="probability of a low within 30 min",
        compare=Compare.AT_LEAST, hysteresis=0.15, lapse_s=_GLUCOSE_LAPSE_S,
        superseded_by=(_C.GLUCOSE_VERY_LOW, _C.GLUCOSE_LOW), escalate_s=900, remind_s=1800, snooze_max_s=1800,
        rearm=0.25,
    ),
    _C.GLUCOSE_FALLING_FAST: Rule(
        task=_GLUCOSE, priority=_MEDIUM, kind=_PHYS, measure="fall of the glucose below 140 mg/dL",
        compare=Compare.AT_LEAST, hysteresis=1, lapse_s=_GLUCOSE_LAPSE_S,
        superseded_by=(_C.GLUCOSE_VERY_LOW, _C.GLUCOSE_LOW), escalate_s=900, remind_s=1800, snooze_max_s=1800,
    ),
    _C.GLUCOSE_VERY_HIGH: Rule(
        task=_GLUCOSE, priority=_MEDIUM, kind=_PHYS, measure="glucose", compare=Compare.ABOVE,
        hysteresis=10, lapse_s=_GLUCOSE_LAPSE_S, escalate_s=1800, remind_s=3600, snooze_max_s=7200, rearm=50,
    ),
    _C.GLUCOSE_HIGH: Rule(
        # one reading after a meal is not news: two readings' time above the limit is
        task=_GLUCOSE, priority=_LOW, kind=_PHYS, measure="glucose", compare=Compare.ABOVE,
        hysteresis=10, on_delay_s=600, lapse_s=_GLUCOSE_LAPSE_S, superseded_by=(_C.GLUCOSE_VERY_HIGH,),
        snooze_max_s=7200, rearm=40,
    ),
    _C.GLUCOSE_RISING_FAST: Rule(
        task=_GLUCOSE, priority=_LOW, kind=_PHYS, measure="rise of the glucose above 140 mg/dL",
        compare=Compare.AT_LEAST, hysteresis=1, lapse_s=_GLUCOSE_LAPSE_S, superseded_by=(_C.GLUCOSE_VERY_HIGH,),
        snooze_max_s=7200,
    ),
    _C.GLUCOSE_FROZEN: Rule(
        # a sensor that always says the same says nothing: the danger is that it looks well
        task=_GLUCOSE, priority=_MEDIUM, kind=_TECH, measure="time at one and the same reading",
        compare=Compare.AT_LEAST, lapse_s=_GLUCOSE_LAPSE_S, escalate_s=1800, remind_s=3600, snooze_max_s=7200,
    ),
    _C.GLUCOSE_MODEL_DOWN: Rule(
        task=_GLUCOSE, priority=_LOW, kind=_TECH, measure="no forecast", compare=Compare.AT_LEAST,
        on_delay_s=600, lapse_s=0, snooze_max_s=7200,
    ),
    _C.GLUCOSE_NO_DATA: Rule(
        task=_GLUCOSE, priority=_MEDIUM, kind=_TECH, measure="time without data", compare=Compare.ABOVE,
        lapse_s=0, escalate_s=1800, remind_s=1800, snooze_max_s=7200,
    ),
    _C.PNEUMONIA_SUSPECTED: Rule(
        task=Task.PNEUMONIA, priority=_LOW, kind=_PHYS, measure="probability of pneumonia", compare=Compare.AT_LEAST,
        lapse_s=0, snooze_max_s=86_400,
    ),
    _C.BREAST_MALIGNANCY_SUSPECTED: Rule(
        task=Task.BREAST, priority=_LOW, kind=_PHYS, measure="probability of malignancy", compare=Compare.AT_LEAST,
        lapse_s=0, snooze_max_s=86_400,
    ),
    _C.ALARM_FLOOD: Rule(
        task=None, priority=_MEDIUM, kind=_TECH, measure="alarms of the bed in 10 min", compare=Compare.AT_LEAST,
        lapse_s=0, escalate_s=300, remind_s=1800, snooze_max_s=1800,
    ),
}  # fmt: skip

CONDITIONS: Final[tuple[Condition, ...]] = tuple(Condition)
INDEX: Final[dict[Condition, int]] = {condition: i for i, condition in enumerate(CONDITIONS)}
"""Place of a condition in the arrays over conditions."""

NO_DATA: Final[dict[Task, Condition]] = {
    Task.ECG_RHYTHM: Condition.ECG_NO_DATA,
    Task.GLUCOSE: Condition.GLUCOSE_NO_DATA,
}
"""Streams whose silence is itself a condition."""

PAUSE_MAX_S: Final = 120.0
"""The longest pause of all alarms of a patient; Dräger IACS allows two minutes too."""
ESCALATIONS: Final = 2
"""How many further people are told."""

_SPELT: Final = {"ecg": "ECG", "pvc": "PVC"}


def title(condition: Condition) -> str:
    """Its name for people: ``ECG lead off``."""
    first, *rest = condition.value.split("-")
    return " ".join((_SPELT.get(first, first.capitalize()), *(_SPELT.get(word, word) for word in rest)))

"""What the annotations of a recording say happened, in the words that an alarm can be held against.

Definitions are those of the CinC Challenge 2015 where it has one: ventricular tachycardia is 5 or more ventricular
beats above 100/min, asystole 4 s without a beat, extreme bradycardia 5 beats below 40/min, extreme tachycardia 17 beats
above 140/min, flutter or fibrillation lasts 4 s. Seconds count from the start of the recording.
"""

from __future__ import annotations

import csv
import enum
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path

import wfdb

from vitals.conditions import Condition

_C = Condition


class What(enum.StrEnum):
    """What can have happened."""

    VF = "ventricular fibrillation or flutter"
    VT = "ventricular tachycardia"
    ASYSTOLE = "asystole"
    EXTREME_BRADYCARDIA = "extreme bradycardia"
    EXTREME_TACHYCARDIA = "extreme tachycardia"
    FAST = "heart rate above 120/min"
    SLOW = "heart rate below 50/min"
    RUN = "three or more ventricular beats in a row"
    PVCS = "more than ten ventricular beats in a minute"
    IRREGULAR = "atrial fibrillation or flutter"
    LOW_AHEAD = "a glucose below 70 mg/dL within 30 min"


@dataclass(frozen=True, slots=True)
class Event:
    """``counts``: long enough by its definition to be one that must be found; a shorter one only excuses an alarm."""

    what: What
    from_s: float
    to_s: float
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a recording. Conditions in ``judged`` can be called false inside ``from_s`` to ``to_s``, but for
    the ``open`` stretches, in which more may have happened than is labelled.
    """

    events: tuple[Event, ...] = ()
    judged: frozenset[Condition] = frozenset()
    from_s: float = 0.0
    to_s: float = field(default=float("inf"))
    open: tuple[tuple[float, float], ...] = ()


_RATES = frozenset({_C.ASYSTOLE, _C.EXTREME_TACHYCARDIA, _C.EXTREME_BRADYCARDIA, _C.HEART_RATE_HIGH, _C.HEART_RATE_LOW})
_IRREGULAR = frozenset({_C.IRREGULAR_RHYTHM, _C.ATRIAL_FIBRILLATION})
_BEATS = frozenset({_C.PVC_RUN, _C.PVC_FREQUENT, _C.VENTRICULAR_TACHYCARDIA})

_BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ")
_VENTRICULAR = frozenset("VE")
_RHYTHMS = {
    "(VF": What.VF, "(VFIB": What.VF, "(VFL": What.VF, "(VT": What.VT, "(ASYS": What.ASYSTOLE,
    "(AFIB": What.IRREGULAR, "(AFL": What.IRREGULAR,
}  # fmt: skip
_LEAST_S = {What.VF: 4.0, What.VT: 3.0, What.ASYSTOLE: 4.0}
"""Of a labelled rhythm without beats: five beats above 100/min last up to 3 s."""


def mitdb(path: Path, seconds: float) -> Truth:
    """From every beat and every change of rhythm (``.atr``)."""
    notes = wfdb.rdann(str(path), "atr")
    times = [sample / notes.fs for sample in notes.sample.tolist()]
    rhythms = list(_rhythms(times, notes.aux_note, seconds))
    fibrillation = [event for event in rhythms if event.what is What.VF]
    beats = [(t, s) for t, s in zip(times, notes.symbol, strict=True) if s in _BEAT_SYMBOLS]
    # a labelled VT of three beats is a run; what must be found is defined by its beats
    labelled = [Event(e.what, e.from_s, e.to_s, counts=e.what is not What.VT) for e in rhythms]
    events = (*labelled, *_of_rate([t for t, _ in beats], fibrillation), *_of_beats(beats))
    return Truth(events, _RATES | _BEATS | {_C.VENTRICULAR_FIBRILLATION, *_IRREGULAR}, 0.0, seconds)


def vfdb(path: Path, seconds: float) -> Truth:
    """From changes of rhythm alone: rates and single beats are not known. What is labelled as high-grade ventricular
    ectopic activity has runs of beats in it, and nobody says of how many.
    """
    notes = wfdb.rdann(str(path), "atr")
    times = [sample / notes.fs for sample in notes.sample.tolist()]
    changes = _changes(times, notes.aux_note, seconds)
    ectopic = tuple((from_s, to_s) for from_s, to_s, name in changes if name == "(HGEA")
    judged = frozenset({_C.VENTRICULAR_FIBRILLATION, _C.VENTRICULAR_TACHYCARDIA, _C.ASYSTOLE})
    return Truth(tuple(_rhythms(times, notes.aux_note, seconds)), judged, times[0], seconds, ectopic)


def cudb(path: Path, seconds: float, rate_hz: float = 250.0) -> Truth:
    """From the beats and the fibrillation; tachycardia is not labelled, nor which beats are ventricular."""
    name = path.name
    with (path.parent / "vf_intervals_derived.csv").open() as file:
        fibrillation = [
            _event(What.VF, int(row["start_sample"]) / rate_hz, int(row["end_sample"]) / rate_hz)
            for row in csv.DictReader(file)
            if row["record"] == name
        ]
    with (path.parent / "annotations.csv").open() as file:
        beats = [
            int(row["sample"]) / rate_hz for row in csv.DictReader(file) if row["record"] == name and row["code"] == "1"
        ]
    return Truth((*fibrillation, *_of_rate(beats, fibrillation)), _RATES | {_C.VENTRICULAR_FIBRILLATION}, 0.0, seconds)


_CALLED = {
    "Ventricular_Tachycardia": (What.VT, _C.VENTRICULAR_TACHYCARDIA),
    "Ventricular_Flutter_Fib": (What.VF, _C.VENTRICULAR_FIBRILLATION),
    "Asystole": (What.ASYSTOLE, _C.ASYSTOLE),
    "Bradycardia": (What.EXTREME_BRADYCARDIA, _C.EXTREME_BRADYCARDIA),
    "Tachycardia": (What.EXTREME_TACHYCARDIA, _C.EXTREME_TACHYCARDIA),
}
CALLED_WITHIN_S = 12.0
"""The event of a CinC 2015 alarm lies in the 10 s before it; 2 s for the beats around them."""


def cinc2015(kind: str, is_true: bool, alarm_s: float) -> Truth:
    """From the verdict of the experts on one alarm of a bedside monitor, given at ``alarm_s``."""
    what, condition = _CALLED[kind]
    events = (Event(what, alarm_s - CALLED_WITHIN_S, alarm_s),) if is_true else ()
    return Truth(events, frozenset({condition}), alarm_s - CALLED_WITHIN_S, alarm_s + 1.0)


def cinc2017(label: str, seconds: float) -> Truth:
    """From one word for the whole strip. Only of a normal one is it known that nothing else was there."""
    if label == "A":
        return Truth((Event(What.IRREGULAR, 0.0, seconds, counts=False),), frozenset(), 0.0, seconds)
    if label != "N":
        return Truth()
    ventricular = {_C.VENTRICULAR_FIBRILLATION, _C.VENTRICULAR_TACHYCARDIA, _C.ASYSTOLE, _C.PVC_RUN}
    return Truth((), frozenset(ventricular | _IRREGULAR), 0.0, seconds)


def glucose(time_s: Sequence[float], mg_dl: Sequence[float]) -> Truth:
    """From the readings that follow; a gap there speaks against the forecast. Limits are held against the reading
    itself, so their alarms are not judged.
    """
    lows = _joined([(t - 1800.0, t) for t, value in zip(time_s, mg_dl, strict=True) if value < 70.0])
    events = tuple(Event(What.LOW_AHEAD, from_s, to_s) for from_s, to_s in lows)
    return Truth(events, frozenset({_C.GLUCOSE_LOW_PREDICTED}), time_s[0], time_s[-1] - 1800.0)


def _rhythms(times: Sequence[float], notes: Sequence[str], seconds: float) -> Iterator[Event]:
    for from_s, to_s, name in _changes(times, notes, seconds):
        if name in _RHYTHMS:
            yield _event(_RHYTHMS[name], from_s, to_s)


def _changes(times: Sequence[float], notes: Sequence[str], seconds: float) -> list[tuple[float, float, str]]:
    changes = [(t, note.strip("\0")) for t, note in zip(times, notes, strict=True) if note.startswith("(")]
    return [(from_s, to_s, name) for (from_s, name), (to_s, _) in pairwise([*changes, (seconds, "")])]


def _event(what: What, from_s: float, to_s: float) -> Event:
    return Event(what, from_s, to_s, counts=to_s - from_s >= _LEAST_S.get(what, 0.0))


def _of_rate(beats: Sequence[float], fibrillation: Sequence[Event]) -> Iterator[Event]:
    """From when the beats are; in fibrillation there are none to count."""

    def regular(from_s: float, to_s: float) -> bool:
        return not any(e.from_s < to_s and from_s < e.to_s for e in fibrillation)

    for from_s, to_s in pairwise(beats):
        if to_s - from_s >= 4.0 and regular(from_s, to_s):
            yield Event(What.ASYSTOLE, from_s, to_s)
    for what, intervals, below, above in (
        (What.EXTREME_BRADYCARDIA, 4, 40.0, 0.0),
        (What.EXTREME_TACHYCARDIA, 16, 0.0, 140.0),
        (What.FAST, 8, 0.0, 120.0),
        (What.SLOW, 4, 50.0, 0.0),
    ):
        spans = []
        for from_s, to_s in zip(beats, beats[intervals:], strict=False):
            rate = 60.0 * intervals / (to_s - from_s)
            if (rate < below or (above and rate > above)) and regular(from_s, to_s):
                spans.append((from_s, to_s))
        yield from (Event(what, from_s, to_s) for from_s, to_s in _joined(spans))


def _of_beats(beats: Sequence[tuple[float, str]]) -> Iterator[Event]:
    for ventricular, group in groupby(beats, lambda beat: beat[1] in _VENTRICULAR):
        times = [t for t, _ in group]
        if not ventricular or len(times) < 3:
            continue
        yield Event(What.RUN, times[0], times[-1])
        if len(times) >= 5 and 60.0 * (len(times) - 1) / (times[-1] - times[0]) > 100.0:
            yield Event(What.VT, times[0], times[-1])
    times = [t for t, symbol in beats if symbol in _VENTRICULAR]
    crowded = [(t, t + 60.0) for i, t in enumerate(times) if bisect_left(times, t + 60.0) - i > 10]
    yield from (Event(What.PVCS, from_s, to_s) for from_s, to_s in _joined(crowded))


def _joined(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    held: tuple[float, float] | None = None
    for from_s, to_s in spans:
        if held is not None and from_s <= held[1]:
            held = held[0], max(held[1], to_s)
            continue
        if held is not None:
            yield held
        held = from_s, to_s
    if held is not None:
        yield held

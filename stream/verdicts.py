"""Verdicts on the alarms of other monitors: true or false, from the minute of signal before each.

Every alarm that is named gets a row. One that cannot be judged stands: its verdict is true, its probability the share
of true alarms of its type, and the reason goes to whoever asked.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from models.verdicts import Judge, Judges
from stream.gateways import wfdb as monitor
from stream.modelslot import ModelSlot
from stream.whole import advanced
from vitals.errors import Fault, WardwatchError
from vitals.evidence import LOOKED_AT_S, Beats, Minute, evidence
from vitals.findings import BEAT_AFTER_R_US
from vitals.units import EARLIEST_US, US_PER_S
from vitals.windows.ecg import LEADS

ALARM_S: Final = 300.0
"""Where the alarm is in a record of CinC 2015; in one that is shorter it is at the end."""
_FLUSH_S: Final = 1.6
"""Held after the alarm, so that the last beats are given out: a beat waits so long for its successor."""
_UNKNOWN: Final = 0.5
COLUMNS: Final = ("record", "type", "probability", "verdict")


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a monitor: the record it ends, and what it claims."""

    record: str
    type: str


def alarms_in(path: Path) -> list[Alarm]:
    """The alarms of a list with lines ``record,type``; what else stands in a line is not read. Raises ``Fault``."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise Fault(f"{path.name} cannot be read: {error.strerror}") from error
    cells = [[cell.strip() for cell in f"{line},".split(",")] for line in lines if line.strip()]
    return [Alarm(record, kind) for record, kind, *_ in cells]


def judge(
    alarms: Iterable[Alarm],
    records: Mapping[str, Path],
    judges: Judges,
    beats: ModelSlot,
    table: Path,
    tell: Callable[[str], None],
) -> None:
    """Write the verdicts on ``alarms`` into ``table``; ``records``: where they are, by name."""
    serving, _ = beats.serving
    if serving != judges.beat_model:
        tell(f"the judges were fitted to beat model {judges.beat_model}, {serving or 'none'} serves")
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for alarm in alarms:
            judged_by = judges.by_type.get(alarm.type)
            try:
                probability, verdict = _judged(alarm, judged_by, records, beats)
            except WardwatchError as error:
                tell(f"{alarm.record}: not judged, the alarm stands: {error}")
                probability, verdict = judged_by.prior if judged_by else _UNKNOWN, True
            rows.writerow([alarm.record, alarm.type, f"{probability:.9g}", int(verdict)])


def _judged(alarm: Alarm, judged_by: Judge | None, records: Mapping[str, Path], beats: ModelSlot) -> tuple[float, bool]:
    if judged_by is None:
        raise Fault("no such type of alarm is known")
    if alarm.record not in records:
        raise Fault("its record was not given")
    probability = judged_by.probability(evidence(minute_before_alarm(records[alarm.record], beats)))
    return probability, probability >= judged_by.true_from


def minute_before_alarm(path: Path, beats: ModelSlot) -> Minute:
    """What is heard in the record at ``path`` up to its alarm. Raises ``Fault`` when it cannot be read."""
    recording, waves = monitor.read_before(path, ALARM_S, LOOKED_AT_S)
    leads = recording.samples[:LEADS]
    sources = [leads, *(leads[i : i + 1] for i in range(len(leads)))]
    held = round(_FLUSH_S * recording.rate_hz)
    _, _, step = advanced([np.pad(samples, ((0, 0), (0, held)), mode="edge") for samples in sources], recording)
    scores = beats.score({"ecg_mv": step.beats.ecg_mv, "context": step.beats.context}) if len(step.beats) else None
    if len(step.beats) and scores is None:
        raise Fault("no beat model serves")
    p_v = scores.values[:, scores.columns.index("p_v")] if scores else np.empty(0)
    end_us = EARLIEST_US + round(recording.seconds * US_PER_S)
    at_s = (step.beats.end_us - BEAT_AFTER_R_US - end_us) / US_PER_S

    mine = (at_s <= 0.0) & (step.beats.row == np.arange(len(sources))[:, None])
    past = step.rhythm.end_us <= end_us
    vf_index = np.stack([step.rhythm.vf_index[past & (step.rhythm.row == i)] for i in range(len(sources))])
    measured = leads != monitor.NOT_MEASURED
    return Minute(
        beats=Beats(at_s[mine[0]], step.beats.ecg_mv[mine[0], : len(leads)], p_v[mine[0]]),
        lead_beats_s=tuple(at_s[of_lead] for of_lead in mine[1:]),
        vf_index=vf_index.astype(np.float64),
        leads_mv=np.where(measured, leads * (recording.gain_uv * 1e-3), np.nan),
        waves=tuple(wave.values for wave in waves),
        rate_hz=recording.rate_hz,
    )

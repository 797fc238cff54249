"""Drift put into recordings, and recordings left alone: what of it is told and how soon, and what is told for nothing.

    python -m bench.drift [--data FOLDER] [--tries 8] [--events 1000000] [--out bench/reports/drift.json]

At random moments of every recording the gain halves, the leads change places, hum comes in, or a glucose sensor reads
20 mg/dL more; the signal path has seen five minutes (a day) of it at least. The same recordings untouched, the
ECGs played over and over, and simulated patients are where nothing should be told. Limits were chosen on ``mitdb`` and
``colas``: the other sets are people that they have not seen. Without recordings, simulated patients stand for all.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from tqdm import tqdm

from stream.gateways import cgm
from stream.gateways import wfdb as monitor
from stream.gateways.wfdb import Recording
from vitals import qrs, simulate, units
from vitals.drift import bias, evidence, mains, shape
from vitals.drift.changes import Changes
from vitals.events import DriftKind
from vitals.simulate import Rhythm, Stretch
from vitals.units import US_PER_S
from vitals.windows.ecg import EcgStep, EcgWindows
from vitals.windows.ecgpath import STATE
from vitals.windows.glucose import _STATE as GLUCOSE_STATE
from vitals.windows.glucose import STEP_US, GlucoseWindows

_HERE = Path(__file__).resolve().parents[1]
_ECG_SETS = ("mitdb", "vfdb", "cudb")
_CGM_SETS = ("cgm_glucobench/raw_data/*.csv.xz", "cgm_glucose_ml/*/*.zip")
_START_US = 1_700_000_000 * US_PER_S
_BEFORE_S, _WITHIN_S, _AFTER_S = 300.0, 60.0, 90.0
_BIAS_MG_DL, _BEFORE_READINGS, _WITHIN_READINGS = 20.0, 2016, 12
_LEARNT_READINGS = 300

Signal = np.ndarray
Alter = Callable[[Signal, Recording, np.random.Generator], Signal]


def _times(factor: float) -> Alter:
    return lambda x, recording, rng: np.where(x == monitor.NOT_MEASURED, x, np.rint(x * factor))


def _exchanged(x: Signal, recording: Recording, rng: np.random.Generator) -> Signal:
    return x[::-1]


def _upside_down(x: Signal, recording: Recording, rng: np.random.Generator) -> Signal:
    return np.concatenate([np.where(x[:1] == monitor.NOT_MEASURED, x[:1], -x[:1]), x[1:]])


def _hum(hz: float, peak_to_peak_mv: float) -> Alter:
    def alter(x: Signal, recording: Recording, rng: np.random.Generator) -> Signal:
        phase = 2.0 * np.pi * (hz * np.arange(x.shape[1]) / recording.rate_hz + rng.uniform())
        hum = 500.0 * peak_to_peak_mv / recording.gain_uv * np.sin(phase)
        return np.where(x == monitor.NOT_MEASURED, x, np.rint(x + hum))

    return alter


CHANGES: dict[str, tuple[DriftKind, int, Alter]] = {
    "gain x0.5": (DriftKind.GAIN, 1, _times(0.5)),
    "gain x2": (DriftKind.GAIN, 1, _times(2.0)),
    "leads exchanged": (DriftKind.LEADS, 2, _exchanged),
    "first lead upside down": (DriftKind.LEADS, 1, _upside_down),
    "50 Hz, 0.2 mV peak to peak": (DriftKind.MAINS, 1, _hum(50.0, 0.2)),
    "60 Hz, 0.2 mV peak to peak": (DriftKind.MAINS, 1, _hum(60.0, 0.2)),
    "60 Hz, 0.1 mV peak to peak": (DriftKind.MAINS, 1, _hum(60.0, 0.1)),
}
"""What is done to a recording from a moment on: the kind that has to be told, the leads it takes, and how."""


@dataclass(frozen=True)
class Try:
    """One change. ``after``: seconds or readings until it was told, infinite when it was not. ``instead``: other kinds
    that were told within the time.
    """

    person: str
    change: str
    after: float
    instead: frozenset[str]


@dataclass
class Alone:
    """What was told of signals in which nothing was changed."""

    events: int
    people: int
    told: Counter[str]
    by_person: Counter[str]


def ecg_tries(recording: Recording, tries: int, rng: np.random.Generator) -> Iterator[Try]:
    """Every change at ``tries`` random moments of one recording."""
    rate = recording.rate_hz
    chosen = [
        (name, rng.uniform(_BEFORE_S, recording.seconds - _AFTER_S))
        for name, (_, leads, _) in CHANGES.items()
        if len(recording.samples) >= leads
        for _ in range(tries)
    ]
    signals = []
    for name, at_s in chosen:
        at, first = round(at_s * rate), round((at_s - _BEFORE_S) * rate)
        piece = recording.samples[:, first : at + round(_AFTER_S * rate)].copy()
        after = piece[:, at - first :].astype(np.float64)
        piece[:, at - first :] = np.clip(CHANGES[name][2](after, recording, rng), -32768, 32767)
        signals.append(piece)
    windows = EcgWindows()
    changes = _ecg(windows, windows.add(len(chosen)), signals, recording, 0.0).changes
    at_us = _START_US + round(_BEFORE_S * US_PER_S)
    for row, (name, _) in enumerate(chosen):
        kind = CHANGES[name][0]
        after_s = _told_after(changes, row, kind, at_us) / US_PER_S
        yield Try(recording.name, name, after_s, _others(changes, row, kind, at_us))


def _told_after(changes: Changes, row: int, kind: DriftKind, at_us: int) -> float:
    told = [
        end_us - at_us
        for k, r, end_us, began in zip(changes.kind, changes.row, changes.end_us, changes.began, strict=True)
        if k is kind and r == row and began and end_us > at_us
    ]
    return float(min(told, default=np.inf))


def _others(changes: Changes, row: int, kind: DriftKind, at_us: int) -> frozenset[str]:
    return frozenset(
        k.value
        for k, r, end_us, began in zip(changes.kind, changes.row, changes.end_us, changes.began, strict=True)
        if k is not kind and r == row and began and at_us < end_us <= at_us + _WITHIN_S * US_PER_S
    )


def _ecg(
    windows: EcgWindows, rows: np.ndarray, signals: Sequence[Signal], recording: Recording, from_s: float
) -> EcgStep:
    """One chunk for each row, all of them from ``from_s`` seconds on."""
    c = len(rows)
    return windows.advance(
        rows,
        np.full(c, _START_US + round(from_s * US_PER_S), np.int64),
        np.full(c, recording.rate_hz),
        np.array([len(x) for x in signals], np.int32),
        np.full(c, recording.gain_uv),
        np.array([x.shape[1] for x in signals], np.int32),
        np.concatenate([x.ravel() for x in signals]).astype(np.int16),
    )


def ecg_alone(recordings: Sequence[Recording], events: int = 0) -> Alone:
    """Each from its beginning to its end, and again and again until there are ``events`` seconds of all of them."""
    alone = Alone(0, len(recordings), Counter(), Counter())
    for recording in tqdm(recordings, desc="left alone", unit="recording", disable=None):
        windows = EcgWindows()
        row, from_s, seconds = windows.add(1), 0.0, 0
        while seconds == 0 or seconds < events / len(recordings):
            step = _ecg(windows, row, [recording.samples], recording, from_s)
            from_s += recording.seconds
            seconds += len(step.rhythm)
            _count(alone, recording.name, step.changes)
        alone.events += seconds
    return alone


def _count(alone: Alone, person: str, changes: Changes) -> None:
    for kind, began in zip(changes.kind, changes.began, strict=True):
        if began:
            alone.told[kind.value] += 1
            alone.by_person[person] += 1


def simulated_ecg(people: int, seconds: float) -> list[Recording]:
    """Hearts in which nothing changes but what the heart does."""
    scripts = [
        [Stretch(Rhythm.SINUS, seconds, 62.0)],
        [Stretch(Rhythm.SINUS, seconds, 88.0)],
        [Stretch(Rhythm.PVCS, seconds, 74.0)],
        [Stretch(Rhythm.FIBRILLATION, seconds, 95.0)],
    ]
    made = (simulate.ecg(seed, scripts[seed % len(scripts)]) for seed in range(people))
    return [
        Recording(f"simulated/{i}", ecg.rate_hz, ("I", "II"), ecg.gain_uv, ecg.samples) for i, ecg in enumerate(made)
    ]


@dataclass(frozen=True)
class Sensor:
    """One person's plausible readings, in order."""

    name: str
    time_us: np.ndarray
    glucose_mg_dl: np.ndarray


def sensors(data: Path) -> Iterator[tuple[str, Sensor]]:
    """Everybody with a glucose sensor, by set."""
    for path in sorted(path for pattern in _CGM_SETS for path in data.glob(pattern)):
        for person in cgm.people(path):
            value = person.glucose_mg_dl
            kept = (value >= units.GLUCOSE_MIN_MG_DL) & (value <= units.GLUCOSE_MAX_MG_DL)
            time_us, first = np.unique(person.time_us[kept], return_index=True)
            if len(time_us) > _LEARNT_READINGS + _WITHIN_READINGS:
                yield (
                    path.name.partition(".")[0].partition("-from")[0],
                    Sensor(person.name, time_us, value[kept][first]),
                )


def bias_tries(sensor: Sensor, tries: int, rng: np.random.Generator) -> Iterator[Try]:
    """20 mg/dL more from ``tries`` random readings on."""
    windows = GlucoseWindows()
    for at in rng.integers(_LEARNT_READINGS, len(sensor.time_us) - _WITHIN_READINGS, tries).tolist():
        first = max(0, at - _BEFORE_READINGS)
        time_us = sensor.time_us[first : at + _WITHIN_READINGS]
        value = sensor.glucose_mg_dl[first : at + _WITHIN_READINGS].astype(np.float32)
        value[at - first :] += _BIAS_MG_DL
        changes = _glucose(windows, time_us, value)
        told = changes.end_us[changes.began & (changes.end_us >= sensor.time_us[at])]
        after = np.searchsorted(sensor.time_us, told[0]) - at + 1 if len(told) else np.inf
        yield Try(sensor.name, "+20 mg/dL", float(after), frozenset())


def _glucose(windows: GlucoseWindows, time_us: np.ndarray, value: np.ndarray) -> Changes:
    row = windows.add(1)
    changes = windows.advance(np.repeat(row, len(value)), time_us.astype(np.int64), value.astype(np.float32)).changes
    windows.free(row)
    return changes


def glucose_alone(everybody: Sequence[Sensor]) -> Alone:
    """Every reading of everybody, as it is."""
    alone = Alone(0, len(everybody), Counter(), Counter())
    windows = GlucoseWindows()
    for sensor in everybody:
        alone.events += len(sensor.time_us)
        _count(alone, sensor.name, _glucose(windows, sensor.time_us, sensor.glucose_mg_dl))
    return alone


def simulated_glucose(people: int, days: float) -> list[Sensor]:
    """Sensors that are never biased."""
    return [Sensor(f"simulated/{i}", *simulate.glucose(i, _START_US, 24.0 * days)) for i in range(people)]


@njit
def _many_beats(table: Any, times: int) -> None:
    for _ in range(times):
        for row in range(len(table)):
            state = table[row]
            shape.take_beat(state, state.queue_r[(state.queued - 2) % qrs.QUEUE], 800.0)


@njit
def _many_seconds(table: Any, times: int) -> None:
    for _ in range(times):
        for row in range(len(table)):
            state = table[row]
            mains.take_second(state, state.next_grid - state.next_grid % 500)


def cost(recordings: Sequence[Recording]) -> dict[str, float]:
    """Microseconds per patient-second: of the whole signal path, of what is done for drift in it, and bytes a bed."""
    windows = EcgWindows()
    rows, spent_s, seconds, beats = windows.add(len(recordings)), 0.0, 0, 0
    for row, recording in zip(rows, recordings, strict=True):
        piece = recording.samples[:, : round(600 * recording.rate_hz)]
        before = time.process_time()
        step = _ecg(windows, np.array([row], np.int32), [piece], recording, 0.0)
        spent_s += time.process_time() - before
        seconds += len(step.rhythm)
        beats += len(step.beats)
    table = windows._table.data
    per_beat, per_second = (_us_per_call(many, table) for many in (_many_beats, _many_seconds))
    drift_us = per_beat * beats / seconds + per_second
    ours = [name for name, *_ in (*evidence.FIELDS, *shape.FIELDS, *mains.FIELDS)]
    return {
        "signal_path_us_per_patient_second": 1e6 * spent_s / seconds,
        "drift_us_per_patient_second": drift_us,
        "drift_us_per_beat": per_beat,
        "mains_us_per_second": per_second,
        "drift_share_of_signal_path": drift_us / (1e6 * spent_s / seconds),
        "state_bytes_per_bed": sum(STATE[name].itemsize for name in ours),
        "state_bytes_per_sensor": sum(GLUCOSE_STATE[name].itemsize for name, *_ in bias.FIELDS),
    }


def _us_per_call(many: Callable[[Any, int], None], table: np.ndarray) -> float:
    many(table, 1)
    times = 2000
    before = time.process_time()
    many(table, times)
    return 1e6 * (time.process_time() - before) / (times * len(table))


def found(tries: Sequence[Try], within: float) -> dict[str, Any]:
    """Share told within the time, how soon, and who was worst."""
    after = np.array([one.after for one in tries])
    told = after[after <= within]
    missed = Counter(one.person for one in tries if one.after > within)
    return {
        "tries": len(tries),
        "people": len({one.person for one in tries}),
        "told": round(len(told) / len(tries), 4),
        "told_as_something_else_too": sum(bool(one.instead) for one in tries),
        "after_p50": round(float(np.median(told)), 1) if len(told) else None,
        "after_p99": round(float(np.quantile(told, 0.99)), 1) if len(told) else None,
        "people_with_a_miss": len(missed),
        "most_missed": dict(missed.most_common(3)),
    }


def told_for_nothing(alone: Alone) -> dict[str, Any]:
    """Drifts told per million events."""
    return {
        "events": alone.events,
        "people": alone.people,
        "told": dict(alone.told),
        "per_million_events": round(1e6 * alone.told.total() / max(1, alone.events), 2),
        "most_told_of": dict(alone.by_person.most_common(5)),
    }


def ecg_report(sets: dict[str, list[Recording]], tries: int, events: int) -> dict[str, Any]:
    """Everything about the ECG, set by set."""
    rng = np.random.default_rng(0)
    made: dict[str, list[Try]] = {}
    for name, recordings in sets.items():
        for recording in tqdm(recordings, desc=name, unit="recording", disable=None):
            made.setdefault(name, []).extend(ecg_tries(recording, tries, rng))
    first = next(iter(sets))
    quiet = simulated_ecg(200, events / 200)
    return {
        "found_within_60_s": {
            name: {
                change: found([one for one in taken if one.change == change], _WITHIN_S)
                for change in CHANGES
                if any(one.change == change for one in taken)
            }
            for name, taken in made.items()
        },
        "untouched": {name: told_for_nothing(ecg_alone(recordings)) for name, recordings in sets.items()},
        "played_over_and_over": {first: told_for_nothing(ecg_alone(sets[first], events))},
        "simulated_and_stationary": told_for_nothing(ecg_alone(quiet)),
    }


def glucose_report(sets: dict[str, list[Sensor]], tries: int, events: int) -> dict[str, Any]:
    """Everything about glucose, set by set; ``after`` is in readings."""
    rng = np.random.default_rng(0)
    made = {name: [one for s in people for one in bias_tries(s, tries, rng)] for name, people in sets.items()}
    return {
        "found_within_12_readings": {name: found(taken, _WITHIN_READINGS) for name, taken in made.items()},
        "untouched": {name: told_for_nothing(glucose_alone(people)) for name, people in sets.items()},
        "simulated_and_stationary": told_for_nothing(
            glucose_alone(simulated_glucose(200, events * STEP_US / US_PER_S / 86_400 / 200))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("WARDWATCH_DATA") or _HERE.parent / "shared/data")
    )
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/drift.json"))
    asked = parser.parse_args()
    ecgs = {
        name: [monitor.read(path) for path in sorted((asked.data / name).glob("*.hea"))]
        for name in _ECG_SETS
        if (asked.data / name).is_dir()
    } or {"simulated": simulated_ecg(24, 1200.0)}
    glucose: dict[str, list[Sensor]] = defaultdict(list)
    for name, sensor in sensors(asked.data):
        glucose[name].append(sensor)
    result = {
        "ecg": ecg_report(ecgs, asked.tries, asked.events),
        "glucose": glucose_report(
            dict(glucose) or {"simulated": simulated_glucose(24, 7.0)}, asked.tries, asked.events
        ),
        "cost": {name: round(value, 3) for name, value in cost(next(iter(ecgs.values()))).items()},
    }
    text = json.dumps(result, indent=1)
    print(text)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

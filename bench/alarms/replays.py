"""Every labelled recording at hand through the corridor that watches the wards, one patient after another."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.alarms import truth
from bench.alarms.counting import Replay, begun
from bench.alarms.truth import Truth
from models.registry import Registry
from stream.gateways import cgm
from stream.gateways import wfdb as monitor
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, SlotNews, begin_serving, open_slots
from stream.score import watched_ecg, watched_glucose
from vitals.findings import Task
from vitals.units import US_PER_S

_GAP_S = 900.0
"""A person without a reading for longer was not watched meanwhile."""

_CGM = ("cgm_glucobench/raw_data/*.csv.xz", "cgm_glucose_ml/*/*.zip")


def replays(data: Path, registry: Path) -> dict[str, list[Replay]]:
    """By set; a set that is not in ``data`` is not in the answer."""
    slots = open_slots(_tell)
    begin_serving(Registry.seeded(registry, SHIPPED_BUNDLES), slots)
    try:
        sets = {
            "mitdb": _annotated(data / "mitdb", slots, truth.mitdb),
            "vfdb": _annotated(data / "vfdb", slots, truth.vfdb),
            "cudb": _annotated(data / "cudb", slots, truth.cudb),
            "cinc2015": _judged_alarms(data / "cinc2015", slots),
            "cinc2017": _strips(data / "cinc2017", slots),
            "CGM": _glucose(data, slots),
        }
        done = {name: list(tqdm(taken, desc=name, unit="patient", disable=None)) for name, taken in sets.items()}
    finally:
        for slot in slots.values():
            slot.close()
    return {name: taken for name, taken in done.items() if taken}


def ecg(path: Path, slots: dict[Task, ModelSlot], told: Callable[[float], Truth]) -> Replay:
    """One recording; ``told`` gives what is true of it, from its length in seconds."""
    recording = monitor.read(path)
    steps = [step for _, decided in watched_ecg(recording, slots) for step in decided.transitions]
    alarms = begun(steps, recording.seconds)
    return Replay(recording.name, recording.seconds, alarms, told(recording.seconds))


def _annotated(folder: Path, slots: dict[Task, ModelSlot], told: Callable[[Path, float], Truth]) -> Iterator[Replay]:
    for header in sorted(folder.glob("*.hea")):
        path = header.with_suffix("")
        yield ecg(path, slots, lambda seconds, path=path: told(path, seconds))  # type: ignore[misc]


def _judged_alarms(folder: Path, slots: dict[Task, ModelSlot]) -> Iterator[Replay]:
    if not (folder / "ALARMS").exists():
        return
    with (folder / "ALARMS").open() as file:
        for name, kind, verdict in csv.reader(file):
            path = folder / "prealarm60s" / name
            if path.with_suffix(".hea").exists():
                yield ecg(path, slots, lambda s, k=kind, v=verdict: truth.cinc2015(k, v == "1", s))  # type: ignore[misc]


def _strips(folder: Path, slots: dict[Task, ModelSlot]) -> Iterator[Replay]:
    if not (folder / "REFERENCE.csv").exists():
        return
    with (folder / "REFERENCE.csv").open() as file:
        for name, label in csv.reader(file):
            path = folder / name
            if path.with_suffix(".hea").exists():
                yield ecg(path, slots, lambda s, word=label: truth.cinc2017(word, s))  # type: ignore[misc]


def _glucose(data: Path, slots: dict[Task, ModelSlot]) -> Iterator[Replay]:
    for path in sorted(path for pattern in _CGM for path in data.glob(pattern)):
        for person in cgm.people(path):
            start_us = int(person.time_us[0])
            time_s = (person.time_us - start_us) / US_PER_S
            watched_s = float(np.minimum(np.diff(time_s), _GAP_S).sum())
            alerts = [s for _, d in watched_glucose(person, slots[Task.GLUCOSE]) for s in d.transitions]
            name = f"{path.parent.name}/{person.name}"
            told = truth.glucose(time_s.tolist(), person.glucose_mg_dl.tolist())
            yield Replay(name, watched_s, begun(alerts, float(time_s[-1]), start_us), told)


def _tell(news: SlotNews) -> None:
    if news.result != "active":
        raise RuntimeError(f"{news.task} is not served: {news.why}")

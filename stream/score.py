"""``python -m stream score PATH... --out DIR``: the live corridor over files, without a broker.

The same halves take the same records that a gateway would have sent; only the log between them is a list. So what this
measures is what the wards get, with the event time at which they would have got it.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import wfdb
from tqdm import tqdm

from models.registry import Registry
from models.verdicts import shipped
from stream import clip, config, verdicts
from stream.alerting import Decided, Deciding
from stream.checkpoint import Owners
from stream.gateways import cgm, images
from stream.gateways import wfdb as monitor
from stream.gateways.schedule import Pace
from stream.imagestore import ImageStore
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, SlotNews, begin_serving, open_slots
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.pipeline import Half, Products
from stream.topics import Topic
from vitals import codec
from vitals.alerts import AlertTransition
from vitals.conditions import Condition
from vitals.errors import Fault, Reason, Unusable, WardwatchError
from vitals.events import ImagingEvent, Record
from vitals.findings import (
    BEAT_AFTER_R_US,
    FORECAST_HORIZONS_MIN,
    FORECAST_LIMITS,
    FORECAST_QUANTILES,
    FindingBatch,
    Findings,
    Task,
    Verdict,
)
from vitals.units import EARLIEST_US, US_PER_S

_NO_BOUND_US: Final = 2**61
_TOLD: Final = Observing(max_patients=1_000_000, clock_ahead_us=_NO_BOUND_US, archive_share=0.0)
_RECORDS_AT_ONCE: Final = 32
_SYMBOLS: Final = np.array(list("NSVFQ"))
_UNCLASSIFIED: Final = 4
_RHYTHMS: Final = (
    (Condition.VENTRICULAR_FIBRILLATION, "(VFL"),
    (Condition.ASYSTOLE, "(ASYS"),
    (Condition.VENTRICULAR_TACHYCARDIA, "(VT"),
    (Condition.IRREGULAR_RHYTHM, "(AFIB"),
)
"""Worst first: what a second is called when more than one is present."""

_FORECAST: Final = (
    "mean",
    *(f"q{q:02d}" for q in FORECAST_QUANTILES),
    *(f"p_{limit}" for limit in FORECAST_LIMITS),
)
_CLASSES: Final = {Task.PNEUMONIA: ("p_normal", "p_pneumonia"), Task.BREAST: ("p_malignant", "p_benign")}


def main(argv: Sequence[str]) -> int:
    """0 when every path was scored, 1 when some could not be, 2 when nothing was asked for."""
    parser = argparse.ArgumentParser(prog="python -m stream score", description="the corridor over files")
    parser.add_argument("paths", nargs="+", type=Path, help="WFDB record, CGM table, npz, DICOM, PNG, or a folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--modality", default="OT", help="what a PNG is: CR, DX, US …")
    parser.add_argument("--body-part", default="", help="what a PNG shows: CHEST, BREAST")
    parser.add_argument("--alarms", type=Path, help="monitor alarms to judge, lines of record,type: alarms.csv")
    asked = parser.parse_args(argv)
    try:
        alarms = verdicts.alarms_in(asked.alarms) if asked.alarms else None
    except WardwatchError as error:
        parser.error(str(error))
    asked.out.mkdir(parents=True, exist_ok=True)
    slots = open_slots(_tell)
    begin_serving(Registry.seeded(config.read(os.environ).registry, SHIPPED_BUNDLES), slots)
    scorer = OfflineScorer(slots, asked.out, asked.modality, asked.body_part)
    failed = 0
    inputs = list(dict.fromkeys(_inputs(asked.paths)))
    for path in tqdm(inputs, unit="file", disable=None):
        try:
            scorer.score(path)
        except WardwatchError as error:
            failed += 1
            tqdm.write(f"{path.name}: {error}", file=sys.stderr)
    if alarms is not None:
        scorer.judge(tqdm(alarms, unit="alarm", disable=None), inputs)
    scorer.close()
    sys.stderr.write(f"{len(inputs) - failed} of {len(inputs)} scored into {asked.out}\n")
    return 1 if failed or not inputs else 0


@dataclass(slots=True)
class OfflineScorer:
    """Scores one file at a time into ``out``, with the models in ``slots``. What a PNG shows it cannot say itself."""

    slots: dict[Task, ModelSlot]
    out: Path
    modality: str
    body_part: str
    rhythms: dict[str, str] = field(default_factory=dict)

    def score(self, path: Path) -> None:
        """Write the results of ``path``. Raises ``WardwatchError`` when it cannot be read."""
        if path.suffix in {".csv", ".xz", ".zip"}:
            self._glucose(path)
        elif path.suffix in {".npz", ".png", ".dcm", ".dicom"} or _is_dicom(path):
            self._images(path)
        else:
            self._ecg(path)

    def judge(self, alarms: Iterable[verdicts.Alarm], inputs: Iterable[Path]) -> None:
        """Write ``alarms.csv``: a verdict on each of ``alarms``, whose records are among ``inputs``."""
        verdicts.judge(
            alarms,
            {(path.stem if path.suffix in {".hea", ".dat"} else path.name): path for path in inputs},
            shipped(),
            self.slots[Task.ECG_BEAT],
            self.out / "alarms.csv",
            lambda text: tqdm.write(text, file=sys.stderr),
        )

    def close(self) -> None:
        """Write what is of all recordings together, and close the engines."""
        if self.rhythms:
            with (self.out / "rhythm.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("record", "label"), *sorted(self.rhythms.items())])
        for slot in self.slots.values():
            slot.close()

    def _ecg(self, path: Path) -> None:
        recording = monitor.read(path)
        name = recording.name.rpartition("/")[2]
        if recording.seconds <= clip.LONGEST_S and (label := clip.rhythm_of(recording, self.slots[Task.ECG_AF])):
            self.rhythms[name] = label
        findings: list[FindingBatch] = []
        alerts: list[AlertTransition] = []
        for found, decided in watched_ecg(recording, self.slots):
            findings += _tables(found)
            alerts += decided.transitions
        _write_annotation(self.out, name, recording.rate_hz, findings, alerts)
        _write_findings(self.out / f"{name}.findings.jsonl", findings, alerts)

    def _glucose(self, path: Path) -> None:
        name = path.name.partition(".")[0]
        refused: Counter[Reason] = Counter()
        with (self.out / f"{name}.forecast.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "time", "horizon_min", *_FORECAST])
            for person in cgm.people(path):
                half = ObserveGlucose(self.slots[Task.GLUCOSE], _TOLD)
                for products in _observed(half, cgm.messages(person), Topic.GLUCOSE):
                    refused += products.refused
                    for batch in _tables(_findings(products)):
                        table.writerows(_forecast_rows(person.name.removeprefix(f"{name}/"), batch))
        for reason, n in refused.items():
            tqdm.write(f"{path.name}: {n} readings not used ({reason})", file=sys.stderr)

    def _images(self, path: Path) -> None:
        observe = ObserveImaging(
            {task: self.slots[task] for task in _CLASSES}, ImageStore((path.resolve().as_uri(),)), _TOLD
        )
        rows: dict[str, dict[str, object]] = {}
        pictures = images.pictures(path, modality=self.modality, body_part=self.body_part)
        for number, picture in enumerate(pictures):
            index = number if path.suffix == ".npz" else path.name
            key = f"{number}"
            rows[key] = {"index": index, "image": picture.instance if path.suffix == ".npz" else path.name}
            record = _record(codec.encode(_imaging_event(picture, key)), Topic.IMAGING, number)
            products = observe.process([record], Owners(0))
            for reason in products.refused:
                rows[key] |= {"verdict": "not-evaluated", "reason": reason.value}
            for batch in _tables(_findings(products)):
                values = {column: batch.values[batch.columns.index(column)][0] for column in batch.columns}
                scored = batch.verdict[0] <= Verdict.POOR and None not in values.values()
                verdict = {"verdict": "scored"} if scored else {"verdict": "not-evaluated", "reason": "no-engine"}
                rows[key] |= {"task": batch.task.value, **values, **verdict}
        _write_images(self.out / f"{path.name.partition('.')[0]}.images.csv", list(rows.values()))


def watched_ecg(
    recording: monitor.Recording, slots: Mapping[Task, ModelSlot]
) -> Iterator[tuple[list[Findings], Decided]]:
    """A patient with this ECG from admission to its end: findings as they come, and what is decided on each."""
    bed = monitor.Bed(recording.name.rpartition("/")[2], recording)
    messages = monitor.bundles("offline", [bed], Pace(EARLIEST_US, speed=1e9))
    return _watched(_observed(ObserveEcg(slots, _TOLD), (due.value for due in messages), Topic.ECG))


def watched_glucose(person: cgm.Person, slot: ModelSlot) -> Iterator[tuple[list[Findings], Decided]]:
    """The same of a patient with this glucose monitor."""
    return _watched(_observed(ObserveGlucose(slot, _TOLD), cgm.messages(person), Topic.GLUCOSE))


def _watched(observed: Iterable[Products]) -> Iterator[tuple[list[Findings], Decided]]:
    deciding = Deciding()
    for products in observed:
        found = _findings(products)
        yield found, deciding.decide(found)


def _observed(half: Half, values: Iterable[bytes], topic: Topic) -> Iterator[Products]:
    owners = Owners(0)
    held: list[Record] = []
    for offset, value in enumerate(values):
        held.append(_record(value, topic, offset))
        if len(held) == _RECORDS_AT_ONCE:
            yield half.process(held, owners)
            held = []
    if held:
        yield half.process(held, owners)


def _record(value: bytes, topic: Topic, offset: int) -> Record:
    return Record(topic.value, 0, offset, 0, None, value)


def _findings(products: Products) -> list[Findings]:
    return [
        codec.decode(Findings, message.value)
        for message in products.messages
        if message.topic is Topic.FINDINGS and message.value is not None
    ]


def _tables(records: Sequence[Findings]) -> list[FindingBatch]:
    return [table for record in records for table in record.tables]


def _write_annotation(
    out: Path, name: str, rate_hz: float, findings: Sequence[FindingBatch], alerts: Sequence[AlertTransition]
) -> None:
    """``<name>.wwd``: beats at their R peaks, and what the rhythm is called from where it is called so."""
    marks: list[tuple[int, str, str]] = [(0, "+", "(N")]
    for batch in findings:
        if batch.task is Task.ECG_BEAT:
            r_us = np.array(batch.end_us, np.int64) - BEAT_AFTER_R_US
            marks += [
                (sample, symbol, "")
                for sample, symbol in zip(_samples(r_us, rate_hz), _symbols(batch), strict=True)
                if sample >= 0
            ]
    marks += [(sample, "+", rhythm) for sample, rhythm in _rhythm_changes(alerts, rate_hz)]
    marks.sort(key=lambda mark: (mark[0], mark[1] != "+"))
    wfdb.wrann(
        name,
        "wwd",
        np.array([sample for sample, _, _ in marks]),
        symbol=[symbol for _, symbol, _ in marks],
        aux_note=[text for _, _, text in marks],
        fs=rate_hz,
        write_dir=str(out),
    )


def _symbols(batch: FindingBatch) -> list[str]:
    p = np.stack([batch.column(f"p_{name}") for name in "nsvfq"], axis=1)
    known = np.atleast_1d(np.isfinite(p).all(axis=1))
    best = np.where(known, np.argmax(np.where(known.reshape(-1, 1), p, 0.0), axis=1), _UNCLASSIFIED)
    return [str(symbol) for symbol in _SYMBOLS[best]]


def _samples(time_us: npt.NDArray[np.int64], rate_hz: float) -> list[int]:
    return [round(t * rate_hz / US_PER_S) for t in (time_us - EARLIEST_US).tolist()]


def _rhythm_changes(alerts: Sequence[AlertTransition], rate_hz: float) -> Iterator[tuple[int, str]]:
    present: set[Condition] = set()
    called = "(N"
    steps = [alert for alert in alerts if alert.condition is not None]
    for step in sorted(steps, key=lambda alert: alert.onset_us if alert.presence else alert.time_us):
        assert step.condition is not None  # noqa: S101  filtered above
        (present.add if step.presence else present.discard)(step.condition)
        now_called = next((rhythm for condition, rhythm in _RHYTHMS if condition in present), "(N")
        if now_called != called:
            called = now_called
            time_us = step.onset_us if step.presence else step.time_us
            yield max(0, _samples(np.array([time_us]), rate_hz)[0]), called


def _write_findings(path: Path, findings: Sequence[FindingBatch], alerts: Sequence[AlertTransition]) -> None:
    """One line per finding and alert step, in the order they became known; seconds from the start of the record."""
    lines: list[tuple[int, dict[str, object]]] = []
    for batch in findings:
        for i in range(len(batch)):
            finding: dict[str, object] = {
                "task": batch.task.value,
                "end_s": _seconds(batch.end_us[i]),
                "known_s": _seconds(batch.known_us[i]),
                "verdict": Verdict(batch.verdict[i]).name.lower(),
                "model": batch.model,
                "engine": batch.engine,
                **{column: batch.values[c][i] for c, column in enumerate(batch.columns)},
            }
            lines.append((batch.known_us[i], finding))
    for alert in alerts:
        step: dict[str, object] = {
            "alert": alert.alert_id,
            "condition": alert.condition,
            "event": alert.event,
            "onset_s": _seconds(alert.onset_us),
            "known_s": _seconds(alert.time_us),
        }
        lines.append((alert.time_us, step))
    lines.sort(key=lambda line: line[0])
    with path.open("wb") as file:
        for _, line in lines:
            file.write(msgspec.json.encode(line) + b"\n")


def _seconds(time_us: int) -> float:
    return (time_us - EARLIEST_US) / US_PER_S


def _forecast_rows(person: str, batch: FindingBatch) -> Iterator[list[object]]:
    place = {column: i for i, column in enumerate(batch.columns)}
    for i, end_us in enumerate(batch.end_us):
        if batch.verdict[i] > Verdict.POOR or batch.values[place["h05_mean"]][i] is None:
            continue
        time = datetime.fromtimestamp(end_us / US_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for horizon in FORECAST_HORIZONS_MIN:
            yield [person, time, horizon, *(batch.values[place[f"h{horizon:02d}_{name}"]][i] for name in _FORECAST)]


def _imaging_event(picture: images.Picture, instance: str) -> ImagingEvent:
    return ImagingEvent(
        patient="offline",
        time_us=EARLIEST_US,
        study=picture.study,
        series=picture.series,
        instance=instance,
        modality=picture.modality,
        body_part=picture.body_part,
        uri=picture.uri,
        sha256=picture.sha256,
        pixels=picture.pixels,
        rows=picture.rows,
        columns=picture.columns,
    )


def _write_images(path: Path, rows: list[dict[str, object]]) -> None:
    classes = [
        c for task, names in _CLASSES.items() if any(row.get("task") == task.value for row in rows) for c in names
    ]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["index", "image", "task", *classes, "verdict", "reason"], restval="")
        table.writeheader()
        table.writerows(rows)


def _inputs(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are named; of a folder every record, table and image in it."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for file in sorted(path.rglob("*")):
            if file.suffix in {".npz", ".png", ".dcm", ".hea"} or (file.suffix in {".csv", ".xz"} and _is_cgm(file)):
                yield file


def _is_cgm(path: Path) -> bool:
    try:
        return next(iter(cgm.people(path)), None) is not None
    except (Fault, Unusable, OSError, ValueError):
        return False


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _tell(news: SlotNews) -> None:
    if news.result != "active":
        sys.stderr.write(f"{news.task}: {news.result} ({news.why})\n")

"""Fit the judges of monitor alarms on the CinC 2015 records at hand, and say what they are worth on records left out.

    python -m bench.verdicts [--data FOLDER] [--judges models/verdicts.json] [--out bench/reports/verdicts.json]
        [--page docs/verdicts.md]

It stands here and not in ``trainer`` because the evidence must be what ``python -m stream score --alarms`` hears, read
by the same code, and the trainer may not import ``stream``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from tqdm import tqdm

from bench.verdicts.crossing import Heard, chosen, crossed
from bench.verdicts.measures import SIGNS
from bench.verdicts.report import page_of, report_of
from models.registry import Registry
from models.verdicts import SHIPPED, Judges
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, SlotNews, begin_serving, open_slots
from stream.verdicts import minute_before_alarm
from vitals.evidence import evidence
from vitals.findings import Task

_HERE = Path(__file__).resolve().parents[2]
_MARKED = re.compile(r"(<!-- crossed -->\n).*?(<!-- end crossed -->)", re.DOTALL)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument(
        "--data", type=Path, default=Path(os.environ.get("WARDWATCH_DATA") or _HERE.parent / "shared/data")
    )
    asked.add_argument("--judges", type=Path, default=SHIPPED)
    asked.add_argument("--out", type=Path, default=_HERE / "bench/reports/verdicts.json")
    asked.add_argument("--page", type=Path, default=_HERE / "docs/verdicts.md")
    told = asked.parse_args()
    slots = open_slots(_tell)
    with TemporaryDirectory() as registry:
        begin_serving(Registry.seeded(Path(registry), SHIPPED_BUNDLES), slots)
        beats = slots[Task.ECG_BEAT]
        beat_model = beats.serving[0]
        alarms = list(tqdm(_heard(told.data / "cinc2015", beats), unit="alarm", disable=None))
        for slot in slots.values():
            slot.close()
    of_type = {kind: [one for one in alarms if one.type == kind] for kind in SIGNS}
    judged = {kind: crossed(those, SIGNS[kind]) for kind, those in of_type.items()}
    judges = Judges(beat_model, {kind: chosen(those, SIGNS[kind]) for kind, those in of_type.items()})
    told.judges.write_bytes(msgspec.json.format(msgspec.json.encode(judges), indent=1) + b"\n")
    told.out.write_text(json.dumps(report_of(judged, judges), indent=1) + "\n", encoding="utf-8")
    lines = "\n".join(page_of(judged, judges))
    filled, marks = _MARKED.subn(lambda mark: f"{mark[1]}{lines}\n{mark[2]}", told.page.read_text(encoding="utf-8"))
    if marks != 1:
        raise SystemExit(f"{told.page.name} has no place for the table")
    told.page.write_text(filled, encoding="utf-8")
    print(lines)


def _heard(folder: Path, beats: ModelSlot) -> Iterator[Heard]:
    """Every alarm of the set whose record is here."""
    with (folder / "ALARMS").open(newline="") as file:
        for record, kind, label in csv.reader(file):
            path = folder / "prealarm60s" / record
            if path.with_suffix(".hea").exists():
                yield Heard(record, kind, label == "1", evidence(minute_before_alarm(path, beats)))


def _tell(news: SlotNews) -> None:
    if news.result != "active":
        raise RuntimeError(f"{news.task} is not served: {news.why}")


if __name__ == "__main__":
    main()

"""Recordings into Kafka as if they happened now: ``python -m stream replay PATH... --kafka HOST:PORT``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from kafka.errors import KafkaError
from tqdm import tqdm

from stream import children, config
from stream.gateways import cgm, images, wfdb
from stream.gateways.schedule import Due, Pace, in_order
from stream.gateways.sending import Sender, play
from vitals.clock import SystemClock
from vitals.errors import Fault
from vitals.units import US_PER_S

BEDS_PER_GATEWAY: Final = 8
_SHIFT_S: Final = 37.0
"""Patients who share a recording start this far apart in it, so that no two of them look alike."""
_IMAGE_EVERY_S: Final = 10.0
_IMAGES: Final = frozenset({".npz", ".dcm", ".png"})
_TABLES: Final = frozenset({".csv", ".xz", ".zip"})


def schedules(
    paths: Sequence[Path], pace: Pace, *, patients: int | None = None, repeat: bool = False
) -> list[Iterator[Due]]:
    """What the recordings under ``paths`` (files or folders) have to send: ECG in bundles of a gateway, glucose and
    images by patient. With ``patients``, that many share the ECG recordings, and no more have the rest.

    Raises ``Fault`` for a file that is not what its name says, or when nothing is found.
    """
    records, tables, pictures = _sorted_out(paths)
    found: list[Iterator[Due]] = []
    beds = _beds(records, patients)
    for first in range(0, len(beds), BEDS_PER_GATEWAY):
        gateway = f"replay-{first // BEDS_PER_GATEWAY}"
        found.append(wfdb.bundles(gateway, beds[first : first + BEDS_PER_GATEWAY], pace, repeat=repeat))
    persons = [person for table in tables for person in cgm.people(table)]
    found += [cgm.readings(p.name, "replay", p, pace, history_s=0, repeat=repeat) for p in persons[:patients]]
    shown = [picture for path in pictures for picture in images.pictures(path)]
    if shown:
        names = [f"imaging-{i}" for i in range(min(len(shown), patients or len(shown)))]
        found.append(images.events(names, shown, pace, every_s=_IMAGE_EVERY_S, repeat=repeat))
    if not found:
        raise Fault("no recordings there: WFDB records, csv or zip tables of glucose, npz, dcm or png images")
    return found


def main(argv: list[str]) -> int:
    """``python -m stream replay``. Exit status 0 when everything was confirmed."""
    parser = argparse.ArgumentParser(prog="python -m stream replay", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="recordings, or folders of them")
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of recording a second; inf: all at once")
    parser.add_argument("--patients", type=int, help="how many patients; they share the recordings there are")
    parser.add_argument("--repeat", action="store_true", help="what ends begins again, until Ctrl-C")
    parser.add_argument(
        "--began-ago", type=float, default=0.0, metavar="S",
        help="event time starts S seconds ago; faster than real time it soon lies in the future, which a worker refuses"
        " from WARDWATCH_CLOCK_AHEAD_S on",
    )  # fmt: skip
    asked = parser.parse_args(argv)
    start_us = SystemClock().now_us() - round(asked.began_ago * US_PER_S)
    try:
        waiting = schedules(asked.paths, Pace(start_us, asked.speed), patients=asked.patients, repeat=asked.repeat)
        with (
            children.signals_as_interrupt() as stop,
            closing(Sender(asked.kafka or config.read(os.environ).kafka)) as sender,
            tqdm(unit=" events", disable=None) as shown,
            suppress(KeyboardInterrupt),
        ):

            def send(due: Due) -> None:
                sender.send(due)
                shown.update(due.events)

            play(in_order(waiting), send, stop)
    except (Fault, KafkaError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    counted = ", ".join(f"{n} {topic.value}" for topic, n in sorted(sender.events.items()))
    sys.stderr.write(f"sent and confirmed: {counted or 'nothing'}\n")
    return 0


def _beds(records: Sequence[Path], patients: int | None) -> list[wfdb.Bed]:
    recordings = [wfdb.read(record) for record in tqdm(records, "reading records", disable=None, leave=False)]
    beds = []
    for i in range((patients or len(recordings)) if recordings else 0):
        copy, which = divmod(i, len(recordings))
        recording = recordings[which]
        patient = f"{recording.name}+{copy}" if copy else recording.name
        beds.append(wfdb.Bed(patient, recording, (_SHIFT_S * copy) % recording.seconds))
    return beds


def _sorted_out(paths: Sequence[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """WFDB records, glucose tables and images among ``paths`` and in the folders among them."""
    files: list[Path] = []
    for path in paths:
        known = {".hea", *_TABLES, *_IMAGES}
        files += sorted(p for p in path.rglob("*") if p.suffix in known) if path.is_dir() else [path]
    tables = [file for file in files if file.suffix in _TABLES]
    pictures = [file for file in files if file.suffix in _IMAGES]
    return [file for file in files if file.suffix not in _TABLES | _IMAGES], tables, pictures

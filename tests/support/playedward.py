"""A ward that plays itself on the topics without a worker: ECG, findings, risks and alarms as they would be.

For the board: findings come from beats that are known beforehand, risks and alarms from the real decide half, and
commands from the board are answered. ``python -m tests.support.playedward`` shows it in a browser.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
import wfdb
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stream.alerting import Decided, Deciding
from stream.broker import open_broker
from stream.gateways.wfdb import Recording, read
from stream.topics import PARTITIONS, Topic
from tests.support.boardhost import BoardHost
from tests.support.ward import heart, r_peaks_s
from vitals import codec
from vitals.clock import SystemClock
from vitals.events import Command, EcgBundle, Wire
from vitals.findings import (
    BEAT_AFTER_R_US,
    COLUMNS,
    FORECAST_HORIZONS_MIN,
    FORECAST_QUANTILES,
    FindingBatch,
    Findings,
    Task,
    Verdict,
)
from vitals.units import US_PER_S

_AAMI = (
    dict.fromkeys("NLRej", 0) | dict.fromkeys("AaJS", 1) | dict.fromkeys("VE", 2) | {"F": 3} | dict.fromkeys("/fQ", 4)
)
_SPREAD_MG_DL = {5: -1.64, 25: -0.67, 50: 0.0, 75: 0.67, 95: 1.64}

Values = dict[str, float | None]


@dataclass(slots=True)
class PlayedBed:
    """A bed, its recording and its beats: ``r_s`` seconds into it, ``classes`` indices into N S V F Q."""

    patient: str
    recording: Recording
    r_s: np.ndarray
    classes: np.ndarray
    from_s: float = 0.0
    verdict: Verdict = Verdict.GOOD
    is_on: bool = True
    glucose: list[float] = field(default_factory=list)


def simulated_beds(count: int, seconds: float = 120.0) -> list[PlayedBed]:
    """Regular hearts, 55 to 100 beats a minute."""
    beds = []
    for i in range(count):
        rate_bpm = 55 + (i * 7) % 45
        r_s = r_peaks_s(seconds, rate_bpm)
        beds.append(PlayedBed(f"bed-{i + 1:02}", heart(seconds, rate_bpm, seed=i), r_s, np.zeros(len(r_s), np.int64)))
    return beds


def recorded_beds(folder: Path, count: int) -> list[PlayedBed]:
    """MIT-BIH records with the beats of their reference annotations."""
    beds = []
    for i, path in enumerate(sorted((folder / "mitdb").glob("*.hea"))[:count]):
        marks = wfdb.rdann(str(path.with_suffix("")), "atr")
        known = [(s, _AAMI[symbol]) for s, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in _AAMI]
        recording = read(path)
        samples, classes = (np.array(column) for column in zip(*known, strict=True))
        beds.append(PlayedBed(f"bed-{i + 1:02}", recording, samples / recording.rate_hz, classes, 30.0 + 7 * i))
    return beds


class PlayedWard:
    """Sends second after second; ``start_us`` is the event time of the first sample."""

    def __init__(self, kafka: str, beds: Sequence[PlayedBed], *, start_us: int | None = None, gateway: str = "ward-a"):
        self.beds = list(beds)
        self.start_us = start_us if start_us is not None else SystemClock().now_us()
        self.second = 0
        self._gateway = gateway
        self._deciding = [Deciding() for _ in range(PARTITIONS)]
        self._producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=2)
        self._commands = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
        self._commands.assign([TopicPartition(Topic.COMMANDS.value, p) for p in range(PARTITIONS)])
        self._commands.seek_to_end()
        for partition in self._commands.assignment():
            self._commands.position(partition)
        self._mean_bpm: dict[str, float | None] = {}
        self._since_beat_ms: dict[str, float | None] = {}

    def close(self) -> None:
        """Leave."""
        self._producer.close()
        self._commands.close()

    def play_second(self) -> None:
        """One second of everything; does not wait."""
        lit = [bed for bed in self.beds if bed.is_on]
        if lit:
            self._send_ecg(lit)
            self._find_beats(lit)
            self._find_rhythm(lit)
        self.second += 1
        now_us = self.start_us + self.second * US_PER_S
        for partition, deciding in enumerate(self._deciding):
            self._publish(partition, deciding.tick(now_us))
        self._producer.flush()

    def play_glucose(self, bed: PlayedBed, mg_dl: float, time_us: int, trend: float = 0.0) -> None:
        """One reading with a forecast that goes on as it has come."""
        values: Values = {"glucose_mg_dl": mg_dl, "trend_mg_dl_min": trend}
        for h in FORECAST_HORIZONS_MIN:
            middle = mg_dl + trend * h * 0.7
            spread = 4 + 0.55 * h
            values |= {f"h{h:02d}_q{q:02d}": middle + _SPREAD_MG_DL[q] * spread for q in FORECAST_QUANTILES}
            values |= {f"h{h:02d}_mean": middle}
            values |= {f"h{h:02d}_p_below_70": float(middle < 70), f"h{h:02d}_p_below_54": float(middle < 54)}
            values |= {f"h{h:02d}_p_above_180": float(middle > 180), f"h{h:02d}_p_above_250": float(middle > 250)}
        self._find(Task.GLUCOSE, [(bed.patient, time_us, Verdict.GOOD, values)])

    def play_image(self, bed: PlayedBed, task: Task, p: float, time_us: int) -> None:
        """Result of one image."""
        names = COLUMNS[task]
        other = {"p_pneumonia": "p_normal", "p_malignant": "p_benign"}
        sought = next(name for name in names if name in other)
        self._find(task, [(bed.patient, time_us, Verdict.GOOD, {sought: p, other[sought]: 1 - p})])

    def obey(self) -> list[Command]:
        """Does what has been commanded since; returns it."""
        done = []
        for records in self._commands.poll(timeout_ms=20).values():
            for record in records:
                command = codec.decode(Command, record.value)
                self._publish(record.partition, self._deciding[record.partition].command(command))
                done.append(command)
        self._producer.flush()
        return done

    def _send_ecg(self, beds: Sequence[PlayedBed]) -> None:
        blocks, start_us, counts = [], [], []
        for bed in beds:
            rate = bed.recording.rate_hz
            first, last = round(self.second * rate), round((self.second + 1) * rate)
            begin = round(bed.from_s * rate)
            blocks.append(bed.recording.samples.take(np.arange(begin + first, begin + last), axis=1, mode="wrap"))
            start_us.append(self.start_us + round(first * US_PER_S / rate))
            counts.append(last - first)
        bundle = EcgBundle(
            gateway=self._gateway,
            sequence=self.second,
            patients=[bed.patient for bed in beds],
            devices=[bed.recording.name for bed in beds],
            start_us=start_us,
            rate_hz=[bed.recording.rate_hz for bed in beds],
            leads=[list(bed.recording.leads) for bed in beds],
            gain_uv=[bed.recording.gain_uv for bed in beds],
            n_samples=counts,
            samples=b"".join(block.astype("<i2").tobytes() for block in blocks),
        )
        self._send(Topic.ECG, bundle, key=self._gateway.encode())

    def _find_beats(self, beds: Sequence[PlayedBed]) -> None:
        rows = []
        for bed in beds:
            for r_s, aami in self._beats_in(bed, self.second, self.second + 1):
                p = np.full(5, 0.01)
                p[aami] = 0.96
                values: Values = dict(zip(COLUMNS[Task.ECG_BEAT][:5], p.tolist(), strict=True))
                r_us = self.start_us + round((r_s - bed.from_s) * US_PER_S)
                rows.append((bed.patient, r_us + BEAT_AFTER_R_US, bed.verdict, values | {"rr_pre_ms": 800.0}))
        if rows:
            self._find(Task.ECG_BEAT, rows)

    def _find_rhythm(self, beds: Sequence[PlayedBed]) -> None:
        end_us = self.start_us + (self.second + 1) * US_PER_S
        rows = []
        for bed in beds:
            r_s = np.array([r for r, _ in self._beats_in(bed, max(0, self.second - 9), self.second + 1)])
            steps = np.diff(r_s)
            bpm = 60 / float(steps.mean()) if len(steps) else None
            irregular = float(min(1.0, steps.std() / steps.mean() * 2)) if len(steps) > 3 else None
            since_ms = 1000 * (bed.from_s + self.second + 1 - float(r_s[-1])) if len(r_s) else None
            values: Values = {"heart_rate_bpm": bpm, "since_beat_ms": since_ms, "rr_irregularity": irregular}
            values |= {"vf_index": 0.1, "qrs_mv": 1.0, "rate_of_5_bpm": bpm, "rate_of_17_bpm": bpm}
            rows.append((bed.patient, end_us, bed.verdict, values if bed.verdict <= Verdict.POOR else {}))
        self._find(Task.ECG_RHYTHM, rows)

    def _beats_in(self, bed: PlayedBed, first_s: float, last_s: float) -> list[tuple[float, int]]:
        low, high = np.searchsorted(bed.r_s, (bed.from_s + first_s, bed.from_s + last_s))
        return list(zip(bed.r_s[low:high].tolist(), bed.classes[low:high].tolist(), strict=True))

    def _find(self, task: Task, rows: Sequence[tuple[str, int, Verdict, Values]]) -> None:
        for partition in range(PARTITIONS):
            mine = [row for row in rows if crc32(row[0].encode()) % PARTITIONS == partition]
            if not mine:
                continue
            patients = list(dict.fromkeys(row[0] for row in mine))
            batch = FindingBatch(
                task=task,
                spec="played-v1",
                model="rules" if task is Task.ECG_RHYTHM else "played",
                engine="rules" if task is Task.ECG_RHYTHM else "onnx-cpu",
                patients=patients,
                row=[patients.index(row[0]) for row in mine],
                end_us=[row[1] for row in mine],
                known_us=[row[1] for row in mine],
                input_ms=[SystemClock().now_us() // 1000] * len(mine),
                verdict=[int(row[2]) for row in mine],
                columns=list(COLUMNS[task]),
                values=[[row[3].get(name) for row in mine] for name in COLUMNS[task]],
            )
            findings = Findings(tables=[batch])
            self._send(Topic.FINDINGS, findings, partition=partition)
            self._publish(partition, self._deciding[partition].decide([findings]))

    def _publish(self, partition: int, decided: Decided) -> None:
        for risks in decided.risks:
            self._send(Topic.RISK, risks, partition=partition)
        for step in decided.transitions:
            self._send(Topic.ALERTS, step, key=step.patient.encode(), partition=partition)

    def _send(self, topic: Topic, event: Wire, *, key: bytes | None = None, partition: int | None = None) -> None:
        self._producer.send(topic.value, codec.encode(event), key=key, partition=partition)


def main() -> int:
    """Broker, ward and board until Ctrl-C."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--beds", type=int, default=16)
    asked.add_argument("--data", type=Path)
    asked.add_argument("--port", type=int, default=8080)
    asked = asked.parse_args()
    beds = recorded_beds(asked.data, asked.beds) if asked.data else simulated_beds(asked.beds, 1800.0)
    with suppress(KeyboardInterrupt), open_broker(None) as kafka, BoardHost(kafka, port=asked.port) as host:
        sys.stdout.write(f"{host.url}\n")
        sys.stdout.flush()
        played = PlayedWard(kafka, beds)
        tell_the_past(played)
        play_on(played, threading.Event())
    return 0


def play_on(played: PlayedWard, ending: threading.Event) -> None:
    """Second after second in real time, obeying in between."""
    while not ending.is_set():
        played.play_second()
        while SystemClock().now_us() < played.start_us + played.second * US_PER_S and not ending.is_set():
            played.obey()


@contextmanager
def playing(played: PlayedWard) -> Iterator[PlayedWard]:
    """Plays on a thread of its own until the end of the block."""
    ending = threading.Event()
    thread = threading.Thread(target=play_on, args=(played, ending), name="played-ward")
    thread.start()
    try:
        yield played
    finally:
        ending.set()
        thread.join()
        played.close()


def tell_the_past(played: PlayedWard) -> None:
    """Glucose of the last three hours for two beds of three, an image for every third."""
    rng = np.random.default_rng(3)
    now_us = played.start_us
    for i, bed in enumerate(played.beds):
        if i % 3 < 2:
            level, slope = 90 + 140 * rng.random(), 0.0
            for step in range(36, -1, -1):
                slope = 0.85 * slope + rng.normal(0, 0.35)
                level = min(320.0, max(48.0, level + 5 * slope))
                played.play_glucose(bed, level, now_us - step * 300 * US_PER_S - 60 * US_PER_S, slope)
        if i % 3 == 0:
            played.play_image(bed, Task.PNEUMONIA, float(rng.random()), now_us - (i + 1) * 600 * US_PER_S)
        if i % 5 == 1:
            played.play_image(bed, Task.BREAST, float(rng.random()), now_us - (i + 1) * 900 * US_PER_S)


if __name__ == "__main__":
    raise SystemExit(main())

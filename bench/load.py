"""A hospital's ECG for a bench: N patients, one chunk a second each (two leads at 360 Hz), bundled by gateway.

Real recordings, tiled: patient ``i`` plays recording ``i % R`` from a place of its own, so that no two patients are at
the same heartbeat. Without ``WARDWATCH_DATA`` simulated ones. Gateways send at their own moments of the second.

    python -m bench.load --kafka HOST:PORT --patients 10000 --seconds 60 [--per-gateway 100]

A process of its own, so that its cost is not the service's; says at its end how many chunks it sent and how late.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

from confluent_kafka import Producer

from stream.gateways import wfdb
from stream.gateways.wfdb import Recording
from stream.topics import MAX_MESSAGE_BYTES, PARTITIONS, Topic
from vitals import codec, simulate
from vitals.events import EcgBundle
from vitals.units import US_PER_S

RATE_HZ = 360
LEADS = 2
_APART_S = 37
_HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one gateway sends for one second. ``at_us``: when its last sample has been taken."""

    gateway: str
    at_us: int
    patients: int
    value: bytes


@cache
def recordings() -> list[Recording]:
    """Records of two leads at 360 Hz, each at least ten minutes long."""
    folder = Path(os.environ.get("WARDWATCH_DATA") or _HERE.parent / "shared" / "data") / "mitdb"
    found = [wfdb.read(path) for path in sorted(folder.glob("*.hea"))]
    return [r for r in found if (r.rate_hz, len(r.leads)) == (RATE_HZ, LEADS)] or [
        _simulated(seed) for seed in range(8)
    ]


def bundles(
    patients: int, per_gateway: int, start_us: int, seconds: int, first_s: int = 0, first_bed: int = 0
) -> Iterator[Bundle]:
    """Everything, in the order of time, from second ``first_s`` of the recordings on, of ``first_bed`` and the next."""
    end = first_bed + patients
    gateways = [range(i, min(i + per_gateway, end)) for i in range(first_bed, end, per_gateway)]
    for second in range(first_s, first_s + seconds):
        for number, beds in enumerate(gateways):
            phase_us = number * US_PER_S // len(gateways)
            chunk_us = start_us + (second - first_s) * US_PER_S + phase_us
            gateway = f"gateway-{beds.start // per_gateway}"
            value = codec.encode(_bundle(gateway, beds, second, chunk_us))
            yield Bundle(gateway, chunk_us + US_PER_S, len(beds), value)


def _bundle(gateway: str, beds: range, second: int, start_us: int) -> EcgBundle:
    tiles = recordings()
    own = [tiles[bed % len(tiles)] for bed in beds]
    n = len(beds)
    return EcgBundle(
        gateway=gateway,
        sequence=second,
        patients=[f"patient-{bed:06d}" for bed in beds],
        devices=[recording.name for recording in own],
        start_us=[start_us] * n,
        rate_hz=[float(RATE_HZ)] * n,
        leads=[list(recording.leads) for recording in own],
        gain_uv=[recording.gain_uv for recording in own],
        n_samples=[RATE_HZ] * n,
        samples=b"".join(_second(r, second + bed // len(tiles) * _APART_S) for r, bed in zip(own, beds, strict=True)),
    )


def _second(recording: Recording, second: int) -> bytes:
    at = second % int(recording.seconds) * RATE_HZ
    return recording.samples[:, at : at + RATE_HZ].tobytes()


def _simulated(seed: int) -> Recording:
    rhythms = list(simulate.Rhythm)
    script = [simulate.Stretch(rhythms[(seed + k) % len(rhythms)], 60.0) for k in range(10)]
    ecg = simulate.ecg(seed, tuple(script), float(RATE_HZ))
    return Recording(f"simulated/{seed}", float(RATE_HZ), ("II", "V1"), ecg.gain_uv, ecg.samples)


def play(kafka: str, patients: int, per_gateway: int, seconds: int, first_bed: int) -> dict[str, float]:
    """Send live. ``late_s``: how far behind its own time the latest bundle was handed over."""
    recordings()
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "enable.idempotence": True,  # else a batch that is sent again comes after the next one
            "linger.ms": 0,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 1 << 20,
            "acks": "all",
        }
    )
    chunks, late_s = 0, 0.0
    for bundle in bundles(patients, per_gateway, time.time_ns() // 1000, seconds, first_bed=first_bed):
        ahead_s = bundle.at_us / US_PER_S - time.time()
        if ahead_s > 0:
            time.sleep(ahead_s)
        late_s = max(late_s, -ahead_s)
        key = bundle.gateway.encode()
        producer.produce(Topic.ECG.value, bundle.value, key, partition=crc32(key) % PARTITIONS)
        producer.poll(0)
        chunks += bundle.patients
    unsent = producer.flush(30)
    return {"chunks": chunks, "late_s": round(late_s, 3), "unsent": unsent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--patients", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--per-gateway", type=int, default=100)
    parser.add_argument("--first-bed", type=int, default=0)
    asked = parser.parse_args()
    print(json.dumps(play(asked.kafka, asked.patients, asked.per_gateway, asked.seconds, asked.first_bed)))


if __name__ == "__main__":
    main()

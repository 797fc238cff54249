"""A flood of large images beside the hearts of a ward: what a heartbeat waits for its finding, with and without it.

    python -m bench.image_flood [--patients 2000] [--images 150] [--seconds 30] [--out bench/reports/image_flood.json]

Every image is a chest X-ray of four million grey pixels as PNG, small on the wire and 10 ms and more to read;
more of them come than one thread can take. Both trials are of one run.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
from confluent_kafka import Producer
from PIL import Image

from bench.trial import Trial, run
from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.events import ImagingEvent

_SIDE = 2000
_DIFFERENT = 8


def pictures() -> list[bytes]:
    """A few PNG files of a gradient."""
    made = []
    for number in range(_DIFFERENT):
        grey = np.add.outer(np.arange(_SIDE), np.arange(_SIDE)) // (16 + number)
        file = io.BytesIO()
        Image.fromarray(grey.astype(np.uint8)).save(file, "PNG", compress_level=6)
        made.append(file.getvalue())
    return made


def play(kafka: str, per_second: int, seconds: int) -> None:
    """Send them evenly."""
    files = pictures()
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0, "message.max.bytes": 4 << 20})
    began = time.monotonic()
    for number in range(per_second * seconds):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        patient = f"patient-{number % 500:06d}"
        event = ImagingEvent(
            patient=patient, time_us=time.time_ns() // 1000, study="flood", series="flood", instance=str(number),
            modality="DX", body_part="CHEST", pixels=files[number % len(files)],
        )  # fmt: skip
        producer.produce(Topic.IMAGING.value, codec.encode(event), partition=crc32(patient.encode()) % PARTITIONS)
        producer.poll(0)
    producer.flush(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--images", type=int, default=150, help="a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/image_flood.json"))
    parser.add_argument("--kafka", help="only play the images into this broker")
    asked = parser.parse_args()
    if asked.kafka:
        play(asked.kafka, asked.images, asked.seconds)
        return
    quiet = Trial(asked.patients, asked.seconds)
    argv = (sys.executable, "-m", "bench.image_flood", "--images", str(asked.images))
    flooded = Trial(asked.patients, asked.seconds, beside=(*argv, "--seconds", str(quiet.warm_s + asked.seconds)))
    report = {}
    for name, trial in (("without", quiet), ("with", flooded)):
        seen = run(trial)
        report[name] = {
            "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms, "worker_cores": seen.worker_cores, "images": seen.images,
            "rss_mb": seen.worker_rss_mb,
        }  # fmt: skip
        print(f"{name} the flood: {report[name]}", flush=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


if __name__ == "__main__":
    main()

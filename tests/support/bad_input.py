"""Everything a ward's network can get wrong, as records for the real topics, each with the reason it must end by."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from stream.topics import Topic
from vitals import codec
from vitals.errors import Reason
from vitals.events import EcgBundle, GlucoseReading, ImagingEvent, Wire
from vitals.units import EARLIEST_US, US_PER_S

_JSON = (("content-type", codec.JSON.encode()),)
_SEED = 20_260_101


@dataclass(frozen=True)
class BadInput:
    """One record of one event. ``reason`` None: nothing is wrong with this one, it prepares the next."""

    name: str
    topic: Topic
    key: bytes
    value: bytes
    reason: Reason | None
    headers: tuple[tuple[str, bytes], ...] = ()

    def __str__(self) -> str:
        return self.name


def bad_inputs(now_us: int) -> list[BadInput]:
    """All of them, to be sent in this order at ``now_us``. No two cases share a patient."""
    return [
        *_bytes(now_us),
        *_ecg(now_us),
        *_ecg_order(now_us),
        *_glucose(now_us),
        *_glucose_order(now_us),
        *_images(now_us),
    ]


def chunk(patient: str, start_us: int) -> EcgBundle:
    """One good second of one patient: two leads at 360 Hz."""
    samples = np.random.default_rng(_SEED).integers(-300, 300, 720).astype("<i2")
    return EcgBundle(
        gateway=f"monitor-{patient}", sequence=0, patients=[patient], devices=["monitor"], start_us=[start_us],
        rate_hz=[360.0], leads=[["MLII", "V1"]], gain_uv=[5.0], n_samples=[360], samples=samples.tobytes(),
    )  # fmt: skip


def reading(patient: str, time_us: int, glucose: float = 110.0) -> GlucoseReading:
    """One good reading."""
    return GlucoseReading(patient=patient, device="cgm", time_us=time_us, glucose=glucose)


def image(patient: str, time_us: int) -> ImagingEvent:
    """One good chest image."""
    pixels = np.random.default_rng(_SEED).integers(0, 255, 28 * 28, np.uint8).tobytes()
    return ImagingEvent(
        patient=patient, time_us=time_us, study="study", series="series", instance="instance", modality="DX",
        body_part="CHEST", pixels=pixels, rows=28, columns=28,
    )  # fmt: skip


def dicom_without_pixels() -> bytes:
    """A real DICOM file with its pixel data taken out."""
    file = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    del file.PixelData
    content = io.BytesIO()
    file.save_as(content)
    return content.getvalue()


def _good(now_us: int) -> dict[Topic, Wire]:
    return {
        Topic.ECG: chunk("anybody", now_us),
        Topic.GLUCOSE: reading("anybody", now_us),
        Topic.IMAGING: image("anybody", now_us),
    }


def _bytes(now_us: int) -> Iterator[BadInput]:
    """What is wrong before anything is decoded, on every topic."""
    noise = np.random.default_rng(_SEED).bytes(700)
    for topic, event in _good(now_us).items():
        whole, key, name = codec.encode(event), b"anybody", topic.value
        yield BadInput(f"{name} truncated", topic, key, whole[: len(whole) // 2], Reason.MALFORMED)
        yield BadInput(f"{name} random", topic, key, noise, Reason.MALFORMED)
        yield BadInput(f"{name} empty", topic, key, b"", Reason.MALFORMED)
        oversized = whole + bytes(codec.MAX_VALUE_BYTES + 1 - len(whole))
        yield BadInput(f"{name} oversized", topic, key, oversized, Reason.OVERSIZED)
        newer = codec.encode(msgspec.structs.replace(event, v=2))
        yield BadInput(f"{name} of schema version 2", topic, key, newer, Reason.SCHEMA_VERSION)
        yield BadInput(f"{name} that says JSON and is not", topic, key, whole, Reason.MALFORMED, _JSON)
        deep = b"[" * 100_000
        yield BadInput(f"{name} nested without end", topic, key, deep, Reason.MALFORMED, _JSON)


def _ecg(now_us: int) -> Iterator[BadInput]:
    wrong: dict[str, tuple[Reason, dict[str, object]]] = {
        "rate NaN": (Reason.IMPOSSIBLE_RATE, {"rate_hz": [math.nan]}),
        "rate 0": (Reason.IMPOSSIBLE_RATE, {"rate_hz": [0.0]}),
        "rate 1 MHz": (Reason.IMPOSSIBLE_RATE, {"rate_hz": [1e6]}),
        "gain NaN": (Reason.IMPOSSIBLE_GAIN, {"gain_uv": [math.nan]}),
        "gain 0": (Reason.IMPOSSIBLE_GAIN, {"gain_uv": [0.0]}),
        "gain negative": (Reason.IMPOSSIBLE_GAIN, {"gain_uv": [-5.0]}),
        "gain infinite": (Reason.IMPOSSIBLE_GAIN, {"gain_uv": [math.inf]}),
        "gain in volts": (Reason.IMPOSSIBLE_GAIN, {"gain_uv": [5e6]}),
        "start in 1970": (Reason.IMPOSSIBLE_TIME, {"start_us": [0]}),
        "start beyond 64 bits of use": (Reason.IMPOSSIBLE_TIME, {"start_us": [2**63 - 1]}),
        "start a day ahead of the clock": (Reason.CLOCK_AHEAD, {"start_us": [now_us + 2 * 86_400 * US_PER_S]}),
        "samples missing": (Reason.INCONSISTENT, {"samples": bytes(1438)}),
        "half a sample": (Reason.INCONSISTENT, {"samples": bytes(1439)}),
        "no samples": (Reason.INCONSISTENT, {"n_samples": [0], "samples": b""}),
        "samples negative": (Reason.INCONSISTENT, {"n_samples": [-360]}),
        "samples beyond all memory": (Reason.INCONSISTENT, {"n_samples": [2**62]}),
        "no leads": (Reason.INCONSISTENT, {"leads": [[]], "samples": b""}),
        "no patients": (Reason.INCONSISTENT, {"patients": []}),
        "columns of different length": (Reason.INCONSISTENT, {"rate_hz": [360.0, 360.0]}),
    }
    for name, (reason, fields) in wrong.items():
        patient = f"ecg {name}"
        bundle = msgspec.structs.replace(chunk(patient, now_us), **fields)
        yield BadInput(patient, Topic.ECG, patient.encode(), codec.encode(bundle), reason)


def _ecg_order(now_us: int) -> Iterator[BadInput]:
    """Three good seconds, then what must not come."""

    def sent(patient: str, start_s: float, reason: Reason | None) -> BadInput:
        bundle = chunk(patient, now_us + round((start_s - 20) * US_PER_S))
        return BadInput(f"{patient} at {start_s:g} s", Topic.ECG, patient.encode(), codec.encode(bundle), reason)

    for patient, start_s, reason in (
        ("ecg duplicate", 2, Reason.DUPLICATE),
        ("ecg reordered", 1, Reason.DUPLICATE),
        ("ecg clock back", -8, Reason.TOO_LATE),
        ("ecg clock forward", 15, None),
    ):
        yield from (sent(patient, second, None) for second in range(3))
        yield sent(patient, start_s, reason)


def _glucose(now_us: int) -> Iterator[BadInput]:
    wrong: dict[str, tuple[Reason, dict[str, object]]] = {
        "NaN": (Reason.NOT_FINITE, {"glucose": math.nan}),
        "infinite": (Reason.NOT_FINITE, {"glucose": math.inf}),
        "sensor code": (Reason.SENSOR_CODE, {"glucose": 5.0}),
        "of a sensor that warms up": (Reason.SENSOR_STATUS, {"flags": ["sensor-warm-up"]}),
        "implausibly low": (Reason.IMPLAUSIBLE, {"glucose": 13.5}),
        "implausibly high": (Reason.IMPLAUSIBLE, {"glucose": 1200.0}),
        "mg/dL said to be mmol/L": (Reason.IMPLAUSIBLE, {"glucose": 110.0, "unit": "mmol/L"}),
        "of another unit": (Reason.WRONG_UNIT, {"unit": "g/L"}),
        "in 1970": (Reason.IMPOSSIBLE_TIME, {"time_us": 0}),
        "before 2000": (Reason.IMPOSSIBLE_TIME, {"time_us": EARLIEST_US - 1}),
        "a day ahead of the clock": (Reason.CLOCK_AHEAD, {"time_us": now_us + 2 * 86_400 * US_PER_S}),
    }
    for name, (reason, fields) in wrong.items():
        patient = f"glucose {name}"
        event = msgspec.structs.replace(reading(patient, now_us), **fields)
        yield BadInput(patient, Topic.GLUCOSE, patient.encode(), codec.encode(event), reason)
    words = b'{"type":"glucose","patient":"glucose in words","device":"","time_us":%d,"glucose":"Low"}' % now_us
    yield BadInput("glucose in words", Topic.GLUCOSE, b"glucose in words", words, Reason.MALFORMED, _JSON)


def _glucose_order(now_us: int) -> Iterator[BadInput]:
    def sent(patient: str, minute: float, reason: Reason | None) -> BadInput:
        event = reading(patient, now_us + round((minute - 60) * 60 * US_PER_S))
        return BadInput(f"{patient} at {minute:g} min", Topic.GLUCOSE, patient.encode(), codec.encode(event), reason)

    for patient, minute, reason in (
        ("glucose duplicate", 10, Reason.DUPLICATE),
        ("glucose reordered", 7.5, Reason.TOO_LATE),
        ("glucose clock back", -600, Reason.TOO_LATE),
        ("glucose clock forward", 55, None),
    ):
        yield from (sent(patient, 5 * step, None) for step in range(3))
        yield sent(patient, minute, reason)


def _images(now_us: int) -> Iterator[BadInput]:
    no_pixels = {"pixels": None, "rows": None, "columns": None}
    wrong: dict[str, tuple[Reason, dict[str, object]]] = {
        "DICOM without pixels": (Reason.PIXELS_MISSING, {**no_pixels, "pixels": dicom_without_pixels()}),
        "neither pixels nor address": (Reason.PIXELS_MISSING, no_pixels),
        "one grey all over": (Reason.PIXELS_MISSING, {"pixels": bytes(28 * 28)}),
        "truncated PNG": (Reason.PIXELS_UNREADABLE, {**no_pixels, "pixels": b"\x89PNG\r\n\x1a\n" + bytes(40)}),
        "neither DICOM nor PNG": (Reason.PIXELS_UNREADABLE, {**no_pixels, "pixels": b"GIF89a" + bytes(400)}),
        "fewer pixels than rows and columns": (Reason.PIXELS_UNREADABLE, {"rows": 29}),
        "rows negative": (Reason.PIXELS_UNREADABLE, {"rows": -28, "columns": -28}),
        "address not allowed": (Reason.UNREACHABLE, {**no_pixels, "uri": "file:///etc/passwd", "sha256": "0" * 64}),
        "of a knee": (Reason.NO_MODEL, {"modality": "MR", "body_part": "KNEE"}),
        "in 1970": (Reason.IMPOSSIBLE_TIME, {"time_us": 0}),
    }
    for name, (reason, fields) in wrong.items():
        patient = f"image {name}"
        event = msgspec.structs.replace(image(patient, now_us), **fields)
        yield BadInput(patient, Topic.IMAGING, patient.encode(), codec.encode(event), reason)
    for nth, reason in ((1, None), (2, Reason.DUPLICATE)):
        value = codec.encode(image("image twice", now_us))
        yield BadInput(f"image twice, {nth}", Topic.IMAGING, b"image twice", value, reason)

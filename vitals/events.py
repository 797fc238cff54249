"""What comes in and what goes out: the records on the topics, versioned, as ``msgspec`` structs.

Times are event times in microseconds since 1970 UTC (``*_us``) unless the name says otherwise. Arrays on the wire are
little-endian. Patient ids stand in fields only: no struct here shows one in its ``repr``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SCHEMA_VERSION = 1

RELEASES_TOPIC: Final = "releases.v1"
"""Where a ``ModelRelease`` is said: the one topic that is written below ``stream`` and ``trainer`` too."""


class Record(msgspec.Struct, frozen=True):
    """One record as the door hands it in: bytes with their place in the log. ``timestamp_ms`` is the broker's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    content_type: str = "application/msgpack"

    def __repr__(self) -> str:
        return f"Record({self.topic}/{self.partition}@{self.offset}, {len(self.value)} bytes)"


class Wire(msgspec.Struct, kw_only=True, frozen=True):
    """Root of everything on a topic: carries the schema version, and never shows its content in a log."""

    v: int = SCHEMA_VERSION

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class EcgBundle(Wire, frozen=True, tag="ecg", tag_field="type"):
    """One chunk for each of 1..N patients of one gateway, as columns. All lists have length N (patients).

    ``samples``: int16[sum(n_samples * len(leads))], little-endian; patient after patient, lead after lead.
    A sample in millivolts is ``samples * gain_uv / 1000``; -32768 marks a sample that was not measured.
    """

    gateway: str
    sequence: int
    patients: list[str]
    devices: list[str]
    start_us: list[int]
    rate_hz: list[float]
    leads: list[list[str]]
    gain_uv: list[float]
    n_samples: list[int]
    samples: bytes


class GlucoseReading(Wire, frozen=True, tag="glucose", tag_field="type"):
    """One reading of a continuous glucose monitor. ``unit``: mg/dL or mmol/L; ``flags`` are the device's own words."""

    patient: str
    device: str
    time_us: int
    glucose: float
    unit: str = "mg/dL"
    flags: list[str] = []


class ImagingEvent(Wire, frozen=True, tag="imaging", tag_field="type"):
    """One image is there to be read: a reference (``uri`` + ``sha256``) or small inline ``pixels``.

    ``pixels``: a whole DICOM or PNG file, or uint8[rows, columns] when ``rows`` and ``columns`` are set.
    """

    patient: str
    time_us: int
    study: str
    series: str
    instance: str
    modality: str
    body_part: str
    uri: str | None = None
    sha256: str | None = None
    pixels: bytes | None = None
    rows: int | None = None
    columns: int | None = None


class Label(Wire, frozen=True, tag="label", tag_field="type"):
    """What a person says was true: of a window (``task`` + ``end_us``) or of an alert (``alert_id``)."""

    patient: str
    task: str
    end_us: int
    value: str
    who: str
    when_us: int
    alert_id: str | None = None


class Tensor(msgspec.Struct, frozen=True):
    """A dense array: ``data`` is C-ordered little-endian ``dtype[shape]``."""

    dtype: Literal["float32", "int64", "uint8"]
    shape: list[int]
    data: bytes


class WindowArchive(Wire, frozen=True, tag="windows", tag_field="type"):
    """Windows of one task as the network saw them, with what it said. Row ``i`` of every tensor is window ``i``."""

    task: str
    spec: str
    model: str
    patients: list[str]
    end_us: list[int]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class ModelRelease(Wire, frozen=True, tag="release", tag_field="type"):
    """A bundle that passed the gate. ``bundle`` is its content hash, ``uri`` the registry folder that holds it."""

    task: str
    bundle: str
    uri: str
    when_us: int
    action: Literal["promote", "rollback"]
    report: str


class Command(Wire, frozen=True, tag="command", tag_field="type"):
    """What a person at the bedside asks of the alarms of one patient."""

    patient: str
    action: Literal["acknowledge", "pause", "resume", "snooze", "limit", "admit", "discharge"]
    who: str
    role: str
    when_us: int
    condition: str | None = None
    alert_id: str | None = None
    seconds: float | None = None
    lower: float | None = None
    upper: float | None = None
    reason: str = ""


class DeadLetter(Wire, frozen=True, tag="dead-letter", tag_field="type"):
    """What could not be used, whole, with the reason; ``row`` is the position inside a bundle, -1 for the record."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    detail: str
    row: int
    key: bytes | None
    value: bytes
    content_type: str


class Checkpoint(Wire, frozen=True, tag="checkpoint", tag_field="type"):
    """State and its place in the log as one record: of each topic in ``offsets``, everything up to and including that
    offset is in ``state``. ``owner`` is who the state belongs to: a gateway, or one partition's share of a stream.
    """

    owner: str
    partition: int
    offsets: dict[str, int]
    state: bytes

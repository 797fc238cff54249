"""What comes in and what goes out: the records on the topics, versioned, as ``msgspec`` structs.

Times are event times in microseconds since 1970 UTC (``*_us``) unless the name says otherwise. Arrays on the wire are
little-endian. Patient ids stand in fields only: no struct here shows one in its ``repr``.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 1

MAX_NAME: Final = 200
MAX_PATIENTS: Final = 10_000
MAX_LEADS: Final = 64
Text = Annotated[str, Meta(max_length=MAX_NAME)]
"""A name of something: what it becomes a key, a field and a header of must remain a message."""
Patient = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Prose = Annotated[str, Meta(max_length=4000)]
_PerPatient = Meta(max_length=MAX_PATIENTS)

RELEASES_TOPIC: Final = "releases.v1"
"""Where a ``ModelRelease`` is said: the one topic that is written below ``stream`` and ``trainer`` too."""


Header = tuple[str, bytes | None]


class Record(msgspec.Struct, frozen=True):
    """One record as the door hands it in: bytes with their place in the log. ``timestamp_ms`` is the broker's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    content_type: str = "application/msgpack"
    headers: tuple[Header, ...] = ()

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
    ``sequence`` is for people who search a log: nothing depends on it (docs/order.md).
    """

    gateway: Text
    sequence: int
    patients: Annotated[list[str], _PerPatient]
    devices: Annotated[list[str], _PerPatient]
    start_us: Annotated[list[int], _PerPatient]
    rate_hz: Annotated[list[float], _PerPatient]
    leads: Annotated[list[Annotated[list[Text], Meta(max_length=MAX_LEADS)]], _PerPatient]
    gain_uv: Annotated[list[float], _PerPatient]
    n_samples: Annotated[list[int], _PerPatient]
    samples: bytes


DISTRUSTED_FLAGS: Final = frozenset({
    "sensor-warm-up", "sensor-malfunction", "sensor-type-incorrect", "session-stopped", "general-device-fault",
    "sensor-temperature-too-high", "sensor-temperature-too-low",
})  # fmt: skip
"""A reading with one of these is none: warm-up, and what the sensor status annunciation of the Bluetooth Continuous
Glucose Monitoring Service says of a sensor that does not measure."""


class GlucoseReading(Wire, frozen=True, tag="glucose", tag_field="type"):
    """One reading of a continuous glucose monitor. ``unit``: mg/dL or mmol/L.

    ``flags``: what the device says of it, in the words of ``DISTRUSTED_FLAGS`` or its own.
    """

    patient: Patient
    device: Text
    time_us: int
    glucose: float
    unit: Text = "mg/dL"
    flags: Annotated[list[Text], Meta(max_length=64)] = []


class ImagingEvent(Wire, frozen=True, tag="imaging", tag_field="type"):
    """One image is there to be read: a reference (``uri`` + ``sha256``) or small inline ``pixels``.

    ``pixels``: a whole DICOM or PNG file, or uint8[rows, columns] when ``rows`` and ``columns`` are set.
    """

    patient: Patient
    time_us: int
    study: Text
    series: Text
    instance: Text
    modality: Text
    body_part: Text
    uri: _Prose | None = None
    sha256: Text | None = None
    pixels: bytes | None = None
    rows: int | None = None
    columns: int | None = None


JUDGEMENTS: Final = ("true", "false", "not-actionable")
"""What a person says of an alarm; of a window it is a class of its task."""


class Label(Wire, frozen=True, tag="label", tag_field="type"):
    """What a person says was true: of a window (``task`` + ``end_us``) or of an alert (``alert_id``)."""

    patient: Patient
    task: Text
    end_us: int
    value: Text
    who: Text
    when_us: int
    alert_id: Text | None = None


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


class PairedAnswers(Wire, frozen=True, tag="paired-answers", tag_field="type"):
    """What two models said of the same windows of one task, while one of them serves and the other is only asked.

    ``champion``: the one that served first; ``challenger``: the newer one; both short hashes, as is ``serving``, the
    one whose findings went out. Row ``i`` of the tensors, float32[windows, columns], is window ``i``.
    """

    task: str
    spec: str
    champion: str
    challenger: str
    serving: str
    patients: list[str]
    end_us: list[int]
    columns: list[str]
    said_by_champion: Tensor
    said_by_challenger: Tensor


ReleaseAction = Literal["promote", "rollback", "challenge", "withdraw"]


class ModelRelease(Wire, frozen=True, tag="release", tag_field="type"):
    """The registry says something else of a task: who hears this looks there.

    ``bundle``: content hash of the one that serves from now on, or is (or was) the challenger; ``uri``: the registry's
    folder; ``report``: why.
    """

    task: str
    bundle: str
    uri: str
    when_us: int
    action: ReleaseAction
    report: str


class GateVerdict(Wire, frozen=True, tag="gate", tag_field="type"):
    """How the newest turn of a task ended at the gate. ``why``: what made it due; ``bundle``: what was released.

    ``champion``: what served meanwhile, empty when nothing did; ``refused``: of a model that was kept out, each rule
    that did, with the figures it looked at.
    """

    task: str
    when_us: int
    why: Text
    bundle: str
    champion: str
    refused: Annotated[list[Annotated[str, Meta(max_length=500)]], Meta(max_length=100)]


class DriftKind(enum.StrEnum):
    """What has changed. The unit of a notice's ``magnitude`` stands behind each."""

    GAIN = "gain"  # the factor by which all leads grew or shrank
    LEADS = "leads"  # leads changed places or sign: the share of the signal that this explains, 0 to 1
    MAINS = "mains"  # amplitude of the line frequency that came, microvolts in the signal as the networks see it
    BIAS = "bias"  # the step, mg/dL
    ANSWERS = "answers"  # population stability index beside the answers before


class DriftNotice(Wire, frozen=True, tag="drift", tag_field="type"):
    """What comes in, or what is said of it, is no longer what it was (``began``), or has settled since (``ended``).

    ``scope`` bed: one patient's stream beside its own past, keyed by patient. ward: everybody's answers of one task,
    as one worker gave them, keyed by task, ``patient`` empty. ``when_us``: event time at which it was known;
    ``since_us``: when it began as far as can be told, the same in both notices of one change of a bed.
    """

    patient: Text
    stream: Literal["ecg", "glucose", "imaging"]
    task: Text
    kind: DriftKind
    scope: Literal["bed", "ward"]
    event: Literal["began", "ended"]
    when_us: int
    since_us: int
    magnitude: float


class Command(Wire, frozen=True, tag="command", tag_field="type"):
    """What a person at the bedside asks of the alarms of one patient."""

    patient: Patient
    action: Literal["acknowledge", "pause", "resume", "snooze", "limit", "admit", "discharge"]
    who: Text
    role: Text
    when_us: int
    condition: Text | None = None
    alert_id: Text | None = None
    seconds: float | None = None
    lower: float | None = None
    upper: float | None = None
    reason: _Prose = ""


class DeadLetter(Wire, frozen=True, tag="dead-letter", tag_field="type"):
    """What could not be used, with the reason; ``row`` is the position inside a bundle, -1 for the record.

    ``value`` and ``headers`` are as they came, but for ``cut``: then they were too large to be kept whole.
    """

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
    headers: list[Header] = []
    cut: bool = False


LetterName = tuple[str, int, int, int]
"""What a dead letter is known by: the topic, partition and offset it came from, and its row."""


class Redriven(Wire, frozen=True, tag="redriven", tag_field="type"):
    """These letters went back to their topics. Lies in the dead-letter topic, behind them."""

    letters: list[LetterName]
    when_us: int


class Checkpoint(Wire, frozen=True, tag="checkpoint", tag_field="type"):
    """State and its place in the log as one record: of each topic in ``offsets``, everything up to and including that
    offset is in ``state``. ``owner`` is who the state belongs to: a gateway, or one partition's share of a stream.
    A large state comes in ``parts`` records of the same offsets, of which this is number ``part``.
    """

    owner: str
    partition: int
    offsets: dict[str, int]
    state: bytes
    part: int = 0
    parts: int = 1

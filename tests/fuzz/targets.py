"""Everything that reads bytes of others: each takes any bytes and ends in a value or in the one error it may raise.

A target is a function of bytes that fails for anything else, and the well-formed bytes to begin from.
"""

from __future__ import annotations

import io
import lzma
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file

from stream import bedsnapshot, redrive
from stream.agents.door import record_of
from stream.alerting import Deciding
from stream.checkpoint import Owners
from stream.deciding import Decide
from stream.freezing import Freezer
from stream.gateways import cgm, images, wfdb
from stream.imagestore import ImageStore, decoded
from stream.modelslot import ModelSlot
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.patients import PatientRows
from stream.pipeline import Half, Products
from stream.topics import CATALOGUE, MAX_MESSAGE_BYTES, PARTITIONS, Topic
from tests.support.alarms import steps
from tests.support.bad_input import chunk, dicom_without_pixels, image, reading
from tests.support.stay import CALM_RHYTHM, NORMAL_BEAT, Stay, batch, command, record
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.errors import Fate, Fault, Unusable
from vitals.events import Checkpoint, DeadLetter, EcgBundle, Record, Redriven, Wire
from vitals.findings import Task, Verdict
from vitals.rows import RowTable
from vitals.windows import ecg, glucose
from vitals.windows import image as image_windows
from vitals.windows.ecg import EcgWindows
from vitals.windows.glucose import GlucoseWindows

NOW_US = 1_800_000_000_000_000
_TOLD = Observing(max_patients=64, clock_ahead_us=60_000_000, archive_share=0.0)
_KINDS: Sequence[type[Wire]] = (*dict.fromkeys(spec.value for spec in CATALOGUE.values()), Redriven)
_RESTORED = Checkpoint(owner="decide/0", partition=0, offsets={"findings.v1": 3}, state=b"state")


@dataclass(frozen=True)
class Target:
    """``take`` must not raise whatever it is given; ``seeds`` are bytes that mean something to it."""

    name: str
    take: Callable[[bytes], None]
    seeds: tuple[bytes, ...]

    def __str__(self) -> str:
        return self.name


def targets() -> list[Target]:
    """All of them."""
    ecg_seeds = (
        codec.encode(chunk("ann", NOW_US)),
        codec.encode(_two_beds(NOW_US)),
        codec.encode(chunk("ann", NOW_US + 2_000_000)),
        codec.encode(chunk("ann", NOW_US - 3_600_000_000)),
    )
    glucose_seeds = tuple(codec.encode(reading("ann", NOW_US + k * 300_000_000)) for k in range(-3, 1))
    image_seeds = (codec.encode(image("ann", NOW_US)),)
    findings = record(
        batch(Task.ECG_RHYTHM, [("ann", s, CALM_RHYTHM, Verdict.GOOD) for s in range(3)]),
        batch(Task.ECG_BEAT, [("ann", s, NORMAL_BEAT, Verdict.POOR) for s in range(3)]),
    )
    commands = [command("acknowledge", 4), command("limit", 4, condition="heart-rate-high", upper=130.0)]
    dicom = _read("CT_small.dcm", "MR_small_RLE.dcm", "examples_palette.dcm", "JPEG-lossy.dcm", "rtplan.dcm")
    snapshots = [_ecg_rows(2), _ecg_rows(0), _glucose_rows(3)]
    return [
        Target("wire", _wire, tuple(_wire_seeds(_RESTORED, findings, *commands, chunk("ann", NOW_US)))),
        Target("ecg", _through(_observe_ecg, Topic.ECG), ecg_seeds),
        Target("glucose", _through(_observe_glucose, Topic.GLUCOSE), glucose_seeds),
        Target("imaging", _through(_observe_imaging, Topic.IMAGING), image_seeds),
        Target("findings", _through(Decide, Topic.FINDINGS), (codec.encode(findings),)),
        Target("commands", _through(_decide_with_ann, Topic.COMMANDS), tuple(map(codec.encode, commands))),
        Target("headers", _headers, (b"content-type\0application/json", b"\0", b"content-type")),
        Target("dicom", _pixels, (*dicom, dicom_without_pixels())),
        Target("png", _pixels, tuple(_pngs())),
        Target("rows", _rows, tuple(snapshots)),
        Target("patients", _patients, tuple(snapshots)),
        Target("alarms", _alarms, (_alarms_of_one(), Deciding().snapshot())),
        Target("seen-images", _seen_images, (_observe_imaging().snapshot("imaging/0"), b"\x91\xc4\x0812345678")),
        Target("strips", _strips, (*ecg_seeds, codec.encode(_raised()))),
        Target("letters", _letters, tuple(_letter_seeds())),
        Target("cgm-tables", _tables, tuple(_cgm_seeds())),
        Target("image-files", _image_files, (*dicom[:2], next(_pngs()), _npz())),
        Target("wfdb-headers", _wfdb, (_HEADER, b"x 1 250 10\nx.dat 212 200 11 1024 0 0 0 MLII\n")),
    ]


def _two_beds(now_us: int) -> EcgBundle:
    one = chunk("ann", now_us)
    return EcgBundle(
        gateway="ward", sequence=1, patients=["ann", "bob"], devices=["d", "d"], start_us=[now_us, now_us],
        rate_hz=[360.0, 180.0], leads=[["I", "II"], ["I"]], gain_uv=[5.0, 2.0], n_samples=[360, 180],
        samples=one.samples + one.samples[:360],
    )  # fmt: skip


# -- the wire ------------------------------------------------------------------------------------------------------


def _wire(data: bytes) -> None:
    which, content_type = data[0] if data else 0, codec.JSON if data[1:2] == b"j" else codec.MSGPACK
    kind = _KINDS[which % len(_KINDS)]
    with suppress(Unusable):
        event = codec.decode(kind, data[2:], content_type)
        assert codec.encode(codec.decode(kind, codec.encode(event))) == codec.encode(event)


def _wire_seeds(*events: Wire) -> Iterable[bytes]:
    for event in events:
        which = bytes([_KINDS.index(type(event))])
        yield which + b"m" + codec.encode(event)
        yield which + b"j" + codec.encode(event, codec.JSON)


def _headers(data: bytes) -> None:
    name, _, content = data.partition(b"\0")

    class Message:
        topic, partition, offset, timestamp, key, value = "ecg.v1", 0, 1, 1.0, None, None
        headers = ((name.decode("latin-1"), content or None), ("content-type", content))

    half = _observe_ecg()
    products = half.process([record_of(Message(), 0)], Owners(0))
    assert products.refused.total() == 1
    _sound(products)


# -- the corridor --------------------------------------------------------------------------------------------------


@cache
def _slot(task: Task, spec: str) -> ModelSlot:
    return ModelSlot(task, spec, lambda _: None)


def _observe_ecg() -> Half:
    slots = {Task.ECG_BEAT: _slot(Task.ECG_BEAT, ecg.BEAT_SPEC), Task.ECG_AF: _slot(Task.ECG_AF, ecg.RECENT_SPEC)}
    return ObserveEcg(slots, _TOLD)


def _observe_glucose() -> Half:
    return ObserveGlucose(_slot(Task.GLUCOSE, glucose.SPEC), _TOLD)


def _observe_imaging() -> Half:
    slots = {task: _slot(task, image_windows.SPEC) for task in (Task.PNEUMONIA, Task.BREAST)}
    return ObserveImaging(slots, ImageStore(()), _TOLD)


def _decide_with_ann() -> Half:
    half = Decide()
    found = record(batch(Task.ECG_RHYTHM, [("patient-ann", 1, CALM_RHYTHM | {"since_beat_ms": 5000.0}, Verdict.GOOD)]))
    half.process([Record("findings.v1", 0, 0, NOW_US // 1000, None, codec.encode(found))], Owners(0))
    return half


def _through(make: Callable[[], Half], topic: Topic) -> Callable[[bytes], None]:
    """A half that takes the bytes as MessagePack, as JSON, and once more, and then lets itself be saved."""

    def take(data: bytes) -> None:
        half, owners = make(), Owners(0)
        kinds = (codec.MSGPACK, codec.JSON, codec.MSGPACK)
        records = [Record(topic.value, 0, 1 + i, NOW_US // 1000, b"key", data, kind) for i, kind in enumerate(kinds)]
        products = half.process(records, owners)
        _sound(products)
        for owner in {owner for owner in products.owners if owner is not None}:
            state = half.snapshot(owner)
            half.forget()
            half.restore(Checkpoint(owner=owner, partition=0, offsets={}, state=state))
        half.tick(NOW_US)

    return take


def _sound(products: Products) -> None:
    """What goes out is a message, and what is refused for a person to see is kept."""
    for message in products.messages:
        assert len(message.value or b"") + len(message.key or b"") < MAX_MESSAGE_BYTES
    kept = sum(n for reason, n in products.refused.items() if reason.fate is Fate.DEAD_LETTER)
    letters = [m for m in products.messages if m.topic is Topic.DEAD_LETTER]
    assert len(letters) == kept
    for letter in letters:
        codec.decode(DeadLetter, letter.value or b"")


# -- pictures ------------------------------------------------------------------------------------------------------


def _pixels(data: bytes) -> None:
    with suppress(Unusable):
        image_windows.image_window(decoded(data))


def _read(*names: str) -> list[bytes]:
    found = [get_testdata_file(name, download=False) for name in names]
    return [Path(str(path)).read_bytes() for path in found if path]


def _pngs() -> Iterable[bytes]:
    for mode in ("L", "RGB", "I;16", "P", "1"):
        content = io.BytesIO()
        Image.new(mode, (28, 28)).save(content, "PNG")
        yield content.getvalue()


# -- state ---------------------------------------------------------------------------------------------------------


def _ecg_rows(n: int) -> bytes:
    windows = EcgWindows()
    return windows.snapshot(windows.add(n))


def _glucose_rows(n: int) -> bytes:
    windows = GlucoseWindows()
    return windows.snapshot(windows.add(n))


def _rows(data: bytes) -> None:
    table = RowTable("fuzz", np.zeros((), np.dtype([("a", np.int64), ("b", np.float32, (3,))])))
    rows = table.add(2)
    for one in (data, table.snapshot(rows)[:-1] + data[:1]):
        with suppress(ValueError):
            table.restore(rows, one)


def _patients(data: bytes) -> None:
    for state in (EcgWindows(), GlucoseWindows()):
        patients = PatientRows(state, max_patients=8, partitions=PARTITIONS)
        for saved in (data, b"\x92\x92\xa1a\xa1b\xc5" + len(data[:9000]).to_bytes(2, "big") + data[:9000]):
            with suppress(ValueError):
                patients.restore("ecg/0/g", saved)
            assert patients.count <= 2


def _alarms_of_one() -> bytes:
    stay = Stay()
    stay.rhythm(1, since_beat_ms=5000.0)
    return stay.deciding.snapshot()


def _alarms(data: bytes) -> None:
    deciding = Deciding()
    for state in (data, bedsnapshot.sealed(data)):
        with suppress(ValueError):
            deciding.restore(state)
            deciding.tick(NOW_US)


def _seen_images(data: bytes) -> None:
    with suppress(ValueError):
        _observe_imaging().restore(Checkpoint(owner="imaging/0", partition=0, offsets={}, state=data))


def _letters(data: bytes) -> None:
    entry = redrive.entry_of(data)
    assert entry is None or isinstance(entry, (DeadLetter, Redriven))


def _letter_seeds() -> Iterable[bytes]:
    yield codec.encode(Redriven(letters=[("ecg.v1", 1, 2, -1)], when_us=NOW_US))
    half = _observe_ecg()
    broken = half.process([Record("ecg.v1", 0, 1, 1, b"k", b"\xc1")], Owners(0))
    yield from (message.value or b"" for message in broken.messages)


# -- strips --------------------------------------------------------------------------------------------------------


def _raised() -> AlertTransition:
    return steps(AlertEvent.RAISED, patient="ann", onset_us=NOW_US)[0]


def _strips(data: bytes) -> None:
    freezer = Freezer(0, 60_000_000)
    freezer.take_alert(_raised(), NOW_US)
    for kind in (codec.MSGPACK, codec.JSON):
        with suppress(ValueError):
            freezer.take_ecg(data, kind, 0, 1, NOW_US)
        with suppress(Unusable):
            freezer.take_alert(codec.decode(AlertTransition, data, kind), NOW_US)
    for strip in freezer.cut(NOW_US + 3_600_000_000):
        assert len(codec.encode(strip)) < MAX_MESSAGE_BYTES
    assert freezer.waiting == 0


# -- files that a gateway plays ------------------------------------------------------------------------------------

_HEADER = b"x 2 360 10\nx.dat 212 200 11 1024 0 0 0 MLII\nx.dat 212 200 11 1024 0 0 0 V1\n"


def _tables(data: bytes) -> None:
    for suffix in (".csv", ".csv.xz", ".zip"):
        with _file(data, suffix) as path, suppress(Fault):
            for person in cgm.people(path):
                assert len(person.time_us) == len(person.glucose_mg_dl)


def _cgm_seeds() -> Iterable[bytes]:
    table = b"id,time,gl\n1,2020-01-01 00:00:00,120\n1,2020-01-01 00:05:00,Low\n"
    yield table
    yield lzma.compress(table)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/people.csv", table)
    yield content.getvalue()


def _image_files(data: bytes) -> None:
    for name in ("pneumoniamnist.npz", "a.png", "a.dcm"):
        with _file(data, name) as path, suppress(Fault):
            for picture in images.pictures(path):
                assert picture.pixels is not None


def _npz() -> bytes:
    content = io.BytesIO()
    np.savez(content, test_images=np.zeros((1, 28, 28), np.uint8))
    return content.getvalue()


def _wfdb(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), suppress(Fault):
        warnings.simplefilter("ignore")
        Path(folder, "x.hea").write_bytes(data)
        Path(folder, "x.dat").write_bytes(bytes(range(30)))
        wfdb.read(Path(folder, "x.hea"))


class _file:  # noqa: N801  reads as the verb it is
    def __init__(self, data: bytes, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name, name if not name.startswith(".") else f"table{name}")
        self._path.write_bytes(data)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

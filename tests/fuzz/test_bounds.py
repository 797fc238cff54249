"""What a few bytes claim to be is refused before memory is made for it."""

from __future__ import annotations

import hashlib
import io
import socket
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from stream import bedsnapshot, imagestore, ingest
from stream.alerting import Deciding
from stream.bedsnapshot import Saved
from stream.imagestore import ImageStore, decoded
from stream.patients import PatientRows
from tests.support.bad_input import chunk, image
from vitals import codec
from vitals.errors import Reason, Unusable
from vitals.events import Command, EcgBundle, GlucoseReading, ImagingEvent, Record, Wire
from vitals.findings import Findings
from vitals.unit import FACTORY
from vitals.windows.ecg import EcgWindows

NOW_US = 1_800_000_000_000_000
MB = 1_000_000


@contextmanager
def little_memory(most_mb: float = 40) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most_mb * MB, f"{peak / MB:.0f} MB"


def refused(content: bytes) -> Reason:
    with pytest.raises(Unusable) as caught:
        decoded(content)
    return caught.value.reason


def dicom(**changes: object) -> bytes:
    file = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    for keyword, value in changes.items():
        setattr(file, keyword, value)
    content = io.BytesIO()
    file.save_as(content)
    return content.getvalue()


@pytest.mark.parametrize(
    "claims",
    [
        {"Rows": 60_000, "Columns": 60_000},
        {"Rows": 5_000, "Columns": 5_000, "SamplesPerPixel": 3},
        {"Rows": 60_000, "Columns": 60_000, "NumberOfFrames": 1_000_000},
    ],
)
def test_a_dicom_of_billions_of_pixels_is_oversized(claims: dict[str, object]) -> None:
    content = dicom(**claims)
    with little_memory():
        assert refused(content) is Reason.OVERSIZED


def test_of_a_dicom_of_many_frames_one_is_decoded() -> None:
    frames = np.random.default_rng(0).integers(0, 4096, (300, 128, 128)).astype("<u2")
    content = dicom(NumberOfFrames=300, PixelData=frames.tobytes())
    with little_memory(2.5 * len(content) / MB):
        assert decoded(content).shape == (128, 128)


def test_a_deflated_dicom_is_not_unpacked() -> None:
    plain = dicom()
    start = plain.index(b"1.2.840.10008.1.2.1\0")
    meta = plain[:start] + b"1.2.840.10008.1.2.1.99"
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = meta + packer.compress(bytes(300 * MB)) + packer.flush()
    with little_memory():
        assert refused(bomb) is Reason.PIXELS_UNREADABLE


def test_a_dicom_nested_without_end_is_unreadable() -> None:
    plain = dicom()
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with little_memory(300):
        assert refused(plain[: plain.index(b"\x08\x00\x05\x00CS")] + item * 100_000) is Reason.PIXELS_UNREADABLE


@pytest.mark.parametrize("side", [6_000, 30_000, 2**31 - 1])
def test_a_png_that_says_it_is_vast_is_oversized_or_unreadable(side: int) -> None:
    content = io.BytesIO()
    Image.new("L", (28, 28)).save(content, "PNG")
    png = content.getvalue()
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    vast = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    with little_memory():
        assert refused(vast) in {Reason.OVERSIZED, Reason.PIXELS_UNREADABLE}


@pytest.mark.parametrize("kind", [EcgBundle, GlucoseReading, ImagingEvent, Command, Findings])
@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        (b"\x91" * 4 * MB, codec.MSGPACK),
        (b"\x81\xa1x" * MB, codec.MSGPACK),
        (b"[" * 4 * MB, codec.JSON),
        (b'{"x":' * 700_000, codec.JSON),
        (b"\x81\xa8patients\xdd\xff\xff\xff\xff", codec.MSGPACK),
        (b"\x81\xa8patients\xdb\xff\xff\xff\xff", codec.MSGPACK),
        (b"\x81\xa7samples\xc6\xff\xff\xff\xff", codec.MSGPACK),
        (b"\xdf\xff\xff\xff\xff", codec.MSGPACK),
    ],
    ids=["arrays", "maps", "JSON arrays", "JSON maps", "array of 2^32", "text of 2^32", "bytes of 2^32", "map of 2^32"],
)
def test_what_nests_or_claims_without_end_is_refused(kind: type[Wire], value: bytes, content_type: str) -> None:
    with little_memory(), pytest.raises(Unusable) as caught:
        codec.decode(kind, value, content_type)
    assert caught.value.reason in {Reason.MALFORMED, Reason.OVERSIZED}


@pytest.mark.parametrize("field", ["patients", "devices", "start_us", "rate_hz", "leads", "gain_uv", "n_samples"])
def test_a_bundle_of_millions_of_nothings_is_oversized_before_it_is_made(field: str) -> None:
    """A four-megabyte message of empty lists would be three hundred of objects."""
    nothing = {"patients": b"\xa0", "devices": b"\xa0", "leads": b"\x90"}.get(field, b"\x01")
    n = 4 * MB
    value = codec.encode(msgspec.structs.replace(chunk("ann", NOW_US), samples=b""))
    name = bytes([0xA0 + len(field)]) + field.encode()
    value = b"\x83\xa1v\x01\xa4type\xa3ecg" + name + b"\xdd" + struct.pack(">I", n) + nothing * n
    with little_memory():
        _, (refusal,) = ingest.ecg_chunks(Record("ecg.v1", 0, 0, 1, None, value), 0)
    assert refusal.reason is Reason.OVERSIZED


@pytest.mark.parametrize("n_samples", [2**31 - 1, 2**31, 2**62, 10**30])
def test_a_chunk_of_billions_of_samples_is_inconsistent(n_samples: int) -> None:
    value = msgspec.json.encode(msgspec.structs.replace(chunk("ann", NOW_US), n_samples=[n_samples]))
    with little_memory():
        _, (refusal,) = ingest.ecg_chunks(Record("ecg.v1", 0, 0, 1, None, value, codec.JSON), 0)
    assert refusal.reason is Reason.INCONSISTENT


@pytest.mark.parametrize("name", ["", "x" * 201, "\N{MAN}" * 201])
def test_a_patient_without_a_name_or_with_an_endless_one_harms_no_neighbour(name: str) -> None:
    one = chunk("ann", NOW_US)
    two = msgspec.structs.replace(
        one, patients=["ann", name], devices=["d"] * 2, start_us=[NOW_US] * 2, rate_hz=[360.0] * 2,
        leads=[["I", "II"]] * 2, gain_uv=[5.0] * 2, n_samples=[360] * 2, samples=one.samples * 2,
    )  # fmt: skip
    chunks, refusals = ingest.ecg_chunks(Record("ecg.v1", 0, 0, NOW_US // 1000, None, codec.encode(two)), 0)
    assert chunks is not None
    assert chunks.patients == ["ann"]
    assert [refusal.reason for refusal in refusals] == [Reason.IMPOSSIBLE_NAME]


@pytest.mark.parametrize("event", [chunk("ann", NOW_US), image("ann", NOW_US)], ids=["gateway", "instance"])
def test_a_name_that_would_become_a_key_is_bounded(event: EcgBundle | ImagingEvent) -> None:
    field = "gateway" if isinstance(event, EcgBundle) else "instance"
    value = codec.encode(msgspec.structs.replace(event, **{field: "x" * MB}))
    with pytest.raises(Unusable) as caught:
        codec.decode(type(event), value)
    assert caught.value.reason is Reason.OVERSIZED
    assert "xx" not in caught.value.detail


def test_a_snapshot_of_alarms_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(500 * MB), 9)
    with little_memory():
        for patients in ([f"p{i}" for i in range(2)], [f"{i}" for i in range(200_000)]):
            state = bedsnapshot.written(Saved(patients, [], 0, list(FACTORY.defaults), (0, ""), bomb))
            with pytest.raises(ValueError, match=r"of another size than it says|of more alarms than a partition has"):
                Deciding().restore(state)


def test_a_snapshot_of_more_patients_than_rows_makes_no_row() -> None:
    windows = EcgWindows()
    state = windows.snapshot(windows.add(2))
    rows = PatientRows(EcgWindows(), max_patients=10, partitions=8)
    with little_memory():
        for patients in ([str(i) for i in range(200_000)], ["a"], ["a", "a"]):
            with pytest.raises(ValueError, match="snapshot"):
                rows.restore("ecg/0/g", msgspec.msgpack.encode((patients, state)))
    assert rows.count == 0


def test_an_owner_restored_twice_has_its_rows_once() -> None:
    rows = PatientRows(EcgWindows(), max_patients=10, partitions=8)
    rows.rows_of("ecg/0/g", ["a", "b"])
    saved = rows.snapshot("ecg/0/g")
    rows.restore("ecg/0/g", saved)
    assert rows.count == 2


def test_a_worker_above_its_capacity_takes_nobody_new() -> None:
    many = PatientRows(EcgWindows(), max_patients=10, partitions=8)
    many.rows_of("ecg/0/g", ["a", "b", "c"])
    few = PatientRows(EcgWindows(), max_patients=1, partitions=8)
    few.restore("ecg/0/g", many.snapshot("ecg/0/g"))
    assert few.rows_of("ecg/0/h", ["d", "e", "f", "g"]).tolist() == [-1] * 4


def _elsewhere(patient: str, address: str, content: bytes) -> ImagingEvent:
    sha256 = hashlib.sha256(content).hexdigest()
    return msgspec.structs.replace(
        image(patient, NOW_US), pixels=None, rows=None, columns=None, uri=address, sha256=sha256
    )


def _reason(seen: object) -> Reason | None:
    return seen.reason if isinstance(seen, Unusable) else None


def test_an_archive_that_trickles_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(dicom())
    event = _elsewhere("ann", file.as_uri(), file.read_bytes())
    store = ImageStore((tmp_path.as_uri(),))
    assert [_reason(seen) for seen in store.pixels([event])] == [None]
    monkeypatch.setattr(imagestore, "_FETCH_S", -1.0)
    assert [_reason(seen) for seen in store.pixels([event])] == [Reason.UNREACHABLE]


def test_an_archive_that_never_answers_costs_a_batch_one_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagestore, "_BATCH_S", 0.3)
    file = tmp_path / "a.dcm"
    file.write_bytes(dicom())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        store = ImageStore((tmp_path.as_uri(), address))
        hanging = [_elsewhere(f"p{n}", f"{address}{n}", b"") for n in range(6)]
        here = _elsewhere("ann", file.as_uri(), file.read_bytes())
        began_s = time.monotonic()
        seen = list(store.pixels([*hanging, here]))
        assert time.monotonic() - began_s < 6 * 0.3
    assert [_reason(one) for one in seen] == [Reason.UNREACHABLE] * 6 + [None]

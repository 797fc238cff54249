"""What a browser is told: only what changed, only of its page; traces in a form that typed arrays can be laid on."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest

from stream.web import tiles
from stream.web.traces import Chunk, Traces
from stream.web.viewer import Viewer, pack_traces, parse_view
from stream.web.ward import Ward
from tests.support.stay import CALM_RHYTHM, Stay, at, batch, record
from vitals.clock import ManualClock
from vitals.events import GateVerdict
from vitals.findings import Task, Verdict


def ward_of(count: int, clock: ManualClock | None = None) -> Ward:
    ward = Ward(clock or ManualClock(at(1)), 1000)
    rows = [(f"bed-{i}", 1.0, CALM_RHYTHM, Verdict.GOOD) for i in range(count)]
    ward.take_findings(record(batch(Task.ECG_RHYTHM, rows)), at(1))
    return ward


def beds_in(frames: list[bytes]) -> list[dict[str, object]]:
    found = [msgspec.json.decode(frame) for frame in frames]
    return [bed for frame in found if frame["type"] == "beds" for bed in frame["beds"]]


def test_the_first_frames_hold_the_page_and_the_next_only_what_changed() -> None:
    clock = ManualClock(at(1))
    ward = ward_of(40, clock)
    viewer = Viewer(ward, Traces())
    frames, _ = viewer.next_frames()
    first = msgspec.json.decode(frames[0])
    assert (first["type"], first["total"], first["pages"], len(first["order"])) == ("ward", 40, 3, 16)
    assert [bed["bed"] for bed in beds_in(frames)] == [f"bed-{i}" for i in range(16)]
    assert viewer.next_frames() == ([], None)
    ward.take_findings(record(batch(Task.GLUCOSE, [("bed-3", 2.0, {"glucose_mg_dl": 99.0}, Verdict.GOOD)])), at(2))
    (bed,) = beds_in(viewer.next_frames()[0])
    assert set(bed) == {"key", "bed", "glucose"}


def test_how_the_newest_training_of_a_task_ended_is_told_to_all() -> None:
    ward = ward_of(1)
    viewer = Viewer(ward, Traces())
    viewer.next_frames()
    reasons = ["ranking no worse: auroc 0.4 against 0.9", "sees the disease: auroc 0.4"]
    for when_us, refused in ((at(5), reasons), (at(2), [])):  # an older one comes late
        bundle = "" if refused else "a" * 64
        ward.take_gate(
            GateVerdict(
                task="breast", when_us=when_us, why="60 new labels", bundle=bundle, champion="b" * 64, refused=refused
            )
        )
    (frame,) = [msgspec.json.decode(one) for one in viewer.next_frames()[0]]
    assert frame["gate"] == [
        {"task": "breast", "whenUs": at(5), "why": "60 new labels", "bundle": "", "refused": reasons}
    ]


def test_a_quiet_ward_still_says_the_time_once_a_second() -> None:
    clock = ManualClock(at(1))
    viewer = Viewer(ward_of(1, clock), Traces())
    viewer.next_frames()
    clock.advance(0.5)
    assert viewer.next_frames()[0] == []
    clock.advance(0.6)
    (frame,) = viewer.next_frames()[0]
    assert msgspec.json.decode(frame) == {"type": "beds", "nowUs": clock.now_us(), "beds": []}


def test_a_bed_that_comes_back_on_the_page_is_told_whole() -> None:
    viewer = Viewer(ward_of(2), Traces())
    viewer.next_frames()
    viewer.view = tiles.View(find="bed-1")
    viewer.next_frames()
    viewer.view = tiles.View()
    (bed,) = beds_in(viewer.next_frames()[0])
    assert bed["bed"] == "bed-0"
    assert "ecg" in bed


def test_the_urgent_come_first_and_the_calm_keep_their_places() -> None:
    ward = ward_of(12)
    stay = Stay(patient="bed-7")
    stay.glucose(0, 50)
    for step in stay.steps:
        ward.take_alert(step, at(1))
    frame, names = ward.frame(tiles.View(order="urgency"))
    assert names == ["bed-7", *(f"bed-{i}" for i in range(12) if i != 7)]
    assert (frame.counts.high, frame.alarm_total) == (1, 1)
    assert frame.alarms[0].key == frame.order[0]


def test_a_page_beyond_the_last_is_the_last() -> None:
    frame, names = ward_of(20).frame(tiles.View(page=99, size=16))
    assert (frame.page, frame.pages, len(names)) == (1, 2, 4)


def test_a_discharged_patient_leaves_the_board() -> None:
    ward = ward_of(3)
    stay = Stay(patient="bed-1")
    stay.glucose(0, 50)
    stay.do("discharge", 60)
    for step in stay.steps:
        ward.take_alert(step, at(1))
    frame, names = ward.frame(tiles.View())
    assert names == ["bed-0", "bed-2"]
    assert frame.alarm_total == 0


def test_beds_silent_for_half_a_day_go_but_never_one_with_an_open_alarm() -> None:
    clock = ManualClock(at(1))
    ward = ward_of(3, clock)
    stay = Stay(patient="bed-1")
    stay.glucose(0, 50)
    for step in stay.steps:
        ward.take_alert(step, at(1))
    clock.advance(13 * 3600)
    ward.forget_the_silent()
    assert ward.frame(tiles.View())[1] == ["bed-1"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}x",
        '{"size":0}',
        '{"size":65}',
        '{"page":-1}',
        '{"order":"name"}',
        '{"find":"' + "x" * 101 + '"}',
        '{"a":1}',
    ],
)
def test_a_view_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_view(text)


def test_packed_traces_unpack_to_the_same_samples() -> None:
    chunks = [
        (7, Chunk(1, 1_700_000_000_123_000, 360.0, 5.0, "MLII", np.arange(-5, 356, dtype=np.int16))),
        (9, Chunk(2, 1_700_000_000_456_000, 250.0, 2.5, "a lead with a long name", np.array([1, -32768], np.int16))),
    ]
    packed = pack_traces(chunks)
    assert struct.unpack_from("<HH", packed) == (0x5457, 2)
    at_byte = 8
    for key, chunk in chunks:
        assert at_byte % 8 == 0
        found = struct.unpack_from("<IIdffI8s", packed, at_byte)
        n = len(chunk.samples)
        lead = chunk.lead.encode()[:8].ljust(8, b"\0")
        assert found == (key, chunk.number, chunk.start_us / 1000, chunk.rate_hz, chunk.gain_uv, n, lead)
        assert np.array_equal(np.frombuffer(packed, "<i2", n, at_byte + 40), chunk.samples)
        at_byte += 40 + (2 * n + 7) // 8 * 8
    assert at_byte == len(packed)

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stream import ingest
from vitals import codec
from vitals.errors import Reason, Unusable
from vitals.events import DISTRUSTED_FLAGS, EcgBundle, GlucoseReading, ImagingEvent, Record

NOW_MS = 1_700_000_000_000
NOW_US = NOW_MS * 1000
AHEAD_US = 60_000_000


def record(value: bytes, topic: str = "ecg.v1", content_type: str = codec.MSGPACK) -> Record:
    return Record(topic, 0, 5, NOW_MS, b"key", value, content_type)


def bundle(n: int = 3, **changes: object) -> EcgBundle:
    good = EcgBundle(
        gateway="g",
        sequence=1,
        patients=[f"p{i}" for i in range(n)],
        devices=["d"] * n,
        start_us=[NOW_US] * n,
        rate_hz=[360.0] * n,
        leads=[["MLII", "V5"]] * n,
        gain_uv=[5.0] * n,
        n_samples=[4] * n,
        samples=np.arange(8 * n, dtype="<i2").tobytes(),
    )
    return msgspec.structs.replace(good, **changes)


def test_a_good_bundle_comes_out_whole() -> None:
    chunks, refusals = ingest.ecg_chunks(record(codec.encode(bundle())), AHEAD_US)
    assert refusals == []
    assert chunks is not None
    assert chunks.patients == ["p0", "p1", "p2"]
    assert chunks.samples.tolist() == list(range(24))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rate_hz": [360.0, 1e9, 360.0]}, Reason.IMPOSSIBLE_RATE),
        ({"rate_hz": [360.0, float("nan"), 360.0]}, Reason.IMPOSSIBLE_RATE),
        ({"gain_uv": [5.0, 0.0, 5.0]}, Reason.IMPOSSIBLE_GAIN),
        ({"gain_uv": [5.0, float("inf"), 5.0]}, Reason.IMPOSSIBLE_GAIN),
        ({"start_us": [NOW_US, -5, NOW_US]}, Reason.IMPOSSIBLE_TIME),
        ({"start_us": [NOW_US, NOW_US + AHEAD_US + 1, NOW_US]}, Reason.CLOCK_AHEAD),
    ],
)
def test_one_patients_nonsense_leaves_its_neighbours_alone(change: dict[str, object], reason: Reason) -> None:
    chunks, refusals = ingest.ecg_chunks(record(codec.encode(bundle(**change))), AHEAD_US)
    assert chunks is not None
    assert chunks.patients == ["p0", "p2"]
    assert chunks.samples.tolist() == [*range(8), *range(16, 24)]
    assert [r.reason for r in refusals] == [reason]
    letter = refusals[0].letter
    assert letter is not None
    assert letter.row == 1
    kept = codec.decode(EcgBundle, letter.value)
    assert kept.patients == ["p1"]
    assert np.frombuffer(kept.samples, "<i2").tolist() == list(range(8, 16))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"devices": ["d"]}, Reason.INCONSISTENT),
        ({"samples": b"\0"}, Reason.INCONSISTENT),
        ({"n_samples": [4, 4, -4]}, Reason.INCONSISTENT),
        ({"leads": [[], [], []]}, Reason.INCONSISTENT),
        ({"start_us": [2**63 - 1] * 3}, Reason.IMPOSSIBLE_TIME),
        ({"v": 2}, Reason.SCHEMA_VERSION),
    ],
)
def test_a_bundle_that_does_not_fit_itself_is_kept_whole(change: dict[str, object], reason: Reason) -> None:
    whole = record(codec.encode(bundle(**change)))
    chunks, refusals = ingest.ecg_chunks(whole, AHEAD_US)
    assert chunks is None
    assert [r.reason for r in refusals] == [reason]
    assert refusals[0].letter is not None
    assert refusals[0].letter.value == whole.value


@pytest.mark.parametrize("value", [b"", b"\xc1", b"{", codec.encode(bundle())[:-9], b"\x00" * 100])
def test_broken_bytes_are_malformed(value: bytes) -> None:
    assert [r.reason for r in ingest.ecg_chunks(record(value), AHEAD_US)[1]] == [Reason.MALFORMED]


def test_oversized_bytes_are_not_even_decoded() -> None:
    huge = record(b"\0" * (codec.MAX_VALUE_BYTES + 1))
    assert [r.reason for r in ingest.ecg_chunks(huge, AHEAD_US)[1]] == [Reason.OVERSIZED]


def reading(glucose: float, **changes: object) -> Record:
    event = GlucoseReading(patient="p", device="d", time_us=NOW_US, glucose=glucose)
    return record(codec.encode(msgspec.structs.replace(event, **changes)), "glucose.v1")


def test_millimoles_become_milligrams() -> None:
    taken, refusals = ingest.readings([reading(10.0, unit="mmol/L")], AHEAD_US)
    assert refusals == []
    assert taken.glucose_mg_dl.tolist() == pytest.approx([180.156])


@pytest.mark.parametrize(
    ("glucose", "reason"),
    [
        (float("nan"), Reason.NOT_FINITE),
        (float("inf"), Reason.NOT_FINITE),
        (5.0, Reason.SENSOR_CODE),
        (1.8, Reason.IMPLAUSIBLE),
        (5000.0, Reason.IMPLAUSIBLE),
    ],
)
def test_what_is_no_reading_is_counted_and_the_next_one_is_taken(glucose: float, reason: Reason) -> None:
    taken, refusals = ingest.readings([reading(glucose), reading(100.0)], AHEAD_US)
    assert [r.reason for r in refusals] == [reason]
    assert taken.record == [1]


@pytest.mark.parametrize("flag", sorted(DISTRUSTED_FLAGS))
def test_a_reading_that_its_own_sensor_distrusts_is_none(flag: str) -> None:
    taken, refusals = ingest.readings([reading(100.0, flags=["battery-low", flag]), reading(100.0)], AHEAD_US)
    assert [(r.reason, r.letter) for r in refusals] == [(Reason.SENSOR_STATUS, None)]
    assert taken.record == [1]


def test_other_words_of_a_sensor_do_not_matter() -> None:
    taken, refusals = ingest.readings([reading(100.0, flags=["battery-low", "calibration-recommended"])], AHEAD_US)
    assert refusals == []
    assert taken.record == [0]


def test_a_unit_that_is_not_ours_is_kept_for_a_person() -> None:
    taken, refusals = ingest.readings([reading(1.0, unit="g/L")], AHEAD_US)
    assert taken.patients == []
    assert refusals[0].reason is Reason.WRONG_UNIT
    assert refusals[0].letter is not None


def test_an_image_from_tomorrow_is_refused() -> None:
    event = ImagingEvent(
        patient="p", time_us=NOW_US + 2 * AHEAD_US, study="", series="", instance="", modality="US", body_part="BREAST"
    )
    with pytest.raises(Unusable) as caught:
        ingest.image_event(record(codec.encode(event), "imaging.v1"), AHEAD_US)
    assert caught.value.reason is Reason.CLOCK_AHEAD

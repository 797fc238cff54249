"""A record on the wire: every sample, both leads, its own rate, whatever is cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import wfdb as files

from stream.gateways.schedule import Due, Pace, in_order
from stream.gateways.wfdb import NOT_MEASURED, Bed, Recording, bundles, quantised, read, read_before
from vitals import codec
from vitals.errors import Fault
from vitals.events import EcgBundle

START_US = 1_800_000_000_000_000


def _recording(rate_hz: float = 360.0, seconds: float = 3.5, leads: int = 2, seed: int = 1) -> Recording:
    n = round(rate_hz * seconds)
    samples = np.random.default_rng(seed).integers(-900, 900, (leads, n)).astype(np.int16)
    return Recording("set/rec", rate_hz, tuple(f"L{i}" for i in range(leads)), 5.0, samples)


def _decoded(messages: Iterable[Due]) -> list[EcgBundle]:
    return [codec.decode(EcgBundle, due.value) for due in messages]


def _rows(bundle: EcgBundle) -> list[np.ndarray]:
    """int16[leads, n] of each patient, by the rule on the wire."""
    samples = np.frombuffer(bundle.samples, "<i2")
    sizes = [n * len(leads) for n, leads in zip(bundle.n_samples, bundle.leads, strict=True)]
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    return [block.reshape(len(leads), -1) for block, leads in zip(blocks, bundle.leads, strict=True)]


def test_every_sample_of_every_lead_arrives_once_and_in_order() -> None:
    slow, fast = _recording(250.0, 3.5, leads=1), _recording(360.0, 3.5)
    sent = _decoded(bundles("g", [Bed("a", slow), Bed("b", fast)], Pace(START_US)))
    for patient, recording in (("a", slow), ("b", fast)):
        got = np.concatenate([_rows(bundle)[bundle.patients.index(patient)] for bundle in sent], axis=1)
        np.testing.assert_array_equal(got, recording.samples)
    assert [b.sequence for b in sent] == [0, 1, 2, 3]


def test_chunks_of_a_fractional_rate_follow_each_other_without_gap_or_overlap() -> None:
    recording = _recording(rate_hz=249.7, seconds=10)
    sent = _decoded(bundles("g", [Bed("a", recording)], Pace(START_US)))
    first = np.cumsum([0, *(b.n_samples[0] for b in sent)])[:-1]
    assert [b.start_us[0] - START_US for b in sent] == [round(int(i) * 1e6 / 249.7) for i in first]


def test_a_bed_whose_recording_ends_falls_silent_and_the_others_go_on() -> None:
    short, long = _recording(seconds=1), _recording(seconds=3)
    sent = _decoded(bundles("g", [Bed("a", short), Bed("b", long)], Pace(START_US)))
    assert [b.patients for b in sent] == [["a", "b"], ["b"], ["b"]]


def test_a_repeated_recording_begins_again_while_its_time_goes_on() -> None:
    recording = _recording(rate_hz=100, seconds=1.5)
    sent = _decoded(islice(bundles("g", [Bed("a", recording, from_s=0.5)], Pace(START_US), repeat=True), 4))
    got = np.concatenate([_rows(b)[0] for b in sent], axis=1)
    np.testing.assert_array_equal(got, np.roll(np.tile(recording.samples, 3), -50, axis=1)[:, :400])
    assert [b.start_us[0] for b in sent] == [START_US + i * 1_000_000 for i in range(4)]


def test_one_bed_is_keyed_by_its_patient_and_several_by_their_gateway() -> None:
    recording = _recording()
    assert next(bundles("g", [Bed("a", recording)], Pace(START_US))).key == b"a"
    several = next(bundles("g", [Bed("a", recording), Bed("b", recording)], Pace(START_US)))
    assert (several.key, several.events) == (b"g", 2)


def test_a_chunk_is_sent_when_its_last_sample_has_been_taken() -> None:
    def due(pace: Pace) -> list[float]:
        return [d.at_s for d in bundles("g", [Bed("a", _recording(seconds=4))], pace)]

    assert due(Pace(START_US)) == [1, 2, 3, 4]
    assert due(Pace(START_US, speed=10)) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert due(Pace(START_US, speed=10, ahead_s=2)) == pytest.approx([0.1, 0.2, 1.0, 2.0])
    assert due(Pace(START_US, speed=float("inf"))) == [0, 0, 0, 0]


def test_the_same_beds_give_the_same_bytes() -> None:
    def sent() -> list[bytes]:
        return [d.value for d in bundles("g", [Bed("a", _recording()), Bed("b", _recording(250.0))], Pace(START_US))]

    assert sent() == sent()


def test_schedules_are_merged_by_time_and_keep_their_order_within_a_tie() -> None:
    beds = [Bed("a", _recording(seconds=2)), Bed("b", _recording(seconds=2))]
    merged = in_order([bundles(bed.patient, [bed], Pace(START_US)) for bed in beds])
    assert [(d.at_s, d.key) for d in merged] == [(1, b"a"), (1, b"b"), (2, b"a"), (2, b"b")]


def _write(folder: Path, **kwargs: object) -> Path:
    files.wrsamp("rec", fmt=["16"] * len(kwargs["sig_name"]), write_dir=str(folder), **kwargs)
    return folder / "rec"


def test_a_record_is_read_to_its_last_bit_and_only_its_ecg(tmp_path: Path) -> None:
    digital = np.random.default_rng(3).integers(-2000, 2000, (1000, 3))
    path = _write(
        tmp_path, fs=360, units=["mV", "mV", "NU"], sig_name=["MLII", "V1", "PLETH"], d_signal=digital,
        adc_gain=[200.0, 200.0, 100.0], baseline=[1024, -12, 0],
    )  # fmt: skip
    recording = read(path.with_suffix(".hea"))
    sent = _decoded(bundles("g", [Bed("a", recording)], Pace(START_US)))
    assert {(tuple(b.leads[0]), b.gain_uv[0], b.rate_hz[0]) for b in sent} == {(("MLII", "V1"), 5.0, 360.0)}
    assert recording.leads == ("MLII", "V1")
    assert recording.gain_uv == 5.0
    np.testing.assert_array_equal(recording.samples, (digital[:, :2] - [1024, -12]).T)


def test_leads_of_different_gain_and_unit_come_out_in_the_finer_one(tmp_path: Path) -> None:
    digital = np.random.default_rng(3).integers(-2000, 2000, (500, 2))
    path = _write(
        tmp_path, fs=250, units=["mV", "uV"], sig_name=["I", "II"], d_signal=digital, adc_gain=[200.0, 0.1],
        baseline=[0, 0],
    )  # fmt: skip
    recording = read(path)
    assert recording.gain_uv == 5.0
    np.testing.assert_array_equal(recording.samples, np.stack([digital[:, 0], digital[:, 1] * 2]))


def test_what_was_not_measured_is_marked_and_a_signal_too_large_is_made_coarser_not_cut() -> None:
    signal_uv = np.array([[0.0, np.nan, 65534.0, -100.0]])
    samples, gain_uv = quantised(signal_uv, 0.5)
    assert samples[0, 1] == NOT_MEASURED
    assert gain_uv == 2.0
    np.testing.assert_array_equal(samples[0, [0, 2, 3]] * gain_uv, [0.0, 65534.0, -100.0])


@pytest.mark.parametrize("content", [b"", b"rec 2 360\n", b"\xff\xfe\x00junk"])
def test_a_broken_header_is_a_fault_with_the_name_of_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rec.hea").write_bytes(content)
    with pytest.raises(Fault, match="rec"):
        read(tmp_path / "rec")


@pytest.mark.data
@pytest.mark.parametrize(
    ("record", "leads", "rate_hz"),
    [("mitdb/208", 2, 360.0), ("cudb/cu01", 1, 250.0), ("cinc2015/prealarm60s/v848s", 2, 250.0)],
)
def test_real_records_lose_nothing(data_folder: Path, record: str, leads: int, rate_hz: float) -> None:
    path = data_folder / record
    if not path.with_suffix(".hea").exists():
        pytest.skip(f"not run: no {record} here")
    recording = read(path)
    assert (recording.samples.shape[0], recording.rate_hz) == (leads, rate_hz)
    physical_mv = files.rdrecord(str(path)).p_signal[:, :leads].T
    got_mv = np.where(recording.samples == NOT_MEASURED, np.nan, recording.samples * recording.gain_uv / 1000)
    np.testing.assert_allclose(got_mv, physical_mv, atol=recording.gain_uv / 2000 + 1e-9)


def test_of_the_time_before_a_moment_ecg_and_pulse_waves_are_read_and_nothing_later(tmp_path: Path) -> None:
    digital = np.random.default_rng(3).integers(-2000, 2000, (1000, 4))
    path = _write(
        tmp_path, fs=250, units=["mV", "NU", "mmHg", "NU"], sig_name=["II", "PLETH", "ABP", "RESP"], d_signal=digital,
        adc_gain=[200.0, 100.0, 10.0, 100.0], baseline=[0, 0, 0, 0],
    )  # fmt: skip
    recording, waves = read_before(path.with_suffix(".hea"), end_s=3.0, span_s=1.0)
    np.testing.assert_array_equal(recording.samples, digital[500:750, :1].T)
    assert [(wave.name, wave.rate_hz) for wave in waves] == [("PLETH", 250.0), ("ABP", 250.0)]
    np.testing.assert_allclose(waves[1].values, digital[500:750, 2] / 10.0)
    shorter, _ = read_before(path, end_s=300.0, span_s=60.0)
    np.testing.assert_array_equal(shorter.samples, digital[:, :1].T)
    with pytest.raises(Fault, match="no sample before 0 s"):
        read_before(path, end_s=0.0, span_s=1.0)

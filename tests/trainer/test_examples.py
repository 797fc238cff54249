"""Recordings and archives as examples: the same windows as serving's, the right truth on each, the right person."""

from __future__ import annotations

import dataclasses
import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trainer.corpus import ecg as ecg_corpus
from trainer.corpus.archive import Archive, ArchivedWindow
from trainer.corpus.ecg import START_US, EcgRecord
from trainer.corpus.glucose import GlucosePerson, people, readings
from trainer.corpus.imaging import GreyImages
from trainer.examples import SPEC, PersonExamples, of_archive, of_ecg, of_glucose, of_images, person_of
from trainer.labels import NO_BEAT
from trainer.pseudonyms import Pseudonyms
from trainer.replays import recognised
from vitals.findings import BEAT_AFTER_R_US, FORECAST_HORIZONS_MIN, Task
from vitals.windows import ecg, glucose

N, S, V, F, Q = range(5)
RATE_HZ = 360.0
MINUTE_US = 60_000_000
KEY = Pseudonyms(b"a key")


def beats_record(
    times_s: Sequence[float],
    symbols: str,
    *,
    person: str = "mitdb/x",
    seconds: float = 60.0,
    told_s: Sequence[float] | None = None,
) -> EcgRecord:
    """An ECG of QRS-like pulses at ``times_s``, annotated at ``told_s`` (the same times unless given)."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    draw = np.random.default_rng(2)
    lead = 0.01 * draw.standard_normal(len(t))
    for at in times_s:
        lead += 1.2 * np.exp(-(((t - at) / 0.012) ** 2)) - 0.25 * np.exp(-(((t - at - 0.03) / 0.015) ** 2))
        lead += 0.25 * np.exp(-(((t - at - 0.25) / 0.05) ** 2))
    samples = np.rint(np.stack([lead, 0.6 * lead]) * 200).astype(np.int16)
    told = times_s if told_s is None else told_s
    beat_us = START_US + np.rint(np.array(told) * 1e6).astype(np.int64)
    return EcgRecord(person, RATE_HZ, samples, 5.0, beat_us, tuple(symbols))


STEADY_S = [0.5 + 0.8 * i for i in range(72)]


def test_beats_carry_the_class_of_the_annotation_they_are() -> None:
    symbols = "".join("V" if i % 7 == 3 else "N" for i in range(len(STEADY_S)))
    made = of_ecg(beats_record(STEADY_S, symbols))
    at_s = (made.end_us - BEAT_AFTER_R_US - START_US) / 1e6
    nearest = np.array([int(np.argmin(np.abs(np.array(STEADY_S) - t))) for t in at_s])
    assert len(made) > 60
    assert made.target.tolist() == [V if i % 7 == 3 else N for i in nearest]
    assert made.inputs["ecg_mv"].shape[1:] == (ecg.LEADS, ecg.BEAT_SAMPLES)
    assert made.inputs["context"].shape[1:] == (len(ecg.CONTEXT),)


def test_every_reference_beat_is_a_window_or_counted_as_lost() -> None:
    made = of_ecg(beats_record(STEADY_S, "N" * len(STEADY_S)))
    assert int((made.target == N).sum() + made.lost[N]) == len(STEADY_S)


def test_a_beat_nobody_annotated_is_no_beat_and_an_annotation_nobody_detected_is_lost() -> None:
    told = [t for i, t in enumerate(STEADY_S) if i not in (20, 21)]
    made = of_ecg(beats_record(STEADY_S, "N" * len(told), told_s=told))
    assert int((made.target == NO_BEAT).sum()) == 2
    phantom = sorted([*STEADY_S, STEADY_S[30] + 0.4])
    symbols = "".join("V" if t == STEADY_S[30] + 0.4 else "N" for t in phantom)
    made = of_ecg(beats_record(STEADY_S, symbols, told_s=phantom))
    assert made.lost.tolist()[V] == 1


def test_windows_do_not_depend_on_how_many_chunks_a_call_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    record = beats_record(STEADY_S, "N" * len(STEADY_S))
    whole = of_ecg(record)
    monkeypatch.setattr("trainer.examples._CHUNKS_PER_CALL", 7)
    parts = of_ecg(record)
    np.testing.assert_array_equal(whole.inputs["ecg_mv"], parts.inputs["ecg_mv"])
    np.testing.assert_array_equal(whole.end_us, parts.end_us)


def wave(person: str = "p", n: int = 120, seed: int = 1) -> GlucosePerson:
    t_min = 5 * np.arange(n)
    draw = np.random.default_rng(seed)
    values = 130 + 50 * np.sin(t_min / 40 + draw.uniform(0, 6)) + draw.normal(0, 1, n)
    return GlucosePerson(person, t_min * MINUTE_US, values.astype(np.float32))


def test_forecast_targets_are_the_later_readings() -> None:
    one = wave()
    made = of_glucose(one)
    at = int(np.flatnonzero(one.time_us == made.end_us[10])[0])
    np.testing.assert_allclose(made.target[10], one.glucose_mg_dl[at + 1 : at + 13], rtol=1e-6)
    np.testing.assert_allclose(
        made.inputs["glucose"][10, -1, 0] * glucose.SCALE_MG_DL, one.glucose_mg_dl[at], rtol=1e-6
    )


def test_the_cap_takes_windows_evenly_over_the_whole_recording() -> None:
    every, few = of_glucose(wave()), of_glucose(wave(), max_windows=10)
    assert len(few) == 10
    assert few.end_us[0] == every.end_us[0]
    assert few.end_us[-1] == every.end_us[-1]


def test_dirty_exports_lose_words_codes_and_the_impossible_and_are_put_in_order() -> None:
    rows = [("2024-01-01 00:10:00", "110"), ("2024-01-01 00:00:00", "100.5"), ("2024-01-01 00:05:00", "Low")]
    rows += [
        ("2024-01-01 00:15:00", "1.8"),
        ("2024-01-01 00:20:00", "12"),
        ("not a time", "120"),
        ("2024-01-01 00:25:00", ""),
    ]
    assert readings("p", rows).glucose_mg_dl.tolist() == [100.5, 110.0]


def test_each_image_is_a_person_of_its_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 28, 28), dtype=np.uint8)
    made = list(of_images(GreyImages(("s/0", "s/1"), pixels, np.array([1, 0]))))
    assert [(one.person, int(one.target[0])) for one in made] == [("s/0", 1), ("s/1", 0)]
    np.testing.assert_array_equal(made[0].inputs["image"][0, 0], pixels[0].astype(np.float32) / 255)


def archived(
    task: Task, patient: str, made: PersonExamples, rows: Sequence[int], shift_us: int = 0
) -> list[ArchivedWindow]:
    return [
        ArchivedWindow(patient, int(made.end_us[i]) + shift_us, SPEC[task], {n: t[i] for n, t in made.inputs.items()})
        for i in rows
    ]


def test_archived_beats_are_examples_where_somebody_labelled_them() -> None:
    made = of_ecg(beats_record(STEADY_S, "N" * len(STEADY_S)))
    windows = archived(Task.ECG_BEAT, "bed-7", made, range(10))
    label = {
        ("bed-7", windows[3].end_us): "V",
        ("bed-7", windows[4].end_us): "perhaps",
        ("bed-8", windows[5].end_us): "N",
    }
    (one,) = of_archive(Archive(windows, label), Task.ECG_BEAT, KEY)
    assert one.target.tolist() == [V]
    assert one.end_us.tolist() == [windows[3].end_us + KEY.shift_us("bed-7")]
    assert one.excluded == {"no label": 8, "label that is no class of the task": 1}
    np.testing.assert_array_equal(one.inputs["ecg_mv"][0], windows[3].inputs["ecg_mv"])


def test_an_archived_forecast_needs_no_label_later_windows_tell() -> None:
    made = of_glucose(wave())
    windows = archived(Task.GLUCOSE, "bed-7", made, range(0, len(made), 3))
    (one,) = of_archive(Archive(windows, {}), Task.GLUCOSE, KEY)
    where = {int(end_us + KEY.shift_us("bed-7")): i for i, end_us in enumerate(made.end_us)}
    assert len(one) > 20
    for end_us, target in zip(one.end_us.tolist(), one.target, strict=True):
        known = ~np.isnan(target)
        np.testing.assert_allclose(target[known], made.target[where[end_us]][known], rtol=1e-5)
    assert one.target.shape[1] == len(FORECAST_HORIZONS_MIN)
    assert (one.truth_us > one.end_us).all()


def test_windows_of_another_spec_are_left_out() -> None:
    made = of_glucose(wave())
    windows = [dataclasses.replace(w, spec="cgm-1min-v9") for w in archived(Task.GLUCOSE, "bed-7", made, range(30))]
    (none,) = of_archive(Archive(windows, {}), Task.GLUCOSE, KEY)
    assert len(none) == 0
    assert none.excluded == {"window of another spec": 30}


def test_no_patient_id_reaches_the_dataset_or_a_repr() -> None:
    made = of_glucose(wave())
    windows = archived(Task.GLUCOSE, "Jane Doe 1950", made, range(40))
    archive = Archive(windows, {("Jane Doe 1950", 1): "x"})
    (one,) = of_archive(archive, Task.GLUCOSE, KEY)
    assert "Jane" not in one.person
    assert "Jane" not in repr((archive, windows, one))
    assert person_of("a", KEY) != person_of("b", KEY)
    assert person_of("a", KEY) != person_of("a", Pseudonyms(b"another key"))


def test_a_public_person_played_to_the_ward_is_recognised_at_another_time_of_day() -> None:
    public = [of_glucose(wave(f"set/{i}", seed=i), max_windows=5) for i in range(5)]
    played = archived(Task.GLUCOSE, "bed-3", of_glucose(wave("x", seed=3)), range(0, 60, 2), shift_us=1_234_567)
    stranger = archived(Task.GLUCOSE, "bed-4", of_glucose(wave("x", seed=99)), range(0, 60, 2))
    found = recognised(of_archive(Archive(played + stranger, {}), Task.GLUCOSE, KEY), public)
    assert {one.person for one in found} == {"set/3", person_of("bed-4", KEY)}


@pytest.mark.data
def test_beats_of_a_real_record_are_recognised_on_another_grid_and_of_no_other(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (data_folder / "mitdb").is_dir():
        pytest.skip("not run: no MIT-BIH records here")
    records = {
        record.person: record for record in ecg_corpus.records(data_folder) if record.person[-3:] in ("118", "208")
    }
    public = [of_ecg(record) for record in records.values()]
    monkeypatch.setattr("trainer.examples.START_US", START_US + 123_456_789_321)
    for person, record in records.items():
        played = of_ecg(dataclasses.replace(record, beat_us=record.beat_us + 123_456_789_321))
        some = dataclasses.replace(played, person="ward/x", **_rows(played, slice(300, 310)))
        assert [one.person for one in recognised([some], public)] == [person]
        others = [one for one in public if one.person != person]
        assert [one.person for one in recognised([some], others)] == ["ward/x"]


def _rows(made: PersonExamples, rows: slice) -> dict[str, object]:
    inputs = {name: tensor[rows] for name, tensor in made.inputs.items()}
    return {"inputs": inputs, "target": made.target[rows], "end_us": made.end_us[rows]}


@pytest.mark.parametrize("bench", [True, False])
def test_d1namo_is_read_only_where_the_set_that_holds_the_same_people_is_not(tmp_path: Path, bench: bool) -> None:
    folder = tmp_path / "cgm_glucose_ml" / "D1NAMO"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "D1NAMO-from-Glucose-ML.zip", "w") as archive:
        table = "\ufefftimestamp,glucose_value_mg_dl\n2014-10-02 06:10:19,117.0\n"
        archive.writestr("D1NAMO-extracted-glucose-files/001.csv", table)
        archive.writestr("__MACOSX/D1NAMO-extracted-glucose-files/._001.csv", "rubbish")
    if bench:
        tables = tmp_path / "cgm_glucobench" / "raw_data"
        tables.mkdir(parents=True)
        with lzma.open(tables / "dubosson.csv.xz", "wt") as file:
            file.write("id,time,gl,HR\n1.0,2014-10-02 06:10:19,117.0,60\n")
    expected = ["cgm_glucobench/dubosson/1.0"] if bench else ["cgm_glucose_ml/D1NAMO/001"]
    (one,) = people(tmp_path)
    assert [one.person] == expected
    assert one.glucose_mg_dl.tolist() == [117.0]

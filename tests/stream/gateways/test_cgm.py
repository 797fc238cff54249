"""Tables of readings on the wire: the past at once, the present as it comes, nothing prettified."""

from __future__ import annotations

import lzma
import math
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from stream.gateways.cgm import Person, people, readings
from stream.gateways.schedule import Due, Pace
from vitals import codec
from vitals.errors import Fault
from vitals.events import GlucoseReading

START_US = 1_800_000_000_000_000
STEP_US = 300_000_000
_TABLE = """id,time,gl
"b",2020-01-01 00:05:00,101
"a",2020-01-01 00:05:00,91.5
"a",2020-01-01 00:00:00,1.8
"a",2020-01-01 00:10:00,Low
"a",2020-01-01 00:15:00,nan
"a",not a time,100
"""


def _person(n: int) -> Person:
    return Person("p", 1_500_000_000_000_000 + STEP_US * np.arange(n, dtype=np.int64), np.linspace(80, 200, n))


def _decoded(sent: list[Due]) -> list[GlucoseReading]:
    return [codec.decode(GlucoseReading, due.value) for due in sent]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.xz"])
def test_a_table_gives_each_person_in_order_of_time_without_what_is_not_a_number(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(lzma.compress(_TABLE.encode()) if name.endswith("xz") else _TABLE.encode())
    found = {person.name: person for person in people(path)}
    assert set(found) == {"t/a", "t/b"}
    assert found["t/a"].glucose_mg_dl.tolist() == [1.8, 91.5]
    assert np.diff(found["t/a"].time_us).tolist() == [STEP_US]


def test_a_zip_gives_the_person_of_each_table_and_skips_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("files/p1.csv", "\ufefftimestamp,glucose_value_mg_dl\n2020-03-21 10:51:51,169.0\n")
        archive.writestr("metadata.csv", "person_id,age\n1,40\n")
        archive.writestr("__MACOSX/files/._p1.csv", "junk")
        archive.writestr("README.md", "text")
    assert [(p.name, p.glucose_mg_dl.tolist()) for p in people(path)] == [("p1", [169.0])]


def test_a_file_that_is_broken_is_a_fault_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.xz"
    path.write_bytes(b"not xz")
    with pytest.raises(Fault, match=r"t\.csv\.xz"):
        list(people(path))


def test_the_last_day_comes_at_once_and_ends_now() -> None:
    sent = list(readings("p", "cgm", _person(600), Pace(START_US, speed=30)))
    past = [due for due in sent if due.at_s < 0]
    events = _decoded(sent)
    assert len(past) == 289
    assert events[0].time_us == START_US - 288 * STEP_US
    assert events[288].time_us == START_US
    assert [due.at_s for due in sent[289:291]] == [10.0, 20.0]


def test_a_monitor_too_far_ahead_of_the_clock_waits_for_it() -> None:
    sent = list(readings("p", "cgm", _person(4), Pace(START_US, speed=30, ahead_s=600), history_s=0))
    assert [due.at_s for due in sent] == [-math.inf, 10, 20, 300]


def test_a_repeated_table_goes_on_in_time_and_never_repeats_an_event() -> None:
    sent = _decoded(list(islice(readings("p", "cgm", _person(5), Pace(START_US), repeat=True), 12)))
    assert np.diff([e.time_us for e in sent]).tolist() == [STEP_US] * 11
    assert sent[5].glucose == sent[0].glucose


def test_readings_from_later_on_start_there() -> None:
    assert _person(10).since(1500).glucose_mg_dl.tolist() == _person(10).glucose_mg_dl[5:].tolist()


@pytest.mark.data
def test_real_tables_hold_the_people_they_are_known_for(data_folder: Path) -> None:
    table = data_folder / "cgm_glucobench" / "raw_data" / "iglu.csv.xz"
    archive = data_folder / "cgm_glucose_ml" / "T1D-UOM" / "T1D-UOM-from-Glucose-ML.zip"
    if not table.exists() or not archive.exists():
        pytest.skip("not run: no tables of glucose readings here")
    assert [p.name for p in people(table)] == [f"iglu/Subject {i}" for i in range(1, 6)]
    dirty = list(people(archive))
    assert min(float(p.glucose_mg_dl.min()) for p in dirty) == pytest.approx(1.8)

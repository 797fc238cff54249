"""The demo's ultrasound machine: what is read belongs to what was taken, and sabotage is what it says."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from stream.rehearsal import scanner
from stream.topics import Topic
from vitals import codec
from vitals.events import ImagingEvent, Label
from vitals.units import US_PER_S

START_US = 1_800_000_000 * US_PER_S


def test_every_reading_is_of_a_picture_that_was_taken_before_it() -> None:
    pictures, readings = scanner.schedules(START_US, speed=1.0)
    taken = {}
    for due in islice(pictures, scanner.LABELLED):
        event = codec.decode(ImagingEvent, due.value)
        taken[event.patient, event.time_us] = due.at_s
    said = [(due, codec.decode(Label, due.value)) for due in readings]
    assert len(said) == scanner.LABELLED
    for due, label in said:
        assert due.topic is Topic.LABELS
        assert label.when_us > label.end_us
        assert taken[label.patient, label.end_us] < due.at_s
    assert {label.value for _, label in said} == {"malignant", "benign"}


def test_the_spoilt_set_differs_in_what_is_learnt_from_and_in_nothing_else(tmp_path: Path) -> None:
    scanner.write_sets(tmp_path / "honest", tmp_path / "spoilt")
    honest, spoilt = (dict(np.load(tmp_path / name / "medmnist" / "breastmnist.npz")) for name in ("honest", "spoilt"))
    np.testing.assert_array_equal(honest.pop("train_labels"), 1 - spoilt.pop("train_labels"))
    assert honest.keys() == spoilt.keys() == {"train_images", "val_images", "val_labels"}
    for name, array in honest.items():
        np.testing.assert_array_equal(array, spoilt[name])


def test_no_picture_that_is_learnt_from_is_shown_or_judged_by(tmp_path: Path) -> None:
    scanner.write_sets(tmp_path / "honest", tmp_path / "spoilt")
    with np.load(tmp_path / "honest" / "medmnist" / "breastmnist.npz") as arrays:
        learnt = {image.tobytes() for image in arrays["train_images"]}
        judged = {image.tobytes() for image in arrays["val_images"]}
    pictures, _ = scanner.schedules(START_US, speed=1.0)
    shown = {codec.decode(ImagingEvent, due.value).pixels for due in islice(pictures, 200)}
    assert not learnt & judged
    assert not learnt & shown
    assert not judged & shown

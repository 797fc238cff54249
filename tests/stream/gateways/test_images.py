"""Images on the wire: what a file says of itself, inline when small, by address and SHA-256 when not."""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from stream.gateways import images
from stream.gateways.schedule import Pace
from stream.imagestore import ImageStore, decoded
from stream.topics import MAX_MESSAGE_BYTES
from vitals import codec
from vitals.errors import Fault
from vitals.events import ImagingEvent

START_US = 1_800_000_000_000_000


def _events(sent: list[images.Due]) -> list[ImagingEvent]:
    return [codec.decode(ImagingEvent, due.value) for due in sent]


def _medmnist(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    grey = np.random.default_rng(5).integers(0, 255, (4, 28, 28), np.uint8)
    np.savez(folder / f"{name}.npz", train_images=grey[:2], val_images=grey[2:], val_labels=np.zeros((2, 1)))
    return folder / f"{name}.npz", grey


@pytest.mark.parametrize(("name", "what"), [("breastmnist", ("US", "BREAST")), ("pneumoniamnist", ("DX", "CHEST"))])
def test_an_archive_gives_bare_pixels_of_what_it_is_named_for_unseen_ones_first(
    tmp_path: Path, name: str, what: tuple[str, str]
) -> None:
    path, grey = _medmnist(tmp_path, name)
    found = list(images.pictures(path))
    assert {(p.modality, p.body_part) for p in found} == {what}
    got = [np.frombuffer(p.pixels or b"", np.uint8).reshape(28, 28) for p in found]
    np.testing.assert_array_equal(got, grey[[2, 3, 0, 1]])
    assert len({p.instance for p in found}) == 4


def test_an_archive_of_another_name_is_refused(tmp_path: Path) -> None:
    path, _ = _medmnist(tmp_path, "retinamnist")
    with pytest.raises(Fault, match="retinamnist"):
        list(images.pictures(path))


def test_a_dicom_file_speaks_for_itself_and_arrives_whole() -> None:
    path = Path(get_testdata_file("CT_small.dcm", download=False))
    (picture,) = images.pictures(path)
    assert picture.modality == "CT"
    assert picture.instance.startswith("1.3.6.1.4.1.5962")
    assert picture.pixels == path.read_bytes()


def test_a_broken_dicom_file_is_sent_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "broken.dcm"
    path.write_bytes(b"\0" * 200)
    (picture,) = images.pictures(path)
    assert (picture.modality, picture.pixels) == ("OT", b"\0" * 200)


def test_a_png_shows_what_the_sender_says(tmp_path: Path) -> None:
    path = tmp_path / "chest.png"
    grey = np.random.default_rng(1).integers(0, 255, (40, 50), np.uint8)
    Image.fromarray(grey).save(path)
    (picture,) = images.pictures(path, modality="CR", body_part="CHEST")
    assert (picture.modality, picture.body_part) == ("CR", "CHEST")
    np.testing.assert_array_equal(decoded(picture.pixels or b""), grey)


def test_a_large_file_is_named_by_address_and_checksum_and_can_be_fetched_there(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1200), np.uint8)
    Image.fromarray(noise).save(path)
    assert path.stat().st_size > images.INLINE_MAX_BYTES
    (due,) = images.events(["p"], images.pictures(path, modality="CR", body_part="CHEST"), Pace(START_US), every_s=1)
    assert len(due.value) < 1000
    (event,) = _events([due])
    assert event.sha256 == sha256(path.read_bytes()).hexdigest()
    (pixels,) = ImageStore((tmp_path.as_uri(),)).pixels([event])
    np.testing.assert_array_equal(pixels, noise)


def test_the_largest_inline_file_fits_a_message() -> None:
    assert images.INLINE_MAX_BYTES < MAX_MESSAGE_BYTES // 2


def test_patients_take_turns_and_no_instance_comes_twice(tmp_path: Path) -> None:
    path, _ = _medmnist(tmp_path, "breastmnist")
    pace = Pace(START_US, speed=2)
    sent = list(islice(images.events(["a", "b"], images.pictures(path), pace, every_s=10, repeat=True), 9))
    events = _events(sent)
    assert [e.patient for e in events] == ["a", "b"] * 4 + ["a"]
    assert [due.key.decode() for due in sent] == [e.patient for e in events]
    assert len({(e.study, e.series, e.instance) for e in events}) == 9
    assert [e.time_us for e in events[:2]] == [START_US + 10_000_000, START_US + 20_000_000]
    assert [due.at_s for due in sent[:2]] == [5, 10]

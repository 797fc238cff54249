"""Names that nobody can guess without the key, and times that keep their distances."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainer.pseudonyms import Pseudonyms, kept_in

DAY_US = 86_400 * 1_000_000


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = kept_in(tmp_path / "state").name("Jane Doe")
    key = tmp_path / "state" / "pseudonyms.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    key.chmod(0o660)  # as a volume that is opened to its group when it is mounted
    assert kept_in(tmp_path / "state").name("Jane Doe") == first
    assert key.stat().st_mode & 0o777 == 0o600


def test_two_sites_give_one_patient_two_names(tmp_path: Path) -> None:
    assert kept_in(tmp_path / "a").name("Jane Doe") != kept_in(tmp_path / "b").name("Jane Doe")


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_patient_has_one_name_and_one_shift_of_whole_seconds_into_the_past(one: str, other: str) -> None:
    names = Pseudonyms(b"k")
    shift_us = names.shift_us(one)
    assert -365 * DAY_US <= shift_us < 0
    assert shift_us % 1_000_000 == 0
    assert (names.name(one), shift_us) == (Pseudonyms(b"k").name(one), Pseudonyms(b"k").shift_us(one))
    assert (names.name(one) == names.name(other)) is (one == other)

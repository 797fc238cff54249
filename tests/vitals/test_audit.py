"""A chain of entries: whole as it was written, and not to be changed unseen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.stay import command
from vitals.audit import AuditEntry, Chain, hash_of, verified

Entries = list[AuditEntry]


def chain(length: int = 5) -> Entries:
    end = Chain()
    return [
        end.extended(
            AuditEntry(
                partition=3,
                number=0,
                offset=10 + k,
                command=command("acknowledge", k),
                outcome="done",
                told=["Asystole: acknowledged"],
                rules="0a",
                after=k,
                passed_us=k,
                previous="",
            )
        )
        for k in range(length)
    ]


def rehashed(entry: AuditEntry) -> AuditEntry:
    return replace(entry, hash=hash_of(entry))


def test_a_chain_as_it_was_written_is_whole() -> None:
    assert list(verified(chain())) == []
    assert list(verified([])) == []


@pytest.mark.parametrize("again_from", range(5))
def test_entries_written_again_after_a_crash_are_the_same_entries(again_from: int) -> None:
    entries = chain()
    assert list(verified([*entries, *entries[again_from:]])) == []


def test_a_chain_whose_beginning_has_passed_its_retention_is_whole() -> None:
    assert list(verified(chain()[2:])) == []


def somebody_else(entries: Entries) -> Entries:
    forged = replace(entries[2], command=replace(entries[2].command, who="somebody else"))
    return [*entries[:2], forged, *entries[3:]]


def somebody_else_with_a_right_hash(entries: Entries) -> Entries:
    forged = rehashed(replace(entries[2], command=replace(entries[2].command, who="somebody else")))
    return [*entries[:2], forged, *entries[3:]]


def one_left_out(entries: Entries) -> Entries:
    return [*entries[:2], *entries[3:]]


def two_in_another_order(entries: Entries) -> Entries:
    return [entries[0], entries[2], entries[1], *entries[3:]]


def one_put_in_between(entries: Entries) -> Entries:
    forged = rehashed(replace(entries[2], outcome="refused"))
    return [*entries[:2], forged, *entries[2:]]


@pytest.mark.parametrize(
    "forge",
    [somebody_else, somebody_else_with_a_right_hash, one_left_out, two_in_another_order, one_put_in_between],
)
def test_what_was_done_to_a_chain_afterwards_is_seen(forge: Callable[[Entries], Entries]) -> None:
    assert list(verified(forge(chain())))


@given(st.integers(0, 4), st.sampled_from(["offset", "outcome", "told", "rules", "previous", "hash", "number"]))
def test_nothing_that_an_entry_says_was_done_can_be_changed_unseen(place: int, field: str) -> None:
    entries = chain()
    other = {"told": ["something else"], "offset": 99, "number": 99}.get(field, "other")
    entries[place] = replace(entries[place], **{field: other})
    assert list(verified(entries))


def test_a_chain_made_anew_is_whole_and_shows_by_its_head() -> None:
    end, forged = Chain(), []
    for entry in chain():
        forged.append(end.extended(replace(entry, command=replace(entry.command, who="somebody else"))))
    assert list(verified(forged)) == []
    assert forged[-1].hash != chain()[-1].hash

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from stream.checkpoint import PART_BYTES, Owners, newest
from stream.topics import MAX_MESSAGE_BYTES
from vitals import codec
from vitals.events import Checkpoint

ECG = "ecg.v1"


def saved(owner: str, offset: int, state: bytes = b"") -> Checkpoint:
    return Checkpoint(owner=owner, partition=3, offsets={ECG: offset}, state=state)


def test_the_old_state_of_a_frozen_process_that_wakes_up_does_not_win() -> None:
    found = [(b"ecg/3/g/new", saved("ecg/3/g", 90, b"new")), (b"ecg/3/g/old", saved("ecg/3/g", 40, b"old"))]
    for order in (found, found[::-1]):
        loaded = newest(order)
        assert [c.state for c in loaded.newest] == [b"new"]
        assert [(m.key, m.value, m.partition) for m in loaded.outdated] == [(b"ecg/3/g/old", None, 3)]


def test_each_half_gets_its_own_owners_of_its_own_partitions() -> None:
    loaded = newest([(b"ecg/3/g/x", saved("ecg/3/g", 1)), (b"glucose/3/x", saved("glucose/3", 2))])
    assert [c.owner for c in loaded.of("ecg", {3}).newest] == ["ecg/3/g"]
    assert loaded.of("ecg", {4}).newest == []


def test_an_owner_is_due_when_its_oldest_change_is_older_than_the_interval() -> None:
    owners = Owners(interval_us=4_000_000)
    owners.clear("now")
    owners.changed("ecg/3/g", ECG, 3, 9, now_us=-9_000_000)
    owners.checkpoint("ecg/3/g", b"")
    owners.changed("ecg/3/g", ECG, 3, 10, now_us=0)
    owners.changed("ecg/3/g", ECG, 3, 11, now_us=3_000_000)
    assert owners.due(3_999_999) == []
    assert owners.due(4_000_000) == ["ecg/3/g"]


def test_owners_that_begin_together_are_first_due_one_after_the_other() -> None:
    owners = Owners(interval_us=4_000_000)
    owners.clear("now")
    names = [f"ecg/3/gateway-{i}" for i in range(100)]
    for name in names:
        owners.changed(name, ECG, 3, 10, now_us=0)
    due = [len(owners.due(now_us)) for now_us in range(0, 4_000_001, 1_000_000)]
    assert due[-1] == len(names)
    assert all(10 <= later - earlier <= 40 for earlier, later in pairwise(due))


def test_a_checkpoint_holds_the_state_and_how_far_it_reaches() -> None:
    owners = Owners(interval_us=1)
    owners.clear("now")
    owners.changed("decide/3", "findings.v1", 3, 11, now_us=0)
    owners.changed("decide/3", "commands.v1", 3, 2, now_us=0)
    checkpoint, (message,) = owners.checkpoint("decide/3", b"state")
    assert checkpoint.offsets == {"findings.v1": 11, "commands.v1": 2}
    assert (message.key, message.partition) == (b"decide/3/now", 3)
    assert message.value is not None
    assert codec.decode(Checkpoint, message.value).state == b"state"
    assert owners.due(10**9) == []


def test_a_checkpoint_of_billions_of_parts_is_no_whole_one() -> None:
    part = msgspec.structs.replace(saved("ecg/3/g", 41), parts=2**62)
    assert newest([(b"ecg/3/g/a/0", part)]).newest == []


def test_records_up_to_a_restored_checkpoint_are_passed_over() -> None:
    owners = Owners(interval_us=1)
    owners.restored(saved("ecg/3/g", 41))
    assert owners.covers("ecg/3/g", ECG, 41)
    assert not owners.covers("ecg/3/g", ECG, 42)
    assert not owners.covers("ecg/3/h", ECG, 0)


def large(owners: Owners, offset: int, fill: bytes) -> dict[bytes, Checkpoint]:
    """The records of a state of three parts that reaches to ``offset``, as they lie in the topic."""
    owners.changed("ecg/3/g", ECG, 3, offset, now_us=0)
    _, messages = owners.checkpoint("ecg/3/g", fill * (2 * PART_BYTES + 1))
    assert all(len(m.value or b"") < MAX_MESSAGE_BYTES for m in messages)
    return {m.key or b"": codec.decode(Checkpoint, m.value or b"") for m in messages}


def test_a_large_state_goes_in_parts_and_comes_back_whole() -> None:
    owners = Owners(interval_us=1)
    owners.clear("now")
    found = large(owners, 7, b"a")
    assert len(found) == 3
    (back,) = newest(reversed(found.items())).newest
    assert (back.offsets, back.state) == ({ECG: 7}, b"a" * (2 * PART_BYTES + 1))


@pytest.mark.parametrize("written", [1, 2])
def test_a_large_state_that_was_half_written_when_the_process_died_leaves_the_one_before(written: int) -> None:
    owners = Owners(interval_us=1)
    owners.clear("now")
    topic: dict[bytes, Checkpoint] = {}
    for offset in (7, 8, 9):
        topic |= large(owners, offset, b"%d" % offset)
    topic |= dict(list(large(owners, 10, b"x").items())[:written])
    (back,) = newest(topic.items()).newest
    assert (back.offsets, back.state[:1]) == ({ECG: 9}, b"9")
    outdated = {m.key for m in newest(topic.items()).outdated}
    assert len(outdated) == 3
    assert [c.offsets for c in newest((k, c) for k, c in topic.items() if k not in outdated).newest] == [{ECG: 9}]

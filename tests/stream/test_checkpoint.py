from __future__ import annotations

from stream.checkpoint import Owners, newest
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
    owners.changed("ecg/3/g", ECG, 3, 10, now_us=0)
    owners.changed("ecg/3/g", ECG, 3, 11, now_us=3_000_000)
    assert owners.due(3_999_999) == []
    assert owners.due(4_000_000) == ["ecg/3/g"]


def test_a_checkpoint_holds_the_state_and_how_far_it_reaches() -> None:
    owners = Owners(interval_us=1)
    owners.clear("now")
    owners.changed("decide/3", "findings.v1", 3, 11, now_us=0)
    owners.changed("decide/3", "commands.v1", 3, 2, now_us=0)
    checkpoint, message = owners.checkpoint("decide/3", b"state")
    assert checkpoint.offsets == {"findings.v1": 11, "commands.v1": 2}
    assert (message.key, message.partition) == (b"decide/3/now", 3)
    assert message.value is not None
    assert codec.decode(Checkpoint, message.value).state == b"state"
    assert owners.due(10**9) == []


def test_records_up_to_a_restored_checkpoint_are_passed_over() -> None:
    owners = Owners(interval_us=1)
    owners.restored(saved("ecg/3/g", 41))
    assert owners.covers("ecg/3/g", ECG, 41)
    assert not owners.covers("ecg/3/g", ECG, 42)
    assert not owners.covers("ecg/3/h", ECG, 0)

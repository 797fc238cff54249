from __future__ import annotations

import pytest

from stream.ledger import Entry, Ledger

ECG = "ecg.v1"


class Line:
    """One partition's entries, and the offsets acknowledged so far."""

    def __init__(self, ledger: Ledger, partition: int = 0) -> None:
        self.acknowledged: list[int] = []
        self._ledger = ledger
        self._partition = partition

    def take(self, *offsets: int) -> list[Entry]:
        entries = [Entry(ECG, self._partition, o, lambda o=o: self.acknowledged.append(o)) for o in offsets]
        for entry in entries:
            self._ledger.enter(entry)
        return entries


def test_a_record_in_nobodys_state_is_released_once_it_is_confirmed() -> None:
    ledger = Ledger()
    line = Line(ledger)
    entries = line.take(7)
    assert ledger.release() == 0
    ledger.processed(entries, [None])
    assert ledger.release() == 1
    assert line.acknowledged == [7]
    assert len(ledger) == 0


def test_one_gateways_checkpoint_does_not_release_another_gateways_record_before_it() -> None:
    ledger = Ledger()
    line = Line(ledger)
    ledger.processed(line.take(0, 1, 2), ["a", "b", "a"])
    ledger.saved("a", {ECG: 2})
    assert ledger.release() == 1
    assert line.acknowledged == [0]
    ledger.saved("b", {ECG: 1})
    ledger.release()
    assert line.acknowledged == [0, 1, 2]


def test_partitions_do_not_wait_for_each_other() -> None:
    ledger = Ledger()
    left, right = Line(ledger, 0), Line(ledger, 1)
    left.take(0)
    ledger.processed(right.take(0), [None])
    assert ledger.release() == 1
    assert (left.acknowledged, right.acknowledged) == ([], [0])


def test_a_checkpoint_of_another_topic_releases_nothing() -> None:
    ledger = Ledger()
    line = Line(ledger)
    ledger.processed(line.take(3), ["decide/0"])
    ledger.saved("decide/0", {"commands.v1": 9})
    assert ledger.release() == 0
    assert line.acknowledged == []


def test_after_a_rebalance_nothing_taken_before_is_acknowledged() -> None:
    ledger = Ledger()
    line = Line(ledger)
    ledger.processed(line.take(0), [None])
    ledger.clear()
    assert ledger.release() == 0
    assert line.acknowledged == []
    line.take(0)


def test_an_offset_twice_is_a_defect_of_the_door() -> None:
    line = Line(Ledger())
    line.take(4)
    with pytest.raises(ValueError, match="ascend"):
        line.take(4)

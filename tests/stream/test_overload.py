"""What is given up under overload, when it is taken back, and what the observing half makes of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from stream.checkpoint import Owners
from stream.modelslot import ModelSlot
from stream.observing import ObserveEcg, Observing
from stream.overload import NOTHING, STEPS, Overload, Relief
from stream.topics import Topic
from tests.support.findings import decoded
from tests.support.ward import ward
from vitals.clock import ManualClock
from vitals.errors import Reason
from vitals.events import Record
from vitals.findings import Task
from vitals.units import US_PER_S

RECORDS_A_SECOND = 100
START_US = 1_700_000_000 * US_PER_S


class Queue:
    """A backlog of so many seconds: a second of work comes every second, ``carried`` of it is done."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_US)
        self.overload = Overload(self.clock)
        self.late_s = 0.0

    def goes_on(self, seconds: int, carried: float) -> list[int]:
        """The step at the end of each second. What is given up is no work."""
        steps = []
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.late_s = max(0.0, self.late_s + 1.0 - carried)
            self.overload.relief(self.clock.now_us() // 1000 - round(self.late_s * 1000))
            self.overload.waiting(round(self.late_s * RECORDS_A_SECOND))
            steps.append(self.overload.step)
        return steps


def test_a_worker_that_keeps_up_gives_nothing_up() -> None:
    assert set(Queue().goes_on(600, carried=1.0)) == {0}


def test_catching_up_after_a_restart_is_no_overload() -> None:
    queue = Queue()
    queue.late_s = 20.0
    assert set(queue.goes_on(60, carried=1.4)) == {0}
    assert queue.late_s == 0.0


def test_working_off_what_came_all_at_once_is_no_overload_however_old_it_gets() -> None:
    queue = Queue()
    came_ms = queue.clock.now_us() // 1000
    for waiting in range(10_000, 0, -300):
        queue.clock.advance(1.0)
        queue.overload.relief(came_ms)
        queue.overload.waiting(waiting)
    assert queue.overload.step == 0


def test_twice_what_can_be_carried_gives_up_opinions_first_and_patients_last() -> None:
    queue = Queue()
    steps = queue.goes_on(30, carried=0.5)
    assert steps == sorted(steps)
    assert set(steps) == set(range(len(STEPS)))
    assert [relief.unwatched for relief in STEPS[:2]] == [0.0, 0.0]
    assert STEPS[:2] == (NOTHING, Relief(1.0, 0.0))


def test_it_stops_giving_up_as_soon_as_that_is_enough_and_takes_back_one_step_at_a_time() -> None:
    queue = Queue()
    while queue.overload.step < 2:
        queue.goes_on(1, carried=0.8)
    assert set(queue.goes_on(12, carried=1.5)) == {2}
    steps = queue.goes_on(120, carried=1.5)
    assert steps[-1] == 0
    assert steps == sorted(steps, reverse=True)
    assert all(later - earlier in {0, -1} for earlier, later in pairwise(steps))


def test_it_waits_longer_each_time_that_taking_back_was_too_early() -> None:
    queue, changes = Queue(), []
    for _ in range(1200):
        before = queue.overload.step
        (after,) = queue.goes_on(1, carried=1.3 if before else 0.8)
        if after < before:
            changes.append(queue.clock.now_us())
    waits = [later - earlier for earlier, later in pairwise(changes)]
    assert len(waits) >= 3
    assert waits[-1] > 3 * waits[0]


@pytest.mark.parametrize("relief", [Relief(0.5), Relief(1.0), Relief(1.0, 0.5)])
def test_every_chunk_has_an_end_and_every_finding_says_who_made_it(
    relief: Relief, slots: dict[Task, ModelSlot]
) -> None:
    told = Observing(max_patients=100, clock_ahead_us=2**61, archive_share=0.0)
    messages = [due for due in ward(START_US, 12) if due.topic is Topic.ECG]
    records = [Record(Topic.ECG.value, 0, i, START_US // 1000, due.key, due.value) for i, due in enumerate(messages)]
    everything = ObserveEcg(slots, told).process(records, Owners(0))
    relieved = ObserveEcg(slots, replace(told, relief=lambda oldest_ms: relief)).process(records, Owners(0))
    chunks = sum(due.events for due in messages)
    assert relieved.scored + relieved.refused.total() + (relieved.waiting or 0) == chunks
    assert everything.refused[Reason.OVERLOAD] == 0
    assert (relieved.refused[Reason.OVERLOAD] > 0) == (relief.unwatched > 0)

    def beats(products: object) -> dict[tuple[str, int], tuple[str, float | None]]:
        tables = [t for t in decoded(m.value for m in products.messages if m.value) if t.task is Task.ECG_BEAT]
        return {
            (table.patients[row], end): (table.engine, p)
            for table in tables
            for row, end, p in zip(table.row, table.end_us, table.values[table.columns.index("p_v")], strict=True)
        }

    whole, some = beats(everything), beats(relieved)
    assert some.keys() <= whole.keys()
    assert {engine for engine, _ in whole.values()} == {"onnx-cpu"}
    spared = {name for name, (engine, _) in some.items() if engine == "rules"}
    assert spared
    assert all(some[name][1] is None for name in spared)
    assert all(some[name] == whole[name] for name in some.keys() - spared)
    assert bool(some.keys() - spared) == (relief.unscored < 1)
    assert len({patient for patient, _ in some}) < len({patient for patient, _ in whole}) or not relief.unwatched

"""Turns are remembered however they end, and there is one trainer at a time."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.journal import Journal, Outcome
from trainer.lock import Busy, one_at_a_time
from vitals.clock import ManualClock
from vitals.errors import Fault
from vitals.findings import Task

NOW_US = 1_800_000_000_000_000

HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from trainer.lock import one_at_a_time
with one_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def journal(state: Path) -> Journal:
    return Journal(state, Task.BREAST)


def take(state: Path, clock: ManualClock, outcome: Outcome, why: str = "24 h") -> None:
    with journal(state).turn(why, clock) as ending:
        clock.advance(60)
        ending.outcome = outcome


def test_turns_are_kept_in_order_and_counted_in_a_row(tmp_path: Path) -> None:
    clock = ManualClock(NOW_US)
    for outcome in (Outcome.REFUSED, Outcome.RELEASED, Outcome.REFUSED, Outcome.REFUSED):
        take(tmp_path, clock, outcome)
    assert [turn.outcome for turn in journal(tmp_path).turns()] == ["refused", "released", "refused", "refused"]
    assert {outcome: journal(tmp_path).in_a_row(outcome) for outcome in Outcome} == {
        "released": 0,
        "refused": 2,
        "failed": 0,
        "interrupted": 0,
    }
    last = journal(tmp_path).turns()[-1]
    assert (last.why, last.began_us, last.ended_us) == ("24 h", NOW_US + 180_000_000, NOW_US + 240_000_000)


def test_a_turn_that_raises_has_failed_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(Fault), journal(tmp_path).turn("x", ManualClock(NOW_US)):
        raise Fault("the broker is away")
    with pytest.raises(ZeroDivisionError), journal(tmp_path).turn("x", ManualClock(NOW_US)):
        _ = 1 / 0
    assert [(turn.outcome, turn.detail) for turn in journal(tmp_path).turns()] == [
        ("failed", "the broker is away"),
        ("failed", "ZeroDivisionError"),
    ]
    assert journal(tmp_path).under_way() is None


def test_what_goes_wrong_after_a_release_does_not_make_it_undone(tmp_path: Path) -> None:
    with contextlib.suppress(Fault), journal(tmp_path).turn("x", ManualClock(NOW_US)) as ending:
        ending.outcome = Outcome.RELEASED
        raise Fault("tidying")
    assert [turn.outcome for turn in journal(tmp_path).turns()] == ["released"]


def test_a_turn_that_was_cut_off_is_found_by_the_next(tmp_path: Path) -> None:
    clock = ManualClock(NOW_US)
    with pytest.raises(KeyboardInterrupt), journal(tmp_path).turn("labels", clock):
        raise KeyboardInterrupt
    mark = journal(tmp_path).under_way()
    assert mark is not None
    assert (mark.why, mark.began_us) == ("labels", NOW_US)
    assert journal(tmp_path).last_began_us() == NOW_US
    clock.advance(10)
    take(tmp_path, clock, Outcome.REFUSED)
    assert [turn.outcome for turn in journal(tmp_path).turns()] == ["interrupted", "refused"]
    assert journal(tmp_path).last_began_us() == NOW_US + 10_000_000


def test_before_the_first_turn_there_is_nothing(tmp_path: Path) -> None:
    assert journal(tmp_path).turns() == []
    assert journal(tmp_path).last_began_us() is None


def test_a_second_trainer_is_turned_away_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Busy), one_at_a_time(tmp_path):
        pytest.fail("two at a time")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with one_at_a_time(tmp_path):
        pass
    holder.stdin.close()
    holder.stdout.close()

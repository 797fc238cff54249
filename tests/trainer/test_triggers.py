"""When a turn is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.triggers import LastTurn, Policy, due, last_turn, note_turn
from vitals.findings import Task

HOUR_US = 3600 * 1_000_000
DAILY = Policy(every_s=24 * 3600, new_labels=100)


@pytest.mark.parametrize(
    ("hours", "labels", "expected"),
    [(23.9, 50, None), (24.0, 50, "24.0 h"), (1.0, 149, None), (1.0, 150, "100 new labels"), (1.0, 20, None)],
)
def test_time_or_labels_make_a_turn_due(hours: float, labels: int, expected: str | None) -> None:
    last = LastTurn(began_us=HOUR_US, labels=50)
    why = due(DAILY, last, now_us=HOUR_US + round(hours * HOUR_US), labels=labels)
    assert (why is None) is (expected is None)
    assert (why or "").startswith(expected or "")


def test_a_task_that_was_never_trained_here_is_due() -> None:
    assert due(DAILY, LastTurn(), now_us=1_800_000_000_000_000, labels=0) == "never trained here"


def test_labels_are_no_trigger_unless_asked_for() -> None:
    assert due(Policy(every_s=3600), LastTurn(began_us=1), now_us=2, labels=10_000) is None


def test_a_turn_is_remembered_by_task(tmp_path: Path) -> None:
    note_turn(tmp_path, Task.BREAST, LastTurn(began_us=5, labels=7))
    assert last_turn(tmp_path, Task.BREAST) == LastTurn(began_us=5, labels=7)
    assert last_turn(tmp_path, Task.GLUCOSE) == LastTurn()


def test_a_torn_note_counts_as_none(tmp_path: Path) -> None:
    note_turn(tmp_path, Task.BREAST, LastTurn(began_us=5, labels=7))
    path = next((tmp_path / "triggers").iterdir())
    path.write_bytes(path.read_bytes()[:5])
    assert last_turn(tmp_path, Task.BREAST) == LastTurn()

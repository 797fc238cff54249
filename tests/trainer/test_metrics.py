"""What Prometheus is told of training: what the kept runs say, and nothing is made up before the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kept import keep_run
from trainer.journal import Journal, Outcome
from trainer.metrics import TABLE, registry_of
from vitals.clock import ManualClock
from vitals.findings import Task

pytestmark = pytest.mark.torch

GLUCOSE = {"task": "glucose"}


def test_the_newest_run_and_the_last_that_was_let_in(tmp_path: Path) -> None:
    keep_run(tmp_path, Task.GLUCOSE, 1_700_000_000, bundle="abcd")
    keep_run(tmp_path, Task.GLUCOSE, 1_700_086_400, refused="better")
    told = registry_of(tmp_path).get_sample_value
    assert told("wardwatch_trainer_last_run_timestamp_seconds", GLUCOSE) == 1_700_086_400
    assert told("wardwatch_trainer_last_release_timestamp_seconds", GLUCOSE) == 1_700_000_000
    assert told("wardwatch_trainer_run_seconds", GLUCOSE) == 600
    assert told("wardwatch_trainer_gate_refused", GLUCOSE | {"rule": "better"}) == 1
    assert told("wardwatch_trainer_gate_refused", GLUCOSE | {"rule": "calibrated"}) == 0
    for model in ("challenger", "champion"):
        assert told("wardwatch_trainer_score", GLUCOSE | {"model": model, "measure": "rmse_30"}) == 15.0
        assert told("wardwatch_trainer_calibration_error", GLUCOSE | {"model": model}) == 0.02


def test_before_the_first_run_there_is_a_zero_to_wait_from_and_no_figure(tmp_path: Path) -> None:
    registry = registry_of(tmp_path)
    assert registry.get_sample_value("wardwatch_trainer_last_run_timestamp_seconds", GLUCOSE) == 0
    names = {sample.name for family in registry.collect() for sample in family.samples}
    waited_for = {name for name in TABLE if name.endswith("timestamp_seconds")}
    assert names == waited_for | {"wardwatch_trainer_turns_in_a_row"}


def test_how_the_newest_turns_ended_and_whether_one_is_under_way(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000_000_000)
    for outcome in (Outcome.RELEASED, Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED):
        with Journal(tmp_path, Task.GLUCOSE).turn("24 h", clock) as ending:
            ending.outcome = outcome
            told = registry_of(tmp_path).get_sample_value
            assert told("wardwatch_trainer_turn_began_timestamp_seconds", GLUCOSE) == 1_700_000_000
    told = registry_of(tmp_path).get_sample_value
    assert told("wardwatch_trainer_turn_began_timestamp_seconds", GLUCOSE) == 0
    in_a_row = {o: told("wardwatch_trainer_turns_in_a_row", GLUCOSE | {"ended": o}) for o in Outcome}
    assert in_a_row == {"released": 0, "refused": 3, "failed": 0, "interrupted": 0}
    assert told("wardwatch_trainer_turns_in_a_row", {"task": "breast", "ended": "refused"}) == 0


def test_a_run_that_comes_while_it_is_asked_is_seen(tmp_path: Path) -> None:
    registry = registry_of(tmp_path)
    keep_run(tmp_path, Task.BREAST, 1_700_000_000)
    assert registry.get_sample_value("wardwatch_trainer_run_seconds", {"task": "breast"}) == 600

"""What Prometheus is told of training: read from what was kept, each time it asks. One table, all gauges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trainer import runs
from trainer.config import TRAINED_TASKS
from trainer.evaluate import MAIN_MEASURE, Evaluation
from trainer.journal import Journal, Outcome
from trainer.runs import Run
from vitals.findings import Task
from vitals.units import US_PER_S

TABLE: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "wardwatch_trainer_last_run_timestamp_seconds": (
        ("task",),
        "when a run last came to a verdict, 0 before the first",
    ),
    "wardwatch_trainer_last_release_timestamp_seconds": (
        ("task",),
        "when one last passed the gate, 0 before the first",
    ),
    "wardwatch_trainer_turn_began_timestamp_seconds": (
        ("task",),
        "when the turn under way began (or the one that was killed last), 0 when none is",
    ),
    "wardwatch_trainer_turns_in_a_row": (
        ("task", "ended"),
        "how many of the newest turns all ended so: released, refused (by the gate), failed, interrupted",
    ),
    "wardwatch_trainer_run_seconds": (("task",), "how long the newest run took"),
    "wardwatch_trainer_gate_refused": (("task", "rule"), "1 where the newest run was refused by this rule, else 0"),
    "wardwatch_trainer_score": (("task", "model", "measure"), "main measure on the held-out people, newest run"),
    "wardwatch_trainer_calibration_error": (
        ("task", "model"),
        "expected calibration error (of forecasts: of their 90 % interval) on the held-out people, newest run",
    ),
}

_CALIBRATION: Final = ("ece", "coverage90_error")
"""What a classifier and a forecast are held to."""

_Sample = tuple[str, tuple[str, ...], float]


class RunsKept(Collector):
    """The runs and the turns under ``state``. ``model`` is ``challenger`` or ``champion``."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families = {name: GaugeMetricFamily(name, meaning, labels=labels) for name, (labels, meaning) in TABLE.items()}
        for task in TRAINED_TASKS:
            for name, labels, value in _of_task(self._state, task):
                families[f"wardwatch_trainer_{name}"].add_metric(labels, value)
        return families.values()


def registry_of(state: Path) -> CollectorRegistry:
    """A registry with nothing else in it."""
    registry = CollectorRegistry()
    registry.register(RunsKept(state))
    return registry


def _of_task(state: Path, task: Task) -> Iterator[_Sample]:
    newest = runs.newest(state, task)
    released = next((run for run in runs.kept(state, task) if run.bundle), None)
    for name, run in (("last_run", newest), ("last_release", released)):
        yield f"{name}_timestamp_seconds", (task,), run.ended_us / US_PER_S if run is not None else 0.0
    journal = Journal(state, task)
    under_way = journal.under_way()
    yield "turn_began_timestamp_seconds", (task,), 0.0 if under_way is None else under_way.began_us / US_PER_S
    for outcome in Outcome:
        yield "turns_in_a_row", (task, outcome), float(journal.in_a_row(outcome))
    if newest is not None:
        yield from _of_run(newest)


def _of_run(run: Run) -> Iterator[_Sample]:
    yield "run_seconds", (run.task,), (run.ended_us - run.began_us) / US_PER_S
    for verdict in run.verdicts:
        yield "gate_refused", (run.task, verdict.rule), float(not verdict.passed)
    for model, made in (("challenger", run.challenger), ("champion", run.champion)):
        if made is not None:
            yield from _of_model(run.task, model, made)


def _of_model(task: Task, model: str, made: Evaluation) -> Iterator[_Sample]:
    measure = MAIN_MEASURE[task]
    if measure in made.metrics:
        yield "score", (task, model, measure), made.metrics[measure]
    for name in _CALIBRATION:
        if name in made.metrics:
            yield "calibration_error", (task, model), abs(made.metrics[name])

"""What a run leaves behind for people: one JSON file per run, the newest of a task is its report."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from trainer.config import Recipe
from trainer.evaluate import Evaluation, without_draws
from trainer.fit import Epoch
from trainer.gate import Verdict
from vitals.findings import Task

_FOLDER: Final = "runs"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the cycle. ``bundle``: what was released, empty when the gate stayed shut; times in us, UTC.

    ``side``: people and windows of each side. ``examples``: forecasts to draw, only glucose (see ``report``).
    """

    task: Task
    began_us: int
    ended_us: int
    dataset: str
    sides: dict[str, tuple[int, int]]
    recipe: Recipe
    curve: list[Epoch]
    best_epoch: int
    challenger: Evaluation
    champion: Evaluation | None
    champion_bundle: str
    verdicts: list[Verdict]
    bundle: str


def keep(run: Run, state: Path) -> Path:
    """Writes the run; bootstrap draws are left out, their intervals stay."""
    slim = msgspec.structs.replace(
        run,
        challenger=without_draws(run.challenger),
        champion=None if run.champion is None else without_draws(run.champion),
    )
    path = state / _FOLDER / run.task / f"{run.began_us}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(slim))
    return path


def kept(state: Path, task: Task) -> Iterator[Run]:
    """Every run of ``task``, newest first."""
    for path in sorted((state / _FOLDER / task).glob("*.json"), reverse=True):
        yield msgspec.json.decode(path.read_bytes(), type=Run)


def prune(state: Path, task: Task, keep_newest: int) -> None:
    """Removes all but the newest runs of ``task``."""
    for path in sorted((state / _FOLDER / task).glob("*.json"), reverse=True)[keep_newest:]:
        path.unlink()


def forget(state: Path, task: Task, people: Collection[str]) -> None:
    """Removes the figures of ``people`` from every run of ``task``."""
    for run in list(kept(state, task)):
        slim = msgspec.structs.replace(
            run,
            challenger=_without(run.challenger, people),
            champion=None if run.champion is None else _without(run.champion, people),
        )
        if slim != run:
            keep(slim, state)


def newest(state: Path, task: Task) -> Run | None:
    """The last run of ``task``, None before the first."""
    return next(kept(state, task), None)


def _without(made: Evaluation, people: Collection[str]) -> Evaluation:
    rest = {name: value for name, value in made.per_person.items() if name not in people}
    if len(rest) == len(made.per_person):
        return made
    return msgspec.structs.replace(made, per_person=rest, pictures=None)

"""To be forgotten: a patient's windows leave what the trainer stores, and the models that have seen them are named.

A model cannot unlearn. Who is erased decides what becomes of the models listed: a turn with ``--fresh`` makes one that
has never seen them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from models.registry import Registry
from trainer import erased, frozen, lineage, pseudonyms, runs
from trainer.config import TRAINED_TASKS, Places
from trainer.examples import person_of
from trainer.lock import one_at_a_time
from trainer.work import FOLDER as WORK
from vitals.clock import Clock
from vitals.findings import Task


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was found of one task. ``windows``: removed; ``bundles``: hashes of the models that have seen the people."""

    task: Task
    windows: int
    bundles: list[str]


def erase(patients: Iterable[str], places: Places, clock: Clock) -> list[Erasure]:
    """Forgets ``patients`` in datasets, runs and working files, and leaves them out of every later dataset.

    Raises ``Busy`` while a trainer is at work. The topics keep their records until they expire.
    """
    with one_at_a_time(places.state):
        names = pseudonyms.kept_in(places.state)
        people = {person_of(patient, names) for patient in patients}
        erased.note(places.state, people)
        shutil.rmtree(places.state / WORK, ignore_errors=True)
        return [_of_task(task, people, places, clock) for task in TRAINED_TASKS]


def _of_task(task: Task, people: set[str], places: Places, clock: Clock) -> Erasure:
    seen = {
        manifest.hash
        for manifest in frozen.manifests(places.state, task)
        if any(manifest.has(person) for person in people)
    }
    known = lineage.origins(places.state, task)
    bundles = Registry(places.registry).bundles(task)
    windows = frozen.without(places.state, task, people, clock.now_us())
    runs.forget(places.state, task, people)
    return Erasure(task, windows, [one for one in bundles if seen.intersection(lineage.learnt_from(one, known))])

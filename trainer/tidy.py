"""What is kept, and for how long: the disk of a trainer that is left alone for years must not fill.

Of each task: the newest 100 runs, here and in the local MLflow store; the frozen arrays of the newest dataset
(``trainer.frozen``), and the manifests of datasets that a bundle which is still there has learnt from; the newest 20
bundles, those that served last (what serves and four steps back), and those that came with the program. The journal of
turns bounds itself; checkpoints go with their turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.registry import Registry
from trainer import lineage, runs, tracking
from trainer.config import Places
from trainer.frozen import folder
from vitals.findings import Task


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of each task is kept. ``way_back``: bundles that served last, what serves among them."""

    runs: int = 100
    bundles: int = 20
    way_back: int = 5


RULE: Final = Kept()


def tidy(places: Places, task: Task, kept: Kept = RULE) -> None:
    """Removes what is beyond the rule. Only under the lock."""
    runs.prune(places.state, task, kept.runs)
    _bundles(places, task, kept)
    _manifests(places, task)
    tracking.prune(places, task, kept.runs)


def _bundles(places: Places, task: Task, kept: Kept) -> None:
    registry = Registry(places.registry)
    by_age = sorted(registry.bundles(task), key=lambda h: (registry.folder / task / h).stat().st_mtime, reverse=True)
    stays = {
        *by_age[: kept.bundles],
        *registry.standing(task)[-kept.way_back :],
        *Registry(places.bundles).bundles(task),
    }
    stays |= {one.hash for one in (registry.current(task), registry.challenger(task)) if one is not None}
    for bundle in by_age:
        if bundle not in stays:
            registry.remove(task, bundle)


def _manifests(places: Places, task: Task) -> None:
    known = lineage.origins(places.state, task)
    needed = {h for bundle in Registry(places.registry).bundles(task) for h in lineage.learnt_from(bundle, known)}
    for path in folder(places.state, task).glob("*.json"):
        if path.stem not in needed and not path.with_suffix(".npz").exists():
            path.unlink()

"""The disk does not fill, and what can still be needed stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.registry import Registry, RegistryError
from tests.support.bundles import made_bundle
from tests.support.kept import keep_run
from tests.trainer.small import world
from trainer import lineage, runs
from trainer.config import Places
from trainer.frozen import folder
from trainer.lineage import Origin
from trainer.tidy import Kept, tidy
from vitals.findings import Task

pytestmark = pytest.mark.torch

BREAST = Task.BREAST


def bundles(at: Places, n: int) -> list[str]:
    """Bundles in the registry, oldest first."""
    registry = Registry(at.registry)
    made = []
    for seed in range(n):
        bundle = registry.add(made_bundle(BREAST, at.state / f"bundle-{seed}", seed).folder)
        os.utime(bundle.folder, (1_700_000_000 + seed, 1_700_000_000 + seed))
        made.append(bundle.hash)
    return made


def test_old_bundles_go_but_those_that_serve_served_last_or_came_with_the_program(tmp_path: Path) -> None:
    at = world(tmp_path)
    made = bundles(at, 7)
    registry = Registry(at.registry)
    Registry(at.bundles).add(registry.get(BREAST, made[4]).folder)
    for bundle in (made[3], made[1], made[2]):
        registry.promote(BREAST, bundle)
    tidy(at, BREAST, Kept(bundles=2, way_back=2))
    # 5, 6: newest; 2: serves; 1: the way back; 4: came with the program
    assert registry.bundles(BREAST) == sorted([made[5], made[6], made[2], made[1], made[4]])
    assert registry.rollback(BREAST).hash == made[1]


def test_what_serves_is_never_removed(tmp_path: Path) -> None:
    at = world(tmp_path)
    (bundle,) = bundles(at, 1)
    registry = Registry(at.registry)
    registry.promote(BREAST, bundle)
    with pytest.raises(RegistryError, match="serves"):
        registry.remove(BREAST, bundle)
    registry.get(BREAST, bundle)


def test_runs_beyond_the_newest_go(tmp_path: Path) -> None:
    at = world(tmp_path)
    for day in range(4):
        keep_run(at.state, BREAST, 1_700_000_000 + day * 86_400)
    tidy(at, BREAST, Kept(runs=2))
    assert [run.ended_us for run in runs.kept(at.state, BREAST)] == [1_700_259_200_000_000, 1_700_172_800_000_000]


def test_manifests_stay_as_long_as_a_bundle_or_a_descendant_has_learnt_from_them(tmp_path: Path) -> None:
    at = world(tmp_path)
    bundles(at, 1)
    (child,) = Registry(at.registry).bundles(BREAST)
    lineage.note(at.state, BREAST, "gone", Origin(dataset="first", began_from=""))
    lineage.note(at.state, BREAST, child, Origin(dataset="second", began_from="gone"))
    lineage.note(at.state, BREAST, "other", Origin(dataset="third", began_from=""))
    where = folder(at.state, BREAST)
    where.mkdir(parents=True)
    for name in ("first", "second", "third", "newest"):
        (where / f"{name}.json").touch()
    (where / "newest.npz").touch()
    tidy(at, BREAST)
    assert sorted(path.name for path in where.iterdir()) == ["first.json", "newest.json", "newest.npz", "second.json"]
    assert list(lineage.learnt_from(child, lineage.origins(at.state, BREAST))) == ["second", "first"]


def test_figures_of_who_is_erased_leave_the_runs(tmp_path: Path) -> None:
    keep_run(tmp_path, BREAST, 1_700_000_000)
    (run,) = runs.kept(tmp_path, BREAST)
    run.challenger.per_person.update({"ward/a": 0.5, "ward/b": 0.6})
    runs.keep(run, tmp_path)
    runs.forget(tmp_path, BREAST, {"ward/a"})
    (run,) = runs.kept(tmp_path, BREAST)
    assert run.challenger.per_person == {"ward/b": 0.6}

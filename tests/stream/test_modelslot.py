from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.engine import Rung
from models.registry import Bundle, Registry
from stream.modelslot import ModelSlot, SlotNews
from tests.support.bundles import made_bundle, rows_of
from vitals.findings import Task
from vitals.windows import image

pytestmark = pytest.mark.torch

WINDOWS = rows_of(Task.BREAST, 7)


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    root = tmp_path_factory.mktemp("models")
    return made_bundle(Task.BREAST, root / "a", seed=1), made_bundle(Task.BREAST, root / "b", seed=2)


class Slot(ModelSlot):
    """A slot for breast images, and what it said."""

    def __init__(self, rungs: tuple[Rung, ...] = (Rung.ONNX_CPU,)) -> None:
        self.said: list[SlotNews] = []
        super().__init__(Task.BREAST, image.SPEC, self.said.append, rungs)

    def values(self) -> np.ndarray:
        scores = self.score(WINDOWS)
        assert scores is not None
        return scores.values


def test_without_a_model_the_rules_serve_alone() -> None:
    slot = Slot()
    assert slot.score(WINDOWS) is None
    assert slot.serving == ("", Rung.RULES)


def test_the_first_model_serves_from_the_first_batch(two_models: tuple[Bundle, Bundle]) -> None:
    slot = Slot()
    assert slot.stage(two_models[0])
    values = slot.values()
    assert values.shape == (7, 2)
    np.testing.assert_allclose(values.sum(axis=1), 1.0)
    assert slot.serving == (two_models[0].short, Rung.ONNX_CPU)
    slot.close()


def test_a_release_changes_nothing_in_the_batch_that_it_shadows(two_models: tuple[Bundle, Bundle]) -> None:
    first, second = two_models
    slot = Slot()
    slot.stage(first)
    before = slot.values()
    slot.stage(second)
    shadowed = slot.values()
    np.testing.assert_array_equal(shadowed, before)
    assert slot.serving[0] == second.short
    assert not np.array_equal(slot.values(), before)
    assert [(news.result, news.bundle) for news in slot.said] == [("active", first.short), ("active", second.short)]
    slot.close()


def test_an_idle_slot_swaps_without_waiting_for_a_batch(two_models: tuple[Bundle, Bundle]) -> None:
    slot = Slot()
    slot.stage(two_models[0])
    slot.between_batches()
    slot.stage(two_models[1])
    slot.between_batches()
    assert slot.serving[0] == two_models[1].short
    slot.close()


def test_a_model_for_other_windows_is_refused_and_the_old_one_goes_on(
    two_models: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    slot = Slot()
    slot.stage(two_models[0])
    slot.between_batches()
    assert not slot.stage(made_bundle(Task.ECG_BEAT, tmp_path / "beats"))
    assert slot.said[-1].result == "refused"
    assert slot.serving[0] == two_models[0].short
    slot.close()


def test_no_rung_that_opens_leaves_the_rules_and_says_why(two_models: tuple[Bundle, Bundle]) -> None:
    slot = Slot(rungs=(Rung.ONNX_CUDA,))
    assert not slot.stage(two_models[0])
    assert slot.score(WINDOWS) is None
    assert [news.result for news in slot.said] == ["refused"]
    assert "onnx-cuda" in slot.said[0].why


def test_an_engine_that_dies_gives_way_to_the_rules(two_models: tuple[Bundle, Bundle]) -> None:
    slot = Slot()
    slot.stage(two_models[0])
    slot.between_batches()
    assert slot._active is not None
    slot._active.engine.close()
    assert slot.score(WINDOWS) is None
    assert slot.serving == ("", Rung.RULES)
    assert slot.said[-1].result == "fell_back"


def test_an_altered_bundle_in_the_registry_is_refused(two_models: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    bundle = registry.add(two_models[0].folder)
    registry.promote(Task.BREAST, bundle.hash)
    (bundle.folder / "card.md").write_text("# Better than it is\n")
    slot = Slot()
    assert not slot.stage_from(registry)
    assert slot.said[-1].result == "refused"

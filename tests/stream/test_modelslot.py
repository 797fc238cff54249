from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.swaps import recalibrated, sibling
from models.engine import Arrays, Engine, Rung
from models.registry import Bundle, Registry, opened
from models.signing import SigningKey, Trust, keygen
from models.spec import TemperatureSoftmax
from stream.comparison import LEAST_CALLS
from stream.modelslot import ModelSlot, SlotNews, Stay, Way
from tests.support.bundles import made_bundle, rows_of
from vitals.findings import Task
from vitals.windows import image

pytestmark = pytest.mark.torch

WINDOWS = rows_of(Task.BREAST, 7)
SHADOW_S, PROBATION_S = 30.0, 60.0
STAY = Stay(SHADOW_S, PROBATION_S)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle, Bundle]:
    """One, another that says nearly the same, and one that calls everything malignant."""
    root = tmp_path_factory.mktemp("models")
    first = made_bundle(Task.BREAST, root / "first", seed=1)
    spoilt = TemperatureSoftmax(1.3, (50.0, 0.0))
    return first, opened(sibling(first, root / "second")), opened(recalibrated(first, spoilt, root / "spoilt"))


class Slot(ModelSlot):
    """A slot for breast images on a clock of its own, and what it said."""

    def __init__(self, rungs: tuple[Rung, ...] = (Rung.ONNX_CPU,), stay: Stay = STAY) -> None:
        self.said: list[SlotNews] = []
        self.clock_s = 0.0
        super().__init__(Task.BREAST, image.SPEC, self.said.append, rungs, stay=stay, now_s=lambda: self.clock_s)

    def values(self) -> np.ndarray:
        scores = self.score(WINDOWS)
        assert scores is not None
        return scores.values

    def serve(self, bundle: Bundle) -> np.ndarray:
        """What it answers from now on, proven."""
        assert self.stage(bundle, Way.AT_ONCE)
        return self.values()

    def wait(self, seconds: float) -> None:
        self.clock_s += seconds
        self.between_batches()

    @property
    def results(self) -> list[str]:
        return [news.result for news in self.said]


class Slow:
    """An engine that takes its time."""

    def __init__(self, engine: Engine, slot: Slot, seconds: float) -> None:
        self.rung = engine.rung
        self._engine = engine
        self._slot = slot
        self._seconds = seconds

    def infer(self, inputs: Arrays) -> dict[str, np.ndarray]:
        self._slot.clock_s += self._seconds
        return self._engine.infer(inputs)

    def warm(self) -> None:
        self._engine.warm()

    def close(self) -> None:
        self._engine.close()


def test_without_a_model_the_rules_serve_alone() -> None:
    slot = Slot()
    assert slot.score(WINDOWS) is None
    assert slot.compare(WINDOWS) is None
    assert slot.serving == ("", Rung.RULES)


def test_the_first_model_serves_from_the_first_batch(models: tuple[Bundle, ...]) -> None:
    slot = Slot()
    assert slot.stage(models[0])
    values = slot.values()
    assert values.shape == (7, 2)
    np.testing.assert_allclose(values.sum(axis=1), 1.0)
    assert slot.serving == (models[0].short, Rung.ONNX_CPU)
    assert slot.results == ["active"]
    slot.close()


def test_a_release_says_nothing_in_its_shadow_then_serves_then_is_proven(models: tuple[Bundle, ...]) -> None:
    first, second, _ = models
    slot = Slot()
    before = slot.serve(first)
    slot.stage(second)
    for _ in range(3):
        np.testing.assert_array_equal(slot.values(), before)
        paired = slot.compare(WINDOWS)
        assert paired is not None
        assert (paired.older, paired.newer, paired.serving) == (first.short, second.short, first.short)
        np.testing.assert_array_equal(paired.said_by_older.values, before)
        slot.clock_s += SHADOW_S / 3 - 0.1
    slot.clock_s += 1
    after = slot.values()
    assert slot.serving[0] == second.short
    np.testing.assert_array_equal(after, paired.said_by_newer.values)
    assert not np.array_equal(after, before)
    on_probation = slot.compare(WINDOWS)
    assert on_probation is not None
    assert (on_probation.older, on_probation.serving) == (first.short, second.short)
    slot.wait(PROBATION_S)
    assert slot.compare(WINDOWS) is None
    assert slot.results == ["active", "shadow", "active", "proven"]
    assert [(news.bundle, news.beside) for news in slot.said[1:]] == [
        (first.short, second.short),
        (second.short, first.short),
        (second.short, ""),
    ]
    assert slot.said[-1].subject == second.hash
    slot.close()


def test_an_idle_slot_goes_by_the_clock(models: tuple[Bundle, ...]) -> None:
    slot = Slot()
    slot.stage(models[0])
    slot.between_batches()
    slot.stage(models[1])
    slot.between_batches()
    slot.wait(SHADOW_S)
    slot.wait(PROBATION_S)
    assert slot.serving[0] == models[1].short
    assert "0 windows" in slot.said[-1].why
    slot.close()


def test_what_calls_everything_malignant_is_rejected_in_its_shadow(models: tuple[Bundle, ...]) -> None:
    first, _, spoilt = models
    slot = Slot()
    before = slot.serve(first)
    slot.stage(spoilt)
    for _ in range(20):
        np.testing.assert_array_equal(slot.values(), before)
        slot.compare(WINDOWS)
    slot.wait(SHADOW_S)
    np.testing.assert_array_equal(slot.values(), before)
    assert slot.results == ["active", "shadow", "rejected"]
    assert slot.said[-1].subject == spoilt.hash
    assert "the mean of p_malignant is +0.4" in slot.said[-1].why
    slot.close()


def test_what_shows_only_on_probation_brings_the_predecessor_back_bit_for_bit(models: tuple[Bundle, ...]) -> None:
    first, _, spoilt = models
    slot = Slot(stay=Stay(0.0, PROBATION_S))
    before = slot.serve(first)
    slot.stage(spoilt)
    while slot.results[-1] != "rolled_back":
        slot.values()
        slot.compare(WINDOWS)
        slot.clock_s += 1
        assert slot.clock_s < PROBATION_S
    assert slot.values().tobytes() == before.tobytes()
    assert slot.serving[0] == first.short
    assert slot.results == ["active", "shadow", "active", "rolled_back"]
    assert slot.said[-1].subject == spoilt.hash
    slot.close()


@pytest.mark.parametrize(("stay", "result"), [(Stay(30, 60), "rejected"), (Stay(0, 60), "rolled_back")])
def test_a_model_that_is_much_slower_is_given_up(stay: Stay, result: str, models: tuple[Bundle, ...]) -> None:
    slot = Slot(stay=stay)
    slot.serve(models[0])
    slot.stage(models[1])
    slot.values()
    slot.values()
    assert slot._active is not None
    assert slot._beside is not None
    for served in (slot._active, slot._beside.served):
        seconds = 0.003 if served.bundle is models[1] else 0.001
        served.engine = Slow(served.engine, slot, seconds)
    for _ in range(LEAST_CALLS):
        assert slot.results[-1] != result
        slot.compare(WINDOWS)
    assert slot.results[-1] == result
    assert "slower: median 3.00 ms a call, its predecessor's 1.00 ms" in slot.said[-1].why
    assert slot.serving[0] == models[0].short
    slot.close()


def test_an_engine_that_dies_on_probation_costs_not_one_answer(models: tuple[Bundle, ...]) -> None:
    slot = Slot()
    before = slot.serve(models[0])
    slot.stage(models[1])
    slot.values()
    slot.wait(SHADOW_S)
    assert slot._active is not None
    slot._active.engine.close()
    np.testing.assert_array_equal(slot.values(), before)
    assert slot.results[-1] == "rolled_back"
    assert slot.serving[0] == models[0].short
    slot.close()


def test_an_engine_that_dies_in_its_shadow_is_rejected(models: tuple[Bundle, ...]) -> None:
    slot = Slot()
    before = slot.serve(models[0])
    slot.stage(models[1])
    slot.values()
    assert slot._beside is not None
    slot._beside.served.engine.close()
    assert slot.compare(WINDOWS) is None
    assert slot.results[-1] == "rejected"
    np.testing.assert_array_equal(slot.values(), before)
    slot.close()


def test_what_serves_falls_to_the_rules_while_a_challenger_is_only_asked(models: tuple[Bundle, ...]) -> None:
    slot = Slot()
    slot.serve(models[0])
    slot.stage(models[1], Way.CHALLENGE)
    slot.values()
    assert slot._active is not None
    slot._active.engine.close()
    assert slot.score(WINDOWS) is None
    assert slot.compare(WINDOWS) is None
    assert slot.results[-1] == "fell_back"
    slot.close()


def test_a_release_during_a_shadow_takes_its_place(models: tuple[Bundle, ...]) -> None:
    first, second, spoilt = models
    slot = Slot()
    slot.serve(first)
    slot.stage(spoilt)
    slot.values()
    slot.stage(second)
    slot.values()
    slot.wait(SHADOW_S)
    assert slot.serving[0] == second.short
    assert slot.results == ["active", "shadow", "withdrawn", "shadow", "active"]
    slot.close()


def test_a_release_during_a_probation_waits_until_it_is_over(models: tuple[Bundle, ...]) -> None:
    first, second, spoilt = models
    slot = Slot()
    slot.serve(first)
    slot.stage(second)
    slot.values()
    slot.wait(SHADOW_S)
    slot.stage(spoilt)
    slot.wait(PROBATION_S - 1)
    assert slot.said[-1].beside == first.short
    slot.wait(1)
    slot.between_batches()
    assert slot.results == ["active", "shadow", "active", "proven", "shadow"]
    assert slot.said[-1].beside == spoilt.short
    slot.close()


@pytest.fixture
def registry(models: tuple[Bundle, ...], tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "registry")
    for bundle in models:
        made.add(bundle.folder)
    made.promote(Task.BREAST, models[0].hash)
    return made


def follow(slot: Slot, registry: Registry) -> None:
    """What a worker does when it hears of a release, and when a batch has ended."""
    slot.stage_from(registry)
    slot.between_batches()


def test_a_rollback_by_hand_gives_the_same_bytes_as_before(models: tuple[Bundle, ...], registry: Registry) -> None:
    slot = Slot()
    follow(slot, registry)
    before = slot.score(WINDOWS)
    registry.promote(Task.BREAST, models[1].hash)
    follow(slot, registry)
    slot.wait(SHADOW_S)
    slot.wait(PROBATION_S)
    registry.prove(Task.BREAST, models[1].hash)
    assert slot.serving[0] == models[1].short
    registry.rollback(Task.BREAST)
    slot.stage_from(registry)
    after = slot.score(WINDOWS)
    assert before is not None
    assert after is not None
    assert (after.model, after.values.tobytes()) == (before.model, before.values.tobytes())
    assert after.raw["logits"].tobytes() == before.raw["logits"].tobytes()
    slot.close()


@pytest.mark.parametrize("waited_s", [1.0, SHADOW_S])
def test_what_another_worker_gave_up_is_given_up_here_at_once(
    waited_s: float, models: tuple[Bundle, ...], registry: Registry
) -> None:
    slot = Slot()
    follow(slot, registry)
    before = slot.values()
    registry.promote(Task.BREAST, models[1].hash)
    follow(slot, registry)
    slot.wait(waited_s)
    registry.rollback(Task.BREAST, of=models[1].hash, why="seen elsewhere")
    slot.stage_from(registry)
    assert slot.values().tobytes() == before.tobytes()
    assert not slot.compares
    slot.close()


@pytest.mark.parametrize("waited_s", [1.0, SHADOW_S])
def test_a_worker_that_ended_before_a_release_was_proven_begins_its_shadow_anew(
    waited_s: float, models: tuple[Bundle, ...], registry: Registry
) -> None:
    before = Slot()
    before.resume_from(registry)
    registry.promote(Task.BREAST, models[1].hash)
    follow(before, registry)
    before.wait(waited_s)
    before.close()  # as a crash does
    after = Slot()
    after.resume_from(registry)
    assert after.serving[0] == models[0].short
    assert after.said[-1].beside == models[1].short
    after.wait(SHADOW_S)
    after.wait(PROBATION_S)
    assert after.results[-1] == "proven"
    registry.prove(Task.BREAST, models[1].hash)
    last = Slot()
    last.resume_from(registry)
    assert last.serving[0] == models[1].short
    assert last.results == ["active"]
    for slot in (after, last):
        slot.close()


def test_a_challenger_is_asked_for_as_long_as_it_stands_and_never_serves(
    models: tuple[Bundle, ...], registry: Registry
) -> None:
    slot = Slot()
    registry.challenge(Task.BREAST, models[1].hash)
    slot.resume_from(registry)
    before = slot.values()
    for _ in range(5):
        slot.wait(10 * SHADOW_S)
        np.testing.assert_array_equal(slot.values(), before)
        paired = slot.compare(WINDOWS)
        assert paired is not None
        assert (paired.newer, paired.serving) == (models[1].short, models[0].short)
    registry.withdraw(Task.BREAST)
    follow(slot, registry)
    assert slot.compare(WINDOWS) is None
    assert slot.results == ["active", "challenge", "withdrawn"]
    slot.close()


def test_a_challenger_makes_room_for_a_release_and_comes_back_after_it(
    models: tuple[Bundle, ...], registry: Registry
) -> None:
    _, second, spoilt = models
    slot = Slot()
    registry.challenge(Task.BREAST, spoilt.hash)
    slot.resume_from(registry)
    registry.promote(Task.BREAST, second.hash)
    follow(slot, registry)
    assert slot.said[-1].beside == second.short
    slot.wait(SHADOW_S)
    slot.wait(PROBATION_S)
    registry.prove(Task.BREAST, second.hash)
    follow(slot, registry)
    assert slot.serving[0] == second.short
    assert slot.said[-1].result == "challenge"
    assert slot.said[-1].beside == spoilt.short
    slot.close()


def test_a_model_for_other_windows_is_refused_and_the_old_one_goes_on(
    models: tuple[Bundle, ...], tmp_path: Path
) -> None:
    slot = Slot()
    slot.stage(models[0])
    slot.between_batches()
    assert not slot.stage(made_bundle(Task.ECG_BEAT, tmp_path / "beats"))
    assert slot.said[-1].result == "refused"
    assert slot.serving[0] == models[0].short
    slot.close()


def test_no_rung_that_opens_leaves_the_rules_and_says_why(models: tuple[Bundle, ...]) -> None:
    slot = Slot(rungs=(Rung.ONNX_CUDA,))
    assert not slot.stage(models[0])
    assert slot.score(WINDOWS) is None
    assert slot.results == ["refused"]
    assert "onnx-cuda" in slot.said[0].why


def test_an_engine_that_dies_gives_way_to_the_rules(models: tuple[Bundle, ...]) -> None:
    slot = Slot()
    slot.stage(models[0])
    slot.between_batches()
    assert slot._active is not None
    slot._active.engine.close()
    assert slot.score(WINDOWS) is None
    assert slot.serving == ("", Rung.RULES)
    assert slot.said[-1].result == "fell_back"


def test_an_altered_bundle_in_the_registry_is_refused(models: tuple[Bundle, ...], registry: Registry) -> None:
    (registry.folder / "breast" / models[0].hash / "card.md").write_text("# Better than it is\n")
    slot = Slot()
    assert not slot.stage_from(registry)
    assert slot.results == ["refused"]


def test_a_bundle_that_nobody_trusted_signed_is_kept_out_and_the_old_one_goes_on(
    models: tuple[Bundle, ...], tmp_path: Path, registry: Registry
) -> None:
    private, public = keygen(tmp_path / "keys")
    registry.sign(Task.BREAST, models[0].hash, SigningKey.read(private))
    careful = Registry(registry.folder, trust=Trust.read(public))
    slot = Slot()
    slot.resume_from(careful)
    before = slot.values()
    registry.promote(Task.BREAST, models[1].hash)
    assert not slot.stage_from(careful)
    np.testing.assert_array_equal(slot.values(), before)
    assert slot.results == ["active", "untrusted"]
    assert slot.said[-1].why == f"bundle {models[1].short}: nobody signed it"
    slot.close()

"""A model in its shadow: what is recorded of it, and that nothing of it reaches a finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.swaps import sibling
from models.registry import Bundle, Registry, opened
from stream.checkpoint import Owners
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, Stay, Way
from stream.observing import ObserveEcg, Observing
from stream.pipeline import Products
from stream.topics import Topic
from tests.stream.test_laws import by_the_second, records
from vitals import codec
from vitals.events import EcgBundle, PairedAnswers, WindowArchive
from vitals.findings import Task
from vitals.selftest import PREFIX
from vitals.windows.ecg import BEAT_SPEC

TOLD = Observing(max_patients=1000, clock_ahead_us=2**61, archive_share=0.3)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    shipped = Registry(SHIPPED_BUNDLES).current(Task.ECG_BEAT)
    assert shipped is not None
    return shipped, opened(sibling(shipped, tmp_path_factory.mktemp("models") / "sibling"))


@pytest.fixture
def alone(two: tuple[Bundle, Bundle]) -> Iterator[ModelSlot]:
    slot = ModelSlot(Task.ECG_BEAT, BEAT_SPEC, lambda _: None, stay=Stay(3600, 3600))
    slot.stage(two[0], Way.AT_ONCE)
    slot.between_batches()
    yield slot
    slot.close()


@pytest.fixture
def shadowed(two: tuple[Bundle, Bundle]) -> Iterator[ModelSlot]:
    slot = ModelSlot(Task.ECG_BEAT, BEAT_SPEC, lambda _: None, stay=Stay(3600, 3600))
    slot.stage(two[0], Way.AT_ONCE)
    slot.between_batches()
    slot.stage(two[1])
    slot.between_batches()
    yield slot
    slot.close()


def many(times: int) -> list[EcgBundle]:
    """The ward of the laws, so many times over, and somebody of the self-test among them."""
    bundles = []
    for quiet in by_the_second():
        names = [f"{PREFIX if i == 0 else ''}{name}-{i}" for i in range(times) for name in quiet.patients]
        repeated = {
            name: list(getattr(quiet, name)) * times
            for name in ("devices", "start_us", "rate_hz", "leads", "gain_uv", "n_samples")
        }
        bundles.append(msgspec.structs.replace(quiet, patients=names, samples=quiet.samples * times, **repeated))
    return bundles


def of(products: Products, topic: Topic) -> list[bytes]:
    return [m.value for m in products.messages if m.topic is topic and m.value is not None]


def test_findings_are_the_same_bytes_with_a_model_in_the_shadow_and_without(
    alone: ModelSlot, shadowed: ModelSlot
) -> None:
    without, beside = (
        ObserveEcg({Task.ECG_BEAT: slot}, TOLD).process(records(many(10)), Owners(0)) for slot in (alone, shadowed)
    )
    assert of(without, Topic.FINDINGS) == of(beside, Topic.FINDINGS)
    assert of(without, Topic.WINDOWS) == of(beside, Topic.WINDOWS)
    assert without.said == beside.said
    assert {m.topic for m in beside.messages} == {Topic.FINDINGS, Topic.WINDOWS, Topic.CHALLENGES}
    assert of(without, Topic.CHALLENGES) == []


def test_what_both_said_is_recorded_of_a_bounded_share_of_patients_windows(
    two: tuple[Bundle, Bundle], shadowed: ModelSlot
) -> None:
    products = ObserveEcg({Task.ECG_BEAT: shadowed}, TOLD).process(records(many(10)), Owners(0))
    (answers,) = (codec.decode(PairedAnswers, value) for value in of(products, Topic.CHALLENGES))
    assert (answers.champion, answers.challenger, answers.serving) == (two[0].short, two[1].short, two[0].short)
    assert 32 < len(answers.patients) <= 64
    assert not any(name.startswith(PREFIX) for name in answers.patients)
    shape = (len(answers.patients), len(answers.columns))
    said = [
        np.frombuffer(tensor.data, "<f4").reshape(shape)
        for tensor in (answers.said_by_champion, answers.said_by_challenger)
    ]
    assert not np.array_equal(*said)
    np.testing.assert_allclose(*said, atol=0.01)
    assert products.paired.total() == len(answers.patients)
    assert products.paired["ecg-beat", "alike"] > 0


def test_the_windows_that_people_will_label_are_the_first_to_be_compared(shadowed: ModelSlot) -> None:
    few = Observing(max_patients=1000, clock_ahead_us=2**61, archive_share=0.05)
    products = ObserveEcg({Task.ECG_BEAT: shadowed}, few).process(records(many(10)), Owners(0))
    (answers,) = (codec.decode(PairedAnswers, value) for value in of(products, Topic.CHALLENGES))
    archived = [codec.decode(WindowArchive, value) for value in of(products, Topic.WINDOWS)]
    names = {pair for archive in archived for pair in zip(archive.patients, archive.end_us, strict=True)}
    assert 0 < len(names) < 64
    assert names <= set(zip(answers.patients, answers.end_us, strict=True))


def test_a_ward_of_nobody_is_not_compared(shadowed: ModelSlot) -> None:
    nobody = [msgspec.structs.replace(b, patients=[PREFIX + p for p in b.patients]) for b in by_the_second()]
    products = ObserveEcg({Task.ECG_BEAT: shadowed}, TOLD).process(records(nobody), Owners(0))
    assert of(products, Topic.CHALLENGES) == []
    assert products.paired.total() == 0


def test_the_sibling_is_another_model_with_another_name(two: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    assert two[0].hash != two[1].hash
    assert opened(sibling(two[0], tmp_path / "again")).hash == two[1].hash

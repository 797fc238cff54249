"""Nobody on two sides, one name for one content."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import TRAINED_TASKS, SplitRecipe, recipe
from trainer.corpus.sources import Source
from trainer.dataset import Dataset, DatasetRefused, Side, assembled, side_of
from trainer.examples import PersonExamples
from trainer.frozen import freeze, manifests, newest, thaw, without
from trainer.labels import SAME_PERSON
from vitals.findings import Task

SPLIT = SplitRecipe(held_out=("a/*",), validate=("b/*",), held_out_share=0.0, validate_share=0.0)
EVEN = SplitRecipe(held_out_share=0.25, validate_share=0.25)


def person(name: str, n: int = 3, seed: int = 0) -> PersonExamples:
    draw = np.random.default_rng([seed, *name.encode()])
    return PersonExamples(
        name,
        {"image": draw.random((n, 1, 28, 28)).astype(np.float32)},
        draw.integers(0, 2, n),
        np.arange(n, dtype=np.int64),
    )


def everyone() -> list[PersonExamples]:
    return [person(f"{group}/{i}") for group in "abc" for i in range(4)]


def made(people: list[PersonExamples], split: SplitRecipe = SPLIT) -> Dataset:
    return assembled(Task.BREAST, people, split)


def test_every_person_is_on_exactly_one_side() -> None:
    people = [person(f"p/{i}") for i in range(200)]
    dataset = made(people, EVEN)
    names = [name for side in Side for name in dataset[side].people]
    assert sorted(names) == sorted(one.person for one in people)
    assert all(len(dataset[side].people) > 30 for side in Side)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["a/9", "b/9", "c/9"]), st.integers(0, 30))
def test_a_side_does_not_move_as_the_corpus_grows(name: str, others: int) -> None:
    dataset = made([*everyone(), person(name), *(person(f"other/{i}") for i in range(others))], SPLIT)
    assert [side for side in Side if name in dataset[side].people] == [side_of(name, SPLIT)]


@pytest.mark.parametrize("split", [recipe(Task.ECG_BEAT).split, EVEN, SPLIT])
def test_two_records_of_one_man_are_on_one_side(split: SplitRecipe) -> None:
    for record, same in SAME_PERSON.items():
        assert side_of(record, split) is side_of(same, split)


def test_201_and_202_are_known_to_be_one_man() -> None:
    assert SAME_PERSON["mitdb/202"] == "mitdb/201"


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_quick_and_whole_recipe_agree_on_who_is_held_out(task: Task) -> None:
    assert recipe(task).split == recipe(task, quick=True).split


def test_one_person_read_from_two_places_is_one_person() -> None:
    dataset = made([*everyone(), person("c/0", n=5, seed=1)])
    train = dataset[Side.TRAIN]
    assert train.people.count("c/0") == 1
    assert int((train.person == train.people.index("c/0")).sum()) == 8


def test_the_hash_does_not_depend_on_the_order_of_reading() -> None:
    people = [*everyone(), person("c/0", n=5, seed=1)]
    assert made(people).hash == made(people[::-1]).hash


def test_the_hash_changes_with_one_sample_one_label_or_one_person() -> None:
    hashes = {made(everyone()).hash}
    sample, label = everyone(), everyone()
    sample[5].inputs["image"][0, 0, 0, 0] += 1e-6
    label[5].target[0] = 1 - label[5].target[0]
    hashes |= {made(sample).hash, made(label).hash, made(everyone()[:-1]).hash}
    assert len(hashes) == 4


SOURCES = [Source(licence="CC BY 4.0", files={"a.npz": "0" * 64})]


def frozen(dataset: Dataset, state: Path) -> Path:
    return freeze(dataset, state, SPLIT, SOURCES, now_us=7)


def test_a_frozen_dataset_comes_back_whole(tmp_path: Path) -> None:
    dataset = made(everyone())
    back = thaw(frozen(dataset, tmp_path), Task.BREAST)
    assert back.hash == dataset.hash
    for side in Side:
        assert back[side].people == dataset[side].people
        np.testing.assert_array_equal(back[side].inputs["image"], dataset[side].inputs["image"])
        np.testing.assert_array_equal(back[side].target, dataset[side].target)


def test_the_manifest_beside_it_says_whose_it_is_what_was_left_out_and_under_what_terms(tmp_path: Path) -> None:
    dataset = assembled(Task.BREAST, everyone(), SPLIT, Counter({"no label": 4}))
    frozen(dataset, tmp_path)
    (manifest,) = manifests(tmp_path, Task.BREAST)
    assert (manifest.hash, manifest.frozen_us, manifest.split) == (dataset.hash, 7, SPLIT)
    held_out = manifest.sides["held-out"]
    assert held_out.people == [f"a/{i}" for i in range(4)]
    assert held_out.windows == sum(held_out.per_class.values()) == 12
    assert manifest.excluded == {"no label": 4}
    assert manifest.sources == SOURCES
    assert manifest.has("b/1")
    assert not manifest.has("b/9")


def test_freezing_keeps_the_newest_arrays_and_every_manifest(tmp_path: Path) -> None:
    frozen(made(everyone()), tmp_path)
    path = frozen(made(everyone()[:-1]), tmp_path)
    assert newest(tmp_path, Task.BREAST) == path
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".json", ".json", ".npz"]


def test_an_altered_frozen_dataset_is_refused(tmp_path: Path) -> None:
    path = frozen(made(everyone()), tmp_path)
    other = frozen(made(everyone()[:-1]), tmp_path / "other")
    path.write_bytes(other.read_bytes())
    with pytest.raises(DatasetRefused, match="altered"):
        thaw(path, Task.BREAST)


def test_a_person_leaves_a_frozen_dataset_whole_and_it_gets_another_name(tmp_path: Path) -> None:
    dataset = made([*everyone(), person("c/9", n=5)])
    frozen(dataset, tmp_path)
    assert without(tmp_path, Task.BREAST, {"c/9", "nobody"}, now_us=8) == 5
    path = newest(tmp_path, Task.BREAST)
    assert path is not None
    assert thaw(path, Task.BREAST).hash == made(everyone()).hash
    now = next(manifest for manifest in manifests(tmp_path, Task.BREAST) if manifest.hash == path.stem)
    assert now.excluded == {"erased": 5}
    assert not now.has("c/9")
    assert without(tmp_path, Task.BREAST, {"c/9"}, now_us=9) == 0


def test_a_dataset_that_loses_a_whole_side_goes_altogether(tmp_path: Path) -> None:
    frozen(made(everyone()), tmp_path)
    assert without(tmp_path, Task.BREAST, {f"a/{i}" for i in range(4)}, now_us=8) == 12
    assert newest(tmp_path, Task.BREAST) is None


def renamed(one: PersonExamples, name: str, rows: slice = slice(None)) -> PersonExamples:
    return dataclasses.replace(one.of(np.arange(len(one))[rows]), person=name)


@pytest.mark.parametrize("other", ["b/x", "c/x"])
def test_a_patient_under_another_name_on_another_side_is_refused(other: str) -> None:
    held_out = person("a/0", n=20)
    with pytest.raises(DatasetRefused, match="under another name") as refused:
        made([*everyone()[1:], held_out, renamed(held_out, other, slice(10))])
    assert other not in str(refused.value)


def test_under_another_name_on_the_same_side_he_may_stay() -> None:
    assert len(made([*everyone(), renamed(person("c/0"), "c/x")])[Side.TRAIN]) == 15


def test_a_single_window_that_is_held_out_too_is_not_learnt_from() -> None:
    picture = person("a/pic", n=1)
    dataset = made([*everyone(), picture, renamed(picture, "c/pic")])
    assert "c/pic" not in dataset[Side.TRAIN].people
    assert "a/pic" in dataset[Side.HELD_OUT].people
    assert dataset.excluded == {"the same window is on a side that is not learnt from": 1}


def forecast(name: str, truth_after_us: int) -> PersonExamples:
    draw = np.random.default_rng([3, *name.encode()])
    end_us = np.arange(4, dtype=np.int64) * 300_000_000
    return PersonExamples(
        name,
        {"glucose": draw.random((4, 48, 2)).astype(np.float32)},
        np.full((4, 12), 100, np.float32),
        end_us,
        truth_us=end_us + truth_after_us,
    )


def test_a_forecast_whose_truth_was_in_its_own_window_is_refused() -> None:
    names = [f"{group}/{i}" for group in "abc" for i in range(2)]
    fine = [forecast(name, 300_000_000) for name in names]
    assert len(assembled(Task.GLUCOSE, fine, SPLIT)[Side.TRAIN]) == 8
    with pytest.raises(DatasetRefused, match="4 targets are from inside their own windows"):
        assembled(Task.GLUCOSE, [*fine, forecast("c/x", 0)], SPLIT)
    untold = dataclasses.replace(forecast("c/x", 1), truth_us=np.zeros(0, np.int64))
    with pytest.raises(DatasetRefused, match="4 targets"):
        assembled(Task.GLUCOSE, [*fine, untold], SPLIT)


def test_an_empty_side_is_refused_by_name() -> None:
    with pytest.raises(DatasetRefused, match="held-out"):
        made([one for one in everyone() if not one.person.startswith("a/")])
    with pytest.raises(DatasetRefused, match="breast: nobody to train"):
        made([])

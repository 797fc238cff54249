"""Nobody on two sides, one name for one content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import TRAINED_TASKS, SplitRecipe, recipe
from trainer.dataset import Dataset, DatasetRefused, Side, assembled, freeze, side_of, thaw
from trainer.examples import PersonExamples
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


def test_a_frozen_dataset_comes_back_whole(tmp_path: Path) -> None:
    dataset = made(everyone())
    back = thaw(freeze(dataset, tmp_path), Task.BREAST)
    assert back.hash == dataset.hash
    for side in Side:
        assert back[side].people == dataset[side].people
        np.testing.assert_array_equal(back[side].inputs["image"], dataset[side].inputs["image"])
        np.testing.assert_array_equal(back[side].target, dataset[side].target)


def test_freezing_keeps_the_newest_only(tmp_path: Path) -> None:
    freeze(made(everyone()), tmp_path)
    newest = freeze(made(everyone()[:-1]), tmp_path)
    assert list(newest.parent.iterdir()) == [newest]


def test_an_altered_frozen_dataset_is_refused(tmp_path: Path) -> None:
    path = freeze(made(everyone()), tmp_path)
    other = freeze(made(everyone()[:-1]), tmp_path / "other")
    path.write_bytes(other.read_bytes())
    with pytest.raises(DatasetRefused, match="altered"):
        thaw(path, Task.BREAST)


def test_an_empty_side_is_refused_by_name() -> None:
    with pytest.raises(DatasetRefused, match="held-out"):
        made([one for one in everyone() if not one.person.startswith("a/")])
    with pytest.raises(DatasetRefused, match="breast: nobody to train"):
        made([])

"""Answers of a ward, hour by hour, beside the hours before."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from vitals.drift.answers import Answers, Judged, stability_index

HOUR_US = 3600 * 1_000_000
USUAL = {"p_n": 95, "p_v": 5}
OTHER = {"p_n": 60, "p_v": 40}


def hours(*said: Mapping[str, int], answers: Answers | None = None) -> list[Judged]:
    """An hour of each, in twelve batches: what the blocks say that became whole."""
    answers = answers or Answers()
    at_us, judged = 0, []
    for counts in said:
        for _ in range(12):
            block = answers.take({word: 10 * n for word, n in counts.items()}, at_us)
            at_us += HOUR_US // 12
            if block is not None:
                judged.append(block)
    return judged


def test_the_index_is_that_of_the_textbook_and_nothing_for_the_same_shares() -> None:
    assert stability_index({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}) == 0.0
    assert stability_index({"a": 0.7, "b": 0.3}, {"a": 0.9, "b": 0.1}) == pytest.approx(0.2700, abs=1e-4)
    assert stability_index({"a": 1.0}, {"b": 1.0}) > 10


def test_the_first_hours_only_say_what_is_usual() -> None:
    assert {judged.index for judged in hours(USUAL, OTHER, USUAL, OTHER, USUAL)} == {None}


def test_other_answers_for_two_hours_are_told_once_and_end_with_them() -> None:
    judged = hours(*[USUAL] * 10, *[OTHER] * 4, *[USUAL] * 10)
    assert [block.event for block in judged if block.event] == ["began", "ended"]
    began = next(block for block in judged if block.event == "began")
    assert began.index is not None
    assert began.index > 0.25
    assert began.from_us == pytest.approx(10 * HOUR_US, abs=HOUR_US * 1.2)


def test_one_strange_hour_is_not_told() -> None:
    assert not any(block.event for block in hours(*[USUAL] * 10, OTHER, *[USUAL] * 10))


def test_answers_that_stay_as_they_have_become_are_the_usual_ones_after_some_days() -> None:
    judged = hours(*[USUAL] * 10, *[OTHER] * 100)
    assert [block.event for block in judged if block.event] == ["began", "ended"]


def test_a_few_windows_are_no_block() -> None:
    answers = Answers()
    assert all(answers.take({"p_normal": 1}, hour * HOUR_US) is None for hour in range(150))
    assert answers.take({"p_normal": 60}, 150 * HOUR_US) is not None

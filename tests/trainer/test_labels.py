"""Symbols, words and later readings as truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.labels import (
    AAMI_CLASS,
    BEAT_CLASSES,
    LEFT_OUT,
    MATCH_US,
    NO_BEAT,
    beat_targets,
    class_of,
    future_mg_dl,
    limit_crossed,
    matched,
)
from vitals.findings import COLUMNS, FORECAST_HORIZONS_MIN, FORECAST_LIMITS, Task

MINUTE_US = 60_000_000
N, S, V, F, Q = range(5)


def us(*times_ms: float) -> np.ndarray:
    return np.array([round(t * 1000) for t in times_ms], dtype=np.int64)


def test_every_beat_symbol_of_ec57_table_1_has_its_class_and_nothing_else_has_one() -> None:
    table = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
    assert {symbol: "NSVFQ"[k] for symbol, k in AAMI_CLASS.items()} == {s: c for c, row in table.items() for s in row}
    assert not {"+", "~", "|", "!", "[", "]", "x"} & AAMI_CLASS.keys()


def test_class_order_is_the_order_of_the_finding_columns() -> None:
    assert [f"p_{name}" for name in BEAT_CLASSES] == list(COLUMNS[Task.ECG_BEAT][:5])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 10_000), unique=True, max_size=40),
    st.lists(st.integers(0, 10_000), unique=True, max_size=40),
)
def test_matching_is_one_to_one_and_within_150_ms(detected_ms: list[int], reference_ms: list[int]) -> None:
    detected, reference = us(*sorted(detected_ms)), us(*sorted(reference_ms))
    match = matched(detected, reference)
    claimed = match[match >= 0]
    assert len(set(claimed.tolist())) == len(claimed)
    assert (np.abs(detected[match >= 0] - reference[claimed]) <= MATCH_US).all()


def test_two_detections_of_one_beat_leave_the_nearer() -> None:
    assert matched(us(900, 1010), us(1000)).tolist() == [-1, 0]


def test_a_detection_151_ms_away_is_no_beat() -> None:
    assert matched(us(849, 2150), us(1000, 2000)).tolist() == [-1, 1]


def test_missed_beats_are_counted_by_class_and_a_false_detection_is_none() -> None:
    target, lost = beat_targets(us(1000, 1500, 3000), us(1000, 2000, 3000), ("N", "V", "A"), paced=False)
    assert target.tolist() == [N, NO_BEAT, S]
    assert lost.tolist() == [0, 0, 1, 0, 0]


def test_detections_in_ventricular_flutter_are_left_out() -> None:
    target, _ = beat_targets(us(1000, 2000, 2500, 4000), us(1000, 1800, 3000, 4000), ("N", "[", "]", "N"), paced=False)
    assert target.tolist() == [N, LEFT_OUT, LEFT_OUT, N]


def test_a_paced_record_teaches_q_and_nothing_else() -> None:
    target, lost = beat_targets(us(1000, 2000), us(1000, 2000, 3000, 4000), ("/", "V", "V", "f"), paced=True)
    assert target.tolist() == [Q, LEFT_OUT]
    assert lost.tolist() == [0, 0, 0, 0, 1]


def test_the_future_is_read_at_each_horizon_between_readings() -> None:
    time_us = np.arange(0, 26) * 5 * MINUTE_US
    glucose = 100.0 + np.arange(26)
    future = future_mg_dl(np.array([0, round(2.5 * MINUTE_US)]), time_us, glucose)
    assert future.shape == (2, len(FORECAST_HORIZONS_MIN))
    np.testing.assert_allclose(future[0], 100 + np.arange(1, 13))
    np.testing.assert_allclose(future[1], 100.5 + np.arange(1, 13))


def test_a_future_inside_a_gap_of_more_than_20_minutes_is_not_known() -> None:
    time_us = np.array([0, 5, 30, 35]) * MINUTE_US
    future = future_mg_dl(np.array([0]), time_us, np.array([100.0, 110.0, 160.0, 170.0]))[0]
    known = {m: v for m, v in zip(FORECAST_HORIZONS_MIN, future.tolist(), strict=True) if not np.isnan(v)}
    assert known == {5: 110.0, 30: 160.0, 35: 170.0}


def test_nothing_is_known_after_the_last_reading() -> None:
    assert np.isnan(future_mg_dl(np.array([0]), np.array([0]), np.array([100.0]))).all()


def test_limits_are_crossed_strictly_and_unknown_where_the_future_is() -> None:
    crossed = limit_crossed(np.array([[70.0, 53.0, 251.0, np.nan]], dtype=np.float32))[0]
    at = {name: i for i, name in enumerate(FORECAST_LIMITS)}
    assert crossed[0].tolist() == [0, 0, 0, 0]
    assert crossed[1, [at["below_70"], at["below_54"]]].tolist() == [1, 1]
    assert crossed[2, [at["above_180"], at["above_250"]]].tolist() == [1, 1]
    assert np.isnan(crossed[3]).all()


@pytest.mark.parametrize(
    ("task", "word", "expected"),
    [
        (Task.ECG_BEAT, "V", 2),
        (Task.ECG_BEAT, " p_s ", 1),
        (Task.PNEUMONIA, "Pneumonia", 1),
        (Task.BREAST, "malignant", 0),
        (Task.BREAST, "V", None),
        (Task.GLUCOSE, "low", None),
        (Task.ECG_BEAT, "", None),
    ],
)
def test_the_words_of_a_label(task: Task, word: str, expected: int | None) -> None:
    assert class_of(task, word) == expected

from __future__ import annotations

import numpy as np
import pytest

from stream.comparison import LEAST_CALLS, LEAST_CALLS_FOR_TAIL, LEAST_WINDOWS, Answers, Comparison
from vitals.findings import Task

COLUMNS = ("p_n", "p_s", "p_v", "p_f", "p_q")
V = COLUMNS.index("p_v")


def beats(rng: np.random.Generator, n: int, share_v: float = 0.05) -> np.ndarray:
    """float64[n, 5]: probabilities as a beat model gives them."""
    logits = rng.normal(0, 0.5, (n, len(COLUMNS)))
    logits[:, 0] += 4
    logits[rng.random(n) < share_v, V] += 8
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


def answers(values: np.ndarray, seconds: float = 0.001, columns: tuple[str, ...] = COLUMNS) -> Answers:
    return Answers(columns, values, seconds)


def test_nothing_speaks_against_a_model_beside_itself() -> None:
    rng = np.random.default_rng(1)
    comparison = Comparison(Task.ECG_BEAT)
    for _ in range(200):
        said = beats(rng, 10)
        assert comparison.add(answers(said, rng.exponential(0.001)), answers(said, rng.exponential(0.001))).all()
        assert comparison.objection() == ""
    assert comparison.windows == 2000


def test_a_model_that_calls_no_ventricular_beats_any_more_is_found() -> None:
    rng = np.random.default_rng(2)
    comparison = Comparison(Task.ECG_BEAT)
    said = beats(rng, 400, share_v=0.1)
    blind = said.copy()
    blind[:, V] = 0
    alike = comparison.add(answers(said), answers(blind))
    assert 0.85 < alike.mean() < 0.95
    assert comparison.objection().startswith("calls p_v in 0.0% of 400 windows, its predecessor in ")


def test_a_little_more_of_a_rare_call_is_no_jump() -> None:
    rng = np.random.default_rng(3)
    comparison = Comparison(Task.ECG_BEAT)
    said = beats(rng, 1000, share_v=0.02)
    more = said.copy()
    more[:15] = np.eye(len(COLUMNS))[V]
    comparison.add(answers(said), answers(more))
    assert comparison.objection() == ""


def test_few_windows_say_nothing_of_what_is_said() -> None:
    comparison = Comparison(Task.ECG_BEAT)
    normal, ventricular = np.tile(np.eye(5)[0], (LEAST_WINDOWS - 1, 1)), np.tile(np.eye(5)[V], (LEAST_WINDOWS - 1, 1))
    comparison.add(answers(normal), answers(ventricular))
    assert comparison.objection() == ""
    comparison.add(answers(normal[:1]), answers(ventricular[:1]))
    assert comparison.objection() != ""


def test_a_forecast_that_is_off_by_twenty_is_found_where_no_range_changes() -> None:
    columns = ("h30_mean", "h30_p_below_70")
    said = np.column_stack([np.linspace(100, 140, 150), np.full(150, 0.01)])
    comparison = Comparison(Task.GLUCOSE)
    assert comparison.add(answers(said, columns=columns), answers(said + np.array([20, 0]), columns=columns)).all()
    assert "the mean of h30_mean is +20" in comparison.objection()


def test_probabilities_that_drift_without_another_call_are_found() -> None:
    columns = ("p_normal", "p_pneumonia")
    said = np.tile([0.95, 0.05], (150, 1))
    comparison = Comparison(Task.PNEUMONIA)
    comparison.add(answers(said, columns=columns), answers(said + np.array([-0.2, 0.2]), columns=columns))
    assert "the mean of p_normal" in comparison.objection()


def test_an_answer_that_is_missing_on_one_side_is_a_jump() -> None:
    said = np.tile([0.95, 0.05], (150, 1))
    comparison = Comparison(Task.BREAST)
    comparison.add(answers(said, columns=("p_a", "p_b")), answers(said, columns=("p_a", "p_c")))
    assert comparison.objection() != ""


@pytest.mark.parametrize("factor", [1.0, 1.6])
def test_a_busy_machine_is_not_taken_for_a_slow_model(factor: float) -> None:
    """Now and then the machine is somewhere else for 4 ms, and 1.6 times as long is allowed."""
    said = np.tile([0.9, 0.1], (1, 1))
    objections = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        comparison = Comparison(Task.BREAST)
        for _ in range(150):
            interrupted = rng.pareto(1.2, 2) * 0.001 * (rng.random(2) < 0.05)
            seconds = 0.0007 * np.array([1.0, factor]) + interrupted
            comparison.add(answers(said, seconds[0], ("p_a", "p_b")), answers(said, seconds[1], ("p_a", "p_b")))
        objections += comparison.objection() != ""
    assert objections <= 2


def test_a_model_that_takes_three_times_as_long_is_found_within_seconds() -> None:
    said = np.tile([0.9, 0.1], (1, 1))
    comparison = Comparison(Task.BREAST)
    for _ in range(LEAST_CALLS):
        assert comparison.objection() == ""
        comparison.add(answers(said, 0.001, ("p_a", "p_b")), answers(said, 0.003, ("p_a", "p_b")))
    assert comparison.objection() == "slower: median 3.00 ms a call, its predecessor's 1.00 ms"


def test_a_model_that_is_slow_one_time_in_ten_is_found_by_its_tail() -> None:
    said = np.tile([0.9, 0.1], (1, 1))
    comparison = Comparison(Task.BREAST)
    for i in range(LEAST_CALLS_FOR_TAIL):
        assert comparison.objection() == ""
        slow = 0.02 if i % 10 == 0 else 0.001
        comparison.add(answers(said, 0.001, ("p_a", "p_b")), answers(said, slow, ("p_a", "p_b")))
    assert comparison.objection().startswith("slower: 10% of its calls above 2.00 ms")

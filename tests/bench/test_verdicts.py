"""The fitting and the counting behind the judges of monitor alarms, on evidence made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.verdicts.crossing import Heard, Judged, chosen, crossed, interval, score
from bench.verdicts.fitting import fitted
from bench.verdicts.report import page_of, report_of
from models.verdicts import Judge, Judges, Term

SIGNS = {"speaks": 1, "silent": -1}


def _alarms(n: int = 120, seed: int = 4) -> list[Heard]:
    """One measure that says whether an alarm is true, with some doubt, and one that says nothing."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(size=n) < 0.4
    speaks = true * 2.0 + rng.normal(0, 0.7, n)
    noise = rng.normal(0, 1, n)
    return [
        Heard(f"r{i:03}", "Asystole", bool(true[i]), {"speaks": float(speaks[i]), "silent": float(noise[i])})
        for i in range(n)
    ]


def _fit(alarms: list[Heard], signs: dict[str, int], ridge: float = 1.0) -> Judge:
    return fitted([one.evidence for one in alarms], np.array([one.true for one in alarms]), signs, ridge)


def test_a_measure_speaks_in_its_own_direction_or_not_at_all() -> None:
    (term,) = _fit(_alarms(), {"speaks": 1}).terms
    assert term.weight > 0
    assert _fit(_alarms(), {"speaks": -1}).terms == ()


def test_the_stronger_the_ridge_the_less_is_said() -> None:
    weights = [_fit(_alarms(), {"speaks": 1}, ridge).terms[0].weight for ridge in (0.1, 10.0, 1000.0)]
    assert weights == sorted(weights, reverse=True)


def test_on_alarms_that_say_nothing_the_judge_says_the_prior() -> None:
    rng = np.random.default_rng(1)
    alarms = [Heard(f"r{i}", "Asystole", i % 4 == 0, {"silent": float(rng.normal())}) for i in range(200)]
    judge = _fit(alarms, {"silent": 1}, ridge=100.0)
    assert judge.probability({"silent": 0.0}) == pytest.approx(0.25, abs=0.05)
    assert judge.prior == 0.25


def test_an_alarm_is_judged_by_judges_that_never_saw_it() -> None:
    """Turning one label round changes the verdicts on other blocks and not the probability of its own block."""
    alarms = _alarms()
    turned = [*alarms]
    turned[7] = Heard("r007", "Asystole", not alarms[7].true, alarms[7].evidence)
    before, after = crossed(alarms, SIGNS), crossed(turned, SIGNS)
    assert [one.probability for one in before[:12]] == [one.probability for one in after[:12]]
    assert [one.probability for one in before[12:]] != [one.probability for one in after[12:]]
    assert [one.heard.record for one in before] == [one.record for one in alarms]


def test_crossed_judges_tell_what_can_be_told() -> None:
    judged = crossed(_alarms(), SIGNS)
    true, called = (np.array(x) for x in zip(*((one.heard.true, one.called) for one in judged), strict=True))
    low, high = interval(judged)
    assert 70 < low < score(true, called) < high <= 100


def test_the_score_is_that_of_the_challenge() -> None:
    true = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    called = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    assert score(true, called) == pytest.approx(100 * 6 / (6 + 1 + 5))


def test_a_miss_is_feared_more_than_a_false_alarm() -> None:
    assert chosen(_alarms(), SIGNS).true_from < 0.5


def test_the_page_counts_what_the_report_counts() -> None:
    heard = [Heard(f"r{i}", "Asystole", i < 4, {}) for i in range(10)]
    judged = {"Asystole": [Judged(one, 0.8 if one.true else 0.1, one.record != "r0" and one.true) for one in heard]}
    judges = Judges("abc", {"Asystole": Judge(0.4, 0.2, -1.0, (Term("gap_all", 1.0, 0.5, 2.0),))})
    report = report_of(judged, judges)
    assert (report["all"]["tp"], report["all"]["fn"], report["all"]["tn"]) == (3, 1, 6)
    assert report["wrong"] == [["r0", "Asystole", 1, 0.8]]
    assert any(line.startswith("| Asystole | 10, 4 | 3 | 0 | 1 | 6 | 75.0 %") for line in page_of(judged, judges))

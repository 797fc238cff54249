"""The fitting and the counting behind the judges of monitor alarms, on evidence made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.verdicts.crossing import Heard, Judged, chosen, crossed, interval, score
from bench.verdicts.fitting import Signs, fitted
from bench.verdicts.report import page_of, report_of
from models.verdicts import Judge, Judges, Term
from vitals.evidence import Evidence

SIGNS = Signs({"speaks": 1, "silent": -1})


def _alarms(n: int = 120, seed: int = 4) -> list[Heard]:
    """One measure that says whether an alarm is true, with some doubt, and one that says nothing."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(size=n) < 0.4
    speaks = true * 2.0 + rng.normal(0, 0.7, n)
    noise = rng.normal(0, 1, n)
    return [
        Heard(
            f"r{i:03}", "Asystole", bool(true[i]), Evidence({"speaks": float(speaks[i]), "silent": float(noise[i])}, {})
        )
        for i in range(n)
    ]


def _fit(alarms: list[Heard], signs: Signs, ridge: float = 1.0) -> Judge:
    return fitted([one.evidence for one in alarms], np.array([one.true for one in alarms]), signs, ridge)


@pytest.mark.parametrize(("sign", "speaks"), [(1, True), (-1, False)])
def test_a_measure_speaks_in_its_own_direction_or_not_at_all(sign: int, speaks: bool) -> None:
    (term,) = _fit(_alarms(), Signs({"speaks": sign})).whole
    assert (term.weight > 0.5) is speaks
    assert term.weight >= 0 or speaks is False


def test_the_stronger_the_ridge_the_less_is_said() -> None:
    weights = [_fit(_alarms(), Signs({"speaks": 1}), ridge).whole[0].weight for ridge in (0.1, 10.0, 1000.0)]
    assert weights == sorted(weights, reverse=True)


def test_on_alarms_that_say_nothing_the_judge_says_the_prior() -> None:
    rng = np.random.default_rng(1)
    alarms = [Heard(f"r{i}", "Asystole", i % 4 == 0, Evidence({"silent": float(rng.normal())}, {})) for i in range(200)]
    judge = _fit(alarms, Signs({"silent": 1}), ridge=100.0)
    assert judge.probability(Evidence({"silent": 0.0}, {})) == pytest.approx(0.25, abs=0.05)
    assert judge.prior == 0.25


def test_an_event_needs_to_be_seen_at_one_moment_with_all_that_belongs_to_it() -> None:
    """True alarms have one moment that is fast and broad; false ones are fast at one moment and broad at another."""
    rng = np.random.default_rng(3)
    alarms = []
    for i in range(120):
        fast, broad = rng.normal(0, 0.3, (2, 12))
        at, other = rng.choice(12, 2, replace=False)
        fast[at] += 3.0
        broad[at if i % 2 else other] += 3.0
        alarms.append(Heard(f"r{i:03}", "Asystole", bool(i % 2), Evidence({}, {"fast": fast, "broad": broad})))
    judge = _fit(alarms, Signs({}, {"fast": 1, "broad": 1}))
    called = [judge.probability(one.evidence) > 0.5 for one in alarms]
    assert np.mean([said == one.true for said, one in zip(called, alarms, strict=True)]) > 0.95
    nothing = Evidence({}, {"fast": np.empty(0), "broad": np.empty(0)})
    assert 0.0 < judge.probability(nothing) < 0.5


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
    assert 60 < low < score(true, called) < high < 100


def test_the_score_is_that_of_the_challenge() -> None:
    true = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    called = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    assert score(true, called) == pytest.approx(100 * 6 / (6 + 1 + 5))


def test_a_miss_is_feared_more_than_a_false_alarm() -> None:
    alarms, judge = _alarms(), chosen(_alarms(), SIGNS)
    doubtful = [one for one in alarms if judge.true_from <= judge.probability(one.evidence) < 0.5]
    assert doubtful
    assert all(one.called for one in crossed(alarms, SIGNS) if one.probability > 0.2)


def test_the_page_counts_what_the_report_counts() -> None:
    heard = [Heard(f"r{i}", "Asystole", i < 4, Evidence({}, {})) for i in range(10)]
    judged = {"Asystole": [Judged(one, 0.8 if one.true else 0.1, one.record != "r0" and one.true) for one in heard]}
    judges = Judges("abc", {"Asystole": Judge(0.4, 0.2, -1.0, (Term("pause", 1.0, 0.5, 2.0),))})
    report = report_of(judged, judges)
    assert (report["all"]["tp"], report["all"]["fn"], report["all"]["tn"]) == (3, 1, 6)
    assert report["wrong"] == [["r0", "Asystole", 1, 0.8]]
    assert any(line.startswith("| Asystole | 10, 4 | 3 | 0 | 1 | 6 | 75.0 %") for line in page_of(judged, judges))

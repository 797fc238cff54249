"""The gate: a table of rules over what is known of two models on one frozen set. Pure; one rule that fails and the
champion stays.

A challenger need not be better than the champion: it has learnt from newer data. It must not be worse. "Not worse" is
judged on paired draws of people, with a margin that is part of the rule; single figures of a small set would let noise
decide. Margins are about what two seeds of one recipe on one dataset differ by, and wider where the set is small: a
margin that a better model misses one time in ten would stop the trainer for nothing (``bench.gate_proof`` counts both).
Without a champion only what needs none stands.

It must not be too good either, nor too different. What gains more at once than newer data can explain has more likely
seen the answers, and what calls another share of the ward from one day to the next needs a person, even when every
figure is fine. These are the last rows: how far a release may move without one (the bounds of a predetermined change
control plan, FDA 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from trainer.evaluate import Evaluation
from trainer.evidence import Evidence
from trainer.examples import SPEC
from vitals.findings import FORECAST_LIMITS, Task

PNEUMONIA: Final = frozenset({Task.PNEUMONIA})
BREAST: Final = frozenset({Task.BREAST})
IMAGING: Final = PNEUMONIA | BREAST
BEATS: Final = frozenset({Task.ECG_BEAT})
FORECAST: Final = frozenset({Task.GLUCOSE})
RECENT: Final = frozenset({Task.ECG_AF})
EVERY: Final = IMAGING | BEATS | FORECAST | RECENT

_CONFIDENCE: Final = 5.0
"""Percentile of the paired draws that must stay inside the margin: one-sided 95 %."""
_FEWEST: Final[dict[Task, tuple[int, int]]] = {
    Task.ECG_BEAT: (3, 1000),
    Task.GLUCOSE: (5, 1000),
    Task.PNEUMONIA: (50, 50),
    Task.BREAST: (50, 50),
    Task.ECG_AF: (50, 50),
}
"""People and examples below which no comparison says anything."""
_SLOWEST_US: Final[dict[Task, float]] = {
    Task.ECG_BEAT: 40.0,
    Task.GLUCOSE: 150.0,
    Task.PNEUMONIA: 800.0,
    Task.BREAST: 800.0,
    Task.ECG_AF: 400.0,
}
"""CPU per window on one thread; what serves now takes 10, 27, 172 and 171 (``bench/reports/engines.json``)."""
_SLOWER: Final = 1.5
_LARGEST_BYTES: Final = 4 << 20
_LARGER: Final = 2.0
_TWINS: Final = 0.002
"""Share of held-out windows that may have a twin in the learning: a device's test pattern, an image filed twice."""
_GONE: Final = 0.2
"""A class is lost when its mean probability falls below this share of the champion's."""
_DISTORTED: Final = 2.0
_LEAST_P: Final = 1e-9
_RARE: Final = 5
_FEWEST_ERRORS: Final = 10
_FEWEST_ERRORS_OF_ONE: Final = 30
_VANISH: Final = 0.1
_SWAY: Final = 3.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model: what it did on the frozen set, and what is known of it besides."""

    evaluation: Evaluation
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides on the same people. ``champion`` is None when nothing has served yet."""

    challenger: Candidate
    champion: Candidate | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule said: ``text`` holds the figures it looked at."""

    rule: str
    passed: bool
    text: str


Finding = tuple[bool, str]
Floor = Callable[[Candidate], Finding]
Pairing = Callable[[Candidate, Candidate], Finding]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``why``: the hazard it keeps out. ``alone`` asks the challenger, ``paired`` it and the champion.

    One of the two is there; a paired rule is skipped, and said so, without a champion.
    """

    name: str
    tasks: frozenset[Task]
    why: str
    alone: Floor | None = None
    paired: Pairing | None = None


def _enough(one: Candidate) -> Finding:
    made = one.evaluation
    people, examples = _FEWEST[made.task]
    passed = made.people >= people and made.examples >= examples
    return passed, f"{made.people} people, {made.examples} windows (at least {people}, {examples})"


def _apart(one: Candidate) -> Finding:
    people, windows = one.evidence.shared_people, one.evidence.shared_windows
    text = f"{people} held-out people and {100 * windows:.2f} % of their windows were learnt from"
    return people == 0 and windows <= _TWINS, f"{text} (at most 0, {100 * _TWINS:g} %)"


def _numbers(one: Candidate) -> Finding:
    unusable = one.evaluation.unusable
    return unusable == 0, f"{unusable} of {one.evaluation.examples} answers are no number or no probability"


def _fits(one: Candidate) -> Finding:
    window = one.evidence.contract.window
    return window == SPEC[one.evaluation.task], f"reads {window}, the windows are {SPEC[one.evaluation.task]}"


def _quick(one: Candidate) -> Finding:
    # the figure is not the same twice: it stands in the text only where it refuses, so that a card can be made again
    ceiling, taken = _SLOWEST_US[one.evaluation.task], one.evidence.us_per_window
    return taken <= ceiling, _above(taken, ceiling, "us a window")


def _small(one: Candidate) -> Finding:
    return one.evidence.onnx_bytes <= _LARGEST_BYTES, f"{one.evidence.onnx_bytes} bytes (at most {_LARGEST_BYTES})"


def _no_slower(one: Candidate, champion: Candidate) -> Finding:
    factor = one.evidence.us_per_window / champion.evidence.us_per_window
    return factor <= _SLOWER, _above(factor, _SLOWER, "times what the champion takes")


def _no_larger(one: Candidate, champion: Candidate) -> Finding:
    factor = one.evidence.onnx_bytes / champion.evidence.onnx_bytes
    return factor <= _LARGER, f"{factor:.2f} times the champion's size (at most {_LARGER:g})"


def _same_set(one: Candidate, champion: Candidate) -> Finding:
    same = one.evaluation.frozen == champion.evaluation.frozen
    return same, f"{one.evaluation.examples} windows on both sides" if same else "not the same windows and truths"


def _same_contract(one: Candidate, champion: Candidate) -> Finding:
    mine, theirs = one.evidence.contract, champion.evidence.contract
    differ = [name for name in mine.__struct_fields__ if getattr(mine, name) != getattr(theirs, name)]
    return not differ, f"other {' and '.join(differ)} than the champion" if differ else "names, order and shapes agree"


def at_least(metric: str, floor: float) -> Floor:
    """``metric`` is measured and not below ``floor``."""

    def check(one: Candidate) -> Finding:
        value = one.evaluation.metrics.get(metric)
        if value is None:
            return False, f"{metric} could not be measured"
        return value >= floor, f"{metric} {value:.4f} (at least {floor:g})"

    return check


def at_most(metric: str, ceiling: float) -> Floor:
    """``metric`` is measured and not above ``ceiling``."""

    def check(one: Candidate) -> Finding:
        value = one.evaluation.metrics.get(metric)
        if value is None:
            return False, f"{metric} could not be measured"
        return value <= ceiling, f"{metric} {value:.4f} (at most {ceiling:g})"

    return check


def beats(metric: str, other: str) -> Floor:
    """``metric`` is below another figure of the same evaluation (an error below the naive forecast's)."""

    def check(one: Candidate) -> Finding:
        value, naive = one.evaluation.metrics.get(metric), one.evaluation.metrics.get(other)
        if value is None or naive is None:
            return False, f"{metric} or {other} could not be measured"
        return value < naive, f"{metric} {value:.2f} against {other} {naive:.2f}"

    return check


def no_worse(metric: str, margin: float, *, higher_is_better: bool = True, relative: bool = False) -> Pairing:
    """The paired difference, in all but the worst 5 % of draws of people, is not beyond ``margin`` to the bad side.

    ``relative``: the margin is a share of the champion's figure.
    """

    def check(one: Candidate, champion: Candidate) -> Finding:
        mine, theirs = one.evaluation, champion.evaluation
        if metric not in mine.draws or metric not in theirs.draws:
            unseen = metric not in mine.metrics and metric not in theirs.metrics
            return unseen, f"{metric} could not be measured on {'either side' if unseen else 'one side'}"
        worst = _loss(mine.draws[metric], theirs.draws[metric], higher_is_better=higher_is_better)
        if worst is None:
            return False, f"{metric} could not be measured in any draw"
        allowed = margin * abs(theirs.metrics[metric]) if relative else margin
        figures = f"{mine.metrics[metric]:.4f} against {theirs.metrics[metric]:.4f}"
        return worst <= allowed, f"{metric} {figures}; 95 % of draws lose less than {worst:.4f} (allowed {allowed:.4f})"

    return check


def _every(pairings: dict[str, Pairing]) -> Pairing:
    """All of ``pairings`` hold; the text gives the figures of those that do not."""

    def check(one: Candidate, champion: Candidate) -> Finding:
        said = {name: pairing(one, champion) for name, pairing in pairings.items()}
        failed = [text for passed, text in said.values() if not passed]
        return not failed, "; ".join(failed) if failed else f"{', '.join(said)}: none worse"

    return check


def _loss(mine: list[float], theirs: list[float], *, higher_is_better: bool) -> float | None:
    """What is lost in the worst 5 % of draws at least, 0 where nothing is; None where no draw could be measured."""
    gain = np.array(mine) - np.array(theirs)
    gain = gain if higher_is_better else -gain
    gain = gain[np.isfinite(gain)]
    return max(0.0, -float(np.percentile(gain, _CONFIDENCE))) if len(gain) else None


def _still_said(one: Candidate, champion: Candidate) -> Finding:
    """Every class (or limit) keeps a fair share of the probability that the champion gives it."""
    gone = []
    for name, said in _said(champion.evaluation).items():
        now = _said(one.evaluation).get(name, 0.0)
        if now < _GONE * said:
            gone.append(f"{name} has {now:.5f} of the probability, had {said:.5f}")
    return not gone, "; ".join(gone) if gone else "every class is still said"


def _in_proportion(one: Candidate, champion: Candidate) -> Finding:
    """No class is said further from as often as it is than the champion says it, by more than a factor."""
    now, was = _off(one.evaluation), _off(champion.evaluation)
    worse = [
        f"{name} is off by a factor of {math.exp(off):.1f}, was by {math.exp(was.get(name, 0.0)):.1f}"
        for name, off in now.items()
        if off > was.get(name, 0.0) + math.log(_DISTORTED)
    ]
    return not worse, "; ".join(worse) if worse else f"no class is off by a factor {_DISTORTED:g} more than it was"


def _off(made: Evaluation) -> dict[str, float]:
    """Of each class that is there: how far its mean probability is from its share of the windows, as a logarithm."""
    windows = {name: sum(row) for name, row in zip(made.classes, made.confusion, strict=False) if sum(row)}
    said = {name: max(made.metrics.get(f"said_{name}", 0.0), _LEAST_P) for name in windows}
    return {name: abs(math.log(said[name] * sum(windows.values()) / there)) for name, there in windows.items()}


def _said(made: Evaluation) -> dict[str, float]:
    return {name: value for name, value in made.metrics.items() if name.startswith("said_")}


def _still_told_apart(margin: float) -> Pairing:
    """The AUROC of every class that is there more than a few times does not fall by more than ``margin``."""

    def check(one: Candidate, champion: Candidate) -> Finding:
        counted = dict(zip(one.evaluation.classes, (sum(row) for row in one.evaluation.confusion), strict=False))
        worse, told = [], 0
        for name, beats_there in counted.items():
            mine, theirs = (side.evaluation.metrics.get(f"auroc_{name}") for side in (one, champion))
            if theirs is None or beats_there < _RARE:
                continue
            told += 1
            if mine is None or mine < theirs - margin:
                worse.append(f"{name} {'not measured' if mine is None else f'{mine:.3f}'}, was {theirs:.3f}")
        return not worse, "; ".join(worse) if worse else f"{told} classes told from the others (allowed -{margin:g})"

    return check


def _worst_person(margin: float, *, higher_is_better: bool) -> Pairing:
    def check(one: Candidate, champion: Candidate) -> Finding:
        sign = 1.0 if higher_is_better else -1.0
        worst, was = (
            sign * min((sign * value for value in side.evaluation.per_person.values()), default=math.inf)
            for side in (one, champion)
        )
        return sign * (worst - was) >= -margin, f"worst person {worst:.3f} against {was:.3f} (allowed {margin:g})"

    return check


def _worst_subgroup(margin: float, *, higher_is_better: bool, relative: bool = False) -> Pairing:
    def check(one: Candidate, champion: Candidate) -> Finding:
        now = {group.trait: group for group in one.evaluation.subgroups}
        worst, name = 0.0, ""
        for was in champion.evaluation.subgroups:
            if was.trait not in now:
                return False, f"{was.trait} could not be measured"
            lost = _loss(now[was.trait].draws, was.draws, higher_is_better=higher_is_better) or 0.0
            lost = lost / abs(was.value) if relative else lost
            if lost >= worst:
                worst, name = lost, f" ({was.trait})"
        groups = len(champion.evaluation.subgroups)
        return (
            worst <= margin,
            f"{groups} subgroups; 95 % of draws lose less than {worst:.4f}{name} (allowed {margin:g})",
        )

    return check


def _not_too_good(one: Candidate, champion: Candidate) -> Finding:
    """Wrong calls do not vanish: neither altogether nor of one person."""
    was, now = _wrong(champion.evaluation), _wrong(one.evaluation)
    asked = [("altogether", sum(was.values()), sum(now.values()), _FEWEST_ERRORS)]
    asked += [("of one person", wrong, now.get(name, 0.0), _FEWEST_ERRORS_OF_ONE) for name, wrong in was.items()]
    suspect = [
        f"{wrong:.0f} wrong calls {whose} became {left:.0f}"
        for whose, wrong, left, fewest in asked
        if wrong >= fewest and left < _VANISH * wrong
    ]
    return not suspect, "; ".join(suspect) if suspect else "mistakes became fewer or more, and none vanished"


def _wrong(made: Evaluation) -> dict[str, float]:
    return {name: (1 - right) * made.windows_of.get(name, 0) for name, right in made.per_person.items()}


def no_leap(metric: str, least: float) -> Pairing:
    """``metric``, the lower the better, does not fall below the share ``least`` of the champion's at once."""

    def check(one: Candidate, champion: Candidate) -> Finding:
        now, was = one.evaluation.metrics.get(metric), champion.evaluation.metrics.get(metric)
        if now is None or was is None:
            return False, f"{metric} could not be measured"
        return now >= least * was, f"{metric} {now:.3f}, was {was:.3f} (at least {least:g} of it)"

    return check


def _calls_stay(points: float) -> Pairing:
    """The share of windows that each class (or limit) is called on moves by no more than ``points`` of a hundred."""

    def check(one: Candidate, champion: Candidate) -> Finding:
        prefix = "called_" if one.evaluation.classes else "said_"
        moved = {
            name.removeprefix(prefix): 100 * abs(one.evaluation.metrics.get(name, 0.0) - was)
            for name, was in champion.evaluation.metrics.items()
            if name.startswith(prefix)
        }
        most = max(moved, key=lambda name: moved[name])
        return moved[most] <= points, f"{most} moved by {moved[most]:.2f} points of a hundred (allowed {points:g})"

    return check


def _threshold_stays(one: Candidate, champion: Candidate) -> Finding:
    now, was = (_logit(side.evaluation.metrics["threshold_at_budget"]) for side in (one, champion))
    text = f"threshold at the alarm budget moved by {abs(now - was):.2f} logits (allowed {_SWAY:g})"
    return abs(now - was) <= _SWAY, text


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


RULES: Final[tuple[Rule, ...]] = (
    Rule("enough to judge by", EVERY, "a set too small passes anything", alone=_enough),
    Rule("one frozen set", EVERY, "two sets compare nothing", paired=_same_set),
    Rule("held out from the learning", EVERY, "what was learnt by heart proves nothing", alone=_apart),
    Rule("reads the windows of the task", EVERY, "another cut is another signal", alone=_fits),
    Rule("same contract", EVERY, "inputs in another order are answered all the same", paired=_same_contract),
    Rule("answers are numbers", EVERY, "NaN is neither high nor low", alone=_numbers),
    Rule("fast enough", EVERY, "the live corridor has a budget", alone=_quick),
    Rule("no slower", EVERY, "a swap must not be felt", paired=_no_slower),
    Rule("small enough", EVERY, "every worker loads it, and keeps two at a swap", alone=_small),
    Rule("no larger", EVERY, "a network that grows is another network", paired=_no_larger),
    # what it must be able to, champion or not
    Rule("better than always N", BEATS, "a model that only says N has 0.9 accuracy", at_least("macro_f1", 0.35)),
    Rule("finds ventricular beats", BEATS, "the beats that alarms are made of", at_least("se_v", 0.5)),
    Rule("not a false alarm machine", BEATS, "calls of V that were none", at_least("pp_v", 0.4)),
    Rule("probabilities mean something", BEATS | PNEUMONIA, "risk is computed from them", at_most("ece", 0.15)),
    Rule("probabilities mean something", BREAST, "a small set: its bins are noisy", at_most("ece", 0.2)),
    Rule("better than no change at 30 min", FORECAST, "persistence is free", beats("rmse_30", "persistence_rmse_30")),
    Rule("better than no change at 60 min", FORECAST, "persistence is free", beats("rmse_60", "persistence_rmse_60")),
    Rule("intervals cover", FORECAST, "a narrow interval is a false promise", at_most("coverage90_error", 0.05)),
    Rule("better than always one rhythm", RECENT, "half of all clips are sinus", at_least("macro_f1", 0.5)),
    Rule("finds fibrillation", RECENT, "what it is for", at_least("se_af", 0.5)),
    Rule("not a false alarm machine", RECENT, "calls of AF that were none", at_least("pp_af", 0.5)),
    Rule("probabilities mean something", RECENT, "a limit is set on them", at_most("ece", 0.15)),
    Rule("sees the disease", IMAGING, "a coin has 0.5", at_least("auroc", 0.75)),
    # no worse than the champion
    Rule("rhythms together no worse", RECENT, "the measure of the task", paired=no_worse("macro_f1", 0.05)),
    Rule("fibrillation found no worse", RECENT, "a missed stroke risk", paired=no_worse("se_af", 0.08)),
    Rule("classes together no worse", BEATS, "the measure of the task", paired=no_worse("macro_f1", 0.05)),
    Rule("ventricular beats found no worse", BEATS, "a missed run of V", paired=no_worse("se_v", 0.05)),
    Rule("supraventricular beats found no worse", BEATS, "a class that averages away", paired=no_worse("se_s", 0.15)),
    Rule("normal beats called no worse", BEATS, "every false call is of these", paired=no_worse("se_n", 0.02)),
    Rule("no class lost", EVERY, "a class that is never said is not missed by an average", paired=_still_said),
    Rule("classes said as often as they are", BEATS | IMAGING, "a rare class blown up", paired=_in_proportion),
    Rule("every class told apart", BEATS, "rare classes hardly count in a mean", paired=_still_told_apart(0.15)),
    Rule(
        "error at 30 min no worse",
        FORECAST,
        "the measure of the task",
        paired=no_worse("rmse_30", 0.03, higher_is_better=False, relative=True),
    ),
    Rule(
        "error at 60 min no worse",
        FORECAST,
        "the far end",
        paired=no_worse("rmse_60", 0.03, higher_is_better=False, relative=True),
    ),
    Rule(
        "quantiles no worse",
        FORECAST,
        "risk reads the quantiles",
        paired=no_worse("pinball", 0.03, higher_is_better=False, relative=True),
    ),
    Rule(
        "limits foretold no worse",
        FORECAST,
        "alarms of lows are made of these",
        paired=_every(
            {
                limit: no_worse(f"log_loss_{limit}", 0.1, higher_is_better=False, relative=True)
                for limit in FORECAST_LIMITS
            }
        ),
    ),
    Rule(
        "no more harm in the error grid",
        FORECAST,
        "zones D and E: untreated, or treated the wrong way",
        paired=_every(
            {f"{minutes} min": no_worse(f"clarke_de_{minutes}", 0.005, higher_is_better=False) for minutes in (30, 60)}
        ),
    ),
    Rule("ranking no worse", PNEUMONIA, "the measure of the task", paired=no_worse("auroc", 0.02)),
    Rule("ranking no worse", BREAST, "the measure of the task, on few", paired=no_worse("auroc", 0.08)),
    Rule(
        "probabilities no worse",
        PNEUMONIA | RECENT,
        "right and sure beats right; wrong and sure is worst",
        paired=no_worse("log_loss", 0.15, higher_is_better=False, relative=True),
    ),
    Rule(
        "probabilities no worse",
        BEATS | BREAST,
        "right and sure beats right; wrong and sure is worst",
        paired=no_worse("log_loss", 0.25, higher_is_better=False, relative=True),
    ),
    Rule(
        "calibration no worse",
        BEATS | PNEUMONIA | RECENT,
        "risk is computed from it",
        paired=no_worse("ece", 0.06, higher_is_better=False),
    ),
    Rule(
        "calibration no worse", BREAST, "risk is computed from it", paired=no_worse("ece", 0.12, higher_is_better=False)
    ),
    # alarm load
    Rule(
        "ventricular calls no falser",
        BEATS,
        "alarm fatigue",
        paired=no_worse("false_v_per_1000", 3.0, higher_is_better=False),
    ),
    Rule(
        "fibrillation called no falser",
        RECENT,
        "alarm fatigue",
        paired=no_worse("false_af_per_1000", 20.0, higher_is_better=False),
    ),
    Rule(
        "lows called no falser",
        FORECAST,
        "alarm fatigue",
        paired=no_worse("false_below_70_per_day", 1.0, higher_is_better=False),
    ),
    Rule(
        "lows found within the alarm budget",
        FORECAST,
        "a model that hardly alarms has no false alarms either",
        paired=no_worse("budget_se_below_70", 0.15),
    ),
    Rule(
        "disease called no falser",
        PNEUMONIA,
        "alarm fatigue",
        paired=no_worse("false_pneumonia_per_1000", 20.0, higher_is_better=False),
    ),
    Rule(
        "disease called no falser",
        BREAST,
        "alarm fatigue",
        paired=no_worse("false_malignant_per_1000", 120.0, higher_is_better=False),
    ),
    # nobody pays for the average
    Rule(
        "worst person no worse",
        BEATS,
        "an average hides one person",
        paired=_worst_person(0.08, higher_is_better=True),
    ),
    Rule(
        "worst person no worse",
        FORECAST,
        "an average hides one person",
        paired=_worst_person(5.0, higher_is_better=False),
    ),
    Rule(
        "worst subgroup no worse",
        BEATS | IMAGING,
        "an average hides a kind of people",
        paired=_worst_subgroup(0.1, higher_is_better=True),
    ),
    Rule(
        "worst subgroup no worse",
        FORECAST,
        "an average hides a kind of people",
        paired=_worst_subgroup(0.08, higher_is_better=False, relative=True),
    ),
    # how far it may move at once without a person
    Rule("not too good to be true", BEATS | IMAGING, "it has seen the answers", paired=_not_too_good),
    Rule("not too good to be true", FORECAST, "it has seen the answers", paired=no_leap("rmse_30", 0.6)),
    Rule("calls move within bounds", BEATS, "a ward that is read otherwise overnight", paired=_calls_stay(10.0)),
    Rule("calls move within bounds", PNEUMONIA, "a ward that is read otherwise overnight", paired=_calls_stay(8.0)),
    Rule("not too good to be true", RECENT, "it has seen the answers", paired=_not_too_good),
    Rule("calls move within bounds", RECENT, "a ward that is read otherwise overnight", paired=_calls_stay(10.0)),
    Rule("calls move within bounds", BREAST, "a ward that is read otherwise overnight", paired=_calls_stay(25.0)),
    Rule("calls move within bounds", FORECAST, "a ward that is read otherwise overnight", paired=_calls_stay(3.0)),
    Rule("alarm threshold within bounds", EVERY, "limits set by hand lose their meaning", paired=_threshold_stays),
)


def judged(comparison: Comparison) -> list[Verdict]:
    """What every rule of the task says, in the order of the table."""
    challenger, champion = comparison.challenger, comparison.champion
    verdicts = []
    for rule in RULES:
        if challenger.evaluation.task not in rule.tasks:
            continue
        if rule.alone is not None:
            passed, text = rule.alone(challenger)
        elif rule.paired is not None and champion is not None:
            passed, text = rule.paired(challenger, champion)
        else:
            passed, text = True, "no champion to compare with"
        verdicts.append(Verdict(rule=rule.name, passed=passed, text=text))
    return verdicts


def opened(verdicts: list[Verdict]) -> bool:
    """Whether the challenger may go through: every rule passed, and there was at least one."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def _above(value: float, ceiling: float, what: str) -> str:
    return f"{value:.1f} {what} (at most {ceiling:g})" if value > ceiling else f"at most {ceiling:g} {what}"

"""The gate: a table of rules over two evaluations on one frozen set. Pure; a model that fails one row is not released.

A challenger need not be better than the champion: it has learnt from newer data. It must not be worse. "Not worse" is
judged on paired draws of people, with a margin that is part of the rule; single figures of a small set would let noise
decide. Margins are about what two seeds of one recipe on one dataset differ by. Without a champion only the floors
stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from trainer.evaluate import Evaluation
from vitals.findings import Task

IMAGING: Final = frozenset({Task.PNEUMONIA, Task.BREAST})
BEATS: Final = frozenset({Task.ECG_BEAT})
FORECAST: Final = frozenset({Task.GLUCOSE})
EVERY: Final = IMAGING | BEATS | FORECAST

_CONFIDENCE: Final = 5.0
"""Percentile of the paired draws that must stay inside the margin: one-sided 95 %."""
_FEWEST: Final[dict[Task, tuple[int, int]]] = {
    Task.ECG_BEAT: (3, 1000),
    Task.GLUCOSE: (5, 1000),
    Task.PNEUMONIA: (50, 50),
    Task.BREAST: (50, 50),
}
"""People and examples below which no comparison says anything."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides on the same people. ``champion`` is None when nothing has served yet."""

    challenger: Evaluation
    champion: Evaluation | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule said: ``text`` holds the figures it looked at."""

    rule: str
    passed: bool
    text: str


Check = Callable[[Comparison], tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``why``: the hazard it keeps out. ``needs_champion``: skipped, and said so, without one."""

    name: str
    tasks: frozenset[Task]
    why: str
    check: Check
    needs_champion: bool = True


def _enough(c: Comparison) -> tuple[bool, str]:
    people, examples = _FEWEST[c.challenger.task]
    passed = c.challenger.people >= people and c.challenger.examples >= examples
    return passed, f"{c.challenger.people} people, {c.challenger.examples} windows (at least {people}, {examples})"


def _same_set(c: Comparison) -> tuple[bool, str]:
    one, other = c.challenger, c.champion
    same = other is not None and (one.people, one.examples) == (other.people, other.examples)
    return same, f"{one.examples} windows on both sides" if same else "not the same windows"


def at_least(metric: str, floor: float) -> Check:
    """``metric`` is measured and not below ``floor``."""

    def check(c: Comparison) -> tuple[bool, str]:
        value = c.challenger.metrics.get(metric)
        if value is None:
            return False, f"{metric} could not be measured"
        return value >= floor, f"{metric} {value:.4f} (at least {floor:g})"

    return check


def at_most(metric: str, ceiling: float) -> Check:
    """``metric`` is measured and not above ``ceiling``."""

    def check(c: Comparison) -> tuple[bool, str]:
        value = c.challenger.metrics.get(metric)
        if value is None:
            return False, f"{metric} could not be measured"
        return value <= ceiling, f"{metric} {value:.4f} (at most {ceiling:g})"

    return check


def beats(metric: str, other: str) -> Check:
    """``metric`` is below another figure of the same evaluation (an error below the naive forecast's)."""

    def check(c: Comparison) -> tuple[bool, str]:
        value, naive = c.challenger.metrics.get(metric), c.challenger.metrics.get(other)
        if value is None or naive is None:
            return False, f"{metric} or {other} could not be measured"
        return value < naive, f"{metric} {value:.2f} against {other} {naive:.2f}"

    return check


def no_worse(metric: str, margin: float, *, higher_is_better: bool = True, relative: bool = False) -> Check:
    """The paired difference, in all but the worst 5 % of draws of people, is not beyond ``margin`` to the bad side.

    ``relative``: the margin is a share of the champion's figure.
    """

    def check(c: Comparison) -> tuple[bool, str]:
        assert c.champion is not None  # noqa: S101  the rule needs a champion
        if metric not in c.challenger.draws or metric not in c.champion.draws:
            unseen = metric not in c.challenger.metrics and metric not in c.champion.metrics
            return unseen, f"{metric} could not be measured on {'either side' if unseen else 'one side'}"
        gain = np.array(c.challenger.draws[metric]) - np.array(c.champion.draws[metric])
        gain = gain if higher_is_better else -gain
        gain = gain[np.isfinite(gain)]
        if not len(gain):
            return False, f"{metric} could not be measured in any draw"
        allowed = margin * abs(c.champion.metrics[metric]) if relative else margin
        worst = float(np.percentile(gain, _CONFIDENCE))
        figures = f"{c.challenger.metrics[metric]:.4f} against {c.champion.metrics[metric]:.4f}"
        return (
            worst >= -allowed,
            f"{metric} {figures}; 95 % of draws lose less than {max(-worst, 0.0):.4f} (allowed {allowed:.4f})",
        )

    return check


def _worst_person(margin: float, *, higher_is_better: bool) -> Check:
    def check(c: Comparison) -> tuple[bool, str]:
        assert c.champion is not None  # noqa: S101  the rule needs a champion
        sign = 1.0 if higher_is_better else -1.0
        worst = sign * min(sign * value for value in c.challenger.per_person.values())
        was = sign * min(sign * value for value in c.champion.per_person.values())
        return sign * (worst - was) >= -margin, f"worst person {worst:.3f} against {was:.3f} (allowed {margin:g})"

    return check


RULES: Final[tuple[Rule, ...]] = (
    Rule("enough to judge by", EVERY, "a set too small passes anything", _enough, needs_champion=False),
    Rule("one frozen set", EVERY, "two sets compare nothing", _same_set),
    Rule(
        "better than always N",
        BEATS,
        "a model that only says N has 0.9 accuracy",
        at_least("macro_f1", 0.35),
        needs_champion=False,
    ),
    Rule(
        "finds ventricular beats",
        BEATS,
        "the beats that alarms are made of",
        at_least("se_v", 0.5),
        needs_champion=False,
    ),
    Rule("not a false alarm machine", BEATS, "calls of V that were none", at_least("pp_v", 0.4), needs_champion=False),
    Rule(
        "probabilities mean something",
        BEATS | IMAGING,
        "risk is computed from them",
        at_most("ece", 0.15),
        needs_champion=False,
    ),
    Rule(
        "better than no change at 30 min",
        FORECAST,
        "persistence is free",
        beats("rmse_30", "persistence_rmse_30"),
        needs_champion=False,
    ),
    Rule(
        "better than no change at 60 min",
        FORECAST,
        "persistence is free",
        beats("rmse_60", "persistence_rmse_60"),
        needs_champion=False,
    ),
    Rule(
        "intervals cover",
        FORECAST,
        "a narrow interval is a false promise",
        at_most("coverage90_error", 0.05),
        needs_champion=False,
    ),
    Rule("sees the disease", IMAGING, "a coin has 0.5", at_least("auroc", 0.75), needs_champion=False),
    Rule("classes together no worse", BEATS, "the measure of the task", no_worse("macro_f1", 0.05)),
    Rule("ventricular beats found no worse", BEATS, "a missed run of V", no_worse("se_v", 0.05)),
    Rule(
        "ventricular calls no falser",
        BEATS,
        "alarm fatigue",
        no_worse("false_v_per_1000", 3.0, higher_is_better=False),
    ),
    Rule("supraventricular beats found no worse", BEATS, "a class that averages away", no_worse("se_s", 0.12)),
    Rule("normal beats called no worse", BEATS, "every false call is of these", no_worse("se_n", 0.02)),
    Rule(
        "error at 30 min no worse",
        FORECAST,
        "the measure of the task",
        no_worse("rmse_30", 0.03, higher_is_better=False, relative=True),
    ),
    Rule(
        "error at 60 min no worse",
        FORECAST,
        "the far end",
        no_worse("rmse_60", 0.03, higher_is_better=False, relative=True),
    ),
    Rule(
        "quantiles no worse",
        FORECAST,
        "risk reads the quantiles",
        no_worse("pinball", 0.03, higher_is_better=False, relative=True),
    ),
    Rule("ranking no worse", IMAGING, "the measure of the task", no_worse("auroc", 0.04)),
    Rule(
        "calibration no worse",
        BEATS | IMAGING,
        "risk is computed from it",
        no_worse("ece", 0.06, higher_is_better=False),
    ),
    Rule("worst person no worse", BEATS, "an average hides one person", _worst_person(0.08, higher_is_better=True)),
    Rule("worst person no worse", FORECAST, "an average hides one person", _worst_person(5.0, higher_is_better=False)),
)


def judged(comparison: Comparison) -> list[Verdict]:
    """What every rule of the task says, in the order of the table."""
    task = comparison.challenger.task
    verdicts = []
    for rule in RULES:
        if task not in rule.tasks:
            continue
        if rule.needs_champion and comparison.champion is None:
            verdicts.append(Verdict(rule=rule.name, passed=True, text="no champion to compare with"))
            continue
        passed, text = rule.check(comparison)
        verdicts.append(Verdict(rule=rule.name, passed=passed, text=text))
    return verdicts


def opened(verdicts: list[Verdict]) -> bool:
    """Whether the challenger may go through: every rule passed, and there was at least one."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)

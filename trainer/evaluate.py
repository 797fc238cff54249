"""How good a model is on people it has never seen: one set of measures for champion and challenger alike.

Every interval is a bootstrap over people, never over windows: windows of one person are not independent. Both models of
a comparison see the same draws, so their difference is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from trainer import measures
from trainer.dataset import Examples
from trainer.labels import CLASSES, LIMIT_IS_UPPER, LIMITS_MG_DL, limit_crossed
from trainer.measures import Floats
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task
from vitals.windows.glucose import SCALE_MG_DL

_NOT_FALSE: Final[dict[Task, dict[int, tuple[int, ...]]]] = {Task.ECG_BEAT: {1: (4,), 2: (3, 4)}}
"""EC57: S is not false on Q; V is not false on F and Q (class order N S V F Q)."""

_SEED: Final = 20
_LEVELS: Final = np.array(FORECAST_QUANTILES) / 100.0
_INTERVAL: Final = (2.5, 97.5)
_PER_HORIZON: Final = 1 + len(FORECAST_QUANTILES) + len(FORECAST_LIMITS)

MAIN_MEASURE: Final[dict[Task, str]] = {
    Task.ECG_BEAT: "macro_f1",
    Task.GLUCOSE: "rmse_30",
    Task.PNEUMONIA: "auroc",
    Task.BREAST: "auroc",
}
"""The one measure that stands first in a report of the task."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did on one set.

    ``metrics``: by name, only what could be measured. ``interval``: 95 % by bootstrap over people. ``draws``: the same
    measures in every draw. ``per_person``: the worst-person measure by name. ``confusion``: [K + 1][K], the last row no
    beat at all; ``lost``: [K], beats that became no window. ``reliability``: [bins][3] weight, confidence, right.
    """

    task: Task
    people: int
    examples: int
    metrics: dict[str, float]
    interval: dict[str, tuple[float, float]]
    draws: dict[str, list[float]]
    per_person: dict[str, float]
    classes: list[str] = []
    confusion: list[list[int]] = []
    lost: list[int] = []
    reliability: list[list[float]] = []


def evaluation(task: Task, columns: Floats, examples: Examples, draws: int) -> Evaluation:
    """Of calibrated ``columns`` (float64[N, columns of the finding]) for ``examples``."""
    if task is Task.GLUCOSE:
        return _forecasts(columns, examples, draws)
    return _classes(task, columns, examples, draws)


def person_weights(people: int, draws: int) -> Floats:
    """float64[draws, P]: how often each person was drawn; the same for the same number of people."""
    return (
        np.random.default_rng(_SEED).multinomial(people, np.full(people, 1.0 / people), size=draws).astype(np.float64)
    )


def _classes(task: Task, p_nk: Floats, examples: Examples, draws: int) -> Evaluation:
    names = CLASSES[task]
    target = examples.target.astype(np.int64)
    called = p_nk.argmax(axis=1)
    lost_pk = (
        examples.lost.astype(np.float64) if examples.lost.shape[1] else np.zeros((len(examples.people), len(names)))
    )

    def measured(weight_p: Floats) -> dict[str, float]:
        weight = weight_p[examples.person]
        lost = weight_p @ lost_pk
        counts = measures.confusion(target, called, weight, len(names))
        se = measures.sensitivity(counts, lost)
        pp = measures.predictivity(counts, _NOT_FALSE.get(task, {}))
        score = measures.f1(se, pp)
        made = {f"{what}_{name}": value for what, row in (("se", se), ("pp", pp), ("f1", score))
                for name, value in zip(names, row.tolist(), strict=True)}  # fmt: skip
        false = measures.false_calls(counts, _NOT_FALSE.get(task, {})) / counts.sum()
        made |= {f"false_{name}_per_1000": 1000 * value for name, value in zip(names, false.tolist(), strict=True)}
        there = target >= 0
        p, truth, w = p_nk[there], target[there], weight[there]
        made["accuracy"] = float(np.trace(counts[:-1]) / (counts[:-1].sum() + lost.sum()))
        made["macro_f1"] = _mean(score)
        for k, name in enumerate(names):
            made[f"auroc_{name}"] = measures.auroc(p[:, k], truth == k, w)
        made["auroc"] = _mean(np.array([made[f"auroc_{name}"] for name in names]))
        made["ece"] = measures.calibration_error(measures.reliability(p, truth, w))
        made["brier"] = measures.brier(p, truth, w)
        made["log_loss"] = measures.log_loss(p, truth, w)
        return made

    everyone = np.ones(len(examples.people))
    metrics, interval, drawn = _bootstrapped(measured, len(examples.people), draws)
    there = target >= 0
    right = measures.per_person((called == target)[there].astype(np.float64), examples.person[there], len(everyone))
    total = measures.per_person(np.ones(there.sum()), examples.person[there], len(everyone)) + lost_pk.sum(axis=1)
    bins = measures.reliability(p_nk[there], target[there], np.ones(there.sum()))
    return Evaluation(
        task=task,
        people=len(examples.people),
        examples=len(examples),
        metrics=metrics,
        interval=interval,
        draws=drawn,
        per_person=_by_name(examples.people, right / np.maximum(total, 1.0), total > 0),
        classes=list(names),
        confusion=measures.confusion(target, called, np.ones(len(target)), len(names)).astype(int).tolist(),
        lost=lost_pk.sum(axis=0).astype(int).tolist(),
        reliability=bins.tolist(),
    )


def _forecasts(columns: Floats, examples: Examples, draws: int) -> Evaluation:
    horizons, people = len(FORECAST_HORIZONS_MIN), len(examples.people)
    forecast_nhx = columns.reshape(-1, horizons, _PER_HORIZON)
    mean_nh = forecast_nhx[:, :, 0]
    quantiles_nhq = forecast_nhx[:, :, 1 : 1 + len(_LEVELS)]
    p_nhl = forecast_nhx[:, :, 1 + len(_LEVELS) :]
    value_nh = examples.target.astype(np.float64)
    now_n1 = examples.inputs["glucose"][:, -1, :1].astype(np.float64) * SCALE_MG_DL

    def summed(values: Floats) -> Floats:
        return measures.per_person(values, examples.person, people)

    known_ph = summed(~np.isnan(value_nh) * 1.0)
    sums = {
        "square": summed((mean_nh - value_nh) ** 2),
        "distance": summed(np.abs(mean_nh - value_nh)),
        "stays_square": summed((now_n1 - value_nh) ** 2),
        "inside90": summed(_inside(value_nh, quantiles_nhq[:, :, 0], quantiles_nhq[:, :, 4])),
        "inside50": summed(_inside(value_nh, quantiles_nhq[:, :, 1], quantiles_nhq[:, :, 3])),
        "pinball": summed(np.mean(measures.pinball(quantiles_nhq, _LEVELS, value_nh), axis=2)),
    }

    def measured(weight_p: Floats) -> dict[str, float]:
        known_h = weight_p @ known_ph
        per_h = {name: (weight_p @ total) / known_h for name, total in sums.items()}
        made = {"pinball": float(per_h["pinball"].mean())}
        for h, minutes in enumerate(FORECAST_HORIZONS_MIN):
            made[f"rmse_{minutes:02d}"] = math.sqrt(per_h["square"][h])
            made[f"mae_{minutes:02d}"] = float(per_h["distance"][h])
            made[f"persistence_rmse_{minutes:02d}"] = math.sqrt(per_h["stays_square"][h])
            made[f"coverage90_{minutes:02d}"] = float(per_h["inside90"][h])
            made[f"coverage50_{minutes:02d}"] = float(per_h["inside50"][h])
        made["coverage90_error"] = float(np.abs(per_h["inside90"] - 0.9).mean())
        return made

    metrics, interval, drawn = _bootstrapped(measured, people, draws)
    metrics |= _limits(p_nhl, value_nh, now_n1[:, 0])
    at_30 = FORECAST_HORIZONS_MIN.index(30)
    rmse_p = np.sqrt(sums["square"][:, at_30] / np.maximum(known_ph[:, at_30], 1.0))
    return Evaluation(
        task=Task.GLUCOSE,
        people=people,
        examples=len(examples),
        metrics=metrics,
        interval=interval,
        draws=drawn,
        per_person=_by_name(examples.people, rmse_p, known_ph[:, at_30] >= 1),
    )


def _limits(p_nhl: Floats, value_nh: Floats, now_n: Floats) -> dict[str, float]:
    """Crossing a limit within 30 and 60 min, over windows that have not crossed it yet."""
    made: dict[str, float] = {}
    crossed_nhl = limit_crossed(value_nh.astype(np.float32))
    for at, name in enumerate(FORECAST_LIMITS):
        not_yet = now_n <= LIMITS_MG_DL[at] if LIMIT_IS_UPPER[at] else now_n >= LIMITS_MG_DL[at]
        for minutes in (30, 60):
            h = FORECAST_HORIZONS_MIN.index(minutes)
            rows = not_yet & ~np.isnan(value_nh[:, h])
            p, truth = p_nhl[rows, h, at], crossed_nhl[rows, h, at] == 1.0
            made[f"auroc_onset_{name}_{minutes}"] = measures.auroc(p, truth, np.ones(len(p)))
            made[f"brier_onset_{name}_{minutes}"] = float(((p - truth) ** 2).mean()) if len(p) else math.nan
    return {name: value for name, value in made.items() if math.isfinite(value)}


def _bootstrapped(
    measured: Callable[[Floats], Mapping[str, float]], people: int, draws: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]], dict[str, list[float]]]:
    metrics = {name: value for name, value in measured(np.ones(people)).items() if math.isfinite(value)}
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for weight_p in person_weights(people, draws):
        values = measured(weight_p)
        for name, values_so_far in drawn.items():
            values_so_far.append(values[name])
    interval = {}
    for name, values_so_far in drawn.items():
        finite = np.array(values_so_far)[np.isfinite(values_so_far)]
        if len(finite):
            low, high = np.percentile(finite, _INTERVAL)
            interval[name] = (float(low), float(high))
    return metrics, interval, drawn


def _inside(value_nh: Floats, low_nh: Floats, high_nh: Floats) -> Floats:
    inside: Floats = np.where(np.isnan(value_nh), np.nan, (value_nh >= low_nh) & (value_nh <= high_nh))
    return inside


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _by_name(people: tuple[str, ...], values: Floats, there: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {name: float(value) for name, value, is_there in zip(people, values, there, strict=True) if is_there}

"""How good a model is on people it has never seen: one set of measures for champion and challenger alike.

Every interval is a bootstrap over people, never over windows: windows of one person are not independent. Both models of
a comparison see the same draws, so their difference is paired.

Axes: N examples, K classes, P people, H horizons, L limits, D draws (the first of them is everybody once).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from trainer import ec57, measures
from trainer.cases import Pictures
from trainer.dataset import Examples
from trainer.ec57 import BeatRow
from trainer.examples import WARD
from trainer.labels import CLASSES, LIMIT_IS_UPPER, LIMITS_MG_DL, limit_crossed
from trainer.measures import CLARKE_ZONES, Floats
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task
from vitals.units import US_PER_S
from vitals.windows.glucose import SCALE_MG_DL, STEP_US

_SEED: Final = 20
_LEVELS: Final = np.array(FORECAST_QUANTILES) / 100.0
_INTERVAL: Final = (2.5, 97.5)
_PER_HORIZON: Final = 1 + len(FORECAST_QUANTILES) + len(FORECAST_LIMITS)
_DAY_US: Final = 86_400 * US_PER_S
_ONSETS_MIN: Final = (30, 60)

MAIN_MEASURE: Final[dict[Task, str]] = {
    Task.ECG_BEAT: "macro_f1",
    Task.GLUCOSE: "rmse_30",
    Task.PNEUMONIA: "auroc",
    Task.BREAST: "auroc",
    Task.ECG_AF: "macro_f1",
}
"""The one measure that stands first in a report of the task."""

ALARM_OF: Final[dict[Task, str]] = {
    Task.ECG_BEAT: "v",
    Task.GLUCOSE: "below_70",
    Task.PNEUMONIA: "pneumonia",
    Task.BREAST: "malignant",
    Task.ECG_AF: "af",
}
"""What a call of the task wakes somebody for; of a forecast: that it will be so in 30 min and is not yet."""
ALARM_BUDGET: Final[dict[Task, float]] = {
    Task.ECG_BEAT: 0.001,
    Task.GLUCOSE: 0.01,
    Task.PNEUMONIA: 0.05,
    Task.BREAST: 0.1,
    Task.ECG_AF: 0.02,
}
"""Share of all windows that may alarm falsely; glucose: three of the 288 readings of a day."""
_CALLED: Final = 0.5
_WATCHED_US: Final = 10 * US_PER_S
"""Two beats further apart than this have something unwatched between them."""

FEWEST_OF_GROUP: Final = (5, 50)
"""People and windows below which a subgroup has no figure."""


class Subgroup(msgspec.Struct, frozen=True, kw_only=True):
    """The main measure of the people who share ``trait`` (``sex=f``). ``draws``: as in ``Evaluation``."""

    trait: str
    people: int
    examples: int
    value: float
    interval: tuple[float, float]
    draws: list[float]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did on one set.

    ``frozen``: hash of the people and truths asked about. ``unusable``: answers that are no numbers, or no probability.
    ``metrics``: by name, only what could be measured. ``interval``: 95 % by bootstrap over people. ``draws``: the same
    measures in every draw. ``per_person``: the worst-person measure by name; ``windows_of``: how many windows it is of.
    ``confusion``: [K + 1][K], the last row no beat at all; ``lost``: [K], beats that became no window. ``reliability``:
    [bins][3] weight, confidence, right. ``subgroups``: those with people enough. ``beats``: EC57, only of ECG.
    ``pictures``: what only a report shows.
    """

    task: Task
    people: int
    examples: int
    metrics: dict[str, float]
    interval: dict[str, tuple[float, float]]
    draws: dict[str, list[float]]
    per_person: dict[str, float]
    windows_of: dict[str, int] = {}
    frozen: str = ""
    unusable: int = 0
    classes: list[str] = []
    confusion: list[list[int]] = []
    lost: list[int] = []
    reliability: list[list[float]] = []
    subgroups: list[Subgroup] = []
    beats: list[BeatRow] = []
    pictures: Pictures | None = None


Measured = Callable[[Floats], dict[str, Floats]]
"""Weights of people float64[D, P] → each measure in each draw, float64[D]."""


def evaluation(task: Task, columns: Floats, examples: Examples, draws: int) -> Evaluation:
    """Of calibrated ``columns`` (float64[N, columns of the finding]) for ``examples``."""
    bad = np.asarray((~np.isfinite(columns)).any(axis=1))
    columns = np.where(bad[:, None], 0.0, columns)
    if task is Task.GLUCOSE:
        chances = columns.reshape(len(columns), len(FORECAST_HORIZONS_MIN), _PER_HORIZON)[:, :, -len(FORECAST_LIMITS) :]
        bad |= ((chances < 0) | (chances > 1)).any(axis=(1, 2))
    else:
        bad |= (columns < 0).any(axis=1) | (np.abs(columns.sum(axis=1) - 1) > 1e-3)
    columns = np.where(bad[:, None], 0.0, columns)
    made = _forecasts(columns, examples, draws) if task is Task.GLUCOSE else _classes(task, columns, examples, draws)
    return msgspec.structs.replace(made, frozen=_frozen(examples), unusable=int(bad.sum()))


def without_draws(made: Evaluation) -> Evaluation:
    """``made`` as it is kept: intervals stay, the draws they came from do not."""
    groups = [msgspec.structs.replace(group, draws=[]) for group in made.subgroups]
    return msgspec.structs.replace(made, draws={}, subgroups=groups)


@lru_cache(maxsize=4)
def person_weights(people: int, draws: int) -> Floats:
    """float64[1 + draws, P]: everybody once, then how often each was drawn; the same for the same number of people."""
    drawn = np.random.default_rng(_SEED).multinomial(people, np.full(people, 1.0 / people), size=draws)
    weights = np.concatenate([np.ones((1, people)), drawn])
    weights.flags.writeable = False
    return weights


def site_of(person: str) -> str:
    """Where a person was measured, as far as the name tells: the public set, or the ward."""
    if person.startswith(WARD):
        return WARD.rstrip("/")
    return "/".join(part for part in person.split("/")[:-1] if part not in ("train", "val"))


def _classes(task: Task, p_nk: Floats, examples: Examples, draws: int) -> Evaluation:
    names, people = CLASSES[task], len(examples.people)
    person = examples.person.astype(np.int64)
    target = examples.target.astype(np.int64)
    called = p_nk.argmax(axis=1)
    lost_pk = examples.lost.astype(np.float64) if examples.lost.shape[1] else np.zeros((people, len(names)))
    counts_pjk = measures.confusion(target, called, person, people, len(names))
    there = target >= 0
    p, truth, whose = p_nk[there], target[there], person[there]
    bins_pbx = measures.reliability(p, truth, whose, people)
    losses_px = measures.per_person(
        np.stack([measures.brier(p, truth), measures.log_loss(p, truth)], axis=1), whose, people
    )
    said_pk = measures.per_person(p_nk, person, people)
    ranking = [_ranking(p[:, k], truth == k, whose, people) for k in range(len(names))]
    alarm = _alarm(p_nk[:, names.index(ALARM_OF[task])], target == names.index(ALARM_OF[task]), task, person, people)
    days_p = _watched_days(examples) if task is Task.ECG_BEAT else None
    not_false = _NOT_FALSE.get(task, {})

    def measured(weight_dp: Floats) -> dict[str, Floats]:
        def drawn(sums: Floats) -> Floats:
            return np.tensordot(weight_dp, sums, axes=1)

        counts, lost = drawn(counts_pjk), drawn(lost_pk)
        windows, whole = counts.sum(axis=(1, 2)), counts[:, :-1].sum(axis=(1, 2))
        se, pp = measures.sensitivity(counts, lost), measures.predictivity(counts, not_false)
        per_class = {
            "se": se,
            "pp": pp,
            "f1": measures.f1(se, pp),
            "said": drawn(said_pk) / windows[:, None],
            "called": counts.sum(axis=1) / windows[:, None],
        }
        made = {f"{what}_{name}": values[:, k] for what, values in per_class.items() for k, name in enumerate(names)}
        false = measures.false_calls(counts, not_false)
        made |= {f"false_{name}_per_1000": 1000 * false[:, k] / windows for k, name in enumerate(names)}
        right = np.trace(counts[:, :-1], axis1=1, axis2=2)
        made["accuracy"] = right / (whole + lost.sum(axis=1))
        made["macro_f1"] = _mean(per_class["f1"])
        area = np.stack([measures.auroc(*of_class, weight_dp) for of_class in ranking], axis=1)
        made |= {f"auroc_{name}": area[:, k] for k, name in enumerate(names)}
        made["auroc"] = _mean(area)
        made["ece"] = measures.calibration_error(drawn(bins_pbx))
        made["brier"], made["log_loss"] = (drawn(losses_px) / whole[:, None]).T
        made |= alarm.measured(weight_dp)
        if days_p is not None:
            made[f"false_{ALARM_OF[task]}_per_day"] = false[:, names.index(ALARM_OF[task])] / drawn(days_p)
        return made

    metrics, interval, series = _bootstrapped(measured, people, draws)
    metrics["threshold_at_budget"] = alarm.threshold
    total_p = counts_pjk[:, :-1].sum(axis=(1, 2)) + lost_pk.sum(axis=1)
    right_p = np.trace(counts_pjk[:, :-1], axis1=1, axis2=2)
    return Evaluation(
        task=task,
        people=people,
        examples=len(examples),
        metrics=metrics,
        interval=interval,
        draws=series,
        per_person=_by_name(examples.people, right_p / np.maximum(total_p, 1.0), total_p > 0),
        windows_of=_whole(_by_name(examples.people, total_p, total_p > 0)),
        classes=list(names),
        confusion=counts_pjk.sum(axis=0).astype(int).tolist(),
        lost=lost_pk.sum(axis=0).astype(int).tolist(),
        reliability=bins_pbx.sum(axis=0).tolist(),
        subgroups=list(_subgroups(measured, MAIN_MEASURE[task], examples, draws)),
        beats=ec57.table(examples.people, counts_pjk, lost_pk, not_false) if task is Task.ECG_BEAT else [],
    )


_NOT_FALSE: Final[dict[Task, dict[int, tuple[int, ...]]]] = {Task.ECG_BEAT: {1: (4,), 2: (3, 4)}}
"""EC57: S is not false on Q; V is not false on F and Q (class order N S V F Q)."""


def _forecasts(columns: Floats, examples: Examples, draws: int) -> Evaluation:
    horizons, people = len(FORECAST_HORIZONS_MIN), len(examples.people)
    person = examples.person.astype(np.int64)
    forecast_nhx = columns.reshape(-1, horizons, _PER_HORIZON)
    mean_nh = forecast_nhx[:, :, 0]
    quantiles_nhq = forecast_nhx[:, :, 1 : 1 + len(_LEVELS)]
    p_nhl = forecast_nhx[:, :, 1 + len(_LEVELS) :]
    value_nh = examples.target.astype(np.float64)
    now_n = examples.inputs["glucose"][:, -1, 0].astype(np.float64) * SCALE_MG_DL
    known_nh = ~np.isnan(value_nh)
    crossed_nhl = limit_crossed(examples.target.astype(np.float32)).astype(np.float64)

    def summed(values: npt.NDArray[np.generic]) -> Floats:
        return measures.per_person(values, person, people)

    zone_nh = measures.clarke_zones(np.nan_to_num(value_nh), mean_nh)
    zones_nhz = (zone_nh[:, :, None] == np.arange(len(CLARKE_ZONES))) & known_nh[:, :, None]
    known_ph = summed(known_nh)
    sums = {
        "square": summed((mean_nh - value_nh) ** 2),
        "distance": summed(np.abs(mean_nh - value_nh)),
        "stays_square": summed((now_n[:, None] - value_nh) ** 2),
        "inside90": summed(_inside(value_nh, quantiles_nhq[:, :, 0], quantiles_nhq[:, :, 4])),
        "inside50": summed(_inside(value_nh, quantiles_nhq[:, :, 1], quantiles_nhq[:, :, 3])),
        "pinball": summed(np.mean(measures.pinball(quantiles_nhq, _LEVELS, value_nh), axis=2)),
        "benign": summed(zones_nhz[:, :, :2].any(axis=2)),
        "harmful": summed(zones_nhz[:, :, 3:].any(axis=2)),
    }
    limits_pl = summed(measures.binary_log_loss(p_nhl, crossed_nhl).transpose(0, 2, 1)).sum(axis=2)
    said_pl = summed(np.where(known_nh[:, :, None], p_nhl, np.nan).transpose(0, 2, 1)).sum(axis=2)
    onsets = {
        f"{name}_{minutes}": _onset(at, minutes, p_nhl, crossed_nhl, now_n) for at, name, minutes in _onset_cells()
    }
    ranking = {cell: _ranking(p, truth, person[rows], people) for cell, (rows, p, truth) in onsets.items()}
    brier = {
        cell: measures.per_person(np.stack([(p - truth) ** 2, np.ones(len(p))], axis=1), person[rows], people)
        for cell, (rows, p, truth) in onsets.items()
    }
    rows, p, truth = onsets[f"{ALARM_OF[Task.GLUCOSE]}_30"]
    alarm = _alarm(p, truth, Task.GLUCOSE, person[rows], people)

    def measured(weight_dp: Floats) -> dict[str, Floats]:
        known_dh = weight_dp @ known_ph
        with np.errstate(invalid="ignore", divide="ignore"):
            per_h = {name: (weight_dp @ total) / known_dh for name, total in sums.items()}
            limits = weight_dp @ limits_pl / known_dh.sum(axis=1, keepdims=True)
            said = weight_dp @ said_pl / known_dh.sum(axis=1, keepdims=True)
        made = {"pinball": _mean(per_h["pinball"])}
        for h, minutes in enumerate(FORECAST_HORIZONS_MIN):
            made[f"rmse_{minutes:02d}"] = np.sqrt(per_h["square"][:, h])
            made[f"mae_{minutes:02d}"] = per_h["distance"][:, h]
            made[f"persistence_rmse_{minutes:02d}"] = np.sqrt(per_h["stays_square"][:, h])
            made[f"coverage90_{minutes:02d}"] = per_h["inside90"][:, h]
            made[f"coverage50_{minutes:02d}"] = per_h["inside50"][:, h]
            made[f"clarke_ab_{minutes:02d}"] = per_h["benign"][:, h]
            made[f"clarke_de_{minutes:02d}"] = per_h["harmful"][:, h]
        made["coverage90_error"] = _mean(np.abs(per_h["inside90"] - 0.9))
        for at, name in enumerate(FORECAST_LIMITS):
            made[f"log_loss_{name}"], made[f"said_{name}"] = limits[:, at], said[:, at]
        for cell, of_cell in ranking.items():
            made[f"auroc_onset_{cell}"] = measures.auroc(*of_cell, weight_dp)
            square, asked = (weight_dp @ brier[cell]).T
            made[f"brier_onset_{cell}"] = np.where(asked > 0, square / np.maximum(asked, 1.0), np.nan)
        made |= alarm.measured(weight_dp)
        per_day = _DAY_US / STEP_US
        made[f"false_{ALARM_OF[Task.GLUCOSE]}_per_day"] = made[f"alarm_false_{ALARM_OF[Task.GLUCOSE]}"] * per_day
        return made

    metrics, interval, series = _bootstrapped(measured, people, draws)
    metrics["threshold_at_budget"] = alarm.threshold
    at_30 = FORECAST_HORIZONS_MIN.index(30)
    known_p = known_ph[:, at_30]
    rmse_p = np.sqrt(sums["square"][:, at_30] / np.maximum(known_p, 1.0))
    return Evaluation(
        task=Task.GLUCOSE,
        people=people,
        examples=len(examples),
        metrics=metrics,
        interval=interval,
        draws=series,
        per_person=_by_name(examples.people, rmse_p, known_p >= 1),
        windows_of=_whole(_by_name(examples.people, known_p, known_p >= 1)),
        subgroups=list(_subgroups(measured, MAIN_MEASURE[Task.GLUCOSE], examples, draws)),
    )


def _onset_cells() -> Iterator[tuple[int, str, int]]:
    for at, name in enumerate(FORECAST_LIMITS):
        for minutes in _ONSETS_MIN:
            yield at, name, minutes


def _onset(
    at: int, minutes: int, p_nhl: Floats, crossed_nhl: Floats, now_n: Floats
) -> tuple[npt.NDArray[np.bool_], Floats, npt.NDArray[np.bool_]]:
    """Windows that have not crossed a limit yet and whose future is known, what was said of them, what came."""
    h = FORECAST_HORIZONS_MIN.index(minutes)
    not_yet = now_n <= LIMITS_MG_DL[at] if LIMIT_IS_UPPER[at] else now_n >= LIMITS_MG_DL[at]
    rows = not_yet & ~np.isnan(crossed_nhl[:, h, at])
    return rows, p_nhl[rows, h, at], crossed_nhl[rows, h, at] == 1.0


@dataclass(frozen=True, slots=True)
class _Alarm:
    """Alarms of each person at a probability of one half and at the threshold that keeps to the budget.

    ``sums``: float64[P, 6]: windows, true ones; then right and false alarms of the one and of the other threshold.
    """

    name: str
    threshold: float
    sums: Floats

    def measured(self, weight_dp: Floats) -> dict[str, Floats]:
        windows, true, right, false, right_at, false_at = (weight_dp @ self.sums).T
        some, any_true = np.maximum(windows, 1.0), np.where(true > 0, true, np.nan)
        return {
            f"alarm_se_{self.name}": right / any_true,
            f"alarm_false_{self.name}": false / some,
            f"budget_se_{self.name}": right_at / any_true,
            f"budget_false_{self.name}": false_at / some,
        }


def _alarm(p: Floats, true: npt.NDArray[np.bool_], task: Task, person: npt.NDArray[np.int64], people: int) -> _Alarm:
    threshold = measures.budget_threshold(p, true, ALARM_BUDGET[task])
    calls = [p > _CALLED, p > threshold]
    rows = [np.ones(len(p), dtype=bool), true, *(part for call in calls for part in (call & true, call & ~true))]
    return _Alarm(ALARM_OF[task], threshold, measures.per_person(np.stack(rows, axis=1), person, people))


def _ranking(
    score: Floats, positive: npt.NDArray[np.bool_], person: npt.NDArray[np.int64], people: int
) -> tuple[Floats, Floats, Floats]:
    return (
        measures.pairs_won(score, positive, person, people),
        np.bincount(person[positive], minlength=people).astype(np.float64),
        np.bincount(person[~positive], minlength=people).astype(np.float64),
    )


def _watched_days(examples: Examples) -> Floats:
    """float64[P]: how long each person was watched: from beat to beat, where nothing is missing between them."""
    order = np.lexsort((examples.end_us, examples.person))
    person, end_us = examples.person[order].astype(np.int64), examples.end_us[order]
    gap_us = np.diff(end_us)
    gap_us[(person[1:] != person[:-1]) | (gap_us > _WATCHED_US)] = 0
    return np.bincount(person[1:], weights=gap_us, minlength=len(examples.people)) / _DAY_US


def _subgroups(measured: Measured, measure: str, examples: Examples, draws: int) -> Iterator[Subgroup]:
    people = len(examples.people)
    windows_p = np.bincount(examples.person, minlength=people)
    traits = [traits.split(";") for traits in examples.traits] or [[]] * people
    members: dict[str, list[int]] = {}
    for at, name in enumerate(examples.people):
        for trait in (f"site={site_of(name)}", *filter(None, traits[at])):
            members.setdefault(trait, []).append(at)
    fewest_people, fewest_windows = FEWEST_OF_GROUP
    for trait, rows in sorted(members.items()):
        windows = int(windows_p[rows].sum())
        if len(rows) == people or len(rows) < fewest_people or windows < fewest_windows:
            continue
        of_group = np.zeros(people)
        of_group[rows] = 1.0
        metrics, interval, series = _bootstrapped(_within(of_group, measured), people, draws)
        if measure in interval:
            yield Subgroup(
                trait=trait,
                people=len(rows),
                examples=windows,
                value=metrics[measure],
                interval=interval[measure],
                draws=series[measure],
            )


def _within(of_group: Floats, measured: Measured) -> Measured:
    return lambda weight_dp: measured(weight_dp * of_group)


def _bootstrapped(
    measured: Measured, people: int, draws: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]], dict[str, list[float]]]:
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw without anybody who has the class
        series = measured(person_weights(people, draws))
    metrics = {name: float(values[0]) for name, values in series.items() if math.isfinite(values[0])}
    drawn = {name: series[name][1:] for name in metrics}
    interval = {}
    for name, values in drawn.items():
        finite = values[np.isfinite(values)]
        if len(finite):
            low, high = np.percentile(finite, _INTERVAL)
            interval[name] = (float(low), float(high))
    return metrics, interval, {name: values.tolist() for name, values in drawn.items()}


def _frozen(examples: Examples) -> str:
    digest = hashlib.sha256("\n".join(examples.people).encode())
    for array in (examples.person, examples.target, examples.end_us, examples.lost):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _inside(value_nh: Floats, low_nh: Floats, high_nh: Floats) -> Floats:
    inside: Floats = np.where(np.isnan(value_nh), np.nan, (value_nh >= low_nh) & (value_nh <= high_nh))
    return inside


def _mean(values_dx: Floats) -> Floats:
    """float64[D]: the mean of what there is in each row, NaN where there is nothing."""
    finite = np.isfinite(values_dx)
    counted = finite.sum(axis=1)
    mean: Floats = np.where(counted > 0, np.where(finite, values_dx, 0.0).sum(axis=1) / np.maximum(counted, 1), np.nan)
    return mean


def _by_name(people: tuple[str, ...], values: Floats, there: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {name: float(value) for name, value, is_there in zip(people, values, there, strict=True) if is_there}


def _whole(values: dict[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in values.items()}

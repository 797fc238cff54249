"""What a report shows of an evaluation besides figures: curves, the error grid, and the cases a model was worst at.

Cases hold signals and images. Only those of public records are taken: a report travels, a ward's patients do not.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from trainer import measures
from trainer.dataset import Examples
from trainer.examples import WARD
from trainer.labels import CLASSES, limit_crossed
from trainer.measures import CLARKE_ZONES, Floats
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task
from vitals.recentbeats import FEATURES
from vitals.windows.glucose import SCALE_MG_DL

CURVE_MIN: Final = 30
"""Forecasts have their curves at this horizon."""

_POINTS: Final = 200
_CASES: Final = 12
_OF_A_KIND: Final = 3
_DIGITS: Final = 4
_PER_HORIZON: Final = 1 + len(FORECAST_QUANTILES) + len(FORECAST_LIMITS)


class Curve(msgspec.Struct, frozen=True):
    """Points of a line."""

    x: list[float]
    y: list[float]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One example that went wrong. ``person``: a public record.

    ``rows``: of an ECG its leads in mV, of an image its rows in grey 0..1, of glucose the last four hours in mg/dL (one
    row, None where nothing was measured). ``future``: of glucose what came, mg/dL at each horizon; ``mean``, ``low``,
    ``high``: what was said, and the ends of the 90 % interval.
    """

    person: str
    title: str
    rows: list[list[float | None]]
    future: list[float | None] = []
    mean: list[float] = []
    low: list[float] = []
    high: list[float] = []


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """``roc``: false positive rate and sensitivity; ``pr``: sensitivity and precision; by class, or by limit at 30 min.

    ``zones``: [horizons][A to E], shares of Clarke's error grid, only of glucose.
    """

    roc: dict[str, Curve]
    pr: dict[str, Curve]
    zones: list[list[float]]
    cases: list[Case]


_SHOWN: Final[dict[Task, str]] = {Task.ECG_BEAT: "ecg_mv", Task.ECG_AF: "beats"}
"""What of a window is drawn; of recent beats the intervals, in seconds."""


def pictures(task: Task, columns: Floats, examples: Examples) -> Pictures:
    """Of calibrated ``columns`` (float64[N, columns of the finding], finite) for ``examples``."""
    public = np.array([not name.startswith(WARD) for name in examples.people])[examples.person]
    if task is Task.GLUCOSE:
        return _of_forecasts(columns.reshape(len(columns), -1, _PER_HORIZON), examples, public)
    there = np.flatnonzero(examples.target >= 0)
    roc: dict[str, Curve] = {}
    pr: dict[str, Curve] = {}
    for k, name in enumerate(CLASSES[task]):
        _add_curves(name, columns[there, k], examples.target[there] == k, roc, pr)
    return Pictures(roc=roc, pr=pr, zones=[], cases=_worst_called(task, columns, examples, public))


def _of_forecasts(forecast_nhx: Floats, examples: Examples, public: npt.NDArray[np.bool_]) -> Pictures:
    value_nh = examples.target.astype(np.float64)
    crossed_nhl = limit_crossed(examples.target.astype(np.float32))
    h = FORECAST_HORIZONS_MIN.index(CURVE_MIN)
    known = ~np.isnan(value_nh[:, h])
    roc: dict[str, Curve] = {}
    pr: dict[str, Curve] = {}
    for at, name in enumerate(FORECAST_LIMITS):
        p = forecast_nhx[known, h, 1 + len(FORECAST_QUANTILES) + at]
        _add_curves(name, p, crossed_nhl[known, h, at] == 1.0, roc, pr)
    zones = []
    for at in range(len(FORECAST_HORIZONS_MIN)):
        rows = ~np.isnan(value_nh[:, at])
        zone = measures.clarke_zones(value_nh[rows, at], forecast_nhx[rows, at, 0])
        zones.append((np.bincount(zone, minlength=len(CLARKE_ZONES)) / max(len(zone), 1)).tolist())
    return Pictures(roc=roc, pr=pr, zones=zones, cases=_worst_forecast(forecast_nhx, value_nh, examples, public))


def _add_curves(
    name: str, p: Floats, truth: npt.NDArray[np.bool_], roc: dict[str, Curve], pr: dict[str, Curve]
) -> None:
    if not truth.any() or truth.all():
        return
    false_rate, sensitivity, _ = roc_curve(truth, p)
    precision, recall, _ = precision_recall_curve(truth, p)
    roc[name], pr[name] = _curve(false_rate, sensitivity), _curve(recall, precision)


def _curve(x: Floats, y: Floats) -> Curve:
    along = np.cumsum(np.r_[0.0, np.abs(np.diff(x)) + np.abs(np.diff(y))])
    kept = np.unique(np.r_[np.searchsorted(along, np.linspace(0, along[-1], _POINTS)), 0, len(x) - 1])
    return Curve(np.round(x[kept], _DIGITS).tolist(), np.round(y[kept], _DIGITS).tolist())


def _worst_called(task: Task, p_nk: Floats, examples: Examples, public: npt.NDArray[np.bool_]) -> list[Case]:
    """The most certain mistakes, a few of each kind (what it was, what it was called), the commonest kind first."""
    names, called = CLASSES[task], p_nk.argmax(axis=1)
    wrong = np.flatnonzero(public & (examples.target >= 0) & (called != examples.target))
    kind = examples.target[wrong] * len(names) + called[wrong]
    kinds, counted = np.unique(kind, return_counts=True)
    rows: list[int] = []
    for one in kinds[np.argsort(-counted, kind="stable")]:
        of_kind = wrong[kind == one]
        rows += of_kind[np.argsort(-p_nk[of_kind].max(axis=1), kind="stable")][:_OF_A_KIND].tolist()
    tensor = examples.inputs[_SHOWN.get(task, "image")]
    if task is Task.ECG_AF:
        tensor = tensor[:, None, :, FEATURES.index("rr_s")]
    return [
        Case(
            person=(person := examples.people[examples.person[row]]),
            title=f"{person}: {names[examples.target[row]]} called {names[called[row]]}, {p_nk[row].max():.2f}",
            rows=np.round(tensor[row].reshape(-1, tensor.shape[-1]).astype(np.float64), _DIGITS).tolist(),
        )
        for row in rows[:_CASES]
    ]


def _worst_forecast(
    forecast_nhx: Floats, value_nh: Floats, examples: Examples, public: npt.NDArray[np.bool_]
) -> list[Case]:
    """The window of the largest error of each person, the worst people first; the whole hour is known of it."""
    error = np.sqrt(((forecast_nhx[:, :, 0] - value_nh) ** 2).mean(axis=1))
    error[~public | np.isnan(error)] = -1.0
    order = np.argsort(-error, kind="stable")
    _, first = np.unique(examples.person[order], return_index=True)
    rows = order[np.sort(first)][:_CASES]
    made = []
    for row in rows[error[rows] >= 0].tolist():
        person, grid = examples.people[examples.person[row]], examples.inputs["glucose"][row].astype(np.float64)
        made.append(
            Case(
                person=person,
                title=f"{person}: off by {error[row]:.0f} mg/dL",
                rows=[_known(np.where(grid[:, 1] == 1.0, grid[:, 0] * SCALE_MG_DL, np.nan))],
                future=_known(value_nh[row]),
                mean=np.round(forecast_nhx[row, :, 0], 1).tolist(),
                low=np.round(forecast_nhx[row, :, 1], 1).tolist(),
                high=np.round(forecast_nhx[row, :, len(FORECAST_QUANTILES)], 1).tolist(),
            )
        )
    return made


def _known(values: Floats) -> list[float | None]:
    return [round(value, 1) if np.isfinite(value) else None for value in values.tolist()]

"""From outputs on people the network did not learn from to the calibration that makes its probabilities mean what they
say. Fitted once, written into the manifest, applied by ``models.calibration``.

Axes: N examples, K classes, H horizons, Q quantiles, L limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.spec import AffineSoftmax, Calibration, ConformalForecast, TemperatureSoftmax
from trainer.labels import limit_crossed
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task

Floats = npt.NDArray[np.float64]

_HELD_BACK: Final = 1e-3
"""Weight of the pull towards no change: a class seen a few times must not get a wild scale."""
_DIGITS: Final = 6


def fitted(task: Task, outputs: Mapping[str, Floats], target: npt.NDArray[Any]) -> Calibration:
    """The calibration of ``task`` for raw ``outputs`` [N, …] of people whom the network has not seen."""
    if task is Task.GLUCOSE:
        return _conformal(outputs["quantiles"], outputs["limit_logits"], target.astype(np.float64))
    there = target >= 0
    logits_nk, truth = outputs["logits"][there], target[there].astype(np.int64)
    if task is Task.ECG_BEAT:
        return _affine(logits_nk, truth)
    return _temperature(logits_nk, truth)


def _affine(logits_nk: Floats, truth: npt.NDArray[np.int64]) -> AffineSoftmax:
    k = logits_nk.shape[1]

    def loss(parameters: Floats) -> float:
        changed = logits_nk * np.exp(parameters[:k]) + parameters[k:]
        return _nll(changed, truth) + _HELD_BACK * float((parameters**2).sum())

    best = minimize(loss, np.zeros(2 * k), method="L-BFGS-B").x
    bias = best[k:] - best[k:].mean()
    return AffineSoftmax(scale=_plain(np.exp(best[:k])), bias=_plain(bias))


def _temperature(logits_nk: Floats, truth: npt.NDArray[np.int64]) -> TemperatureSoftmax:
    k = logits_nk.shape[1]

    def loss(parameters: Floats) -> float:
        return _nll(logits_nk / np.exp(parameters[0]) + np.append(parameters[1:], 0.0), truth) + _HELD_BACK * float(
            (parameters**2).sum()
        )

    best = minimize(loss, np.zeros(k), method="L-BFGS-B").x
    return TemperatureSoftmax(temperature=_plain(np.exp(best[:1]))[0], bias=_plain(np.append(best[1:], 0.0)))


def _conformal(quantiles_nhq: Floats, limit_logits_nhl: Floats, value_nh: Floats) -> ConformalForecast:
    offset = np.zeros((len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES)))
    for h in range(len(FORECAST_HORIZONS_MIN)):
        known = ~np.isnan(value_nh[:, h])
        for q, percent in enumerate(FORECAST_QUANTILES):
            offset[h, q] = np.percentile(value_nh[known, h] - quantiles_nhq[known, h, q], percent)
    scale, bias = np.ones(len(FORECAST_LIMITS)), np.zeros(len(FORECAST_LIMITS))
    crossed_nhl = limit_crossed(value_nh.astype(np.float32))
    known_nh = ~np.isnan(value_nh)
    for at in range(len(FORECAST_LIMITS)):
        scale[at], bias[at] = _platt(limit_logits_nhl[:, :, at][known_nh], crossed_nhl[:, :, at][known_nh] == 1.0)
    return ConformalForecast(
        quantile_offset_mg_dl=tuple(_plain(row) for row in offset), limit_scale=_plain(scale), limit_bias=_plain(bias)
    )


def _platt(logit: Floats, crossed: npt.NDArray[np.bool_]) -> tuple[float, float]:
    def loss(parameters: Floats) -> float:
        changed = logit * np.exp(parameters[0]) + parameters[1]
        return float(np.logaddexp(0.0, np.where(crossed, -changed, changed)).mean()) + _HELD_BACK * float(
            (parameters**2).sum()
        )

    best = minimize(loss, np.zeros(2), method="L-BFGS-B").x
    return float(np.exp(best[0])), float(best[1])


def _nll(logits_nk: Floats, truth: npt.NDArray[np.int64]) -> float:
    top = logits_nk.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits_nk - top).sum(axis=1)) + top[:, 0]
    return float((total - logits_nk[np.arange(len(truth)), truth]).mean())


def _plain(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS) for value in values)

"""From what a network says to what a finding holds: raw outputs → calibrated columns.

Axes: N rows, K classes, H horizons, Q quantiles, L limits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.spec import AffineSoftmax, ConformalForecast, Manifest, TemperatureSoftmax
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES
from vitals.units import GLUCOSE_MAX_MG_DL, GLUCOSE_MIN_MG_DL

Floats = npt.NDArray[np.float64]

_BELOW_70, _BELOW_54, _ABOVE_180, _ABOVE_250 = range(len(FORECAST_LIMITS))

_FORECAST_COLUMNS = tuple(
    f"h{horizon:02d}_{name}"
    for horizon in FORECAST_HORIZONS_MIN
    for name in ("mean", *(f"q{q:02d}" for q in FORECAST_QUANTILES), *(f"p_{limit}" for limit in FORECAST_LIMITS))
)


def calibrated(manifest: Manifest, raw: Mapping[str, npt.NDArray[np.generic]]) -> Floats:
    """float64[n, len(manifest.columns)]: the finding columns of n rows, in the order of the manifest.

    ``raw``: the named outputs of the engine. Raises ``ValueError`` when an output is missing, has another shape, or is
    not finite: a network that answers NaN has answered nothing.
    """
    outputs = {tensor.name: _finite(raw, tensor.name, tensor.row_shape) for tensor in manifest.outputs}
    match manifest.calibration:
        case AffineSoftmax(scale, bias):
            return _softmax(outputs["logits"] * np.array(scale) + np.array(bias))
        case TemperatureSoftmax(temperature, bias):
            return _softmax(outputs["logits"] / temperature + np.array(bias))
        case ConformalForecast() as forecast:
            every = _forecast(forecast, outputs["mean"], outputs["quantiles"], outputs["limit_logits"])
            return every[:, [_FORECAST_COLUMNS.index(column) for column in manifest.columns]]


def _finite(raw: Mapping[str, npt.NDArray[np.generic]], name: str, row_shape: tuple[int, ...]) -> Floats:
    if name not in raw:
        raise ValueError(f"the engine gave no {name}")
    values = np.asarray(raw[name], dtype=np.float64)
    if values.shape[1:] != row_shape:
        raise ValueError(f"{name} has rows of shape {values.shape[1:]}, not {row_shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is not finite")
    return values


def _softmax(logits_nk: Floats) -> Floats:
    exp_nk = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    p_nk: Floats = exp_nk / exp_nk.sum(axis=1, keepdims=True)
    return p_nk


def _forecast(forecast: ConformalForecast, mean_nh: Floats, quantiles_nhq: Floats, limit_logits_nhl: Floats) -> Floats:
    # Sorting shifted quantiles makes them monotone and never worse (Chernozhukov et al. 2010, doi:10.3982/ECTA7880).
    quantiles_nhq = np.sort(quantiles_nhq + np.array(forecast.quantile_offset_mg_dl), axis=2)
    logits_nhl = limit_logits_nhl * np.array(forecast.limit_scale) + np.array(forecast.limit_bias)
    p_nhl = 0.5 * (1.0 + np.tanh(0.5 * logits_nhl))  # the sigmoid that cannot overflow
    p_nhl[:, :, _BELOW_54] = np.minimum(p_nhl[:, :, _BELOW_54], p_nhl[:, :, _BELOW_70])
    p_nhl[:, :, _ABOVE_250] = np.minimum(p_nhl[:, :, _ABOVE_250], p_nhl[:, :, _ABOVE_180])
    glucose_nhx = np.concatenate([mean_nh[:, :, None], quantiles_nhq], axis=2)
    glucose_nhx = np.clip(glucose_nhx, GLUCOSE_MIN_MG_DL, GLUCOSE_MAX_MG_DL)
    return np.concatenate([glucose_nhx, p_nhl], axis=2).reshape(len(mean_nh), -1)

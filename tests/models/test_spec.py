from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from models.calibration import calibrated
from models.engine import Array
from models.spec import (
    AffineSoftmax,
    ConformalForecast,
    Manifest,
    ManifestRefused,
    TemperatureSoftmax,
    TensorSpec,
    decoded,
    encoded,
)
from tests.support.bundles import manifest_of
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task

TASKS = (Task.ECG_BEAT, Task.GLUCOSE, Task.PNEUMONIA, Task.BREAST)
H, Q, L = len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES), len(FORECAST_LIMITS)


@pytest.mark.parametrize("task", TASKS)
def test_a_manifest_survives_its_file(task: Task) -> None:
    assert decoded(encoded(manifest_of(task))) == manifest_of(task)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"preferred_batch": 0},
        {"columns": ["p_n", "p_n", "p_v", "p_f", "p_q"]},
        {"columns": ["p_n", "p_s", "p_v", "p_f", "heart_rate_bpm"]},
        {"columns": ["p_n", "p_s", "p_v", "p_f"]},
        {"inputs": []},
        {"task": "sepsis"},
        {"unknown_field": 1},
        {"calibration": {"kind": "affine-softmax", "scale": [1, 1, 1, 1, 0], "bias": [0, 0, 0, 0, 0]}},
        {"calibration": {"kind": "affine-softmax", "scale": [1, 1], "bias": [0, 0]}},
        {"calibration": {"kind": "temperature-softmax", "temperature": -1, "bias": [0, 0, 0, 0, 0]}},
        {"calibration": {"kind": "eval", "code": "1"}},
        {"outputs": [{"name": "logits", "dtype": "float32", "shape": [4, 5], "unit": "logit"}]},
        {"outputs": [{"name": "logits", "dtype": "float32", "shape": [None, 0], "unit": "logit"}]},
        {"outputs": [{"name": "ecg_mv", "dtype": "float32", "shape": [None, 5], "unit": "logit"}]},
        {"metrics": {"f1": None}},
    ],
)
def test_a_manifest_that_cannot_be_served_is_refused(change: dict[str, object]) -> None:
    fields = msgspec.json.decode(encoded(manifest_of(Task.ECG_BEAT)))
    assert decoded(msgspec.json.encode(fields)).task is Task.ECG_BEAT
    with pytest.raises(ManifestRefused):
        decoded(msgspec.json.encode(fields | change))


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_a_file_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestRefused):
        decoded(text)


def test_a_scale_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        AffineSoftmax((1.0, math.nan), (0.0, 0.0))


def logits(*rows: tuple[float, ...]) -> dict[str, Array]:
    return {"logits": np.array(rows, np.float32)}


def test_a_softmax_is_a_distribution_even_for_huge_logits() -> None:
    p = calibrated(manifest_of(Task.ECG_BEAT), logits((1e30, -1e30, 0, 0, 0), (3, 3, 3, 3, 3)))
    assert p[0].tolist() == [1, 0, 0, 0, 0]
    assert p.sum(axis=1) == pytest.approx([1, 1])
    assert p[1].argmax() == 2  # scaled by 1.1, the largest scale, and only a little less by its bias


def test_temperature_above_one_makes_a_model_less_sure() -> None:
    manifest = manifest_of(Task.PNEUMONIA)
    cooler = msgspec.structs.replace(manifest, calibration=TemperatureSoftmax(3.0, (0.0, 0.0)))
    plain = msgspec.structs.replace(manifest, calibration=TemperatureSoftmax(1.0, (0.0, 0.0)))
    raw = logits((0.0, 4.0))
    assert calibrated(plain, raw)[0, 1] == pytest.approx(1 / (1 + math.exp(-4)))
    assert 0.5 < calibrated(cooler, raw)[0, 1] < calibrated(plain, raw)[0, 1]


def forecast(manifest: Manifest, **changed: Array) -> dict[str, float]:
    raw: dict[str, Array] = {
        "mean": np.full((1, H), 120, np.float32),
        "quantiles": np.tile(np.array([80, 100, 120, 140, 160], np.float32), (1, H, 1)),
        "limit_logits": np.zeros((1, H, L), np.float32),
    }
    return dict(zip(manifest.columns, calibrated(manifest, raw | changed)[0].tolist(), strict=True))


def test_a_forecast_is_shifted_by_its_conformal_offsets() -> None:
    manifest = manifest_of(Task.GLUCOSE)
    assert isinstance(manifest.calibration, ConformalForecast)
    offsets = ((-9.0, -3.0, 0.0, 4.0, 11.0),) * H
    shifted = msgspec.structs.replace(
        manifest, calibration=ConformalForecast(offsets, manifest.calibration.limit_scale, (0.0,) * L)
    )
    said = forecast(shifted)
    assert [said[f"h30_q{q:02d}"] for q in FORECAST_QUANTILES] == [71, 97, 120, 144, 171]
    assert said["h30_mean"] == 120


def test_quantiles_that_cross_are_put_in_order_and_kept_within_the_possible() -> None:
    crossing = np.tile(np.array([300, 100, -50, 900, 160], np.float32), (1, H, 1))
    said = forecast(manifest_of(Task.GLUCOSE), quantiles=crossing)
    assert [said[f"h60_q{q:02d}"] for q in FORECAST_QUANTILES] == [20, 100, 160, 300, 600]


def test_a_deeper_limit_is_never_likelier_than_the_one_above_it() -> None:
    logits_hl = np.tile(np.array([-2, 3, -2, 3], np.float32), (1, H, 1))
    said = forecast(manifest_of(Task.GLUCOSE), limit_logits=logits_hl)
    assert said["h15_p_below_54"] == said["h15_p_below_70"] == pytest.approx(1 / (1 + math.exp(2)))
    assert said["h15_p_above_250"] == said["h15_p_above_180"]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"logits": np.zeros((1, 4), np.float32)},
        logits((math.nan, 0, 0, 0, 0)),
        logits((math.inf, 0, 0, 0, 0)),
    ],
)
def test_an_answer_that_is_none_is_refused(raw: dict[str, Array]) -> None:
    with pytest.raises(ValueError, match="logits"):
        calibrated(manifest_of(Task.ECG_BEAT), raw)


def test_a_tensor_has_one_free_axis_the_first() -> None:
    assert TensorSpec("x", "float32", (None, 3, 4), "1").row_shape == (3, 4)
    for shape in ((3, None), (None, None), ()):
        with pytest.raises(ValueError, match="axis"):
            TensorSpec("x", "float32", shape, "1")

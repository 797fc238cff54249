"""Bundles as the trainer makes them, of networks that nobody trained: real shapes, real export, random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.engine import Array
from models.export import export
from models.nets import catalogue, ecg, glucose, imaging
from models.registry import Bundle
from models.spec import AffineSoftmax, Calibration, ConformalForecast, Manifest, TemperatureSoftmax, TensorSpec
from vitals.findings import COLUMNS, FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task

CONTEXT = 8
GOLDEN_ROWS = 48


def manifest_of(task: Task) -> Manifest:
    """The manifest of an untrained model of ``task``."""
    calibration: Calibration
    match task:
        case Task.ECG_BEAT:
            network, arguments, window = ecg.NETWORK, {"context": CONTEXT}, "beat-250hz-192-v1"
            inputs = (
                TensorSpec("ecg_mv", "float32", (None, 2, 192), "mV"),
                TensorSpec("context", "float32", (None, CONTEXT), "1"),
            )
            outputs = (TensorSpec("logits", "float32", (None, 5), "logit"),)
            columns = COLUMNS[task][:5]
            calibration = AffineSoftmax((1.0, 0.9, 1.1, 1.0, 1.0), (0.0, 0.1, -0.1, 0.0, 0.0))
        case Task.GLUCOSE:
            network, arguments, window = glucose.NETWORK, {}, "cgm-5min-48-v1"
            horizons, quantiles, limits = len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES), len(FORECAST_LIMITS)
            inputs = (TensorSpec("glucose", "float32", (None, 48, 2), "100 mg/dL"),)
            outputs = (
                TensorSpec("mean", "float32", (None, horizons), "mg/dL"),
                TensorSpec("quantiles", "float32", (None, horizons, quantiles), "mg/dL"),
                TensorSpec("limit_logits", "float32", (None, horizons, limits), "logit"),
            )
            columns = COLUMNS[task][2:]
            calibration = ConformalForecast(((0.0,) * quantiles,) * horizons, (1.0,) * limits, (0.0,) * limits)
        case _:
            network, arguments, window = imaging.NETWORK, {"width": 8}, "grey-28-v1"
            inputs = (TensorSpec("image", "float32", (None, 1, 28, 28), "grey"),)
            outputs = (TensorSpec("logits", "float32", (None, 2), "logit"),)
            columns = COLUMNS[task]
            calibration = TemperatureSoftmax(1.3, (0.0, 0.1))
    return Manifest(
        task=task,
        window=window,
        inputs=inputs,
        outputs=outputs,
        columns=columns,
        calibration=calibration,
        created="2026-01-01T00:00:00Z",
        code_version="test",
        trained_on="nothing",
        network=network,
        network_arguments=arguments,
        metrics={"macro_f1": 0.2},
    )


def rows_of(task: Task, rows: int, seed: int = 0) -> dict[str, Array]:
    """``rows`` windows of noise that have the shape and the range of real ones."""
    rng = np.random.default_rng(seed)
    match task:
        case Task.ECG_BEAT:
            ecg_mv = rng.normal(0, 0.4, (rows, 2, 192)).astype(np.float32)
            ecg_mv[::5, 1] = 0.0  # the second lead is off
            return {"ecg_mv": ecg_mv, "context": rng.normal(1, 0.3, (rows, CONTEXT)).astype(np.float32)}
        case Task.GLUCOSE:
            walk = 1.5 + np.cumsum(rng.normal(0, 0.05, (rows, 48)), axis=1)
            known = rng.random((rows, 48)) < 0.95
            known[:, -1] = True
            return {"glucose": np.stack([np.clip(walk, 0.4, 4) * known, known], axis=2).astype(np.float32)}
        case _:
            return {"image": rng.random((rows, 1, 28, 28), dtype=np.float32)}


def network_for(manifest: Manifest, seed: int = 0) -> nn.Module:
    """The manifest's network with random weights, and with normalisation layers as if something had been learned."""
    torch.manual_seed(seed)
    network = catalogue.build(manifest.network, manifest.network_arguments)
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    return network.eval()


def made_bundle(task: Task, folder: Path, seed: int = 0) -> Bundle:
    """An exported bundle of ``task`` in ``folder``; another seed is another model."""
    manifest = manifest_of(task)
    return export(network_for(manifest, seed), manifest, rows_of(task, GOLDEN_ROWS, seed=99), "# Untrained\n", folder)

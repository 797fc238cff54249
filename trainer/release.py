"""From a model that passed the gate to one that can serve: export, parity, card, registry, signature, announcement.

The announcement is the last thing done: a worker that hears of a bundle finds it whole in the registry.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from models import announce as releases
from models.export import export
from models.registry import Bundle, Registry
from models.signing import SigningKey
from models.spec import Manifest, TensorSpec
from trainer.card import card
from trainer.config import Recipe
from trainer.dataset import Dataset, Examples, Side
from trainer.evaluate import Evaluation
from trainer.examples import SPEC, WARD
from trainer.gate import Verdict
from trainer.train import Trained
from vitals import recentbeats
from vitals.clock import Clock
from vitals.findings import COLUMNS, FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task
from vitals.units import US_PER_S
from vitals.windows import ecg, glucose, image

_GOLDEN_ROWS: Final = 16
_DIGITS: Final = 6
_STATED_HORIZONS_MIN: Final = (15, 30, 60)
_NOT_FORECAST: Final = 2
"""A glucose finding begins with the reading and its slope, which no network says."""

INPUTS: Final[dict[Task, tuple[TensorSpec, ...]]] = {
    Task.ECG_BEAT: (
        TensorSpec("ecg_mv", "float32", (None, ecg.LEADS, ecg.BEAT_SAMPLES), "mV"),
        TensorSpec("context", "float32", (None, len(ecg.CONTEXT)), "1"),
    ),
    Task.GLUCOSE: (TensorSpec("glucose", "float32", (None, glucose.STEPS, 2), "100 mg/dL"),),
    Task.PNEUMONIA: (TensorSpec("image", "float32", (None, 1, image.SIDE, image.SIDE), "grey"),),
    Task.BREAST: (TensorSpec("image", "float32", (None, 1, image.SIDE, image.SIDE), "grey"),),
    Task.ECG_AF: (
        TensorSpec("beats", "float32", (None, recentbeats.BEATS, len(recentbeats.FEATURES)), "1"),
        TensorSpec("context", "float32", (None, len(recentbeats.CONTEXT)), "1"),
    ),
}
_H, _Q, _L = len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES), len(FORECAST_LIMITS)
OUTPUTS: Final[dict[Task, tuple[TensorSpec, ...]]] = {
    Task.ECG_BEAT: (TensorSpec("logits", "float32", (None, 5), "logit"),),
    Task.GLUCOSE: (
        TensorSpec("mean", "float32", (None, _H), "mg/dL"),
        TensorSpec("quantiles", "float32", (None, _H, _Q), "mg/dL"),
        TensorSpec("limit_logits", "float32", (None, _H, _L), "logit"),
    ),
    Task.PNEUMONIA: (TensorSpec("logits", "float32", (None, 2), "logit"),),
    Task.BREAST: (TensorSpec("logits", "float32", (None, 2), "logit"),),
    Task.ECG_AF: (TensorSpec("logits", "float32", (None, 4), "logit"),),
}
PROBABILITIES: Final[dict[Task, tuple[str, ...]]] = {
    Task.ECG_BEAT: tuple(column for column in COLUMNS[Task.ECG_BEAT] if column.startswith("p_")),
    Task.GLUCOSE: COLUMNS[Task.GLUCOSE][_NOT_FORECAST:],
    Task.PNEUMONIA: COLUMNS[Task.PNEUMONIA],
    Task.BREAST: COLUMNS[Task.BREAST],
    Task.ECG_AF: COLUMNS[Task.ECG_AF],
}
"""The finding columns that a bundle of the task fills."""


def manifest(trained: Trained, dataset: Dataset, metrics: Mapping[str, float], created_us: int) -> Manifest:
    """The manifest of ``trained``."""
    task = dataset.task
    return Manifest(
        task=task,
        window=SPEC[task],
        inputs=INPUTS[task],
        outputs=OUTPUTS[task],
        columns=PROBABILITIES[task],
        calibration=trained.calibration,
        created=datetime.fromtimestamp(created_us // US_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        code_version=_code_version(),
        trained_on=dataset.hash,
        folds=trained.folds,
        network=trained.network_name,
        network_arguments=trained.network_arguments,
        metrics={name: round(value, _DIGITS) for name, value in metrics.items()},
    )


def golden_rows(examples: Examples) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Example inputs for the bundle, as varied as a few can be; of public records where it can: bundles travel."""
    public = np.array([not name.startswith(WARD) for name in examples.people])[examples.person]
    if public.any():
        examples = examples.of(public)
    if examples.target.ndim == 1:
        by_class = [np.flatnonzero(examples.target == k) for k in np.unique(examples.target[examples.target >= 0])]
    else:
        by_class = [np.arange(len(examples))]
    share = -(-_GOLDEN_ROWS // len(by_class))
    rows = np.concatenate([of_class[np.linspace(0, len(of_class) - 1, share).astype(int)] for of_class in by_class])
    return {name: tensor[rows[:_GOLDEN_ROWS]] for name, tensor in examples.inputs.items()}


@contextmanager
def drafted(trained: Trained, dataset: Dataset) -> Iterator[Bundle]:
    """The bundle of ``trained`` without figures and card: what the gate asks and measures is what would serve.

    Raises ``ExportRefused``.
    """
    with tempfile.TemporaryDirectory(prefix="wardwatch-draft-") as folder:
        made = manifest(trained, dataset, {}, 0)
        yield export(trained.network, made, golden_rows(dataset[Side.TRAIN]), "", Path(folder) / "bundle")


def release(
    trained: Trained,
    dataset: Dataset,
    recipe: Recipe,
    evaluation: Evaluation,
    verdicts: list[Verdict],
    registry: Registry,
    clock: Clock,
    key: SigningKey | None = None,
) -> Bundle:
    """Exports, checks, signs with ``key`` and promotes.

    Raises ``ExportRefused`` when ONNX Runtime does not answer as torch did.
    """
    made = manifest(trained, dataset, _stated(evaluation), clock.now_us())
    text = card(made, trained, dataset, recipe, evaluation, verdicts)
    with tempfile.TemporaryDirectory(prefix="wardwatch-bundle-") as folder:
        drafted = export(trained.network, made, golden_rows(dataset[Side.TRAIN]), text, Path(folder) / "bundle")
        bundle = registry.add(drafted.folder)
    if key is not None:
        registry.sign(bundle.task, bundle.hash, key)
    return registry.promote(bundle.task, bundle.hash)


def announce(bootstrap: str, bundle: Bundle, registry: Registry, verdicts: list[Verdict], clock: Clock) -> None:
    """Says on ``releases.v1`` that the bundle serves from now on. Raises ``Fault`` when nobody confirms."""
    report = msgspec.json.encode(verdicts).decode()
    releases.announce(bootstrap, registry, bundle, "promote", report, clock)


def _stated(evaluation: Evaluation) -> dict[str, float]:
    """Figures for the manifest; the card has all of them, and how sure they are."""
    hidden = tuple(f"_{minutes:02d}" for minutes in FORECAST_HORIZONS_MIN if minutes not in _STATED_HORIZONS_MIN)
    return {name: value for name, value in evaluation.metrics.items() if not name.endswith(hidden)}


def _code_version() -> str:
    try:
        return metadata.version("wardwatch")
    except metadata.PackageNotFoundError:
        return "source"

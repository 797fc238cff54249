"""What a model bundle says about itself: ``manifest.json``, read before anything of the model is run.

A model is named tensors in and named tensors out. Nothing here knows what a heartbeat is: the columns that it fills and
the calibration that turns raw outputs into them are data.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from vitals.errors import WardwatchError
from vitals.findings import COLUMNS, FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task

FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "card.md"
ONNX_FILE: Final = "model.onnx"
ONNX_HALF_FILE: Final = "model.fp16.onnx"
GOLDEN_FILE: Final = "golden.npz"
WEIGHTS_FILE: Final = "weights.safetensors"

Dtype = Literal["float32", "int64", "uint8"]
Unit = Literal["mV", "mg/dL", "100 mg/dL", "1", "grey", "logit"]


class ManifestRefused(WardwatchError):
    """The manifest is not one that this build can serve. The text says which part."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named tensor. ``shape[0]`` is None, the batch; every other axis is fixed."""

    name: str
    dtype: Dtype
    shape: tuple[int | None, ...]
    unit: Unit

    def __post_init__(self) -> None:
        fixed = self.shape[1:]
        if not self.name or not self.shape or self.shape[0] is not None:
            raise ValueError("a tensor has a name, and its first axis is the batch (null)")
        if any(size is None or size < 1 for size in fixed):
            raise ValueError(f"{self.name}: every axis but the first has a fixed positive size")

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row: all axes but the batch."""
        return tuple(size for size in self.shape[1:] if size is not None)


class AffineSoftmax(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="affine-softmax", tag_field="kind"):
    """p = softmax(scale * logits + bias), per class (vector scaling, Guo et al. 2017, arXiv:1706.04599)."""

    scale: tuple[float, ...]
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        _must_be_finite("scale, bias", *self.scale, *self.bias)
        if len(self.scale) != len(self.bias) or min(self.scale, default=0.0) <= 0:
            raise ValueError("one positive scale and one bias per class")


class TemperatureSoftmax(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="temperature-softmax", tag_field="kind"
):
    """p = softmax(logits / temperature + bias) (temperature scaling, Guo et al. 2017, arXiv:1706.04599)."""

    temperature: float
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        _must_be_finite("temperature, bias", self.temperature, *self.bias)
        if self.temperature <= 0:
            raise ValueError("the temperature is positive")


class ConformalForecast(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="conformal-forecast", tag_field="kind"
):
    """Quantiles are shifted (conformalised quantile regression, Romano et al. 2019, arXiv:1905.03222).

    ``quantile_offset_mg_dl``: [horizons][quantiles], added to the network's quantiles.
    ``limit_scale``, ``limit_bias``: [limits]; p(limit) = sigmoid(scale * logit + bias) (Platt 1999).
    """

    quantile_offset_mg_dl: tuple[tuple[float, ...], ...]
    limit_scale: tuple[float, ...]
    limit_bias: tuple[float, ...]

    def __post_init__(self) -> None:
        _must_be_finite("offsets", *(x for row in self.quantile_offset_mg_dl for x in row))
        _must_be_finite("limit_scale, limit_bias", *self.limit_scale, *self.limit_bias)
        if [len(row) for row in self.quantile_offset_mg_dl] != [len(FORECAST_QUANTILES)] * len(FORECAST_HORIZONS_MIN):
            raise ValueError("one offset per horizon and quantile")
        if len(self.limit_scale) != len(FORECAST_LIMITS) or len(self.limit_bias) != len(FORECAST_LIMITS):
            raise ValueError("one scale and one bias per limit")
        if min(self.limit_scale) <= 0:
            raise ValueError("a limit's scale is positive")


Calibration = AffineSoftmax | TemperatureSoftmax | ConformalForecast


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contract of one bundle.

    ``window``: the window spec that cut the inputs. ``columns``: the finding columns that it fills, in order.
    ``network``, ``network_arguments``: how the torch network is rebuilt from its weights; serving does not read them.
    ``preferred_batch``: rows that the engine is fastest with. ``metrics``: of the evaluation on the frozen test set.
    ``created``: ISO 8601 UTC. ``trained_on``: hash of the dataset. ``folds``: 0 when the validation people were never
    learnt from, else how many folds they were cross-validated in before the network learnt from them too.
    """

    task: Task
    window: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    columns: tuple[str, ...]
    calibration: Calibration
    created: str
    code_version: str
    trained_on: str
    folds: int = 0
    network: str = ""
    network_arguments: dict[str, int] = {}
    preferred_batch: int = 32
    metrics: dict[str, float] = {}
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"manifest format {self.format}, this build reads {FORMAT}")
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        if not self.inputs or not self.outputs or len(set(names)) != len(names):
            raise ValueError("at least one input and one output, each with a name of its own")
        if len(set(self.columns)) != len(self.columns) or not set(self.columns) <= set(COLUMNS[self.task]):
            raise ValueError(f"columns that a {self.task} finding does not have, or twice the same")
        if self.preferred_batch < 1:
            raise ValueError("preferred_batch is at least 1")
        _must_be_finite("metrics", *self.metrics.values())
        self._calibration_must_fit()

    def _calibration_must_fit(self) -> None:
        shapes = {tensor.name: tensor.row_shape for tensor in self.outputs}
        if isinstance(self.calibration, ConformalForecast):
            horizons, quantiles, limits = len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES), len(FORECAST_LIMITS)
            needed = {"mean": (horizons,), "quantiles": (horizons, quantiles), "limit_logits": (horizons, limits)}
            if shapes != needed:
                raise ValueError(f"a conformal forecast needs the outputs {needed}")
            return
        classes = len(self.calibration.bias)
        if shapes != {"logits": (classes,)} or len(self.columns) != classes:
            raise ValueError("a softmax needs one output, logits[B, classes], and one column per class")


def decoded(text: bytes) -> Manifest:
    """The manifest in ``text`` (JSON). Raises ``ManifestRefused``."""
    try:
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ManifestRefused(f"{MANIFEST_FILE}: {error}") from None


def encoded(manifest: Manifest) -> bytes:
    """The manifest as indented JSON: people read it too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _must_be_finite(what: str, *values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{what}: not finite")

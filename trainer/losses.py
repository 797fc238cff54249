"""What a network is asked to make small, and the score by which the best epoch is known. Both per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from trainer import measures
from trainer.labels import limit_crossed
from vitals.findings import FORECAST_QUANTILES, Task
from vitals.windows.glucose import SCALE_MG_DL

OUTPUTS: Final[dict[Task, tuple[str, ...]]] = {
    Task.ECG_BEAT: ("logits",),
    Task.GLUCOSE: ("mean", "quantiles", "limit_logits"),
    Task.PNEUMONIA: ("logits",),
    Task.BREAST: ("logits",),
    Task.ECG_AF: ("logits",),
}

_LEVELS: Final = np.array(FORECAST_QUANTILES) / 100.0
_SMOOTHING: Final = 0.02
_PINBALL_SHARE: Final = 2.0
_LIMITS_SHARE: Final = 0.3


def loss(task: Task, outputs: tuple[torch.Tensor, ...], target: torch.Tensor) -> torch.Tensor:
    """The mean loss of a batch. Glucose: squared error, pinball and limits, where the future is known."""
    if task is not Task.GLUCOSE:
        return functional.cross_entropy(outputs[0], target, label_smoothing=_SMOOTHING)
    mean_bh, quantiles_bhq, limits_bhl = outputs
    known_bh = ~torch.isnan(target)
    value_bh = torch.nan_to_num(target)
    square = ((mean_bh - value_bh)[known_bh] / SCALE_MG_DL).square().mean()
    above_bhq = (value_bh[:, :, None] - quantiles_bhq) / SCALE_MG_DL
    levels = torch.from_numpy(_LEVELS).to(above_bhq)
    pinball = torch.maximum(levels * above_bhq, (levels - 1.0) * above_bhq)[known_bh].mean()
    crossed_bhl = torch.nan_to_num(torch.from_numpy(limit_crossed(target.cpu().numpy()))).to(target.device)
    limits = functional.binary_cross_entropy_with_logits(limits_bhl[known_bh], crossed_bhl[known_bh])
    return square + _PINBALL_SHARE * pinball + _LIMITS_SHARE * limits


def score(task: Task, outputs: Mapping[str, npt.NDArray[np.float64]], target: npt.NDArray[Any]) -> float:
    """How good outputs are before calibration, higher is better.

    Beats: mean average precision over N S V F, which asks for the right order and not yet for the right threshold.
    Glucose: minus the pinball loss in mg/dL. Images: minus the logarithmic loss.
    """
    if task is Task.GLUCOSE:
        loss_nhq = measures.pinball(outputs["quantiles"], _LEVELS, target.astype(np.float64))
        return -float(np.nanmean(loss_nhq))
    there = target >= 0
    truth = target[there].astype(np.int64)
    logits_nk = outputs["logits"][there]
    p_nk = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    p_nk /= p_nk.sum(axis=1, keepdims=True)
    if task is Task.ECG_BEAT:
        known = [k for k in range(4) if (truth == k).any()]
        return float(np.mean([average_precision_score(truth == k, p_nk[:, k]) for k in known]))
    return -float(measures.log_loss(p_nk, truth).mean())

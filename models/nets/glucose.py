"""The glucose network: an LSTM over four hours beside the last two hours as they are.

A plain linear forecast from recent readings is hard to beat (``docs`` of GlucoBench, arXiv:2410.05780: it beats most
networks), so the readings reach the heads directly and the LSTM adds what a line cannot say.

Axes: B batch, T five-minute steps, H horizons, Q quantiles, L limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES

NETWORK: Final = "glucose-lstm"

_SCALE_MG_DL: Final = 100.0
_LAGS: Final = 24


class GlucoseNet(nn.Module):
    """``glucose`` float32[B, 48, 2] → ``mean`` [B, 12], ``quantiles`` [B, 12, 5], ``limit_logits`` [B, 12, 4].

    Channel 0 is mg/dL / 100 (0 unknown), channel 1 is 1 where measured; the last step is the reading itself. Forecasts
    are in mg/dL, 5 to 60 min ahead; quantiles rise by construction; logits are of being below 70, below 54, above 180,
    above 250 mg/dL at that horizon.
    """

    def __init__(self, *, hidden: int = 64) -> None:
        super().__init__()
        horizons, quantiles, limits = len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES), len(FORECAST_LIMITS)
        known = hidden + 2 * _LAGS + 1
        self.order = nn.LSTM(2, hidden, batch_first=True)
        self.mean = nn.Linear(known, horizons)
        self.quantiles = nn.Linear(known, horizons * quantiles)
        self.limits = nn.Sequential(
            nn.Linear(known, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, horizons * limits)
        )

    def forward(self, glucose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        level_bt, measured_bt = glucose[:, :, 0], glucose[:, :, 1]
        last_b1 = level_bt[:, -1:]
        steps_bth, _ = self.order(glucose)
        recent_bt = level_bt[:, -_LAGS:]
        change_bt = (recent_bt - last_b1) * (recent_bt > 0).to(recent_bt.dtype)
        known = torch.cat([steps_bth[:, -1], change_bt, measured_bt[:, -_LAGS:], last_b1], dim=1)
        mean_bh = last_b1 + self.mean(known)
        spread_bhq = self.quantiles(known).reshape(-1, len(FORECAST_HORIZONS_MIN), len(FORECAST_QUANTILES))
        median_bh1 = last_b1.unsqueeze(2) + spread_bhq[:, :, :1]
        gaps_bhq = nn.functional.softplus(spread_bhq[:, :, 1:])
        q25_bh1 = median_bh1 - gaps_bhq[:, :, 0:1]
        q05_bh1 = q25_bh1 - gaps_bhq[:, :, 1:2]
        q75_bh1 = median_bh1 + gaps_bhq[:, :, 2:3]
        q95_bh1 = q75_bh1 + gaps_bhq[:, :, 3:4]
        quantiles_bhq = torch.cat([q05_bh1, q25_bh1, median_bh1, q75_bh1, q95_bh1], dim=2)
        limits_bhl = self.limits(known).reshape(-1, len(FORECAST_HORIZONS_MIN), len(FORECAST_LIMITS))
        return mean_bh * _SCALE_MG_DL, quantiles_bhq * _SCALE_MG_DL, limits_bhl


def build(name: str, arguments: Mapping[str, int]) -> nn.Module:
    """The network called ``name``, with fresh weights. Raises ``ValueError`` for any other name or argument."""
    if name != NETWORK or not arguments.keys() <= {"hidden"}:
        raise ValueError(f"no such glucose network: {name} {sorted(arguments)}")
    return GlucoseNet(**arguments)

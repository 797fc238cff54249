"""The network for atrial fibrillation: an LSTM over the last 64 beats, their intervals and what precedes each QRS.

Axes: B batch, T beats, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from vitals.recentbeats import CONTEXT, FEATURES, P_BINS

NETWORK: Final = "ecg-af-lstm"
CLASSES: Final = ("normal", "af", "other", "noise")
"""Of the CinC Challenge 2017: N, A, O and ~, in the order of the logits."""

_HERE: Final = FEATURES.index("here")
_P: Final = FEATURES.index("p_0")
_DERIVED: Final = 3
_SUMMARIES: Final = 6
_LEAST_S: Final = 0.2


class AfNet(nn.Module):
    """``beats`` float32[B, 64, 21] and ``context`` float32[B, 6] (``vitals.recentbeats``) → ``logits`` float32[B, 4].

    Beside what the LSTM remembers at the last beat it is told the mean and the most of its states over all beats, and
    six numbers of the whole: mean interval, how far intervals are from it and from each other, how much what precedes
    the QRS differs from beat to beat, and how large it is on average. A P wave that is there is there every time.
    """

    def __init__(self, *, width: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.beat = nn.Sequential(nn.Linear(len(FEATURES) + _DERIVED, width), nn.ReLU(), nn.Dropout(0.1))
        self.order = nn.LSTM(width, hidden, batch_first=True)
        known = 3 * hidden + width + len(CONTEXT) + _SUMMARIES
        self.head = nn.Sequential(nn.Linear(known, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, len(CLASSES)))

    def forward(self, beats: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        here_bt1 = beats[:, :, _HERE : _HERE + 1]
        n_b1 = here_bt1.sum(dim=1).clamp(min=1.0)
        rr_bt1 = beats[:, :, :1]
        known_bt1 = (rr_bt1 > 0).to(beats.dtype) * here_bt1
        n_known_b1 = known_bt1.sum(dim=1).clamp(min=1.0)
        mean_b1 = (rr_bt1 * known_bt1).sum(dim=1) / n_known_b1
        away_bt1 = (rr_bt1 / mean_b1.clamp(min=_LEAST_S).unsqueeze(1) - 1.0) * known_bt1
        step_bt1 = torch.cat([torch.zeros_like(away_bt1[:, :1]), away_bt1[:, 1:] - away_bt1[:, :-1]], dim=1)
        told_btf = self.beat(torch.cat([beats, away_bt1, step_bt1, step_bt1.abs()], dim=2))
        states_bth, _ = self.order(told_btf)
        p_btp = beats[:, :, _P : _P + P_BINS]
        p_mean_bp = (p_btp * here_bt1).sum(dim=1) / n_b1
        p_spread_b1 = (((p_btp - p_mean_bp.unsqueeze(1)) ** 2 * here_bt1).sum(dim=1) / n_b1).mean(dim=1, keepdim=True)
        whole_bf = torch.cat(
            [
                mean_b1,
                (away_bt1**2).sum(dim=1) / n_known_b1,
                step_bt1.abs().sum(dim=1) / n_known_b1,
                (step_bt1**2).sum(dim=1) / n_known_b1,
                p_spread_b1,
                p_mean_bp.amax(dim=1, keepdim=True) - p_mean_bp.amin(dim=1, keepdim=True),
            ],
            dim=1,
        )
        most_bh = (states_bth * here_bt1 + (here_bt1 - 1.0)).amax(dim=1)
        of_states_bf = [states_bth[:, -1], (states_bth * here_bt1).sum(dim=1) / n_b1, most_bh]
        of_beats_bf = (told_btf * here_bt1).sum(dim=1) / n_b1
        logits: torch.Tensor = self.head(torch.cat([*of_states_bf, of_beats_bf, context, whole_bf], dim=1))
        return logits


def build(name: str, arguments: Mapping[str, int]) -> nn.Module:
    """The network called ``name``, with fresh weights. Raises ``ValueError`` for any other name or argument."""
    if name != NETWORK or not arguments.keys() <= {"width", "hidden"}:
        raise ValueError(f"no such network of recent beats: {name} {sorted(arguments)}")
    return AfNet(**arguments)

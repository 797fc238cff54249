"""The beat network: a strided CNN down to twelve steps, a small LSTM over them, and what is known of the rhythm.

Axes: B batch, L leads, T samples, S steps, C features. Sized for many wards on one core: about 16 000 parameters
(``bench/engines.py`` measures it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

NETWORK: Final = "ecg-beat-cnn-lstm"
CLASSES: Final = ("N", "S", "V", "F", "Q")
"""AAMI EC57 classes, in the order of the logits."""

_LEADS: Final = 2
_CLIP_MV: Final = 5.0
"""No QRS recorded from the chest is larger; what is above is an artefact, and must not drown the rest."""
_QUIET_MV: Final = 0.05
"""Where the root mean square is at or below this, a lead is left small, so that noise is not blown up to a beat."""
_MIXING: Final = 0.3
"""Standard deviation of each element of the mixing matrix."""
_UNHEARD: Final = 0.3
"""Share of the beats whose shape is not heard while training."""


class _OtherElectrodes(nn.Module):
    """While training, each beat as other electrodes might have seen it: its leads mixed by a random matrix near one.

    Leads are projections of one heart vector, and where they are glued differs more between people than anything the
    network should learn of them. An absent lead stays absent.
    """

    def forward(self, ecg_blt: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return ecg_blt
        here_bl1 = (ecg_blt != 0).any(dim=2, keepdim=True).to(ecg_blt.dtype)
        mixing_bll = torch.eye(_LEADS) + _MIXING * torch.randn(len(ecg_blt), _LEADS, _LEADS)
        return (mixing_bll.to(ecg_blt) @ ecg_blt) * here_bl1


class BeatNet(nn.Module):
    """``ecg_mv`` float32[B, 2, 192] in mV and ``context`` float32[B, context] → ``logits`` float32[B, 5].

    Two voices add up. What is known of the rhythm speaks for every class; the shape of the beat speaks for V, F and Q,
    but not for S against N: a premature beat has the QRS of a normal one, and a network that may tell them apart by
    shape learns whose heart it is. While training, the shape is now and then not heard at all, so that the rhythm does
    not rely on it.

    Measured in five folds by person of 21 people of MIT-BIH DS1 and the paced records, calibrated, argmax: F1 of S 0.34
    to 0.44 and mean F1 of N, S and V 0.69 to 0.72 this way (several sets of changes to the windows), 0.02 and 0.59 with
    shape and rhythm in one head, 0.37 and 0.68 from the rhythm alone.

    A lead that is absent is all zeros, and stays so: training drops leads that way. Each lead is divided by its own
    root mean square: the size relative to this patient's usual beat is in the context.
    """

    def __init__(self, *, context: int, width: int = 12, hidden: int = 24) -> None:
        super().__init__()
        narrow, middle, wide = width, 2 * width, 3 * width
        self.electrodes = _OtherElectrodes()
        self.shape = nn.Sequential(
            *_convolved(_LEADS, narrow, kernel=9, stride=4),
            *_convolved(narrow, middle, kernel=5, stride=2),
            *_convolved(middle, wide, kernel=3, stride=2),
        )
        self.order = nn.LSTM(wide, hidden, batch_first=True)
        self.of_shape = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(hidden + wide, 32), nn.ReLU(), nn.Linear(32, len(CLASSES) - 1)
        )
        self.of_rhythm = nn.Sequential(
            nn.BatchNorm1d(context),
            *(nn.Linear(context, 48), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(48, len(CLASSES)),
        )

    def forward(self, ecg_mv: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        clipped_blt = self.electrodes(ecg_mv).clamp(-_CLIP_MV, _CLIP_MV)
        rms_bl1 = torch.sqrt(clipped_blt.square().mean(dim=2, keepdim=True) + _QUIET_MV**2)
        features_bcs = self.shape(clipped_blt / rms_bl1)
        steps_bsc, _ = self.order(features_bcs.transpose(1, 2))
        shape_b4 = self.of_shape(torch.cat([steps_bsc[:, -1], features_bcs.mean(dim=2)], dim=1))
        if self.training:
            shape_b4 = shape_b4 * (torch.rand(len(shape_b4), 1) >= _UNHEARD)
        logits: torch.Tensor = self.of_rhythm(context) + torch.cat([shape_b4[:, :1], shape_b4], dim=1)
        return logits


def build(name: str, arguments: Mapping[str, int]) -> nn.Module:
    """The network called ``name``, with fresh weights. Raises ``ValueError`` for any other name or argument."""
    if name != NETWORK or not arguments.keys() <= {"context", "width", "hidden"} or "context" not in arguments:
        raise ValueError(f"no such beat network: {name} {sorted(arguments)}")
    return BeatNet(**arguments)


def _convolved(channels_in: int, channels_out: int, *, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv1d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm1d(channels_out), nn.ReLU()

"""The imaging network: a small residual CNN (He et al. 2016, arXiv:1512.03385) over a 28 x 28 grey square.

Axes: B batch, C channels, Y rows, X columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

NETWORK: Final = "image-resnet"

_CLASSES: Final = 2
_GREY_MEAN: Final = 0.5
_GREY_SPREAD: Final = 0.25


class ImageNet28(nn.Module):
    """``image`` float32[B, 1, 28, 28], grey 0..1 → ``logits`` float32[B, 2]."""

    def __init__(self, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(
            _Block(width, width, stride=1), _Block(width, 2 * width, stride=2), _Block(2 * width, 4 * width, stride=2)
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(4 * width, _CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features_bcyx = self.blocks(self.stem((image - _GREY_MEAN) / _GREY_SPREAD))
        logits: torch.Tensor = self.head(features_bcyx.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.short: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            self.short = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x_bcyx: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.long(x_bcyx) + self.short(x_bcyx))


def build(name: str, arguments: Mapping[str, int]) -> nn.Module:
    """The network called ``name``, with fresh weights. Raises ``ValueError`` for any other name or argument."""
    if name != NETWORK or not arguments.keys() <= {"width"}:
        raise ValueError(f"no such imaging network: {name} {sorted(arguments)}")
    return ImageNet28(**arguments)

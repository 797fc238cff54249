"""Changes to a batch of windows that leave its truth as it was: other electrodes, other skin, other rooms.

Axes: B batch, L leads, T samples, Y rows, X columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch

from trainer.config import AugmentRecipe
from vitals.findings import Task
from vitals.recentbeats import FEATURES
from vitals.windows.ecg import CONTEXT, RATE_HZ

Tensors = dict[str, torch.Tensor]

_HERE: Final = FEATURES.index("here")
_P: Final = FEATURES.index("p_0")


def _other_lead(name: str) -> str:
    return {"_0": name[:-2] + "_1", "_1": name[:-2] + "_0"}.get(name[-2:], name)


_LEAD_OF: Final = torch.tensor([int(name[-1]) if name[-2:] in ("_0", "_1") else -1 for name in CONTEXT])
"""The lead that each context column tells of, -1 for the rhythm."""
_OF_SWAPPED: Final = torch.tensor([CONTEXT.index(_other_lead(name)) for name in CONTEXT])
"""Where each context column is found when the leads have changed places."""

_WANDER_HZ: Final = (0.1, 0.7)
"""Breathing and movement (Moody & Mark 1984, the noise stress test)."""


def augmented(task: Task, inputs: Mapping[str, torch.Tensor], recipe: AugmentRecipe, draw: torch.Generator) -> Tensors:
    """The batch, changed at random. Glucose is left as it is: its scale is the truth itself."""
    changed = dict(inputs)
    if task is Task.ECG_BEAT:
        changed["ecg_mv"], changed["context"] = _ecg(inputs["ecg_mv"], inputs["context"], recipe, draw)
    elif task is Task.ECG_AF:
        changed["beats"] = _recent(inputs["beats"], recipe, draw)
    elif task in (Task.PNEUMONIA, Task.BREAST):
        changed["image"] = _image(inputs["image"], recipe, draw)
    return changed


def _ecg(
    ecg_blt: torch.Tensor, context_bc: torch.Tensor, recipe: AugmentRecipe, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    b, leads, t = ecg_blt.shape
    present_bl1 = (ecg_blt != 0).any(dim=2, keepdim=True)
    gain_bl1 = 1.0 + recipe.amplitude * (2.0 * torch.rand(b, leads, 1, generator=draw) - 1.0)
    changed = ecg_blt * gain_bl1
    if recipe.wander_mv:
        low_hz, high_hz = _WANDER_HZ
        hz = low_hz + (high_hz - low_hz) * torch.rand(b, leads, 1, generator=draw)
        phase = 2 * math.pi * torch.rand(b, leads, 1, generator=draw)
        size = recipe.wander_mv * torch.rand(b, leads, 1, generator=draw)
        changed = changed + size * torch.sin(2 * math.pi * hz * torch.arange(t) / RATE_HZ + phase)
    if recipe.noise:
        size = recipe.noise * torch.rand(b, leads, 1, generator=draw)
        changed = changed + size * torch.randn(b, leads, t, generator=draw)
    changed = changed * present_bl1  # an absent lead stays silent
    swap_b11 = torch.rand(b, 1, 1, generator=draw) < recipe.swap_leads
    changed = torch.where(swap_b11, changed.flip(1), changed)
    context_bc = torch.where(swap_b11[:, 0], context_bc[:, _OF_SWAPPED], context_bc)
    drop_b = torch.rand(b, generator=draw) < recipe.drop_lead
    dropped_b = torch.randint(leads, (b,), generator=draw)
    keep_bl = ~(drop_b[:, None] & (torch.arange(leads) == dropped_b[:, None]))
    keep_bl |= ~present_bl1.all(dim=1)  # one lead is all there is
    # what is said of a lead that is not there is 0, as in a window that never had it
    return changed * keep_bl[:, :, None], context_bc * torch.where(_LEAD_OF < 0, True, keep_bl[:, _LEAD_OF])


def _recent(beats_btf: torch.Tensor, recipe: AugmentRecipe, draw: torch.Generator) -> torch.Tensor:
    """Faster and slower hearts, electrodes the other way round, a little noise before the QRS."""
    b = len(beats_btf)
    factor_b1 = 1.0 + recipe.amplitude * (2.0 * torch.rand(b, 1, generator=draw) - 1.0)
    sign_b11 = torch.where(torch.rand(b, 1, 1, generator=draw) < recipe.flip, -1.0, 1.0)
    p_btp = beats_btf[:, :, _P:] * sign_b11
    p_btp = p_btp + recipe.noise * torch.randn(p_btp.shape, generator=draw) * beats_btf[:, :, _HERE : _HERE + 1]
    return torch.cat([beats_btf[:, :, :1] * factor_b1[:, :, None], beats_btf[:, :, 1:_P], p_btp], dim=2)


def _image(image_bcyx: torch.Tensor, recipe: AugmentRecipe, draw: torch.Generator) -> torch.Tensor:
    b = len(image_bcyx)
    flip = torch.rand(b, 1, 1, 1, generator=draw) < recipe.flip
    changed = torch.where(flip, image_bcyx.flip(3), image_bcyx)
    if recipe.shift_pixels:
        changed = _shifted(changed, recipe.shift_pixels, draw)
    gain = 1.0 + recipe.amplitude * (2.0 * torch.rand(b, 1, 1, 1, generator=draw) - 1.0)
    shade = recipe.shade * (2.0 * torch.rand(b, 1, 1, 1, generator=draw) - 1.0)
    grain = recipe.noise * torch.rand(b, 1, 1, 1, generator=draw) * torch.randn(changed.shape, generator=draw)
    return ((changed - 0.5) * gain + 0.5 + shade + grain).clamp(0.0, 1.0)


def _shifted(image_bcyx: torch.Tensor, at_most: int, draw: torch.Generator) -> torch.Tensor:
    """Every image moved by whole pixels, its edge repeated."""
    b, _, height, width = image_bcyx.shape
    by = torch.randint(-at_most, at_most + 1, (2, b), generator=draw)
    rows = (torch.arange(height) + by[0, :, None]).clamp(0, height - 1)
    columns = (torch.arange(width) + by[1, :, None]).clamp(0, width - 1)
    every = torch.arange(b)[:, None, None]
    return image_bcyx[:, 0][every, rows[:, :, None], columns[:, None, :]].unsqueeze(1)

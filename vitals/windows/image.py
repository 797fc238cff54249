"""A picture to the small grey square that the imaging networks see."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals.errors import Reason, Unusable

SPEC: Final = "grey-28-v1"
SIDE: Final = 28

_MAX_PIXELS: Final = 100_000_000
_MAX_ASPECT: Final = 8.0
"""No radiograph or ultrasound frame is longer than this: a strip is a scout line, a mask or a parsing error."""


def image_window(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """float32[1, 28, 28] in 0..1 from grey ``pixels[rows, columns]``: the central square, averaged over areas.

    Bright stays bright: whoever decodes the file inverts MONOCHROME1. uint8 is divided by 255, so that 28 × 28 of it
    come out exactly; any other type is stretched from its own minimum and maximum over the central square.
    Raises ``Unusable`` as ``central_square``.
    """
    square, low, high = central_square(pixels)
    grey = square.astype(np.float64) if len(square) == SIDE else _area_means(square)
    return np.clip((grey - low) / (high - low), 0.0, 1.0).astype(np.float32)[np.newaxis]


def central_square(pixels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float, float]:
    """What of ``pixels[rows, columns]`` a network sees, [side, side] of the same type; its black and its white.

    Raises ``Unusable``: pixels-missing when there is nothing to see (no pixels, all of one value), not-finite,
    pixels-unreadable when it is not a grey image of a sane shape and type.
    """
    if pixels.size == 0:
        raise Unusable(Reason.PIXELS_MISSING, "no pixels")
    if pixels.ndim != 2 or pixels.dtype.kind not in "uif":
        raise Unusable(Reason.PIXELS_UNREADABLE, f"{pixels.ndim} axes of {pixels.dtype}")
    rows, columns = pixels.shape
    side = min(rows, columns)
    if pixels.size > _MAX_PIXELS or max(rows, columns) > _MAX_ASPECT * side:
        raise Unusable(Reason.PIXELS_UNREADABLE, f"{rows} x {columns} pixels")
    top, left = (rows - side) // 2, (columns - side) // 2
    square = pixels[top : top + side, left : left + side]
    low, high = float(square.min()), float(square.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Unusable(Reason.NOT_FINITE, "pixels")
    if low == high:
        raise Unusable(Reason.PIXELS_MISSING, "every pixel has the same value")
    if pixels.dtype == np.uint8:
        low, high = 0.0, 255.0
    return square, low, high


def _area_means(square: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """float64[28, 28]: means over 28 × 28 equal areas of ``square[side, side]``, shares of border pixels counted.

    By einsum, which stays on this thread: BLAS would spread over all cores and take them from the heartbeats.
    """
    side = len(square)
    weights = _area_weights(side)
    edges = np.arange(SIDE + 1) * (side / SIDE)
    first, end = np.floor(edges[:-1]).astype(int), np.minimum(np.ceil(edges[1:]).astype(int), side)
    strips = [
        np.einsum("r,rc->c", weights[k, a:b], square[a:b], dtype=np.float64, casting="unsafe")
        for k, (a, b) in enumerate(zip(first, end, strict=True))
    ]
    means: npt.NDArray[np.float64] = np.einsum("kc,lc->kl", np.stack(strips), weights)
    return means


def _area_weights(side: int) -> npt.NDArray[np.float64]:
    """float64[28, side]: how much of each pixel falls into each of 28 equal strips; every row sums to 1."""
    edges = np.arange(SIDE + 1) * (side / SIDE)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1.0) - np.maximum(edges[:-1, None], pixel)
    weights: npt.NDArray[np.float64] = np.maximum(overlap, 0.0) * (SIDE / side)
    return weights

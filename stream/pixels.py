"""Grey pixels from what an event carries itself: bare bytes or a PNG file. Their bounds hold for every other source."""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitals.errors import Reason, Unusable

Pixels = npt.NDArray[Any]

PNG: Final = b"\x89PNG\r\n\x1a\n"
MAX_SAMPLES: Final = 32_000_000
"""Of one frame, all colours: a mammogram has 30 million. Every step makes eight bytes of each."""
_BARE_PIXELS_MAX: Final = 4_000_000


def bare(content: bytes, rows: int, columns: int) -> Pixels:
    """One byte a pixel. Raises ``Unusable``: pixels-unreadable."""
    if rows < 1 or columns < 1 or rows * columns > _BARE_PIXELS_MAX or rows * columns != len(content):
        raise Unusable(Reason.PIXELS_UNREADABLE, f"{len(content)} bytes for {rows} x {columns} pixels")
    return np.frombuffer(content, np.uint8).reshape(rows, columns)


def png(content: bytes) -> Pixels:
    """A PNG file, its colours as luminance. Raises ``Unusable``: pixels-unreadable, oversized."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                must_be_sane(picture.height, picture.width, len(picture.getbands()))
                deep = picture.mode.startswith("I")
                return np.asarray(picture.convert("I") if deep else picture.convert("L"))
    except Unusable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unusable(Reason.OVERSIZED, "too many pixels") from None
    except Exception as error:  # noqa: BLE001  what a damaged chunk makes of its reader is anybody's guess
        raise Unusable(Reason.PIXELS_UNREADABLE, f"not a PNG that can be read: {type(error).__name__}") from None


def must_be_sane(rows: int, columns: int, colours: int) -> None:
    """Raises ``Unusable``: pixels-unreadable, oversized. Asked before memory is made for them."""
    if rows < 1 or columns < 1 or colours < 1:
        raise Unusable(Reason.PIXELS_UNREADABLE, f"{rows} x {columns} pixels")
    if rows * columns * colours > MAX_SAMPLES:
        raise Unusable(Reason.OVERSIZED, f"{rows} x {columns} pixels")

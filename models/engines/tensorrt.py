"""TensorRT."""

from __future__ import annotations

from pathlib import Path

from models.engine import Engine, RungUnavailable
from models.registry import Bundle


def open_tensorrt(bundle: Bundle, plans: Path | None) -> Engine:
    """The network of ``bundle`` as a built plan. Raises ``RungUnavailable``."""
    raise RungUnavailable("no TensorRT here")

"""Why a model said what it said about one window: what changes when a piece of the window is hidden.

Occlusion (Zeiler & Fergus 2014, arXiv:1311.2901): needs nothing of the model but its answers, so it explains the very
engine that served. A hidden piece becomes what is usual there, the median of the golden rows.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import numpy.typing as npt

from models.calibration import calibrated
from models.engine import Array, Arrays, Engine, checked_rows
from models.registry import Bundle

_PIECES_AN_AXIS: Final = 24


def occluded(bundle: Bundle, engine: Engine, window: Arrays, column: str) -> dict[str, npt.NDArray[np.float64]]:
    """How much of the calibrated ``column`` each part of ``window`` carries, in the unit of the column.

    ``window``: the manifest's inputs, one row each. Returns an array of one row's shape for each input: positive where
    hiding the piece lowers the column. Axes are cut into at most 24 pieces. Raises ``InputRefused``, ``ValueError`` for
    a column that the model does not fill, ``EngineError``.
    """
    manifest = bundle.manifest
    if checked_rows(manifest.inputs, window) != 1:
        raise ValueError("one window is explained at a time")
    if column not in manifest.columns:
        raise ValueError(f"the model does not fill {column}")
    pieces = [(spec.name, piece) for spec in manifest.inputs for piece in _pieces(spec.row_shape)]
    variants: dict[str, Array] = {
        spec.name: np.repeat(window[spec.name], len(pieces) + 1, axis=0) for spec in manifest.inputs
    }
    usual = {name: np.median(rows.astype(np.float64), axis=0) for name, rows in bundle.golden_inputs.items()}
    for row, (name, piece) in enumerate(pieces):
        variants[name][row][piece] = usual[name][piece]
    values = calibrated(manifest, engine.infer(variants))[:, manifest.columns.index(column)]
    carried = {spec.name: np.zeros(spec.row_shape) for spec in manifest.inputs}
    for (name, piece), hidden in zip(pieces, values[:-1], strict=True):
        carried[name][piece] = values[-1] - hidden
    return carried


def _pieces(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    cuts = []
    for size in shape:
        step = -(-size // _PIECES_AN_AXIS)
        cuts.append([slice(start, min(start + step, size)) for start in range(0, size, step)])
    return list(itertools.product(*cuts))

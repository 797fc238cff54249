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
from models.spec import TensorSpec

_PIECES_AN_AXIS: Final = 24
_PATCH: Final = (7, 2)
"""Pixels of a side of what is hidden of an image, and from one to the next: behind a smaller one its surroundings say
the same."""
_CERTAIN: Final = 1e-6


def occluded(bundle: Bundle, engine: Engine, window: Arrays, column: str) -> dict[str, npt.NDArray[np.float64]]:
    """How much of the calibrated ``column`` each part of ``window`` carries: in its unit, a probability in log-odds.

    ``window``: the manifest's inputs, one row each. Returns an array of one row's shape for each input: positive where
    hiding the piece lowers the column. Axes are cut into at most 24 pieces, images into patches that overlap. Raises
    ``InputRefused``, ``ValueError`` for a column that the model does not fill, ``EngineError``.
    """
    manifest = bundle.manifest
    if checked_rows(manifest.inputs, window) != 1:
        raise ValueError("one window is explained at a time")
    if column not in manifest.columns:
        raise ValueError(f"the model does not fill {column}")
    pieces = [(spec.name, piece) for spec in manifest.inputs for piece in _pieces(spec)]
    variants: dict[str, Array] = {
        spec.name: np.repeat(window[spec.name], len(pieces) + 1, axis=0) for spec in manifest.inputs
    }
    usual = {name: np.median(rows.astype(np.float64), axis=0) for name, rows in bundle.golden_inputs.items()}
    for row, (name, piece) in enumerate(pieces):
        variants[name][row][piece] = usual[name][piece]
    values = calibrated(manifest, engine.infer(variants))[:, manifest.columns.index(column)]
    if column.startswith("p_"):
        p = np.clip(values, _CERTAIN, 1.0 - _CERTAIN)
        values = np.log(p / (1.0 - p))
    carried = {spec.name: np.zeros(spec.row_shape) for spec in manifest.inputs}
    times = {spec.name: np.zeros(spec.row_shape) for spec in manifest.inputs}
    for (name, piece), hidden in zip(pieces, values[:-1], strict=True):
        carried[name][piece] += values[-1] - hidden
        times[name][piece] += 1.0
    return {name: total / times[name] for name, total in carried.items()}


def _pieces(spec: TensorSpec) -> list[tuple[slice, ...]]:
    cuts = []
    for size in spec.row_shape:
        width, step = _PATCH if spec.unit == "grey" else (-(-size // _PIECES_AN_AXIS),) * 2
        starts = range(0, max(size - width, 0) + step, step)
        cuts.append([slice(start, min(start + width, size)) for start in starts if start < size])
    return list(itertools.product(*cuts))

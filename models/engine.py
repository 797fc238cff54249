"""The one contract of everything that runs a network: named arrays in, named arrays out.

    open → warm → infer … → close

Two promises hold for every engine here. What goes in is checked, so a wrong window is refused by name and never cast in
silence. And a row's answer depends on that row alone, to the last bit: not on what it was batched with, nor on where in
the batch it stood. The second is what makes a replay give the same findings (law 2), and libraries do not promise it:
their kernels differ by batch size. So rows go through in sub-batches of fixed sizes, padded with rows that went before,
and a size is used only if its bits equal those of the largest on this machine (``models.engines.subbatch``).

An engine belongs to one thread at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from models.spec import TensorSpec
from vitals.errors import WardwatchError

Array = npt.NDArray[np.generic]
Arrays = Mapping[str, Array]


class Rung(enum.StrEnum):
    """What runs the network. The text stands in every finding and on the rung metric."""

    TENSORRT = "tensorrt"
    ONNX_CUDA = "onnx-cuda"
    ONNX_CPU = "onnx-cpu"
    RULES = "rules"  # no network: the rule baseline alone
    TORCH = "torch"  # the reference that parity is measured against; never serves


SERVING_RUNGS: Final = (Rung.TENSORRT, Rung.ONNX_CUDA, Rung.ONNX_CPU)
"""Best first. Below them are the rules, which need no engine."""


class EngineError(WardwatchError):
    """Root of what an engine can say."""


class RungUnavailable(EngineError):
    """This rung cannot be opened here: no library, no device, or a model it cannot read. The text says which."""


class InputRefused(EngineError):
    """The arrays are not what the manifest asks for: a defect of the caller, never of the data."""


class EngineFailed(EngineError):
    """The engine was asked rightly and gave no answer, or was asked after it was closed."""


class Engine(Protocol):
    """One network, open and ready."""

    @property
    def rung(self) -> Rung: ...

    def infer(self, inputs: Arrays) -> dict[str, Array]:
        """The outputs of the manifest, each [n, …], for inputs [n, …] of any n ≥ 1.

        Raises ``InputRefused`` before anything runs, and ``EngineFailed``.
        """

    def warm(self) -> None:
        """Runs every sub-batch size once on the golden rows, so that the first patient does not pay for it."""

    def close(self) -> None:
        """Gives back memory and device. Closing twice is no error; ``infer`` afterwards raises ``EngineFailed``."""


def checked_rows(specs: tuple[TensorSpec, ...], arrays: Arrays) -> int:
    """How many rows ``arrays`` holds, once names, dtypes and shapes are those of ``specs``. Raises ``InputRefused``."""
    names = {spec.name for spec in specs}
    if arrays.keys() != names:
        raise InputRefused(f"the model takes {sorted(names)}, not {sorted(arrays)}")
    rows = {len(array) if array.ndim else 0 for array in arrays.values()}
    for spec in specs:
        array = arrays[spec.name]
        if array.dtype != spec.dtype or array.shape[1:] != spec.row_shape:
            wanted = ", ".join(str(size) for size in ("n", *spec.row_shape))
            raise InputRefused(f"{spec.name} is {array.dtype}{list(array.shape)}, not {spec.dtype}[{wanted}]")
    if len(rows) != 1 or (count := rows.pop()) < 1:
        raise InputRefused("every input has the same number of rows, at least one")
    return count

"""Rows of any number through a library that is fastest, and only then repeatable, in a few fixed sizes.

What the rungs share: they hand in how to run one sub-batch, and get an ``Engine``. At opening, each size is held
against the others on the model's golden rows and variations of them, in order and reversed; one whose bits differ from
those of the largest is not used. (It happens: ONNX Runtime 1.31 answers a quarter of all beats differently alone.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.engine import Array, Arrays, EngineFailed, InputRefused, Rung, checked_rows
from models.spec import Manifest

_ROWS_A_CALL_COSTS = 2.0
"""What one more call costs, in rows. Measured for the beat network: 17 µs a call, 10.5 µs a row (bench/engines.py)."""


_PROOF_ROWS = 192
_VARIATION = 0.01
"""Each repetition of the golden rows is smaller by this share, to be other numbers of the same kind."""


@dataclass(frozen=True, slots=True)
class Runner:
    """One network in one library. ``run``: exactly one sub-batch of one of ``sizes``, C-ordered; may raise anything."""

    run: Callable[[dict[str, Array]], dict[str, Array]]
    close: Callable[[], None]
    sizes: tuple[int, ...]
    failures: tuple[type[Exception], ...]


class SubBatched:
    """The ``Engine`` over a ``Runner``. ``sizes``: those in use, largest first, all with the same bits per row."""

    def __init__(self, rung: Rung, manifest: Manifest, example: Arrays, runner: Runner) -> None:
        """Raises ``EngineFailed`` when the golden rows do not go through."""
        self.rung = rung
        self._manifest = manifest
        self._runner = runner
        self._open = True
        self._example = {spec.name: np.ascontiguousarray(example[spec.name]) for spec in manifest.inputs}
        self._staging = {size: self._repeated(size) for size in runner.sizes}
        self.sizes = self._sizes_of_same_bits()
        self._plans: dict[int, tuple[int, ...]] = {}

    def infer(self, inputs: Arrays) -> dict[str, Array]:
        rows = checked_rows(self._manifest.inputs, inputs)
        if rows not in self._plans:
            self._plans[rows] = plan(rows, self.sizes)
        return self._through(inputs, rows, self._plans[rows])

    def warm(self) -> None:
        for size in self.sizes:
            self._through(self._staging[size], size, (size,))

    def close(self) -> None:
        if self._open:
            self._open = False
            self._runner.close()

    def _through(self, inputs: Arrays, rows: int, sizes: Sequence[int]) -> dict[str, Array]:
        if not self._open:
            raise EngineFailed("the engine is closed")
        outputs: dict[str, Array] = {
            spec.name: np.empty((rows, *spec.row_shape), spec.dtype) for spec in self._manifest.outputs
        }
        start = 0
        for size in sizes:
            stop = min(start + size, rows)
            answers = self._answers(self._staged(inputs, start, stop, size), size)
            for name, output in outputs.items():
                output[start:stop] = answers[name][: stop - start]
            start = stop
        return outputs

    def _staged(self, inputs: Arrays, start: int, stop: int, size: int) -> dict[str, Array]:
        if stop - start == size:
            return {name: np.ascontiguousarray(array[start:stop]) for name, array in inputs.items()}
        staging = self._staging[size]
        for name, array in inputs.items():
            staging[name][: stop - start] = array[start:stop]
        return staging

    def _answers(self, staged: dict[str, Array], size: int) -> dict[str, Array]:
        try:
            answers = self._runner.run(staged)
        except self._runner.failures as error:
            raise EngineFailed(f"{self.rung}: {type(error).__name__}: {error}") from error
        try:
            rows = checked_rows(self._manifest.outputs, answers)
        except InputRefused as error:
            raise EngineFailed(f"{self.rung} answers what the manifest does not say: {error}") from None
        if rows != size:
            raise EngineFailed(f"{self.rung} answers {rows} rows to {size}")
        return answers

    def _repeated(self, rows: int) -> dict[str, Array]:
        return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in self._example.items()}

    def _varied(self, rows: int) -> dict[str, Array]:
        varied = self._repeated(rows)
        golden = len(next(iter(self._example.values())))
        for name, array in varied.items():
            if np.issubdtype(array.dtype, np.floating):
                scale = 1 - _VARIATION * (np.arange(rows) // golden)
                varied[name] = (array.astype(np.float64).T * scale).T.astype(array.dtype)
        return {name: np.ascontiguousarray(array) for name, array in varied.items()}

    def _sizes_of_same_bits(self) -> tuple[int, ...]:
        unit = math.lcm(*self._runner.sizes)
        rows = unit * -(-_PROOF_ROWS // unit)
        ahead = self._varied(rows)
        back = {name: np.ascontiguousarray(array[::-1]) for name, array in ahead.items()}
        kept: list[int] = []
        reference: dict[str, bytes] = {}
        for size in sorted(self._runner.sizes, reverse=True):
            sizes = [size] * (rows // size)
            answers = _bits(self._through(ahead, rows, sizes))
            turned = {name: array[::-1] for name, array in self._through(back, rows, sizes).items()}
            if answers == _bits(turned) and answers == (reference or answers):
                kept.append(size)
                reference = answers
        return tuple(kept)


def plan(rows: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Sub-batch sizes that hold ``rows`` rows at the least cost, largest first; only the last may be padded."""
    largest = max(sizes)
    whole = [largest] * max(0, rows // largest - 1)
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for left in range(1, rows - largest * len(whole) + 1):
        options = [(best[max(0, left - size)], size) for size in sizes]
        best.append(min((cost + size + _ROWS_A_CALL_COSTS, (*chosen, size)) for (cost, chosen), size in options))
    return tuple(sorted((*whole, *best[-1][1]), reverse=True))


def _bits(arrays: Arrays) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}

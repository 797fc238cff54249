"""Two answers to the same question, compared: a result of its own, that a person can read and a gate can act on.

An engine serves only after it has answered the golden rows of its bundle as the reference did (law: never active before
parity). Two things are compared: the raw outputs, and the calibrated columns, which are what a finding holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.calibration import calibrated
from models.engine import Arrays, Engine, Rung
from models.registry import Bundle
from models.spec import Manifest

CALIBRATED: Final = "calibrated"
"""The name under which the calibrated columns stand in a comparison."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|candidate - reference| ≤ absolute * scale + relative * |reference|, for every single number.

    ``scale`` is 20 for a forecast in mg/dL (its calibrated range begins there) and 1 for all else.
    """

    absolute: float
    relative: float


SINGLE: Final = Tolerance(1e-4, 1e-4)
"""Between libraries that all compute in float32: sums in another order. Measured on the CPU: 1e-6 (tests/models)."""
HALF: Final = Tolerance(0.01, 0.01)
"""For float16: 11 bits of mantissa through some thirty layers and steps. On 180 mg/dL this allows 2 mg/dL."""

_SCALE_MG_DL: Final = 20.0


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output. ``max_absolute``, ``max_relative``: the largest differences (NaN where an answer is not finite).

    ``worst_row``: row of the largest difference beyond, or nearest to, its tolerance.
    """

    name: str
    max_absolute: float
    max_relative: float
    worst_row: int
    passed: bool


@dataclass(frozen=True, slots=True)
class Parity:
    """The whole comparison of ``rows`` rows."""

    reference: str
    candidate: str
    rows: int
    tolerance: Tolerance
    outputs: tuple[OutputParity, ...]

    @property
    def passed(self) -> bool:
        """Whether every output and every calibrated column is within the tolerance."""
        return all(output.passed for output in self.outputs)

    def table(self) -> str:
        """The comparison for people."""
        head = (
            f"{self.candidate} against {self.reference}, {self.rows} rows, "
            f"tolerance {self.tolerance.absolute:g} + {self.tolerance.relative:g} x value"
        )
        lines = [head, f"{'output':<14}{'max abs':>12}{'max rel':>12}{'worst row':>11}  verdict"]
        lines += [
            f"{o.name:<14}{o.max_absolute:>12.3g}{o.max_relative:>12.3g}{o.worst_row:>11}  "
            f"{'equal enough' if o.passed else 'DIFFERENT'}"
            for o in self.outputs
        ]
        return "\n".join(lines)


def tolerance_of(rung: Rung) -> Tolerance:
    """What a rung is allowed: TensorRT may serve a float16 network, the others compute as the reference does."""
    return HALF if rung is Rung.TENSORRT else SINGLE


def compare(
    manifest: Manifest, reference: Arrays, candidate: Arrays, tolerance: Tolerance, *, names: tuple[str, str]
) -> Parity:
    """``candidate`` against ``reference``: the named outputs of the manifest for the same rows.

    ``names``: what to call the reference and the candidate. Raises ``ValueError`` when an output is missing or has
    another shape; an answer that is not finite is a difference, not an error.
    """
    rows = len(next(iter(reference.values())))
    outputs = []
    for spec in manifest.outputs:
        scale = _SCALE_MG_DL if spec.unit == "mg/dL" else 1.0
        allowed = Tolerance(tolerance.absolute * scale, tolerance.relative)
        outputs.append(_compared(spec.name, reference[spec.name], candidate[spec.name], allowed))
    if all(np.isfinite(candidate[spec.name]).all() for spec in manifest.outputs):
        columns = calibrated(manifest, reference), calibrated(manifest, candidate)
        outputs.append(_compared(CALIBRATED, *columns, tolerance))
    return Parity(names[0], names[1], rows, tolerance, tuple(outputs))


def on_golden(bundle: Bundle, engine: Engine, tolerance: Tolerance | None = None) -> Parity:
    """``engine`` against the reference's answers to the golden rows of ``bundle``. Raises ``EngineError``."""
    answers = engine.infer(bundle.golden_inputs)
    allowed = tolerance if tolerance is not None else tolerance_of(engine.rung)
    return compare(bundle.manifest, bundle.golden_outputs, answers, allowed, names=("golden", engine.rung))


def _compared(name: str, reference: object, candidate: object, tolerance: Tolerance) -> OutputParity:
    expected = np.asarray(reference, np.float64)
    answered = np.asarray(candidate, np.float64)
    if expected.shape != answered.shape or not expected.size:
        raise ValueError(f"{name}: {answered.shape} compared with {expected.shape}")
    off = np.abs(answered - expected)
    allowed = tolerance.absolute + tolerance.relative * np.abs(expected)
    passed = bool((off <= allowed).all())  # false for NaN too
    by_row = np.nan_to_num(off / allowed, nan=np.inf).reshape(len(expected), -1).max(axis=1)
    relative = off / np.maximum(np.abs(expected), np.finfo(np.float32).tiny)
    return OutputParity(name, float(off.max()), float(relative.max()), int(by_row.argmax()), passed)

"""From the best rung that works here down to the one that always does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models import parity
from models.engine import SERVING_RUNGS, Engine, EngineError, Rung, RungUnavailable
from models.engines.onnx import open_onnx
from models.engines.tensorrt import open_tensorrt
from models.registry import Bundle


def open_best(
    bundle: Bundle, rungs: Sequence[Rung] = SERVING_RUNGS, *, plans: Path | None = None
) -> tuple[Engine | None, list[str]]:
    """The first of ``rungs`` that opens, runs and agrees with the golden answers; warm. And why not those before it.

    ``plans``: folder of built TensorRT plans. None and the reasons when no rung works: then the rules alone serve.
    Raises ``RegistryError`` when the bundle itself cannot be read.
    """
    reasons: list[str] = []
    for rung in rungs:
        try:
            engine = _opened(bundle, rung, plans)
        except EngineError as error:
            reasons.append(f"{rung}: {error}")
            continue
        try:
            verdict = parity.on_golden(bundle, engine)
            if verdict.passed:
                engine.warm()
                return engine, reasons
            reasons.append(f"{rung}: no parity\n{verdict.table()}")
        except EngineError as error:
            reasons.append(f"{rung}: {error}")
        engine.close()
    return None, reasons


def _opened(bundle: Bundle, rung: Rung, plans: Path | None) -> Engine:
    match rung:
        case Rung.TENSORRT:
            return open_tensorrt(bundle, plans)
        case Rung.ONNX_CUDA | Rung.ONNX_CPU:
            return open_onnx(bundle, rung)
        case Rung.RULES | Rung.TORCH:
            raise RungUnavailable("not an engine that serves")

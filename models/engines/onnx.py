"""ONNX Runtime, on the CPU or through CUDA: the rung that is always there, and the one that others are held to.

On the CPU one thread runs a session: the service scales by processes, and a pool of spinning threads in each would take
the cores from the signal path. On CUDA, TF32 is off and algorithms are the deterministic ones.
"""

from __future__ import annotations

from typing import Any, Final

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from models.engine import Array, Rung, RungUnavailable
from models.engines.subbatch import Runner, SubBatched
from models.registry import Bundle
from models.spec import ONNX_FILE

_PROVIDERS: Final[dict[Rung, tuple[str, dict[str, str]]]] = {
    Rung.ONNX_CPU: ("CPUExecutionProvider", {}),
    Rung.ONNX_CUDA: ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
}
_CUDA_SIZES: Final = (256, 32)
"""A launch costs a GPU about the same for one row as for hundreds."""

FAILURES: Final[tuple[type[Exception], ...]] = (
    RuntimeError,
    ValueError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)
"""All that ONNX Runtime raises: its own exceptions have no common parent."""


def open_onnx(bundle: Bundle, rung: Rung = Rung.ONNX_CPU, *, file: str = ONNX_FILE) -> SubBatched:
    """The network of ``bundle`` in ONNX Runtime, on the CPU or through CUDA. Raises ``RungUnavailable``."""
    provider, options = _PROVIDERS[rung]
    if provider not in onnxruntime.get_available_providers():
        raise RungUnavailable(f"this ONNX Runtime has no {provider}")
    try:
        session: Any = onnxruntime.InferenceSession(
            bundle.read(file), _session_options(), providers=[(provider, options)]
        )
    except FAILURES as error:
        raise RungUnavailable(f"ONNX Runtime: {type(error).__name__}: {error}") from error
    if session.get_providers()[0] != provider:  # it falls back to the CPU without a word
        raise RungUnavailable(f"{provider} found no device that it can use")
    names = [spec.name for spec in bundle.manifest.outputs]
    if sorted(output.name for output in session.get_outputs()) != sorted(names):
        raise RungUnavailable(f"{file} does not answer {names}, which its manifest says")

    def run(staged: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(names, session.run(names, staged), strict=True))

    largest = bundle.manifest.preferred_batch
    sizes = _CUDA_SIZES if rung is Rung.ONNX_CUDA else _cpu_sizes(largest)
    return SubBatched(rung, bundle.manifest, bundle.golden_inputs, Runner(run, lambda: None, sizes, FAILURES))


def _session_options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return options


def _cpu_sizes(largest: int) -> tuple[int, ...]:
    powers = (2**exponent for exponent in range(largest.bit_length()))
    return tuple(sorted({largest, *powers}, reverse=True))

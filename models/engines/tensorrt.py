"""TensorRT 11: a built plan, one execution context per batch size, buffers and a stream of our own.

Nothing here builds; ``models.build`` does, beforehand. TensorRT and CUDA are imported when a plan is opened, so a
machine without them serves from the next rung. Networks are strongly typed: float16 is a property of the ONNX file that
a plan was built from, not a switch.

Every call is held to the real bindings by ``tests/models/test_tensorrt_contract.py``.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from models import plans
from models.engine import Array, EngineFailed, Rung, RungUnavailable
from models.engines.subbatch import Runner, SubBatched
from models.registry import Bundle
from models.spec import ONNX_FILE, ONNX_HALF_FILE, TensorSpec

SIZES: Final = (256, 32)
"""Rows of the optimisation profiles. Each is fixed, so that a row always meets the same kernels."""
FAILURES: Final[tuple[type[Exception], ...]] = (RuntimeError, ValueError, TypeError, MemoryError)
"""What the bindings raise; a factory that got nothing raises TypeError."""
NO_PLAN: Final = "no plan is built"
"""What the rung says where it could serve after ``models.build``."""

CANDIDATES: Final = (ONNX_HALF_FILE, ONNX_FILE)
"""The networks of a bundle in the order in which a plan of them is preferred."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Libraries:
    """The two packages: ``tensorrt`` (or its fake) and ``cuda.bindings.runtime``. ``device``: name of GPU 0."""

    trt: Any
    cuda: Any
    device: str


def libraries(trt: Any = None, cuda: Any = None) -> Libraries:
    """TensorRT, CUDA and the GPU of this machine. Raises ``RungUnavailable`` when one of them is missing."""
    try:
        trt = trt if trt is not None else importlib.import_module("tensorrt")
        cuda = cuda if cuda is not None else importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        raise RungUnavailable(f"not installed: {error}") from error
    status, properties = cuda.cudaGetDeviceProperties(0)
    if status != cuda.cudaError_t.cudaSuccess:
        raise RungUnavailable(f"no GPU: {status.name}")
    return Libraries(trt, cuda, properties.name.rstrip(b"\0").decode(errors="replace"))


def key_of(bundle: Bundle, file: str, found: Libraries) -> plans.PlanKey:
    """What a plan of ``file`` in ``bundle`` on this machine is named by."""
    onnx_sha256 = hashlib.sha256(bundle.read(file)).hexdigest()
    return plans.PlanKey(found.device, str(found.trt.__version__), onnx_sha256, SIZES)


def open_tensorrt(bundle: Bundle, folder: Path | None, found: Libraries | None = None) -> SubBatched:
    """The plan of ``bundle`` in ``folder``, float16 before float32. Raises ``RungUnavailable``, ``EngineFailed``."""
    here = found if found is not None else libraries()
    if folder is None:
        raise RungUnavailable("no folder of plans is set")
    for file in CANDIDATES:
        if file in bundle.file_hashes:
            plan = plans.found(folder, key_of(bundle, file, here))
            if plan is not None:
                return open_plan(bundle, plan, here)
    raise RungUnavailable(f"{NO_PLAN} for {here.device}")


def open_plan(bundle: Bundle, plan: bytes, found: Libraries) -> SubBatched:
    """An engine over the bytes of ``plan``. Raises ``RungUnavailable``, ``EngineFailed``."""
    specs = (*bundle.manifest.inputs, *bundle.manifest.outputs)
    try:
        device = _Plan(plan, specs, len(bundle.manifest.inputs), found)
    except FAILURES as error:
        raise RungUnavailable(f"TensorRT: {type(error).__name__}: {error}") from error
    runner = Runner(device.run, device.close, tuple(device.profiles), (*FAILURES, EngineFailed))
    try:
        return SubBatched(Rung.TENSORRT, bundle.manifest, bundle.golden_inputs, runner)
    except EngineFailed:
        device.close()
        raise


def logger_for(trt: Any) -> Any:
    """A TensorRT logger that writes to ours. TensorRT keeps a bare pointer to it: it must outlive what uses it."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            serious = severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)
            _log.log(logging.ERROR if serious else logging.DEBUG, "TensorRT: %s", msg)

    return Logger()


class _Profile:
    """One batch size: its context, and for each tensor a buffer on the device and a page-locked one on the host."""

    def __init__(self, context: Any, buffers: dict[str, _Buffer]) -> None:
        self.context = context
        self.buffers = buffers


@dataclass(frozen=True, slots=True)
class _Buffer:
    device: int
    host: int
    array: Array

    @property
    def nbytes(self) -> int:
        return self.array.nbytes


class _Plan:
    """A deserialised plan with everything it needs to run. What was taken from CUDA is given back in ``close``."""

    def __init__(self, plan: bytes, specs: Sequence[TensorSpec], inputs: int, found: Libraries) -> None:
        self._trt, self._cuda = found.trt, found.cuda
        self._inputs = [spec.name for spec in specs[:inputs]]
        self._outputs = [spec.name for spec in specs[inputs:]]
        self._pointers: list[tuple[int, int]] = []
        self._stream: Any = None
        self.profiles: dict[int, _Profile] = {}
        self._logger = logger_for(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RungUnavailable("TensorRT cannot read the plan")
        try:
            self._check(specs)
            self._stream = self._called(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))
            for profile in range(self._engine.num_optimization_profiles):
                self._add_profile(profile, specs)
        except BaseException:
            self.close()
            raise

    def run(self, staged: dict[str, Array]) -> dict[str, Array]:
        rows = len(staged[self._inputs[0]])
        profile = self.profiles[rows]
        for name in self._inputs:
            buffer = profile.buffers[name]
            np.copyto(buffer.array, staged[name])
            self._copy(buffer.device, buffer.host, buffer.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
        if not profile.context.execute_async_v3(int(self._stream)):
            raise EngineFailed("TensorRT did not take the work")
        for name in self._outputs:
            buffer = profile.buffers[name]
            self._copy(buffer.host, buffer.device, buffer.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)
        self._called(self._cuda.cudaStreamSynchronize(self._stream))
        return {name: profile.buffers[name].array.copy() for name in self._outputs}

    def close(self) -> None:
        if self._stream is not None:
            self._cuda.cudaStreamSynchronize(self._stream)
        self.profiles.clear()  # contexts before the engine, the engine before the runtime: each holds the next
        self._engine = self._runtime = None
        for device, host in self._pointers:
            self._cuda.cudaFree(device)
            self._cuda.cudaFreeHost(host)
        self._pointers.clear()
        if self._stream is not None:
            self._cuda.cudaStreamDestroy(self._stream)
            self._stream = None

    def _check(self, specs: Sequence[TensorSpec]) -> None:
        kinds = {
            "float32": self._trt.DataType.FLOAT,
            "int64": self._trt.DataType.INT64,
            "uint8": self._trt.DataType.UINT8,
        }
        modes = dict.fromkeys(self._inputs, self._trt.TensorIOMode.INPUT)
        names = {self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)}
        if names != {spec.name for spec in specs}:
            raise RungUnavailable(f"the plan has the tensors {sorted(names)}")
        for spec in specs:
            kind = self._engine.get_tensor_dtype(spec.name)
            mode = self._engine.get_tensor_mode(spec.name)
            if kind != kinds[spec.dtype] or mode != modes.get(spec.name, self._trt.TensorIOMode.OUTPUT):
                raise RungUnavailable(f"{spec.name} of the plan is {mode} {kind}")

    def _add_profile(self, index: int, specs: Sequence[TensorSpec]) -> None:
        # minimum, optimum and maximum are one shape: see SIZES
        rows = int(self._engine.get_tensor_profile_shape(self._inputs[0], index)[2][0])
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.STATIC)
        if context is None:
            raise EngineFailed("TensorRT made no execution context: out of device memory?")
        if not context.set_optimization_profile_async(index, int(self._stream)):
            raise EngineFailed(f"TensorRT did not take profile {index}")
        self._called(self._cuda.cudaStreamSynchronize(self._stream))
        buffers = {spec.name: self._buffer((rows, *spec.row_shape), spec.dtype) for spec in specs}
        for name in self._inputs:
            if not context.set_input_shape(name, tuple(buffers[name].array.shape)):
                raise EngineFailed(f"TensorRT did not take the shape of {name}")
        for name, buffer in buffers.items():
            if not context.set_tensor_address(name, buffer.device):
                raise EngineFailed(f"TensorRT did not take the address of {name}")
        unsaid = context.infer_shapes()
        if unsaid:
            raise EngineFailed(f"TensorRT still does not know {unsaid}")
        self.profiles[rows] = _Profile(context, buffers)

    def _buffer(self, shape: tuple[int, ...], dtype: str) -> _Buffer:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        device = self._called(self._cuda.cudaMalloc(size))
        try:
            host = self._called(self._cuda.cudaMallocHost(size))
        except EngineFailed:
            self._cuda.cudaFree(device)
            raise
        self._pointers.append((int(device), int(host)))
        memory = memoryview((ctypes.c_byte * size).from_address(int(host))).cast("B")
        return _Buffer(int(device), int(host), np.frombuffer(memory, dtype).reshape(shape))

    def _copy(self, to: int, source: int, size: int, kind: Any) -> None:
        self._called(self._cuda.cudaMemcpyAsync(to, source, size, kind, self._stream))

    def _called(self, answer: tuple[Any, ...]) -> Any:
        """The value of a CUDA call, whose answer begins with its error. Raises ``EngineFailed``."""
        if answer[0] != self._cuda.cudaError_t.cudaSuccess:
            raise EngineFailed(f"CUDA: {answer[0].name}")
        return answer[1] if len(answer) > 1 else None

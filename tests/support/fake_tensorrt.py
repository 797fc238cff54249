"""A stand-in for TensorRT 11, as strict as the real one is said to be.

It has the classes, methods and parameter names of the real bindings and no others (``test_tensorrt_contract`` compares
them with the bindings), so code that runs here calls nothing that TensorRT 11 does not have. A "plan" carries its ONNX
file and ONNX Runtime does the sums, so what comes out is right or wrong.
"""

from __future__ import annotations

import ctypes
import enum
import json
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from tests.support import fake_cuda

__version__ = "11.4.0.106"

failing: set[str] = set()
"""Names of calls that fail from now on, each in the way of the real one; "arithmetic": wrong answers."""


class DataType(enum.IntEnum):
    FLOAT = 0
    INT64 = 8
    UINT8 = 5


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class BuilderFlag(enum.IntEnum):
    TF32 = 6
    DISTRIBUTIVE_INDEPENDENCE = 27


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 0


class ExecutionContextAllocationStrategy(enum.IntEnum):
    STATIC = 0


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self) -> None:
        self.made = True

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None:
        self.made = True

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class IHostMemory:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content + b"+")


class INetworkDefinition:
    def __init__(self) -> None:
        self._onnx = b""


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            parsed = onnx.load_from_string(model)
            known = all(node.domain in ("", "ai.onnx") for node in parsed.graph.node) and parsed.graph.node
        except DecodeError:
            known = False
        if not known:
            self._errors.append(ParserError("no importer for the operator"))
            return False
        self._network._onnx = model
        return True

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:  # noqa: A002
        self._shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {BuilderFlag.TF32}
        self._profiles: list[IOptimizationProfile] = []
        self._pool: dict[MemoryPoolType, int] = {}
        self._cache: ITimingCache | None = None
        self._monitor: IProgressMonitor | None = None

    @property
    def progress_monitor(self) -> IProgressMonitor | None:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: IProgressMonitor) -> None:
        assert monitor.made
        self._monitor = monitor

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pool[pool] = pool_size

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if "add_optimization_profile" in failing or not profile._shapes:
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True


class Builder:
    def __init__(self, logger: ILogger) -> None:
        assert logger.made
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        if "build_serialized_network" in failing:
            self._logger.log(ILogger.Severity.ERROR, "no tactic")
            return None
        if config._monitor is not None:
            config._monitor.phase_start("build", "", 3)
            going = all(config._monitor.step_complete("build", step) for step in range(3))
            config._monitor.phase_finish("build")
            if not going:
                return None
        profiles = [profile._shapes for profile in config._profiles]
        flags = sorted(int(flag) for flag in config._flags)
        return IHostMemory(json.dumps([profiles, flags]).encode() + b"\n" + network._onnx)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle in fake_cuda.STREAMS
        self._profile = profile_index
        return profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        self._shapes[name] = shape
        return all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory in fake_cuda.ALIVE

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def execute_async_v3(self, stream_handle: int) -> bool:
        if "execute_async_v3" in failing or self.infer_shapes() or set(self._addresses) != set(self._engine._names):
            return False
        fake_cuda.STREAMS[stream_handle].append(self._run)
        return True

    def _run(self) -> None:
        feeds = {}
        for name, shape in self._shapes.items():
            memory = fake_cuda.ALIVE[self._addresses[name]]
            feeds[name] = np.frombuffer(memory, np.float32, count=int(np.prod(shape))).reshape(shape)
        outputs = self._engine._session.run(None, feeds)
        for output, values in zip(self._engine._session.get_outputs(), outputs, strict=True):
            made = np.ascontiguousarray(values * self._engine._gain)
            ctypes.memmove(self._addresses[output.name], made.ctypes.data, made.nbytes)


class ICudaEngine:
    def __init__(self, profiles: list[dict[str, list[list[int]]]], model: bytes, gain: float) -> None:
        self._profiles = profiles
        self._gain = gain
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self._names = [*self._inputs, *(tensor.name for tensor in self._session.get_outputs())]

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return self._profiles[profile_index][name]

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext | None:
        return None if "create_execution_context" in failing else IExecutionContext(self)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        assert logger.made
        if "Runtime" in failing:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        head, newline, model = serialized_engine.partition(b"\n")
        if not newline:
            return None
        profiles, _ = json.loads(head)
        return ICudaEngine(profiles, model, 2.0 if "arithmetic" in failing else 1.0)

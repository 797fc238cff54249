"""From a bundle to a TensorRT plan that may serve on this machine's GPU.

Building takes seconds to minutes of a GPU and a core. So it is done in a process of its own, while a lower rung serves;
what it leaves behind is a plan in the folder of plans, and only after its answers agree with those of ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from models import parity, plans
from models.engine import EngineError
from models.engines.onnx import open_onnx
from models.engines.tensorrt import CANDIDATES, FAILURES, SIZES, Libraries, key_of, libraries, logger_for, open_plan
from models.registry import Bundle
from models.spec import Manifest
from vitals.errors import WardwatchError

WORKSPACE_BYTES: Final = 256 << 20
TIMING_CACHE_FILE: Final = "timing.cache"

_log = logging.getLogger(__name__)


class BuildFailed(WardwatchError):
    """TensorRT could not build the network, or what it built answers differently."""


Progress = Callable[[str, int, int], bool]
"""Told the phase, the steps done and the steps in all; a False stops the build."""


def build(bundle: Bundle, folder: Path, *, found: Libraries | None = None, progress: Progress | None = None) -> Path:
    """Builds, checks and stores the best plan of ``bundle``: float16 where it keeps parity, else float32.

    A plan that is already there is kept. Returns its path. Raises ``BuildFailed``, and ``RungUnavailable`` on a machine
    without TensorRT or a GPU.
    """
    here = found if found is not None else libraries()
    reasons = []
    for file in CANDIDATES:
        if file not in bundle.file_hashes:
            continue
        key = key_of(bundle, file, here)
        if plans.found(folder, key) is not None:
            return folder / f"{key.stem}.plan"
        try:
            plan = _built(bundle.read(file), bundle.manifest, folder, here, progress)
            verdict = _parity(bundle, plan, here)
        except (BuildFailed, EngineError) as error:
            reasons.append(f"{file}: {error}")
            continue
        if verdict.passed:
            record = plans.PlanRecord(key, hashlib.sha256(plan).hexdigest(), bundle.hash, file, verdict.table())
            return plans.stored(folder, record, plan)
        reasons.append(f"{file}: {verdict.table()}")
    raise BuildFailed("\n".join(reasons))


class BackgroundBuild:
    """The build of one bundle in a process of its own."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        command = [sys.executable, "-m", "models", "build", str(bundle.folder), "--plans", str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def succeeded(self) -> bool | None:
        """Whether a plan is there now; None as long as it is being built."""
        code = self._process.poll()
        return None if code is None else code == 0

    def stop(self) -> None:
        """Ends the build, and waits for its end."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def _parity(bundle: Bundle, plan: bytes, found: Libraries) -> parity.Parity:
    engine, reference = open_plan(bundle, plan, found), open_onnx(bundle)
    try:
        answers = engine.infer(bundle.golden_inputs)
    finally:
        engine.close()
    expected = reference.infer(bundle.golden_inputs)
    return parity.compare(bundle.manifest, expected, answers, parity.HALF, names=(reference.rung, engine.rung))


def _built(onnx: bytes, manifest: Manifest, folder: Path, found: Libraries, progress: Progress | None) -> bytes:
    try:
        return _built_by_tensorrt(onnx, manifest, folder, found.trt, progress)
    except FAILURES as error:
        raise BuildFailed(f"{type(error).__name__}: {error}") from error


def _built_by_tensorrt(onnx: bytes, manifest: Manifest, folder: Path, trt: Any, progress: Progress | None) -> bytes:
    logger = logger_for(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise BuildFailed(f"TensorRT cannot read the network: {'; '.join(errors)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32: TF32 keeps 10 bits of each factor
    config.set_flag(trt.BuilderFlag.DISTRIBUTIVE_INDEPENDENCE)  # a row's answer must not depend on its place
    for size in SIZES:
        profile = builder.create_optimization_profile()
        for spec in manifest.inputs:
            shape = (size, *spec.row_shape)
            profile.set_shape(spec.name, shape, shape, shape)
        if config.add_optimization_profile(profile) < 0:
            raise BuildFailed(f"TensorRT did not take the profile of {size} rows")
    monitor = _monitor(trt, progress) if progress is not None else None
    if monitor is not None:
        config.progress_monitor = monitor
    cache_file = folder / TIMING_CACHE_FILE
    cache = config.create_timing_cache(cache_file.read_bytes() if cache_file.exists() else b"")
    if cache is not None:
        config.set_timing_cache(cache, ignore_mismatch=False)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise BuildFailed("TensorRT built nothing; its log says why")
    if cache is not None:
        plans.replace(cache_file, bytes(cache.serialize()))
    return bytes(serialized)


def _monitor(trt: Any, progress: Progress) -> Any:
    """A progress monitor of TensorRT's kind. TensorRT keeps a pointer to it: keep it until the build is over."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress(phase_name, step + 1, self._steps[phase_name])

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()

"""The TensorRT rung as far as it runs without a GPU: against the fakes, whose sums are real. And once against a GPU."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models import parity, plans
from models.build import BuildFailed, build
from models.engine import EngineFailed, Rung, RungUnavailable
from models.engines.ladder import open_best
from models.engines.onnx import open_onnx
from models.engines.tensorrt import Libraries, key_of, libraries, open_tensorrt
from models.registry import Bundle
from models.spec import ONNX_FILE, ONNX_HALF_FILE
from tests.models.conftest import TASKS
from tests.support import fake_cuda, fake_tensorrt
from tests.support.bundles import rows_of
from vitals.findings import Task

pytestmark = pytest.mark.torch


@pytest.fixture
def gpu() -> Iterator[Libraries]:
    """A machine with a GPU and TensorRT, of whose memory nothing may be left taken at the end."""
    yield libraries(fake_tensorrt, fake_cuda)
    fake_tensorrt.failing.clear()
    fake_cuda.failing.clear()
    leftover = len(fake_cuda.ALIVE), len(fake_cuda.STREAMS)
    fake_cuda.ALIVE.clear()
    fake_cuda.STREAMS.clear()
    assert leftover == (0, 0)


@pytest.mark.parametrize("task", TASKS)
def test_a_built_plan_answers_as_onnx_runtime_does(
    task: Task, bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    bundle = bundles[task]
    build(bundle, tmp_path, found=gpu)
    engine = open_tensorrt(bundle, tmp_path, gpu)
    assert engine.rung is Rung.TENSORRT
    engine.warm()
    for rows in (1, 32, 300):
        inputs = rows_of(task, rows, seed=rows)
        expected = open_onnx(bundle, file=ONNX_HALF_FILE).infer(inputs)
        verdict = parity.compare(
            bundle.manifest, expected, engine.infer(inputs), parity.SINGLE, names=("float16 on the CPU", "plan")
        )
        assert verdict.passed, verdict.table()
    engine.close()
    engine.close()


def test_a_plan_is_not_built_twice(bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path) -> None:
    first = build(bundles[Task.GLUCOSE], tmp_path, found=gpu)
    fake_tensorrt.failing.add("build_serialized_network")
    assert build(bundles[Task.GLUCOSE], tmp_path, found=gpu) == first


def test_nothing_is_offered_before_a_plan_is_built(bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path) -> None:
    with pytest.raises(RungUnavailable, match="no plan is built for NVIDIA Imaginary 9000"):
        open_tensorrt(bundles[Task.ECG_BEAT], tmp_path, gpu)


def test_a_plan_of_another_gpu_tensorrt_or_network_is_not_found(
    bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    bundle = bundles[Task.ECG_BEAT]
    build(bundle, tmp_path, found=gpu)
    key = key_of(bundle, ONNX_HALF_FILE, gpu)
    assert plans.found(tmp_path, key) is not None
    for other in ({"device": "NVIDIA Other"}, {"tensorrt": "11.5.0"}, {"onnx_sha256": "0" * 64}, {"sizes": (8,)}):
        assert plans.found(tmp_path, msgspec.structs.replace(key, **other)) is None


def test_a_plan_with_one_bit_changed_never_reaches_tensorrt(
    bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    path = build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RungUnavailable, match="no plan"):
        open_tensorrt(bundles[Task.ECG_BEAT], tmp_path, gpu)


def test_a_plan_that_answers_differently_is_never_stored(
    bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    fake_tensorrt.failing.add("arithmetic")
    with pytest.raises(BuildFailed, match="DIFFERENT"):
        build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    assert not list(tmp_path.glob("*.plan"))


def test_float32_is_built_where_the_bundle_has_no_float16(
    bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    whole = bundles[Task.ECG_BEAT]
    hashes = {name: digest for name, digest in whole.file_hashes.items() if name != ONNX_HALF_FILE}
    bundle = Bundle(
        whole.task, whole.hash, whole.folder, whole.manifest, whole.golden_inputs, whole.golden_outputs, hashes
    )
    build(bundle, tmp_path, found=gpu)
    assert plans.found(tmp_path, key_of(bundle, ONNX_FILE, gpu)) is not None


@pytest.mark.parametrize("call", ["build_serialized_network", "add_optimization_profile", "create_execution_context"])
def test_a_build_that_fails_says_so_and_leaves_nothing(
    call: str, bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    fake_tensorrt.failing.add(call)
    with pytest.raises(BuildFailed):
        build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    assert not list(tmp_path.glob("*.plan"))


def test_a_build_can_be_watched_and_stopped(bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def watch(phase: str, done: int, of: int) -> bool:
        seen.append((phase, done, of))
        return done < 2

    with pytest.raises(BuildFailed):
        build(bundles[Task.ECG_BEAT], tmp_path, found=gpu, progress=watch)
    assert seen[:2] == [("build", 1, 3), ("build", 2, 3)]


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMallocHost"])
def test_a_gpu_out_of_memory_is_a_reason_and_leaks_nothing(
    call: str, bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    fake_cuda.failing.add(call)
    with pytest.raises(EngineFailed, match="cudaErrorMemoryAllocation"):
        open_tensorrt(bundles[Task.ECG_BEAT], tmp_path, gpu)


@pytest.mark.parametrize(("fake", "call"), [(fake_tensorrt, "execute_async_v3"), (fake_cuda, "cudaStreamSynchronize")])
def test_a_gpu_that_fails_while_serving_is_told_as_a_failure(
    fake: object, call: str, bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    engine = open_tensorrt(bundles[Task.ECG_BEAT], tmp_path, gpu)
    fake.failing.add(call)
    with pytest.raises(EngineFailed):
        engine.infer(rows_of(Task.ECG_BEAT, 3))
    engine.close()
    with pytest.raises(EngineFailed, match="closed"):
        engine.infer(rows_of(Task.ECG_BEAT, 3))


def test_no_gpu_and_no_runtime_are_reasons_not_crashes(
    bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path
) -> None:
    build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    fake_tensorrt.failing.add("Runtime")
    with pytest.raises(RungUnavailable, match="nullptr"):
        open_tensorrt(bundles[Task.ECG_BEAT], tmp_path, gpu)
    fake_cuda.failing.add("cudaGetDeviceProperties")
    with pytest.raises(RungUnavailable, match="no GPU: cudaErrorNoDevice"):
        libraries(fake_tensorrt, fake_cuda)


def test_what_tensorrt_complains_of_is_in_our_log(
    bundles: dict[Task, Bundle], gpu: Libraries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake_tensorrt.failing.add("build_serialized_network")
    with caplog.at_level(logging.ERROR), pytest.raises(BuildFailed):
        build(bundles[Task.ECG_BEAT], tmp_path, found=gpu)
    assert "no tactic" in caplog.text


def test_a_real_gpu_builds_and_serves_with_parity(bundles: dict[Task, Bundle], tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorrt") is None:
        if os.environ.get("REQUIRE_TRT") == "1":
            pytest.fail("REQUIRE_TRT=1, and TensorRT is not installed")
        pytest.skip("not run: TensorRT is not installed here")
    for task, bundle in bundles.items():
        build(bundle, tmp_path)
        engine, reasons = open_best(bundle, plans=tmp_path)
        assert engine is not None
        assert engine.rung is Rung.TENSORRT, reasons
        rows = rows_of(task, 70)
        alone = {
            name: np.concatenate([engine.infer({k: v[i : i + 1] for k, v in rows.items()})[name] for i in range(70)])
            for name in engine.infer(rows)
        }
        together = engine.infer(rows)
        assert all(alone[name].tobytes() == together[name].tobytes() for name in together)
        engine.close()

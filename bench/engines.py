"""What a window costs in each engine, as ratios inside one run: batch sizes, our engine over its library, torch.

    python -m bench.engines [--rounds 7] [--out bench/reports/engines.json]

OpenVINO stands beside it where it is installed (`pip install openvino==2026.4.1`): float32, and bfloat16 with what
that costs in accuracy. CPU time of this process, one thread, medians over interleaved rounds: other work on the machine
moves all figures of a round together. Networks are the ones that serve, with the weights of the committed bundles where
there are some.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from models.engine import Array, Engine
from models.engines.onnx import open_onnx
from models.engines.torch_reference import TorchReference, network_of
from models.registry import Bundle, Registry
from models.spec import ONNX_FILE
from tests.support.bundles import made_bundle
from vitals.findings import Task

try:
    import openvino
except ImportError:
    openvino = None

TASKS = (Task.ECG_BEAT, Task.GLUCOSE, Task.PNEUMONIA, Task.BREAST)
PRECISIONS = ("f32", "bf16")
BATCHES = (1, 8, 32, 128)
ENOUGH_S = 0.03
BUNDLES = Path(__file__).resolve().parents[1] / "models" / "bundles"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/engines.json"))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bundles = {task: committed(task) or made_bundle(task, Path(folder) / task) for task in TASKS}
        told = {task.value: measured(bundle, arguments.rounds) for task, bundle in bundles.items()}
    result = {
        "unit": "microseconds of CPU a window",
        "machine": f"{os.cpu_count()} cores",
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "openvino": openvino and openvino.__version__,
        "tasks": told,
    }
    text = json.dumps(result, indent=2)
    print(text)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    return 0


def committed(task: Task) -> Bundle | None:
    return Registry(BUNDLES).current(task) if BUNDLES.is_dir() else None


def measured(bundle: Bundle, rounds: int) -> dict[str, object]:
    network = network_of(bundle)
    engine, reference, plain = open_onnx(bundle), TorchReference(bundle.manifest, network), library(bundle)
    runs: dict[str, tuple[Callable[[], object], int]] = {}
    errors: dict[str, float] = {}
    for rows in BATCHES:
        inputs = repeated(bundle, rows)
        runs[f"onnx-cpu/{rows}"] = (calling(engine, inputs), rows)
        runs[f"torch/{rows}"] = (calling(reference, inputs), rows)
        runs[f"library/{rows}"] = (lambda inputs=inputs: plain.run(None, inputs), rows)
        for precision in PRECISIONS if openvino else ():
            other = other_library(bundle, rows, precision)
            runs[f"openvino-{precision}/{rows}"] = (lambda other=other, inputs=inputs: other(inputs), rows)
            error = largest_difference(other(inputs), engine.infer(inputs))
            errors[precision] = max(errors.get(precision, 0.0), error)
    costs: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, rows) in runs.items():
            costs[name].append(cpu_us(run) / rows)
    us = {name: statistics.median(values) for name, values in costs.items()}
    return {
        "bundle": bundle.short,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "sub_batches": list(engine.sizes),
        "us": {name: round(value, 2) for name, value in us.items()},
        "ratios": {
            "batch_gain_32_over_1": round(us["onnx-cpu/1"] / us["onnx-cpu/32"], 2),
            "batch_gain_128_over_32": round(us["onnx-cpu/32"] / us["onnx-cpu/128"], 2),
            "torch_over_onnx_1": round(us["torch/1"] / us["onnx-cpu/1"], 2),
            "torch_over_onnx_32": round(us["torch/32"] / us["onnx-cpu/32"], 2),
            "engine_over_library_1": round(us["onnx-cpu/1"] / us["library/1"], 2),
            "engine_over_library_32": round(us["onnx-cpu/32"] / us["library/32"], 2),
            "engine_over_library_128": round(us["onnx-cpu/128"] / us["library/128"], 2),
            **{
                f"library_over_openvino_{precision}_{rows}": round(
                    us[f"library/{rows}"] / us[f"openvino-{precision}/{rows}"], 2
                )
                for precision in errors
                for rows in BATCHES
            },
        },
        "openvino_largest_difference": errors,
    }


def library(bundle: Bundle) -> onnxruntime.InferenceSession:
    """ONNX Runtime with nothing of ours around it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(bundle.read(ONNX_FILE), options, providers=["CPUExecutionProvider"])


def other_library(bundle: Bundle, rows: int, precision: str) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """OpenVINO on one thread, compiled for batches of ``rows``."""
    core = openvino.Core()
    model = core.read_model(bundle.read(ONNX_FILE))
    model.reshape({spec.name: [rows, *spec.row_shape] for spec in bundle.manifest.inputs})
    told = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = core.compile_model(model, "CPU", {**told, "ENABLE_CPU_PINNING": False}).create_infer_request()

    def infer(inputs: dict[str, Array]) -> dict[str, Array]:
        request.infer(inputs, share_inputs=True, share_outputs=True)
        return {spec.name: request.get_tensor(spec.name).data for spec in bundle.manifest.outputs}

    return infer


def largest_difference(one: dict[str, Array], other: dict[str, Array]) -> float:
    """Over all outputs, in their own units."""
    return max(float(np.abs(one[name] - answers).max()) for name, answers in other.items())


def repeated(bundle: Bundle, rows: int) -> dict[str, Array]:
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in bundle.golden_inputs.items()}


def calling(engine: Engine, inputs: dict[str, Array]) -> Callable[[], object]:
    return lambda: engine.infer(inputs)


def cpu_us(run: Callable[[], object]) -> float:
    run()
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < ENOUGH_S:
        run()
        calls += 1
    return spent / calls * 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What int8 would save, and what it would cost: the serving networks with Q/DQ nodes, beside themselves in float32.

    python -m bench.int8 [--rounds 7] [--out bench/reports/int8.json]

Quantised by ONNX Runtime: weights per channel, activations by the range seen on training windows (an LSTM stays in
float32: the format has no Q/DQ for it). Speed: CPU time of this process, one thread, medians over interleaved rounds.
Cost: both on the validation people, calibrated the same way, judged by the gate as if int8 were a challenger.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from bench.engines import TASKS, calling, committed, cpu_us, repeated
from models.engine import Array, Engine
from models.engines.onnx import open_onnx
from models.parity import HALF, on_golden
from models.registry import Bundle, opened
from models.spec import ONNX_FILE
from trainer.config import Places, places, recipe
from trainer.cycle import said_by_bundle
from trainer.dataset import Dataset, DatasetRefused, Side, assembled
from trainer.evaluate import MAIN_MEASURE, evaluation
from trainer.evidence import evidence
from trainer.gate import Candidate, Comparison, judged
from trainer.gather import gathered
from vitals.findings import Task

_BATCHES: Final = (1, 8, 32, 128)
_CALIBRATION_ROWS: Final = 512
_AT_ONCE: Final = 32


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Training windows, a batch at a time."""

    def __init__(self, inputs: dict[str, Array]) -> None:
        rows = len(next(iter(inputs.values())))
        self._batches: Iterator[dict[str, Array]] = (
            {name: tensor[begin : begin + _AT_ONCE] for name, tensor in inputs.items()}
            for begin in range(0, rows, _AT_ONCE)
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def quantised(bundle: Bundle, inputs: dict[str, Array], folder: Path) -> Bundle:
    """The bundle with its network in int8, in ``folder`` (made new). ``inputs``: windows to learn the ranges from."""
    folder.mkdir()
    for name in bundle.file_hashes:
        (folder / name).write_bytes(bundle.read(name))
    network = folder / ONNX_FILE
    quant_pre_process(onnx.load(network), str(network), skip_symbolic_shape=True)
    quantize_static(str(network), str(network), _Rows(inputs), quant_format=QuantFormat.QDQ, per_channel=True)
    return opened(folder)


def measured(task: Task, at: Places, rounds: int, folder: Path) -> dict[str, Any] | None:
    """One task; None where there is no bundle or nothing to judge by."""
    bundle = committed(task)
    dataset = _dataset(task, at)
    if bundle is None or dataset is None:
        return None
    train, judge_on = dataset[Side.TRAIN], dataset[Side.VALIDATE]
    chosen = np.linspace(0, len(train) - 1, _CALIBRATION_ROWS).astype(np.intp)
    small = quantised(bundle, {name: tensor[chosen] for name, tensor in train.inputs.items()}, folder)
    sides = {"float32": bundle, "int8": small}
    engines = {"float32": open_onnx(bundle), "int8": open_onnx(small)}
    said = {name: said_by_bundle(one, judge_on) for name, one in sides.items()}
    draws = recipe(task).bootstrap
    figures = {name: evaluation(task, columns, judge_on, draws) for name, columns in said.items()}
    candidates = {name: Candidate(figures[name], evidence(one)) for name, one in sides.items()}
    verdicts = judged(Comparison(candidates["int8"], candidates["float32"]))
    moved = np.abs(said["int8"] - said["float32"])
    main = MAIN_MEASURE[task]
    return {
        "bundle": bundle.short,
        "us": _costs(engines, bundle, rounds),
        "bytes": {name: len(one.read(ONNX_FILE)) for name, one in sides.items()},
        "windows": len(judge_on),
        "calibrated_columns_moved": {
            "mean": round(float(moved.mean()), 5),
            "p99": round(float(np.percentile(moved, 99)), 4),
            "most": round(float(moved.max()), 4),
        },
        "another_class": None
        if task is Task.GLUCOSE
        else round(float((said["int8"].argmax(1) != said["float32"].argmax(1)).mean()), 5),
        main: {name: round(one.metrics[main], 4) for name, one in figures.items()},
        "parity_of_half_precision": on_golden(small, engines["int8"], HALF).passed,
        "gate_refuses": [f"{v.rule}: {v.text}" for v in verdicts if not v.passed],
    }


def _dataset(task: Task, at: Places) -> Dataset | None:
    settings = recipe(task)
    with contextlib.suppress(DatasetRefused):
        return assembled(task, gathered(task, at, None, settings.corpus).people, settings.split)
    return None


def _costs(engines: dict[str, Engine], bundle: Bundle, rounds: int) -> dict[str, dict[str, float]]:
    seen: dict[tuple[str, int], list[float]] = {(name, rows): [] for name in engines for rows in _BATCHES}
    for _ in range(rounds):
        for (name, rows), costs in seen.items():
            run = calling(engines[name], repeated(bundle, rows))
            costs.append(cpu_us(run) / rows)
    us = {key: statistics.median(values) for key, values in seen.items()}
    return {
        str(rows): {name: round(us[name, rows], 2) for name in engines}
        | {"float32_over_int8": round(us["float32", rows] / us["int8", rows], 2)}
        for rows in _BATCHES
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/int8.json"))
    asked = parser.parse_args(argv)
    at = places(os.environ)
    with tempfile.TemporaryDirectory(prefix="wardwatch-int8-") as folder:
        tasks = {task.value: measured(task, at, asked.rounds, Path(folder) / task) for task in TASKS}
    report = {
        "unit": "microseconds of CPU a window",
        "machine": f"{os.cpu_count()} cores",
        "onnxruntime": onnxruntime.__version__,
        "tasks": tasks,
    }
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    sys.stdout.write(text.decode() + "\n")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(text + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

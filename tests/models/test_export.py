from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models import parity
from models.engines.onnx import open_onnx
from models.engines.torch_reference import open_torch
from models.export import ExportRefused, export
from models.registry import Bundle
from models.spec import ONNX_FILE, ONNX_HALF_FILE
from tests.models.conftest import TASKS
from tests.support.bundles import manifest_of, network_for, rows_of
from vitals.findings import Task

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("task", TASKS)
def test_a_bundle_answers_unseen_rows_as_the_trained_network_did(task: Task, bundles: dict[Task, Bundle]) -> None:
    bundle, rows = bundles[task], rows_of(task, 37, seed=5)
    with torch.inference_mode():
        told = network_for(bundle.manifest)(*(torch.from_numpy(rows[spec.name]) for spec in bundle.manifest.inputs))
    told = (told,) if isinstance(told, torch.Tensor) else told
    reference = {spec.name: answer.numpy() for spec, answer in zip(bundle.manifest.outputs, told, strict=True)}
    for engine in (open_onnx(bundle), open_torch(bundle)):
        verdict = parity.compare(
            bundle.manifest, reference, engine.infer(rows), parity.SINGLE, names=("trained", engine.rung)
        )
        assert verdict.passed, verdict.table()


@pytest.mark.parametrize("task", TASKS)
def test_the_float16_network_holds_its_tolerance_and_really_is_float16(task: Task, bundles: dict[Task, Bundle]) -> None:
    bundle, rows = bundles[task], rows_of(task, 64, seed=6)
    exact, half = open_onnx(bundle).infer(rows), open_onnx(bundle, file=ONNX_HALF_FILE).infer(rows)
    verdict = parity.compare(bundle.manifest, exact, half, parity.HALF, names=("float32", "float16"))
    assert verdict.passed, verdict.table()
    assert not parity.compare(
        bundle.manifest, exact, half, parity.Tolerance(1e-7, 1e-7), names=("float32", "float16")
    ).passed
    model = onnx.load_from_string(bundle.read(ONNX_HALF_FILE))
    weights = [w for w in model.graph.initializer if len(w.dims) > 1]
    assert weights
    assert all(w.data_type == onnx.TensorProto.FLOAT16 for w in weights)


@pytest.mark.parametrize("task", [Task.ECG_BEAT, Task.GLUCOSE])
def test_the_lstm_stays_one_operator_without_shape_arithmetic(task: Task, bundles: dict[Task, Bundle]) -> None:
    operators = [node.op_type for node in onnx.load_from_string(bundles[task].read(ONNX_FILE)).graph.node]
    assert operators.count("LSTM") == 1
    assert not {"Loop", "Scan", "Shape", "ConstantOfShape", "Expand"} & set(operators)


def test_no_path_of_this_machine_is_in_a_bundle(bundles: dict[Task, Bundle]) -> None:
    here = str(Path(__file__).resolve().parents[2]).encode()
    for bundle in bundles.values():
        assert not [name for name in bundle.file_hashes if here in bundle.read(name)]


def test_the_same_weights_give_the_same_hash(tmp_path: Path) -> None:
    manifest = manifest_of(Task.ECG_BEAT)
    made = [
        export(network_for(manifest), manifest, rows_of(Task.ECG_BEAT, 16), "card", tmp_path / name) for name in "ab"
    ]
    assert made[0].hash == made[1].hash


def test_a_network_that_answers_other_shapes_than_its_manifest_is_refused(tmp_path: Path) -> None:
    network = network_for(manifest_of(Task.PNEUMONIA))
    network.head[-1] = torch.nn.Linear(network.head[-1].in_features, 3)
    with pytest.raises(ExportRefused):
        export(network, manifest_of(Task.PNEUMONIA), rows_of(Task.PNEUMONIA, 16), "card", tmp_path / "b")


def test_a_network_that_answers_nan_is_refused(tmp_path: Path) -> None:
    network = network_for(manifest_of(Task.PNEUMONIA))
    with torch.no_grad():
        network.head[-1].bias.fill_(float("nan"))
    with pytest.raises(ExportRefused):
        export(network, manifest_of(Task.PNEUMONIA), rows_of(Task.PNEUMONIA, 16), "card", tmp_path / "b")


def test_golden_rows_of_another_type_are_refused(tmp_path: Path) -> None:
    rows = {name: array.astype(np.float64) for name, array in rows_of(Task.PNEUMONIA, 16).items()}
    with pytest.raises(ExportRefused, match="golden rows"):
        export(network_for(manifest_of(Task.PNEUMONIA)), manifest_of(Task.PNEUMONIA), rows, "card", tmp_path / "b")

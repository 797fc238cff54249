"""From a trained torch network to a bundle that can serve: ONNX, weights, golden rows, manifest, card.

The ONNX export is torch's older, traced one: it keeps an LSTM as one operator, writes no stack traces (which carry the
paths of the machine) into the file, and needs a tenth of a second instead of three. Afterwards the explicit zero states
of the LSTMs are taken out (zero is what ONNX means by leaving them out), and with them the shape arithmetic that made
them, which engines would otherwise have to run on the host.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from safetensors.torch import save

from models import parity
from models.engine import Array, Arrays, InputRefused, checked_rows
from models.engines.onnx import open_onnx
from models.engines.torch_reference import TorchReference
from models.registry import Bundle, golden_bytes, opened
from models.spec import (
    CARD_FILE,
    GOLDEN_FILE,
    MANIFEST_FILE,
    ONNX_FILE,
    ONNX_HALF_FILE,
    WEIGHTS_FILE,
    Manifest,
    encoded,
)
from vitals.errors import WardwatchError

OPSET: Final = 20
_LSTM_INITIAL_STATES: Final = (5, 6)


class ExportRefused(WardwatchError):
    """The network does not become the bundle that its manifest promises."""


def export(network: torch.nn.Module, manifest: Manifest, golden_inputs: Arrays, card: str, folder: Path) -> Bundle:
    """Writes the bundle of ``network`` into ``folder`` (made new), checks it, and returns it.

    ``golden_inputs``: example rows as the manifest's inputs, 16 or more and as varied as the real ones; the network's
    answers to them are what every engine is held to for as long as the bundle lives. The float16 network is left out
    where it does not hold its tolerance. Raises ``ExportRefused``.
    """
    network = network.eval().cpu()
    try:
        outputs = TorchReference(manifest, network).infer(golden_inputs)
        checked_rows(manifest.outputs, outputs)
    except InputRefused as error:
        raise ExportRefused(f"golden rows: {error}") from None
    inputs = {spec.name: np.ascontiguousarray(golden_inputs[spec.name]) for spec in manifest.inputs}
    model = traced(network, manifest, inputs)
    folder.mkdir(parents=True)
    (folder / ONNX_FILE).write_bytes(model.SerializeToString(deterministic=True))
    (folder / ONNX_HALF_FILE).write_bytes(_halved(model).SerializeToString(deterministic=True))
    (folder / WEIGHTS_FILE).write_bytes(save({k: v.contiguous() for k, v in network.state_dict().items()}))
    (folder / GOLDEN_FILE).write_bytes(golden_bytes(inputs, outputs))
    (folder / MANIFEST_FILE).write_bytes(encoded(manifest))
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    bundle = opened(folder)
    exact = parity.on_golden(bundle, open_onnx(bundle))
    if not exact.passed:
        raise ExportRefused(f"ONNX Runtime does not answer as torch did\n{exact.table()}")
    if not parity.on_golden(bundle, open_onnx(bundle, file=ONNX_HALF_FILE), parity.HALF).passed:
        (folder / ONNX_HALF_FILE).unlink()
        bundle = opened(folder)
    return bundle


def traced(network: torch.nn.Module, manifest: Manifest, example: dict[str, Array]) -> onnx.ModelProto:
    """The ONNX model of ``network``: dynamic batch, the manifest's names, checked. Raises ``ExportRefused``."""
    buffer = io.BytesIO()
    names = [spec.name for spec in manifest.inputs], [spec.name for spec in manifest.outputs]
    tensors = tuple(torch.from_numpy(example[name]) for name in names[0])
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that this exporter is the older one, and that a traced LSTM has one batch size
        torch.onnx.export(
            network,
            tensors,
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=names[0],
            output_names=names[1],
            dynamic_axes={name: {0: "batch"} for name in (*names[0], *names[1])},
        )
    model = onnx.load_from_string(buffer.getvalue())
    _drop_zero_states(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportRefused(f"not a valid ONNX model: {error}") from error
    return model


def _drop_zero_states(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "LSTM":
            for at in _LSTM_INITIAL_STATES:
                node.input[at] = ""
    wanted = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return half

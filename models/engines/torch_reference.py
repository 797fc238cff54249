"""The network in the framework that trained it: what every other rung is compared with. Never serves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from models.engine import Array, Arrays, EngineFailed, Rung, RungUnavailable, checked_rows
from models.nets import catalogue
from models.registry import Bundle
from models.spec import WEIGHTS_FILE, Manifest


class TorchReference:
    """An ``Engine`` over a torch module, all rows in one batch."""

    rung = Rung.TORCH

    def __init__(self, manifest: Manifest, network: torch.nn.Module) -> None:
        self._manifest = manifest
        self._network: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]] | None = network.eval()

    def infer(self, inputs: Arrays) -> dict[str, Array]:
        checked_rows(self._manifest.inputs, inputs)
        if self._network is None:
            raise EngineFailed("the engine is closed")
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[spec.name])) for spec in self._manifest.inputs]
        with torch.inference_mode():
            answers = self._network(*tensors)
        each = (answers,) if isinstance(answers, torch.Tensor) else answers
        return {spec.name: answer.numpy() for spec, answer in zip(self._manifest.outputs, each, strict=True)}

    def warm(self) -> None:
        """Nothing to do: nobody waits for the reference."""

    def close(self) -> None:
        self._network = None


def network_of(bundle: Bundle) -> torch.nn.Module:
    """The torch network of ``bundle`` with its weights, in evaluation mode. Raises ``RungUnavailable``."""
    if WEIGHTS_FILE not in bundle.file_hashes:
        raise RungUnavailable("the bundle carries no weights for torch")
    try:
        network = catalogue.build(bundle.manifest.network, bundle.manifest.network_arguments)
        network.load_state_dict(load(bundle.read(WEIGHTS_FILE)))
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise RungUnavailable(f"torch: {error}") from error
    return network.eval()


def open_torch(bundle: Bundle) -> TorchReference:
    """The reference engine of ``bundle``. Raises ``RungUnavailable``."""
    return TorchReference(bundle.manifest, network_of(bundle))

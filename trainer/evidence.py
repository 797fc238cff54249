"""What is known of a model besides what it says: its contract, whom it has learnt from, how long it takes, its size."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.engines.onnx import open_onnx
from models.registry import Bundle
from models.spec import ONNX_FILE, TensorSpec
from trainer.dataset import Examples
from trainer.examples import fingerprints
from trainer.labels import SAME_PERSON
from vitals.units import US_PER_S

_CHUNK: Final = 8192
_WARM_ROUNDS: Final = 3
_ROUNDS: Final = 20


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in and what comes out, in this order."""

    window: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    columns: tuple[str, ...]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """``us_per_window``: microseconds of CPU on one thread at the bundle's batch size.

    ``shared_people``: held-out people it has learnt from; ``shared_windows``: share of their windows, by content.
    """

    contract: Contract
    us_per_window: float
    onnx_bytes: int
    shared_people: int = 0
    shared_windows: float = 0.0


@dataclass(frozen=True, slots=True)
class Material:
    """Who and what is on a side. ``people``: one name for each human being; ``prints``: ``fingerprints``, distinct."""

    people: frozenset[str] = field(repr=False)
    prints: npt.NDArray[np.uint64] = field(repr=False)


def material(*sides: Examples) -> Material:
    """Of all ``sides`` together."""
    people = frozenset(SAME_PERSON.get(name, name) for examples in sides for name in examples.people)
    prints = [np.zeros(0, np.uint64)]
    for examples in sides:
        signal = max(examples.inputs.values(), key=lambda tensor: tensor.size)
        prints += [fingerprints(signal[begin : begin + _CHUNK]) for begin in range(0, len(signal), _CHUNK)]
    return Material(people, np.unique(np.concatenate(prints)))


def shared(learnt: Material, held_out: Material) -> tuple[int, float]:
    """How many of the held-out people, and what share of their windows, are in what was learnt from."""
    windows = float(np.isin(held_out.prints, learnt.prints).mean()) if len(held_out.prints) else 0.0
    return len(learnt.people & held_out.people), windows


def evidence(bundle: Bundle, overlap: tuple[int, float] = (0, 0.0)) -> Evidence:
    """Of ``bundle``; ``overlap`` as of ``shared``."""
    manifest = bundle.manifest
    people, windows = overlap
    return Evidence(
        contract=Contract(
            window=manifest.window, inputs=manifest.inputs, outputs=manifest.outputs, columns=manifest.columns
        ),
        us_per_window=_us_per_window(bundle),
        onnx_bytes=len(bundle.read(ONNX_FILE)),
        shared_people=people,
        shared_windows=windows,
    )


def _us_per_window(bundle: Bundle) -> float:
    """CPU time of the quickest of some rounds: what else runs on the machine only adds to it."""
    n = bundle.manifest.preferred_batch
    inputs = {name: np.resize(rows, (n, *rows.shape[1:])) for name, rows in bundle.golden_inputs.items()}
    with closing(open_onnx(bundle)) as engine:
        for _ in range(_WARM_ROUNDS):
            engine.infer(inputs)
        taken_s = []
        for _ in range(_ROUNDS):
            began_s = time.thread_time()  # ONNX Runtime runs in the thread that asks it (intra_op=1)
            engine.infer(inputs)
            taken_s.append(time.thread_time() - began_s)
    return min(taken_s) * US_PER_S / n

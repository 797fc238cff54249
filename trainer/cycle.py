"""The periodic corridor, from what is known to what serves. Read it from top to bottom; every step is one room.

corpus → examples → dataset (split by person, frozen, hashed) → train → evaluate both → gate → release → announce
"""

from __future__ import annotations

from typing import Final

import numpy as np
import safetensors.torch
import torch

from models.calibration import calibrated
from models.engines.onnx import open_onnx
from models.registry import Bundle, Registry
from models.signing import SigningKey
from models.spec import WEIGHTS_FILE
from trainer.config import Places, Recipe
from trainer.dataset import Dataset, Examples, Side, assembled, freeze
from trainer.evaluate import Evaluation, evaluation
from trainer.examples import SPEC
from trainer.gate import Comparison, judged, opened
from trainer.gather import gathered
from trainer.measures import Floats
from trainer.release import announce, manifest, release
from trainer.runs import Run, keep
from trainer.train import Trained, answers, train
from vitals.clock import Clock

_ANSWER_BATCH: Final = 512


def cycle(recipe: Recipe, places: Places, clock: Clock, *, kafka: str | None = None, fresh: bool = False) -> Run:
    """One turn. ``fresh``: begin from new weights even where a champion's would fit.

    Raises ``DatasetRefused`` when there is nothing to learn from, ``Fault`` when the broker fails.
    """
    began_us = clock.now_us()
    registry = Registry.seeded(places.registry, places.bundles, clock)
    key = SigningKey.read(places.signing_key) if places.signing_key is not None else None
    champion = registry.current(recipe.task)

    dataset = assembled(recipe.task, gathered(recipe.task, places.data, kafka, recipe.corpus), recipe.split)
    freeze(dataset, places.state / "datasets")

    # a champion that has learnt from the validation people cannot be stopped or calibrated by them
    start = champion if champion is not None and not fresh and not champion.manifest.folds else None
    trained = train(dataset, recipe, weights=_weights(start), began_from="" if start is None else start.short)

    held_out = dataset[Side.HELD_OUT]
    challenger = evaluation(recipe.task, _said_by_network(trained, dataset, held_out), held_out, recipe.bootstrap)
    comparison = Comparison(challenger, champion_evaluation(champion, held_out, recipe.bootstrap))
    verdicts = judged(comparison)

    bundle = None
    if opened(verdicts):
        bundle = release(trained, dataset, recipe, challenger, verdicts, registry, clock, key)
        if kafka is not None:
            announce(kafka, bundle, registry, verdicts, clock)

    run = Run(
        task=recipe.task,
        began_us=began_us,
        ended_us=clock.now_us(),
        dataset=dataset.hash,
        sides={str(side): (len(dataset[side].people), len(dataset[side])) for side in Side},
        recipe=recipe,
        curve=trained.curve,
        best_epoch=trained.best_epoch,
        challenger=challenger,
        champion=comparison.champion,
        champion_bundle="" if champion is None else champion.hash,
        verdicts=verdicts,
        bundle="" if bundle is None else bundle.hash,
    )
    keep(run, places.state)
    return run


def champion_evaluation(champion: Bundle | None, examples: Examples, draws: int) -> Evaluation | None:
    """What the serving bundle says of ``examples``, through ONNX Runtime; None where it reads other windows."""
    if champion is None or champion.manifest.window != SPEC[champion.task]:
        return None
    return evaluation(champion.task, said_by_bundle(champion, examples), examples, draws)


def said_by_bundle(bundle: Bundle, examples: Examples) -> Floats:
    """float64[N, columns]: calibrated columns of every example by ONNX Runtime."""
    engine = open_onnx(bundle)
    parts = []
    for begin in range(0, len(examples), _ANSWER_BATCH):
        rows = slice(begin, begin + _ANSWER_BATCH)
        parts.append(calibrated(bundle.manifest, engine.infer({n: t[rows] for n, t in examples.inputs.items()})))
    engine.close()
    return np.concatenate(parts)


def _said_by_network(trained: Trained, dataset: Dataset, examples: Examples) -> Floats:
    return calibrated(manifest(trained, dataset, {}, 0), answers(dataset.task, trained.network, examples))


def _weights(bundle: Bundle | None) -> dict[str, torch.Tensor] | None:
    if bundle is None or WEIGHTS_FILE not in bundle.file_hashes:
        return None
    weights: dict[str, torch.Tensor] = safetensors.torch.load(bundle.read(WEIGHTS_FILE))
    return weights

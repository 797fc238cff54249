"""The periodic corridor, from what is known to what serves. Read it from top to bottom; every step is one room.

corpus → examples → dataset (split by person, frozen, hashed) → train → evaluate both → gate → release → announce
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import safetensors.torch
import torch

from models.calibration import calibrated
from models.engines.onnx import open_onnx
from models.registry import Bundle, Registry
from models.signing import SigningKey
from models.spec import WEIGHTS_FILE
from trainer import lineage
from trainer.cases import pictures
from trainer.config import Places, Recipe
from trainer.dataset import Examples, Side, assembled
from trainer.evaluate import Evaluation, evaluation
from trainer.evidence import evidence, material, shared
from trainer.examples import SPEC
from trainer.fit import Epoch
from trainer.frozen import folder, freeze, thaw
from trainer.gate import Candidate, Comparison, judged, opened
from trainer.gather import gathered
from trainer.lineage import Origin
from trainer.measures import Floats
from trainer.release import announce, drafted, release
from trainer.runs import Run, keep
from trainer.train import train
from trainer.work import Work
from trainer.world import ALONE, World
from vitals.clock import Clock

_ANSWER_BATCH: Final = 512


def cycle(
    recipe: Recipe,
    places: Places,
    clock: Clock,
    *,
    kafka: str | None = None,
    fresh: bool = False,
    world: World = ALONE,
    told: Callable[[Epoch], None] | None = None,
) -> Run:
    """One turn, in the first process of ``world``. ``fresh``: begin from new weights even where a champion's would fit.

    A turn that was killed is taken up where it was, with the dataset that it had frozen. ``told``: hears of every
    epoch. Raises ``DatasetRefused`` when there is nothing to learn from, ``Fault`` when the broker fails.
    """
    began_us = clock.now_us()
    registry = Registry.seeded(places.registry, places.bundles, clock)
    key = SigningKey.read(places.signing_key) if places.signing_key is not None else None
    champion = registry.current(recipe.task)
    work = Work(places.state, recipe, clock)

    dataset = work.dataset()
    if dataset is None:
        corpus = gathered(recipe.task, places, kafka, recipe.corpus)
        dataset = assembled(recipe.task, corpus.people, recipe.split, corpus.excluded)
        work.took(freeze(dataset, places.state, recipe.split, corpus.sources, clock.now_us()))

    # a champion that has learnt from the validation people cannot be stopped or calibrated by them
    start = champion if champion is not None and not fresh and not champion.manifest.folds else None
    began_from = "" if start is None else start.hash
    world.told((dataset.hash, began_from))
    trained = train(
        dataset, recipe, weights=_weights(start), began_from=began_from, world=world,
        checkpoints=work.checkpoints, told=told,
    )  # fmt: skip

    held_out = dataset[Side.HELD_OUT]
    overlap = shared(material(dataset[Side.TRAIN], dataset[Side.VALIDATE]), material(held_out))
    with drafted(trained, dataset) as draft:
        challenger = Candidate(evaluated(draft, held_out, recipe.bootstrap), evidence(draft, overlap))
    serving = None
    if champion is not None and champion.manifest.window == SPEC[recipe.task]:  # else it reads other windows
        serving = Candidate(evaluated(champion, held_out, recipe.bootstrap), evidence(champion))
    verdicts = judged(Comparison(challenger, serving))

    bundle = None
    if opened(verdicts):
        bundle = release(trained, dataset, recipe, challenger.evaluation, verdicts, registry, clock, key)
        lineage.note(
            places.state, recipe.task, bundle.hash, Origin(dataset=dataset.hash, began_from=trained.began_from)
        )
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
        challenger=challenger.evaluation,
        champion=None if serving is None else serving.evaluation,
        champion_bundle="" if champion is None else champion.hash,
        verdicts=verdicts,
        bundle="" if bundle is None else bundle.hash,
    )
    keep(run, places.state)
    work.done()
    return run


def follow(recipe: Recipe, places: Places, clock: Clock, world: World) -> None:
    """What the other processes of ``world`` do in a turn: they learn along, from what the first one froze."""
    dataset_hash, began_from = world.told(("", ""))
    dataset = thaw(folder(places.state, recipe.task) / f"{dataset_hash}.npz", recipe.task)
    start = Registry(places.registry).get(recipe.task, began_from) if began_from else None
    checkpoints = Work(places.state, recipe, clock).checkpoints
    train(dataset, recipe, weights=_weights(start), began_from=began_from, world=world, checkpoints=checkpoints)


def evaluated(bundle: Bundle, examples: Examples, draws: int) -> Evaluation:
    """What ``bundle`` says of ``examples``, with what a report shows of it."""
    said = said_by_bundle(bundle, examples)
    made = evaluation(bundle.task, said, examples, draws)
    return msgspec.structs.replace(made, pictures=pictures(bundle.task, np.nan_to_num(said), examples))


def said_by_bundle(bundle: Bundle, examples: Examples) -> Floats:
    """float64[N, columns]: calibrated columns of every example by ONNX Runtime, NaN where it did not answer numbers."""
    engine = open_onnx(bundle)
    parts = []
    for begin in range(0, len(examples), _ANSWER_BATCH):
        inputs = {name: tensor[begin : begin + _ANSWER_BATCH] for name, tensor in examples.inputs.items()}
        raw = engine.infer(inputs)
        try:
            parts.append(calibrated(bundle.manifest, raw))
        except ValueError:
            parts.append(np.full((len(next(iter(raw.values()))), len(bundle.manifest.columns)), np.nan))
    engine.close()
    return np.concatenate(parts)


def _weights(bundle: Bundle | None) -> dict[str, torch.Tensor] | None:
    if bundle is None or WEIGHTS_FILE not in bundle.file_hashes:
        return None
    weights: dict[str, torch.Tensor] = safetensors.torch.load(bundle.read(WEIGHTS_FILE))
    return weights

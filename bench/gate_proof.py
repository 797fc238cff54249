"""Does the gate refuse what was sabotaged, and let through what is better? One thousand challengers of either sort.

    python -m bench.gate_proof [--sabotaged 1000] [--better 1000] [--data DIR] [--synthetic]

Challengers are made of stored answers: those of the committed bundles to the windows of real held-out people (kept in
the working folder once they were asked), or invented ones where the data is not there; the report says which. The true
gate judges the true evaluation of each. It knows nothing of how a challenger was made.

A **better** one has had one more look at each window: a noisy measurement x of the truth y, x ~ N(d·e_y, 1) for every
class, taken into account as Bayes would. With L the likelihoods of x, E[L_k/L_y] = 1 for every wrong class k, so by
Jensen's inequality the expected log loss of every single window falls, whatever the champion said of it. d is drawn
from 0.5 to 1.5 for each challenger (alone such a look has an AUROC of 0.64 to 0.86), and varies from person to person.
A forecast is averaged with a noisy measurement of what came: its error falls by 3 to 20 of a hundred in expectation.
On top lies the noise that training once more brings. An **equal** one has only that noise; it is counted beside.

Exits with 1 when a sabotaged one was promoted or fewer than 95 of 100 better ones were.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle as rounds
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from tqdm import tqdm

from models.registry import Bundle, Registry
from trainer.config import TRAINED_TASKS, CorpusRecipe, Places, places, recipe
from trainer.cycle import said_by_bundle
from trainer.dataset import Examples, Side, assembled
from trainer.evaluate import evaluation
from trainer.evidence import Contract, Evidence, Material, evidence, material, shared
from trainer.examples import SPEC
from trainer.gate import Candidate, Comparison, Verdict, judged, opened
from trainer.gather import gathered
from trainer.labels import CLASSES, LIMIT_IS_UPPER, LIMITS_MG_DL, NO_BEAT, limit_crossed
from trainer.release import INPUTS, OUTPUTS, PROBABILITIES
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, FORECAST_QUANTILES, Task
from vitals.windows.glucose import SCALE_MG_DL, STEPS

REPORT = Path(__file__).parent / "reports" / "gate.json"
SEED = 2027
"""Margins were settled on challengers of other seeds."""
DRAWS = 300
ENOUGH = 0.95
_KEPT = "gate_proof"
_WINDOWS_PER_PERSON = 100
"""Of glucose, evenly over the time somebody wore a sensor."""
_LEAST_P = 1e-12
_HORIZONS = len(FORECAST_HORIZONS_MIN)
_LIMITS = len(FORECAST_LIMITS)
_QUANTILES = slice(1, 1 + len(FORECAST_QUANTILES))
_CHANCES = slice(1 + len(FORECAST_QUANTILES), None)
_WIDTH = 3.29
"""Standard deviations from the 5th to the 95th percentile of a normal distribution."""
_SEED_NOISE = 0.1
"""Logits, of a person and of a window: what another seed of the same training moves."""

Floats = np.ndarray
Random = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """One task: its champion and the frozen set. ``misread``: the champion's answers to inputs in another order."""

    task: Task
    examples: Examples
    said: Floats
    misread: dict[str, Floats]
    champion: Candidate
    learnt: Material
    held_out: Material
    source: str

    @property
    def per_horizon(self) -> Floats:
        """The answers of a forecast, [N, horizons, mean + quantiles + limits], to be written to."""
        return self.said.reshape(len(self.said), _HORIZONS, -1).copy()


@dataclass(frozen=True)
class Challenger:
    """What the gate is shown."""

    said: Floats
    examples: Examples
    evidence: Evidence


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sabotaged", type=int, default=1000)
    parser.add_argument("--better", type=int, default=1000)
    parser.add_argument("--data", type=Path, help="instead of WARDWATCH_DATA")
    parser.add_argument("--synthetic", action="store_true", help="invented answers even where there is data")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=REPORT)
    asked = parser.parse_args()
    began = time.monotonic()
    at = places(os.environ)
    at = at if asked.data is None else msgspec.structs.replace(at, data=asked.data)
    scenes = [synthetic(task) if asked.synthetic else scene_of(task, at) for task in TRAINED_TASKS]
    report = proof(scenes, asked.sabotaged, asked.better, asked.seed)
    report |= {
        "seed": asked.seed,
        "draws": DRAWS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seconds": round(time.monotonic() - began),
    }
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("sabotaged", "sabotaged_promoted", "better", "better_promoted")}))
    return 0 if held(report) else 1


def held(report: dict) -> bool:
    """Whether the report says what the gate promises."""
    return report["sabotaged_promoted"] == 0 and report["better_promoted"] >= ENOUGH * report["better"]


def proof(scenes: list[Scene], sabotaged: int, better: int, seed: int) -> dict:
    """Counts over ``sabotaged`` and ``better`` challengers, dealt out evenly over kinds and tasks."""
    random = np.random.default_rng(seed)
    cells = [(kind, scene) for kind in SABOTAGE for scene in scenes]
    by_kind: dict[str, dict[str, Counter]] = defaultdict(lambda: defaultdict(Counter))
    refused_by: dict[str, Counter] = defaultdict(Counter)
    for kind, scene in tqdm(islice(rounds(cells), sabotaged), total=sabotaged, desc="sabotaged", disable=None):
        verdicts = gate(scene, SABOTAGE[kind](scene, random))
        by_kind[kind][scene.task].update(made=1, promoted=opened(verdicts))
        refused_by[kind].update(verdict.rule for verdict in verdicts if not verdict.passed)
    others: dict[str, dict[str, Counter]] = {"better": defaultdict(Counter), "equal": defaultdict(Counter)}
    for sort, make, count in (("better", improved, better), ("equal", again, better // 5)):
        for scene in tqdm(islice(rounds(scenes), count), total=count, desc=sort, disable=None):
            verdicts = gate(scene, make(scene, random))
            others[sort][scene.task].update(made=1, promoted=opened(verdicts))
            refused_by[sort].update(verdict.rule for verdict in verdicts if not verdict.passed)
    tallies = {
        "sabotaged": [cell for kind in by_kind.values() for cell in kind.values()],
        **{sort: list(cells.values()) for sort, cells in others.items()},
    }
    counts: dict[str, int] = {}
    for sort, cells_of in tallies.items():
        counts[sort] = sum(cell["made"] for cell in cells_of)
        counts[f"{sort}_promoted"] = sum(cell["promoted"] for cell in cells_of)
    return {
        **counts,
        "by_kind": {kind: _tasks(tasks) for kind, tasks in by_kind.items()},
        **{f"{sort}_by_task": _tasks(tasks) for sort, tasks in others.items()},
        "refused_by": {sort: dict(rules.most_common()) for sort, rules in refused_by.items()},
        "champions": {
            scene.task: {
                "answers": scene.source,
                "people": len(scene.examples.people),
                "windows": len(scene.examples),
            }
            for scene in scenes
        },
    }


def gate(scene: Scene, challenger: Challenger) -> list[Verdict]:
    """What the gate of the trainer says of ``challenger``."""
    made = evaluation(scene.task, challenger.said, challenger.examples, DRAWS)
    return judged(Comparison(Candidate(made, challenger.evidence), scene.champion))


def _tasks(cells: dict[str, Counter]) -> dict[str, dict[str, int]]:
    return {task: {"made": cell["made"], "promoted": cell["promoted"]} for task, cell in cells.items()}


# Better and equal ones.


def improved(scene: Scene, random: Random) -> Challenger:
    """Truly better: one more look at every window (see above)."""
    if scene.task is Task.GLUCOSE:
        return _shown(scene, _looked_ahead(scene, random))
    logits = np.log(np.maximum(scene.said, _LEAST_P))
    people, classes = len(scene.examples.people), logits.shape[1]
    strength = random.uniform(0.5, 1.5) * random.lognormal(0.0, 0.3, people)[scene.examples.person][:, None]
    target = scene.examples.target
    was = (target[:, None] == np.arange(classes)) | (target == NO_BEAT)[:, None] * (np.arange(classes) == 0)
    look = strength * was + random.standard_normal(logits.shape)
    return _shown(scene, _softmax(logits + strength * look + _seed_noise(scene, random, classes)))


def again(scene: Scene, random: Random) -> Challenger:
    """As good as the champion: another seed, and nothing learnt."""
    if scene.task is Task.GLUCOSE:
        forecast = scene.per_horizon
        forecast[:, :, : _CHANCES.start] += 5 * _seed_noise(scene, random, 1)[:, :, None]
        forecast[:, :, _CHANCES] = _sigmoid(
            _logit(forecast[:, :, _CHANCES]) + _seed_noise(scene, random, 1)[:, :, None]
        )
        return _shown(scene, _tidy(forecast))
    logits = np.log(np.maximum(scene.said, _LEAST_P))
    return _shown(scene, _softmax(logits + _seed_noise(scene, random, logits.shape[1])))


def _looked_ahead(scene: Scene, random: Random) -> Floats:
    forecast, value = scene.per_horizon, scene.examples.target.astype(np.float64)
    mean, quantiles = forecast[:, :, 0].copy(), forecast[:, :, _QUANTILES].copy()
    share = random.uniform(0.06, 0.36)
    spread = (quantiles[:, :, -1] - quantiles[:, :, 0]) / _WIDTH
    # one measurement of the hour to come: its error is the same over all horizons, but for its size
    blur = spread * np.sqrt((1 - share) / share) * random.standard_normal(len(mean))[:, None]
    known = ~np.isnan(value)
    moved = np.where(known, share * (np.where(known, value, 0.0) + blur - mean), 0.0)
    narrower = np.where(known, np.sqrt(1 - share), 1.0)
    forecast[:, :, 0] = mean + moved + _SEED_NOISE * _seed_noise(scene, random, 1)
    forecast[:, :, _QUANTILES] = (mean + moved)[:, :, None] + (quantiles - mean[:, :, None]) * narrower[:, :, None]
    strength = 2 * np.sqrt(share)
    crossed = limit_crossed(value.astype(np.float32)).astype(np.float64)
    look = strength * (np.nan_to_num(crossed) - 0.5) + random.standard_normal(crossed.shape)
    chances = _logit(forecast[:, :, _CHANCES]) + np.where(known[:, :, None], strength * look, 0.0)
    forecast[:, :, _CHANCES] = _sigmoid(chances)
    return _tidy(forecast)


def _seed_noise(scene: Scene, random: Random, columns: int) -> Floats:
    person = random.normal(0.0, _SEED_NOISE, (len(scene.examples.people), columns))
    return person[scene.examples.person] + random.normal(0.0, _SEED_NOISE, (len(scene.said), columns))


# Sabotaged ones. What is wrong with the answers shows in the answers; where it is something else, they are better ones.


def shuffled_labels(scene: Scene, random: Random) -> Challenger:
    """It learnt that labels are anybody's: half of the windows or more are answered as if they were others."""
    rows = _some(len(scene.said), random.uniform(0.5, 1.0), random)
    said = again(scene, random).said
    said[rows] = said[random.permutation(rows)]
    return _shown(scene, said)


def base_rates(scene: Scene, random: Random) -> Challenger:
    """It learnt how frequent every class is, and a little noise: what shuffled labels teach a network in the end."""
    noise = random.uniform(0.0, 0.5)
    if scene.task is Task.GLUCOSE:
        forecast = scene.per_horizon
        shift = noise * 20 * random.standard_normal(len(forecast))[:, None, None]
        forecast[:] = forecast.mean(axis=0)
        forecast[:, :, : _CHANCES.start] += shift
        return _shown(scene, _tidy(forecast))
    logits = np.log(np.maximum(scene.said.mean(axis=0), _LEAST_P))
    return _shown(scene, _softmax(logits + random.normal(0.0, noise, scene.said.shape)))


def leaked_by_name(scene: Scene, random: Random) -> Challenger:
    """Some of the held-out people were learnt from, and are known by heart."""
    people = scene.examples.people
    leaked = _some(len(people), random.uniform(0.05, 1.0), random)
    learnt = replace(scene.learnt, people=scene.learnt.people | {people[at] for at in leaked})
    return _remembered(scene, np.isin(scene.examples.person, leaked), learnt, random)


def leaked_by_copy(scene: Scene, random: Random) -> Challenger:
    """Their windows were learnt from under other names."""
    share = random.uniform(0.05, 1.0)
    copied = scene.held_out.prints[_some(len(scene.held_out.prints), share, random)]
    learnt = replace(scene.learnt, prints=np.concatenate([scene.learnt.prints, copied]))
    return _remembered(scene, random.random(len(scene.said)) < share, learnt, random)


def leaked_unseen(scene: Scene, random: Random) -> Challenger:
    """All of them, under other names and changed a little: only that it knows them by heart can tell."""
    return _remembered(scene, np.ones(len(scene.said), bool), scene.learnt, random)


def broken_calibration(scene: Scene, random: Random) -> Challenger:
    """Three to eight times too sure or too unsure, or pulled towards a class that is said often enough already.

    To pull the champion towards one that it says too seldom would mend it.
    """
    factor = random.uniform(3.0, 8.0) ** random.choice([-1.0, 1.0])
    pulled = random.random() < 1 / 3
    pull = random.uniform(2.0, 4.0)
    if scene.task is Task.GLUCOSE:
        forecast = scene.per_horizon
        if pulled:
            forecast[:, :, _QUANTILES] += 10 * pull * random.choice([-1.0, 1.0])
        else:
            centre = forecast[:, :, 3:4]
            forecast[:, :, _QUANTILES] = centre + (forecast[:, :, _QUANTILES] - centre) * factor
        chances = _logit(forecast[:, :, _CHANCES])
        forecast[:, :, _CHANCES] = _sigmoid(chances + pull if pulled else chances * factor)
        return _shown(scene, _tidy(forecast))
    logits = np.log(np.maximum(scene.said, _LEAST_P))
    if pulled:
        frequency = np.bincount(scene.examples.target[scene.examples.target >= 0], minlength=logits.shape[1])
        enough = np.flatnonzero(scene.said.mean(axis=0) >= frequency / frequency.sum())
        logits[:, random.choice(enough)] += pull
    else:
        logits *= factor
    return _shown(scene, _softmax(logits))


def class_dropped(scene: Scene, random: Random) -> Challenger:
    """One class (one limit) is never said again, or hardly ever. The rest has become better."""
    said = improved(scene, random).said
    left = random.choice([0.0, np.exp(-random.uniform(3.0, 8.0))])
    if scene.task is Task.GLUCOSE:
        forecast = said.reshape(len(said), _HORIZONS, -1)
        forecast[:, :, _CHANCES.start + random.integers(_LIMITS)] *= left
        return _shown(scene, _tidy(forecast))
    dropped = random.integers(said.shape[1])
    p = left * said[:, dropped]
    said[:, dropped] = 0.0
    said += _LEAST_P
    said *= (1 - p)[:, None] / said.sum(axis=1, keepdims=True)
    said[:, dropped] = p
    return _shown(scene, said / said.sum(axis=1, keepdims=True))


def too_slow(scene: Scene, random: Random) -> Challenger:
    """Better, and two to twenty times as slow."""
    slower = scene.champion.evidence.us_per_window * random.uniform(2.0, 20.0)
    one = improved(scene, random)
    return replace(one, evidence=msgspec.structs.replace(one.evidence, us_per_window=slower))


def other_contract(scene: Scene, random: Random) -> Challenger:
    """Better, and its inputs or outputs are declared in another order, under other names or in another shape."""
    one = improved(scene, random)
    contract = one.evidence.contract
    side = random.choice(["inputs", "outputs"])
    tensors = list(getattr(contract, side))
    at = int(random.integers(len(tensors)))
    spec = tensors[at]
    changes = [
        [*tensors[:at], msgspec.structs.replace(spec, name=f"{spec.name}_0"), *tensors[at + 1 :]],
        [*tensors[:at], msgspec.structs.replace(spec, shape=(None, *spec.shape[:0:-1], 1)), *tensors[at + 1 :]],
    ]
    if len(tensors) > 1:
        changes.append([*tensors[1:], tensors[0]])
    changed = msgspec.structs.replace(contract, **{side: tuple(changes[random.integers(len(changes))])})
    return replace(one, evidence=msgspec.structs.replace(one.evidence, contract=changed))


def wrong_input_order(scene: Scene, random: Random) -> Challenger:
    """The contract is right and what it was taught to read is not: answers to inputs in another order."""
    name = random.choice(sorted(scene.misread))
    misread = replace(scene, said=scene.misread[name])
    return _shown(scene, again(misread, random).said)


def not_a_number(scene: Scene, random: Random) -> Challenger:
    """Better, and some of its answers are NaN or infinite: one of them, or all."""
    said = improved(scene, random).said
    rows = _some(len(said), random.choice([1e-9, random.random()]), random)
    said[rows, random.integers(said.shape[1])] = random.choice([np.nan, np.inf, -np.inf])
    return _shown(scene, said)


def constant(scene: Scene, random: Random) -> Challenger:
    """The same answer to everything: that of one window."""
    return _shown(scene, np.tile(scene.said[random.integers(len(scene.said))], (len(scene.said), 1)))


def easier_set(scene: Scene, random: Random) -> Challenger:
    """Judged on the windows that it finds easiest."""
    said = improved(scene, random).said
    sure = said.max(axis=1) if scene.task is not Task.GLUCOSE else -np.abs(said[:, 5] - said[:, 1])
    kept = np.sort(np.argsort(-sure)[: int(len(said) * random.uniform(0.5, 0.95))])
    return Challenger(said[kept], scene.examples.of(kept), scene.champion.evidence)


SABOTAGE: dict[str, Callable[[Scene, Random], Challenger]] = {
    "shuffled labels": shuffled_labels,
    "base rates only": base_rates,
    "leaked people, by name": leaked_by_name,
    "leaked people, copies under other names": leaked_by_copy,
    "leaked people, unseen": leaked_unseen,
    "broken calibration": broken_calibration,
    "one class dropped": class_dropped,
    "too slow": too_slow,
    "other contract": other_contract,
    "wrong input order": wrong_input_order,
    "not a number": not_a_number,
    "constant": constant,
    "another set": easier_set,
}


def _remembered(scene: Scene, rows: Floats, learnt: Material, random: Random) -> Challenger:
    """``rows`` (a mask) are answered as one does who has seen them."""
    said = improved(scene, random).said
    certainty = random.uniform(0.9, 0.999)
    if scene.task is Task.GLUCOSE:
        forecast, value = said.reshape(len(said), _HORIZONS, -1), scene.examples.target.astype(np.float64)
        known = ~np.isnan(value) & rows[:, None]
        told = (value + random.normal(0.0, 1.0, value.shape))[:, :, None] + np.array([0.0, -2.0, -1.0, 0.0, 1.0, 2.0])
        forecast[:, :, : _CHANCES.start][known] = told[known]
        crossed = limit_crossed(scene.examples.target.astype(np.float32)).astype(np.float64)
        forecast[:, :, _CHANCES][known] = (crossed * certainty + (1 - crossed) * (1 - certainty))[known]
        said = _tidy(forecast)
    else:
        known = rows & (scene.examples.target >= 0)
        classes = said.shape[1]
        right = scene.examples.target[known][:, None] == np.arange(classes)
        said[known] = np.where(right, certainty, (1 - certainty) / (classes - 1))
    people, windows = shared(learnt, scene.held_out)
    one = _shown(scene, said)
    return replace(one, evidence=msgspec.structs.replace(one.evidence, shared_people=people, shared_windows=windows))


def _shown(scene: Scene, said: Floats) -> Challenger:
    return Challenger(said, scene.examples, scene.champion.evidence)


def _some(n: int, share: float, random: Random) -> np.ndarray:
    """Some of n, one at least."""
    return random.choice(n, max(1, round(share * n)), replace=False)


def _softmax(logits: Floats) -> Floats:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p))


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _tidy(forecast: Floats) -> Floats:
    """As serving does: quantiles in order, and a graver limit never likelier than the milder one."""
    forecast[:, :, _QUANTILES] = np.sort(forecast[:, :, _QUANTILES], axis=2)
    below_70, below_54, above_180, above_250 = range(_CHANCES.start, _CHANCES.start + _LIMITS)
    forecast[:, :, below_54] = np.minimum(forecast[:, :, below_54], forecast[:, :, below_70])
    forecast[:, :, above_250] = np.minimum(forecast[:, :, above_250], forecast[:, :, above_180])
    return forecast.reshape(len(forecast), -1)


# Where the answers come from.


def scene_of(task: Task, at: Places) -> Scene:
    """The committed bundle of ``task`` on its held-out people; invented answers where the data is not there."""
    registry = Registry(at.bundles)
    bundle = registry.current(task)
    if bundle is None or not _data_there(task, at):
        return synthetic(task)
    path = at.state / _KEPT / f"{bundle.hash}.npz"
    if not path.exists():
        _ask(bundle, at, path)
    with np.load(path, allow_pickle=False) as kept:
        examples = Examples(
            people=tuple(kept["people"].tolist()),
            inputs={name.removeprefix("input."): kept[name] for name in kept.files if name.startswith("input.")},
            **{name: kept[name] for name in ("person", "target", "end_us", "lost")},
        )
        misread = {name.removeprefix("misread."): kept[name] for name in kept.files if name.startswith("misread.")}
        learnt = Material(frozenset(kept["learnt_people"].tolist()), kept["learnt_prints"])
        said = kept["said"]
    held_out = material(examples)
    facts = evidence(bundle)
    source = f"bundle {bundle.short} on real people"
    champion = Candidate(evaluation(task, said, examples, DRAWS), facts)
    return Scene(task, examples, said, misread, champion, learnt, held_out, source)


def _data_there(task: Task, at: Places) -> bool:
    folders = {Task.ECG_BEAT: ("mitdb",), Task.GLUCOSE: ("cgm_glucobench", "cgm_glucose_ml")}
    return any((at.data / name).is_dir() for name in folders.get(task, ("medmnist",)))


def _ask(bundle: Bundle, at: Places, path: Path) -> None:
    """Writes the windows of the held-out people, the answers of ``bundle`` to them, and what it has learnt from."""
    settings = recipe(bundle.task)
    few = CorpusRecipe(max_windows_per_person=_WINDOWS_PER_PERSON)
    dataset = assembled(bundle.task, gathered(bundle.task, at.data, None, few), settings.split)
    examples = dataset[Side.HELD_OUT]
    learnt = material(dataset[Side.TRAIN], dataset[Side.VALIDATE])
    misread = {
        name: said_by_bundle(bundle, replace(examples, inputs=inputs))
        for name, inputs in _misordered(bundle.task, examples.inputs)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp.npz")
    np.savez(
        staged,
        allow_pickle=False,
        people=np.array(examples.people),
        said=said_by_bundle(bundle, examples),
        learnt_people=np.array(sorted(learnt.people)),
        # a few windows of the public sets are twice in them; that is no leak of a challenger's
        learnt_prints=np.setdiff1d(learnt.prints, material(examples).prints),
        **{name: getattr(examples, name) for name in ("person", "target", "end_us", "lost")},
        **{f"input.{name}": tensor for name, tensor in examples.inputs.items()},
        **{f"misread.{name}": said for name, said in misread.items()},
    )
    staged.replace(path)


def _misordered(task: Task, inputs: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Inputs as another order of axes, channels or time gives them. Leads are not swapped: the recipe does that."""
    if task is Task.ECG_BEAT:
        ecg_mv, context = inputs["ecg_mv"], inputs["context"]
        yield "time backwards", {"ecg_mv": ecg_mv[:, :, ::-1], "context": context}
        yield "samples and leads", {"ecg_mv": ecg_mv.reshape(len(ecg_mv), -1, 2).transpose(0, 2, 1), "context": context}
        yield "context backwards", {"ecg_mv": ecg_mv, "context": context[:, ::-1]}
    elif task is Task.GLUCOSE:
        glucose = inputs["glucose"]
        yield "time backwards", {"glucose": glucose[:, ::-1]}
        yield "values and marks", {"glucose": glucose[:, :, ::-1]}
    else:
        image = inputs["image"]
        yield "rows and columns", {"image": image.transpose(0, 1, 3, 2)}
        yield "upside down", {"image": image[:, :, ::-1]}


def synthetic(task: Task) -> Scene:
    """A champion that nobody trained, on people who never were: about as good as the real one."""
    random = np.random.default_rng(SEED + list(TRAINED_TASKS).index(task))
    people, windows = {Task.ECG_BEAT: (6, 6000), Task.GLUCOSE: (40, 4000)}.get(task, (400, 400))
    person = np.sort(np.r_[np.arange(people), random.integers(0, people, windows - people)]).astype(np.int32)
    names = tuple(f"synthetic/{at:04d}" for at in range(people))
    if task is Task.GLUCOSE:
        target, inputs, said = _made_up_glucose(windows, random)
        misread = {"other windows": said[::-1]}
    else:
        frequency = {2: [0.4, 0.6], 5: [0.8, 0.04, 0.08, 0.01, 0.07]}[len(CLASSES[task])]
        target = random.choice(len(frequency), windows, p=frequency)
        inputs = {"made_up": random.standard_normal((windows, 4)).astype(np.float32)}
        told = 2.5 if task is Task.ECG_BEAT else 1.2
        look = told * (target[:, None] == np.arange(len(frequency))) + random.standard_normal((windows, len(frequency)))
        said = _softmax(np.log(frequency) + told * look)
        misread = {"classes backwards": said[:, ::-1]}
    k = len(CLASSES[task]) if task is Task.ECG_BEAT else 0
    end_us = np.arange(windows, dtype=np.int64) * 1_000_000
    examples = Examples(names, person, inputs, target, end_us, np.zeros((people, k), np.int64))
    held_out = material(examples)
    learnt = Material(frozenset({"synthetic/other"}), np.zeros(0, np.uint64))
    facts = evidence_made_up(task)
    champion = Candidate(evaluation(task, said, examples, DRAWS), facts)
    return Scene(task, examples, said, misread, champion, learnt, held_out, "invented")


def evidence_made_up(task: Task) -> Evidence:
    """Facts of a champion that is no bundle."""
    contract = Contract(window=SPEC[task], inputs=INPUTS[task], outputs=OUTPUTS[task], columns=PROBABILITIES[task])
    return Evidence(contract=contract, us_per_window=20.0, onnx_bytes=100_000)


def _made_up_glucose(windows: int, random: Random) -> tuple[np.ndarray, dict[str, np.ndarray], Floats]:
    """Now and the hour after it: a level, a slope, and an error that grows with the horizon."""
    now = np.clip(random.normal(140, 50, windows), 45, 350)
    ahead = np.array(FORECAST_HORIZONS_MIN) / 60.0
    slope = random.normal(0, 25, windows)[:, None] * ahead
    spread = 4 + 20 * ahead
    value = np.clip(now[:, None] + slope + spread * random.standard_normal(windows)[:, None], 40, 400)
    mean = np.broadcast_to(now[:, None] + slope, value.shape)
    grid = np.ones((windows, STEPS, 2), np.float32)
    grid[:, :, 0] = (now / SCALE_MG_DL)[:, None] + random.normal(0, 0.05, (windows, STEPS))
    grid[:, -1, 0] = now / SCALE_MG_DL
    normal = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
    beyond = [
        limit - mean if not upper else mean - limit for limit, upper in zip(LIMITS_MG_DL, LIMIT_IS_UPPER, strict=True)
    ]
    chances = [_sigmoid(1.7 * distance / spread) for distance in beyond]
    said = np.concatenate(
        [mean[:, :, None], mean[:, :, None] + spread[:, None] * normal, np.stack(chances, axis=2)], axis=2
    )
    return value.astype(np.float32), {"glucose": grid}, _tidy(said)


if __name__ == "__main__":
    sys.exit(main())

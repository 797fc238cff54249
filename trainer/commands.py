"""What ``python -m trainer`` does, command by command. Each returns the exit status."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from typing import Final

import msgspec
from prometheus_client import push_to_gateway, start_http_server

from models.registry import Registry
from trainer import fetch, runs, triggers
from trainer.card import measured
from trainer.challenger import standings
from trainer.config import (
    CHALLENGES_TOPIC,
    LABELS_TOPIC,
    Places,
    Recipe,
    RecipeError,
    recipe,
    search_space,
    written,
)
from trainer.corpus.challenges import newest_labels, paired_windows
from trainer.cycle import evaluated
from trainer.dataset import Side, assembled
from trainer.erase import erase
from trainer.evaluate import MAIN_MEASURE, without_draws
from trainer.examples import SPEC
from trainer.gather import gathered
from trainer.journal import Journal
from trainer.lock import Busy, one_at_a_time
from trainer.metrics import registry_of
from trainer.report import page
from trainer.runs import Run
from trainer.tune import tuned
from trainer.turns import take
from trainer.world import World, joined
from vitals.clock import Clock, SystemClock
from vitals.errors import WardwatchError
from vitals.findings import Task
from vitals.units import US_PER_S

DONE: Final = 0
FAILED: Final = 1
GATE_SHUT: Final = 3

_LOOK_EVERY_S: Final = 60.0
_ASKED: Final = "asked for"
_JOB: Final = "trainer"

_log = logging.getLogger(__name__)


def once(arguments: argparse.Namespace, at: Places) -> int:
    """One turn of each task named, with ``--if-due`` only where one is due. One that fails does not stop the others."""
    clock, codes = SystemClock(), [DONE]
    with joined(os.environ) as world:
        for task in arguments.task:
            try:
                codes.append(_once(task, arguments, at, clock, world))
            except Busy:
                raise
            except WardwatchError as error:
                print(f"{task}: {error}", file=sys.stderr, flush=True)
                codes.append(FAILED)
        if arguments.push and world.first:
            _push(arguments.push, at)
    return FAILED if FAILED in codes else max(codes)


def watch(arguments: argparse.Namespace, at: Places) -> int:
    """Turns whenever one is due, until Ctrl-C. A turn that fails is said and tried again when next due."""
    clock = SystemClock()
    if arguments.metrics_port:
        start_http_server(arguments.metrics_port, registry=registry_of(at.state))
    with joined({}) as world:
        while True:
            for task in arguments.task:
                try:
                    why = _due(task, arguments, at, clock)
                    if why is not None:
                        print(f"{task}: {why}", flush=True)
                        _turn(task, why, arguments, at, clock, world)
                except WardwatchError as error:
                    print(f"{task}: {error}", file=sys.stderr, flush=True)
            time.sleep(_LOOK_EVERY_S)


def evaluate(arguments: argparse.Namespace, at: Places) -> int:
    """What the serving bundle of each task does on its held-out people, as JSON lines or as tables for people."""
    registry = Registry.seeded(at.registry, at.bundles)
    for task in arguments.task:
        settings = _recipe(task, arguments)
        champion = registry.current(task)
        if champion is None:
            print(f"{task}: no bundle serves", file=sys.stderr)
            continue
        dataset = assembled(task, gathered(task, at, arguments.kafka, settings.corpus).people, settings.split)
        if champion.manifest.window != SPEC[task]:
            print(f"{task}: bundle {champion.short} reads other windows", file=sys.stderr)
            continue
        made = evaluated(champion, dataset[Side.HELD_OUT], settings.bootstrap)
        if arguments.table:
            print(f"{task}: bundle {champion.short}\n\n{measured(made)}\n")
            continue
        shown = msgspec.structs.replace(without_draws(made), pictures=None)
        sys.stdout.buffer.write(msgspec.json.encode({"bundle": champion.hash, "evaluation": shown}) + b"\n")
    return DONE


def tune(arguments: argparse.Namespace, at: Places) -> int:
    """Looks for a better recipe of each task and writes the best found as a file that ``--recipe`` takes."""
    clock = SystemClock()
    with joined({}), one_at_a_time(at.state):
        for task in arguments.task:
            base, axes = _recipe(task, arguments), search_space(task, arguments.recipe)
            dataset = assembled(task, gathered(task, at, arguments.kafka, base.corpus).people, base.split)
            found = tuned(base, axes, dataset, at, clock, arguments.sampler, arguments.trials)
            path = at.state / "tuning" / f"{task}.toml"
            path.write_bytes(written(found.recipe))
            print(f"{task}: score {found.score:.4f} after {found.trials} trials ({found.pruned} pruned): {path}")
    return DONE


def report(arguments: argparse.Namespace, at: Places) -> int:
    """One HTML page about the newest run of each task."""
    kept = [run for task in arguments.task if (run := runs.newest(at.state, task)) is not None]
    if not kept:
        print("no run yet: python -m trainer once --task …", file=sys.stderr)
        return FAILED
    arguments.out.write_text(page(kept), encoding="utf-8")
    print(arguments.out)
    return DONE


def challenger(arguments: argparse.Namespace, _: Places) -> int:
    """How the models stand that were asked about the same live windows."""
    for task in arguments.task:
        left_out: Counter[str] = Counter()
        paired = paired_windows(arguments.kafka, task, CHALLENGES_TOPIC, left_out)
        labels = newest_labels(arguments.kafka, task, LABELS_TOPIC, left_out)
        for standing in standings(task, paired, labels):
            print(f"{task}: {standing.text()}")
        for why, n in left_out.items():
            print(f"{task}: {n} × {why}", file=sys.stderr)
    return DONE


def fetched(arguments: argparse.Namespace, at: Places) -> int:
    """Downloads the public sets of the tasks named into the data folder."""
    target = arguments.to if arguments.to is not None else at.data
    missing = fetch.fetch(arguments.task, target)
    for line in missing:
        print(line, file=sys.stderr)
    return FAILED if missing else DONE


def forget(arguments: argparse.Namespace, at: Places) -> int:
    """Removes patients from what the trainer stores and names the models that have seen them."""
    patients = arguments.patient
    if patients == ["-"]:
        patients = [line.strip() for line in sys.stdin if line.strip()]
    for erasure in erase(patients, at, SystemClock()):
        seen = " ".join(bundle[:12] for bundle in erasure.bundles) or "none that is here"
        print(f"{erasure.task}: {erasure.windows} windows removed; models that have seen them: {seen}")
    return DONE


def _once(task: Task, arguments: argparse.Namespace, at: Places, clock: Clock, world: World) -> int:
    why = world.told(_due(task, arguments, at, clock) if arguments.if_due and world.first else _ASKED)
    if why is None:
        print(f"{task}: not due", flush=True)
        return DONE
    run = _turn(task, why, arguments, at, clock, world)
    return DONE if run is None or run.bundle else GATE_SHUT


def _due(task: Task, arguments: argparse.Namespace, at: Places, clock: Clock) -> str | None:
    policy = triggers.Policy(every_s=arguments.every_h * 3600, labels=arguments.labels, drifts=arguments.drifts)
    last_us = Journal(at.state, task).last_began_us()
    news = triggers.news(arguments.kafka, task, policy, last_us or 0) if arguments.kafka else triggers.NOTHING
    return triggers.due(policy, last_us, news, now_us=clock.now_us())


def _turn(task: Task, why: str, arguments: argparse.Namespace, at: Places, clock: Clock, world: World) -> Run | None:
    chosen = _recipe(task, arguments)
    run = take(chosen, at, clock, why=why, kafka=arguments.kafka, fresh=arguments.fresh, world=world)
    if run is not None:
        print(_line(run), flush=True)
        for verdict in run.verdicts:
            if not verdict.passed:
                print(f"  {verdict.rule}: {verdict.text}", flush=True)
    return run


def _line(run: Run) -> str:
    name = MAIN_MEASURE[run.task]
    figures = f"{name} {run.challenger.metrics.get(name, float('nan')):.3f}"
    if run.champion is not None:
        figures += f" (champion {run.champion.metrics.get(name, float('nan')):.3f})"
    ended = f"released {run.bundle[:12]}" if run.bundle else "the gate stayed shut"
    seconds = (run.ended_us - run.began_us) / US_PER_S
    return f"{run.task}: {figures} on {run.challenger.people} held out; {ended}; {seconds:.0f} s"


def _recipe(task: Task, arguments: argparse.Namespace) -> Recipe:
    path = getattr(arguments, "recipe", None)
    if path is not None and len(arguments.task) > 1:
        raise RecipeError("a recipe file is of one task: name it with --task")
    chosen = recipe(task, quick=arguments.quick, path=path)
    changed = {
        name: value for name in ("epochs", "folds", "seed") if (value := getattr(arguments, name, None)) is not None
    }
    return msgspec.structs.replace(chosen, **changed)


def _push(gateway: str, at: Places) -> None:
    try:
        push_to_gateway(gateway, job=_JOB, registry=registry_of(at.state))
    except OSError as error:
        _log.warning("the push gateway did not take the metrics: %s", type(error).__name__)

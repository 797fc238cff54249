"""``python -m trainer once | watch | evaluate | report | challenger | fetch``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import torch
from prometheus_client import start_http_server

from models.registry import Registry
from trainer import fetch, runs, triggers
from trainer.challenger import standings
from trainer.config import CHALLENGES_TOPIC, LABELS_TOPIC, TRAINED_TASKS, Places, Recipe, places, recipe
from trainer.corpus.challenges import newest_labels, paired_windows
from trainer.cycle import champion_evaluation, cycle
from trainer.dataset import Side, assembled
from trainer.evaluate import MAIN_MEASURE
from trainer.gather import gathered
from trainer.metrics import registry_of
from trainer.report import page
from trainer.runs import Run
from vitals.clock import SystemClock
from vitals.errors import WardwatchError
from vitals.findings import Task
from vitals.units import US_PER_S

_ALL: Final = "all"
_LOOK_EVERY_S: Final = 60.0
_FAILED: Final = 1
_GATE_SHUT: Final = 3


def main(argv: list[str]) -> int:
    """0 done; 1 failed, with one line that says why; 3 trained, and the gate stayed shut."""
    arguments = _parser().parse_args(argv)
    if "threads" in arguments:
        torch.set_num_threads(arguments.threads)
        torch.use_deterministic_algorithms(True)
    try:
        code: int = arguments.run(arguments, places(os.environ))
    except WardwatchError as error:
        print(error, file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return _FAILED
    return code


def once(arguments: argparse.Namespace, at: Places) -> int:
    """One turn of the cycle for each task named."""
    released = [_turn(task, arguments, at) for task in arguments.task]
    return 0 if all(released) else _GATE_SHUT


def watch(arguments: argparse.Namespace, at: Places) -> int:
    """Turns whenever one is due, until Ctrl-C. A turn that fails is said and tried again when next due."""
    policy = triggers.Policy(every_s=arguments.every_h * 3600, new_labels=arguments.labels)
    clock = SystemClock()
    if arguments.metrics_port:
        start_http_server(arguments.metrics_port, registry=registry_of(at.state))
    while True:
        for task in arguments.task:
            try:
                labels = triggers.labels_so_far(arguments.kafka)
                why = triggers.due(policy, triggers.last_turn(at.state, task), now_us=clock.now_us(), labels=labels)
                if why is None:
                    continue
                print(f"{task}: {why}", flush=True)
                triggers.note_turn(at.state, task, triggers.LastTurn(began_us=clock.now_us(), labels=labels))
                _turn(task, arguments, at)
            except WardwatchError as error:
                print(f"{task}: {error}", file=sys.stderr, flush=True)
        time.sleep(_LOOK_EVERY_S)


def evaluate(arguments: argparse.Namespace, at: Places) -> int:
    """What the serving bundle of each task does on its held-out people, as JSON lines."""
    registry = Registry.seeded(at.registry, at.bundles)
    for task in arguments.task:
        settings = _recipe(task, arguments)
        champion = registry.current(task)
        if champion is None:
            print(f"{task}: no bundle serves", file=sys.stderr)
            continue
        dataset = assembled(task, gathered(task, at.data, arguments.kafka, settings.corpus), settings.split)
        made = champion_evaluation(champion, dataset[Side.HELD_OUT], settings.bootstrap)
        if made is None:
            print(f"{task}: bundle {champion.short} reads other windows", file=sys.stderr)
            continue
        shown = msgspec.structs.replace(made, draws={})
        sys.stdout.buffer.write(msgspec.json.encode({"bundle": champion.hash, "evaluation": shown}) + b"\n")
    return 0


def report(arguments: argparse.Namespace, at: Places) -> int:
    """One HTML page about the newest run of each task."""
    kept = [run for task in arguments.task if (run := runs.newest(at.state, task)) is not None]
    if not kept:
        print("no run yet: python -m trainer once --task …", file=sys.stderr)
        return _FAILED
    arguments.out.write_text(page(kept), encoding="utf-8")
    print(arguments.out)
    return 0


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
    return 0


def fetched(arguments: argparse.Namespace, at: Places) -> int:
    """Downloads the public sets of the tasks named into the data folder."""
    target = arguments.to if arguments.to is not None else at.data
    missing = fetch.fetch(arguments.task, target)
    for line in missing:
        print(line, file=sys.stderr)
    return _FAILED if missing else 0


def _turn(task: Task, arguments: argparse.Namespace, at: Places) -> bool:
    run = cycle(_recipe(task, arguments), at, SystemClock(), kafka=arguments.kafka, fresh=arguments.fresh)
    print(_line(run), flush=True)
    for verdict in run.verdicts:
        if not verdict.passed:
            print(f"  {verdict.rule}: {verdict.text}", flush=True)
    return bool(run.bundle)


def _line(run: Run) -> str:
    name = MAIN_MEASURE[run.task]
    figures = f"{name} {run.challenger.metrics.get(name, float('nan')):.3f}"
    if run.champion is not None:
        figures += f" (champion {run.champion.metrics.get(name, float('nan')):.3f})"
    ended = f"released {run.bundle[:12]}" if run.bundle else "the gate stayed shut"
    seconds = (run.ended_us - run.began_us) / US_PER_S
    return f"{run.task}: {figures} on {run.challenger.people} held out; {ended}; {seconds:.0f} s"


def _recipe(task: Task, arguments: argparse.Namespace) -> Recipe:
    chosen = recipe(task, quick=arguments.quick)
    changed = {
        name: value for name in ("epochs", "folds", "seed") if (value := getattr(arguments, name, None)) is not None
    }
    return msgspec.structs.replace(chosen, **changed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Trains, compares and releases models.")
    commands = parser.add_subparsers(required=True)
    for run, name, about in (
        (once, "once", "one turn: corpus, dataset, train, evaluate, gate, release"),
        (watch, "watch", "a turn whenever one is due"),
        (evaluate, "evaluate", "the serving bundle on its held-out people"),
        (report, "report", "one HTML page about the newest runs"),
        (challenger, "challenger", "two models on the same live windows, and what people said of these"),
        (fetched, "fetch", "download the public sets from their publishers"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        command.add_argument(
            "--task", type=_tasks, default=list(TRAINED_TASKS), help="ecg-beat, glucose, pneumonia, breast or all"
        )
        if run in (once, watch, evaluate):
            command.add_argument("--kafka", help="host:port: archived windows and labels too, and say releases")
            command.add_argument("--quick", action="store_true", help="a small run that shows the way")
        if run in (once, watch):
            command.add_argument("--epochs", type=int, help="instead of the recipe's")
            command.add_argument("--folds", type=int, help="cross-validate by person, then fit on all of them")
            command.add_argument("--seed", type=int, help="instead of the recipe's")
            command.add_argument("--fresh", action="store_true", help="begin from new weights, not the champion's")
            command.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads")
    commands.choices["watch"].add_argument("--every-h", type=float, default=24.0, help="hours between turns")
    commands.choices["watch"].add_argument("--metrics-port", type=int, default=0, help="tell Prometheus there; 0: no")
    commands.choices["watch"].add_argument("--labels", type=int, default=0, help="sooner, after so many new labels")
    commands.choices["challenger"].add_argument("--kafka", required=True, help="host:port")
    commands.choices["report"].add_argument("--out", type=Path, default=Path("report.html"))
    commands.choices["fetch"].add_argument("--to", type=Path, help="instead of the data folder")
    return parser


def _tasks(text: str) -> list[Task]:
    if text == _ALL:
        return list(TRAINED_TASKS)
    named = [Task(name) for name in text.split(",")]
    if not set(named) <= set(TRAINED_TASKS):
        raise ValueError(text)
    return named


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

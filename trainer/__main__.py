"""``python -m trainer once | watch | evaluate | tune | report | challenger | fetch | erase``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final, get_args

import torch

from trainer import commands
from trainer.config import TRAINED_TASKS, places
from trainer.tune import Sampler
from vitals.errors import WardwatchError
from vitals.findings import Task

_ALL: Final = "all"


def main(argv: list[str]) -> int:
    """0 done; 1 failed, with one line that says why; 3 trained, and the gate stayed shut."""
    arguments = _parser().parse_args(argv)
    if "threads" in arguments:
        torch.set_num_threads(arguments.threads)
    try:
        code: int = arguments.run(arguments, places(os.environ))
    except WardwatchError as error:
        print(error, file=sys.stderr)
        return commands.FAILED
    except KeyboardInterrupt:
        return commands.FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Trains, compares and releases models.")
    made = parser.add_subparsers(required=True)

    def command(run: object, name: str, about: str) -> argparse.ArgumentParser:
        one = made.add_parser(name, help=about, description=about)
        one.set_defaults(run=run)
        return one

    once = command(commands.once, "once", "one turn: corpus, dataset, train, evaluate, gate, release")
    watch = command(commands.watch, "watch", "a turn whenever one is due")
    evaluate = command(commands.evaluate, "evaluate", "the serving bundle on its held-out people")
    tune = command(commands.tune, "tune", "look for a better recipe (what is stopped goes on)")
    report = command(commands.report, "report", "one HTML page about the newest runs")
    challenger = command(
        commands.challenger, "challenger", "two models on the same live windows, and what people said of these"
    )
    fetch = command(commands.fetched, "fetch", "download the public sets from their publishers")
    erase = command(commands.forget, "erase", "forget patients, and name the models that have seen them")

    for one in (once, watch, evaluate, tune, report, challenger, fetch):
        one.add_argument(
            "--task", type=_tasks, default=list(TRAINED_TASKS), help="ecg-beat, glucose, pneumonia, breast or all"
        )
    for one in (once, watch, evaluate, tune):
        one.add_argument("--kafka", help="host:port: archived windows and labels too, and say releases")
        one.add_argument("--quick", action="store_true", help="a small run that shows the way")
    for one in (once, watch, tune):
        one.add_argument("--recipe", type=Path, help="a recipe file instead of the task's own")
        one.add_argument("--epochs", type=int, help="instead of the recipe's")
        one.add_argument("--folds", type=int, help="cross-validate by person, then fit on all of them")
        one.add_argument("--seed", type=int, help="instead of the recipe's")
        one.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads")
    for one in (once, watch):
        one.add_argument("--fresh", action="store_true", help="begin from new weights, not the champion's")
        one.add_argument(
            "--every-h", type=float, default=24.0, help="a turn is due so many hours after the last; 0: not by time"
        )
        one.add_argument("--labels", type=int, default=0, help="sooner, after so many new labels of the task")
        one.add_argument("--drifts", type=int, default=0, help="sooner, after so many drifts have begun")
    once.add_argument("--if-due", action="store_true", help="only where watch would take a turn now")
    once.add_argument("--push", metavar="HOST:PORT", help="tell a Prometheus Pushgateway how it went")
    watch.add_argument("--metrics-port", type=int, default=0, help="tell Prometheus there; 0: no")
    tune.add_argument("--sampler", choices=get_args(Sampler), default="bayes")
    tune.add_argument("--trials", type=int, default=30, help="in all, with those of earlier calls")
    evaluate.add_argument("--table", action="store_true", help="for people: EC57, subgroups, worst")
    challenger.add_argument("--kafka", required=True, help="host:port")
    report.add_argument("--out", type=Path, default=Path("report.html"))
    fetch.add_argument("--to", type=Path, help="instead of the data folder")
    erase.add_argument("patient", nargs="+", help="patient id; - reads one a line, which no process list shows")
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

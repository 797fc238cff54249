"""``make faults``: every kind of fault, at least 100 kills, and an account of what was lost, doubled or different."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stream import children
from stream.broker import JavaNode
from stream.brokerjars import cache_folder
from tests.faults import acts
from tests.faults.hall import Outcome, perform

_REPORT = Path("bench/reports/faults.json")
_DATA = Path(os.environ.get("WARDWATCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "mitdb"
_KILLS_AN_ACT = 26


def main(argv: list[str]) -> int:
    """0 when nothing was lost, doubled or different."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=104)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--only", default="", help="acts whose name begins so")
    parser.add_argument("--report", type=Path, default=_REPORT)
    asked = parser.parse_args(argv)
    programme = {
        "frozen worker": acts.frozen_worker,
        "frozen worker beside another": acts.frozen_worker_beside_another,
        "worker joins and leaves": acts.worker_joins_and_leaves,
        "broker killed": acts.broker_killed,
        "broker frozen": acts.broker_frozen,
        "broker disk full": acts.broker_disk_full,
        "worker disk full": acts.worker_disk_full,
        "model swap": acts.model_swap,
        "error in every step": acts.errors(),
        "stopped in a model": acts.silent_stop("model", 16.0),
        "stopped event loop": acts.silent_stop("loop", 16.0),
    }
    for first in range(0, asked.kills, _KILLS_AN_ACT):
        programme[f"kills from {first}"] = acts.kills(min(_KILLS_AN_ACT, asked.kills - first))
    outcomes: dict[str, Outcome] = {}
    unplayed: list[str] = []
    with (
        children.signals_as_interrupt(),
        tempfile.TemporaryDirectory(prefix="wardwatch-faults-") as scratch,
        JavaNode(cache_folder()) as node,
    ):
        for n, (name, act) in enumerate((n, a) for n, a in programme.items() if n.startswith(asked.only)):
            began_s = time.monotonic()
            _say(f"== {name}")
            try:
                outcome = perform(
                    act,
                    node,
                    Path(scratch) / str(n),
                    data=_DATA if _DATA.is_dir() else None,
                    seed=asked.seed + n,
                    say=lambda what: _say(f"   {what}"),
                )
            except AssertionError as error:
                _say(f"   was not played to its end: {error}")
                unplayed.append(name)
                continue
            outcomes[name] = outcome
            for kind, account in outcome.accounts.items():
                _say(f"   {kind}: " + ", ".join(f"{k} {v}" for k, v in asdict(account).items() if k != "examples"))
            _say(f"   recovery s: {_rounded(outcome.recovery_s)}; {time.monotonic() - began_s:.0f} s")
            if not outcome.is_clean:
                _say(outcome.told())
    report = _report(outcomes) | {"not played to the end": unplayed}
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    asked.report.write_text(json.dumps(report, indent=1) + "\n")
    _say(json.dumps({k: report[k] for k in ("kills", "lost", "doubled", "different", "recovery_s")}))
    wrong = report["lost"] or report["doubled"] or report["different"] or unplayed
    return 1 if wrong or report["kills"] < asked.kills else 0


def _report(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    accounts = [account for outcome in outcomes.values() for account in outcome.accounts.values()]
    by_kind: dict[str, list[float | None]] = {}
    for outcome in outcomes.values():
        for kind, times in outcome.recovery_s.items():
            by_kind.setdefault(kind, []).extend(times)
    return {
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "kills": sum(outcome.kills for outcome in outcomes.values()),
        "lost": sum(account.lost for account in accounts),
        "doubled": sum(account.doubled for account in accounts),
        "different": sum(account.different for account in accounts),
        "replays": sum(account.replays for account in accounts),
        "recovery_s": _summary([t for times in by_kind.values() for t in times]),
        "by_fault": {kind: {"strikes": len(times), **_summary(times)} for kind, times in by_kind.items()},
        "accounts": {
            name: {k: {f: v for f, v in asdict(a).items() if f != "examples"} for k, a in outcome.accounts.items()}
            for name, outcome in outcomes.items()
        },
    }


def _summary(times: list[float | None]) -> dict[str, float | int | None]:
    known = [t for t in times if t is not None]
    return {
        "p50": round(statistics.median(known), 2) if known else None,
        "max": round(max(known), 2) if known else None,
        "overtaken": len(times) - len(known),
    }


def _rounded(recovery: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    return {kind: [t if t is None else round(t, 1) for t in times] for kind, times in recovery.items()}


def _say(what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

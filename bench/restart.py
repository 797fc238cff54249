"""What a ward sees of a worker that is killed and started again, by the number of patients.

    python -m bench.restart [--patients 100,1000,10000] [--out bench/reports/restart.json]

From SIGKILL: until the new process is ready, until its first finding, until findings are less than a second old again.
Nobody restarts anything but the program: it starts the new process at once. Times are the broker's own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from bench.trial import FINDING_MS, Trial, Worker, findings_of, keep_all, load_of, running
from stream.broker import JavaNode, create_topics
from stream.brokerjars import cache_folder

_BEFORE_S = 40
_AFTER_S = 60


@dataclass(frozen=True)
class Restart:
    """Seconds from SIGKILL."""

    patients: int
    ready_s: float
    first_finding_s: float
    caught_up_s: float


def restart(patients: int) -> Restart:
    """One worker, killed once."""
    trial = Trial(patients, _BEFORE_S + _AFTER_S, warm_s=0)
    with JavaNode(cache_folder()) as node, tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as folder:
        create_topics(node.bootstrap)
        keep_all(node.bootstrap)
        with Worker(node.bootstrap, Path(folder) / "0", trial) as worker, running(load_of(trial), node.bootstrap):
            time.sleep(_BEFORE_S)
            worker.kill()
            killed_ms = time.time() * 1000
            worker.start()
            ready_ms = time.time() * 1000
            time.sleep(_AFTER_S)
            ended_ms = time.time() * 1000
        took, when, _ = findings_of(node.bootstrap, killed_ms, ended_ms)
    old = when[took >= FINDING_MS]
    return Restart(
        patients=patients,
        ready_s=round((ready_ms - killed_ms) / 1000, 1),
        first_finding_s=round(float(when.min() - killed_ms) / 1000, 1),
        caught_up_s=round(float(np.max(old, initial=when.min()) - killed_ms) / 1000, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", default="100" if os.environ.get("QUICK") else "100,1000,10000")
    parser.add_argument("--out", type=Path, default=Path("bench/reports/restart.json"))
    asked = parser.parse_args()
    seen = []
    for patients in map(int, asked.patients.split(",")):
        seen.append(one := restart(patients))
        print(
            f"{patients:6,} patients: ready after {one.ready_s:.1f} s, first finding after "
            f"{one.first_finding_s:.1f} s, findings less than a second old after {one.caught_up_s:.1f} s",
            flush=True,
        )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode([asdict(one) for one in seen]), indent=2) + b"\n")


if __name__ == "__main__":
    main()

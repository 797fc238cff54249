"""Half an hour at half of what a worker can carry: memory, latency and open files must not grow.

    python -m bench.soak [--patients 5000] [--minutes 30] [--out bench/reports/soak.json]

Exit status 1 when one of them grew. The plot lies beside the report.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np

from bench.plots import over_time
from bench.trial import Seen, Trial, run

_GROWS = 1.05
"""The last third may be so much more than the one in the middle: the first still fills what has bounds."""
_LATER = 1.25


def grown(seen: Seen) -> list[str]:
    """What grew between the second and the last third."""
    third = len(seen.samples) // 3
    middle, last = seen.samples[third : 2 * third], seen.samples[-third:]
    rss = [float(np.median([s.rss_mb for s in part])) for part in (middle, last)]
    files = [max(s.files for s in part) for part in (middle, last)]
    wrong = []
    if rss[1] > _GROWS * rss[0]:
        wrong.append(f"memory from {rss[0]:.0f} to {rss[1]:.0f} MB")
    if files[1] > files[0]:
        wrong.append(f"open files from {files[0]} to {files[1]}")
    third = max(1, len(seen.buckets) // 3)
    late = [
        float(np.median([b.p99_ms["chunk_to_finding"] for b in part]))
        for part in (seen.buckets[third : 2 * third], seen.buckets[-third:])
    ]
    if late[1] > _LATER * late[0]:
        wrong.append(f"p99 to a finding from {late[0]:.0f} to {late[1]:.0f} ms")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=5_000)
    parser.add_argument("--minutes", type=float, default=3 if os.environ.get("QUICK") else 30)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/soak.json"))
    asked = parser.parse_args()
    seen = run(Trial(asked.patients, round(60 * asked.minutes)))
    wrong = seen.falls_short()
    grew = [*([wrong] if wrong else []), *grown(seen)]
    report = {"grew": grew, **asdict(seen)}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.encode(report) + b"\n")
    over_time(seen, f"{seen.patients:,} patients for {seen.seconds / 60:.0f} minutes", asked.out.with_suffix(".png"))
    first, last = seen.samples[len(seen.samples) // 3], seen.samples[-1]
    print(
        f"{seen.patients:,} patients for {seen.seconds:.0f} s, p99 in ms: {seen.p99_ms}; worker {seen.worker_cores:.2f}"
        f" cores; {first.rss_mb:.0f} MB and {first.files} files after a third of it, {last.rss_mb:.0f} MB and "
        f"{last.files} files at its end"
    )
    print(f"grew: {'; '.join(grew) or 'nothing'}; {asked.out}")
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())

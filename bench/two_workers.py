"""Two workers beside one, on the same cores: what the second costs, and how many patients the two of them carry.

One worker is one interpreter, and its scoring thread is the first thing that is full. Two share the partitions.

    python -m bench.two_workers [--quick] [--from N] [--out bench/reports/two_workers.json]

Holds as in ``bench.ward_capacity``: five minutes, flat lag, p99 to a finding below 1 s and to an alarm below 2 s.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

import msgspec

from bench.plots import over_time
from bench.ward_capacity import hold, largest

_SAME = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--from", dest="first", type=int, default=13_200)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/two_workers.json"))
    asked = parser.parse_args()
    probe_s, hold_s = (20, 40) if asked.quick else (45, 300)
    same = {workers: hold(_SAME, probe_s, workers=workers) for workers in (1, 2)}
    best, tried = largest(asked.first, probe_s, hold_s, workers=2)
    report = {
        "patients": _SAME,
        "us_per_patient_second": {str(n): round(seen.us_per_patient_second, 1) for n, seen in same.items()},
        "p99_ms": {str(n): seen.p99_ms for n, seen in same.items()},
        "two_hold": {
            "patients": best.patients,
            "seconds": best.seconds,
            "p99_ms": best.p99_ms,
            "workers": {"cores": round(best.worker_cores, 3), "rss_mb": round(best.worker_rss_mb)},
            "broker": {"cores": round(best.broker_cores, 3)},
        },
        "trials": [asdict(seen) for seen in (*same.values(), *tried)],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    over_time(best, f"{best.patients:,} patients, two workers, {best.seconds:.0f} s", asked.out.with_suffix(".png"))
    print(f"two workers hold {best.patients:,} patients for {best.seconds:.0f} s; {asked.out}")


if __name__ == "__main__":
    main()

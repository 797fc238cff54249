"""How many patients one worker carries beside its broker: the largest N that holds for five minutes.

Holds: the lag stays flat, from a chunk to its findings 99 % take less than 1 s, to its alarm less than 2 s. Every
patient sends a second of two leads at 360 Hz a second, real recordings, 100 patients behind a gateway; the worker does
everything (beats, rhythm, risks, alarms, checkpoints, metrics) and serves the ward board.

    python -m bench.ward_capacity [--quick] [--from N] [--out bench/reports/ward_capacity.json]

The ratios to other services are those that ``bench.against_peers`` left beside it, as in ``make bench``.
"""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import asdict
from pathlib import Path

import msgspec

from bench import steps
from bench.load import RATE_HZ
from bench.plots import over_time
from bench.trial import Seen, Trial, run

_STEP = 1.15
_GROWTH = (100, 1_000, 10_000)


def hold(patients: int, seconds: int, **changes: object) -> Seen:
    """One trial, shown."""
    seen = run(Trial(patients, seconds, **changes))  # type: ignore[arg-type]
    why = seen.falls_short()
    print(
        f"{patients:6,} patients for {seen.seconds:3.0f} s: {'too many: ' + why if why else 'held'}; p99 "
        f"{seen.p99_ms['chunk_to_finding']:,.0f} ms to a finding, {seen.p99_ms['chunk_to_alarm']:,.0f} ms to an alarm; "
        f"worker {seen.worker_cores:.2f} cores, {seen.worker_rss_mb:,.0f} MB; broker {seen.broker_cores:.2f} cores; "
        f"{seen.us_per_patient_second:.0f} µs per patient-second",
        flush=True,
    )
    return seen


def largest(first: int, probe_s: int, hold_s: int) -> tuple[Seen, list[Seen]]:
    """Probe upwards until it is too much, then hold the largest that passed; less until one holds."""
    tried: list[Seen] = []
    n = first
    while not (seen := hold(n, probe_s)).falls_short():
        tried.append(seen)
        n = _round(n * _STEP)
    tried.append(seen)
    n = _round(n / _STEP)
    while True:
        seen = hold(n, hold_s)
        tried.append(seen)
        if not seen.falls_short():
            return seen, tried
        n = _round(n / _STEP**0.5)


def _round(patients: float) -> int:
    return max(100, round(patients / 100) * 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--from", dest="first", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/ward_capacity.json"))
    asked = parser.parse_args()
    probe_s, hold_s = (20, 40) if asked.quick else (45, 300)
    growth = {n: hold(n, probe_s) for n in _GROWTH}
    unbundled = hold(1_000, probe_s, per_gateway=1)
    pair = hold(asked.first // 2, probe_s, workers=2), hold(asked.first // 2, probe_s)
    best, tried = largest(asked.first, probe_s, hold_s)
    table = steps.measure()
    named = sum(us for step, us in table.items() if not step.startswith(" "))
    table["the rest: Kafka client, event loop, board, memory that others have used since"] = (
        best.us_per_patient_second - named
    )
    peers = asked.out.with_name("against_peers.json")
    ratios = msgspec.json.decode(peers.read_bytes())["ratio_to"] if peers.exists() else {}
    report = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "quick": asked.quick,
        "patients_held": best.patients,
        "held_s": best.seconds,
        "p99_ms": best.p99_ms,
        "p50_ms": best.p50_ms,
        "worker": {"cores": round(best.worker_cores, 3), "rss_mb": round(best.worker_rss_mb)},
        "broker": {"cores": round(best.broker_cores, 3)},
        "us_per_patient_second": {"all_of_the_worker": round(best.us_per_patient_second, 1), **table},
        "ratio_to": ratios,
        "signal_ns_per_sample": round(
            1e3 * table["signal path: order, filter, QRS, quality, windows"] / (2 * RATE_HZ), 1
        ),
        "growth_us_per_patient_second": {str(n): round(seen.us_per_patient_second, 1) for n, seen in growth.items()},
        "unbundled": {
            "patients": unbundled.patients,
            "us_per_patient_second": round(unbundled.us_per_patient_second, 1),
            "p99_ms": unbundled.p99_ms,
        },
        "two_workers_beside_one": {
            "patients": pair[0].patients,
            "us_per_patient_second": [round(seen.us_per_patient_second, 1) for seen in pair],
            "p99_ms": [seen.p99_ms for seen in pair],
        },
        "trials": [asdict(seen) for seen in (*growth.values(), unbundled, *pair, *tried)],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    over_time(best, f"{best.patients:,} patients for {best.seconds:.0f} s", asked.out.with_suffix(".png"))
    for step, us in report["us_per_patient_second"].items():
        print(f"{us:8.2f} µs  {step}")
    print(f"{best.patients:,} patients held for {best.seconds:.0f} s; {asked.out}")


if __name__ == "__main__":
    main()

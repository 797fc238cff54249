"""Twice what a worker can carry for some minutes, then what it carries easily: what is given up, and taken back.

    python -m bench.overload [--patients 8000] [--more 12000] [--for 180] [--after 240] [--out FILE]

``--more`` patients come beside the first ones and go again. Seen: the backlog, what is given up, what the alarms of the
patients who are still watched wait, memory, and when everybody is back.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

import msgspec

from bench.plots import over_time
from bench.trial import Trial, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    quick = bool(os.environ.get("QUICK"))
    parser.add_argument("--patients", type=int, default=8_000)
    parser.add_argument("--more", type=int, default=12_000)
    parser.add_argument("--for", dest="loaded_s", type=int, default=60 if quick else 180)
    parser.add_argument("--after", dest="after_s", type=int, default=60 if quick else 240)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/overload.json"))
    asked = parser.parse_args()
    beside = (sys.executable, "-m", "bench.load", "--patients", str(asked.more), "--seconds", str(asked.loaded_s))
    seen = run(
        Trial(
            asked.patients,
            asked.loaded_s + asked.after_s,
            bucket_s=10,
            beside=(*beside, "--first-bed", str(asked.patients)),
            settings={"max_patients": str(2 * (asked.patients + asked.more))},
        )
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(msgspec.json.encode(asdict(seen)) + b"\n")
    total = asked.patients + asked.more
    over_time(
        seen, f"{total:,} patients for {asked.loaded_s} s, then {asked.patients:,}", asked.out.with_suffix(".png")
    )
    print("   at  step  waiting  findings  alarms  p99 ms to a finding, an alarm")
    for bucket in seen.buckets:
        near = min(seen.samples, key=lambda sample, at_s=bucket.at_s: abs(sample.at_s - at_s - 10))  # type: ignore[misc]
        print(
            f"{bucket.at_s:4.0f}s  {near.step:4}  {near.lag:7.0f}  {bucket.findings:8}  {bucket.alarms:6}  "
            f"{bucket.p99_ms['chunk_to_finding']:8.0f} {bucket.p99_ms['chunk_to_alarm']:8.0f}"
        )
    most = max(sample.rss_mb for sample in seen.samples)
    print(f"memory {most:.0f} MB at most, {seen.samples[-1].rss_mb:.0f} MB at the end; {asked.out}")


if __name__ == "__main__":
    main()

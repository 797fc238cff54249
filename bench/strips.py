"""What freezing strips costs: CPU and memory of ``python -m stream strips`` beside a ward, with an alarm a second.

    python -m bench.strips [--patients 1000] [--seconds 40]

Broker, load and program are processes of their own; there is no worker, the alarms are written by hand. How late a
strip is, is told from the moment of its alarm to the broker's time of its record: 5 s of it are ECG.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.trial import cpu_s
from bench.trial import rss_mb as resident_mb
from stream.broker import JavaNode, create_topics
from stream.brokerjars import cache_folder
from stream.topics import Topic
from tests.support.alarms import publish, steps
from tests.support.topics import read_all
from tests.support.workers import StripsProcess
from vitals import codec
from vitals.alerts import AlertEvent
from vitals.strips import Strip
from vitals.units import US_PER_S

_WARM_S = 20
_AFTER_S = 17
"""By then every strip is cut, also one that waits for what does not come."""


def measure(patients: int, seconds: int) -> dict[str, float]:
    """``cores``: CPU seconds a second; ``late_s``: of the strips that are whole."""
    with (
        JavaNode(cache_folder()) as node,
        tempfile.TemporaryDirectory(prefix="wardwatch-bench-") as folder,
    ):
        create_topics(node.bootstrap)
        with StripsProcess(node.bootstrap, Path(folder)) as program:
            argv = [sys.executable, "-m", "bench.load", "--kafka", node.bootstrap, "--patients", str(patients)]
            load = subprocess.Popen([*argv, "--seconds", str(_WARM_S + seconds + 6)], stdout=subprocess.DEVNULL)
            time.sleep(_WARM_S)
            before_s, began_s = cpu_s(program.pid), time.monotonic()
            alarms = 0
            while time.monotonic() - began_s < seconds:
                moment_us = time.time_ns() // 1000 - US_PER_S
                name = f"patient-{37 * alarms % patients:06d}"
                publish(node.bootstrap, steps(AlertEvent.RAISED, patient=name, onset_us=moment_us))
                alarms += 1
                time.sleep(1)
            cores = (cpu_s(program.pid) - before_s) / (time.monotonic() - began_s)
            rss_mb = resident_mb(program.pid)
            load.wait()
            time.sleep(_AFTER_S)
        made = [(one.timestamp, codec.decode(Strip, one.value)) for one in read_all(node.bootstrap, Topic.STRIPS)]
    late_s = [written_ms / 1000 - strip.time_us / US_PER_S for written_ms, strip in made if not strip.missing]
    return {
        "patients": patients,
        "cores": round(cores, 3),
        "rss_mb": round(rss_mb),
        "alarms": alarms,
        "strips": len(made),
        "whole": len(late_s),
        "late_s_p50": round(float(np.median(late_s)), 2),
        "late_s_p99": round(float(np.quantile(late_s, 0.99)), 2),
        "bytes_a_strip": round(float(np.mean([len(codec.encode(strip)) for _, strip in made]))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=40)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.patients, asked.seconds), indent=1))


if __name__ == "__main__":
    main()

"""What deciding costs: 10,000 patients, one rhythm finding and 1.2 heartbeats a second each, glucose every 5 min.

    python -m bench.decide [--patients N] [--seconds S]

Decoding the findings and encoding risks and alerts is measured beside it, because a deployment pays for them too. All
figures are CPU time, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from stream.alerting import Deciding
from vitals import codec
from vitals.findings import COLUMNS, FindingBatch, Findings, Task, nullable

START_US = 1_700_000_000_000_000


class Ward:
    """Findings of a ward: most patients well, one in fifty tachycardic for a while, one beat in thirty ventricular."""

    def __init__(self, patients: int) -> None:
        self.names = [f"patient-{k:06d}" for k in range(patients)]
        self.random = np.random.default_rng(7)
        self.rate = self.random.normal(78, 9, patients)

    def batches(self, second: int) -> list[FindingBatch]:
        n = len(self.names)
        now_us = START_US + second * 1_000_000
        everyone = np.arange(n)
        rate = self.rate + self.random.normal(0, 2, n) + 75 * (everyone % 50 == (second // 40) % 50)
        rhythm = [rate, np.full(n, 400.0), np.full(n, 0.1), np.full(n, 0.05), np.full(n, 1.1), rate, rate]
        beats = np.sort(np.concatenate([everyone, self.random.choice(n, n // 5)]))
        p = self.random.dirichlet((40, 1, 1, 1, 1), len(beats)).T
        p[:, self.random.random(len(beats)) < 0.03] = np.array([0.05, 0.02, 0.9, 0.02, 0.01])[:, None]
        first = np.r_[True, beats[1:] != beats[:-1]]
        ends = now_us + np.where(first, 100_000, 700_000)
        batches = [
            self._batch(Task.ECG_RHYTHM, everyone, np.full(n, now_us), rhythm),
            self._batch(Task.ECG_BEAT, beats, ends, [*p, np.full(len(beats), 800.0), np.full(len(beats), 800.0)]),
        ]
        reads = everyone[everyone % 300 == second % 300]
        if len(reads):
            glucose = [np.full(len(reads), 120.0), np.zeros(len(reads))]
            forecast = [np.full(len(reads), 0.02)] * (len(COLUMNS[Task.GLUCOSE]) - 2)
            batches.append(self._batch(Task.GLUCOSE, reads, np.full(len(reads), now_us), [*glucose, *forecast]))
        return batches

    def _batch(self, task: Task, who: np.ndarray, end_us: np.ndarray, values: list[np.ndarray]) -> FindingBatch:
        unique, row = np.unique(who, return_inverse=True)
        return FindingBatch(
            task=task,
            spec="bench",
            model="bench-model",
            engine="onnx-cpu",
            patients=[self.names[k] for k in unique.tolist()],
            row=row.tolist(),
            end_us=end_us.tolist(),
            known_us=end_us.tolist(),
            input_ms=(end_us // 1000).tolist(),
            verdict=[0] * len(who),
            columns=list(COLUMNS[task]),
            values=[nullable(column) for column in values],
        )


def measure(patients: int, seconds: int) -> dict[str, float]:
    """Microseconds per patient-second of each step; findings arrive as two messages a second and partition."""
    ward = Ward(patients)
    deciding = Deciding()
    spent = dict.fromkeys(("decode", "decide", "tick", "encode"), 0.0)
    risks = alerts = 0
    slowest_s = 0.0
    warm = 8
    for second in range(seconds + warm):
        if second == warm:
            spent = dict.fromkeys(spent, 0.0)
            risks = alerts = 0
            slowest_s = 0.0
        wire = [codec.encode(Findings(tables=ward.batches(second)))]
        began = time.process_time()
        records = [codec.decode(Findings, value) for value in wire]
        decoded = time.process_time()
        decided = deciding.decide(records)
        done = time.process_time()
        assert not decided.refused, "these are no findings of this version"
        ticked = deciding.tick(START_US + second * 1_000_000 + 900_000)
        told = time.process_time()
        for out in (decided, ticked):
            for risk in out.risks:
                codec.encode(risk)
                risks += len(risk)
            for step in out.transitions:
                codec.encode(step)
                alerts += 1
        encoded = time.process_time()
        for step_name, s in zip(spent, (decoded - began, done - decoded, told - done, encoded - told), strict=True):
            spent[step_name] += s
        slowest_s = max(slowest_s, done - decoded)
    began = time.process_time()
    saved = deciding.snapshot()
    snapshot_s = time.process_time() - began
    per = 1e6 / (patients * seconds)
    return {
        "patients": patients,
        "seconds": seconds,
        **{f"{name}_us_per_patient_second": round(s * per, 3) for name, s in spent.items()},
        "slowest_decide_cpu_ms": round(slowest_s * 1e3, 1),
        "risks_per_s": round(risks / seconds, 1),
        "alert_steps_per_s": round(alerts / seconds, 1),
        "snapshot_cpu_ms": round(snapshot_s * 1e3, 1),
        "snapshot_bytes_per_patient": round(len(saved) / patients, 1),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=60)
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.patients, chosen.seconds), indent=2))

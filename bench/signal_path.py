"""What the signal path costs: many patients, one-second chunks of two leads at 360 Hz, from Python to windows.

    python -m bench.signal_path [--patients N] [--seconds S] [--out bench/reports/signal_path.json]

Filters, grid, beats, rhythm, quality, fibrillation index, context and the copy of every window are in the figure. In
the same run, sleepecg's C detector (Pan and Tompkins; beats only, one lead, a whole recording at once) on the same
signal. A sample is one sample of one lead. CPU time of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from vitals.simulate import GAIN_UV, Rhythm, Stretch, ecg
from vitals.windows.ecg import EcgWindows
from vitals.windows.ecgpath import STATE

RATE_HZ = 360
START_US = 1_700_000_000_000_000
_SCRIPT = (Stretch(Rhythm.SINUS, 12.0), Stretch(Rhythm.PVCS, 16.0), Stretch(Rhythm.FIBRILLATION, 12.0, 95.0))


def signal_path(signals: list[np.ndarray], patients: int, seconds: int) -> dict[str, float]:
    """Nanoseconds per sample, and bytes of state per patient."""
    windows = EcgWindows()
    rows = windows.add(patients)
    leads = signals[0].shape[0]
    columns = (
        np.full(patients, float(RATE_HZ)),
        np.full(patients, leads, np.int32),
        np.full(patients, GAIN_UV),
        np.full(patients, RATE_HZ, np.int32),
    )
    spent_s, beats, rhythms = [], 0, 0
    for second in range(seconds):
        at = slice(second * RATE_HZ, (second + 1) * RATE_HZ)
        samples = np.concatenate([signals[k % len(signals)][:, at].ravel() for k in range(patients)])
        start_us = np.full(patients, START_US + second * 1_000_000)
        before = time.process_time()
        step = windows.advance(rows, start_us, *columns, samples)
        spent_s.append(time.process_time() - before)
        beats += len(step.beats)
        rhythms += len(step.rhythm)
    steady = spent_s[5:]
    windows.restore(rows, windows.snapshot(rows))  # its kernels are compiled or loaded now
    before = time.process_time()
    saved = windows.snapshot(rows)
    snapshot_s = time.process_time() - before
    before = time.process_time()
    windows.restore(rows, saved)
    restore_s = time.process_time() - before
    per_call = patients * leads * RATE_HZ
    return {
        "ns_per_sample": 1e9 * float(np.mean(steady)) / per_call,
        "ns_per_sample_best_call": 1e9 * min(steady) / per_call,
        "patients_per_core": len(steady) * patients / sum(steady),
        "beat_windows": beats,
        "rhythm_windows": rhythms,
        "state_bytes_per_patient": STATE.itemsize,
        "checkpoint_bytes_per_patient": len(saved) / patients,
        "snapshot_us_per_patient": 1e6 * snapshot_s / patients,
        "restore_us_per_patient": 1e6 * restore_s / patients,
    }


def sleepecg_detector(signals: list[np.ndarray]) -> float | None:
    """Nanoseconds per sample of ``sleepecg.detect_heartbeats(backend="c")``, None where it is not installed."""
    try:
        from sleepecg import detect_heartbeats  # noqa: PLC0415
    except ImportError:
        return None
    leads = [signal[0].astype(np.float64) for signal in signals]
    detect_heartbeats(leads[0], RATE_HZ, backend="c")
    before = time.process_time()
    for lead in leads:
        detect_heartbeats(lead, RATE_HZ, backend="c")
    return 1e9 * (time.process_time() - before) / sum(map(len, leads))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("bench/reports/signal_path.json"))
    asked = parser.parse_args()
    signals = [ecg(seed, _SCRIPT, RATE_HZ).samples for seed in range(25)]
    result: dict[str, float | None] = dict(signal_path(signals, asked.patients, min(asked.seconds, 40)))
    theirs = result["sleepecg_c_ns_per_sample"] = sleepecg_detector(signals)
    if theirs is not None and result["ns_per_sample"] is not None:
        result["times_sleepecg_c"] = result["ns_per_sample"] / theirs
    text = json.dumps({name: value if value is None else round(value, 3) for name, value in result.items()}, indent=2)
    print(text)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()

"""A small ward made of arithmetic: beds whose every heartbeat is known, as the messages a gateway would send."""

from __future__ import annotations

import numpy as np

from stream.gateways.schedule import Due, Pace
from stream.gateways.wfdb import Bed, Recording, bundles, quantised
from stream.topics import Topic
from vitals import codec
from vitals.conditions import Condition
from vitals.events import GlucoseReading, ImagingEvent, Label
from vitals.units import S_PER_MIN, US_PER_S

RATE_HZ = 360.0
# seconds from the R peak, width in seconds, millivolts: P, Q, R, S, T
_WAVES = ((-0.17, 0.025, 0.12), (-0.03, 0.010, -0.12), (0.0, 0.011, 1.1), (0.03, 0.010, -0.22), (0.24, 0.05, 0.28))


def heart(seconds: float, rate_bpm: float, *, stops_at_s: float | None = None, seed: int = 0) -> Recording:
    """Two leads of a regular heart with a little noise; from ``stops_at_s`` on a flat line of noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    last_s = seconds if stops_at_s is None else stops_at_s
    mv = np.zeros(len(time_s))
    for r_s in r_peaks_s(last_s, rate_bpm):
        for offset_s, width_s, height_mv in _WAVES:
            mv += height_mv * np.exp(-0.5 * ((time_s - r_s - offset_s) / width_s) ** 2)
    leads = np.stack([mv, 0.6 * mv]) + rng.normal(0, 0.008, (2, len(time_s)))
    samples, gain_uv = quantised(leads * 1000.0, 5.0)
    return Recording(f"heart/{rate_bpm:g}", RATE_HZ, ("MLII", "V1"), gain_uv, samples)


def r_peaks_s(seconds: float, rate_bpm: float) -> np.ndarray:
    """Where the R peaks of ``heart`` lie."""
    step_s = 60.0 / rate_bpm
    return np.arange(0.4, seconds - 0.3, step_s)


def ward(start_us: int, seconds: int, beds: int = 4, gateways: int = 2) -> list[Due]:
    """``gateways`` of ``beds`` each for ``seconds``; a reading a minute and an image for every bed."""
    messages: list[Due] = []
    pace = Pace(start_us, speed=1e9)
    for g in range(gateways):
        hearts = [Bed(f"bed-{g}-{b}", heart(seconds, 60 + 7 * b + 3 * g, seed=10 * g + b)) for b in range(beds)]
        messages += bundles(f"gateway-{g}", hearts, pace)
        for bed in hearts:
            messages += [reading(bed.patient, start_us - (40 - m) * S_PER_MIN * US_PER_S, 90 + m) for m in range(40)]
            messages.append(image(bed.patient, start_us, seed=len(messages)))
    return messages


def reading(patient: str, time_us: int, glucose_mg_dl: float) -> Due:
    """One reading."""
    event = GlucoseReading(patient=patient, device="cgm", time_us=time_us, glucose=float(glucose_mg_dl))
    return Due(0.0, Topic.GLUCOSE, patient.encode(), codec.encode(event), 1)


def image(patient: str, time_us: int, seed: int = 0) -> Due:
    """One chest image."""
    pixels = np.random.default_rng(seed).integers(0, 255, 28 * 28, np.uint8).tobytes()
    event = ImagingEvent(
        patient=patient,
        time_us=time_us,
        study="s",
        series="s",
        instance=f"i{seed}",
        modality="DX",
        body_part="CHEST",
        pixels=pixels,
        rows=28,
        columns=28,
    )
    return Due(0.0, Topic.IMAGING, patient.encode(), codec.encode(event), 1)


def judgement(patient: str, condition: Condition, when_us: int, worth: str = "true") -> Due:
    """What a nurse says of an alarm."""
    label = Label(
        patient=patient,
        task=condition.value,
        end_us=when_us,
        value=worth,
        who="Ann (nurse)",
        when_us=when_us,
        alert_id="0123456789abcdef",
    )
    return Due(0.0, Topic.LABELS, patient.encode(), codec.encode(label), 1)

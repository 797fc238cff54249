"""Made-up patients for machines without recordings: ECG with a script of rhythms, glucose, small pictures.

Everything follows from its seed. The ECG is a sum of Gaussian waves around each R peak, in the manner of McSharry et
al. (IEEE Trans Biomed Eng 2003;50:289); the rest is shaped by eye. Good enough to see the service work and to hold its
signal path to known beat times; of no use for training or for judging a model.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.signal import NOT_MEASURED
from vitals.units import S_PER_MIN, US_PER_S

GAIN_UV: Final = 5.0
LEADS: Final = 2


class Rhythm(enum.StrEnum):
    """What the heart, or the cable, does."""

    SINUS = "sinus"
    PVCS = "pvcs"  # sinus rhythm, every sixth beat or so ventricular
    PACS = "pacs"  # sinus rhythm, every sixth beat or so atrial and early
    FIBRILLATION = "atrial-fibrillation"
    TACHYCARDIA = "ventricular-tachycardia"
    VF = "ventricular-fibrillation"
    ASYSTOLE = "asystole"
    NOISE = "noise"  # sinus rhythm under muscle and motion
    LEAD_OFF = "lead-off"


@dataclass(frozen=True, slots=True)
class Stretch:
    """``seconds`` of one rhythm; ``rate_bpm`` is its mean where there are beats."""

    rhythm: Rhythm
    seconds: float
    rate_bpm: float = 75.0


@dataclass(frozen=True, slots=True)
class SimulatedEcg:
    """``samples``: int16[2, n] at ``rate_hz``, ``gain_uv`` microvolts each, -32768 not measured.

    ``beat_s``: float64[k], R peaks in seconds from the first sample; ``beat_class``: one of N S V for each.
    """

    samples: npt.NDArray[np.int16]
    rate_hz: float
    gain_uv: float
    beat_s: npt.NDArray[np.float64]
    beat_class: str


# (seconds from R, width in seconds, millivolts in lead 0, in lead 1) of each wave
_P_WAVE: Final = ((-0.17, 0.022, 0.12, 0.07),)
_NARROW: Final = (
    (-0.026, 0.010, -0.12, 0.05),
    (0.0, 0.011, 1.2, 0.25),
    (0.028, 0.012, -0.25, -0.8),
    (0.27, 0.050, 0.28, 0.12),
)
_WIDE: Final = (
    (-0.045, 0.024, -0.2, 0.15),
    (0.0, 0.034, 1.6, -1.1),
    (0.07, 0.035, -0.4, 0.3),
    (0.27, 0.06, -0.45, 0.4),
)
_BEFORE_S: Final = 0.3
_AFTER_S: Final = 0.6
_ECTOPIC_SHARE: Final = 1.0 / 6.0


def ecg(seed: int, script: Sequence[Stretch], rate_hz: float = 250.0) -> SimulatedEcg:
    """One patient's ECG: the stretches of ``script`` one after another."""
    rng = np.random.default_rng([seed, 0xEC6])
    seconds = sum(stretch.seconds for stretch in script)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    size = rng.uniform(0.8, 1.3, LEADS)
    mv = _unrest_mv(rng, time_s)
    off = np.zeros(len(time_s), np.bool_)
    beat_s: list[float] = []
    beat_class: list[str] = []
    begin_s = 0.0
    for stretch in script:
        end_s = begin_s + stretch.seconds
        here = slice(round(begin_s * rate_hz), round(end_s * rate_hz))
        times, classes = _beats(rng, stretch, begin_s, end_s)
        p_waves = stretch.rhythm is not Rhythm.FIBRILLATION
        for at_s, kind in zip(times, classes, strict=True):
            waves = _WIDE if kind == "V" else (*_P_WAVE, *_NARROW) if p_waves else _NARROW
            _add_beat(mv, at_s, waves, size, rate_hz)
        beat_s += times
        beat_class += classes
        match stretch.rhythm:
            case Rhythm.VF:
                mv[:, here] += _vf_mv(rng, time_s[here])
            case Rhythm.FIBRILLATION:
                mv[:, here] += 0.05 * _wandering_sine(rng, time_s[here], 5.5, 0.4)
            case Rhythm.NOISE:
                mv[:, here] += rng.normal(0.0, 0.45, mv[:, here].shape)
            case Rhythm.LEAD_OFF:
                off[here] = True
        begin_s = end_s
    samples = np.clip(np.rint(mv * (1000.0 / GAIN_UV)), NOT_MEASURED + 1, -NOT_MEASURED - 1).astype(np.int16)
    samples[:, off] = NOT_MEASURED
    return SimulatedEcg(samples, rate_hz, GAIN_UV, np.array(beat_s), "".join(beat_class))


def _beats(rng: np.random.Generator, stretch: Stretch, begin_s: float, end_s: float) -> tuple[list[float], list[str]]:
    """R peaks and classes of the beats whose QRS complex lies within the stretch."""
    if stretch.rhythm in {Rhythm.VF, Rhythm.ASYSTOLE, Rhythm.LEAD_OFF}:
        return [], []
    rr_s = S_PER_MIN / stretch.rate_bpm
    spread = {Rhythm.FIBRILLATION: 0.22, Rhythm.TACHYCARDIA: 0.01}.get(stretch.rhythm, 0.025)
    early = {Rhythm.PVCS: "V", Rhythm.PACS: "S"}.get(stretch.rhythm)
    usual = "V" if stretch.rhythm is Rhythm.TACHYCARDIA else "N"
    times: list[float] = []
    classes: list[str] = []
    at_s = begin_s + rr_s * rng.uniform(0.3, 0.8)
    while at_s < end_s - 0.1:
        times.append(at_s)
        ectopic = early is not None and classes[-1:] == ["N"] and rng.uniform() < _ECTOPIC_SHARE * 1.2
        classes.append(early if early is not None and ectopic else usual)
        step_s = rr_s * max(0.45, 1.0 + spread * rng.standard_normal())
        if ectopic:  # it came early, and a pause follows that makes up for it after a ventricular one
            times[-1] = at_s = times[-2] + 0.62 * rr_s if len(times) > 1 else at_s
            step_s = rr_s * (1.38 if early == "V" else 1.05)
        at_s += step_s
    return times, classes


def _add_beat(
    mv: npt.NDArray[np.float64],
    at_s: float,
    waves: Sequence[tuple[float, float, float, float]],
    size: npt.NDArray[np.float64],
    rate_hz: float,
) -> None:
    first = max(0, int((at_s - _BEFORE_S) * rate_hz))
    last = min(mv.shape[1], int((at_s + _AFTER_S) * rate_hz))
    since_r_s = np.arange(first, last) / rate_hz - at_s
    for centre_s, width_s, lead_0_mv, lead_1_mv in waves:
        wave = np.exp(-0.5 * ((since_r_s - centre_s) / width_s) ** 2)
        mv[:, first:last] += np.outer(size * (lead_0_mv, lead_1_mv), wave)


def _unrest_mv(rng: np.random.Generator, time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64[2, n]: what is there without a heart: breathing, mains hum, amplifier noise."""
    breath = np.sin(2 * np.pi * rng.uniform(0.18, 0.3) * time_s + rng.uniform(0, 6))
    hum = np.sin(2 * np.pi * 50.0 * time_s)
    noise = rng.normal(0.0, 0.01, (LEADS, len(time_s)))
    return noise + 0.06 * breath + 0.005 * hum


def _vf_mv(rng: np.random.Generator, time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64[2, n]: coarse fibrillation, a few waves of wandering frequency that swell and fade."""
    coarse = 0.45 * _wandering_sine(rng, time_s, 4.8, 0.5) + 0.18 * _wandering_sine(rng, time_s, 6.9, 0.6)
    swell = 1.0 + 0.35 * np.sin(2 * np.pi * rng.uniform(0.15, 0.35) * time_s)
    return np.asarray(coarse * swell)


def _wandering_sine(
    rng: np.random.Generator, time_s: npt.NDArray[np.float64], mean_hz: float, spread_hz: float
) -> npt.NDArray[np.float64]:
    drift = sum(np.sin(2 * np.pi * f * time_s + rng.uniform(0, 6)) for f in rng.uniform(0.05, 0.6, 4))
    phase = (
        2 * np.pi * np.cumsum(mean_hz + spread_hz * drift / 2.0) * (time_s[1] - time_s[0] if len(time_s) > 1 else 0.0)
    )
    return np.stack([np.sin(phase), 0.7 * np.sin(phase + rng.uniform(0.3, 1.2))])


def glucose(
    seed: int, start_us: int, hours: float, step_min: float = 5.0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(time_us int64[n], glucose_mg_dl float32[n]): a person with diabetes, meals, insulin and the odd low."""
    rng = np.random.default_rng([seed, 0x61C])
    n = int(hours * S_PER_MIN / step_min) + 1
    minutes = np.arange(n) * step_min
    level = np.full(n, rng.uniform(105.0, 150.0))
    meal = rng.uniform(20.0, 120.0)
    while meal < minutes[-1] + 1.0:
        since = np.maximum(minutes - meal, 0.0)
        rise, fall = rng.uniform(50.0, 140.0), rng.uniform(35.0, 130.0)
        level += rise * (since / 45.0) * np.exp(1.0 - since / 45.0) * (since > 0)
        level -= fall * (since / 110.0) * np.exp(1.0 - since / 110.0) * (since > 0)
        meal += rng.uniform(180.0, 420.0)
    wander = np.zeros(n)
    for i in range(1, n):
        wander[i] = 0.97 * wander[i - 1] + rng.normal(0.0, 1.6)
    time_us = start_us + np.rint(minutes * S_PER_MIN * US_PER_S).astype(np.int64)
    return time_us, np.clip(level + wander, 41.0, 399.0).astype(np.float32)


def picture(seed: int, *, ill: bool, side: int = 64) -> npt.NDArray[np.uint8]:
    """uint8[side, side]: two dark lungs in a bright chest; a cloud in one of them when ``ill``."""
    rng = np.random.default_rng([seed, 0x1A6E])
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    grey = 0.75 - 0.6 * (x * x + 0.3 * y * y)
    for centre in (-0.2, 0.2):
        lung = ((x - centre) / 0.15) ** 2 + ((y + 0.02) / 0.33) ** 2
        grey -= 0.5 / (1.0 + np.exp(12.0 * (lung - 1.0)))
    if ill:
        at_x, at_y = rng.choice([-0.2, 0.2]) + rng.uniform(-0.04, 0.04), rng.uniform(-0.1, 0.2)
        grey += 0.4 * np.exp(-(((x - at_x) / 0.09) ** 2 + ((y - at_y) / 0.11) ** 2))
    grey += rng.normal(0.0, 0.02, grey.shape)
    return np.asarray(np.rint(np.clip(grey, 0.0, 1.0) * 255), np.uint8)


def ultrasound(seed: int, *, ill: bool, side: int = 64) -> npt.NDArray[np.uint8]:
    """uint8[side, side]: speckled tissue in layers under a bright skin; a dark round cyst in it, ragged if ill."""
    rng = np.random.default_rng([seed, 0x05])
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    grey = 0.45 - 0.25 * (y + 0.5) + 0.08 * np.sin(18.0 * y + 2.0 * x + rng.uniform(0, 6)) + 0.4 * (y < -0.44)
    at_x, at_y, radius = rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.15), rng.uniform(0.12, 0.2)
    angle = np.arctan2(y - at_y, x - at_x)
    rim = radius * (1.0 + (0.25 * np.sin(5 * angle + rng.uniform(0, 6)) + 0.15 * np.sin(9 * angle) if ill else 0.0))
    grey -= 0.35 / (1.0 + np.exp(60.0 * (np.hypot(x - at_x, y - at_y) - rim)))
    grey *= rng.gamma(6.0, 1.0 / 6.0, grey.shape)
    return np.asarray(np.rint(np.clip(grey, 0.0, 1.0) * 255), np.uint8)

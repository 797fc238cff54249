"""What the minute before a monitor's alarm says for and against the event that it claims, as a table of measures.

Heard are the heartbeats of the joined leads and of each lead by itself, since a bad lead spoils a joint detection, and
the pulses of every pressure and plethysmogram that had been beating. Seconds count from the alarm, so they are
negative. A measure of what is not there says what is neutral: no pulse wave contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.pulse import pulses
from vitals.usual import BEFORE_R

Floats = npt.NDArray[np.float64]

LOOKED_AT_S: Final = 60.0
EVENT_S: Final = 14.0
"""The event began within 10 s before the alarm (Clifford et al., Comput Cardiol 2015;42:273), four more are its own."""
GAP_MOST_S: Final = 12.0
_USUAL_LEAST: Final = 5
_ON_TIME: Final = 1.35
_ALIKE: Final = 0.8
_SIZE: Final = 2.0
_BEATING: Final = 0.5
_FAST_BPM: Final = 100.0
_FAST_WIDTH_BPM: Final = 8.0
_QRS: Final = slice(BEFORE_R - 25, BEFORE_R + 30)
_BEAT: Final = slice(BEFORE_R - 40, BEFORE_R + 60)
_UPSTROKE_S: Final = 0.3
_SPECTRAL_S: Final = 3.0
_SPECTRAL_STEP_S: Final = 0.5
_SPECTRAL_HZ: Final = (1.0, 20.0)
_SLOWEST_BPM, _FASTEST_BPM = 10.0, 350.0


@dataclass(frozen=True, slots=True)
class Beats:
    """Heartbeats of the joined leads, or of one. ``at_s``: float64[n], R peaks, ascending; ``ecg_mv``: float[n, leads,
    192], windows at 250 Hz; ``p_v``: float64[n], probability of a ventricular beat.
    """

    at_s: Floats
    ecg_mv: npt.NDArray[np.floating]
    p_v: Floats


@dataclass(frozen=True, slots=True)
class Minute:
    """All that is heard. ``joint``: the leads joined; ``single``: each by itself. ``vf_index``: float64[1 + leads,
    seconds], joined first. ``leads_mv``: float64[leads, n], ``waves``: float64[n] each, both at ``rate_hz``, NaN where
    nothing was measured; they end with the alarm.
    """

    joint: Beats
    single: tuple[Beats, ...]
    vf_index: Floats
    leads_mv: Floats
    waves: tuple[Floats, ...]
    rate_hz: float


@dataclass(frozen=True, slots=True)
class _Train:
    """Beats or pulses of one source. ``alike``: bool[n], of the usual look; ``size``: float64[n], 1 usual."""

    at_s: Floats
    alike: npt.NDArray[np.bool_]
    size: Floats

    def steady(self, from_s: float, to_s: float = 0.0) -> float:
        """Share of the time covered by usual intervals between beats of the usual look."""
        if len(self.at_s) < _USUAL_LEAST:
            return 0.0
        edges = np.append(self.at_s, 0.0)
        gaps = np.diff(edges)
        usual = float(np.median(gaps[:-1]))
        good = (gaps < _ON_TIME * usual) & self.alike
        good[:-1] &= (gaps[:-1] > usual / _ON_TIME) & self.alike[1:]
        covered = np.clip(edges[1:], from_s, to_s) - np.clip(edges[:-1], from_s, to_s)
        return float(covered[good].sum() / (to_s - from_s))

    def gap_s(self) -> float:
        """The longest time without a beat that ended in the time of the event."""
        edges = np.concatenate([[-LOOKED_AT_S], self.at_s, [0.0]])
        return min(GAP_MOST_S, float(np.diff(edges)[edges[1:] > -EVENT_S].max()))

    def rates_bpm(self, beats: int, *, pause: bool = False) -> Floats:
        """Mean rates of so many beats in a row that end in the time of the event; ``pause``: one that lasts counts."""
        at_s = np.append(self.at_s, 0.0) if pause else self.at_s
        if len(at_s) < beats:
            return np.empty(0)
        spans = at_s[beats - 1 :] - at_s[: len(at_s) - beats + 1]
        rates = 60.0 * (beats - 1) / np.maximum(spans[at_s[beats - 1 :] > -EVENT_S], 1e-3)
        return np.clip(rates, _SLOWEST_BPM, _FASTEST_BPM)

    def slowest_bpm(self) -> float:
        """Of five beats."""
        return float(self.rates_bpm(5, pause=True).min(initial=_FASTEST_BPM)) if len(self.at_s) else _SLOWEST_BPM

    def fastest_bpm(self, beats: int) -> float:
        """Of so many beats; of all there are when they are fewer."""
        return float(self.rates_bpm(max(2, min(beats, len(self.at_s)))).max(initial=_SLOWEST_BPM))


def evidence(minute: Minute) -> dict[str, float]:
    """Every measure by its name; all finite."""
    joint, single = _train_of(minute.joint, None), [_train_of(b, i) for i, b in enumerate(minute.single)]
    ecg = [joint, *single]
    beating = [t for wave in minute.waves if (t := _pulse_train(wave, minute.rate_hz)).steady(-60.0, -16.0) > _BEATING]
    said = _of_gaps(ecg, beating) | _of_rates(ecg, beating) | _of_steadiness(ecg, beating)
    said |= _of_runs(minute.joint) | _of_spectrum(minute.leads_mv, minute.rate_hz) | _of_fibrillation(minute.vf_index)
    return said


def _of_gaps(ecg: Sequence[_Train], beating: Sequence[_Train]) -> dict[str, float]:
    gaps = [train.gap_s() for train in ecg]
    pulse = min((train.gap_s() for train in beating), default=min(gaps))
    return {
        "gap": np.log(gaps[0]),
        "gap_least": np.log(min(gaps)),
        "gap_most": np.log(max(gaps)),
        "gap_pulse": np.log(pulse),
        "gap_all": np.log(min(*gaps, pulse)),
    }


def _of_rates(ecg: Sequence[_Train], beating: Sequence[_Train]) -> dict[str, float]:
    slow, fast17, fast5 = (
        [measure(train) for train in ecg]
        for measure in (
            _Train.slowest_bpm,
            lambda train: train.fastest_bpm(17),
            lambda train: train.fastest_bpm(5),
        )
    )
    slow_pulse = [train.slowest_bpm() for train in beating] or [slow[0]]
    fast17_pulse = [train.fastest_bpm(17) for train in beating] or [fast17[0]]
    fast5_pulse = [train.fastest_bpm(5) for train in beating] or [fast5[0]]
    bpm = {
        "slow5": slow[0],
        "slow5_least": min(slow),
        "slow5_most": max(slow),
        "slow5_pulse": max(slow_pulse),
        "slow5_all": max(slow + slow_pulse),
        "fast17": fast17[0],
        "fast17_least": min(fast17),
        "fast17_most": max(fast17),
        "fast17_pulse": max(fast17_pulse),
        "fast17_all": max(fast17 + fast17_pulse),
        "fast5": fast5[0],
        "fast5_least": min(fast5),
        "fast5_most": max(fast5),
        "fast5_pulse": max(fast5_pulse),
    }
    return {name: float(np.log(value)) for name, value in bpm.items()}


def _of_steadiness(ecg: Sequence[_Train], beating: Sequence[_Train]) -> dict[str, float]:
    def weakest(train: _Train) -> float:
        """The weakest three pulses in a row, by the usual."""
        size = train.size[train.at_s > -EVENT_S]
        if len(size) < 3:
            return 0.0
        return float(np.convolve(np.clip(size, 0.0, 2.0), np.ones(3) / 3, "valid").min())

    return {
        "steady_ecg": max(train.steady(-EVENT_S) for train in ecg),
        "steady_ecg_least": min(train.steady(-EVENT_S) for train in ecg),
        "steady_before": max(train.steady(-60.0, -16.0) for train in ecg),
        "steady_pulse": max((train.steady(-EVENT_S) for train in beating), default=0.0),
        "steady_pulse_6": max((train.steady(-6.0) for train in beating), default=0.0),
        "pulse_there": float(len(beating) > 0),
        "pulse_weakest": max((weakest(train) for train in beating), default=0.5),
    }


def _of_runs(beats: Beats) -> dict[str, float]:
    """The most ventricular, the oddest, the broadest run of beats above about 100/min in the time of the event."""
    said = {}
    odd, broad = _unlike(beats)
    for length in (3, 5):
        n = len(beats.at_s) - length + 1
        looks = {"v": beats.p_v, "odd": odd.max(axis=0), "odd_least": odd.min(axis=0), "broad": broad.max(axis=0)}
        looks |= {"broad_least": broad.min(axis=0)}
        for name in looks:
            said[f"run{length}_{name}"] = 0.0
        said[f"run{length}_all"] = 0.0
        if n < 1:
            continue
        ends = beats.at_s[length - 1 :]
        rate = 60.0 * (length - 1) / np.maximum(ends - beats.at_s[:n], 1e-3)
        fast = 1.0 / (1.0 + np.exp(-np.clip((rate - _FAST_BPM) / _FAST_WIDTH_BPM, -30.0, 30.0)))
        fast[ends < -EVENT_S] = 0.0
        means = {name: np.convolve(look, np.ones(length) / length, "valid") for name, look in looks.items()}
        for name, mean in means.items():
            said[f"run{length}_{name}"] = float((fast * mean).max())
        said[f"run{length}_all"] = float((fast * means["v"] * means["odd"]).max())
    before = beats.at_s < -16.0
    said["v_before"] = float(np.median(beats.p_v[before])) if before.sum() >= _USUAL_LEAST else 0.0
    said["v_share"] = float(beats.p_v[~before].mean()) if (~before).any() else 0.0
    return said


def _unlike(beats: Beats) -> tuple[Floats, Floats]:
    """float64[leads, n] each: how unlike the usual a beat is (0 alike, 1 not at all), and how much broader (natural
    logarithm, 0 as usual).
    """
    leads = beats.ecg_mv.shape[1]
    odd, broad = np.zeros((leads, len(beats.at_s))), np.zeros((leads, len(beats.at_s)))
    for lead in range(leads):
        if not beats.ecg_mv[:, lead].any():
            odd[lead], broad[lead] = odd[max(0, lead - 1)], broad[max(0, lead - 1)]
            continue
        windows = _centred(beats.ecg_mv[:, lead])
        usual = _usual(windows, beats.at_s)
        odd[lead] = np.clip(1.0 - _likeness(windows[:, _QRS], usual[_QRS]), 0.0, 1.0)
        width = _width(windows[:, _BEAT])
        broad[lead] = np.clip(np.log(width / np.median(width)), -1.0, 1.0)
    return odd, broad


def _of_spectrum(leads_mv: Floats, rate_hz: float) -> dict[str, float]:
    """How much like one slow wave the leads are: Hjorth's purity of 3 s, where it is greatest, and against before."""
    span, step = int(_SPECTRAL_S * rate_hz), max(1, int(_SPECTRAL_STEP_S * rate_hz))
    hz = np.fft.rfftfreq(span, 1.0 / rate_hz)
    band = (hz >= _SPECTRAL_HZ[0]) & (hz <= _SPECTRAL_HZ[1])
    w = 2.0 * np.pi * hz[band]
    starts = np.arange(leads_mv.shape[1] - span, -1, -step)[::-1]
    if not len(starts):
        return {"pure": 0.0, "pure_least": 0.0, "pure_rise": 0.0}
    purity = np.zeros((len(leads_mv), len(starts)))
    for lead, mv in enumerate(leads_mv):
        x = np.nan_to_num(mv)
        pieces = np.stack([x[s : s + span] for s in starts])
        pieces = (pieces - pieces.mean(axis=1, keepdims=True)) * np.hanning(span)
        power = np.abs(np.fft.rfft(pieces, axis=1)[:, band]) ** 2 + 1e-12
        purity[lead] = (power @ w**2) ** 2 / (power.sum(axis=1) * (power @ w**4))
    now = (starts + span - leads_mv.shape[1]) / rate_hz > -EVENT_S
    usual = np.median(purity[:, ~now], axis=1) if (~now).any() else purity.mean(axis=1)
    return {
        "pure": float(purity[:, now].max()),
        "pure_least": float(purity[:, now].min(axis=0).max()),
        "pure_rise": float((purity[:, now] - usual[:, None]).min(axis=0).max()),
    }


def _of_fibrillation(vf_index: Floats) -> dict[str, float]:
    now = np.nan_to_num(vf_index[:, -int(EVENT_S) :])
    sustained = np.minimum(now[:, 1:], now[:, :-1]) if now.shape[1] > 1 else now
    return {
        "vf": float(sustained[0].max(initial=0.0)),
        "vf_least": float(sustained.min(axis=0).max(initial=0.0)),
        "vf_most": float(sustained.max(initial=0.0)),
        "vf_mean": float(now[0].mean()) if now.shape[1] else 0.0,
    }


def _train_of(beats: Beats, lead: int | None) -> _Train:
    if not len(beats.at_s):
        return _Train(beats.at_s, np.empty(0, bool), np.empty(0))
    likeness = np.full(len(beats.at_s), -1.0)
    size = np.ones(len(beats.at_s))
    for i in range(beats.ecg_mv.shape[1]) if lead is None else [0]:
        windows = _centred(beats.ecg_mv[:, i])
        usual = _usual(windows, beats.at_s)
        likeness = np.maximum(likeness, _likeness(windows[:, _QRS], usual[_QRS]))
        size = np.ptp(windows[:, _QRS], axis=1) / max(float(np.ptp(usual[_QRS])), 1e-3) if i == 0 else size
    return _Train(beats.at_s, (likeness > _ALIKE) & (size < _SIZE) & (size > 1.0 / _SIZE), size)


def _pulse_train(wave: Floats, rate_hz: float) -> _Train:
    found = pulses(wave, rate_hz)
    if not len(found):
        return _Train(np.empty(0), np.empty(0, bool), np.empty(0))
    at_s = (found.foot - len(wave)) / rate_hz
    within = np.minimum(found.foot[:, None] + np.arange(int(_UPSTROKE_S * rate_hz)), len(wave) - 1)
    shapes = _centred(np.nan_to_num(wave)[within])
    likeness = _likeness(shapes, _usual(shapes, at_s))
    size = found.rise / max(float(np.median(found.rise)), 1e-9)
    return _Train(at_s, (likeness > _ALIKE) & (size < _SIZE) & (size > 1.0 / _SIZE), size)


def _centred(windows: npt.NDArray[np.floating]) -> Floats:
    centred: Floats = windows - windows.mean(axis=1, keepdims=True, dtype=np.float64)
    return centred


def _usual(windows: Floats, at_s: Floats) -> Floats:
    """The median of those before the event; of all where there are too few."""
    before = at_s < -EVENT_S
    usual: Floats = np.median(windows[before] if before.sum() >= _USUAL_LEAST else windows, axis=0)
    return usual


def _likeness(windows: Floats, usual: Floats) -> Floats:
    """float64[n]: correlation of each with the usual, 0 where one does not move."""
    windows, usual = windows - windows.mean(axis=1, keepdims=True), usual - usual.mean()
    norm = np.linalg.norm(windows, axis=1) * np.linalg.norm(usual)
    likeness: Floats = np.where(norm > 1e-9, windows @ usual / np.maximum(norm, 1e-9), 0.0)
    return likeness


def _width(windows: Floats) -> Floats:
    """float64[n], samples: how widely the slopes of a beat are spread in time."""
    energy = np.diff(windows, axis=1) ** 2 + 1e-12
    energy /= energy.sum(axis=1, keepdims=True)
    at = np.arange(energy.shape[1])
    mean = energy @ at
    width: Floats = np.sqrt(np.maximum(energy @ at**2 - mean**2, 1.0))
    return width

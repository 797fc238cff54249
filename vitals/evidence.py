"""What the minute before a monitor's alarm says for and against the event that it claims.

Heard are the heartbeats of the joined leads and of each lead by itself, since a bad lead spoils a joint detection, and
the pulses of every pressure and plethysmogram. Some measures are of the whole time in which the event can lie; others
are of each moment in it, because a run of ventricular beats is fast, broad, unlike the usual beats and without a proper
pulse all at once. Seconds count from the alarm, so they are negative. A measure of what is not there says what is
neutral: no pulse wave contradicts nothing.
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
_BEFORE_S: Final = 16.0
"""What ended so long before the alarm is the patient as usual."""
_PAUSE_MOST_S: Final = 12.0
_SLOWEST_BPM, _FASTEST_BPM = 10.0, 350.0

_USUAL_LEAST: Final = 5
_ON_TIME: Final = 1.35
_ALIKE: Final = 0.8
_SIZE: Final = 2.0
_BEATING: Final = 0.5
_REGULAR: Final = 0.75
_UPSTROKE_S: Final = 0.3

_MOMENT_S: Final = 1.6
"""Five beats at 150/min."""
_MOMENT_STEP_S: Final = 0.25
_USUAL_STEP_S: Final = 3.0
_PULSE_LATE_S: Final = 0.3
_COMPLEX: Final = slice(BEFORE_R - 40, BEFORE_R + 60)  # of a beat's window: 160 ms before R, 240 ms after
_LOG_ODDS_MOST: Final = 5.0
_BAND_HZ: Final = (0.8, 25.0)
_PERIOD_S: Final = (0.24, 0.6)  # 100 to 250 a minute
_STILL: Final = 0.01
_PACE_FLOOR_HZ: Final = 0.1
_NO_BEATS_ODD: Final = 0.5
_NO_PULSE_WAVE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Beats:
    """Heartbeats. ``at_s``: float64[n], R peaks, ascending; ``ecg_mv``: float[n, leads, 192], windows at 250 Hz as the
    beat model sees them; ``p_v``: float64[n], probability of a ventricular beat.
    """

    at_s: Floats
    ecg_mv: npt.NDArray[np.floating]
    p_v: Floats


@dataclass(frozen=True, slots=True)
class Minute:
    """All that is heard. ``beats``: of the joined leads; ``lead_beats_s``: float64[n], R peaks found in each lead by
    itself. ``vf_index``: float64[sources, seconds], joined leads first. ``leads_mv``: float64[leads, n], ``waves``:
    float64[n] each, both at ``rate_hz``, NaN where nothing was measured; they end with the alarm.
    """

    beats: Beats
    lead_beats_s: tuple[Floats, ...]
    vf_index: Floats
    leads_mv: Floats
    waves: tuple[Floats, ...]
    rate_hz: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """``whole``: measures of the time of the event; ``moments``: float64[moments] each. All finite."""

    whole: dict[str, float]
    moments: dict[str, Floats]


def evidence(minute: Minute) -> Evidence:
    """Every measure by its name; what they are stands in ``docs/verdicts.md``."""
    waves = [_pulses_of(wave, minute.rate_hz) for wave in minute.waves]
    beating = [wave for wave in waves if wave.steady(-LOOKED_AT_S, -_BEFORE_S) > _BEATING]
    ecg = [minute.beats.at_s, *minute.lead_beats_s]
    whole = _pauses(ecg, [wave.at_s for wave in waves if wave in beating or wave.regular() > _REGULAR])
    whole |= _rates(ecg, [wave.at_s for wave in beating])
    whole["fibrillation"] = _fibrillation(minute.vf_index)
    whole["steady_pulse"] = max((wave.steady(-EVENT_S) for wave in waves), default=0.0)
    whole["pulse_break"] = min((wave.longest_break() for wave in beating), default=_NO_PULSE_WAVE)
    return Evidence(whole, _moments(minute, beating))


@dataclass(frozen=True, slots=True, eq=False)
class _Pulses:
    """Of one wave. ``alike``: bool[n], of the usual shape and size."""

    at_s: Floats
    alike: npt.NDArray[np.bool_]

    def steady(self, from_s: float, to_s: float = 0.0) -> float:
        """Share of the time covered by usual intervals between pulses of the usual look."""
        if len(self.at_s) < _USUAL_LEAST or to_s <= from_s:
            return 0.0
        edges = np.append(self.at_s, 0.0)
        gaps = np.diff(edges)
        usual = float(np.median(gaps[:-1]))
        good = (gaps < _ON_TIME * usual) & self.alike
        good[:-1] &= (gaps[:-1] > usual / _ON_TIME) & self.alike[1:]
        return _covered(edges, good, from_s, to_s)

    def regular(self) -> float:
        """Share of the time of the event covered by intervals near their own median, whatever the pulses look like."""
        edges = np.append(self.at_s, 0.0)
        gaps = np.diff(edges)
        inside = edges[1:] > -EVENT_S
        if inside.sum() < _USUAL_LEAST:
            return 0.0
        usual = float(np.median(gaps[inside]))
        return _covered(edges, (gaps < _ON_TIME * usual) & (gaps > usual / _ON_TIME), -EVENT_S, 0.0)

    def longest_break(self) -> float:
        """The longest interval that ends in the time of the event by the usual one, natural logarithm."""
        edges = np.append(self.at_s, 0.0)
        gaps = np.diff(edges)
        usual = float(np.median(gaps[:-1]))
        return float(np.log(max(gaps[edges[1:] > -EVENT_S].max(initial=0.0) / usual, 0.5)))


def _covered(edges: Floats, good: npt.NDArray[np.bool_], from_s: float, to_s: float) -> float:
    lengths = np.clip(edges[1:], from_s, to_s) - np.clip(edges[:-1], from_s, to_s)
    return float(lengths[good].sum() / (to_s - from_s))


def _pulses_of(wave: Floats, rate_hz: float) -> _Pulses:
    found = pulses(wave, rate_hz)
    if not len(found):
        return _Pulses(np.empty(0), np.empty(0, bool))
    at_s = (found.foot - len(wave)) / rate_hz
    within = np.minimum(found.foot[:, None] + np.arange(int(_UPSTROKE_S * rate_hz)), len(wave) - 1)
    shapes = np.nan_to_num(wave)[within]
    size = found.rise / max(float(np.median(found.rise)), 1e-9)
    alike = _likeness(shapes, _usual(shapes - shapes.mean(axis=1, keepdims=True), at_s))
    return _Pulses(at_s, (alike > _ALIKE) & (size < _SIZE) & (size > 1.0 / _SIZE))


def _pauses(ecg: Sequence[Floats], trusted: Sequence[Floats]) -> dict[str, float]:
    """The longest time without a beat: where the beats of any source make it shortest, and by the pulses alone."""
    of_ecg = [_pause_s(at_s) for at_s in ecg]
    of_pulse = min((_pause_s(at_s) for at_s in trusted), default=min(of_ecg))
    return {"pause": float(np.log(min(*of_ecg, of_pulse))), "pulse_pause": float(np.log(of_pulse))}


def _pause_s(at_s: Floats) -> float:
    edges = np.concatenate([[-LOOKED_AT_S], at_s, [0.0]])
    return float(np.clip(np.diff(edges)[edges[1:] > -EVENT_S].max(), 0.1, _PAUSE_MOST_S))


def _rates(ecg: Sequence[Floats], beating: Sequence[Floats]) -> dict[str, float]:
    """Natural logarithms of beats a minute. Without a pulse wave the joined leads are heard in its place."""
    heard = beating or ecg[:1]
    return {
        "slowest_pulse": float(np.log(max(_slowest_bpm(at_s) for at_s in heard))),
        "fastest_pulse": float(np.log(max(_fastest_bpm(at_s, 5) for at_s in heard))),
        "fastest_17": float(np.log(min(_fastest_bpm(at_s, 17) for at_s in ecg))),
    }


def _slowest_bpm(at_s: Floats) -> float:
    """Of five beats in a row; a pause that lasts counts as ended by the alarm."""
    return float(_rates_bpm(np.append(at_s, 0.0), 5).min(initial=_FASTEST_BPM)) if len(at_s) else _SLOWEST_BPM


def _fastest_bpm(at_s: Floats, beats: int) -> float:
    """Of so many beats in a row, or of all where there are fewer."""
    return float(_rates_bpm(at_s, max(2, min(beats, len(at_s)))).max(initial=_SLOWEST_BPM))


def _rates_bpm(at_s: Floats, beats: int) -> Floats:
    """Of every so many beats that end in the time of the event."""
    if len(at_s) < beats:
        return np.empty(0)
    ends = at_s[beats - 1 :]
    spans = (ends - at_s[: len(ends)])[ends > -EVENT_S]
    rates: Floats = np.clip(60.0 * (beats - 1) / np.maximum(spans, 1e-3), _SLOWEST_BPM, _FASTEST_BPM)
    return rates


def _fibrillation(vf_index: Floats) -> float:
    """The fibrillation index that two seconds in a row reach, in the source where it is least."""
    now = np.nan_to_num(vf_index[:, -int(EVENT_S) :])
    return float(np.minimum(now[:, 1:], now[:, :-1]).min(axis=0).max(initial=0.0))


def _moments(minute: Minute, beating: Sequence[_Pulses]) -> dict[str, Floats]:
    rate_hz, n = minute.rate_hz, minute.leads_mv.shape[1]
    span, step = int(_MOMENT_S * rate_hz), max(1, int(_MOMENT_STEP_S * rate_hz))
    first = max(0, n - int(EVENT_S * rate_hz) + 1)
    starts = np.arange(n - span, first - 1, -step)
    before = np.arange(0, max(1, n - int(_BEFORE_S * rate_hz) - span), int(_USUAL_STEP_S * rate_hz))
    if not len(starts):
        return {name: np.empty(0) for name in ("ventricular", "odd", "alike", "periodic", "slow", "pulse_goes_on")}
    from_s = (starts - n) / rate_hz
    return {
        **_of_beats(minute.beats, from_s),
        **_of_signal(minute.leads_mv, starts, before, span, rate_hz),
        "pulse_goes_on": np.array([_pulse_goes_on(beating, at_s) for at_s in from_s.tolist()]),
    }


def _of_beats(beats: Beats, from_s: Floats) -> dict[str, Floats]:
    """Of the beats of each moment, the mean of: log-odds of a ventricular beat, how unlike the usual beat they are, and
    how like the beat before; in the lead where it is most.
    """
    ventricular, odd, alike = (np.zeros(len(from_s)) for _ in range(3))
    odd[:] = _NO_BEATS_ODD
    if not len(beats.at_s):
        return {"ventricular": ventricular, "odd": odd, "alike": alike}
    p = np.clip(beats.p_v, 1e-4, 1.0 - 1e-4)
    log_odds = np.clip(np.log(p / (1.0 - p)), -_LOG_ODDS_MOST, _LOG_ODDS_MOST)
    complexes = beats.ecg_mv[:, :, _COMPLEX].astype(np.float64)
    complexes -= complexes.mean(axis=2, keepdims=True)
    leads = range(complexes.shape[1])
    unlike = np.stack([1.0 - _likeness(complexes[:, i], _usual(complexes[:, i], beats.at_s)) for i in leads])
    norm = np.linalg.norm(complexes, axis=2) + 1e-9
    chain = np.zeros_like(unlike)
    chain[:, 1:] = ((complexes[1:] * complexes[:-1]).sum(axis=2) / (norm[1:] * norm[:-1])).T
    for i, at_s in enumerate(from_s.tolist()):
        begin, end = np.searchsorted(beats.at_s, [at_s, at_s + _MOMENT_S])
        if end > begin:
            ventricular[i] = log_odds[begin:end].mean()
            odd[i] = np.clip(unlike[:, begin:end], 0.0, 1.5).mean(axis=1).max()
        if end > begin + 1:
            alike[i] = chain[:, begin + 1 : end].mean(axis=1).max()
    return {"ventricular": ventricular, "odd": odd, "alike": alike}


def _of_signal(
    leads_mv: Floats, starts: npt.NDArray[np.int64], before: npt.NDArray[np.int64], span: int, rate_hz: float
) -> dict[str, Floats]:
    """Whatever was detected: how well the signal repeats itself 100 to 250 times a minute, in the lead where it does
    least, and how much slower it moves than usual (natural logarithm), in the lead where it does most.
    """
    periodic, slow = [], []
    for mv in leads_mv:
        repeats, pace_hz, power = _movement(mv, starts, span, rate_hz)
        _, usual_hz, usual_power = _movement(mv, before, span, rate_hz)
        slower = np.log((np.median(usual_hz) + _PACE_FLOOR_HZ) / (pace_hz + _PACE_FLOOR_HZ))
        periodic.append(repeats)
        slow.append(np.where(power > _STILL * np.median(usual_power), slower, 0.0))
    return {"periodic": np.min(periodic, axis=0), "slow": np.max(slow, axis=0)}


def _movement(mv: Floats, starts: npt.NDArray[np.int64], span: int, rate_hz: float) -> tuple[Floats, Floats, Floats]:
    """float64[starts] each: the highest autocorrelation at the lags of ``_PERIOD_S``; Hjorth's mobility, Hz; power."""
    pieces = np.nan_to_num(mv)[np.minimum(starts[:, None] + np.arange(span), len(mv) - 1)]
    pieces = (pieces - pieces.mean(axis=1, keepdims=True)) * np.hanning(span)
    hz = np.fft.rfftfreq(2 * span, 1.0 / rate_hz)
    power = np.abs(np.fft.rfft(pieces, 2 * span, axis=1)) ** 2
    power[:, (hz < _BAND_HZ[0]) | (hz > _BAND_HZ[1])] = 0.0
    total = power.sum(axis=1)
    repeats = np.fft.irfft(power, axis=1)
    lags = np.arange(int(_PERIOD_S[0] * rate_hz), int(_PERIOD_S[1] * rate_hz))
    best = repeats[:, lags].max(axis=1) / (repeats[:, 0] + 1e-12)
    return best, np.sqrt(power @ hz**2 / (total + 1e-12)), total


def _pulse_goes_on(beating: Sequence[_Pulses], at_s: float) -> float:
    from_s, to_s = min(at_s + _PULSE_LATE_S, -0.5), min(at_s + _MOMENT_S + _PULSE_LATE_S, 0.0)
    return max((wave.steady(from_s, to_s) for wave in beating), default=_NO_PULSE_WAVE)


def _usual(shapes: Floats, at_s: Floats) -> Floats:
    """The median of those before the event; of all where there are too few."""
    before = at_s < -EVENT_S
    usual: Floats = np.median(shapes[before] if before.sum() >= _USUAL_LEAST else shapes, axis=0)
    return usual


def _likeness(shapes: Floats, usual: Floats) -> Floats:
    """float64[n]: correlation of each with the usual, 0 where one does not move."""
    shapes, usual = shapes - shapes.mean(axis=1, keepdims=True), usual - usual.mean()
    norm = np.linalg.norm(shapes, axis=1) * np.linalg.norm(usual)
    likeness: Floats = np.where(norm > 1e-9, shapes @ usual / np.maximum(norm, 1e-9), 0.0)
    return likeness

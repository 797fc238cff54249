"""Pulses in an arterial pressure or a plethysmogram: causal, adaptive.

After Zong, Heldt, Moody and Mark (Comput Cardiol 2003;30:259): the sum of the rises within 128 ms stands out at the
upstroke of a pulse and hardly at its dicrotic notch. An upstroke counts when it comes near those before it in size.
When none comes for long the size is learnt anew, but never as less than a part of what it was: the small unrest of a
line without pulses is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitals.kernels import kernel

_SUMMED_S: Final = 0.128
_SMOOTH_S: Final = 0.02
_LEARN_S: Final = 3.0
_ALONE_S: Final = 0.25
"""Upstrokes are so far apart, 240/min, and one ends that has not grown for so long."""
_SHARE: Final = 0.4
"""Of the usual upstroke, that one must reach. Zong's 0.6 loses the weak pulses of extra beats."""
_REARMED: Final = 0.3
_FOOT: Final = 0.1
_RATE: Final = 0.125
_RELEARN_S: Final = 5.0
_RELEARN_LEAST: Final = 0.3


@dataclass(frozen=True, slots=True)
class Pulses:
    """``n`` pulses, in order. ``foot``: int64[n], sample at which the upstroke begins; ``known``: int64[n], sample with
    which it was known; ``rise``: float64[n], how far it rises, in the unit of the wave.
    """

    foot: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]
    rise: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.foot)


def pulses(wave: npt.NDArray[np.floating], rate_hz: float) -> Pulses:
    """The pulses of ``wave`` (float[n] of any unit; not finite where nothing was measured).

    What it says of a pulse rests on samples up to ``known`` only.
    """
    alone = max(1, int(_ALONE_S * rate_hz))
    most = len(wave) // alone + 1
    foot, known, rise = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most)
    n = _find(np.ascontiguousarray(wave, np.float64), rate_hz, alone, foot, known, rise)
    return Pulses(foot[:n], known[:n], rise[:n])


@kernel
def _find(wave, rate_hz, alone, foot, known, rise):
    smooth, rises = _upstrokes(wave, rate_hz)
    learn = int(_LEARN_S * rate_hz)
    level = known_level = 0.0
    last = learn_from = 0
    best_at = -1
    armed = True
    n = 0
    for k in range(len(wave)):
        if k - max(last, learn_from) >= (learn if level == 0.0 else int(_RELEARN_S * rate_hz)):
            level = max(_usual(rises, k - learn, k), _RELEARN_LEAST * known_level)
            learn_from = k
        if level == 0.0:
            continue
        if not armed:
            armed = rises[k] < _REARMED * level
            continue
        if best_at < 0:
            if rises[k] >= _SHARE * level and k - last >= alone:
                best_at = k
        elif rises[k] > rises[best_at]:
            best_at = k
        if best_at >= 0 and (rises[k] < 0.5 * rises[best_at] or k - best_at >= alone):
            begin = best_at
            while begin > last and begin > 0 and rises[begin] > _FOOT * rises[best_at]:
                begin -= 1
            foot[n], known[n] = begin, k
            rise[n] = smooth[best_at] - smooth[begin]
            n += 1
            last = best_at
            level += _RATE * (min(rises[best_at], 2.0 * level) - level)  # an artefact shall not set the level
            known_level = level
            best_at = -1
            armed = rises[k] < _REARMED * level
    return n


@kernel
def _upstrokes(wave, rate_hz):
    """The wave with a moving average of 20 ms, and of each sample the sum of the rises in the 128 ms up to it.

    What was not measured is held, and neither the way into it nor out of it is a rise.
    """
    n = len(wave)
    m, w = max(1, round(_SMOOTH_S * rate_hz)), max(1, round(_SUMMED_S * rate_hz))
    held, smooth, step, rises = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    jump = 0.0
    for k in range(n):
        if np.isfinite(wave[k]):
            if k == 0 or not np.isfinite(wave[k - 1]):
                jump = wave[k] - (held[k - 1] if k > 0 else 0.0)
            held[k] = wave[k] - jump
        elif k > 0:
            held[k] = held[k - 1]
    for k in range(n):
        first = max(0, k - m + 1)
        total = 0.0
        for j in range(first, k + 1):
            total += held[j]
        smooth[k] = total / (k + 1 - first)
        if k > 0:
            step[k] = max(0.0, smooth[k] - smooth[k - 1])
        total = 0.0
        for j in range(max(0, k - w + 1), k + 1):
            total += step[j]
        rises[k] = total
    return smooth, rises


@kernel
def _usual(rises, first, end):
    """Between the highest and the second lowest of the tops of four quarters: two of four have a pulse above 40/min."""
    top = np.zeros(4)
    span = end - first
    for q in range(4):
        for k in range(first + q * span // 4, first + (q + 1) * span // 4):
            top[q] = max(top[q], rises[k])
    top.sort()
    return 0.5 * (top[1] + top[2])

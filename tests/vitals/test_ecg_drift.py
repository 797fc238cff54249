"""What a bed notices of its own ECG: a gain, leads that were moved, hum; and what is no such thing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from tests.vitals.ecgfeed import START_US, advance
from vitals.events import DriftKind
from vitals.simulate import GAIN_UV, Rhythm, Stretch, ecg
from vitals.windows.ecg import EcgWindows

RATE_HZ = 250
CHANGED_S = 240
Told = tuple[DriftKind, bool, float, float, float]
"""Kind, whether it began, when it was told and since when it is so (both in seconds), size."""


def heart(seconds: float, rhythm: Rhythm = Rhythm.SINUS, *, seed: int = 3, rate_bpm: float = 72.0) -> np.ndarray:
    return ecg(seed, [Stretch(rhythm, seconds, rate_bpm)], RATE_HZ).samples


def told(samples: np.ndarray, cuts: list[int] | None = None, *, saved_at: int | None = None) -> list[Told]:
    """What one bed tells, its signal cut at ``cuts``; before chunk ``saved_at`` the state is saved and taken back."""
    return list(_told(samples, cuts or [], saved_at))


def _told(samples: np.ndarray, cuts: list[int], saved_at: int | None) -> Iterator[Told]:
    windows = EcgWindows()
    row = windows.add(1)
    for number, (first, last) in enumerate(pairwise([0, *cuts, samples.shape[1]])):
        if number == saved_at:
            state, windows = windows.snapshot(row), EcgWindows()
            row = windows.add(1)
            windows.restore(row, state)
        part = advance(windows, row, samples[:, :last], [first, last], RATE_HZ).changes
        for i in range(len(part)):
            when_s, since_s = ((us - START_US) / 1e6 for us in (part.end_us[i], part.from_us[i]))
            yield part.kind[i], bool(part.began[i]), when_s, since_s, float(part.size[i])


def changed(samples: np.ndarray, kind: str) -> np.ndarray:
    """The same signal, whose cables or amplifier are another from ``CHANGED_S`` on."""
    samples = samples.copy()
    after = samples[:, CHANGED_S * RATE_HZ :]
    time_s = np.arange(after.shape[1]) / RATE_HZ
    match kind:
        case "half the gain":
            after[:] = np.rint(after * 0.5)
        case "twice the gain":
            after[:] = after * 2
        case "leads exchanged":
            after[:] = after[::-1].copy()
        case "a lead upside down":
            after[0] = -after[0]
        case "50 Hz":
            after += np.rint(100.0 / GAIN_UV * np.sin(2 * np.pi * 50.0 * time_s + 1.0)).astype(np.int16)
        case "60 Hz":
            after += np.rint(100.0 / GAIN_UV * np.sin(2 * np.pi * 60.0 * time_s + 2.0)).astype(np.int16)
    return samples


@pytest.mark.parametrize(
    ("what", "kind", "size"),
    [
        ("half the gain", DriftKind.GAIN, (0.45, 0.55)),
        ("twice the gain", DriftKind.GAIN, (1.8, 2.2)),
        ("leads exchanged", DriftKind.LEADS, (0.8, 1.0)),
        ("a lead upside down", DriftKind.LEADS, (0.8, 1.0)),
        ("50 Hz", DriftKind.MAINS, (30.0, 45.0)),  # 100 µV through a filter that leaves 38 %
        ("60 Hz", DriftKind.MAINS, (10.0, 25.0)),  # and 19 %
    ],
)
def test_a_change_of_the_cables_is_told_within_a_minute_and_ends_when_it_has_become_usual(
    what: str, kind: DriftKind, size: tuple[float, float]
) -> None:
    began, ended = told(changed(heart(600), what))
    assert began[:2] == (kind, True)
    assert CHANGED_S < began[2] <= CHANGED_S + 60
    assert abs(began[3] - CHANGED_S) < 5
    assert size[0] < began[4] < size[1]
    assert ended[:2] == (kind, False)
    assert began[2] + 30 < ended[2] < began[2] + 240
    assert ended[3:] == began[3:]


@pytest.mark.parametrize("rhythm", [Rhythm.SINUS, Rhythm.PVCS, Rhythm.PACS, Rhythm.FIBRILLATION])
def test_a_heart_whose_cables_nobody_touches_tells_nothing(rhythm: Rhythm) -> None:
    assert told(heart(1200, rhythm)) == []


def test_what_the_heart_does_is_no_drift() -> None:
    stay = [
        Stretch(Rhythm.SINUS, 240),
        Stretch(Rhythm.PVCS, 120),
        Stretch(Rhythm.TACHYCARDIA, 40, 160.0),
        Stretch(Rhythm.VF, 30),
        Stretch(Rhythm.ASYSTOLE, 20),
        Stretch(Rhythm.SINUS, 120, 110.0),
        Stretch(Rhythm.FIBRILLATION, 180, 95.0),
        Stretch(Rhythm.SINUS, 240),
    ]
    assert told(ecg(5, stay, RATE_HZ).samples) == []


def test_muscle_noise_and_an_electrode_that_comes_off_and_on_are_no_drift() -> None:
    stay = [
        Stretch(Rhythm.SINUS, 240),
        Stretch(Rhythm.NOISE, 120),
        Stretch(Rhythm.SINUS, 60),
        Stretch(Rhythm.LEAD_OFF, 90),
        Stretch(Rhythm.SINUS, 240),
    ]
    assert told(ecg(6, stay, RATE_HZ).samples) == []


def test_one_lead_alone_that_shrinks_is_no_gain() -> None:
    samples = heart(480)
    samples[0, CHANGED_S * RATE_HZ :] //= 2
    assert told(samples) == []


def test_a_monitor_of_one_lead_tells_its_gain_and_its_sign() -> None:
    assert [t[0] for t in told(changed(heart(400)[:1], "half the gain")) if t[1]] == [DriftKind.GAIN]
    assert [t[0] for t in told(changed(heart(400)[:1], "a lead upside down")) if t[1]] == [DriftKind.LEADS]


def test_another_monitor_with_other_leads_begins_anew() -> None:
    windows = EcgWindows()
    row = windows.add(1)
    before = heart(240)
    advance(windows, row, before, [0, before.shape[1]], RATE_HZ)
    after = np.concatenate([before[:1], heart(240)[:1] // 2], axis=1)
    step = advance(windows, row, after, [before.shape[1], after.shape[1]], RATE_HZ)
    assert len(step.rhythm) > 200
    assert len(step.changes) == 0


@pytest.mark.parametrize("what", ["half the gain", "leads exchanged", "50 Hz"])
def test_any_cutting_and_a_restart_in_between_tell_the_same_to_the_bit(what: str) -> None:
    samples = changed(heart(600), what)
    expected = told(samples)
    assert len(expected) == 2
    rng = np.random.default_rng(0)
    for _ in range(3):
        cuts = np.unique(rng.integers(1, samples.shape[1], 400)).tolist()
        told_s = expected[0][2]
        near = int(np.searchsorted(cuts, (told_s - 8) * RATE_HZ))  # with evidence gathered and nothing told
        assert told(samples, cuts, saved_at=near) == expected

"""However a signal is cut, bundled, checkpointed or mixed with other patients: the same windows, to the bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vitals.ecgfeed import Seen, advance, start_us, whole
from vitals.runs import Outcome
from vitals.simulate import Rhythm, Stretch, ecg
from vitals.windows.ecg import EcgWindows

SCRIPT = (
    Stretch(Rhythm.PVCS, 9.0),
    Stretch(Rhythm.LEAD_OFF, 1.3),
    Stretch(Rhythm.TACHYCARDIA, 4.0, 180.0),
    Stretch(Rhythm.VF, 5.0),
    Stretch(Rhythm.NOISE, 2.0),
    Stretch(Rhythm.FIBRILLATION, 6.0, 100.0),
)
RATES_HZ = (50.0, 100.0, 250.0, 360.0, 499.7, 2000.0)


def signal(rate_hz: float) -> np.ndarray:
    return ecg(11, SCRIPT, rate_hz).samples


EXPECTED: dict[float, tuple[np.ndarray, dict[str, bytes]]] = {}


def expected(rate_hz: float) -> tuple[np.ndarray, dict[str, bytes]]:
    if rate_hz not in EXPECTED:
        samples = signal(rate_hz)
        EXPECTED[rate_hz] = samples, whole(samples, rate_hz).bits()
    return EXPECTED[rate_hz]


def cuttings(n: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, n - 1), min_size=0, max_size=60, unique=True).map(lambda c: [0, *sorted(c), n])


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rate_hz=st.sampled_from(RATES_HZ), one_call=st.booleans())
def test_any_cutting_gives_the_same_windows(data: st.DataObject, rate_hz: float, one_call: bool) -> None:
    samples, bits = expected(rate_hz)
    at = data.draw(cuttings(samples.shape[1]))
    windows = EcgWindows()
    row = windows.add(1)
    calls = [at] if one_call else [at[k : k + 2] for k in range(len(at) - 1)]
    seen = Seen([advance(windows, row, samples, call, rate_hz) for call in calls])
    assert seen.bits() == bits
    assert seen.total("scored") + seen.total("cut") + windows.waiting == len(at) - 1


@pytest.mark.parametrize("rate_hz", [50.0, 360.0])
def test_one_sample_at_a_time_gives_the_same_windows(rate_hz: float) -> None:
    samples, bits = expected(rate_hz)
    windows = EcgWindows()
    row = windows.add(1)
    seen = Seen([advance(windows, row, samples, list(range(samples.shape[1] + 1)), rate_hz)])
    assert seen.bits() == bits
    assert set(seen.outcomes()) == {Outcome.TAKEN}


@settings(max_examples=20, deadline=None)
@given(data=st.data(), rate_hz=st.sampled_from(RATES_HZ))
def test_a_checkpoint_in_the_middle_changes_nothing(data: st.DataObject, rate_hz: float) -> None:
    samples, bits = expected(rate_hz)
    at = data.draw(cuttings(samples.shape[1]))
    crash_after = data.draw(st.integers(0, len(at) - 2))
    windows = EcgWindows()
    row = windows.add(1)
    seen = Seen()
    for k in range(len(at) - 1):
        seen.steps.append(advance(windows, row, samples, at[k : k + 2], rate_hz))
        if k == crash_after:
            saved = windows.snapshot(row)
            windows = EcgWindows()
            row = windows.add(3)[2:]
            windows.restore(row, saved)
    assert seen.bits() == bits


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_patients_in_one_bundle_do_not_touch_each_other(seed: int) -> None:
    """Five patients of five rates, their chunks shuffled into calls, each patient's own in order."""
    random = np.random.default_rng(seed)
    windows = EcgWindows()
    rows = windows.add(len(RATES_HZ))
    queue = []
    for k, rate_hz in enumerate(RATES_HZ):
        n = expected(rate_hz)[0].shape[1]
        at = [0, *sorted(random.choice(np.arange(1, n), 20, replace=False).tolist()), n]
        queue.append([(k, a, b) for a, b in pairwise(at)])
    order = random.permutation(np.repeat(np.arange(len(RATES_HZ)), [len(q) for q in queue]))
    turns = [iter(q) for q in queue]
    chunks = [next(turns[k]) for k in order]
    columns: dict[int, list[bytes]] = {k: [] for k in range(len(RATES_HZ))}
    for first in range(0, len(chunks), 17):
        call = chunks[first : first + 17]
        step = windows.advance(
            rows[[k for k, _, _ in call]],
            np.array([start_us(a, RATES_HZ[k]) for k, a, _ in call]),
            np.array([RATES_HZ[k] for k, _, _ in call]),
            np.full(len(call), 2, np.int32),
            np.full(len(call), 5.0),
            np.array([b - a for _, a, b in call], np.int32),
            np.concatenate([expected(RATES_HZ[k])[0][:, a:b].ravel() for k, a, b in call]),
        )
        for k, row in enumerate(rows):
            columns[k].append(step.beats.ecg_mv[step.beats.row == row].tobytes())
    for k, rate_hz in enumerate(RATES_HZ):
        assert b"".join(columns[k]) == expected(rate_hz)[1]["beats.ecg_mv"]


def test_a_call_with_more_beats_than_it_has_room_for_loses_none() -> None:
    """Beats closer than the room reckons with on average, in one long chunk after many others."""
    samples = ecg(3, [Stretch(Rhythm.SINUS, 240.0, 260.0)], 100.0).samples
    windows = EcgWindows()
    row = windows.add(1)
    seen = Seen([advance(windows, row, samples, [*range(0, samples.shape[1], 37), samples.shape[1]], 100.0)])
    assert seen.bits() == whole(samples, 100.0).bits()
    assert len(seen.r_s) > 1000

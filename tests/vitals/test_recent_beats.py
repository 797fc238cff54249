"""The last minute of a patient as a row of beats. That any cutting gives the same ones: ``test_ecg_cutting``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vitals.ecgfeed import START_US, advance, whole
from vitals.findings import Verdict
from vitals.recentbeats import BEATS, CONTEXT, FEATURES, P_BINS
from vitals.simulate import Rhythm, Stretch, ecg
from vitals.windows.ecg import RECENT_EVERY_S, EcgWindows

RATE_HZ = 250.0
HERE, RR, BELIEVED, P = (FEATURES.index(name) for name in ("here", "rr_s", "believed", "p_0"))


def samples(*stretches: Stretch) -> np.ndarray:
    return ecg(5, stretches, RATE_HZ).samples


def context(window: np.ndarray) -> dict[str, float]:
    return dict(zip(CONTEXT, window.tolist(), strict=True))


def test_a_window_comes_every_thirty_seconds_of_event_time() -> None:
    seen = whole(samples(Stretch(Rhythm.SINUS, 100.0, 60.0)))
    end_us = seen.column("recent", "end_us")
    assert (end_us % (RECENT_EVERY_S * 1_000_000) == 0).all()
    assert np.diff(end_us).tolist() == [RECENT_EVERY_S * 1_000_000] * 3
    assert end_us[0] - START_US < RECENT_EVERY_S * 1_000_000


def test_patients_of_another_phase_have_theirs_at_another_second() -> None:
    signal = samples(Stretch(Rhythm.SINUS, 70.0, 60.0))
    n = signal.shape[1]
    windows = EcgWindows()
    rows = windows.add(2)
    step = windows.advance(
        rows, np.full(2, START_US), np.full(2, RATE_HZ), np.full(2, 2, np.int32), np.full(2, 5.0),
        np.full(2, n, np.int32), np.tile(signal.ravel(), 2), np.array([0, 7], np.uint8),
    )  # fmt: skip
    at_s = {row: step.recent.end_us[step.recent.row == row] // 1_000_000 for row in rows.tolist()}
    assert set((at_s[rows[0]] % 30).tolist()) == {0}
    assert set((at_s[rows[1]] % 30).tolist()) == {23}


def test_a_row_holds_the_beats_that_were_found_with_the_newest_last() -> None:
    seen = whole(samples(Stretch(Rhythm.SINUS, 75.0, 75.0)))
    window, end_us = seen.column("recent", "beats")[-1], seen.column("recent", "end_us")[-1]
    known = seen.column("beats", "known_us") <= end_us
    rr_ms = seen.column("beats", "rr_pre_ms")[known]
    here = window[:, HERE] == 1.0
    assert here.sum() == min(known.sum(), BEATS)
    assert window[here, RR] == pytest.approx(rr_ms[-here.sum() :] / 1000, abs=0.002)
    assert (window[~here] == 0.0).all()
    assert not here[: BEATS - here.sum()].any(), "what is missing is missing at the beginning"


def test_a_fast_heart_fills_the_row_and_an_old_beat_leaves_it() -> None:
    fast = whole(samples(Stretch(Rhythm.SINUS, 70.0, 120.0))).column("recent", "beats")[-1]
    assert (fast[:, HERE] == 1.0).all()
    paused = whole(samples(Stretch(Rhythm.SINUS, 20.0, 60.0), Stretch(Rhythm.ASYSTOLE, 80.0)))
    assert paused.column("recent", "beats")[-1][:, HERE].sum() <= 1


def test_a_p_wave_is_the_same_before_every_beat_and_in_fibrillation_there_is_none() -> None:
    spread = {}
    for rhythm in (Rhythm.SINUS, Rhythm.FIBRILLATION):
        window = whole(samples(Stretch(rhythm, 75.0, 80.0))).column("recent", "beats")[-1]
        shapes = window[window[:, HERE] == 1.0, P : P + P_BINS]
        spread[rhythm] = np.ptp(np.median(shapes, axis=0)), np.diff(window[window[:, RR] > 0, RR]).std()
    assert spread[Rhythm.SINUS][0] > 1.5 * spread[Rhythm.FIBRILLATION][0]
    assert spread[Rhythm.SINUS][1] < 0.3 * spread[Rhythm.FIBRILLATION][1]


def test_what_could_not_be_read_is_told() -> None:
    seen = whole(samples(Stretch(Rhythm.SINUS, 40.0, 60.0), Stretch(Rhythm.LEAD_OFF, 35.0)))
    told = context(seen.column("recent", "context")[-1])
    assert told["unreadable"] > 0.3
    assert told["seconds"] == pytest.approx(1.0, abs=0.2)
    first = context(seen.column("recent", "context")[0])
    assert first["unreadable"] < 0.1


def test_after_a_gap_nothing_of_before_is_in_the_row() -> None:
    signal = samples(Stretch(Rhythm.SINUS, 120.0, 60.0))
    windows = EcgWindows()
    row = windows.add(1)
    half, later = 60 * 250, 60 * 250 + 30 * 250
    advance(windows, row, signal, [0, half])
    advance(windows, row, signal, [later, later + 10 * 250])
    newest = windows.newest(row)
    assert newest.beats[0, :, HERE].sum() <= 11
    assert context(newest.context[0])["seconds"] <= 10 / 64
    assert newest.verdict[0] == Verdict.TOO_SHORT


def test_nobody_has_an_empty_row_and_no_nan() -> None:
    windows = EcgWindows()
    newest = windows.newest(windows.add(1))
    assert not newest.beats.any()
    assert context(newest.context[0]) == {
        "seconds": 0.0, "unreadable": 1.0, "poor": 0.0, "beats": 0.0, "vf_most": 0.0, "vf_mean": 0.0,
    }  # fmt: skip
    assert newest.verdict[0] == Verdict.TOO_SHORT

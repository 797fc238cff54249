"""Gaps, repeats, late chunks, clock jumps, changes of device: what is taken, what is cut, that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vitals.ecgfeed import START_US, Seen, advance, matched, start_us, whole
from vitals.findings import Verdict
from vitals.runs import Outcome
from vitals.signal import NOT_MEASURED
from vitals.simulate import Rhythm, Stretch, ecg
from vitals.windows.ecg import EcgStep, EcgWindows

SINUS = ecg(5, [Stretch(Rhythm.SINUS, 30.0)], 250.0)


def chunk(windows: EcgWindows, row: np.ndarray, at_us: int, samples: np.ndarray, rate_hz: float = 250.0) -> EcgStep:
    return windows.advance(
        row,
        np.array([at_us]),
        np.array([rate_hz]),
        np.array([len(samples)], np.int32),
        np.array([5.0]),
        np.array([samples.shape[1]], np.int32),
        samples.ravel(),
    )


@pytest.fixture
def windows() -> EcgWindows:
    return EcgWindows()


def test_a_chunk_that_comes_twice_is_taken_once(windows: EcgWindows) -> None:
    row = windows.add(1)
    once = advance(windows, row, SINUS.samples, [0, 2500, 5000])
    again = Seen([advance(windows, row, SINUS.samples, [0, 2500, 5000]) for _ in range(3)])
    rest = advance(windows, row, SINUS.samples, [5000, 7500])
    assert again.outcomes() == [Outcome.DUPLICATE] * 6
    assert again.total("scored") == 0
    assert Seen([once, rest]).bits() == whole(SINUS.samples).bits()


def test_a_resend_in_other_pieces_gives_only_what_is_new(windows: EcgWindows) -> None:
    row = windows.add(1)
    first = advance(windows, row, SINUS.samples, [0, 2500])
    overlapping = advance(windows, row, SINUS.samples, [1000, 4000])
    rest = advance(windows, row, SINUS.samples, [3999, 7500])
    seen = Seen([first, overlapping, rest])
    assert seen.outcomes() == [Outcome.TAKEN] * 3
    assert seen.bits() == whole(SINUS.samples).bits()


def test_a_one_sample_chunk_that_comes_twice_is_a_duplicate(windows: EcgWindows) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 1000])
    assert Seen([advance(windows, row, SINUS.samples, [999, 1000])]).outcomes() == [Outcome.DUPLICATE]
    assert Seen([advance(windows, row, SINUS.samples, [1000, 1001])]).outcomes() == [Outcome.TAKEN]


@pytest.mark.parametrize("lost", [30, 500])
def test_a_chunk_that_comes_after_its_place_has_passed_is_too_late(windows: EcgWindows, lost: int) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 2000])
    advance(windows, row, SINUS.samples, [2000 + lost, 4000])
    assert Seen([advance(windows, row, SINUS.samples, [2000, 2000 + lost])]).outcomes() == [Outcome.TOO_LATE]
    before = chunk(windows, row, START_US - 3_000_000, SINUS.samples[:, :250])
    assert before.outcome[0] == Outcome.TOO_LATE


def test_a_short_gap_is_bridged_as_not_measured(windows: EcgWindows) -> None:
    """The same as a device that marks its samples itself; no chunk is cut."""
    marked = SINUS.samples.copy()
    marked[:, 3000:3100] = NOT_MEASURED
    row = windows.add(1)
    seen = Seen(
        [advance(windows, row, SINUS.samples, [0, 1500, 3000]), advance(windows, row, SINUS.samples, [3100, 7500])]
    )
    assert seen.total("cut") == 0
    assert seen.bits() == whole(marked).bits()


def test_a_long_gap_cuts_the_open_window_and_starts_anew(windows: EcgWindows) -> None:
    row = windows.add(1)
    at = list(range(0, 2800, 100))
    before = advance(windows, row, SINUS.samples, at)
    waiting = windows.waiting
    after = advance(windows, row, SINUS.samples, [5000, 7500])
    assert waiting > 0
    assert after.cut.tolist() == [waiting]
    assert Seen([before, after]).total("scored") + waiting + windows.waiting == len(at)
    r_s = Seen([before, after]).r_s
    assert not ((r_s > 10.8) & (r_s < 20.0)).any()
    assert (r_s > 20.5).sum() >= 9
    across = after.beats.rr_pre_ms[after.beats.end_us > start_us(5000, 250.0)][0]
    assert across == 0.0  # no interval is known across the gap


def test_levels_outlive_a_gap_so_that_beats_are_seen_at_once(windows: EcgWindows) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 2500])
    after = advance(windows, row, SINUS.samples, [3750, 5500])
    first_known_s = (after.beats.known_us[after.beats.end_us > start_us(3750, 250.0)][0] - START_US) / 1e6
    assert first_known_s < 15.0 + 2.6


@pytest.mark.parametrize(("rate_hz", "leads"), [(360.0, 2), (250.0, 1), (250.0, 12)])
def test_another_rate_or_lead_count_starts_a_new_run(windows: EcgWindows, rate_hz: float, leads: int) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 2590])
    waiting = windows.waiting
    samples = ecg(6, [Stretch(Rhythm.SINUS, 20.0)], rate_hz).samples
    samples = np.concatenate([samples] * 6)[:leads]
    step = chunk(windows, row, start_us(2590, 250.0), np.ascontiguousarray(samples), rate_hz)
    assert step.outcome[0] == Outcome.TAKEN
    assert step.cut[0] == waiting
    assert len(step.beats) > 15
    alone = EcgWindows()
    fresh = chunk(alone, alone.add(1), start_us(2590, 250.0), np.ascontiguousarray(samples), rate_hz)
    later = step.beats.end_us > start_us(2590, 250.0) + 400_000
    assert step.beats.ecg_mv[later].tobytes() == fresh.beats.ecg_mv.tobytes()


def test_a_clock_set_forward_is_a_gap(windows: EcgWindows) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 2500])
    step = chunk(windows, row, START_US + 86_400_000_000, SINUS.samples)
    assert step.outcome[0] == Outcome.TAKEN
    assert step.rhythm.end_us.min() > START_US + 86_400_000_000


def test_a_clock_set_back_is_followed_after_a_minute_of_it(windows: EcgWindows) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 7500])
    outcomes = [
        int(chunk(windows, row, START_US - 3_600_000_000 + k * 1_000_000, SINUS.samples[:, :250]).outcome[0])
        for k in range(70)
    ]
    assert outcomes == [Outcome.TOO_LATE] * 59 + [Outcome.TAKEN] * 11


def test_a_resent_half_minute_does_not_turn_the_clock_back(windows: EcgWindows) -> None:
    row = windows.add(1)
    advance(windows, row, SINUS.samples, [0, 7500])
    again = Seen([advance(windows, row, SINUS.samples, list(range(0, 7501, 250))) for _ in range(4)])
    assert set(again.outcomes()) == {Outcome.DUPLICATE}


def test_a_device_clock_that_drifts_keeps_its_beats(windows: EcgWindows) -> None:
    """100 ppm: start times run away from the count of samples by one sample every 40 s."""
    sinus = ecg(8, [Stretch(Rhythm.SINUS, 180.0)], 250.0)
    row = windows.add(1)
    seen = Seen()
    for k in range(180):
        at_us = START_US + round(k * 1_000_000 * (1 + 100e-6))
        seen.steps.append(chunk(windows, row, at_us, sinus.samples[:, k * 250 : (k + 1) * 250]))
    assert set(seen.outcomes()) == {Outcome.TAKEN}
    assert seen.total("cut") == 0
    assert matched(sinus.beat_s * (1 + 100e-6), seen.r_s, within_s=0.02)[1:] == (1, 0)  # but for the last, still open


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_chunk_is_scored_cut_waiting_or_refused(seed: int) -> None:
    """A hostile stream of chunks: repeats, holes, jumps, other rates and leads, extreme samples."""
    random = np.random.default_rng(seed)
    windows = EcgWindows()
    rows = windows.add(3)
    clock = np.full(3, START_US)
    taken = np.zeros(3, np.int64)
    ended = np.zeros(3, np.int64)
    rate_hz = np.full(3, 250.0)
    for _ in range(80):
        k = int(random.integers(3))
        n = int(random.choice([1, 3, 40, 250, 900]))
        match random.integers(8):
            case 0:
                at_us = int(clock[k] - random.integers(0, 20_000_000))
            case 1:
                at_us = int(clock[k] + random.integers(0, 3_000_000))
            case 2:
                rate_hz[k] = random.choice([50.0, 250.0, 2000.0])
                at_us = int(clock[k])
            case _:
                at_us = int(clock[k])
        leads = int(random.choice([1, 2, 2, 2, 12]))
        samples = random.integers(-32768, 32768, (leads, n)).astype(np.int16)
        step = chunk(windows, rows[k : k + 1], at_us, samples, rate_hz[k])
        if step.outcome[0] == Outcome.TAKEN:
            taken[k] += 1
            clock[k] = at_us + round(n * 1e6 / rate_hz[k])
        else:
            assert step.scored[0] == step.cut[0] == 0
        ended[k] += step.scored[0] + step.cut[0]
        assert np.isfinite(step.beats.ecg_mv).all()
        assert np.isfinite(step.beats.context).all()
    assert (taken - ended).tolist() == windows.waiting_of(rows).tolist()
    assert windows.waiting == int((taken - ended).sum())


@pytest.mark.parametrize("rate_hz", [50.0, 2000.0])
@pytest.mark.parametrize("value", [-32767, 32767, 0])
def test_a_line_at_any_level_is_no_heart_and_not_believed(rate_hz: float, value: int) -> None:
    seen = whole(np.full((12, int(20 * rate_hz)), value, np.int16), rate_hz, gain_uv=1000.0)
    assert len(seen.r_s) == 0
    verdicts = set(seen.column("rhythm", "verdict")[1:].tolist())
    assert verdicts <= {Verdict.LEAD_OFF, Verdict.FLAT, Verdict.CLIPPED}


def test_freed_rows_are_blank_when_used_again(windows: EcgWindows) -> None:
    row = windows.add(1)
    first = Seen([advance(windows, row, SINUS.samples, [0, 2590])])
    windows.free(row)
    assert windows.waiting == 0
    again = windows.add(1)
    assert again.tolist() == row.tolist()
    assert Seen([advance(windows, again, SINUS.samples, [0, 2590])]).bits() == first.bits()


def test_foreign_snapshots_are_refused(windows: EcgWindows) -> None:
    rows = windows.add(2)
    saved = windows.snapshot(rows)
    damaged = bytearray(saved)
    damaged[len(saved) // 2] ^= 1
    for state in (b"", b"nonsense", saved[:-1], saved + b"x", bytes(damaged), windows.snapshot(rows[:1])):
        with pytest.raises(ValueError, match="snapshot"):
            windows.restore(rows, state)
    windows.restore(rows, saved)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_samples": 0},
        {"n_samples": 251},
        {"n_leads": 0},
        {"rate_hz": 49.0},
        {"rate_hz": float("nan")},
        {"gain_uv": 0.0},
        {"gain_uv": float("inf")},
        {"start_us": 0},
        {"row": 7},
        {"row": -1},
    ],
)
def test_a_call_that_does_not_fit_is_refused_whole(windows: EcgWindows, wrong: dict[str, float]) -> None:
    row = windows.add(1)
    given = {
        "row": row[0],
        "start_us": START_US,
        "rate_hz": 250.0,
        "n_leads": 2,
        "gain_uv": 5.0,
        "n_samples": 250,
    } | wrong
    with pytest.raises(ValueError, match=r"."):
        windows.advance(
            np.array([given["row"]], np.int32),
            np.array([given["start_us"]], np.int64),
            np.array([given["rate_hz"]]),
            np.array([given["n_leads"]], np.int32),
            np.array([given["gain_uv"]]),
            np.array([given["n_samples"]], np.int32),
            SINUS.samples[:, :250].ravel(),
        )
    assert windows.waiting == 0

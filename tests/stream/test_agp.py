"""Two weeks of a glucose monitor as a page: from tables as they come, and from the broker."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from kafka import KafkaProducer

from stream import agp
from stream.agp import newest_profile, page, wearer
from stream.topics import Topic
from vitals import codec
from vitals.clock import SystemClock
from vitals.events import GlucoseReading, Record
from vitals.units import US_PER_S

START = datetime(2026, 3, 20, tzinfo=ZoneInfo("Europe/Vienna"))
"""Ten days before the clocks go forward there."""


def table(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    path.write_text("id,time,gl\n" + "".join(f"{','.join(row)}\n" for row in rows), encoding="utf-8")
    return path


def days(n: int, mg_dl: str = "120") -> list[tuple[str, str, str]]:
    begin = datetime(2026, 1, 1)
    return [("ada", str(begin + timedelta(minutes=5 * i)), mg_dl) for i in range(288 * n)]


def record(time_us: int, glucose: float, unit: str = "mg/dL") -> Record:
    reading = GlucoseReading(patient="ada", device="d", time_us=time_us, glucose=glucose, unit=unit)
    return Record(Topic.GLUCOSE, 0, 0, 0, b"ada", codec.encode(reading))


def test_a_table_of_two_weeks_becomes_a_page_with_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert agp.main([str(table(tmp_path / "cgm.csv", days(14))), "--out", str(out)]) == 0
    assert "1 people, 1 with enough" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    assert "GMI <b>6.2 %</b>" in text
    assert "nan" not in text.lower()


def test_a_week_is_drawn_but_not_judged(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert agp.main([str(table(tmp_path / "cgm.csv", days(7))), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "No figures:" in text
    assert "GMI" not in text
    assert "<path" in text


def test_readings_that_the_live_path_refuses_are_not_drawn_and_counted(tmp_path: Path) -> None:
    at = round(START.timestamp() * US_PER_S)
    five = 300 * US_PER_S
    one = wearer("ada", [record(at, 100), record(at + five, 1.8), record(at + 2 * five, 12), record(at, 180),
                         record(at + 3 * five, 6.1, "mmol/L"), record(at + 4 * five, 6.1, "stones")])  # fmt: skip
    assert one.glucose_mg_dl.tolist() == pytest.approx([100, 109.9], abs=0.1)
    assert one.refused == 4


def test_the_day_that_lost_an_hour_keeps_the_hours_of_the_wearer() -> None:
    zone = ZoneInfo("Europe/Vienna")
    at = [START + timedelta(minutes=5 * i) for i in range(288 * 14)]  # the wearer's own clock, which jumps
    local = np.array([moment.hour for moment in at])
    times = [round(moment.timestamp() * US_PER_S) for moment in at]
    kept = dict(zip(times, local.tolist(), strict=True))
    made = newest_profile(wearer("ada", [record(us, 90 if hour < 12 else 160) for us, hour in kept.items()]), zone)
    assert made.curve_mg_dl[8 * 4, 2] == 90
    assert (made.curve_mg_dl[10 * 4 : 11 * 4] == 90).all()
    assert (made.curve_mg_dl[13 * 4 : 14 * 4] == 160).all()


def test_a_hostile_name_stays_text() -> None:
    one = wearer("<script>x</script>", [record(round(START.timestamp() * US_PER_S), 100)])
    assert "<script" not in page([(one, newest_profile(one, None))], None)


def test_nothing_to_show_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agp.main([str(table(tmp_path / "cgm.csv", [])), "--out", str(tmp_path / "x.html")]) == 1
    assert "no glucose reading" in capsys.readouterr().err
    assert agp.main([str(tmp_path / "absent.csv")]) == 1


@pytest.mark.broker
def test_a_patient_of_the_ward_is_read_from_the_topic(kafka_topics: str, tmp_path: Path) -> None:
    now_us = SystemClock().now_us()
    sent = [("ada", now_us - i * 300 * US_PER_S, 150.0) for i in range(3)] + [("bob", now_us, 333.0)]
    with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
        for patient, time_us, mg_dl in sent:
            one = GlucoseReading(patient=patient, device="d", time_us=time_us, glucose=mg_dl)
            producer.send(Topic.GLUCOSE.value, codec.encode(one), key=patient.encode()).get(timeout=30)
    out = tmp_path / "ada.html"
    assert agp.main(["--kafka", kafka_topics, "--patient", "ada", "--out", str(out)]) == 0
    assert "measured 0%" in out.read_text(encoding="utf-8")
    assert agp.main(["--kafka", kafka_topics, "--patient", "nobody", "--out", str(out)]) == 1

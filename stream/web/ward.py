"""The whole ward in memory: beds, alarms, order. Written by the readers of the topics, read for every viewer."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.web import alarmlist, tiles
from stream.web.alarmlist import AlarmList
from stream.web.beds import INPUTS, Beds, Section, natural_key
from vitals.alerts import AlertEvent, AlertTransition, Signal
from vitals.clock import Clock
from vitals.events import GateVerdict
from vitals.findings import Findings, Verdict
from vitals.limits import Limit
from vitals.risk import Band, InputState, RiskBatch
from vitals.selftest import is_self_test
from vitals.unit import FACTORY, Unit
from vitals.units import US_PER_S

BED_ORDER: Final = "bed"
URGENCY_ORDER: Final = "urgency"
MAX_PAGE: Final = 64
_ALARMS_LISTED: Final = 40
_PAST_LISTED: Final = 12
_OVERDUE_US: Final = 10 * US_PER_S
_FORGET_US: Final = 12 * 3600 * US_PER_S
_MARKS_SHOWN: Final = 12

Order = npt.NDArray[np.int64]


class Ward:
    """Every call takes the lock; none keeps it for longer than one record or one page."""

    def __init__(self, clock: Clock, capacity: int, unit: Unit = FACTORY) -> None:
        self._unit = unit
        self._clock = clock
        self._lock = threading.Lock()
        self._beds = Beds(capacity)
        self._alarms = AlarmList()
        self._urgency: npt.NDArray[np.int8] = np.zeros(capacity, np.int8)
        self._by_name: Order = np.empty(0, np.int64)
        self._named = -1
        self._refused: dict[str, int] = {}
        self._feeds: dict[str, str] = {}
        self._gate: dict[str, GateVerdict] = {}

    def take_findings(self, findings: Findings, arrived_us: int) -> None:
        """One record of ``findings.v1``."""
        with self._lock:
            for table in findings.tables:
                self._beds.take(table, arrived_us)

    def take_risks(self, batch: RiskBatch, arrived_us: int) -> None:
        """One record of ``risk.v1``."""
        with self._lock:
            self._beds.take_risks(batch, arrived_us)

    def take_alert(self, step: AlertTransition, arrived_us: int) -> None:
        """One record of ``alerts.v1``."""
        if is_self_test(step.patient):
            return
        with self._lock:
            if not self._alarms.take(step):
                return
            if step.event is AlertEvent.DISCHARGED:
                self._forget(step.patient)
                return
            row = int(self._beds.rows_of([step.patient], arrived_us)[0])
            if row >= 0:
                self._urgency[row] = alarmlist.urgency(self._alarms.of(step.patient))
                self._beds.touch(np.array([row]), Section.ALARMS)

    def take_gate(self, verdict: GateVerdict) -> None:
        """One record of ``gate.v1``; the newest of a task counts."""
        with self._lock:
            known = self._gate.get(verdict.task)
            if known is None or verdict.when_us >= known.when_us:
                self._gate[verdict.task] = verdict

    def feed(self, name: str, state: str, refused: int = 0) -> None:
        """How a reader is doing; ``refused`` records could not be used since it last said so."""
        with self._lock:
            self._feeds[name] = state
            self._refused[name] = self._refused.get(name, 0) + refused

    def alarm(self, alert_id: str) -> AlertTransition | None:
        """The newest step of an alarm, also of one that is over."""
        with self._lock:
            return self._alarms.find(alert_id)

    def past_alarms(self, bed: str) -> list[AlertTransition]:
        """The last steps of the bed's latest alarms that are over, the latest first; none of a bed that has gone."""
        with self._lock:
            return self._alarms.past(bed, _PAST_LISTED) if bed in self._beds.index else []

    def forget_the_silent(self) -> None:
        """Let beds go from which nothing has come for half a day and that have no open alarm."""
        with self._lock:
            for row in self._beds.silent_since(self._clock.now_us() - _FORGET_US):
                name = self._beds.names[row]
                if name not in self._alarms.by_patient:
                    self._forget(name)

    def now_us(self) -> int:
        """Processing time of the server."""
        return self._clock.now_us()

    def frame(self, view: tiles.View) -> tuple[tiles.WardFrame, list[str]]:
        """Which beds are on the page (keys in the frame, names beside it), and the state of the whole ward."""
        with self._lock:
            order = self._ordered(view)
            pages = max(1, math.ceil(len(order) / view.size))
            page = min(view.page, pages - 1)
            shown = order[page * view.size : (page + 1) * view.size].tolist()
            alarms = self._alarms.all()
            frame = tiles.WardFrame(
                order=shown,
                page=page,
                pages=pages,
                matching=len(order),
                total=len(self._beds),
                not_carried=self._beds.turned_away,
                counts=self._counts(alarms),
                alarms=[self._alarm(alarm) for alarm in alarms[:_ALARMS_LISTED]],
                alarm_total=len(alarms),
                feeds=[tiles.FeedShown(n, s, self._refused.get(n, 0)) for n, s in sorted(self._feeds.items())],
                engines=[tiles.EngineShown(t, e, m) for t, (e, m) in sorted(self._beds.engines.items())],
                gate=[
                    tiles.GateShown(task, one.when_us, one.why, one.bundle, one.refused)
                    for task, one in sorted(self._gate.items())
                ],
            )
            return frame, [self._beds.names[row] for row in shown]

    def changed(self, rows: Iterable[int], told: dict[int, list[int]]) -> list[tiles.BedShown]:
        """Tiles of ``rows`` with the sections that are newer than ``told`` (by row: a version for each section).

        ``told`` is brought up to date and forgets rows that are not asked for.
        """
        with self._lock:
            wanted = list(rows)
            for row in told.keys() - set(wanted):
                del told[row]
            found = []
            for row in wanted:
                name = self._beds.names[row]
                versions: list[int] = self._beds.version[row].tolist()
                before = told.get(row)
                if versions != before and name:
                    found.append(self._tile(row, name, [before is None or v != b for v, b in _pairs(versions, before)]))
                    told[row] = versions
            return found

    def _forget(self, name: str) -> None:
        self._alarms.forget(name)
        row = self._beds.index.get(name)
        if row is not None:
            self._beds.let_go(row)
            self._urgency[row] = 0

    def _ordered(self, view: tiles.View) -> Order:
        beds = self._beds
        if self._named != beds.roster:
            rows = sorted(beds.index.values(), key=lambda row: natural_key(beds.names[row]))
            self._by_name = np.array(rows, np.int64)
            self._named = beds.roster
        order = self._by_name
        if view.find:
            wanted = view.find.casefold()
            order = np.array([row for row in order.tolist() if wanted in beds.names[row].casefold()], np.int64)
        if view.order == URGENCY_ORDER:
            # stable: beds of the same urgency stay in the order of their names
            worst = -(self._urgency[order].astype(np.int64) * 16 + beds.risk_band[order])
            order = order[np.argsort(worst, kind="stable")]
        return order

    def _counts(self, alarms: Sequence[AlertTransition]) -> tiles.Counts:
        by_priority = {"high": 0, "medium": 0, "low": 0}
        answered = paused = 0
        for alarm in alarms:
            if alarm.signal is Signal.ACKNOWLEDGED:
                answered += 1
            elif alarm.signal is Signal.PAUSED:
                paused += 1
            else:
                by_priority[alarm.priority or "low"] += 1
        rows = self._beds.ecg_us > 0
        age_us = self._clock.now_us() - np.minimum(self._beds.ecg_us[rows], self._beds.ecg_arrived_us[rows])
        silent = int((age_us > _OVERDUE_US).sum())
        return tiles.Counts(**by_priority, acknowledged=answered, paused=paused, silent=silent)

    def _tile(self, row: int, name: str, fresh: list[bool]) -> tiles.BedShown:
        changed: dict[str, object] = {}
        if fresh[Section.ECG]:
            changed["ecg"] = self._ecg(row)
        if fresh[Section.GLUCOSE]:
            changed["glucose"] = self._glucose(row)
        if fresh[Section.IMAGES]:
            changed["images"] = self._images(row)
        if fresh[Section.RISK]:
            changed["risk"] = self._risk(row)
        if fresh[Section.ALARMS]:
            changed["alarms"] = [self._alarm(alarm) for alarm in self._alarms.of(name)]
            changed["paused_until_us"] = self._alarms.paused_until_us.get(name, 0)
        return tiles.BedShown(row, name, **changed)  # type: ignore[arg-type]

    def _ecg(self, row: int) -> tiles.EcgShown | None:
        beds = self._beds
        if not beds.ecg_us[row]:
            return None
        return tiles.EcgShown(
            end_us=int(beds.ecg_us[row]),
            arrived_us=int(beds.ecg_arrived_us[row]),
            verdict=_word(Verdict(int(beds.ecg_verdict[row]))),
            heart_rate=_known(beds.heart_rate[row]),
            irregularity=_known(beds.irregularity[row]),
            beat=beds.beat(row),
            ventricular_per_min=beds.ventricular_per_min(row),
            marks=list(beds.marks.get(row, ()))[-_MARKS_SHOWN:],
        )

    def _glucose(self, row: int) -> tiles.GlucoseShown | None:
        bed = self._beds.glucose.get(row)
        if bed is None:
            return None
        return tiles.GlucoseShown(
            end_us=bed.end_us,
            arrived_us=bed.arrived_us,
            verdict=_word(bed.verdict),
            mg_dl=_known(bed.mg_dl),
            trend_mg_dl_min=_known(bed.trend_mg_dl_min),
            readings=list(bed.readings),
            forecast=None if bed.forecast is None else bed.forecast.round(1).tolist(),
            p_low=_known(bed.p_low),
            p_high=_known(bed.p_high),
        )

    def _images(self, row: int) -> list[tiles.ImageShown]:
        return [
            tiles.ImageShown(task, image.end_us, image.arrived_us, _word(image.verdict), _known(image.p))
            for task, image in sorted(self._beds.images.get(row, {}).items(), key=lambda item: -item[1].end_us)
        ]

    def _risk(self, row: int) -> tiles.RiskShown | None:
        beds = self._beds
        if not beds.risk_us[row]:
            return None
        p, lower, upper = (_known(value) for value in beds.risk[row])
        inputs = [
            tiles.InputShown(
                task,
                InputState(int(beds.input_state[row, k])).name.lower(),
                _known(beds.input_age_s[row, k]),
                _known(beds.input_says[row, k]),
            )
            for k, task in enumerate(INPUTS)
        ]
        return tiles.RiskShown(
            time_us=int(beds.risk_us[row]),
            arrived_us=int(beds.risk_arrived_us[row]),
            band=Band(int(beds.risk_band[row])).name.lower(),
            horizon_min=beds.risk_horizon_min,
            p=p,
            lower=lower,
            upper=upper,
            inputs=inputs,
        )

    def _alarm(self, alarm: AlertTransition) -> tiles.AlarmShown:
        evidence = alarm.evidence
        return tiles.AlarmShown(
            alert_id=alarm.alert_id,
            step=alarm.step,
            key=self._beds.index.get(alarm.patient, -1),
            bed=alarm.patient,
            condition=alarm.condition or "",
            priority=alarm.priority or "low",
            kind=alarm.kind or "technical",
            signal=alarm.signal,
            presence=alarm.presence,
            onset_us=alarm.onset_us,
            time_us=alarm.time_us,
            text=alarm.text,
            escalation=alarm.escalation,
            until_us=alarm.until_us,
            who=alarm.who,
            role=alarm.role,
            reason=alarm.reason,
            measure=evidence.measure if evidence else "",
            value=evidence.value if evidence else None,
            limit=evidence.limit if evidence else None,
            unit=evidence.unit if evidence else "",
            snooze_max_s=self._unit.rules[alarm.condition].snooze_max_s if alarm.condition else 0.0,
            limit_bounds=_bounds(self._unit.limits[alarm.condition]) if alarm.condition else None,
        )


def _pairs(versions: list[int], before: list[int] | None) -> Iterable[tuple[int, int]]:
    return zip(versions, before if before is not None else versions, strict=True)


def _bounds(limit: Limit) -> tuple[float, float] | None:
    return (limit.lowest, limit.highest) if limit.adjustable else None


def _known(value: float | np.floating) -> float | None:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None


def _word(verdict: Verdict) -> str:
    return verdict.name.lower().replace("_", "-")

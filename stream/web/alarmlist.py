"""The alarms that are not over, as ``alerts.v1`` tells them: the newest step of each alert says how things stand."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

from msgspec.structs import replace

from vitals.alerts import AlertEvent, AlertTransition, Signal
from vitals.conditions import Kind, Priority

_REMEMBERED: Final = 20_000
"""Alerts that are over and whose last step is still known: a replayed record must not bring one back, and a link leads
to them.
"""

_SOUNDING: Final = frozenset({Signal.ON, Signal.LATCHED})


class AlarmList:
    """Open alarms by patient, and until when a patient's alarms are paused."""

    def __init__(self) -> None:
        self.by_patient: dict[str, dict[str, AlertTransition]] = {}
        self.paused_until_us: dict[str, int] = {}
        self.change = 0
        """Grows with everything taken in that changed something."""
        self._over: OrderedDict[str, AlertTransition] = OrderedDict()
        self._sorted: list[AlertTransition] = []
        self._sorted_at = 0

    def take(self, step: AlertTransition) -> bool:
        """Whether ``step`` changed anything; a step that is known already does not."""
        changed = self._take_alert(step) if step.alert_id else self._take_patient(step)
        self.change += changed
        return changed

    def of(self, patient: str) -> list[AlertTransition]:
        """Open alarms of one patient, worst first."""
        return sorted(self.by_patient.get(patient, {}).values(), key=severity)

    def all(self) -> list[AlertTransition]:
        """Open alarms of the ward, worst first. Sorted once for all who ask until something changes."""
        if self._sorted_at != self.change:
            self._sorted = sorted((a for alarms in self.by_patient.values() for a in alarms.values()), key=severity)
            self._sorted_at = self.change
        return self._sorted

    def find(self, alert_id: str) -> AlertTransition | None:
        """The newest step of an alert that is open, or has been over for not too long."""
        return next((alarm for alarm in self.all() if alarm.alert_id == alert_id), self._over.get(alert_id))

    def past(self, patient: str, most: int) -> list[AlertTransition]:
        """The last steps of a patient's alerts that are over, the latest first."""
        return list(islice((step for step in reversed(self._over.values()) if step.patient == patient), most))

    def forget(self, patient: str) -> None:
        """The patient has gone."""
        self.by_patient.pop(patient, None)
        self.paused_until_us.pop(patient, None)
        self.change += 1

    def _take_alert(self, step: AlertTransition) -> bool:
        alarms = self.by_patient.get(step.patient, {})
        held = alarms.get(step.alert_id)
        last = held if held is not None else self._over.get(step.alert_id)
        if last is not None and step.step <= last.step:
            return False
        if step.signal is Signal.OFF:
            alarms.pop(step.alert_id, None)
            if not alarms:
                self.by_patient.pop(step.patient, None)
            self._over[step.alert_id] = step
            if len(self._over) > _REMEMBERED:
                self._over.popitem(last=False)
        else:
            if held is not None and held.evidence is not None and step.event is not AlertEvent.RETURNED:
                step = replace(step, evidence=held.evidence)  # what it was raised for is still what it is about
            self.by_patient.setdefault(step.patient, alarms)[step.alert_id] = step
        return True

    def _take_patient(self, step: AlertTransition) -> bool:
        match step.event:
            case AlertEvent.PAUSED:
                self.paused_until_us[step.patient] = step.until_us
            case AlertEvent.RESUMED | AlertEvent.DISCHARGED:
                self.paused_until_us.pop(step.patient, None)
            case _:
                return False
        return True


def urgency(alarms: list[AlertTransition]) -> int:
    """0 nothing open; 1 to 3 answered or paused (low to high); 4 to 6 nobody has answered."""
    return max((_level(alarm) for alarm in alarms), default=0)


def severity(alarm: AlertTransition) -> tuple[int, int, int, str]:
    """Sorts the worst first: unanswered, priority, physiological before technical, then the newest."""
    return -_level(alarm), alarm.kind is Kind.TECHNICAL, -alarm.onset_us, alarm.alert_id


def _level(alarm: AlertTransition) -> int:
    rank = (alarm.priority or Priority.LOW).rank + 1
    return rank + 3 if alarm.signal in _SOUNDING else rank

"""``python -m stream burden --last 7d``: what the alarms ask of the staff, by bed and day, from ``alerts.v1`` alone.

Per day: beds that had an alarm, alarms by priority and the technical among them, floods, how many were called again
(escalations), the median time to an acknowledgement, the busiest bed, and of the alarms that staff judged at the board
the share that was true (``labels.v1``). Beds are named only where ``--beds`` asks for them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

from kafka.errors import KafkaError

from stream import config
from stream.rehearsal.readback import ago_ms, said_since, span
from stream.topics import Topic
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import utc_day
from vitals.conditions import Condition, Kind
from vitals.errors import Fault
from vitals.events import Label
from vitals.selftest import is_self_test
from vitals.units import US_PER_S

BedDay = tuple[str, str]
_HEAD = ("high", "medium", "low", "technical", "floods", "escalated")


@dataclass(slots=True)
class Burden:
    """Alarms by (patient, UTC day of the onset). A step that comes twice counts once."""

    alarms: dict[BedDay, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    answered_s: dict[BedDay, list[float]] = field(default_factory=lambda: defaultdict(list))
    judged: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _called_us: dict[str, int] = field(default_factory=dict)
    _day_of: dict[str, str] = field(default_factory=dict)

    def take(self, step: AlertTransition) -> None:
        """One step of an alarm, in the order of its log."""
        if is_self_test(step.patient) or not step.alert_id or (step.alert_id, step.step) in self._seen:
            return
        self._seen.add((step.alert_id, step.step))
        key = step.patient, utc_day(step.onset_us)
        if step.event is AlertEvent.RAISED:
            self._called_us[step.alert_id] = step.time_us
            self._day_of[step.alert_id] = key[1]
            self.alarms[key][step.priority or ""] += 1
            self.alarms[key]["technical"] += step.kind is Kind.TECHNICAL
            self.alarms[key]["floods"] += step.condition is Condition.ALARM_FLOOD
        elif step.event is AlertEvent.ESCALATED:
            self.alarms[key]["escalated"] += 1
        elif step.event is AlertEvent.ACKNOWLEDGED and step.alert_id in self._called_us:
            self.answered_s[key].append((step.time_us - self._called_us.pop(step.alert_id)) / US_PER_S)

    def judge(self, label: Label) -> None:
        """What somebody said an alarm was worth; of an alarm that was taken before."""
        if label.alert_id in self._day_of:
            self.judged[self._day_of[label.alert_id]][label.value] += 1


def report(burden: Burden, *, by_bed: bool) -> Iterator[str]:
    """Lines for people."""
    head = " ".join(f"{name:>9}" for name in _HEAD)
    yield f"{'day':12} {'beds':>6} {head} {'a bed':>7} {'worst':>7} {'answer s':>9} {'true':>10}"
    for day in sorted({day for _, day in burden.alarms}):
        beds = {bed: counts for (bed, of), counts in burden.alarms.items() if of == day}
        total = sum(beds.values(), Counter[str]())
        each = [sum(counts[p] for p in _HEAD[:3]) for counts in beds.values()]
        answered = [s for (_, of), waits in burden.answered_s.items() if of == day for s in waits]
        judged = burden.judged[day]
        true = f"{judged['true']} of {judged.total()}" if judged else ""
        counts = " ".join(f"{total[name]:9}" for name in _HEAD)
        answer = f"{median(answered):9.0f}" if answered else " " * 9
        yield f"{day:12} {len(beds):6} {counts} {sum(each) / len(each):7.1f} {max(each):7} {answer} {true:>10}"
    if by_bed:
        yield ""
        yield f"{'bed and day':32} {head}"
        for (bed, day), counts_of in sorted(burden.alarms.items()):
            yield f"{f'{bed} {day}':32.32} " + " ".join(f"{counts_of[name]:9}" for name in _HEAD)


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when the log was read to its end."""
    parser = argparse.ArgumentParser(prog="python -m stream burden", description=__doc__)
    parser.add_argument("--last", type=span, default=timedelta(days=7), metavar="SPAN", help="30m, 12h or 7d")
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    parser.add_argument("--beds", action="store_true", help="by bed as well: names patients")
    asked = parser.parse_args(argv)
    try:
        found = read(asked.kafka or config.read(os.environ).kafka, ago_ms(asked.last))
    except (Fault, KafkaError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in report(found, by_bed=asked.beds))
    return 0


def read(bootstrap: str, since_ms: int) -> Burden:
    """What was told since ``since_ms`` (the broker's clock). Raises ``Fault`` when it cannot be read to its end."""
    found = Burden()
    for step in said_since(bootstrap, Topic.ALERTS, AlertTransition, since_ms):
        found.take(step)
    for label in said_since(bootstrap, Topic.LABELS, Label, since_ms):
        found.judge(label)
    return found

"""Alarms whose strips are not cut yet, and the ECG of the last seconds that they are cut from. No clock, no broker.

Memory is bounded twice: what arrived lately is kept for ``KEPT_S`` and at most ``MOST_KEPT_BYTES``, and what an alarm
waits with is a copy of its patient's chunks alone, at most ``MOST_WAITING_BYTES`` for all alarms.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from stream.recent import Kept, Recent
from vitals import strips
from vitals.alerts import AlertTransition
from vitals.selftest import is_self_test
from vitals.strips import Chunk, Strip, Wanted
from vitals.units import US_PER_S

KEPT_S: Final = 30.0
MOST_KEPT_BYTES: Final = 512 * 1024 * 1024
MOST_WAITING: Final = 20_000
MOST_WAITING_BYTES: Final = 256 * 1024 * 1024
_REMEMBERED: Final = 50_000


@dataclass(slots=True)
class _Waiting:
    """An alarm with what there is of its strip. ``ended_us``: when the chunk arrived that may be its last, 0 before."""

    wanted: Wanted
    let_go: bool
    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0
    ended_us: int = 0


class Freezer:
    """``begins_us``: nothing that arrived before it is ever handed in. ``clock_ahead_us``: as at the door."""

    def __init__(
        self,
        begins_us: int,
        clock_ahead_us: int,
        *,
        most_kept_bytes: int = MOST_KEPT_BYTES,
        most_waiting: int = MOST_WAITING,
        most_waiting_bytes: int = MOST_WAITING_BYTES,
    ) -> None:
        self._begins_us = begins_us
        self._clock_ahead_us = clock_ahead_us
        self._most_kept_bytes = most_kept_bytes
        self._most_waiting = most_waiting
        self._most_waiting_bytes = most_waiting_bytes
        self._recent: dict[int, Recent] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self.kept_bytes = 0
        self._waiting_bytes = 0
        self.waiting = 0
        """Alarms whose strip is not cut."""
        self.turned_away = 0
        """Alarms that had to go without a strip: too many waited."""

    def know(self, alert_id: str) -> None:
        """The strip of this alarm is made, or on its way: it is not made again."""
        self._known[alert_id] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def take_alert(self, step: AlertTransition, told_us: int) -> None:
        """One step of ``alerts.v1``, written at ``told_us``: one that raises an alarm of the ECG wants a strip."""
        wanted = strips.wanted(step, told_us)
        if wanted is None or is_self_test(step.patient) or step.alert_id in self._known:
            return
        self.know(step.alert_id)
        if self.waiting >= self._most_waiting:
            self.turned_away += 1
            return
        before_us = max(self._begins_us, *(recent.let_go_us for recent in self._recent.values()), 0)
        waiting = _Waiting(wanted, let_go=before_us > wanted.first_arrives_us)
        self._waiting.setdefault(step.patient, []).append(waiting)
        self.waiting += 1
        for partition, recent in self._recent.items():
            if recent and recent.newest_us >= wanted.since_us:
                for kept in recent:
                    self._give(waiting, kept, partition)

    def take_ecg(self, value: bytes, content_type: str, partition: int, offset: int, arrived_us: int) -> None:
        """One record of ``ecg.v1``, each partition's in order. Raises ``ValueError`` for one that is no bundle."""
        recent = self._recent.setdefault(partition, Recent(KEPT_S, self._most_kept_bytes))
        self.kept_bytes -= recent.size
        try:
            kept = recent.take(value, content_type, offset, arrived_us)
        finally:
            self.kept_bytes += recent.size
        while self.kept_bytes > self._most_kept_bytes:
            oldest = min((one for one in self._recent.values() if one), key=lambda one: one.oldest_us)
            self.kept_bytes -= oldest.size
            oldest.let_go()
            self.kept_bytes += oldest.size
        for patient in self._waiting.keys() & kept.place.keys():
            for waiting in self._waiting[patient]:
                self._give(waiting, kept, partition)

    def cut(self, read_us: int) -> list[Strip]:
        """The strips that are whole, or will not become so. ``read_us``: all that arrived before it was handed in."""
        done: list[Strip] = []
        for patient, all_waiting in list(self._waiting.items()):
            still: list[_Waiting] = []
            for waiting in all_waiting:
                strip = self._cut(waiting, read_us)
                if strip is None:
                    still.append(waiting)
                else:
                    done.append(strip)
                    self.waiting -= 1
                    self._waiting_bytes -= waiting.size
            if still:
                self._waiting[patient] = still
            else:
                del self._waiting[patient]
        return done

    def _cut(self, waiting: _Waiting, read_us: int) -> Strip | None:
        if not 0 < waiting.ended_us <= read_us and read_us < waiting.wanted.until_us:
            return None
        ends = (one.arrived_us for one in waiting.chunks if one.end_us >= waiting.wanted.to_us)
        waiting.ended_us = min((us for us in ends if us > read_us), default=0)
        return strips.cut(waiting.wanted, waiting.chunks, read_us=read_us, let_go=waiting.let_go)

    def _give(self, waiting: _Waiting, kept: Kept, partition: int) -> None:
        row = kept.row_of(waiting.wanted.step.patient)
        if row is None or not waiting.wanted.since_us <= kept.arrived_us <= waiting.wanted.until_us:
            return
        bundle = kept.bundle
        if bundle.start_us[row] > kept.arrived_us + self._clock_ahead_us:
            return
        end_us = bundle.start_us[row] + round(bundle.n_samples[row] * US_PER_S / bundle.rate_hz[row])
        if end_us <= waiting.wanted.from_us:
            return
        samples = kept.samples(row)
        if self._waiting_bytes + samples.nbytes > self._most_waiting_bytes:
            waiting.let_go = True
            return
        chunk = Chunk(
            arrived_us=kept.arrived_us,
            partition=partition,
            offset=kept.offset,
            gateway=bundle.gateway,
            start_us=bundle.start_us[row],
            rate_hz=bundle.rate_hz[row],
            gain_uv=bundle.gain_uv[row],
            leads=tuple(bundle.leads[row]),
            samples=samples.copy(),
        )
        waiting.chunks.append(chunk)
        waiting.size += samples.nbytes
        self._waiting_bytes += samples.nbytes
        if end_us >= waiting.wanted.to_us and not waiting.ended_us:
            waiting.ended_us = kept.arrived_us

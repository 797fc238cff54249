"""Up to when time may be told to have passed in this worker: whatever had arrived by then has been decided.

A stream is silent when nothing came, not when what came has not been read yet: after a restart, a takeover or a broken
broker the ward's data wait in the log while the clock goes on. So twice a second the ends of the logs are noted, and
the moment of a note is reached when everybody's records before it were taken (their acknowledgements say so, and our
own corridors know it a little earlier) and the findings made of them were decided here.

While a broker is away the gateways keep what they have, and need a moment to send it when it is back.

Nobody waits for ever: when the moment has not moved for ``patience_s``, somebody who should observe does not, and a
ward that nobody watches is told so. Only a process that ``may_lag``, whose alarms nobody waits for, takes the time it
takes to decide what was found.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.topics import PARTITIONS, Topic
from vitals.clock import Clock
from vitals.units import US_PER_S

_log = logging.getLogger(__name__)

Offsets = Mapping[TopicPartition, int]
"""The next offset of each partition."""

PATIENCE_S: Final = 30.0
"""A worker that does not get on has been replaced by then."""
_LOOK_S: Final = 0.5
_TIMEOUT_MS: Final = 5000
_AWAY_US: Final = 3 * US_PER_S
_BACK_US: Final = 10 * US_PER_S
"""A broker that has not answered for ``_AWAY_US`` was away; ``_BACK_US`` after that what the gateways kept is there."""
_ON_THE_WAY_US: Final = 2 * US_PER_S
"""What a monitor measured by now may still be on its way: it sends a second at a time."""
_WATCHED: Final = [TopicPartition(t.value, p) for t in (Topic.ECG, Topic.GLUCOSE) for p in range(PARTITIONS)]
"""Streams whose silence is a condition."""
_FOUND: Final = [TopicPartition(Topic.FINDINGS.value, p) for p in range(PARTITIONS)]


class Horizon:
    """See the head of this file. ``taken``: how far our own corridors are, next offsets."""

    def __init__(
        self, clock: Clock, taken: Callable[[], Offsets], *, patience_s: float = PATIENCE_S, may_lag: bool = False
    ) -> None:
        self._clock = clock
        self._may_lag = may_lag
        self._patience_us = round(patience_s * US_PER_S)
        self._taken = taken
        self._mine: list[TopicPartition] = []
        self._arrived: deque[tuple[int, Offsets]] = deque()
        self._found: deque[tuple[int, Offsets]] = deque()
        self._reached_us = 0
        self._moved_us = clock.now_us()
        self._answered_us = 0
        self._back_us = 0

    def until_us(self) -> int:
        """Time that has passed for the alarms."""
        now_us = self._clock.now_us()
        is_behind = self._may_lag and len(self._found) > 0
        if now_us - self._moved_us > self._patience_us and not is_behind:
            return max(self._reached_us, now_us - self._patience_us) - _ON_THE_WAY_US
        return self._reached_us - _ON_THE_WAY_US

    def hold(self) -> None:
        """Partitions were taken away: nothing is known of those that come."""
        self._mine = []
        self._arrived.clear()
        self._found.clear()
        self._reached_us = 0
        self._moved_us = self._clock.now_us()

    def decides(self, partitions: set[int]) -> None:
        """Findings of these partitions are decided here from now on."""
        self._mine = [tp for tp in _FOUND if tp.partition in partitions]

    def note(self, now_us: int, taken: Offsets, ends: Offsets) -> None:
        """At ``now_us`` or later the logs ended at ``ends``; before, everything up to ``taken`` was dealt with."""
        if 0 < self._answered_us < now_us - _AWAY_US:
            self._back_us = now_us
            self._arrived.clear()
        self._answered_us = now_us
        if now_us < self._back_us + _BACK_US:
            return
        found_us = 0
        while self._arrived and _covers(taken, self._arrived[0][1], _WATCHED):
            found_us, _ = self._arrived.popleft()
        if found_us:
            self._found.append((found_us, ends))
        decided = {**taken, **self._taken()}
        while self._found and self._mine and _covers(decided, self._found[0][1], self._mine):
            self._reached_us, _ = self._found.popleft()
            self._moved_us = self._clock.now_us()
        self._arrived.append((now_us, ends))
        for notes in (self._arrived, self._found):
            while notes and notes[0][0] < now_us - self._patience_us:
                notes.popleft()

    async def follow(self, kafka: str, observers: str, own: str) -> None:
        """Look and note; never returns. ``observers``, ``own``: the groups that observe and that decide here."""
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, request_timeout_ms=_TIMEOUT_MS)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=_TIMEOUT_MS)
        try:
            await consumer.start()
            await admin.start()
            while True:
                await asyncio.sleep(_LOOK_S)
                now_us = self._clock.now_us()
                try:
                    known = await admin.list_consumer_group_offsets(observers)
                    if own != observers:
                        mine = await admin.list_consumer_group_offsets(own)
                        known = {tp: at for tp, at in known.items() if tp in _WATCHED} | mine
                    taken = {**{tp: at.offset for tp, at in known.items()}, **self._taken()}
                    self.note(now_us, taken, await consumer.end_offsets([*_WATCHED, *_FOUND]))
                except KafkaError as error:
                    _log.info("the ends of the logs are not known: %s", type(error).__name__)
        finally:
            await consumer.stop()
            await admin.close()


def _covers(taken: Offsets, ends: Offsets, which: list[TopicPartition]) -> bool:
    return all(taken.get(tp, 0) >= ends[tp] for tp in which)

"""The door: Faust events in, records with a receipt out, each offset exactly once and in order.

Faust hands some events over twice in one generation, and around a resume it drops some and then commits past the hole.
So the door keeps the next offset of every partition itself: what was seen is passed over, a hole is sought back. A hole
that stays after three rewinds is one in the log itself (retention, transaction markers) and is accepted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from stream.pipeline import Corridor, Delivery
from stream.topics import Topic
from vitals import codec
from vitals.events import Record

_log = logging.getLogger(__name__)

_REWIND_S: Final = 1.0
_PATIENCE: Final = 3
_QUIET_S: Final = 3.0


@dataclass(slots=True)
class _Line:
    """One partition of an assignment, from its first record on."""

    next_offset: int
    moved_s: float
    rewound_s: float = 0.0
    rewinds: int = 0


class Door:
    """Hands the records of ``topics`` to ``corridor``."""

    def __init__(
        self, app: faust.App, topics: tuple[Topic, ...], corridor: Corridor, rewound: Callable[[str], object]
    ) -> None:
        self.topics = topics
        self.corridor = corridor
        self._app = app
        self._rewound = rewound
        self._lines: dict[TP, _Line] = {}
        self._beginnings: dict[TP, int] = {}
        self._ends: dict[TP, int] = {}
        self._epoch = 0
        self._is_open = asyncio.Event()

    def register(self) -> None:
        """Make one agent for each topic."""
        for topic in self.topics:
            channel = self._app.topic(
                topic.value, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
            )
            self._app.agent(channel, name=f"wardwatch.{topic.value}")(self._take)

    def leave(self) -> int:
        """Forget every partition. The corridor's new epoch."""
        self._lines.clear()
        self._ends.clear()
        self._is_open.clear()
        self._epoch = self.corridor.leave()
        return self._epoch

    def open_at(self, epoch: int, beginnings: Mapping[TP, int]) -> None:
        """Let records in. ``beginnings``: where the log begins, for partitions that nobody committed for yet."""
        if epoch == self._epoch:
            self._beginnings = dict(beginnings)
            self._is_open.set()

    def lag(self) -> dict[str, int]:
        """Records in the log that were not taken, by topic, at the last look."""
        lag = {topic.value: 0 for topic in self.topics}
        for tp, end in self._ends.items():
            line = self._lines.get(tp)
            lag[tp.topic] += max(0, end - (line.next_offset if line else self._first(tp)))
        return lag

    async def watch(self) -> None:
        """Look where the logs end. A record dropped at the very end of a partition leaves no hole: it is looked for
        when it has been quiet.
        """
        while True:
            await asyncio.sleep(_REWIND_S)
            await self._look()
            now_s = time.monotonic()
            for tp, line in list(self._lines.items()):
                quiet = now_s - line.moved_s > _QUIET_S and not len(self.corridor.inbox)
                if quiet and self._ends.get(tp, 0) > line.next_offset:
                    await self._rewind(tp, line, now_s)

    async def meter(self) -> None:
        """Nothing is fetched for a full inbox. An agent that waited instead would in time hold up all the others."""
        while True:
            await self.corridor.inbox.full()
            held = list(self._lines)
            for tp in held:
                self._app.consumer.on_buffer_full(tp)
            await self.corridor.inbox.room()
            for tp in held:
                if tp in self._lines:
                    self._app.consumer.on_buffer_drop(tp)

    async def _take(self, stream: Any) -> AsyncIterator[None]:
        async for event in stream.noack().events():
            await self._admit(event)
            yield None

    async def _admit(self, event: Any) -> None:
        message = event.message
        await self._is_open.wait()
        if message.generation_id != self._app.consumer_generation_id:
            return
        now_s = time.monotonic()
        line = self._lines.get(message.tp)
        if line is None:
            line = self._lines[TP(*message.tp)] = _Line(self._first(message.tp), now_s)
        if message.offset < line.next_offset:
            return
        if message.offset > line.next_offset and line.rewinds < _PATIENCE:
            await self._rewind(message.tp, line, now_s)
            return
        if message.offset > line.next_offset:
            _log.warning("%s: %d records are not in the log", message.topic, message.offset - line.next_offset)
        line.next_offset = message.offset + 1
        line.moved_s, line.rewinds = now_s, 0
        self.corridor.inbox.put(Delivery(record_of(message, round((message.timestamp or 0.0) * 1000)), event.ack))

    async def _rewind(self, tp: TP, line: _Line, now_s: float) -> None:
        if now_s - line.rewound_s < _REWIND_S:
            return
        line.rewound_s = line.moved_s = now_s
        line.rewinds += 1
        self._rewound(tp.topic)
        await self._app.consumer.seek(tp, line.next_offset)

    async def _look(self) -> None:
        """The broker is asked: what a full inbox keeps from being fetched is not known otherwise."""
        epoch = self._epoch
        mine = (
            [tp for tp in self._app.consumer.assignment() if tp.topic in self.topics] if self._is_open.is_set() else []
        )
        with suppress(KafkaError, ConsumerNotStarted):
            ends = await self._app.consumer.highwaters(*mine) if mine else {}
            if epoch == self._epoch:
                self._ends = dict(ends)

    def _first(self, tp: TP) -> int:
        return self._app.consumer._committed_offset.get(tp) or self._beginnings.get(tp, 0)


def record_of(message: Any, timestamp_ms: int) -> Record:
    """A record of the log as the corridor takes it: bytes of others, so nothing of it is believed yet."""
    headers = message.headers or ()
    pairs = tuple(headers.items() if isinstance(headers, dict) else headers)
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=timestamp_ms,
        key=message.key,
        value=message.value or b"",
        content_type=codec.content_type(pairs),
        headers=pairs,
    )

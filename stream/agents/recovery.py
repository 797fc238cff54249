"""Checkpoints back from their topic: read to the end of some partitions by a consumer of no group.

One that cannot be used is passed over, said and counted: damaged, of a version that this build does not know, or of a
place that the log does not have. The last is what stays when a topic was made anew: taken at its word it would pass
over every record up to that place. Its owner begins anew, with what the log still has of its past. None is taken out of
the topic: a build that can read it may come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.agents.door import record_of
from stream.checkpoint import Loaded, newest
from stream.topics import MAX_MESSAGE_BYTES, Topic
from vitals import codec
from vitals.errors import Fault, Unusable
from vitals.events import Checkpoint, Record

_log = logging.getLogger(__name__)

_DEADLINE_S: Final = 60.0
_POLL_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Recovered:
    """The newest checkpoint of every owner in the partitions assigned, and where the log of each of them begins.

    ``unreadable``: checkpoints that were passed over.
    """

    loaded: Loaded = field(default_factory=Loaded)
    beginnings: dict[TopicPartition, int] = field(default_factory=dict)
    unreadable: int = 0


async def load(kafka: str, assigned: Collection[TopicPartition], topic: Topic = Topic.CHECKPOINTS) -> Recovered:
    """Everything that ``topic`` holds for ``assigned``. Raises ``Fault`` when it cannot be read to its end."""
    wanted = [TopicPartition(topic.value, p) for p in sorted({tp.partition for tp in assigned})]
    if not wanted:
        return Recovered()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * MAX_MESSAGE_BYTES,
        fetch_max_wait_ms=100,
    )
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await consumer.start()
            beginnings = await consumer.beginning_offsets([TopicPartition(*tp) for tp in assigned])
            values = await _values(consumer, wanted)
            # after the checkpoints: what was saved meanwhile is in the log too
            ends = await consumer.end_offsets([TopicPartition(*tp) for tp in assigned])
    except (KafkaError, TimeoutError) as error:
        raise Fault(f"checkpoints cannot be read: {type(error).__name__}") from error
    finally:
        await consumer.stop()
    found = {
        key: checkpoint
        for key, checkpoint in values.items()
        if checkpoint is not None and _is_in_the_log(checkpoint, ends)
    }
    lost = frozenset(_half_and_partition(key) for key in values.keys() - found.keys())
    return Recovered(replace(newest(found.items()), lost=lost), beginnings, len(values) - len(found))


async def past(
    kafka: str, group: str, topic: Topic, partitions: Collection[int], back_s: float
) -> AsyncIterator[list[Record]]:
    """The records of ``partitions`` that were acknowledged, from ``back_s`` seconds ago on. Raises ``Fault``."""
    wanted = [TopicPartition(topic.value, p) for p in sorted(partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, max_partition_fetch_bytes=2 * MAX_MESSAGE_BYTES
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            await consumer.start()
            await admin.start()
            known = await admin.list_consumer_group_offsets(group)
            log_ends = await consumer.end_offsets(wanted)
            ends = {tp: min(known[tp].offset, log_ends[tp]) for tp in wanted if tp in known}
            consumer.assign(wanted)
            since_ms = round(1000 * (time.time() - back_s))
            for tp, at in (await consumer.offsets_for_times(dict.fromkeys(ends, since_ms))).items():
                consumer.seek(tp, at.offset if at is not None else ends[tp])
            left = {tp for tp in ends if await consumer.position(tp) < ends[tp]}
        while left:
            # the deadline is the broker's alone: what the caller does with the records takes the time it takes
            async with asyncio.timeout(_DEADLINE_S):
                while not (come := await consumer.getmany(*left, timeout_ms=_POLL_MS)):
                    pass
                left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
            for tp, records in come.items():
                yield [record_of(r, r.timestamp) for r in records if r.offset < ends[tp]]
    except (KafkaError, TimeoutError) as error:
        raise Fault(f"the past cannot be read: {type(error).__name__}") from error
    finally:
        await consumer.stop()
        await admin.close()


async def _values(consumer: AIOKafkaConsumer, wanted: list[TopicPartition]) -> dict[bytes, Checkpoint | None]:
    """The last value of every key, None for one that cannot be read."""
    consumer.assign(wanted)
    ends = await consumer.end_offsets(wanted)
    await consumer.seek_to_beginning(*wanted)
    left = {tp for tp in wanted if ends[tp] > 0}
    values: dict[bytes, Checkpoint | None] = {}
    while left:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                _keep(values, record.key or b"", record.value)
        left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    return values


def _is_in_the_log(checkpoint: Checkpoint, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether the log reaches as far as this state, where that can be said."""
    for topic, offset in checkpoint.offsets.items():
        end = ends.get(TopicPartition(topic, checkpoint.partition))
        if end is not None and offset >= end:
            half = checkpoint.owner.partition("/")[0]
            _log.error("a checkpoint of %.10s is of %s offset %d, but the log ends at %d", half, topic, offset, end)
            return False
    return True


def _half_and_partition(key: bytes) -> tuple[str, int]:
    """Of the owner that a key begins with; of nobody's when it does not name one."""
    half, _, rest = key.decode("utf-8", "replace").partition("/")
    number = rest.partition("/")[0]
    return half, int(number) if number.isascii() and number.isdecimal() else -1


def _keep(values: dict[bytes, Checkpoint | None], key: bytes, value: bytes | None) -> None:
    if value is None:
        values.pop(key, None)
        return
    try:
        values[key] = codec.decode(Checkpoint, value)
    except Unusable as why:
        values[key] = None
        half = key.partition(b"/")[0].decode("ascii", "replace")
        _log.error("a checkpoint of %.10s cannot be read, its owner begins anew: %s", half, why)

"""Checkpoints back from their topic: read to the end of some partitions by a consumer of no group."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.checkpoint import Loaded, newest
from stream.topics import MAX_MESSAGE_BYTES, Topic
from vitals import codec
from vitals.errors import Fault, Unusable
from vitals.events import Checkpoint

_DEADLINE_S: Final = 60.0
_POLL_MS: Final = 200


async def load(kafka: str, assigned: Collection[TopicPartition]) -> tuple[Loaded, dict[TopicPartition, int]]:
    """The newest checkpoint of every owner in the partitions assigned, and where the log of each of them begins.

    Raises ``Fault``.
    """
    wanted = [TopicPartition(Topic.CHECKPOINTS.value, p) for p in sorted({tp.partition for tp in assigned})]
    if not wanted:
        return Loaded([], []), {}
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
            return newest((await _values(consumer, wanted)).items()), beginnings
    except (KafkaError, TimeoutError) as error:
        raise Fault(f"checkpoints cannot be read: {type(error).__name__}") from error
    finally:
        await consumer.stop()


async def _values(consumer: AIOKafkaConsumer, wanted: list[TopicPartition]) -> dict[bytes, Checkpoint]:
    consumer.assign(wanted)
    ends = await consumer.end_offsets(wanted)
    await consumer.seek_to_beginning(*wanted)
    left = {tp for tp in wanted if ends[tp] > 0}
    values: dict[bytes, Checkpoint] = {}
    while left:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                _keep(values, record.key or b"", record.value)
        left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    return values


def _keep(values: dict[bytes, Checkpoint], key: bytes, value: bytes | None) -> None:
    if value is None:
        values.pop(key, None)
        return
    try:
        values[key] = codec.decode(Checkpoint, value)
    except Unusable as why:
        raise Fault(f"a checkpoint cannot be decoded: {why.reason}") from why

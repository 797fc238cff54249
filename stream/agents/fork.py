"""Where a shadow begins: where the worker it runs beside stands, with its patients, their limits and open alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.agents import recovery
from stream.checkpoint import Owners, incarnation
from stream.publish import Outbox
from stream.topics import PARTITIONS, Topic
from vitals.clock import Clock
from vitals.errors import Fault
from vitals.events import Checkpoint

_DECIDED: Final = [TopicPartition(t.value, p) for t in (Topic.FINDINGS, Topic.COMMANDS) for p in range(PARTITIONS)]


async def fork(kafka: str, group: str, stream: str, outbox: Outbox, clock: Clock) -> None:
    """Take the newest checkpoints of half ``stream`` as ``group``'s own, and their places in the logs.

    Once: a group that has a place in the logs already goes on from there. A partition of which there is no checkpoint
    begins where its log does. The checkpoints are written first: after a crash in between it is done again. Raises
    ``Fault``.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        await admin.start()
        if await admin.list_consumer_group_offsets(group):
            return
        found = await recovery.load(kafka, _DECIDED, Topic.CHECKPOINTS)
        owners = Owners(0)
        owners.clear(incarnation(clock.now_us()))
        places: dict[TopicPartition, int] = {}
        for live in found.loaded.of(stream, set(range(PARTITIONS))).newest:
            owners.restored(live)
            await outbox.send(owners.checkpoint(live.owner, live.state)[1])
            places |= _after(live)
        await _commit(kafka, group, places)
    except KafkaError as error:
        raise Fault(f"the worker's state cannot be taken over: {type(error).__name__}") from error
    finally:
        await admin.close()


def _after(live: Checkpoint) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, live.partition): offset + 1 for topic, offset in live.offsets.items()}


async def _commit(kafka: str, group: str, places: Mapping[TopicPartition, int]) -> None:
    if not places:
        return
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(list(places))
        await consumer.commit(dict(places))
    finally:
        await consumer.stop()

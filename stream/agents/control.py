"""Releases: every worker hears each one, whatever partitions it has, and stages the bundle beside what serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from models.build import BackgroundBuild
from models.registry import Registry
from stream.modelslot import ModelSlot, stage_current
from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.errors import Unusable
from vitals.events import ModelRelease
from vitals.findings import Task

_log = logging.getLogger(__name__)
_POLL_MS: Final = 1000


async def follow_releases(kafka: str, registry: Registry, slots: Mapping[Task, ModelSlot], plans: Path) -> None:
    """Read ``releases.v1`` from now on, and see to TensorRT plans in folder ``plans``; never returns."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(Topic.RELEASES.value, p) for p in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        # A release between the reading of the registry at the start and this moment would be missed without this.
        await asyncio.to_thread(stage_current, registry, slots)
        builds: dict[Task, BackgroundBuild] = {}
        while True:
            await asyncio.to_thread(_tend_plans, slots, plans, builds)
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                for record in records:
                    if record.value is not None:
                        await asyncio.to_thread(_heed, record.value, registry, slots)
    finally:
        await consumer.stop()


def _heed(value: bytes, registry: Registry, slots: Mapping[Task, ModelSlot]) -> None:
    try:
        release = codec.decode(ModelRelease, value)
        task = Task(release.task)
    except (Unusable, ValueError) as error:
        _log.warning("a release was not understood: %s", error)
        return
    if task in slots:
        slots[task].stage_from(registry)


def _tend_plans(slots: Mapping[Task, ModelSlot], plans: Path, builds: dict[Task, BackgroundBuild]) -> None:
    """One build at a time, in a process of its own, while a lower rung serves. A plan that stands is staged."""
    for task, build in list(builds.items()):
        bundle = slots[task].lacks_plan_of
        if build.succeeded() and bundle is not None:
            slots[task].stage(bundle, again=True)
        if build.succeeded() is not None and slots[task].lacks_plan_of is None:
            del builds[task]
    if all(build.succeeded() is not None for build in builds.values()):
        for task, slot in slots.items():
            if slot.lacks_plan_of is not None and task not in builds:
                builds[task] = BackgroundBuild(slot.lacks_plan_of, plans)
                return

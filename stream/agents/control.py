"""Releases: every worker hears each one, whatever partitions it has, and stages the bundle beside what serves.

What then becomes of it is written into the registry by the worker that saw it: that it is proven, or that it was given
up and why. The latter is said on ``releases.v1`` too, so that every other worker gives it up as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from models.build import BackgroundBuild
from models.registry import Registry, RegistryError
from stream.modelslot import ModelSlot, SlotNews, stage_current
from stream.publish import Outbox, message
from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.clock import Clock
from vitals.errors import Unusable
from vitals.events import ModelRelease, ReleaseAction
from vitals.findings import Task

_log = logging.getLogger(__name__)
_POLL_MS: Final = 1000
_SETTLED: Final = frozenset({"proven", "rejected", "rolled_back"})


class Releases:
    """What the registry says, brought to ``slots``, and back. ``plans``: folder of TensorRT plans that it sees to."""

    def __init__(
        self, registry: Registry, slots: Mapping[Task, ModelSlot], plans: Path, outbox: Outbox, clock: Clock
    ) -> None:
        self._registry = registry
        self._slots = slots
        self._plans = plans
        self._outbox = outbox
        self._clock = clock
        self._builds: dict[Task, BackgroundBuild] = {}
        self._settled: deque[SlotNews] = deque()

    def heard(self, news: SlotNews) -> None:
        """What a slot tells, from any thread."""
        if news.result in _SETTLED:
            self._settled.append(news)

    async def follow(self, kafka: str) -> None:
        """Read ``releases.v1`` from now on; never returns."""
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(Topic.RELEASES.value, p) for p in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            # A release between the reading of the registry at the start and this moment would be missed without this.
            await asyncio.to_thread(stage_current, self._registry, self._slots)
            while True:
                await asyncio.to_thread(self._tend_plans)
                await self.settle()
                for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                    for record in records:
                        if record.value is not None:
                            await asyncio.to_thread(self._heed, record.value)
        finally:
            await consumer.stop()

    async def settle(self) -> None:
        """See to what the slots have told since."""
        while self._settled:
            await self._settle(self._settled.popleft())

    def _heed(self, value: bytes) -> None:
        try:
            release = codec.decode(ModelRelease, value)
            task = Task(release.task)
        except (Unusable, ValueError) as error:
            _log.warning("a release was not understood: %s", error)
            return
        if task in self._slots:
            self._slots[task].stage_from(self._registry)

    async def _settle(self, news: SlotNews) -> None:
        """Write down what became of a bundle, and say it where others must give it up too."""
        try:
            release = await asyncio.to_thread(self._noted, news)
        except (RegistryError, OSError) as error:
            _log.error("%s: %s was not written into the registry: %s", news.task, news.result, error)
            return
        if release is not None:
            await self._outbox.send([message(Topic.RELEASES, release, key=news.task.encode())])
        await asyncio.to_thread(self._slots[news.task].stage_from, self._registry)

    def _noted(self, news: SlotNews) -> ModelRelease | None:
        registry, task = self._registry, news.task
        if news.result == "proven":
            registry.prove(task, news.subject)
            return None
        challenger = registry.challenger(task)
        if challenger is not None and challenger.hash == news.subject:
            registry.withdraw(task, of=news.subject, why=news.why)
            return self._said("withdraw", news, news.subject)
        return self._said("rollback", news, registry.rollback(task, of=news.subject, why=news.why).hash)

    def _said(self, action: ReleaseAction, news: SlotNews, bundle: str) -> ModelRelease:
        return ModelRelease(
            task=news.task.value,
            bundle=bundle,
            uri=self._registry.folder.resolve().as_uri(),
            when_us=self._clock.now_us(),
            action=action,
            report=news.why,
        )

    def _tend_plans(self) -> None:
        """One build at a time, in a process of its own, while a lower rung serves. A plan that stands is staged."""
        builds, slots = self._builds, self._slots
        for task, build in list(builds.items()):
            bundle = slots[task].lacks_plan_of
            if build.succeeded() and bundle is not None:
                slots[task].stage_again(bundle)
            if build.succeeded() is not None and slots[task].lacks_plan_of is None:
                del builds[task]
        if all(build.succeeded() is not None for build in builds.values()):
            for task, slot in slots.items():
                if slot.lacks_plan_of is not None and task not in builds:
                    builds[task] = BackgroundBuild(slot.lacks_plan_of, self._plans)
                    return

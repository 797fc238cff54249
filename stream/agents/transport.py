"""Faust's Kafka transport with its fixed numbers made ours: fetches at a pace, assignment by range, no pause.

The broker gathers for a moment before it answers a fetch: a hundred gateways would be a hundred answers a second, which
cost a tenth of a worker. Faust waits 1.5 s for an empty fetch, and without tables it assigns round-robin, which gives
partition p of two topics to different workers once there are three of them. Decide reads findings and commands of the
same patients. At every start it waits one second for tables to be declared; we have none, and somebody waits for us.
"""

from __future__ import annotations

from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from yarl import URL

_FETCH_WAIT_MS: Final = 50
_FETCH_BYTES: Final = 1024 * 1024


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        consumer._fetch_min_bytes = _FETCH_BYTES
        consumer._partition_assignment_strategy = [RangePartitionAssignor]
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """See the head of this file."""

    Consumer = _Consumer


class NoTables(TableManager):
    """The manager of no tables at all."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


def use(app: faust.App) -> None:
    """Make ``app`` consume through this transport."""
    app.transport = cast(Any, Transport(cast(list[URL], app.conf.broker_consumer), app))

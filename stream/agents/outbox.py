"""Messages out through Faust's producer, confirmed by the broker before anyone goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from stream.publish import Message
from vitals.errors import Fault

_DEADLINE_S: Final = 60.0


class FaustOutbox:
    """See ``Outbox``."""

    def __init__(self, app: faust.App) -> None:
        self._app = app

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``Outbox``. A message is retried by the producer itself; what it gives up on stops the worker."""
        if not messages:
            return
        producer = await self._app.maybe_start_producer()
        try:
            async with asyncio.timeout(_DEADLINE_S):
                confirmations = [
                    await producer.send(m.topic.value, m.key, m.value, m.partition, None, list(m.headers) or None)
                    for m in messages
                ]
                await asyncio.gather(*confirmations)
        except (KafkaError, FaustError, TimeoutError) as error:
            raise Fault(f"the broker did not confirm: {type(error).__name__}") from error

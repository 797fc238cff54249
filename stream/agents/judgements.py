"""What staff say of alarms, counted as it is said: hours late, the only news of whether an alarm was right.

In a consumer group of its own, so that each label is counted by one worker, and none waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer

from stream.drifting import judgement
from stream.topics import Topic
from vitals import codec
from vitals.errors import Unusable
from vitals.events import Label

_log = logging.getLogger(__name__)
GROUP: Final = "wardwatch-judgements"


async def follow(kafka: str, tell: Callable[[str, str], None]) -> None:
    """``tell`` of each judgement from now on: the alarm's condition, and what it was worth. Never returns."""
    consumer = AIOKafkaConsumer(Topic.LABELS.value, bootstrap_servers=kafka, group_id=GROUP, auto_offset_reset="latest")
    await consumer.start()
    try:
        async for record in consumer:
            try:
                said = judgement(codec.decode(Label, record.value or b"", codec.content_type(record.headers)))
            except Unusable as error:
                _log.warning("a label was not understood: %s", error)
                continue
            if said is not None:
                tell(*said)
    finally:
        await consumer.stop()

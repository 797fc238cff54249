"""Messages on their way to Kafka, each when it is due."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final
from zlib import crc32

from kafka import KafkaProducer
from kafka.errors import KafkaError

from stream.gateways.schedule import Due
from stream.topics import MAX_MESSAGE_BYTES, PARTITIONS, Topic
from vitals.errors import Fault

_PATIENCE_S: Final = 30.0
_RECONNECT_MS: Final = 1000
"""The client's own choice is half a minute, in which a ward would be dark."""


class Sender:
    """Messages to the broker, confirmed by all replicas, without duplicates of our own (idempotent producer).

    ``confirmed`` is called for each message that the broker has. ``events`` counts what was handed over, by topic;
    ``close`` raises ``Fault`` unless all of it was confirmed.
    """

    def __init__(self, bootstrap: str, confirmed: Callable[[], None] | None = None) -> None:
        self._confirmed = confirmed
        self.events: Counter[Topic] = Counter()
        self._refused: list[BaseException] = []
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            client_id="wardwatch-replay",
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            reconnect_backoff_max_ms=_RECONNECT_MS,
            batch_size=256 * 1024,
            max_request_size=MAX_MESSAGE_BYTES + 64 * 1024,
        )

    def send(self, due: Due) -> None:
        """Hand one message over; it goes out by itself."""
        partition = crc32(due.key) % PARTITIONS
        future = self._producer.send(due.topic.value, value=due.value, key=due.key, partition=partition)
        future.add_errback(self._refused.append)
        if (confirmed := self._confirmed) is not None:
            future.add_callback(lambda _: confirmed())
        self.events[due.topic] += due.events

    def close(self) -> None:
        """Waits until everything is confirmed. Raises ``Fault`` when something was not."""
        try:
            self._producer.flush(timeout=_PATIENCE_S)
        except KafkaError as error:
            raise Fault(f"the broker did not confirm what was sent: {error}") from error
        finally:
            self._producer.close(timeout=_PATIENCE_S)
        self.check()

    def check(self) -> None:
        """Raises ``Fault`` when something that was handed over was refused."""
        if self._refused:
            raise Fault(f"the broker refused {len(self._refused)} messages, the first with {self._refused[0]}")


def play(
    schedule: Iterable[Due], send: Callable[[Due], None], stop: threading.Event, *, starts_in_s: float = 0.0
) -> None:
    """Sends each message when it is due, until the schedule ends or ``stop`` is set. The past goes out at once."""
    begin = time.monotonic() + starts_in_s
    for due in schedule:
        wait_s = begin + due.at_s - time.monotonic()
        if (wait_s > 0 and stop.wait(wait_s)) or stop.is_set():
            return
        send(due)

"""A signal ends what we do, wherever it comes, and never what the Kafka client must finish."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import closing

import pytest
from kafka import KafkaConsumer, TopicPartition

from stream import children
from stream.topics import Topic

_POLL_MS = 600
_SOON_S = 0.2


def _soon(ending: signal.Signals) -> None:
    threading.Timer(_SOON_S, signal.raise_signal, [ending]).start()


def _poll_and_wait(consumer: KafkaConsumer) -> None:
    consumer.poll(timeout_ms=_POLL_MS)
    threading.Event().wait(30)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised_and_told(ending: signal.Signals) -> None:
    before = signal.getsignal(ending)
    with children.signals_as_interrupt() as came:
        _soon(ending)
        with pytest.raises(KeyboardInterrupt, match=ending.name):
            threading.Event().wait(30)
    assert came.is_set()
    assert signal.getsignal(ending) == before


@pytest.mark.broker
def test_a_signal_inside_the_kafka_client_is_raised_when_its_call_is_over(kafka_topics: str) -> None:
    partition = TopicPartition(Topic.ALERTS.value, 0)
    with (
        children.signals_as_interrupt() as came,
        closing(KafkaConsumer(bootstrap_servers=kafka_topics, enable_auto_commit=False)) as consumer,
    ):
        consumer.assign([partition])
        consumer.seek_to_end()
        end = consumer.position(partition)
        begin = time.monotonic()
        _soon(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            _poll_and_wait(consumer)
        assert time.monotonic() - begin >= _POLL_MS / 1000  # the call was not cut short
        assert came.is_set()
        assert consumer.position(partition) == end

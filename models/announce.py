"""Saying that the registry of a task says something else from now on, so that every worker looks."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from models.registry import Bundle, Registry
from vitals import codec
from vitals.clock import Clock
from vitals.errors import Fault
from vitals.events import RELEASES_TOPIC, ModelRelease, ReleaseAction

_DEADLINE_S: Final = 30.0


def announce(
    bootstrap: str,
    registry: Registry,
    bundle: Bundle,
    action: ReleaseAction,
    report: str,
    clock: Clock,
) -> None:
    """Writes the ``ModelRelease`` of ``bundle`` and waits for it. Do it last: who hears it opens the bundle at once.

    Raises ``Fault`` when the broker does not confirm.
    """
    release = ModelRelease(
        task=bundle.task,
        bundle=bundle.hash,
        uri=registry.folder.resolve().as_uri(),
        when_us=clock.now_us(),
        action=action,
        report=report,
    )
    deadline_ms = round(_DEADLINE_S * 1000)
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", bootstrap_timeout_ms=deadline_ms, max_block_ms=deadline_ms
        )
        with closing(producer):
            sent = producer.send(RELEASES_TOPIC, key=bundle.task.encode(), value=codec.encode(release))
            sent.get(timeout=_DEADLINE_S)
    except KafkaError as error:
        raise Fault(f"{RELEASES_TOPIC} did not take the release: {type(error).__name__}") from None

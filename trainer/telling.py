"""Telling the ward how a turn ended: one record on ``gate.v1``, which the board shows."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from trainer.config import GATE_TOPIC
from trainer.runs import Run
from vitals.codec import encode
from vitals.errors import Fault
from vitals.events import GateVerdict

_SEND_DEADLINE_S: Final = 30.0
_LONGEST: Final = 500


def verdict(run: Run, why: str) -> GateVerdict:
    """What the gate made of ``run``."""
    return GateVerdict(
        task=run.task,
        when_us=run.ended_us,
        why=why,
        bundle=run.bundle,
        champion=run.champion_bundle,
        refused=[f"{verdict.rule}: {verdict.text}"[:_LONGEST] for verdict in run.verdicts if not verdict.passed],
    )


def tell(bootstrap: str, run: Run, why: str) -> None:
    """Raises ``Fault`` when nobody confirms."""
    try:
        with closing(KafkaProducer(bootstrap_servers=bootstrap, acks="all")) as producer:
            sent = producer.send(GATE_TOPIC, key=run.task.encode(), value=encode(verdict(run, why)))
            sent.get(timeout=_SEND_DEADLINE_S)
    except KafkaError as error:
        raise Fault(f"{GATE_TOPIC} did not take the verdict: {type(error).__name__}") from None

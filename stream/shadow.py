"""Shadow rules: other rules beside those in force. They are evaluated and recorded, and never annunciated.

A shadow is a worker that only decides, under a unit's file of its own: the same findings and commands, read by a
consumer group of its own. What it would have told goes to ``shadow.v1``, its state to ``shadow-checkpoints.v1``, and
everything else that deciding makes goes nowhere. So nothing that it does can reach a person, the record of who did what
or the state of the worker it runs beside; a broker with access lists may refuse it every other topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from stream.health import Health
from stream.metrics import Metrics
from stream.pipeline import Products
from stream.publish import Message, Outbox
from stream.tally import Tally
from stream.topics import Topic
from vitals.clock import Clock

GROUP: Final = "wardwatch-shadow"

_INSTEAD: Final = {Topic.ALERTS: Topic.SHADOW, Topic.CHECKPOINTS: Topic.SHADOW_CHECKPOINTS}


class ShadowOutbox:
    """An ``Outbox`` that writes to the shadow's own topics whatever it is given."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def send(self, messages: Sequence[Message]) -> None:
        """See ``Outbox``."""
        await self._outbox.send([replace(m, topic=_INSTEAD[m.topic]) for m in messages if m.topic in _INSTEAD])


class ShadowTally(Tally):
    """Counted under names of its own: no rule, panel or count of alarms takes a shadow's for the ward's.

    The figures of a worker are kept as ever, for the health of this process, and shown to nobody.
    """

    def __init__(self, shown: Metrics, health: Health, clock: Clock) -> None:
        super().__init__(Metrics(), health, clock)
        self._alerts = shown.counter["wardwatch_shadow_alerts_total"]
        self._lag = shown.gauge["wardwatch_shadow_lag_records"]

    def published(self, stream: str, products: Products, now_ms: int) -> None:
        """See ``Witness``."""
        super().published(stream, products, now_ms)
        for step, n in products.alerts.items():
            self._alerts.labels(*step).inc(n)

    def lag(self, stream: str, lag: dict[str, int], held: int) -> None:
        """See ``Tally``."""
        super().lag(stream, lag, held)
        for topic, n in lag.items():
            self._lag.labels(topic).set(n)

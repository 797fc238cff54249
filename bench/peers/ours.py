"""Our worker as it ships, but that it gives nothing up when it is late: a backlog is late by its nature.

METRICS=none: with a witness that counts nothing; what counting costs is the difference. Health stays: it is what a
stuck worker is ended by.

    WARDWATCH_KAFKA=… python -m bench.peers.ours
"""

from __future__ import annotations

import os
import sys

from stream import app
from stream.modelslot import SlotNews
from stream.overload import NOTHING, Overload, Relief
from stream.pipeline import Half, Products
from stream.tally import Tally


class Unhurried(Overload):
    """Gives nothing up."""

    def relief(self, oldest_ms: int) -> Relief:
        return NOTHING


class Silent(Tally):
    """See ``Witness``."""

    def published(self, stream: str, products: Products, now_ms: int) -> None:
        pass

    def stage(self, stage: str, seconds: float) -> None:
        pass

    def progressed(self, half: Half, released: int, owed: int, unsaved_since_us: int | None) -> None:
        self._health.progressed(half.stream, released, owed)

    def lag(self, stream: str, lag: dict[str, int], held: int) -> None:
        self._health.behind(stream, sum(lag.values()) + held)

    def overload(self, step: int) -> None:
        pass

    def slot(self, news: SlotNews) -> None:
        pass


if __name__ == "__main__":
    app.Overload = Unhurried  # type: ignore[misc]
    if os.environ.pop("METRICS", "") == "none":
        app.Tally = Silent  # type: ignore[misc]
    sys.exit(app.main(os.environ))

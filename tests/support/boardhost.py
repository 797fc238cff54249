"""The board on a port of its own, as a worker serves it."""

from __future__ import annotations

from typing import Self

from models.registry import Registry
from stream.health import Health
from stream.httpserver import HttpServer, probe_routes
from stream.imagestore import ImageStore
from stream.metrics import Metrics
from stream.modelslot import SHIPPED_BUNDLES
from stream.web.board import BoardServer
from stream.web.pictures import Pictures
from vitals.clock import SystemClock
from vitals.units import US_PER_S


def pictures() -> Pictures:
    """Images that carry their pixels, read by the models that come with the program."""
    return Pictures(ImageStore(()), Registry(SHIPPED_BUNDLES), 5 * US_PER_S)


class BoardHost:
    """Serves from ``with`` to its end; ``url`` is its address."""

    def __init__(self, kafka: str, port: int = 0) -> None:
        clock = SystemClock()
        self.metrics = Metrics()
        self.board = BoardServer(kafka, clock, self.metrics, pictures())
        probes = probe_routes(self.metrics.registry, Health(clock, 30.0))
        self._http = HttpServer("127.0.0.1", port, [*probes, *self.board.routes()])
        self.url = ""

    def __enter__(self) -> Self:
        self.url = f"http://127.0.0.1:{self._http.start()}"
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        self._http.stop()

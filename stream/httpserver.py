"""The one HTTP port of a process: probes, metrics, and the routes of whoever else lives there.

On a thread and loop of its own: a busy corridor must not make a probe look dead, nor a slow reader hold up a heartbeat.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from stream.health import Health
from vitals.errors import Fault


def probe_routes(registry: CollectorRegistry, health: Health) -> list[web.RouteDef]:
    """``/metrics``, ``/health/live`` (503 when a half is stuck) and ``/health/ready`` (503 until state is loaded)."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def live(_: web.Request) -> web.Response:
        stalled = health.stalled()
        return web.json_response({"stalled": stalled}, status=503 if stalled else 200)

    async def ready(_: web.Request) -> web.Response:
        is_ready = health.is_ready()
        return web.json_response({"ready": is_ready}, status=200 if is_ready else 503)

    return [
        web.get("/metrics", metrics),
        web.get("/health", live),
        web.get("/health/live", live),
        web.get("/health/ready", ready),
    ]


class HttpServer:
    """Serves ``routes`` from ``start`` to ``stop``."""

    def __init__(self, host: str, port: int, routes: Sequence[web.AbstractRouteDef]) -> None:
        self._host = host
        self._port = port
        self._application = web.Application()
        self._application.add_routes(routes)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="http", daemon=True)

    def start(self) -> int:
        """The port that is served (any free one for port 0). Raises ``Fault`` when it cannot be had."""
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._serve(), self.loop).result()

    def stop(self) -> None:
        """Close the port."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self.loop).result(timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)

    async def _serve(self) -> int:
        self._runner = web.AppRunner(self._application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            raise Fault(f"cannot serve on port {self._port}: {error.strerror}") from None
        port: int = self._runner.addresses[0][1]
        return port

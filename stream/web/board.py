"""The ward board: pages, live frames and commands over HTTP, from the topics alone.

    ecg.v1 ──── TraceReader ─► Traces ─┐
    findings.v1 ─ Reader ─┐            ├─► Viewer (one a browser) ─► WebSocket /live
    risk.v1 ───── Reader ─┼─► Ward ────┘
    alerts.v1 ─── Reader ─┘                 POST /api/… ─► CommandDesk ─► commands.v1
    imaging.v1 ── Reader ─► Pictures ─► GET /api/image      strips.v1 ── Reader ─► Frozen ─► GET /api/alarm/ID

Not a medical device, and never the sole alarm. It has no log-in of its own: put it behind the site's.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from stream.links import ALARM_PATH
from stream.metrics import Metrics
from stream.topics import Topic
from stream.web import tiles
from stream.web.commands import REQUESTS, CommandDesk, NotYours, parse
from stream.web.frozen import Frozen
from stream.web.pictures import Pictures
from stream.web.reader import Reader, Report, Taken
from stream.web.receipts import Receipts
from stream.web.tracereader import TraceReader
from stream.web.traces import Traces
from stream.web.viewer import Viewer, parse_said, parse_view
from stream.web.ward import Ward
from vitals import codec
from vitals.alerts import AlertTransition
from vitals.clock import Clock
from vitals.errors import Fault
from vitals.events import Record
from vitals.findings import Findings, Task
from vitals.risk import RiskBatch
from vitals.unit import FACTORY, Unit

_log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).parent / "static"
CAPACITY: Final = 20_000
MAX_VIEWERS: Final = 64
TICK_S: Final = 0.25
_MAX_BODY: Final = 4096
_STOP_DEADLINE_S: Final = 3.0
_TIDY_S: Final = 60.0

_LIVE_S: Final = 90.0
_FINDINGS_S: Final = 6 * 3600.0
_RISK_S: Final = 900.0
_ALERTS_S: Final = 72 * 3600.0
_MOST: Final = 4000
"""Records of a partition that are read back: a board stands within seconds, whatever the size of the ward."""

_STRIPS: Final = 500
"""The same of strips, which are a hundred times as large."""

_IMAGES_S: Final = 24 * 3600.0
_IMAGES: Final = 100
"""The same of images, which may carry their pixels."""

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


class BoardServer:
    """``start`` and ``stop`` its threads from anywhere; ``routes`` belong to one aiohttp application.

    ``tick_s``: time between two frames for a browser; ``send_deadline_s``: one that takes none for so long is let go.
    """

    def __init__(
        self,
        kafka: str,
        clock: Clock,
        metrics: Metrics,
        pictures: Pictures,
        *,
        unit: Unit = FACTORY,
        tick_s: float = TICK_S,
        send_deadline_s: float = 20.0,
    ) -> None:
        self.ward = Ward(clock, CAPACITY, unit)
        self._unit = unit
        self.traces = Traces()
        self.frozen = Frozen()
        self.pictures = pictures
        self._looking = ThreadPoolExecutor(1, "board-pictures")
        self._kafka = kafka
        self._clock = clock
        self._tick_s = tick_s
        self._send_deadline_s = send_deadline_s
        self._desk = CommandDesk(kafka, clock)
        self._files = {path.name: _file(path) for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES}
        self._viewers: set[Viewer] = set()
        self._receipts = Receipts(metrics, clock)
        self._stopping = False
        self._last_tidy_us = clock.now_us()
        self._readers: list[Reader | TraceReader] = []

    def routes(self) -> list[web.RouteDef]:
        """Everything the board serves."""
        return [
            web.get("/", self._page),
            web.get("/static/{name}", self._static),
            web.get("/live", self._live),
            web.get("/api/ward", self._snapshot),
            web.get(f"{ALARM_PATH}{{alert_id}}", self._page),
            web.get("/api/alarm/{alert_id}", self._alarm),
            web.get("/api/alarms", self._past_alarms),
            web.get("/api/image", self._image),
            *(web.post(f"/api/{action}", self._command(action)) for action in REQUESTS),
        ]

    def start(self) -> None:
        """Begin to read the topics. Returns at once: a broker that is not there yet is waited for."""
        self._readers = [
            self._reader(Topic.ALERTS, self._take_alert, "alerts", _ALERTS_S, most=5 * _MOST),
            self._reader(Topic.FINDINGS, self._take_findings, "findings", _LIVE_S),
            self._reader(Topic.RISK, self._take_risks, "risk", _LIVE_S),
            self._reader(Topic.FINDINGS, self._take_findings, "findings past", _FINDINGS_S, only_before_s=_LIVE_S),
            self._reader(Topic.RISK, self._take_risks, "risk past", _RISK_S, only_before_s=_LIVE_S),
            self._reader(Topic.STRIPS, self._take_strip, "strips", _ALERTS_S, most=_STRIPS),
            self._reader(Topic.IMAGING, self._take_image, "images", _IMAGES_S, most=_IMAGES),
            TraceReader(self._kafka, self.traces, self._report("ecg"), self._clock),
        ]
        for reader in self._readers:
            reader.start()

    def stop(self) -> None:
        """End the threads and say good-bye to the browsers."""
        self._stopping = True
        for reader in self._readers:
            reader.end()
        for reader in self._readers:
            reader.join(_STOP_DEADLINE_S)
        self._desk.close()
        self._looking.shutdown(wait=False, cancel_futures=True)

    def _reader(
        self,
        topic: Topic,
        take: Callable[[Taken], None],
        name: str,
        back_s: float,
        *,
        most: int = _MOST,
        only_before_s: float | None = None,
    ) -> Reader:
        report = self._report(name)
        return Reader(
            self._kafka, topic, take, report, self._clock, back_s=back_s, most=most, only_before_s=only_before_s
        )

    def _report(self, name: str) -> Report:
        return lambda state, refused: self.ward.feed(name, state, refused)

    def _take_findings(self, record: Taken) -> None:
        self.ward.take_findings(codec.decode(Findings, record.value, record.content_type), record.arrived_us)

    def _take_risks(self, record: Taken) -> None:
        self.ward.take_risks(codec.decode(RiskBatch, record.value, record.content_type), record.arrived_us)

    def _take_alert(self, record: Taken) -> None:
        self.ward.take_alert(codec.decode(AlertTransition, record.value, record.content_type), record.arrived_us)

    def _take_strip(self, record: Taken) -> None:
        self.frozen.take(record.value, record.content_type)

    def _take_image(self, record: Taken) -> None:
        at_ms = record.arrived_us // 1000
        self.pictures.take(Record(Topic.IMAGING, record.partition, 0, at_ms, None, record.value, record.content_type))

    async def _page(self, request: web.Request) -> web.Response:
        return self._serve(request, "index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._serve(request, request.match_info["name"])

    def _serve(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            return web.Response(status=404, headers=_HEADERS)
        headers = {**_HEADERS, "Cache-Control": "no-cache", "ETag": file.etag}
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)

    async def _snapshot(self, request: web.Request) -> web.Response:
        if not _is_same_origin(request):
            return _refusal(403, "another site asks")
        try:
            asked = {name: int(request.query[name]) for name in ("page", "size") if name in request.query}
            named = {name: request.query[name] for name in ("order", "find") if name in request.query}
            view = parse_view(_encode({**asked, **named}))
        except ValueError:
            return _refusal(400, "page, size, order (bed, urgency), find")
        frame, _ = self.ward.frame(view)
        beds = self.ward.changed(frame.order, {})
        return _json(tiles.Snapshot(self.ward.now_us(), frame, beds))

    async def _alarm(self, request: web.Request) -> web.Response:
        if not _is_same_origin(request):
            return _refusal(403, "another site asks")
        alert_id = request.match_info["alert_id"]
        found = tiles.alarm_found(self.ward.alarm(alert_id), self.frozen.of(alert_id))
        return _json(found) if found is not None else _refusal(404, "no alarm of this name is known here any more")

    async def _past_alarms(self, request: web.Request) -> web.Response:
        if not _is_same_origin(request):
            return _refusal(403, "another site asks")
        return _json([tiles.past_alarm(alarm) for alarm in self.ward.past_alarms(request.query.get("bed", ""))])

    async def _image(self, request: web.Request) -> web.Response:
        if not _is_same_origin(request):
            return _refusal(403, "another site asks")
        try:
            task = Task(request.query.get("task", ""))
        except ValueError:
            return _refusal(400, "bed and task")
        bed = request.query.get("bed", "")
        shown = await asyncio.get_running_loop().run_in_executor(self._looking, self.pictures.shown, bed, task)
        return _json(shown) if shown is not None else _refusal(404, "no such image is known here any more")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if not _is_same_origin(request):
            return _refusal(403, "another site asks")
        if len(self._viewers) >= MAX_VIEWERS:
            return _refusal(503, "too many viewers")
        # permessage-deflate keeps state and costs more than it saves on noise
        socket = web.WebSocketResponse(max_msg_size=_MAX_BODY, heartbeat=20.0, timeout=1.0, compress=False)
        await socket.prepare(request)
        viewer = Viewer(self.ward, self.traces)
        self._viewers.add(viewer)
        self._count_pages()
        asked = asyncio.Event()
        telling = asyncio.create_task(self._tell(request, socket, viewer, asked))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                try:
                    said = parse_said(message.data)
                except ValueError:
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION)
                    break
                if isinstance(said, tiles.Seen):
                    self._receipts.shown(said.shown)
                else:
                    viewer.view = said
                    self._count_pages()
                    asked.set()
        finally:
            telling.cancel()
            self._viewers.discard(viewer)
            self._count_pages()
            self._put_on_view()
        return socket

    async def _tell(
        self, request: web.Request, socket: web.WebSocketResponse, viewer: Viewer, asked: asyncio.Event
    ) -> None:
        try:
            while not self._stopping:
                frames, traces = viewer.next_frames()
                self._put_on_view()
                self._receipts.sent(viewer.alarms)
                async with asyncio.timeout(self._send_deadline_s):
                    for frame in frames:
                        await socket.send_str(frame.decode())
                    if traces is not None:
                        await socket.send_bytes(traces)
                self._tidy()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._tick_s):
                        await asked.wait()
                asked.clear()
            await socket.close(code=WSCloseCode.GOING_AWAY)
        except (ConnectionError, TimeoutError):
            # a browser that takes nothing for so long will not take a farewell either
            if request.transport is not None:
                request.transport.abort()

    def _count_pages(self) -> None:
        self._receipts.pages(sum(not viewer.view.hidden for viewer in self._viewers))

    def _put_on_view(self) -> None:
        self.traces.show({name for viewer in self._viewers for name in viewer.names})

    def _tidy(self) -> None:
        now_us = self._clock.now_us()
        if now_us - self._last_tidy_us >= _TIDY_S * 1e6:
            self._last_tidy_us = now_us
            self.ward.forget_the_silent()

    def _command(self, action: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            if not _is_same_origin(request):
                return _refusal(403, "another site asks")
            if request.content_type != "application/json":
                return _refusal(415, "application/json")
            if request.content_length is None or request.content_length > _MAX_BODY:
                return _refusal(413, f"at most {_MAX_BODY} bytes, with their length")
            try:
                wanted = parse(action, await request.content.readexactly(request.content_length), self._unit)
            except (ValueError, asyncio.IncompleteReadError) as error:
                return _refusal(403 if isinstance(error, NotYours) else 422, str(error))
            try:
                loop = asyncio.get_running_loop()
                when_us = await loop.run_in_executor(self._desk.threads, self._desk.send, wanted)
            except Fault as fault:
                _log.error("%s: %s", action, fault)
                return _refusal(503, str(fault))
            return _json({"whenUs": when_us}, status=202)

        return handle


def _is_same_origin(request: web.Request) -> bool:
    """Whether no other site's page sent this. Browsers say where a request comes from; other programs need not."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _refusal(status: int, why: str) -> web.Response:
    return _json({"refused": why}, status=status)


def _json(body: object, status: int = 200) -> web.Response:
    headers = {**_HEADERS, "Cache-Control": "no-store"}
    return web.Response(body=_encode(body), status=status, content_type="application/json", headers=headers)


def _file(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:20]}"')

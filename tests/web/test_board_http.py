"""The board over HTTP without a broker: what is served, what is refused, and a browser that does not read."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from stream.broker import free_ports
from stream.metrics import Metrics
from stream.web.board import BoardServer
from tests.support.alarms import steps
from tests.support.boardhost import pictures
from tests.support.stay import CALM_RHYTHM, at, batch, record
from vitals.alerts import AlertEvent
from vitals.clock import SystemClock
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_QUANTILES, Task, Verdict

ACKNOWLEDGE = {"bed": "bed-1", "who": "N. Okafor", "role": "nurse", "alertId": "a1", "condition": "asystole"}


@asynccontextmanager
async def board_at_work(
    metrics: Metrics | None = None, **settings: float
) -> AsyncIterator[tuple[BoardServer, TestClient]]:
    board = BoardServer(f"127.0.0.1:{free_ports(1)[0]}", SystemClock(), metrics or Metrics(), pictures(), **settings)
    app = web.Application()
    app.add_routes(board.routes())
    async with TestClient(TestServer(app)) as client:
        yield board, client
        board.stop()


def run(test: Callable[[BoardServer, TestClient], Awaitable[None]], **settings: float) -> None:
    async def inside() -> None:
        async with board_at_work(**settings) as (board, client):
            await test(board, client)

    asyncio.run(inside())


def enter(board: BoardServer, count: int) -> None:
    rows = [(f"bed-{i}", 1.0, CALM_RHYTHM, Verdict.GOOD) for i in range(count)]
    board.ward.take_findings(record(batch(Task.ECG_RHYTHM, rows)), at(1))


def test_the_page_and_all_its_parts_are_served_from_here_and_locked_down() -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        page = await client.get("/")
        text = await page.text()
        assert "Not a medical device" in text
        assert "http://" not in text
        assert "https://" not in text
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name in ("main.js", "tile.js", "board.css", "icon.svg"):
            part = await client.get(f"/static/{name}")
            assert part.status == 200
            again = await client.get(f"/static/{name}", headers={"If-None-Match": part.headers["ETag"]})
            assert again.status == 304

    run(test)


@pytest.mark.parametrize("name", ["board.py", "..%2Fboard.py", "%2e%2e/board.py", "nothing.js"])
def test_nothing_else_is_served(name: str) -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        assert (await client.get(f"/static/{name}")).status == 404

    run(test)


def test_the_snapshot_tells_what_the_tiles_tell() -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        enter(board, 3)
        answer = await (await client.get("/api/ward?size=2&page=1")).json()
        assert [bed["bed"] for bed in answer["beds"]] == ["bed-2"]
        assert answer["beds"][0]["ecg"]["heartRate"] == CALM_RHYTHM["heart_rate_bpm"]
        assert (await client.get("/api/ward?size=100")).status == 400
        assert (await client.get("/api/ward?page=x")).status == 400

    run(test)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_can_neither_command_nor_look(headers: dict[str, str]) -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        assert (await client.post("/api/acknowledge", json=ACKNOWLEDGE, headers=headers)).status == 403
        assert (await client.get("/api/ward", headers=headers)).status == 403
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/live", headers=headers)
        assert refused.value.status == 403

    run(test)


@pytest.mark.parametrize(
    "wrong",
    [
        {"who": ""}, {"who": "   "}, {"who": "x" * 81}, {"role": "visitor"}, {"condition": "boredom"}, {"alertId": ""},
        {"bed": ""}, {"reason": "x" * 301}, {"extra": 1}, {"bed": ["a"]},
    ],
)  # fmt: skip
def test_a_command_that_does_not_say_who_what_and_whom_is_refused(wrong: dict[str, object]) -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        answer = await client.post("/api/acknowledge", json=ACKNOWLEDGE | wrong)
        assert answer.status == 422
        assert (await answer.json())["refused"]

    run(test)


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("acknowledge", ACKNOWLEDGE),
        ("pause", {"seconds": 60}),
        ("snooze", {"condition": "heart-rate-high", "seconds": 60}),
        ("limit", {"condition": "heart-rate-high", "value": 130}),
        ("judge", {"alertId": "a1", "condition": "asystole", "onsetUs": 1, "value": "false"}),
    ],
)
@pytest.mark.parametrize("role", ["other", "technician"])
def test_who_may_read_the_board_may_not_for_that_silence_it(action: str, body: dict[str, object], role: str) -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        whoever = {"bed": "bed-1", "who": "V. Isitor", "role": role}
        assert (await client.get("/api/ward")).status == 200
        answer = await client.post(f"/api/{action}", json=body | whoever)
        assert answer.status == 403
        assert role in (await answer.json())["refused"]

    run(test)


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("limit", {"condition": "heart-rate-high", "value": 181}),
        ("limit", {"condition": "ecg-lead-off", "value": 1}),
        ("snooze", {"condition": "asystole", "seconds": 61}),
        ("snooze", {"condition": "asystole", "seconds": 0}),
    ],
)
def test_what_lies_outside_its_bounds_is_refused_with_them(action: str, body: dict[str, object]) -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        answer = await client.post(f"/api/{action}", json=body | {"bed": "bed-1", "who": "n", "role": "nurse"})
        assert answer.status == 422
        assert (await answer.json())["refused"]

    run(test)


def test_bodies_are_bounded_and_are_json() -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        big = json.dumps(ACKNOWLEDGE | {"reason": "x" * 5000})
        of_json = {"Content-Type": "application/json"}
        assert (await client.post("/api/acknowledge", data=big, headers=of_json)).status == 413
        assert (await client.post("/api/acknowledge", data=b"{", headers=of_json)).status == 422
        assert (await client.post("/api/acknowledge", data=json.dumps(ACKNOWLEDGE))).status == 415

        async def endless() -> AsyncIterator[bytes]:
            yield b"{"

        assert (await client.post("/api/acknowledge", data=endless(), headers=of_json)).status == 413
        assert (
            await client.post("/api/pause", json={"bed": "b", "who": "n", "role": "nurse", "seconds": 121})
        ).status == 422

    run(test)


def test_a_command_that_the_broker_did_not_take_is_not_said_to_be_recorded() -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        answer = await client.post("/api/acknowledge", json=ACKNOWLEDGE)
        assert answer.status == 503
        assert "broker" in (await answer.json())["refused"]

    run(test)


def test_a_message_that_is_no_view_ends_the_connection() -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        live = await client.ws_connect("/live")
        await live.send_str('{"type": "view", "size": 1000}')
        async for message in live:
            assert message.type is WSMsgType.TEXT
        assert live.close_code == 1008

    run(test)


def test_what_a_page_has_shown_is_counted_once_and_a_hidden_page_is_none() -> None:
    async def test() -> None:
        metrics = Metrics()

        def figure(name: str, **labels: str) -> float | None:
            return metrics.registry.get_sample_value(name, labels)

        (raised,) = steps(AlertEvent.RAISED)
        async with board_at_work(metrics) as (board, client):
            pages = [await client.ws_connect("/live") for _ in range(2)]
            board.ward.take_alert(raised, at(1))
            for page in pages:
                await _told_of(page, raised.alert_id)
            assert figure("wardwatch_board_pages") == 2
            for page in pages:
                await page.send_json({"type": "seen", "shown": [[raised.alert_id, raised.step]]})
                await page.send_json({"type": "view", "hidden": True, "find": "nobody"})
                await _told_of(page, '"matching":0')
            assert figure("wardwatch_notifications_total", sink="board", result="delivered") == 1
            assert figure("wardwatch_board_pages") == 0

    asyncio.run(test())


async def _told_of(page: ClientWebSocketResponse, word: str) -> None:
    async with asyncio.timeout(5):
        while word not in str(await page.receive_str()):
            pass


def test_stopping_says_good_bye_to_browsers() -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        live = await client.ws_connect("/live")
        await live.receive()
        board.stop()
        async with asyncio.timeout(5):
            async for _ in live:
                pass
        assert live.close_code == 1001

    run(test)


def test_a_browser_that_does_not_read_costs_bounded_memory_and_is_let_go() -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        enter(board, 64)
        slow = await asyncio.get_running_loop().run_in_executor(None, _connect_and_never_read, client.port)
        live = await client.ws_connect("/live")
        await live.send_str('{"type": "view", "size": 64}')
        manager = client.server.handler
        assert manager is not None
        most_waiting, told, began = 0, 0, time.monotonic()
        try:
            while len(manager.connections) > 1 and time.monotonic() - began < 30:
                _change_everything(board, told)
                async with asyncio.timeout(2):  # the other browser is served all the while
                    await live.receive()
                told += 1
                waiting = [h.transport.get_write_buffer_size() for h in manager.connections if h.transport is not None]
                most_waiting = max(most_waiting, *waiting)
        finally:
            slow.close()
        assert told > 20
        assert len(manager.connections) == 1, "the slow browser is still there"
        assert most_waiting < 1_000_000

    run(test, tick_s=0.005, send_deadline_s=1.0)


def _connect_and_never_read(port: int | None) -> socket.socket:
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET /live HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    slow.sendall("\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode())
    view = b'{"type": "view", "size": 64}'
    slow.sendall(bytes([0x81, 0x80 | len(view), 0, 0, 0, 0]) + view)
    return slow


def _change_everything(board: BoardServer, step: int) -> None:
    values = {f"h{h:02d}_q{q:02d}": 100.5 + h + q for h in FORECAST_HORIZONS_MIN for q in FORECAST_QUANTILES}
    rows = [(f"bed-{i}", 300.0 * step, values | {"glucose_mg_dl": 90.0 + step % 50}, Verdict.GOOD) for i in range(64)]
    board.ward.take_findings(record(batch(Task.GLUCOSE, rows)), at(300 * step))

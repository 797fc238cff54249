"""Strips on the board: found by their alarm, also when it is over, and bounded in memory."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from stream.broker import free_ports
from stream.links import Links
from stream.metrics import Metrics
from stream.web.board import BoardServer
from stream.web.frozen import Frozen
from stream.web.reader import Taken
from tests.support.alarms import PATIENT, steps
from tests.support.boardhost import pictures
from tests.support.ecglog import Monitor, us
from vitals import codec, strips
from vitals.alerts import AlertEvent
from vitals.clock import SystemClock
from vitals.conditions import Condition
from vitals.errors import Unusable
from vitals.strips import Strip

MONITOR = Monitor()


def strip(moment_s: int = 60) -> Strip:
    (raised,) = steps(AlertEvent.RAISED, onset_us=us(moment_s))
    wanted = strips.wanted(raised, us(moment_s + 1))
    assert wanted is not None
    made = strips.cut(wanted, MONITOR.seconds(moment_s - 15, moment_s + 10), read_us=us(3600))
    assert made is not None
    return made


def run(test: Callable[[BoardServer, TestClient], Awaitable[None]]) -> None:
    async def inside() -> None:
        board = BoardServer(f"127.0.0.1:{free_ports(1)[0]}", SystemClock(), Metrics(), pictures())
        app = web.Application()
        app.add_routes(board.routes())
        async with TestClient(TestServer(app)) as client:
            await test(board, client)
            board.stop()

    asyncio.run(inside())


def show(board: BoardServer, made: Strip, content_type: str = codec.MSGPACK) -> None:
    board._take_strip(Taken(0, us(70), content_type, codec.encode(made, content_type)))


def test_an_alarm_is_found_by_its_id_with_its_strip_as_soon_as_there_is_one() -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        raised, cleared = steps(AlertEvent.RAISED, AlertEvent.CLEARED, onset_us=us(60))
        path = f"/api/alarm/{raised.alert_id}"
        assert (await client.get(path)).status == 404
        board.ward.take_alert(raised, us(61))
        found = await (await client.get(path)).json()
        assert (found["alertId"], found["bed"], found["isOpen"], found["strip"]) == (
            raised.alert_id,
            PATIENT,
            True,
            None,
        )
        show(board, strip())
        shown = (await (await client.get(path)).json())["strip"]
        assert (shown["fromUs"], shown["timeUs"], shown["toUs"], shown["missing"]) == (us(50), us(60), us(65), [])
        (stretch,) = shown["stretches"]
        assert base64.b64decode(stretch["samples"]) == MONITOR.samples(50, 65).tobytes()
        board.ward.take_alert(cleared, us(62))
        over = await (await client.get(path)).json()
        assert (over["bed"], over["isOpen"], over["priority"]) == (PATIENT, False, "high")
        assert over["text"] == raised.text
        assert over["strip"] == shown

    run(test)


def test_an_alarm_that_is_over_is_found_without_a_strip_too() -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        for step in steps(AlertEvent.RAISED, AlertEvent.CLEARED, condition=Condition.GLUCOSE_LOW):
            board.ward.take_alert(step, us(1))
        found = await (await client.get(f"/api/alarm/{step.alert_id}")).json()
        assert (found["bed"], found["isOpen"], found["strip"]) == (PATIENT, False, None)

    run(test)


def test_a_bed_tells_its_latest_alarms_that_are_over_and_nobody_elses() -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        for onset_s in range(15):
            for step in steps(AlertEvent.RAISED, AlertEvent.CLEARED, onset_us=us(onset_s)):
                board.ward.take_alert(step, us(1))
        for step in steps(AlertEvent.RAISED, AlertEvent.CLEARED, patient="somebody"):
            board.ward.take_alert(step, us(1))
        board.ward.take_alert(steps(AlertEvent.RAISED, onset_us=us(20))[0], us(20))
        past = await (await client.get("/api/alarms", params={"bed": PATIENT})).json()
        assert [alarm["onsetUs"] for alarm in past] == [us(onset_s) for onset_s in range(14, 2, -1)]
        assert await (await client.get("/api/alarms", params={"bed": "nobody"})).json() == []
        assert (await client.get("/api/alarms", headers={"Sec-Fetch-Site": "cross-site"})).status == 403

    run(test)


def test_the_page_of_an_alarm_is_the_board_and_a_link_leads_to_it() -> None:
    async def test(_: BoardServer, client: TestClient) -> None:
        path = Links("http://board").to(strip().alert_id).removeprefix("http://board")
        page = await client.get(path)
        assert page.status == 200
        assert await page.text() == await (await client.get("/")).text()
        assert PATIENT not in path

    run(test)


@pytest.mark.parametrize("headers", [{"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_does_not_get_a_strip(headers: dict[str, str]) -> None:
    async def test(board: BoardServer, client: TestClient) -> None:
        show(board, strip(), codec.JSON)
        assert (await client.get(f"/api/alarm/{strip().alert_id}", headers=headers)).status == 403
        assert (await client.get(f"/api/alarm/{strip().alert_id}")).status == 200

    run(test)


def test_the_oldest_strips_are_let_go_and_one_that_comes_again_counts_once() -> None:
    size = len(codec.encode(strip()))
    frozen = Frozen(most_bytes=3 * size + 10)
    for moment_s in (60, 61, 62, 60, 63):
        frozen.take(codec.encode(strip(moment_s)), codec.MSGPACK)
        assert frozen.size <= 3 * size + 10
    assert frozen.of(strip(61).alert_id) is None
    assert frozen.of(strip(60).alert_id) == strip(60)


def test_what_is_no_strip_is_refused() -> None:
    frozen = Frozen()
    for value in (b"", b"\xc1", codec.encode(steps(AlertEvent.RAISED)[0]), msgspec.msgpack.encode({"type": "strip"})):
        with pytest.raises(Unusable):
            frozen.take(value, codec.MSGPACK)
    assert frozen.size == 0

"""Images as the board shows them: what the model sees, what it goes by, and what cannot be read."""

from __future__ import annotations

import asyncio
import base64
import io

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from models.registry import Registry
from stream.broker import free_ports
from stream.imagestore import ImageStore
from stream.metrics import Metrics
from stream.modelslot import SHIPPED_BUNDLES
from stream.topics import Topic
from stream.web.board import BoardServer
from stream.web.pictures import Pictures
from tests.support.boardhost import pictures
from vitals import codec
from vitals.clock import SystemClock
from vitals.errors import Reason, Unusable
from vitals.events import ImagingEvent, Record
from vitals.findings import Task
from vitals.units import US_PER_S

NOW_US = 1_800_000_000 * US_PER_S
CHEST = np.clip(np.add.outer(np.arange(28), np.arange(28)) * 4, 0, 255).astype(np.uint8)


def event(grey: np.ndarray = CHEST, **changes: object) -> ImagingEvent:
    said: dict[str, object] = {
        "patient": "ada", "time_us": NOW_US, "study": "s", "series": "s", "instance": "1", "modality": "DX",
        "body_part": "CHEST", "pixels": grey.tobytes(), "rows": grey.shape[0], "columns": grey.shape[1],
    }  # fmt: skip
    return ImagingEvent(**(said | changes))


def record(one: ImagingEvent, offset: int = 0) -> Record:
    return Record(Topic.IMAGING, 0, offset, one.time_us // 1000, b"ada", codec.encode(one))


def test_an_image_is_shown_as_the_model_sees_it_with_what_it_goes_by() -> None:
    known = pictures()
    known.take(record(event()))
    shown = known.shown("ada", Task.PNEUMONIA)
    assert shown is not None
    assert (shown.side, shown.end_us, shown.why) == (28, NOW_US, "")
    assert np.frombuffer(shown.grey, np.uint8).tolist() == CHEST.ravel().tolist()
    assert shown.carried is not None
    assert np.shape(shown.carried) == (28, 28)
    assert np.abs(shown.carried).max() > 0.001
    current = Registry(SHIPPED_BUNDLES).current(Task.PNEUMONIA)
    assert current is not None
    assert shown.model == current.short
    assert shown.p is not None
    assert 0.0 <= shown.p <= 1.0


def test_a_large_image_is_made_smaller_for_the_eye_and_cut_to_the_square() -> None:
    file = io.BytesIO()
    Image.fromarray(np.tile(np.arange(1200, dtype=np.uint16) // 5, (1000, 1)).astype(np.uint8)).save(file, "PNG")
    known = pictures()
    known.take(record(event(pixels=file.getvalue(), rows=None, columns=None)))
    shown = known.shown("ada", Task.PNEUMONIA)
    assert shown is not None
    assert shown.side == 384
    row = np.frombuffer(shown.grey, np.uint8).reshape(384, 384)[0]
    assert (int(row[0]), int(row[-1])) == pytest.approx((20, 219), abs=1)


def test_the_newest_image_counts_also_when_an_older_one_comes_later() -> None:
    known = pictures()
    known.take(record(event(255 - CHEST, time_us=NOW_US + 1, instance="2")))
    known.take(record(event()))
    shown = known.shown("ada", Task.PNEUMONIA)
    assert shown is not None
    assert shown.end_us == NOW_US + 1


def test_an_image_that_cannot_be_read_says_why_and_has_no_probability() -> None:
    known = pictures()
    known.take(record(event(pixels=b"not a picture", rows=None, columns=None)))
    shown = known.shown("ada", Task.PNEUMONIA)
    assert shown is not None
    assert (shown.side, shown.p, shown.carried) == (0, None, None)
    assert shown.why == "not evaluated: pixels-unreadable"


def test_an_address_outside_the_allowed_is_not_opened() -> None:
    known = pictures()
    known.take(record(event(pixels=None, rows=None, columns=None, uri="file:///etc/passwd", sha256="0" * 64)))
    shown = known.shown("ada", Task.PNEUMONIA)
    assert shown is not None
    assert shown.why == "not evaluated: unreachable"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"modality": "CT"}, Reason.NO_MODEL), ({"time_us": 0}, Reason.IMPOSSIBLE_TIME)],
)
def test_what_the_live_path_refuses_is_not_kept(changes: dict[str, object], reason: Reason) -> None:
    known = pictures()
    with pytest.raises(Unusable) as refused:
        known.take(record(event(**changes)))
    assert refused.value.reason is reason
    assert known.shown("ada", Task.PNEUMONIA) is None


def test_without_a_model_the_image_is_still_shown() -> None:
    known = Pictures(ImageStore(()), Registry(SHIPPED_BUNDLES.parent / "nowhere"), 0)
    known.take(record(event()))
    shown = known.shown("ada", Task.PNEUMONIA)
    assert shown is not None
    assert (shown.side, shown.carried, shown.why) == (28, None, "no model serves")


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    one = len(record(event()).value)
    known = Pictures(ImageStore(()), Registry(SHIPPED_BUNDLES), 0, most_bytes=2 * one + one // 2)
    for patient in ("ada", "bob", "cyd"):
        known.take(record(event(patient=patient)))
    assert [known.shown(patient, Task.PNEUMONIA) is not None for patient in ("ada", "bob", "cyd")] == [
        False, True, True,
    ]  # fmt: skip


def test_the_board_tells_an_image_to_its_own_pages_only() -> None:
    async def test() -> None:
        board = BoardServer(f"127.0.0.1:{free_ports(1)[0]}", SystemClock(), Metrics(), pictures())
        board.pictures.take(record(event()))
        app = web.Application()
        app.add_routes(board.routes())
        async with TestClient(TestServer(app)) as client:
            told = await client.get("/api/image", params={"bed": "ada", "task": "pneumonia"})
            assert told.status == 200
            assert told.headers["Cache-Control"] == "no-store"
            shown = await told.json()
            assert base64.b64decode(shown["grey"]) == CHEST.tobytes()
            assert shown["endUs"] == NOW_US
            other = await client.get("/api/image", params={"bed": "bob", "task": "pneumonia"})
            assert other.status == 404
            wrong = await client.get("/api/image", params={"bed": "ada", "task": "fortune"})
            assert wrong.status == 400
            foreign = await client.get(
                "/api/image", params={"bed": "ada", "task": "pneumonia"}, headers={"Sec-Fetch-Site": "cross-site"}
            )
            assert foreign.status == 403
        board.stop()

    asyncio.run(test())

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from stream.batching import Inbox


@dataclass(frozen=True)
class Parcel:
    size: int


def inbox(max_bytes: int = 100, max_batch_bytes: int = 50) -> Inbox[Parcel]:
    return Inbox(max_bytes=max_bytes, max_batch_bytes=max_batch_bytes)


def test_everything_that_waits_is_taken_together_up_to_the_bound() -> None:
    async def situation() -> None:
        box = inbox()
        for size in (20, 20, 20):
            await box.put(Parcel(size))
        assert [p.size for p in await box.take(1)] == [20, 20]
        assert [p.size for p in await box.take(1)] == [20]

    asyncio.run(situation())


def test_a_parcel_larger_than_every_bound_still_passes() -> None:
    async def situation() -> None:
        box = inbox()
        await box.put(Parcel(1000))
        assert [p.size for p in await box.take(1)] == [1000]

    asyncio.run(situation())


def test_a_full_inbox_holds_the_door_until_the_engine_takes() -> None:
    async def situation() -> None:
        box = inbox()
        await box.put(Parcel(90))
        putting = asyncio.create_task(box.put(Parcel(20)))
        await asyncio.sleep(0)
        assert not putting.done()
        assert [p.size for p in await box.take(1)] == [90]
        await putting
        assert [p.size for p in await box.take(1)] == [20]

    asyncio.run(situation())


def test_nothing_comes_of_an_empty_inbox() -> None:
    assert asyncio.run(inbox().take(0.001)) == []


def test_a_rebalance_empties_it_and_lets_the_door_go_on() -> None:
    async def situation() -> None:
        box = inbox()
        await box.put(Parcel(90))
        putting = asyncio.create_task(box.put(Parcel(20)))
        await asyncio.sleep(0)
        box.clear()
        await putting
        assert [p.size for p in await box.take(1)] == [20]

    asyncio.run(situation())

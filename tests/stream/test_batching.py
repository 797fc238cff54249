from __future__ import annotations

import asyncio
from dataclasses import dataclass

from stream.batching import Inbox


@dataclass(frozen=True)
class Parcel:
    size: int


def inbox() -> Inbox[Parcel]:
    return Inbox(full_bytes=100, batch_bytes=50, batch_items=4)


def test_everything_that_waits_is_taken_together_up_to_the_bound() -> None:
    async def situation() -> None:
        box = inbox()
        for size in (20, 20, 20):
            box.put(Parcel(size))
        assert [p.size for p in await box.take(1)] == [20, 20]
        assert [p.size for p in await box.take(1)] == [20]

    asyncio.run(situation())


def test_a_parcel_larger_than_every_bound_still_passes() -> None:
    async def situation() -> None:
        box = inbox()
        box.put(Parcel(1000))
        assert [p.size for p in await box.take(1)] == [1000]

    asyncio.run(situation())


def test_many_small_parcels_are_no_larger_a_batch() -> None:
    async def situation() -> None:
        box = inbox()
        for _ in range(3):
            box.put(Parcel(1))
        assert not box.holds_a_batch
        for _ in range(2):
            box.put(Parcel(1))
        assert box.holds_a_batch
        assert len(await box.take(1)) == 4
        assert len(await box.take(1)) == 1

    asyncio.run(situation())


def test_a_full_inbox_still_takes_and_says_when_half_of_it_is_gone() -> None:
    async def situation() -> None:
        box = inbox()
        for size in (50, 40, 30):
            box.put(Parcel(size))
        await box.full()
        room = asyncio.create_task(box.room())
        assert [p.size for p in await box.take(1)] == [50]
        await asyncio.sleep(0)
        assert not room.done()
        assert [p.size for p in await box.take(1)] == [40]
        await room
        assert [p.size for p in await box.take(1)] == [30]

    asyncio.run(situation())


def test_nothing_comes_of_an_empty_inbox() -> None:
    assert asyncio.run(inbox().take(0.001)) == []


def test_a_rebalance_empties_it_and_makes_room() -> None:
    async def situation() -> None:
        box = inbox()
        box.put(Parcel(120))
        await box.full()
        box.clear()
        await box.room()
        box.put(Parcel(20))
        assert [p.size for p in await box.take(1)] == [20]

    asyncio.run(situation())

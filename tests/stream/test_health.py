"""Alive means getting on: what is stuck is named, with what it owes."""

from __future__ import annotations

import pytest

from stream.health import Health
from vitals.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000_000)


@pytest.fixture
def health(clock: ManualClock) -> Health:
    health = Health(clock, stalled_s=20.0)
    health.expect("ecg")
    health.loaded("ecg", True)
    return health


def test_a_half_that_takes_records_and_acknowledges_none_is_named(clock: ManualClock, health: Health) -> None:
    health.progressed("ecg", 0, 0)
    health.behind("ecg", 57)
    clock.advance(19)
    assert health.stalled() == []
    clock.advance(2)
    assert health.stalled() == ["ecg: 57 records wait, the last acknowledged 21 s ago"]


def test_a_quiet_ward_is_no_fault(clock: ManualClock, health: Health) -> None:
    health.progressed("ecg", 3, 0)
    clock.advance(3600)
    assert health.stalled() == []


def test_an_event_loop_that_stands_is_named_and_one_that_never_began_is_not(clock: ManualClock, health: Health) -> None:
    clock.advance(60)
    assert health.stalled() == []
    health.turned()
    clock.advance(25)
    assert health.stalled() == ["the event loop has not turned for 25 s"]

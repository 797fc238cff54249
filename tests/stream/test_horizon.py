"""Up to when time may be told to have passed: seen through the ends of the logs and who has got how far."""

from __future__ import annotations

from aiokafka import TopicPartition

from stream.agents.horizon import Horizon
from stream.topics import PARTITIONS, Topic
from vitals.clock import ManualClock
from vitals.units import US_PER_S

ECG = TopicPartition(Topic.ECG.value, 3)
FINDINGS = TopicPartition(Topic.FINDINGS.value, 0)
EVERYTHING = [TopicPartition(t.value, p) for t in (Topic.ECG, Topic.GLUCOSE, Topic.FINDINGS) for p in range(PARTITIONS)]
ON_THE_WAY_S = 2


class Seen:
    """A horizon whose logs, clock and acknowledgements are in our hands; it decides partition 0 of the findings."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000 * US_PER_S)
        self.ends = dict.fromkeys(EVERYTHING, 0)
        self.acknowledged = dict.fromkeys(EVERYTHING, 0)
        self.decided: dict[TopicPartition, int] = {}
        self.horizon = Horizon(self.clock, lambda: self.decided)
        self.horizon.decides({0})

    def look(self, after_s: float = 0.5) -> float:
        """Seconds up to which time has passed, as seen at the next look."""
        self.clock.advance(after_s)
        self.horizon.note(self.clock.now_us(), {**self.acknowledged, **self.decided}, dict(self.ends))
        return self.horizon.until_us() / US_PER_S + ON_THE_WAY_S


def test_time_passes_while_nothing_waits() -> None:
    seen = Seen()
    seen.look()
    assert seen.look() == 1000.5
    assert seen.look() == 1001.0


def test_a_record_that_nobody_has_read_holds_time_wherever_it_waits() -> None:
    seen = Seen()
    seen.look()
    seen.look()
    seen.ends[ECG] = 7
    before = seen.look()
    assert [seen.look() for _ in range(5)] == [before] * 5
    seen.acknowledged[ECG] = 7
    assert seen.look() > before


def test_time_waits_until_what_was_found_is_decided_here() -> None:
    seen = Seen()
    seen.look()
    before = seen.look()
    seen.ends[FINDINGS] = 4
    seen.ends[TopicPartition(Topic.FINDINGS.value, 5)] = 9  # somebody else's
    assert [seen.look() for _ in range(3)] == [before] * 3
    seen.decided[FINDINGS] = 4
    assert seen.look() > before


def test_new_partitions_are_not_judged_by_what_was_known_of_the_old_ones() -> None:
    seen = Seen()
    for _ in range(3):
        seen.look()
    seen.horizon.hold()
    assert seen.horizon.until_us() < 0
    seen.ends[FINDINGS] = 4
    seen.horizon.decides({0})
    assert [seen.look() < 0 or seen.horizon.until_us() < 0 for _ in range(4)] == [True] * 4


def test_a_broker_that_comes_back_gives_the_gateways_ten_seconds() -> None:
    seen = Seen()
    seen.look()
    before = seen.look()
    assert seen.look(after_s=12) == before
    assert [seen.look() for _ in range(19)] == [before] * 19
    assert [seen.look() for _ in range(3)][-1] > before + 20


def test_a_ward_that_nobody_observes_is_told_so_after_half_a_minute() -> None:
    seen = Seen()
    seen.look()
    before = seen.look()
    seen.ends[ECG] = 7
    for _ in range(56):
        assert seen.look() <= before + 0.5
    for _ in range(10):
        seen.look()
    assert seen.horizon.until_us() / US_PER_S + ON_THE_WAY_S == seen.clock.now_us() / US_PER_S - 30


def test_one_whom_nobody_waits_for_takes_its_time_to_decide_what_was_found() -> None:
    patient, lagging = Seen(), Seen()
    lagging.horizon = Horizon(lagging.clock, lambda: lagging.decided, may_lag=True)
    lagging.horizon.decides({0})
    for seen in (patient, lagging):
        seen.look()
        before = seen.look()
        seen.ends[FINDINGS] = 4
        for _ in range(80):
            seen.look()
    assert patient.horizon.until_us() / US_PER_S + ON_THE_WAY_S > before + 0.5
    assert lagging.horizon.until_us() / US_PER_S + ON_THE_WAY_S == before
    lagging.decided[FINDINGS] = 4
    assert lagging.look() > before
    lagging.ends[ECG] = 7
    for _ in range(80):
        lagging.look()
    assert lagging.horizon.until_us() / US_PER_S + ON_THE_WAY_S == lagging.clock.now_us() / US_PER_S - 30, (
        "others are not waited for"
    )

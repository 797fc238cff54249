"""An alarm's steps go in order, and one that its sink will not take holds up only itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.notify.outbox import Notification, Outbox, Patience
from tests.support.alarms import steps
from vitals.alerts import AlertEvent

PATIENCE = Patience(first_s=1.0, longest_s=8.0, keep_s=60.0)


def _steps_of(patient: str, n: int, first_offset: int) -> list[Notification]:
    events = [AlertEvent.RAISED, *[AlertEvent.ESCALATED] * (n - 1)]
    return [
        Notification(alert, partition=0, offset=first_offset + i, written_ms=0)
        for i, alert in enumerate(steps(*events, patient=patient))
    ]


def _filled(*queues: list[Notification]) -> Outbox:
    outbox = Outbox(PATIENCE)
    for queue in queues:
        for notification in queue:
            outbox.enter(notification)
    return outbox


def test_only_the_first_step_of_each_alarm_is_due() -> None:
    a, b = _steps_of("a", 3, 0), _steps_of("b", 2, 10)
    outbox = _filled(a, b)
    assert outbox.due(0.0, most=9) == [a[0], b[0]]
    outbox.settle(a[0])
    assert outbox.due(0.0, most=9) == [a[1], b[0]]


def test_a_step_that_failed_holds_up_its_own_alarm_and_no_other() -> None:
    a, b = _steps_of("a", 2, 0), _steps_of("b", 1, 10)
    outbox = _filled(a, b)
    assert outbox.postpone(a[0], now_s=100.0, now_ms=0)
    assert outbox.due(100.5, most=9) == [b[0]]
    assert outbox.next_due_s() == 0.0
    outbox.settle(b[0])
    assert outbox.next_due_s() == 101.0
    assert outbox.due(101.0, most=9) == [a[0]]


def test_one_that_nobody_takes_goes_behind_the_others() -> None:
    a, b = _steps_of("a", 1, 0), _steps_of("b", 1, 10)
    outbox = _filled(a, b)
    outbox.postpone(a[0], now_s=0.0, now_ms=0)
    assert outbox.due(500.0, most=1) == [b[0]]


def test_pauses_double_up_to_the_longest() -> None:
    assert [PATIENCE.pause_s(n) for n in range(1, 7)] == [1, 2, 4, 8, 8, 8]
    assert PATIENCE.pause_s(100_000) == 8


def test_nothing_older_than_its_time_is_tried_a_second_time_but_everything_is_tried_once() -> None:
    (old,) = _steps_of("a", 1, 0)
    outbox = _filled([old])
    assert outbox.due(0.0, most=1) == [old]
    assert not outbox.postpone(old, now_s=0.0, now_ms=60_000)


def test_a_step_that_a_restarted_worker_repeats_is_known() -> None:
    outbox = Outbox(PATIENCE)
    first, second = steps(AlertEvent.RAISED, AlertEvent.CLEARED)
    assert [outbox.is_repeat(step) for step in (first, second, first, second)] == [False, False, True, True]
    assert not outbox.is_repeat(steps(AlertEvent.RAISED, onset_us=9)[0])


def test_partitions_that_went_away_leave_nothing() -> None:
    outbox = _filled(_steps_of("a", 2, 0))
    outbox.forget({0})
    assert len(outbox) == 0
    assert outbox.due(9.0, most=9) == []
    assert outbox.lowest(0) is None


@given(st.lists(st.sampled_from(["deliver", "fail"]), max_size=60), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_the_place_in_the_log_never_passes_a_step_that_is_not_settled(plan: list[str], sizes: list[int]) -> None:
    queues = [_steps_of(f"p{i}", n, first_offset=10 * i) for i, n in enumerate(sizes)]
    outbox = _filled(*queues)
    left = {n.offset for queue in queues for n in queue}
    told: dict[str, list[int]] = {}
    for now_s, action in enumerate(plan):
        for one in outbox.due(float(now_s), most=1):
            if action == "deliver":
                outbox.settle(one)
                left.remove(one.offset)
                told.setdefault(one.alert.alert_id, []).append(one.alert.step)
            else:
                assert outbox.postpone(one, float(now_s), now_ms=0)
        assert outbox.lowest(0) == min(left, default=None)
        assert len(outbox) == len(left)
    assert all(seen == list(range(len(seen))) for seen in told.values())

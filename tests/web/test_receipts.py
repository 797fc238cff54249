"""What a page has shown is a receipt; what none has shown is backlog, while there is a page at all."""

from __future__ import annotations

import pytest

from stream.metrics import Metrics
from stream.web.receipts import GRACE_S, Receipts
from stream.web.tiles import AlarmShown
from stream.web.viewer import parse_said
from stream.web.ward import Ward
from tests.support.alarms import steps
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import ManualClock
from vitals.conditions import Condition

E = AlertEvent


class Board:
    """Pages that are sent how things stand, with a clock in our hands."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000_000_000)
        self.metrics = Metrics()
        self.receipts = Receipts(self.metrics, self.clock)
        self.ward = Ward(self.clock, 10)
        self.receipts.pages(1)

    def take(self, *told: AlertTransition) -> None:
        for step in told:
            self.ward.take_alert(step, self.clock.now_us())

    def alarms(self) -> list[AlarmShown]:
        frame, _ = self.ward.frame(parse_said('{"type": "view"}'))  # type: ignore[arg-type]
        return frame.alarms

    def look(self, after_s: float = 0.0) -> float:
        """Calls that no page has shown in time, as seen so much later."""
        self.clock.advance(after_s)
        self.receipts.sent(self.alarms())
        return self.value("wardwatch_notify_backlog", sink="board")

    def show(self) -> None:
        self.receipts.shown([(alarm.alert_id, alarm.step) for alarm in self.alarms()])

    @property
    def delivered(self) -> float:
        return self.value("wardwatch_notifications_total", sink="board", result="delivered")

    def value(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(name, labels)
        assert value is not None
        return value


def test_a_call_is_delivered_when_the_first_page_has_shown_it() -> None:
    board = Board()
    board.take(*steps(E.RAISED))
    assert board.look() == 0
    board.show()
    board.show()
    assert board.delivered == 1
    assert board.look(after_s=2 * GRACE_S) == 0


def test_what_no_page_shows_in_time_is_backlog_until_one_does() -> None:
    board = Board()
    board.take(*steps(E.RAISED), *steps(E.RAISED, condition=Condition.ECG_LEAD_OFF))
    assert board.look() == 0
    assert board.look(after_s=GRACE_S + 0.1) == 2
    board.show()
    assert board.look() == 0
    assert board.delivered == 2


def test_each_call_of_an_alarm_wants_a_receipt_and_an_answer_ends_the_waiting() -> None:
    board = Board()
    raised, escalated, acknowledged = steps(E.RAISED, E.ESCALATED, E.ACKNOWLEDGED)
    board.take(raised)
    board.look()
    board.show()
    board.take(escalated)
    board.look()
    assert board.look(after_s=GRACE_S + 1) == 1
    board.take(acknowledged)
    assert board.look() == 0
    assert board.delivered == 1


def test_what_does_not_call_anyone_wants_no_receipt() -> None:
    board = Board()
    board.take(*steps(E.RAISED, condition=Condition.PVC_FREQUENT), *steps(E.RAISED, E.PAUSED, patient="bob"))
    board.look()
    board.show()
    assert board.look(after_s=GRACE_S + 1) == board.delivered == 0


def test_nothing_waits_for_pages_where_there_is_none() -> None:
    board = Board()
    board.take(*steps(E.RAISED))
    board.look()
    assert board.look(after_s=GRACE_S + 1) == 1
    board.receipts.pages(0)
    assert board.value("wardwatch_notify_backlog", sink="board") == 0
    assert board.value("wardwatch_board_pages") == 0
    assert board.look(after_s=60) == 0
    board.receipts.pages(1)
    assert board.look() == 0, "a page that has just come has its time"
    assert board.look(after_s=GRACE_S + 1) == 1


def test_a_hidden_page_that_is_seen_again_shows_at_once_what_it_was_sent_meanwhile() -> None:
    board = Board()
    board.receipts.pages(0)
    board.take(*steps(E.RAISED))
    assert board.look(after_s=60) == 0
    board.receipts.pages(1)
    board.show()
    assert board.delivered == 1


def test_a_receipt_for_what_was_never_sent_is_none() -> None:
    board = Board()
    board.look()
    board.receipts.shown([("of another ward", 0)])
    assert board.delivered == 0


@pytest.mark.parametrize(
    "said",
    [
        '{"type": "seen"}',
        '{"type": "seen", "shown": [["a"]]}',
        '{"type": "seen", "shown": [["a", 1]], "patient": "Ada"}',
        '{"type": "seen", "shown": [["' + 65 * "a" + '", 1]]}',
        '{"type": "seen", "shown": [' + ", ".join(65 * ['["a", 1]']) + "]}",
        '{"size": 8}',
    ],
)
def test_a_receipt_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_said(said)

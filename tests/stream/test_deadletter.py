"""The envelope keeps what came, within bounds; a flood of letters stops the line, one gateway's rubbish does not."""

from __future__ import annotations

from collections import Counter

import pytest

from stream.deadletter import DeadLetterLimit, envelope
from stream.topics import MAX_MESSAGE_BYTES
from vitals import codec
from vitals.errors import Fault, Reason, Unusable
from vitals.events import Record
from vitals.units import US_PER_S

MALFORMED = Counter({Reason.MALFORMED: 1})
WHY = Unusable(Reason.MALFORMED, "not MessagePack")


def record(**changes: object) -> Record:
    fields = {"topic": "ecg.v1", "partition": 1, "offset": 7, "timestamp_ms": 1, "key": b"g", "value": b"v"} | changes
    return Record(**fields)  # type: ignore[arg-type]


def test_headers_are_kept_as_they_came() -> None:
    headers = (("content-type", b"application/json"), ("traceparent", b"00-1"), ("empty", None))
    letter = envelope(record(headers=headers), WHY)
    assert letter.headers == list(headers)
    assert not letter.cut


@pytest.mark.parametrize(
    "large",
    [
        {"value": bytes(2 * MAX_MESSAGE_BYTES)},
        {"key": bytes(MAX_MESSAGE_BYTES)},
        {"headers": (("h", bytes(MAX_MESSAGE_BYTES)),)},
        {"headers": tuple(("h", None) for _ in range(MAX_MESSAGE_BYTES))},
        {"content_type": "x" * MAX_MESSAGE_BYTES, "headers": (("content-type", b"x" * MAX_MESSAGE_BYTES),)},
    ],
)
def test_whatever_is_too_large_about_a_record_its_letter_is_a_message_and_says_that_it_was_cut(
    large: dict[str, object],
) -> None:
    letter = envelope(record(**large), WHY)
    assert len(codec.encode(letter)) < MAX_MESSAGE_BYTES - 20_000
    assert letter.cut


def test_a_minute_of_mostly_bad_records_stops_the_line_and_says_why() -> None:
    limit = DeadLetterLimit(0.5)
    for second in range(50):
        limit.count(second * US_PER_S, 1, 0, Counter())
    for second in range(50, 60):
        limit.count(second * US_PER_S, 4, 4, MALFORMED)
    with pytest.raises(Fault, match=r"^52 of the last 102 records cannot be used \(malformed: 11\)"):
        limit.count(60 * US_PER_S, 12, 12, MALFORMED)


def test_below_a_hundred_records_a_minute_nothing_is_said() -> None:
    limit = DeadLetterLimit(0.5)
    for second in range(10_000):
        limit.count(second * US_PER_S, 1, 1, MALFORMED)


def test_what_is_over_a_minute_old_does_not_count_for_or_against() -> None:
    limit = DeadLetterLimit(0.5)
    limit.count(0, 99, 99, MALFORMED)
    limit.count(61 * US_PER_S, 99, 0, Counter())
    limit.count(62 * US_PER_S, 1_000_000, 0, Counter())
    with pytest.raises(Fault):
        limit.count(130 * US_PER_S, 100, 51, MALFORMED)


def test_one_gateway_of_three_with_all_its_beds_wrong_is_a_third() -> None:
    limit = DeadLetterLimit(0.5)
    for second in range(600):
        limit.count(second * US_PER_S, 3, 1.0, Counter({Reason.CLOCK_AHEAD: 1000}))


def test_a_share_of_one_never_stops() -> None:
    limit = DeadLetterLimit(1.0)
    limit.count(0, 10_000, 10_000, MALFORMED)

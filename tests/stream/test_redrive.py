"""Dead letters through a real Kafka: counted without a name, filtered, and sent back once as they came."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

import msgspec
import pytest
from kafka import KafkaProducer

from stream import ingest, redrive
from stream.redrive import Wanted, look, send_back
from stream.topics import Topic
from tests.support.topics import read_all
from vitals import codec
from vitals.clock import SystemClock
from vitals.errors import Reason
from vitals.events import DeadLetter, Record, Redriven

pytestmark = pytest.mark.broker

PATIENT = "Ada Lovelace 1815"
HEADERS = [("content-type", b"application/json"), ("traceparent", b"00-1"), ("empty", None)]


def letter(offset: int, **changes: object) -> DeadLetter:
    whole = DeadLetter(
        topic=Topic.ECG.value, partition=5, offset=offset, timestamp_ms=1, reason=Reason.SCHEMA_VERSION.value,
        detail="version 2", row=-1, key=PATIENT.encode(), value=b"as it came \x00\xff", content_type=codec.JSON,
        headers=HEADERS,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def lay_down(kafka: str, letters: Iterable[DeadLetter], *others: bytes) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka, acks="all")) as producer:
        for one in letters:
            producer.send(Topic.DEAD_LETTER.value, codec.encode(one), key=one.key, partition=one.partition)
        for other in others:
            producer.send(Topic.DEAD_LETTER.value, other, partition=0)
        producer.flush()


def test_a_letter_goes_back_as_it_came_and_only_once(kafka_topics: str, capsys: pytest.CaptureFixture[str]) -> None:
    lay_down(kafka_topics, [letter(1), letter(2, key=None, headers=[]), letter(1)])  # a crash told of the first twice
    for said in ("2 sent back, and noted", "0 sent back, and noted"):
        assert redrive.main(["--kafka", kafka_topics, "--send"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == said
    first, second = read_all(kafka_topics, Topic.ECG.value)
    assert (first.partition, first.key, first.value) == (5, PATIENT.encode(), b"as it came \x00\xff")
    assert [tuple(header) for header in first.headers] == [*HEADERS[:2], ("empty", b"")]
    assert (second.partition, second.key, second.headers) == (5, None, [])
    (note,) = [r for r in read_all(kafka_topics, Topic.DEAD_LETTER.value) if r.value.find(b"redriven") >= 0]
    assert codec.decode(Redriven, note.value).letters == [("ecg.v1", 5, 1, -1), ("ecg.v1", 5, 2, -1)]
    assert note.partition == 5


def test_what_is_shown_are_numbers_by_topic_and_reason_and_nobody(
    kafka_topics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = [
        *(letter(offset) for offset in range(3)),
        letter(3, cut=True),
        letter(4, topic=Topic.IMAGING.value, reason=Reason.UNREACHABLE.value),
        letter(5, topic=Topic.COMMANDS.value, reason=Reason.REFUSED_COMMAND.value),
        letter(6, topic="a topic of somebody else"),
        letter(7, partition=77, reason=Reason.MALFORMED.value),
    ]
    lay_down(kafka_topics, (msgspec.structs.replace(one, partition=5) for one in letters[:-1]), b"noise", b"")
    with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
        producer.send(Topic.DEAD_LETTER.value, codec.encode(letters[-1]), partition=1).get(10)
    assert redrive.main(["--kafka", kafka_topics]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:-5] for line in out.splitlines()[1:-2]]
    assert [" ".join(row) for row in rows] == [
        "a topic of som schema-version 1 1 0",
        "commands.v1 refused-command 1 1 0",
        "ecg.v1 malformed 1 1 0",
        "ecg.v1 schema-version 4 1 0",
        "imaging.v1 unreachable 1 0 0",
    ]
    assert out.splitlines()[-2:] == ["2 records are no letters", "4 can go back; --send sends them, once"]
    assert "Ada" not in out
    assert read_all(kafka_topics, Topic.ECG.value) == []


def test_only_what_is_asked_for_goes_back(kafka_topics: str) -> None:
    lay_down(
        kafka_topics,
        [letter(1), letter(2, reason=Reason.MALFORMED.value), letter(3, topic=Topic.GLUCOSE.value), letter(4)],
    )
    latest_ms = max(r.timestamp for r in read_all(kafka_topics, Topic.DEAD_LETTER.value))
    assert look(kafka_topics, Wanted(since_ms=latest_ms + 1)).piles == {}
    asked = Wanted(frozenset({"ecg.v1"}), frozenset({Reason.SCHEMA_VERSION.value}), 0)
    ready = look(kafka_topics, asked).ready
    assert send_back(kafka_topics, ready, SystemClock()) == {("ecg.v1", "schema-version"): 2}
    assert len(read_all(kafka_topics, Topic.ECG.value)) == 2
    assert read_all(kafka_topics, Topic.GLUCOSE.value) == []
    left = look(kafka_topics, Wanted())
    assert {name[2] for name in left.ready} == {2, 3}
    assert left.piles["ecg.v1", "schema-version"].went == 2


def test_a_redrive_that_died_before_its_note_sends_again_what_the_note_would_have_said(kafka_topics: str) -> None:
    """250 letters are three batches: what two notes say stays said."""
    lay_down(kafka_topics, (letter(offset) for offset in range(250)))
    ready = look(kafka_topics, Wanted()).ready
    send_back(kafka_topics, {name for name in ready if name[2] < 200}, SystemClock())
    left = look(kafka_topics, Wanted())
    assert left.piles["ecg.v1", "schema-version"].went == 200
    assert {name[2] for name in left.ready} == set(range(200, 250))


def test_no_broker_is_an_error_and_not_an_empty_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert redrive.main(["--kafka", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--reason", "because"], ["--since", "yesterday"], ["--topic", "letters"]])
def test_an_unknown_filter_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        redrive.main(wrong)


def test_what_the_corridor_cannot_use_can_be_sent_back_from_its_letter(kafka_topics: str) -> None:
    record = Record("ecg.v1", 2, 9, 1, b"gateway", b"\xc1", codec.MSGPACK, (("content-type", b"x"),))
    _, (refusal,) = ingest.ecg_chunks(record, 0)
    assert refusal.letter is not None
    lay_down(kafka_topics, [refusal.letter])
    send_back(kafka_topics, look(kafka_topics, Wanted()).ready, SystemClock())
    (sent,) = read_all(kafka_topics, "ecg.v1")
    assert (sent.partition, sent.key, sent.value) == (2, b"gateway", b"\xc1")
    assert [tuple(header) for header in sent.headers] == [("content-type", b"x")]

"""``python -m stream redrive``: what lies in the dead-letter topic and why, and on request back to where it was sent.

A letter goes back once, as it came: the same bytes, key, headers, topic and partition. That it went is written into
the dead-letter topic itself, behind the letter and after the broker has confirmed it, so that who looks later knows.
A crash between the two sends the same hundred again at worst, which the corridor drops as duplicates; the other way
round they would be lost. (Kafka's transactions would do both at once, but leave holes in the offsets of live topics,
which the door takes for lost records and seeks.)

Nothing that is shown here names a patient.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from kafka import KafkaProducer
from kafka.errors import KafkaError

from stream import config
from stream.rehearsal.readback import records_since, span
from stream.topics import MAX_MESSAGE_BYTES, OBSERVED, PARTITIONS, Topic
from vitals import codec
from vitals.clock import Clock, SystemClock
from vitals.errors import Fault, Reason, Unusable
from vitals.events import DeadLetter, LetterName, Redriven
from vitals.units import US_PER_MS

GOES_BACK: Final = frozenset(topic.value for topic in (*OBSERVED, Topic.FINDINGS))
"""A command of yesterday (a discharge, a pause) must be given again by a person."""

_AT_ONCE: Final = 100
_BYTES_AT_ONCE: Final = 8 * 1024 * 1024
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant; empty means all. ``since_ms``: of the broker's time of the letter."""

    topics: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    since_ms: int = 0

    def has(self, letter: DeadLetter, written_ms: int) -> bool:
        """Whether ``letter`` is meant."""
        return (
            (not self.topics or letter.topic in self.topics)
            and (not self.reasons or letter.reason in self.reasons)
            and written_ms >= self.since_ms
        )


@dataclass(slots=True)
class Pile:
    """The letters of one topic and reason. ``stays``: of those that wait, how many cannot go back as they came."""

    waits: int = 0
    stays: int = 0
    went: int = 0
    oldest_ms: int = sys.maxsize
    newest_ms: int = 0


@dataclass(slots=True)
class Contents:
    """What lies there. ``ready``: the letters that can go back; ``unreadable``: records that are no letters."""

    piles: dict[tuple[str, str], Pile] = field(default_factory=dict)
    ready: set[LetterName] = field(default_factory=set)
    unreadable: int = 0


def look(bootstrap: str, wanted: Wanted) -> Contents:
    """Read the whole topic. A letter that lies there twice (a worker died over it) is one. Raises ``Fault``."""
    contents = Contents()
    went: set[LetterName] = set()
    seen: dict[LetterName, tuple[str, str, int, bool]] = {}
    for record in records_since(bootstrap, Topic.DEAD_LETTER, {}):
        entry = entry_of(record.value or b"")
        if entry is None:
            contents.unreadable += 1
        elif isinstance(entry, Redriven):
            went.update(entry.letters)
        elif wanted.has(entry, record.timestamp):
            seen.setdefault(_name(entry), (entry.topic, entry.reason, record.timestamp, _can_go_back(entry)))
    for name, (topic, reason, written_ms, can_go_back) in seen.items():
        pile = contents.piles.setdefault((topic, reason), Pile())
        pile.oldest_ms, pile.newest_ms = min(pile.oldest_ms, written_ms), max(pile.newest_ms, written_ms)
        if name in went:
            pile.went += 1
            continue
        pile.waits += 1
        pile.stays += not can_go_back
        if can_go_back:
            contents.ready.add(name)
    return contents


def send_back(bootstrap: str, ready: set[LetterName], clock: Clock) -> Counter[tuple[str, str]]:
    """Send each letter in ``ready`` once more and note it. How many went, by topic and reason. Raises ``Fault``."""
    sent: Counter[tuple[str, str]] = Counter()
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        client_id="wardwatch-redrive",
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_MESSAGE_BYTES + 64 * 1024,
    )
    with closing(producer):
        for partition, letters in _batches(bootstrap, set(ready)):
            try:
                _send(producer, letters)
                note = Redriven(letters=[_name(letter) for letter in letters], when_us=clock.now_us())
                producer.send(Topic.DEAD_LETTER.value, codec.encode(note), partition=partition).get(_PATIENCE_S)
            except KafkaError as error:
                raise Fault(f"{type(error).__name__} after {sent.total()} letters: look again, then go on") from error
            sent.update((letter.topic, letter.reason) for letter in letters)
    return sent


def main(argv: Sequence[str]) -> int:
    """``python -m stream redrive``. 0 when everything that was asked for was done."""
    parser = argparse.ArgumentParser(prog="python -m stream redrive", description="what could not be used, and back")
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    parser.add_argument(
        "--topic", action="append", default=[], choices=sorted(Topic), help="only letters of this topic"
    )
    parser.add_argument("--reason", action="append", default=[], choices=sorted(Reason), help="only of this reason")
    parser.add_argument("--since", type=span, metavar="30m|12h|7d", help="only letters so recent")
    parser.add_argument("--send", action="store_true", help="send them back; without it they are only counted")
    asked = parser.parse_args(argv)
    clock = SystemClock()
    since_ms = (clock.now_us() - asked.since // timedelta(microseconds=1)) // US_PER_MS if asked.since else 0
    try:
        bootstrap = asked.kafka or config.read(os.environ).kafka
        contents = look(bootstrap, Wanted(frozenset(asked.topic), frozenset(asked.reason), since_ms))
        sys.stdout.write("".join(f"{line}\n" for line in _table(contents)))
        if not asked.send:
            sys.stdout.write(f"{len(contents.ready)} can go back; --send sends them, once\n")
            return 0
        sent = send_back(bootstrap, contents.ready, clock)
    except (Fault, KafkaError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{sent.total()} sent back, and noted\n")
    return 0


def _batches(bootstrap: str, left: set[LetterName]) -> Iterator[tuple[int, list[DeadLetter]]]:
    """The letters in ``left``, each once, by the partition they lie in; empties ``left``."""
    waiting: dict[int, list[DeadLetter]] = {}
    for record in records_since(bootstrap, Topic.DEAD_LETTER, {}):
        entry = entry_of(record.value or b"")
        if not isinstance(entry, DeadLetter) or _name(entry) not in left:
            continue
        left.remove(_name(entry))
        batch = waiting.setdefault(record.partition, [])
        batch.append(entry)
        if len(batch) == _AT_ONCE or sum(len(letter.value) for letter in batch) > _BYTES_AT_ONCE:
            yield record.partition, waiting.pop(record.partition)
    yield from waiting.items()


def _send(producer: KafkaProducer, letters: Sequence[DeadLetter]) -> None:
    confirmations = []
    for letter in letters:
        headers = [(name, content or b"") for name, content in letter.headers]  # this client knows no null header
        confirmations.append(
            producer.send(letter.topic, letter.value, key=letter.key, headers=headers, partition=letter.partition)
        )
    for confirmation in confirmations:
        confirmation.get(_PATIENCE_S)


def entry_of(value: bytes) -> DeadLetter | Redriven | None:
    """What a record of the dead-letter topic is; None when it is neither a letter nor a note."""
    with suppress(Unusable):
        return codec.decode(DeadLetter, value)
    with suppress(Unusable):
        return codec.decode(Redriven, value)
    return None


def _name(letter: DeadLetter) -> LetterName:
    return letter.topic, letter.partition, letter.offset, letter.row


def _can_go_back(letter: DeadLetter) -> bool:
    return not letter.cut and letter.topic in GOES_BACK and 0 <= letter.partition < PARTITIONS


def _table(contents: Contents) -> Iterator[str]:
    yield f"{'topic':14} {'reason':18} {'waits':>8} {'of it stays':>12} {'went back':>10}  oldest to newest (UTC)"
    for (topic, reason), pile in sorted(contents.piles.items()):
        times = f"{_minute(pile.oldest_ms)} to {_minute(pile.newest_ms)}"
        yield f"{topic:14.14} {reason:18.18} {pile.waits:8} {pile.stays:12} {pile.went:10}  {times}"
    if contents.unreadable:
        yield f"{contents.unreadable} records are no letters"


def _minute(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")

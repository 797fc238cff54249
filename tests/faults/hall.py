"""One performance: a live ward, workers at their posts, something done to them, and the account of it all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from kafka import KafkaConsumer, TopicPartition

from stream.broker import JavaNode, create_topics
from stream.modelslot import SHIPPED_BUNDLES
from stream.topics import PARTITIONS, Topic
from tests.faults import oracle
from tests.faults.load import LiveWard
from tests.faults.oracle import Account
from tests.faults.posts import Post
from tests.support.findings import decoded
from tests.support.topics import delete_all_topics
from vitals.events import Record
from vitals.findings import Task

_SETTLED_S = 3.0
_SETTLE_DEADLINE_S = 60.0
_ON_THE_WAY_S = 5.0
"""What was due when the ward ended is told by then."""
_FLOW_DEADLINE_S = 90.0


@dataclass(frozen=True, slots=True)
class Strike:
    """Something was done; from ``since_s`` (seconds of the epoch) on the ward could be watched again."""

    kind: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """``recovery_s``: by kind, how long until every bed had a new finding; None where the next strike came first."""

    accounts: dict[str, Account]
    recovery_s: dict[str, list[float | None]]
    kills: int

    @property
    def is_clean(self) -> bool:
        return all(account.is_clean for account in self.accounts.values())

    def told(self) -> str:
        """What is wrong, for people."""
        lines = [f"{name}: {account.examples[:5]}" for name, account in self.accounts.items() if not account.is_clean]
        return "\n".join(lines) or "nothing is wrong"


@dataclass(slots=True)
class Hall:
    """What an act plays in."""

    node: JavaNode
    folder: Path
    rng: random.Random
    say: Callable[[str], object]
    posts: list[Post] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    bundles: list[Path] = field(default_factory=lambda: [SHIPPED_BUNDLES])
    kills: int = 0

    @property
    def kafka(self) -> str:
        return self.node.bootstrap

    def post(self, name: str, *program: str, **settings: str) -> Post:
        """One more worker."""
        post = Post(self.kafka, self.folder, name, program or ("stream", "worker"), settings)
        self.posts.append(post)
        post.man()
        return post

    def struck(self, kind: str, since_s: float | None = None) -> None:
        """Something was done, and is over."""
        self.strikes.append(Strike(kind, time.time() if since_s is None else since_s))

    def kill(self, post: Post, number: Signals) -> None:
        """End the process at ``post``; another follows."""
        at_s = time.time()
        post.send(number)
        self.kills += 1
        self.struck(number.name, post.began_after(at_s))

    def play(self, shortest_s: float, longest_s: float | None = None) -> None:
        """Let the ward go on for a while."""
        time.sleep(self.rng.uniform(shortest_s, longest_s or shortest_s))

    def until_findings(self, count: int = 1) -> None:
        """Wait until ``count`` more messages of findings have come."""
        began = ended(self.kafka, Topic.FINDINGS)
        self.wait_until(lambda: ended(self.kafka, Topic.FINDINGS) >= began + count, "findings", _FLOW_DEADLINE_S)

    def wait_until(self, condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                tails = "\n".join(post.tail() for post in self.posts)
                raise AssertionError(f"not {what} within {deadline_s:g} s: {tails}")
            time.sleep(0.05)


Act = Callable[[Hall], None]


def perform(
    act: Act, node: JavaNode, folder: Path, *, data: Path | None, seed: int, say: Callable[[str], object]
) -> Outcome:
    """Clean topics, a live ward, ``act``, and what came of it."""
    delete_all_topics(node.bootstrap)
    create_topics(node.bootstrap)
    folder.mkdir(parents=True, exist_ok=True)
    hall = Hall(node, folder, random.Random(seed), say)
    ward = LiveWard(node.bootstrap, data)
    ward.start()
    try:
        act(hall)
        hall.until_findings(2)
        ward.stop()
        until_us = time.time_ns() // 1000
        _settle(hall, until_us)
        accounts = oracle.account(hall.kafka, until_us, hall.bundles)
        if not all(account.is_clean for account in accounts.values()):
            hall.play(2 * _SETTLED_S)  # late is not lost
            accounts = oracle.account(hall.kafka, until_us, hall.bundles)
        return Outcome(accounts, _recovery(hall), hall.kills)
    finally:
        for post in hall.posts:
            post.leave()
        ward.stop()


def ended(kafka: str, *topics: Topic) -> int:
    """Records that were ever written to ``topics``."""
    partitions = [TopicPartition(topic.value, p) for topic in topics for p in range(PARTITIONS)]
    with closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)) as consumer:
        return sum(consumer.end_offsets(partitions).values())


def _settle(hall: Hall, until_us: int) -> None:
    quiet_since_s, before = time.monotonic(), -1
    end = time.monotonic() + _SETTLE_DEADLINE_S
    while time.monotonic() < end:
        now = ended(hall.kafka, Topic.FINDINGS, Topic.RISK, Topic.ALERTS)
        if now != before:
            quiet_since_s, before = time.monotonic(), now
        is_past = time.time() > until_us / 1e6 + _ON_THE_WAY_S
        if is_past and time.monotonic() > quiet_since_s + _SETTLED_S:
            return
        time.sleep(0.5)


def _recovery(hall: Hall) -> dict[str, list[float | None]]:
    log = sorted(oracle.logged(hall.kafka, Topic.FINDINGS), key=lambda record: record.timestamp_ms)
    news = list(_news(log))
    beds = {patient for _, patient in news}
    recovery: dict[str, list[float | None]] = {}
    nexts = [strike.since_s for strike in hall.strikes[1:]] + [float("inf")]
    for strike, next_s in zip(hall.strikes, nexts, strict=True):
        first: dict[str, float] = {}
        for at_s, patient in news:
            if at_s > strike.since_s:
                first.setdefault(patient, at_s)
        last_s = max(first.values()) if first.keys() == beds else float("inf")
        recovery.setdefault(strike.kind, []).append(last_s - strike.since_s if last_s < next_s else None)
    return recovery


def _news(log: Iterable[Record]) -> Iterable[tuple[float, str]]:
    """When something was found of a bed that sends all the time and that was not known before."""
    newest: dict[str, int] = {}
    for record in log:
        for table in decoded([record.value]):
            if table.task is not Task.ECG_RHYTHM:
                continue
            for row, end_us in zip(table.row, table.end_us, strict=True):
                patient = table.patients[row]
                if patient.startswith("bed-") and end_us > newest.get(patient, 0):
                    newest[patient] = end_us
                    yield record.timestamp_ms / 1000, patient

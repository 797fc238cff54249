"""What is done to the service. Each act is one kind of fault, done to a ward that goes on."""

from __future__ import annotations

import resource
import time
from contextlib import closing
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from kafka import KafkaProducer

from bench.swaps import sibling
from models.registry import Registry
from stream.modelslot import SHIPPED_BUNDLES
from stream.topics import Topic
from tests.faults.failing import STEPS
from tests.faults.hall import Act, Hall
from tests.faults.oracle import logged
from tests.faults.posts import Post
from tests.support.findings import decoded
from vitals import codec
from vitals.events import ModelRelease
from vitals.findings import Task

LONGER_THAN_THE_SESSION_S = 9.0


def kills(count: int) -> Act:
    """The process is ended at random moments, start-up included: at once, or asked to end."""

    def act(hall: Hall) -> None:
        post = hall.post("one")
        hall.until_findings()
        for n in range(count):
            # every fifth dies young: while it starts, loads its state or catches up
            hall.play(*((0.2, 3.0) if n % 5 == 4 else (3.0, 7.0)))
            number = hall.rng.choice([SIGKILL, SIGTERM])
            hall.kill(post, number)
            hall.say(f"{number.name} {n + 1} of {count}")
        hall.play(4.0)

    return act


def frozen_worker(hall: Hall) -> None:
    """The only worker is stopped for longer than its session lasts, and goes on."""
    post = hall.post("one")
    hall.until_findings(20)
    _freeze(hall, post, "SIGSTOP alone")


def frozen_worker_beside_another(hall: Hall) -> None:
    """The other one takes over; then the one that was stopped wakes up and believes that all is as it was."""
    first = hall.post("one")
    hall.post("two")
    hall.until_findings(40)
    hall.play(4.0)
    since_s = time.time()
    _freeze(hall, first, "SIGSTOP beside another", since_s)
    hall.until_findings(20)


def worker_joins_and_leaves(hall: Hall) -> None:
    """A second worker comes and goes, asked to and not."""
    hall.post("one")
    hall.until_findings(20)
    for number in (SIGTERM, SIGKILL):
        second = hall.post("two")
        hall.struck("join", second.began_after(0.0))
        hall.until_findings(40)
        hall.play(5.0, 8.0)
        since_s = time.time()
        second.leave(number)
        hall.struck(f"takeover after {number.name}", since_s)
        hall.play(LONGER_THAN_THE_SESSION_S)
        hall.until_findings(20)


def broker_killed(hall: Hall) -> None:
    """Kafka dies and comes back."""
    hall.post("one")
    hall.until_findings(20)
    hall.node.kill()
    hall.play(1.0, 4.0)
    hall.node.start()
    hall.struck("broker killed")
    hall.until_findings(20)


def broker_frozen(hall: Hall) -> None:
    """Kafka does not answer for longer than a session, and goes on."""
    hall.post("one")
    hall.until_findings(20)
    hall.node.freeze()
    hall.play(LONGER_THAN_THE_SESSION_S)
    hall.node.thaw()
    hall.struck("broker frozen")
    hall.until_findings(20)


def model_swap(hall: Hall) -> None:
    """Another model takes over under load."""
    registry = Registry.seeded(hall.folder / "registry", SHIPPED_BUNDLES)
    before = registry.current(Task.GLUCOSE)
    assert before is not None
    made = registry.add(sibling(before, hall.folder / "made"))
    after = Registry.seeded(hall.folder / "after", SHIPPED_BUNDLES)
    after.promote(Task.GLUCOSE, after.add(hall.folder / "made").hash)
    hall.bundles.append(hall.folder / "after")
    hall.post("one", model_shadow_s="1")
    hall.until_findings(20)
    registry.promote(Task.GLUCOSE, made.hash)
    release = ModelRelease(
        task="glucose", bundle=made.hash, uri="", when_us=time.time_ns() // 1000, action="promote", report=""
    )
    with closing(KafkaProducer(bootstrap_servers=hall.kafka)) as producer:
        producer.send(Topic.RELEASES.value, codec.encode(release), key=b"glucose").get(10)
    hall.struck("model swap")
    hall.wait_until(lambda: made.short in _models(hall), "the new model")


def broker_disk_full(hall: Hall) -> None:
    """Kafka can write neither checkpoints nor anything else, dies of it, and comes back when there is room."""
    hall.post("one")
    hall.until_findings(20)
    resource.prlimit(hall.node.pid, resource.RLIMIT_FSIZE, (1, 1))
    hall.wait_until(lambda: not hall.node.is_running, "the end of a broker that cannot write")
    hall.play(1.0, 3.0)
    hall.node.start()
    hall.struck("broker disk full")
    hall.until_findings(20)


def worker_disk_full(hall: Hall) -> None:
    """The worker's own folder has no room, not even for its log: what it needs to go on is in Kafka."""
    post = hall.post("one")
    hall.until_findings(20)
    post.program = ("tests.faults.failing", "full")
    hall.kill(post, SIGKILL)
    hall.until_findings(20)


def errors(*steps: str) -> Act:
    """An exception in each of ``steps`` of the corridor, one after the other (``tests/faults/failing.py``)."""

    def act(hall: Hall) -> None:
        post = hall.post("one", "tests.faults.failing")
        hall.until_findings(10)
        for step in steps or STEPS:
            lives = len(post.lives)
            at_s = time.time()
            (hall.folder / "fail").write_text(step)
            hall.wait_until(lambda: len(post.lives) > lives, f"an end by an error in {step}")  # noqa: B023
            assert post.lives[-1].status == 1, f"{step}: {post.tail()}"
            hall.struck(f"error in {step}", post.began_after(at_s))
            hall.say(f"error in {step}")
            hall.play(4.0)
            hall.until_findings(10)

    return act


def silent_stop(where: str, stalled_s: float) -> Act:
    """The process lives, holds its partitions and does not get on: it is noticed, says why, and is replaced."""

    def act(hall: Hall) -> None:
        post = hall.post("one", "tests.faults.failing", stalled_s=f"{stalled_s:g}")
        hall.until_findings(20)
        (hall.folder / "fail").write_text(where)
        hall.wait_until(lambda: not (hall.folder / "fail").exists(), "the stop")
        since_s = time.time()
        hall.wait_until(lambda: bool(post.lives), "its end", stalled_s + 10.0)
        assert post.lives[0].status == 1
        assert "stopping: " in post.tail(), post.tail()
        hall.struck(f"stopped in {where}", since_s)
        hall.until_findings(20)

    return act


def _models(hall: Hall) -> set[str]:
    return {table.model for table in decoded(record.value for record in logged(hall.kafka, Topic.FINDINGS))}


def _freeze(hall: Hall, post: Post, kind: str, since_s: float | None = None) -> None:
    post.send(SIGSTOP)
    hall.play(LONGER_THAN_THE_SESSION_S)
    post.send(SIGCONT)
    hall.struck(kind, since_s)
    hall.until_findings(20)

"""Shadow rules: evaluated beside the live ones, recorded, and told to nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from stream import whatif
from stream.alerting import Deciding
from stream.health import Health
from stream.metrics import TABLE, Metrics
from stream.pipeline import Products
from stream.publish import Message
from stream.rehearsal.readback import marks
from stream.shadow import ShadowOutbox, ShadowTally
from stream.topics import Topic
from tests.support.stay import CALM_RHYTHM, START_US, batch, command, record
from tests.support.topics import partition_of, read_all, write_of
from tests.support.workers import WorkerProcess
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.clock import ManualClock
from vitals.conditions import Condition
from vitals.events import Checkpoint, Command
from vitals.findings import Findings, Task, Verdict
from vitals.unit import FACTORY, read
from vitals.units import US_PER_S

LOWER = "[heart-rate-high]\nlimit = 100\n"
BED, NEIGHBOUR = "bed-1", "bed-2"
HALF_MINUTE = 30


def rates(patient: str, from_s: int, *bpm: float) -> list[Findings]:
    """Half a minute of each heart rate, from so many seconds into the stay."""
    return [
        record(batch(Task.ECG_RHYTHM, [(patient, from_s + s, CALM_RHYTHM | {"heart_rate_bpm": rate}, Verdict.GOOD)]))
        for k, rate in enumerate(bpm)
        for s in range(k * HALF_MINUTE, (k + 1) * HALF_MINUTE)
    ]


def too_fast(steps: Iterable[AlertTransition]) -> list[bytes]:
    return [codec.encode(step) for step in steps if step.condition is Condition.HEART_RATE_HIGH and step.alert_id]


def told(kafka: str, topic: Topic) -> list[bytes]:
    """Steps of the heart-rate alarms on ``topic``."""
    return too_fast(codec.decode(AlertTransition, r.value) for r in read_all(kafka, topic))


def decided(deciding: Deciding, found: Sequence[Findings]) -> list[bytes]:
    return too_fast(step for one in found for step in deciding.decide([one]).transitions)


def seconds_from_now(seconds: int) -> int:
    """Seconds into the stay. What is found ahead of the clock keeps a slow test from being told of a silence."""
    return round(time.time() - START_US / US_PER_S) + seconds


def shadow_beside(kafka: str, tmp_path: Path) -> WorkerProcess:
    state = tmp_path / "shadow"
    state.mkdir()
    (state / "unit.toml").write_text(LOWER)
    return WorkerProcess(kafka, state, role="shadow", unit=str(state / "unit.toml"))


class Written:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> None:
        self.messages += messages


def test_whatever_a_shadow_writes_goes_to_topics_of_its_own_or_nowhere() -> None:
    written = Written()
    asyncio.run(ShadowOutbox(written).send([Message(topic, b"said", b"key", 3) for topic in Topic]))
    assert written.messages == [
        Message(Topic.SHADOW, b"said", b"key", 3),
        Message(Topic.SHADOW_CHECKPOINTS, b"said", b"key", 3),
    ]


def test_no_figure_of_a_shadow_is_one_that_the_wards_rules_look_at() -> None:
    shown, clock = Metrics(process="shadow"), ManualClock()
    health = Health(clock, 30.0)
    health.expect("decide")
    tally = ShadowTally(shown, health, clock)
    products = Products([])
    products.alerts["asystole", "high", "raised"] += 1
    tally.published("decide", products, 0)
    tally.lag("decide", {Topic.FINDINGS.value: 7}, 0)
    samples = {s.name: s.value for family in shown.registry.collect() for s in family.samples}
    assert samples == {"wardwatch_shadow_alerts_total": 1.0, "wardwatch_shadow_lag_records": 7.0}
    assert not samples.keys() & {row.name for row in TABLE if row.process != "shadow"}


@pytest.mark.broker
def test_other_rules_run_beside_the_live_ones_and_nobody_is_told(
    kafka_topics: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rates(BED, seconds_from_now(-140), 80, 110, 80, 130, 80)
    (tmp_path / "live").mkdir()
    lower = decided(Deciding(read(LOWER)), found)
    assert len(lower) == 4, "raised and cleared, at 110 and again at 130"
    with (
        WorkerProcess(kafka_topics, tmp_path / "live", role="decide") as live,
        shadow_beside(kafka_topics, tmp_path) as shadow,
    ):
        write_of(kafka_topics, Topic.FINDINGS, BED, found)
        shadow.wait_until(lambda: len(told(kafka_topics, Topic.SHADOW)) == len(lower), "the shadow's alarms")
        live.wait_until(lambda: live.total("wardwatch_findings_decided_total") == len(found), "decided live")
        live.wait_until(lambda: len(told(kafka_topics, Topic.ALERTS)) > 1, "the live alarm")
        assert live.total("wardwatch_alerts_total", "heart-rate-high", "raised") == 1
        assert shadow.total("wardwatch_shadow_alerts_total", "heart-rate-high", "raised") == 2
        assert shadow.samples("wardwatch_alerts_total") == {}
        assert shadow.get("/api/ward")[0] == 404, "no board shows it"
    assert told(kafka_topics, Topic.SHADOW) == lower
    assert told(kafka_topics, Topic.ALERTS) == decided(Deciding(FACTORY), found), "as without a shadow"

    assert whatif.main(["--shadow", "--last", "1h", "--kafka", kafka_topics]) == 0
    said = capsys.readouterr().out
    assert f"rules and limits {FACTORY.version} now, {read(LOWER).version} then" in said
    (line,) = (line.split() for line in said.splitlines() if line.startswith("heart-rate-high"))
    assert line[1:5] == ["1", "2", "1", "0"]
    assert "0.04" in said, "one patient, one hour begun"
    assert BED not in said


@pytest.mark.broker
def test_a_shadow_begins_where_the_worker_stands_and_a_kill_changes_no_byte(kafka_topics: str, tmp_path: Path) -> None:
    """The worker is gone meanwhile: whatever grows then was written by the shadow."""
    start_s = seconds_from_now(0)
    before = {patient: rates(patient, start_s, 80) for patient in (BED, NEIGHBOUR)}
    moved = command("limit", start_s + 20, patient=NEIGHBOUR, condition="heart-rate-high", upper=118.0)
    after = {patient: rates(patient, start_s + HALF_MINUTE, 110, 80, 125, 80) for patient in (BED, NEIGHBOUR)}
    (tmp_path / "live").mkdir()
    with WorkerProcess(kafka_topics, tmp_path / "live", role="decide") as live:
        for patient, found in before.items():
            write_of(kafka_topics, Topic.FINDINGS, patient, found)
        live.wait_until(lambda: live.total("wardwatch_findings_decided_total") == 60, "the patients known")
        write_of(kafka_topics, Topic.COMMANDS, NEIGHBOUR, [moved])
        live.wait_until(lambda: is_saved(kafka_topics, NEIGHBOUR, Topic.COMMANDS, 0), "the moved limit saved")
        live.wait_until(lambda: is_saved(kafka_topics, BED, Topic.FINDINGS, 29), "the other patient saved")
    ends = marks(kafka_topics, Topic)

    shadow = shadow_beside(kafka_topics, tmp_path).start()
    for patient, found in after.items():
        write_of(kafka_topics, Topic.FINDINGS, patient, found[:70])
    shadow.wait_until(lambda: len(told(kafka_topics, Topic.SHADOW)) == 2, "the first alarm")
    shadow.kill()
    for patient, found in after.items():
        write_of(kafka_topics, Topic.FINDINGS, patient, found[70:])
    expected = {patient: as_the_shadow_should(patient, before, moved, after) for patient in (BED, NEIGHBOUR)}
    assert [len(steps) for steps in expected.values()] == [4, 2], "the limit that a nurse had moved is known"
    with shadow:
        shadow.wait_until(
            lambda: set(told(kafka_topics, Topic.SHADOW)) >= {s for steps in expected.values() for s in steps},
            "everything decided again",
        )
    by_name: dict[tuple[str, int], set[bytes]] = {}
    for value in told(kafka_topics, Topic.SHADOW):
        step = codec.decode(AlertTransition, value)
        by_name.setdefault((step.alert_id, step.step), set()).add(value)
    assert sorted(by_name.values(), key=min) == sorted(({s} for steps in expected.values() for s in steps), key=min)
    grown = {Topic(tp.topic) for tp, end in marks(kafka_topics, Topic).items() if end > ends[tp]}
    assert grown == {Topic.FINDINGS, Topic.SHADOW, Topic.SHADOW_CHECKPOINTS}


def as_the_shadow_should(
    patient: str, before: dict[str, list[Findings]], moved: Command, after: dict[str, list[Findings]]
) -> list[bytes]:
    live, shadow = Deciding(FACTORY), Deciding(read(LOWER))
    live.decide(before[patient])
    if moved.patient == patient:
        (step,) = live.command(moved).transitions
        assert step.event is AlertEvent.LIMITED
    shadow.restore(live.snapshot())
    return decided(shadow, after[patient])


def is_saved(kafka: str, patient: str, topic: Topic, offset: int) -> bool:
    saved = [codec.decode(Checkpoint, r.value) for r in read_all(kafka, Topic.CHECKPOINTS) if r.value]
    return any(c.partition == partition_of(patient) and c.offsets.get(topic, -1) >= offset for c in saved)

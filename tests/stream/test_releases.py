"""What became of a release, written into the registry and said to the other workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.engine import Rung
from models.registry import Bundle, Registry
from stream.agents.control import Releases
from stream.modelslot import ModelSlot, Result, SlotNews
from stream.publish import Message
from stream.topics import Topic
from tests.models.test_registry import draft
from vitals import codec
from vitals.clock import ManualClock
from vitals.events import ModelRelease
from vitals.findings import Task
from vitals.windows import image

pytestmark = pytest.mark.torch

BREAST = Task.BREAST


class Outbox:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> None:
        self.sent.extend(messages)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", ManualClock(7))


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> list[Bundle]:
    made = [registry.add(draft(tmp_path / name, name)) for name in ("one", "two")]
    for bundle in made:
        registry.promote(BREAST, bundle.hash)
    return made


def settled(registry: Registry, result: Result, bundle: Bundle) -> list[ModelRelease]:
    """What is said on the topic after a slot has told this of ``bundle``."""
    outbox = Outbox()
    slots = {BREAST: ModelSlot(BREAST, image.SPEC, lambda _: None)}
    releases = Releases(registry, slots, registry.folder / "plans", outbox, ManualClock(9))
    releases.heard(SlotNews(BREAST, result, "", Rung.RULES, "because", subject=bundle.hash))
    asyncio.run(releases.settle())
    assert all((m.topic, m.key) == (Topic.RELEASES, b"breast") for m in outbox.sent)
    return [codec.decode(ModelRelease, m.value or b"") for m in outbox.sent]


@pytest.mark.parametrize("result", ["rejected", "rolled_back"])
def test_a_release_that_was_given_up_is_rolled_back_for_everybody(
    result: Result, registry: Registry, two: list[Bundle]
) -> None:
    (said,) = settled(registry, result, two[1])
    assert (said.action, said.bundle, said.report, said.when_us) == ("rollback", two[0].hash, "because", 9)
    assert (registry.history(BREAST)[-1].action, registry.history(BREAST)[-1].why) == ("rollback", "because")
    current = registry.current(BREAST)
    assert current is not None
    assert current.hash == two[0].hash


def test_a_challenger_that_was_rejected_is_withdrawn_and_what_serves_stays(
    registry: Registry, two: list[Bundle]
) -> None:
    registry.challenge(BREAST, two[0].hash)
    (said,) = settled(registry, "rejected", two[0])
    assert (said.action, said.bundle) == ("withdraw", two[0].hash)
    assert registry.challenger(BREAST) is None
    current = registry.current(BREAST)
    assert current is not None
    assert current.hash == two[1].hash
    assert registry.rollback(BREAST).hash == two[0].hash, "it can still be gone back to"


def test_what_is_proven_is_written_down_and_nobody_has_to_be_told(registry: Registry, two: list[Bundle]) -> None:
    assert settled(registry, "proven", two[1]) == []
    assert registry.predecessor(BREAST) == ""


def test_other_news_change_nothing(registry: Registry, two: list[Bundle]) -> None:
    before = registry.history(BREAST)
    assert settled(registry, "active", two[1]) == []
    assert settled(registry, "withdrawn", two[0]) == []
    assert registry.history(BREAST) == before


def test_a_registry_that_cannot_be_changed_is_said_and_the_worker_goes_on(
    registry: Registry, two: list[Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    (registry.folder / "breast" / "journal.jsonl").write_text("broken by hand\n")
    assert settled(registry, "rolled_back", two[1]) == []
    assert "breast: rolled_back was not written into the registry" in caplog.text

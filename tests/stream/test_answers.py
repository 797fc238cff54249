"""What is said of the windows is counted as it was published: what a drift of the answers is read from."""

from __future__ import annotations

from collections import Counter

import pytest

from models.registry import Registry
from stream.checkpoint import Owners
from stream.imagestore import ImageStore
from stream.modelslot import SHIPPED_BUNDLES, begin_serving, open_slots
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.pipeline import Half
from stream.topics import Topic
from tests.support.findings import decoded, each
from tests.support.ward import reading, ward
from vitals.events import Record
from vitals.findings import Task, Verdict
from vitals.units import US_PER_S

START_US = 1_700_000_000 * US_PER_S


def range_ahead(mg_dl: float) -> str:
    return "below_70" if mg_dl < 70 else "in_range" if mg_dl < 180 else "above_180"


def answer(task: str, values: dict[str, float | None], verdict: int) -> str:
    """What a published finding says."""
    if task == Task.GLUCOSE:
        ahead = values["h30_mean"]
        return range_ahead(ahead) if ahead is not None else Verdict(verdict).name.lower()
    said = {name: p for name, p in values.items() if name.startswith("p_") and p is not None}
    return max(said, key=said.__getitem__) if said else Verdict(verdict).name.lower()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> dict[Topic, Half]:
    slots = open_slots(lambda news: None)
    begin_serving(Registry.seeded(tmp_path_factory.mktemp("registry"), SHIPPED_BUNDLES), slots)
    told = Observing(max_patients=100, clock_ahead_us=2**61, archive_share=0.0)
    pictures = {task: slots[task] for task in (Task.PNEUMONIA, Task.BREAST)}
    return {
        Topic.ECG: ObserveEcg(slots, told),
        Topic.GLUCOSE: ObserveGlucose(slots[Task.GLUCOSE], told),
        Topic.IMAGING: ObserveImaging(pictures, ImageStore(()), told),
    }


@pytest.mark.parametrize("topic", [Topic.ECG, Topic.GLUCOSE, Topic.IMAGING])
def test_every_window_is_counted_once_by_what_its_finding_says(topic: Topic, halves: dict[Topic, Half]) -> None:
    sent = ward(START_US, 20)
    low = (max(45.0, 150.0 - 4 * m) for m in range(60))
    high = (min(380.0, 120.0 + 4 * m) for m in range(60))
    for name, course in (("falls", low), ("rises", high)):
        sent += [reading(name, START_US + 60 * m * US_PER_S, value) for m, value in enumerate(course)]
    due = [message for message in sent if message.topic is topic]
    records = [Record(topic.value, 0, i, START_US // 1000, d.key, d.value) for i, d in enumerate(due)]
    products = halves[topic].process(records, Owners(0))
    published = Counter(
        (task, answer(task, said["values"], said["verdict"]))  # type: ignore[arg-type]
        for (_, task, _, _), said in each(decoded(m.value for m in products.messages if m.value))
    )
    assert published == products.said
    assert len({word for _, word in published}) > 1 or topic is Topic.IMAGING
    if topic is Topic.GLUCOSE:
        assert {"below_70", "in_range", "above_180"} <= {word for _, word in published}

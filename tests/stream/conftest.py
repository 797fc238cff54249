from __future__ import annotations

import pytest

from models.registry import Registry
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, begin_serving, open_slots
from vitals.findings import Task


@pytest.fixture(scope="module")
def slots(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, ModelSlot]:
    """The shipped models, serving."""
    slots = open_slots(lambda news: None)
    begin_serving(Registry.seeded(tmp_path_factory.mktemp("registry"), SHIPPED_BUNDLES), slots)
    return slots


@pytest.fixture(scope="module")
def slot(slots: dict[Task, ModelSlot]) -> ModelSlot:
    """The shipped beat model, serving."""
    return slots[Task.ECG_BEAT]

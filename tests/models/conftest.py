from __future__ import annotations

import pytest

from models.registry import Bundle
from tests.support.bundles import made_bundle
from vitals.findings import Task

TASKS = (Task.ECG_BEAT, Task.GLUCOSE, Task.PNEUMONIA)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, Bundle]:
    """One bundle of each kind of network. Read-only."""
    root = tmp_path_factory.mktemp("bundles")
    return {task: made_bundle(task, root / task) for task in TASKS}

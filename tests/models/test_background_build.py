from __future__ import annotations

import time
from pathlib import Path

import pytest

from models.build import BackgroundBuild
from models.registry import Bundle
from vitals.findings import Task

pytestmark = pytest.mark.torch


def test_a_build_in_the_background_ends_and_says_how(bundles: dict[Task, Bundle], tmp_path: Path) -> None:
    build = BackgroundBuild(bundles[Task.ECG_BEAT], tmp_path)
    end = time.monotonic() + 60
    while build.succeeded() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert build.succeeded() is bool(list(tmp_path.glob("*.plan")))
    build.stop()


def test_a_build_in_the_background_can_be_stopped(bundles: dict[Task, Bundle], tmp_path: Path) -> None:
    build = BackgroundBuild(bundles[Task.ECG_BEAT], tmp_path)
    build.stop()
    assert build.succeeded() is False
    assert not list(tmp_path.glob("*.plan"))

"""How a turn ended is said where the board reads it, and in the metrics, with the same reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kept import keep_run
from tests.support.topics import read_all
from trainer import runs
from trainer.config import GATE_TOPIC
from trainer.metrics import registry_of
from trainer.telling import tell
from vitals.codec import decode
from vitals.events import GateVerdict
from vitals.findings import Task

pytestmark = pytest.mark.torch


@pytest.mark.broker
def test_a_refusal_is_told_with_its_reasons(kafka_topics: str, tmp_path: Path) -> None:
    keep_run(tmp_path, Task.GLUCOSE, 1_700_000_000, refused="calibrated")
    run = runs.newest(tmp_path, Task.GLUCOSE)
    assert run is not None
    tell(kafka_topics, run, "120 new labels")
    (record,) = read_all(kafka_topics, GATE_TOPIC)
    assert record.key == b"glucose"
    assert decode(GateVerdict, record.value) == GateVerdict(
        task="glucose",
        when_us=1_700_000_000_000_000,
        why="120 new labels",
        bundle="",
        champion="abcd",
        refused=["calibrated: "],
    )
    told = registry_of(tmp_path).get_sample_value
    assert told("wardwatch_trainer_gate_refused", {"task": "glucose", "rule": "calibrated"}) == 1

"""A release in a real worker behind a real broker: what goes wrong with it is undone by itself, and is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from bench.swaps import recalibrated, sibling
from models.announce import announce
from models.registry import Bundle, Registry
from models.signing import keygen
from models.spec import AffineSoftmax
from stream.gateways.schedule import Pace
from stream.gateways.wfdb import Bed, bundles
from stream.modelslot import SHIPPED_BUNDLES
from stream.replay import Sender
from stream.topics import Topic
from tests.support.findings import decoded
from tests.support.topics import read_all
from tests.support.ward import heart
from tests.support.workers import WorkerProcess
from vitals import codec
from vitals.clock import SystemClock
from vitals.events import ModelRelease
from vitals.findings import Task
from vitals.units import US_PER_S

pytestmark = pytest.mark.broker

SWAPS = "wardwatch_model_swaps_total"
BEAT = Task.ECG_BEAT


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The one that a worker with its state in ``tmp_path`` reads."""
    return Registry.seeded(tmp_path / "registry", SHIPPED_BUNDLES)


@pytest.fixture
def before(registry: Registry) -> Bundle:
    current = registry.current(BEAT)
    assert current is not None
    return current


@pytest.fixture
def released(registry: Registry, before: Bundle, tmp_path: Path) -> Bundle:
    return registry.add(sibling(before, tmp_path / "made"))


def release(kafka: str, registry: Registry, bundle: Bundle) -> None:
    registry.promote(bundle.task, bundle.hash)
    announce(kafka, registry, bundle, "promote", "a test", SystemClock())


def play(kafka: str, worker: WorkerProcess) -> Iterator[None]:
    """A ward of eight that goes on: ten more seconds of it each time, once those before have been found."""
    start_us = SystemClock().now_us() - 3600 * US_PER_S
    found = 0.0
    for part in count():
        beds = [Bed(f"bed-{b}", heart(10, 70 + b, seed=b)) for b in range(8)]
        with closing(Sender(kafka)) as sender:
            for due in bundles("gateway", beds, Pace(start_us + 10 * part * US_PER_S, speed=1e9)):
                sender.send(due)
        worker.wait_until(lambda: worker.total("wardwatch_findings_total", "ecg-beat") > found + 60, "findings")  # noqa: B023
        found = worker.total("wardwatch_findings_total", "ecg-beat")
        yield


def models_in_order(kafka: str) -> list[str]:
    """Who made the beat findings, one after the other."""
    made: list[str] = []
    for batch in decoded(r.value for r in sorted(read_all(kafka, Topic.FINDINGS.value), key=lambda r: r.timestamp)):
        if batch.task is BEAT and made[-1:] != [batch.model]:
            made.append(batch.model)
    return made


def test_a_model_that_calls_everything_ventricular_is_rolled_back_by_itself_and_it_is_said(
    kafka_topics: str, registry: Registry, before: Bundle, tmp_path: Path
) -> None:
    calibration = before.manifest.calibration
    assert isinstance(calibration, AffineSoftmax)
    spoilt = AffineSoftmax(calibration.scale, (0.0, 0.0, 50.0, 0.0, 0.0))
    bad = registry.add(recalibrated(before, spoilt, tmp_path / "made"))
    with WorkerProcess(kafka_topics, tmp_path, model_shadow_s="0") as worker:
        ward = play(kafka_topics, worker)
        next(ward)
        release(kafka_topics, registry, bad)
        worker.wait_until(lambda: worker.total(SWAPS, "active", "ecg-beat") == 2, "the swap")
        while worker.total(SWAPS, "rolled_back", "ecg-beat") == 0:
            next(ward)
        next(ward)
        assert worker.samples("wardwatch_model_info")[before.short, "ecg-beat"] == 1
        worker.wait_until(lambda: registry.history(BEAT)[-1].action == "rollback", "the journal's line")
        last = registry.history(BEAT)[-1]
        assert (last.bundle, "calls p_n in 0.0% of" in last.why) == (before.hash, True)
        worker.wait_until(lambda: len(read_all(kafka_topics, Topic.RELEASES.value)) == 2, "what is said of it")
        said = [codec.decode(ModelRelease, r.value) for r in read_all(kafka_topics, Topic.RELEASES.value)]
        assert sorted((one.action, one.bundle) for one in said) == [("promote", bad.hash), ("rollback", before.hash)]
        assert "rolled_back" in worker.log_tail()
    assert models_in_order(kafka_topics) == [before.short, bad.short, before.short]


def test_a_worker_that_dies_in_the_middle_of_a_probation_serves_what_is_proven(
    kafka_topics: str, registry: Registry, before: Bundle, released: Bundle, tmp_path: Path
) -> None:
    settings = {"model_shadow_s": "0", "model_probation_s": "600"}
    worker = WorkerProcess(kafka_topics, tmp_path, **settings)
    worker.start()
    release(kafka_topics, registry, released)
    worker.wait_until(lambda: worker.total(SWAPS, "active", "ecg-beat") == 2, "the swap")
    worker.kill()
    with WorkerProcess(kafka_topics, tmp_path, model_shadow_s="600") as after:
        assert after.samples("wardwatch_model_info")[before.short, "ecg-beat"] == 1
        assert after.samples("wardwatch_model_beside_info")[released.short, "ecg-beat"] == 1
        next(play(kafka_topics, after))
    assert models_in_order(kafka_topics) == [before.short]


def test_a_worker_with_trusted_keys_keeps_an_unsigned_release_out_and_counts_it(
    kafka_topics: str, registry: Registry, before: Bundle, released: Bundle, tmp_path: Path
) -> None:
    _, trusted = keygen(tmp_path / "keys")
    with WorkerProcess(kafka_topics, tmp_path, trusted_keys=str(trusted)) as worker:
        assert worker.samples("wardwatch_model_info")[before.short, "ecg-beat"] == 1
        release(kafka_topics, registry, released)
        worker.wait_until(lambda: worker.total(SWAPS, "untrusted", "ecg-beat") > 0, "the refusal")
        assert worker.samples("wardwatch_model_info")[before.short, "ecg-beat"] == 1
        assert f"bundle {released.short}: nobody signed it" in worker.log_tail()


def test_a_file_of_trusted_keys_that_holds_none_stops_the_start(kafka_topics: str, tmp_path: Path) -> None:
    (tmp_path / "keys.pem").write_text("nothing")
    worker = WorkerProcess(kafka_topics, tmp_path, trusted_keys=str(tmp_path / "keys.pem"))
    worker.begin()
    assert worker.wait() == 2
    assert "keys.pem: one public key" in worker.log_tail()

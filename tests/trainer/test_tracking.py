"""What MLflow is told of a turn, and what becomes of a turn when MLflow is not there."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from mlflow import MlflowClient

from models.registry import Registry
from tests.trainer.small import NOW_US, small, world
from tests.trainer.synthetic import breast_set
from trainer.config import Places
from trainer.gate import Verdict
from trainer.runs import Run
from trainer.tracking import align, model_name, prune
from trainer.turns import take
from vitals.clock import ManualClock
from vitals.findings import Task

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]

NAME = model_name(Task.BREAST)


def turn(at: Places, clock: ManualClock, **changed: object) -> Run:
    run = take(small(**changed), at, clock, why="24.0 h since the last turn")
    assert run is not None
    return run


@pytest.fixture(scope="module")
def two_turns(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, list[Run]]:
    at = world(tmp_path_factory.mktemp("tracked"))
    breast_set(at.data)
    clock = ManualClock(NOW_US)
    runs = [turn(at, clock)]
    clock.advance(60)
    runs.append(turn(at, clock, epochs=2))
    assert all(run.bundle for run in runs)
    return at, runs


@pytest.fixture
def client(two_turns: tuple[Places, list[Run]]) -> MlflowClient:
    return MlflowClient(f"sqlite:///{two_turns[0].state.resolve()}/mlflow.db")


def test_a_turn_is_a_run_with_its_recipe_its_curves_its_figures_and_its_verdicts(
    client: MlflowClient, two_turns: tuple[Places, list[Run]], tmp_path: Path
) -> None:
    _, (first, second) = two_turns
    experiment = client.get_experiment_by_name(NAME)
    newest, oldest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert oldest.data.tags["dataset"] == first.dataset
    assert (oldest.data.tags["bundle"], oldest.data.tags["gate"]) == (first.bundle, "open")
    assert newest.data.tags["champion"] == first.bundle
    assert newest.data.tags["why"] == "24.0 h since the last turn"
    assert (newest.data.params["epochs"], newest.data.params["augment.noise"]) == ("2", "0.04")
    assert newest.data.metrics["challenger/auroc"] == pytest.approx(second.challenger.metrics["auroc"])
    assert newest.data.metrics["champion/auroc"] == pytest.approx(second.champion.metrics["auroc"])
    curve = client.get_metric_history(oldest.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in curve] == [
        (epoch.epoch, pytest.approx(epoch.loss)) for epoch in first.curve
    ]
    assert newest.info.status == "FINISHED"
    page = Path(client.download_artifacts(newest.info.run_id, "report.html", str(tmp_path)))
    assert second.bundle[:12] in page.read_text(encoding="utf-8")
    gate = Path(client.download_artifacts(newest.info.run_id, "gate.json", str(tmp_path)))
    assert msgspec.json.decode(gate.read_bytes(), type=list[Verdict]) == second.verdicts


def test_a_released_bundle_is_a_version_and_the_aliases_follow_what_serves(
    client: MlflowClient, two_turns: tuple[Places, list[Run]]
) -> None:
    at, (first, second) = two_turns
    champion = client.get_model_version_by_alias(NAME, "champion")
    assert champion.tags["bundle"] == second.bundle
    assert (Path(champion.source.removeprefix("file://")) / "model.onnx").exists()
    registry = Registry(at.registry)
    registry.rollback(Task.BREAST)
    align(client, Task.BREAST, registry)
    assert client.get_model_version_by_alias(NAME, "champion").tags["bundle"] == first.bundle
    assert client.get_model_version_by_alias(NAME, "challenger").tags["bundle"] == second.bundle
    registry.promote(Task.BREAST, second.bundle)
    align(client, Task.BREAST, registry)
    assert client.get_model_version_by_alias(NAME, "champion").tags["bundle"] == second.bundle
    assert client.get_registered_model(NAME).aliases == {"champion": champion.version}


def test_old_runs_leave_the_local_store_but_not_those_of_a_bundle_that_is_there(tmp_path: Path) -> None:
    at = world(tmp_path)
    breast_set(at.data)
    clock = ManualClock(NOW_US)
    released = turn(at, clock)
    for _ in range(2):
        clock.advance(60)
        take(small(epochs=1, learning_rate=1e-6), at, clock, why="x", fresh=True)  # learns nothing: refused
    prune(at, Task.BREAST, keep_newest=1)
    client = MlflowClient(f"sqlite:///{at.state.resolve()}/mlflow.db")
    experiment = client.get_experiment_by_name(NAME)
    left = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert [run.data.tags["bundle"] for run in left] == ["", released.bundle]
    folders = {path.name for path in (at.state / "mlflow-artifacts" / "breast").iterdir()}
    assert folders == {run.info.run_id for run in left}


def test_a_store_that_is_away_is_said_once_and_the_turn_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    at = world(tmp_path, tracking="http://127.0.0.1:9")
    breast_set(at.data)
    with caplog.at_level(logging.WARNING, logger="trainer.tracking"):
        run = turn(at, ManualClock(NOW_US))
    assert run.bundle
    assert len([record for record in caplog.records if record.name == "trainer.tracking"]) == 1
    assert not (at.state / "mlflow.db").exists()

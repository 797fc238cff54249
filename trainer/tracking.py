"""Every turn and every trial as a run of MLflow, every released bundle as a version of a registered model.

The store is a file in the state folder, or the server at ``MLFLOW_TRACKING_URI``. The registry of bundles stays what
decides: the aliases here follow it. A store that is away never stops a turn: it is said once, and the turn goes on
untracked. MLflow's telemetry is off.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, Final, ParamSpec

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

import msgspec
from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from models.registry import Registry
from trainer.config import Places, Recipe
from trainer.evaluate import Evaluation
from trainer.fit import Epoch
from trainer.report import page
from trainer.runs import Run
from vitals.clock import Clock
from vitals.findings import Task
from vitals.units import US_PER_MS

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

_DATABASE: Final = "mlflow.db"
_ARTIFACTS: Final = "mlflow-artifacts"
_BUNDLE: Final = "bundle"
_REPORT: Final = "report.html"
_GATE: Final = "gate.json"

_log = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)

P = ParamSpec("P")


def _tolerant(method: Callable[Concatenate[TrackedRun, P], None]) -> Callable[Concatenate[TrackedRun, P], None]:
    """``method``, which does nothing once the store has failed."""

    def tried(self: TrackedRun, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if not self.lost:
            try:
                method(self, *args, **kwargs)
            except (MlflowException, OSError) as error:
                self.lost = True
                _log.warning("MLflow: %s; this goes on untracked", str(error).partition("\n")[0])

    return tried


class TrackedRun:
    """One run. ``lost``: the store failed, and nothing more is told to it."""

    def __init__(self, places: Places, recipe: Recipe, name: str, tags: Mapping[str, str], clock: Clock) -> None:
        self.lost = False
        self._task, self._clock = recipe.task, clock
        self._begin(places, recipe, name, tags)

    @_tolerant
    def epoch(self, made: Epoch) -> None:
        """One point of the curves, as it comes."""
        figures = {f"{made.run}/{name}": getattr(made, name) for name in ("loss", "score", "seconds")}
        self._client.log_batch(self._id, metrics=self._metrics(figures, made.epoch))

    @_tolerant
    def ended(self, run: Run, registry: Registry) -> None:
        """What became of a turn: figures, dataset, verdicts, the page, and the bundle where one was released."""
        figures = _figures(CHALLENGER, run.challenger)
        if run.champion is not None:
            figures |= _figures(CHAMPION, run.champion)
        refused = [verdict.rule for verdict in run.verdicts if not verdict.passed]
        tags = {
            "dataset": run.dataset,
            "champion": run.champion_bundle,
            "bundle": run.bundle,
            "gate": "; ".join(refused) or "open",
        }
        self._client.log_batch(
            self._id, metrics=self._metrics(figures, 0), tags=[RunTag(name, value) for name, value in tags.items()]
        )
        self._client.log_text(self._id, msgspec.json.encode(run.verdicts).decode(), _GATE)
        self._client.log_text(self._id, page([run]), _REPORT)
        if run.bundle:
            self._register(run, registry)
        self._client.set_terminated(self._id)

    @_tolerant
    def scored(self, score: float) -> None:
        """The end of a trial."""
        self._client.log_batch(self._id, metrics=self._metrics({"score": score}, 0))
        self._client.set_terminated(self._id)

    @_tolerant
    def failed(self) -> None:
        """It came to no end of its own: an error, or a trial that was cut off."""
        self._client.set_terminated(self._id, "FAILED")

    @_tolerant
    def _begin(self, places: Places, recipe: Recipe, name: str, tags: Mapping[str, str]) -> None:
        self._client, experiment = _store(places, recipe.task)
        run = self._client.create_run(experiment.experiment_id, tags=dict(tags), run_name=name)
        self._id, self._artifacts = run.info.run_id, run.info.artifact_uri
        params = [Param(name, str(value)) for name, value in _flat(msgspec.to_builtins(recipe)).items()]
        self._client.log_batch(self._id, params=params)

    def _register(self, run: Run, registry: Registry) -> None:
        name = model_name(run.task)
        self._client.log_artifacts(self._id, str(registry.get(run.task, run.bundle).folder), _BUNDLE)
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        tags = {"bundle": run.bundle, "dataset": run.dataset}
        self._client.create_model_version(name, f"{self._artifacts}/{_BUNDLE}", self._id, tags)
        align(self._client, run.task, registry)

    def _metrics(self, figures: Mapping[str, float], step: int) -> list[Metric]:
        now_ms = self._clock.now_us() // US_PER_MS
        return [Metric(name, value, now_ms, step) for name, value in figures.items() if math.isfinite(value)]


def model_name(task: Task) -> str:
    """The name of the registered model of ``task``."""
    return f"wardwatch-{task}"


def align(client: MlflowClient, task: Task, registry: Registry) -> None:
    """Puts the aliases where the registry of bundles says: champion is what serves, challenger what came after it."""
    name = model_name(task)
    versions = client.search_model_versions(f"name = '{name}'", order_by=["version_number DESC"])
    serving = registry.current(task)
    wanted = {
        CHAMPION: next((v for v in versions if serving is not None and v.tags["bundle"] == serving.hash), None),
        CHALLENGER: versions[0] if serving is None or versions[0].tags["bundle"] != serving.hash else None,
    }
    for alias, version in wanted.items():
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, version.version)


def prune(places: Places, task: Task, keep_newest: int) -> None:
    """Of the local store, removes all but the newest runs of ``task`` and those of bundles that are still there.

    A server's store is its own.
    """
    if places.tracking or not (places.state / _DATABASE).exists():
        return
    client, experiment = _store(places, task)
    held = set(Registry(places.registry).bundles(task))
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    for run in found[keep_newest:]:
        if run.data.tags.get("bundle") not in held:
            client.delete_run(run.info.run_id)
            at = Path(urllib.parse.unquote(urllib.parse.urlsplit(run.info.artifact_uri).path))
            shutil.rmtree(at.parent, ignore_errors=True)


def _store(places: Places, task: Task) -> tuple[MlflowClient, Experiment]:
    name = model_name(task)
    state = places.state.resolve()
    client = MlflowClient(places.tracking or f"sqlite:///{state / _DATABASE}")
    found = client.get_experiment_by_name(name)
    if found is None:
        artifacts = None if places.tracking else (state / _ARTIFACTS / task).as_uri()
        found = client.get_experiment(client.create_experiment(name, artifacts))
    return client, found


def _figures(model: str, made: Evaluation) -> dict[str, float]:
    return {f"{model}/{name}": value for name, value in made.metrics.items()}


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat

"""Where the model of one task serves, and how another takes its place while patients are being watched.

    staged → warmed → shadow → active → draining → closed

A release is opened, held to its golden answers and warmed beside the one that serves. The next batch is scored by both:
the answers of the one that serves go out, the other one's must be answers. Then they change places, between two
batches. An engine that fails gives way to the next lower rung, and below the last one the rules serve alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.calibration import calibrated
from models.engine import SERVING_RUNGS, Engine, EngineError, Rung
from models.engines.ladder import open_best
from models.engines.tensorrt import NO_PLAN
from models.registry import Bundle, Registry
from vitals.errors import WardwatchError
from vitals.findings import Task
from vitals.windows import ecg, glucose, image

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class SlotNews:
    """What happened in a slot, for the log and the metrics. ``bundle`` and ``rung`` are what serves now."""

    task: Task
    result: str  # active, refused or fell_back
    bundle: str
    rung: Rung
    why: str


@dataclass(frozen=True, slots=True)
class Scores:
    """float64[n, columns]: what the model says of n windows; ``raw`` are its outputs as they left the engine."""

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    raw: dict[str, npt.NDArray[Any]]
    model: str
    engine: Rung


@dataclass(slots=True)
class _Served:
    bundle: Bundle
    engine: Engine

    def score(self, inputs: Arrays) -> Scores:
        raw = self.engine.infer(inputs)
        values = calibrated(self.bundle.manifest, raw)
        return Scores(self.bundle.manifest.columns, values, raw, self.bundle.short, self.engine.rung)


class ModelSlot:
    """The model of ``task``. ``stage`` may be called from any thread; everything else belongs to the corridor's."""

    def __init__(
        self,
        task: Task,
        window: str,
        tell: Callable[[SlotNews], None],
        rungs: Sequence[Rung] = SERVING_RUNGS,
        plans: Path | None = None,
    ) -> None:
        self.task = task
        self.window = window
        self._tell = tell
        self._rungs = tuple(rungs)
        self._plans = plans
        self._lacks_plan_of: Bundle | None = None
        self._active: _Served | None = None
        self._warmed: _Served | None = None
        self._handover = threading.Lock()
        self._staging = threading.Lock()

    @property
    def serving(self) -> tuple[str, Rung]:
        """Short hash of the bundle (empty: none) and the rung that serves."""
        active = self._active
        return (active.bundle.short, active.engine.rung) if active else ("", Rung.RULES)

    @property
    def lacks_plan_of(self) -> Bundle | None:
        """The bundle that could serve on TensorRT once its plan is built."""
        return self._lacks_plan_of

    def stage(self, bundle: Bundle, *, again: bool = False) -> bool:
        """Open, check and warm ``bundle`` beside what serves. False, and told, when it cannot serve here.

        A bundle that serves is not opened again unless ``again``: a plan was built and a better rung may open now.
        """
        with self._staging:
            return self._stage(bundle, again=again)

    def _stage(self, bundle: Bundle, *, again: bool) -> bool:
        with self._handover:
            newest = self._warmed or self._active
        if not again and newest is not None and newest.bundle.hash == bundle.hash:
            return True
        if bundle.task is not self.task or bundle.manifest.window != self.window:
            return self._refuse(bundle, f"it is for {bundle.task} on {bundle.manifest.window}")
        try:
            engine, reasons = open_best(bundle, self._rungs, plans=self._plans)
            self._lacks_plan_of = bundle if any(NO_PLAN in reason for reason in reasons) else None
            if engine is None:
                return self._refuse(bundle, "; ".join(reasons))
        except WardwatchError as error:
            return self._refuse(bundle, str(error))
        with self._handover:
            overtaken, self._warmed = self._warmed, _Served(bundle, engine)
        if overtaken is not None:
            overtaken.engine.close()
        return True

    def stage_from(self, registry: Registry) -> bool:
        """Stage the bundle that ``registry`` says serves. False, and told, when there is none or it cannot serve."""
        try:
            bundle = registry.current(self.task)
        except WardwatchError as error:
            self._say("refused", str(error))
            return False
        if bundle is None:
            self._say("refused", "no bundle in the registry, the rules serve alone")
            return False
        return self.stage(bundle)

    def between_batches(self) -> None:
        """Nothing is being scored: what is warmed may take over at once."""
        if (next_one := self._take_warmed()) is not None:
            self._activate(next_one)

    def score(self, inputs: Arrays) -> Scores | None:
        """What the model says, or None where only the rules serve. ``inputs``: the manifest's tensors, n ≥ 1 rows."""
        shadow = self._take_warmed()
        scores = self._score_by_active(inputs)
        if shadow is None:
            return scores
        try:
            shadowed = shadow.score(inputs)
        except (EngineError, ValueError) as error:
            shadow.engine.close()
            self._refuse(shadow.bundle, f"in the shadow: {error}")
            return scores
        self._activate(shadow)
        return scores if scores is not None else shadowed

    def close(self) -> None:
        """Give everything back."""
        for served in (self._take_warmed(), self._active):
            if served is not None:
                served.engine.close()
        self._active = None

    def _score_by_active(self, inputs: Arrays) -> Scores | None:
        while (active := self._active) is not None:
            try:
                return active.score(inputs)
            except (EngineError, ValueError) as error:
                self._fall_back(active, str(error))
        return None

    def _fall_back(self, failed: _Served, why: str) -> None:
        failed.engine.close()
        lower = self._rungs[self._rungs.index(failed.engine.rung) + 1 :]
        engine: Engine | None = None
        if lower:
            engine, reasons = open_best(failed.bundle, lower, plans=self._plans)
            why = "; ".join([why, *reasons])
        self._active = _Served(failed.bundle, engine) if engine is not None else None
        self._say("fell_back", why)

    def _take_warmed(self) -> _Served | None:
        if self._warmed is None:
            return None
        with self._handover:
            warmed, self._warmed = self._warmed, None
        return warmed

    def _activate(self, next_one: _Served) -> None:
        draining, self._active = self._active, next_one
        if draining is not None:
            draining.engine.close()
        self._say("active", f"after {draining.bundle.short}" if draining is not None else "the first")

    def _refuse(self, bundle: Bundle, why: str) -> bool:
        self._say("refused", f"bundle {bundle.short}: {why}")
        return False

    def _say(self, result: str, why: str) -> None:
        bundle, rung = self.serving
        self._tell(SlotNews(self.task, result, bundle, rung, why))


SHIPPED_BUNDLES: Final = Path(__file__).resolve().parent.parent / "models" / "bundles"
WINDOW_OF: Final = {
    Task.ECG_BEAT: ecg.BEAT_SPEC,
    Task.GLUCOSE: glucose.SPEC,
    Task.PNEUMONIA: image.SPEC,
    Task.BREAST: image.SPEC,
    Task.ECG_AF: ecg.RECENT_SPEC,
}
"""Every task that has a model, and the windows it is made for."""


def open_slots(tell: Callable[[SlotNews], None], plans: Path | None = None) -> dict[Task, ModelSlot]:
    """An empty slot for every task that has a model. ``plans``: folder of built TensorRT plans."""
    return {task: ModelSlot(task, window, tell, plans=plans) for task, window in WINDOW_OF.items()}


def stage_current(registry: Registry, slots: Mapping[Task, ModelSlot]) -> None:
    """Stage what the registry says serves. A task without a bundle goes on with the rules alone, and says so."""
    for slot in slots.values():
        slot.stage_from(registry)


def begin_serving(registry: Registry, slots: Mapping[Task, ModelSlot]) -> None:
    """The same before anything is scored: what can serve serves from the first window on."""
    stage_current(registry, slots)
    for slot in slots.values():
        slot.between_batches()

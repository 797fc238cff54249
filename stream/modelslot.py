"""Where the model of one task serves, and how another takes its place while patients are being watched.

    staged → warmed → shadow → active, on probation → proven
                         └ rejected     └ rolled back

A release is opened, held to its golden answers and warmed beside the one that serves. In its *shadow* it is asked about
some windows of each batch that the other one serves; nothing of what it says goes out as a finding. Then they change
places, between two batches, and the predecessor stays open through the *probation* of the new one and is asked in turn.
What speaks against the newer one (``stream/comparison.py``, or an engine that fails) ends either: it is closed and the
predecessor serves the next batch, or this one where an answer is missing. A *challenger* is in the shadow until it is
called off.

An engine that fails gives way to the next lower rung, and below the last one the rules serve alone.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from models.calibration import calibrated
from models.engine import SERVING_RUNGS, Engine, EngineError, Rung
from models.engines.ladder import open_best
from models.engines.tensorrt import NO_PLAN
from models.registry import Bundle, BundleUntrusted, Registry
from stream.comparison import Answers, Comparison
from vitals.errors import WardwatchError
from vitals.findings import Task
from vitals.windows import ecg, glucose, image

Arrays = Mapping[str, npt.NDArray[Any]]

Result = Literal[
    "shadow",  # a release is asked beside what serves
    "challenge",  # a challenger is
    "withdrawn",  # what was asked beside was called off
    "rejected",  # something spoke against it in its shadow
    "active",  # it serves
    "proven",  # it has served through its probation
    "rolled_back",  # something spoke against it on probation: its predecessor serves again
    "refused",  # it could not be opened here
    "untrusted",  # nobody trusted has signed it
    "fell_back",  # what served failed, and a lower rung does
]


class Way(enum.Enum):
    """How a bundle comes to a slot."""

    RELEASE = enum.auto()  # to serve, after its shadow
    AT_ONCE = enum.auto()  # to serve, between two batches: it is proven, or is another rung of what serves
    CHALLENGE = enum.auto()  # to be asked only


class _Phase(enum.Enum):
    SHADOW = enum.auto()
    CHALLENGE = enum.auto()
    PROBATION = enum.auto()


@dataclass(frozen=True, slots=True)
class Stay:
    """Seconds of processing time in the shadow, and on probation."""

    shadow_s: float = 30.0
    probation_s: float = 60.0


_STAY: Final = Stay()


@dataclass(frozen=True, slots=True)
class SlotNews:
    """What happened in a slot, for the log, the metrics and the registry. ``bundle`` and ``rung`` are what serves now.

    ``beside``: the bundle that is asked beside it, or empty. ``subject``: the hash of the one that this is about.
    """

    task: Task
    result: Result
    bundle: str
    rung: Rung
    why: str
    beside: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """float64[n, columns]: what the model says of n windows; ``raw`` are its outputs as they left the engine."""

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    raw: dict[str, npt.NDArray[Any]]
    model: str
    engine: Rung


@dataclass(frozen=True, slots=True)
class Paired:
    """What the older and the newer model said of the same windows; ``alike``: bool[n], where they call it the same."""

    older: str
    newer: str
    serving: str
    said_by_older: Answers
    said_by_newer: Answers
    alike: npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Served:
    bundle: Bundle
    engine: Engine

    def score(self, inputs: Arrays) -> Scores:
        raw = self.engine.infer(inputs)
        values = calibrated(self.bundle.manifest, raw)
        return Scores(self.bundle.manifest.columns, values, raw, self.bundle.short, self.engine.rung)


@dataclass(slots=True)
class _Beside:
    """Who is asked beside the active one: a newer one in its shadow, or the predecessor of one on probation."""

    served: _Served
    phase: _Phase
    since_s: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class _Order:
    """What was staged for a moment between two batches. ``served`` None: the slot has that bundle open."""

    way: Way
    bundle_hash: str
    served: _Served | None


class ModelSlot:
    """The model of ``task``. ``stage…`` may be called from any thread; everything else belongs to the corridor's."""

    def __init__(
        self,
        task: Task,
        window: str,
        tell: Callable[[SlotNews], None],
        rungs: Sequence[Rung] = SERVING_RUNGS,
        plans: Path | None = None,
        stay: Stay = _STAY,
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.task = task
        self.window = window
        self._tell = tell
        self._rungs = tuple(rungs)
        self._plans = plans
        self._stay = stay
        self._now_s = now_s
        self._lacks_plan_of: Bundle | None = None
        self._active: _Served | None = None
        self._beside: _Beside | None = None
        self._release: _Order | None = None
        self._challenge: _Served | None = None
        self._older_first = True
        self._between = threading.RLock()
        self._staging = threading.Lock()

    @property
    def serving(self) -> tuple[str, Rung]:
        """Short hash of the bundle (empty: none) and the rung that serves."""
        active = self._active
        return (active.bundle.short, active.engine.rung) if active else ("", Rung.RULES)

    @property
    def compares(self) -> bool:
        """Whether somebody is asked beside what serves."""
        return self._beside is not None and self._active is not None

    @property
    def lacks_plan_of(self) -> Bundle | None:
        """The bundle that could serve on TensorRT once its plan is built."""
        return self._lacks_plan_of

    def stage(self, bundle: Bundle, way: Way = Way.RELEASE) -> bool:
        """Open, check and warm ``bundle`` for its ``way``. False, and told, when it cannot be asked here.

        What is on that way already is not opened again.
        """
        with self._staging:
            with self._between:
                if self._is_on_its_way(bundle.hash, way):
                    return True
                if way is not Way.CHALLENGE and self._has_open(bundle.hash):
                    self._put(_Order(Way.AT_ONCE, bundle.hash, None))
                    return True
            return self._stage(bundle, way)

    def stage_again(self, bundle: Bundle) -> None:
        """A plan of ``bundle`` was built and a better rung may open: once more to where it is, if it is still here."""
        with self._staging:
            with self._between:
                is_active = self._active is not None and self._active.bundle.hash == bundle.hash
                ways = [way for way in Way if self._is_on_its_way(bundle.hash, way)]
            if is_active or ways:
                self._stage(bundle, Way.AT_ONCE if is_active else ways[0])

    def stage_from(self, registry: Registry) -> bool:
        """Stage what ``registry`` says: the bundle that is to serve, and the challenger.

        False, and told, when there is none or it cannot serve.
        """
        try:
            bundle = registry.current(self.task)
            way = Way.RELEASE if registry.predecessor(self.task) else Way.AT_ONCE
            challenger = registry.challenger(self.task)
        except WardwatchError as error:
            self._say("untrusted" if isinstance(error, BundleUntrusted) else "refused", str(error))
            return False
        self._call_off_all_but(challenger)
        if bundle is None:
            self._say("refused", "no bundle in the registry, the rules serve alone")
            return False
        staged = self.stage(bundle, way)
        return staged and (challenger is None or self.stage(challenger, Way.CHALLENGE))

    def resume_from(self, registry: Registry) -> None:
        """Serve what ``registry`` holds proven, before anything is scored, and stage what it says.

        A release that is not proven begins its shadow anew, wherever it was when the process before this one ended.
        """
        try:
            predecessor = registry.predecessor(self.task)
            if predecessor:
                self.stage(registry.get(self.task, predecessor), Way.AT_ONCE)
                self.between_batches()
        except WardwatchError as error:
            self._say("refused", f"the predecessor: {error}")
        self.stage_from(registry)
        self.between_batches()

    def between_batches(self) -> None:
        """Nothing is being scored: whose time has come changes places."""
        with self._between:
            self._heed_orders()
            self._pass_time()

    def score(self, inputs: Arrays) -> Scores | None:
        """What the model says, or None where only the rules serve. ``inputs``: the manifest's tensors, n ≥ 1 rows."""
        self.between_batches()
        while (active := self._active) is not None:
            try:
                return active.score(inputs)
            except (EngineError, ValueError) as error:
                with self._between:
                    self._failed(active, str(error))
        return None

    def compare(self, inputs: Arrays) -> Paired | None:
        """Ask both, where there are two, about windows that were scored just now; None where one did not answer.

        What then speaks against the newer one ends its shadow or its probation: the next batch is the predecessor's.
        """
        active, beside = self._active, self._beside
        if active is None or beside is None:
            return None
        on_probation = beside.phase is _Phase.PROBATION
        older, newer = (beside.served, active) if on_probation else (active, beside.served)
        self._older_first = not self._older_first  # whoever is asked second finds the windows in the processor's cache
        first, second = (older, newer) if self._older_first else (newer, older)
        by_first = self._asked(first, inputs)
        by_second = self._asked(second, inputs) if by_first is not None else None
        if by_first is None or by_second is None:
            return None
        by_older, by_newer = (by_first, by_second) if self._older_first else (by_second, by_first)
        alike = beside.comparison.add(by_older, by_newer)
        names = older.bundle.short, newer.bundle.short, active.bundle.short
        if why := beside.comparison.objection():
            with self._between:
                self._give_up_newer(why)
        return Paired(*names, by_older, by_newer, alike)

    def close(self) -> None:
        """Give everything back."""
        with self._between:
            release, beside = self._release, self._beside
            for served in (
                release.served if release is not None else None,
                self._challenge,
                beside.served if beside is not None else None,
                self._active,
            ):
                if served is not None:
                    served.engine.close()
            self._release = self._challenge = self._beside = self._active = None

    def _is_on_its_way(self, bundle_hash: str, way: Way) -> bool:
        """Whether nothing has to be done for ``bundle_hash`` to come where ``way`` leads."""
        beside, release = self._beside, self._release
        if way is Way.CHALLENGE:
            asked = beside.served if beside is not None and beside.phase is not _Phase.PROBATION else None
            return any(s is not None and s.bundle.hash == bundle_hash for s in (asked, self._challenge))
        if release is not None:
            return release.bundle_hash == bundle_hash
        heading = beside.served if beside is not None and beside.phase is _Phase.SHADOW else self._active
        return heading is not None and heading.bundle.hash == bundle_hash

    def _has_open(self, bundle_hash: str) -> bool:
        """Whether it serves, or is the predecessor that is kept open."""
        kept = self._beside if self._beside is not None and self._beside.phase is _Phase.PROBATION else None
        open_here = (self._active, kept.served if kept is not None else None)
        return any(served is not None and served.bundle.hash == bundle_hash for served in open_here)

    def _stage(self, bundle: Bundle, way: Way) -> bool:
        opened = self._opened(bundle)
        if opened is None:
            return False
        with self._between:
            if way is Way.CHALLENGE:
                overtaken, self._challenge = self._challenge, opened
                if overtaken is not None:
                    overtaken.engine.close()
            else:
                self._put(_Order(way, bundle.hash, opened))
        return True

    def _put(self, order: _Order) -> None:
        overtaken, self._release = self._release, order
        if overtaken is not None and overtaken.served is not None:
            overtaken.served.engine.close()

    def _opened(self, bundle: Bundle) -> _Served | None:
        engine: Engine | None = None
        why = f"it is for {bundle.task} on {bundle.manifest.window}"
        if bundle.task is self.task and bundle.manifest.window == self.window:
            try:
                engine, reasons = open_best(bundle, self._rungs, plans=self._plans)
                self._lacks_plan_of = bundle if any(NO_PLAN in reason for reason in reasons) else None
                why = "; ".join(reasons)
            except WardwatchError as error:
                why = str(error)
        if engine is None:
            self._say("refused", f"bundle {bundle.short}: {why}")
            return None
        return _Served(bundle, engine)

    def _call_off_all_but(self, challenger: Bundle | None) -> None:
        stays = challenger.hash if challenger is not None else ""
        with self._between:
            if self._challenge is not None and self._challenge.bundle.hash != stays:
                self._challenge.engine.close()
                self._challenge = None
            beside = self._beside
            if beside is not None and beside.phase is _Phase.CHALLENGE and beside.served.bundle.hash != stays:
                self._drop_beside("withdrawn", "called off")

    def _heed_orders(self) -> None:
        release, beside = self._release, self._beside
        on_probation = beside is not None and beside.phase is _Phase.PROBATION
        # one release at a time: the next one waits until this one is proven
        if release is not None and (release.way is Way.AT_ONCE or not on_probation):
            self._release = None
            self._heed(release)
        beside = self._beside
        if self._challenge is not None and (beside is None or beside.phase is _Phase.CHALLENGE):
            challenger, self._challenge = self._challenge, None
            self._ask_beside(challenger, _Phase.CHALLENGE)

    def _heed(self, order: _Order) -> None:
        if order.served is None:
            self._return_to(order.bundle_hash)
        elif self._active is None:
            self._active = order.served
            self._say("active", "the first", order.bundle_hash)
        elif order.way is Way.AT_ONCE:
            self._replace(self._active, order.served)
        else:
            self._ask_beside(order.served, _Phase.SHADOW)

    def _return_to(self, bundle_hash: str) -> None:
        """What serves, or did before, is to serve: nothing newer comes after it."""
        active, beside = self._active, self._beside
        if active is None or beside is None:
            return
        if active.bundle.hash == bundle_hash:
            if beside.phase is _Phase.SHADOW:
                self._drop_beside("withdrawn", "another release")
        elif beside.served.bundle.hash == bundle_hash:
            self._active, self._beside = beside.served, None
            active.engine.close()
            self._say("active", f"after {active.bundle.short}, as was asked", bundle_hash)

    def _replace(self, draining: _Served, served: _Served) -> None:
        self._active = served
        draining.engine.close()
        if draining.bundle.hash != served.bundle.hash and self._beside is not None:
            self._beside.served.engine.close()
            self._beside = None
        self._say("active", f"after {draining.bundle.short}, at once", served.bundle.hash)

    def _ask_beside(self, served: _Served, phase: _Phase) -> None:
        if self._beside is not None:
            self._drop_beside("withdrawn", "another release")
        self._beside = _Beside(served, phase, self._now_s(), Comparison(self.task))
        self._say("shadow" if phase is _Phase.SHADOW else "challenge", served.bundle.short, served.bundle.hash)

    def _pass_time(self) -> None:
        beside = self._beside
        if beside is None:
            return
        stood_s = self._now_s() - beside.since_s
        if beside.phase is _Phase.SHADOW and stood_s >= self._stay.shadow_s:
            self._activate(beside)
        elif beside.phase is _Phase.PROBATION and stood_s >= self._stay.probation_s and self._active is not None:
            beside.served.engine.close()
            self._beside = None
            self._say("proven", f"on {beside.comparison.windows} windows of both", self._active.bundle.hash)

    def _activate(self, beside: _Beside) -> None:
        before, self._active, self._beside = self._active, beside.served, None
        if before is not None:
            self._beside = _Beside(before, _Phase.PROBATION, self._now_s(), Comparison(self.task))
        why = f"after {before.bundle.short}" if before is not None else "the first"
        self._say("active", f"{why}, {beside.comparison.windows} windows in the shadow", beside.served.bundle.hash)

    def _asked(self, served: _Served, inputs: Arrays) -> Answers | None:
        began_s = self._now_s()
        try:
            raw = served.engine.infer(inputs)
            seconds = self._now_s() - began_s
            manifest = served.bundle.manifest
            return Answers(manifest.columns, calibrated(manifest, raw), seconds)
        except (EngineError, ValueError) as error:
            with self._between:
                self._failed(served, str(error))
            return None

    def _failed(self, served: _Served, why: str) -> None:
        """An engine gave no answer."""
        beside = self._beside
        if beside is not None and (served is self._active) is (beside.phase is _Phase.PROBATION):
            self._give_up_newer(why)
        elif served is self._active:
            self._fall_back(served, why)
        elif beside is not None:
            self._drop_beside("withdrawn", f"the predecessor cannot be returned to: {why}")

    def _give_up_newer(self, why: str) -> None:
        beside, active = self._beside, self._active
        if beside is None or active is None:
            return
        if beside.phase is not _Phase.PROBATION:
            self._drop_beside("rejected", why)
            return
        self._active, self._beside = beside.served, None
        active.engine.close()
        self._say("rolled_back", f"bundle {active.bundle.short}: {why}", active.bundle.hash)

    def _drop_beside(self, result: Result, why: str) -> None:
        if self._beside is None:
            return
        dropped, self._beside = self._beside.served, None
        dropped.engine.close()
        self._say(result, f"bundle {dropped.bundle.short}: {why}", dropped.bundle.hash)

    def _fall_back(self, failed: _Served, why: str) -> None:
        failed.engine.close()
        lower = self._rungs[self._rungs.index(failed.engine.rung) + 1 :]
        engine: Engine | None = None
        if lower:
            engine, reasons = open_best(failed.bundle, lower, plans=self._plans)
            why = "; ".join([why, *reasons])
        self._active = _Served(failed.bundle, engine) if engine is not None else None
        self._say("fell_back", why)

    def _say(self, result: Result, why: str, subject: str = "") -> None:
        bundle, rung = self.serving
        beside = self._beside
        short = beside.served.bundle.short if beside is not None else ""
        self._tell(SlotNews(self.task, result, bundle, rung, why, short, subject))


SHIPPED_BUNDLES: Final = Path(__file__).resolve().parent.parent / "models" / "bundles"
WINDOW_OF: Final = {
    Task.ECG_BEAT: ecg.BEAT_SPEC,
    Task.GLUCOSE: glucose.SPEC,
    Task.PNEUMONIA: image.SPEC,
    Task.BREAST: image.SPEC,
    Task.ECG_AF: ecg.RECENT_SPEC,
}
"""Every task that has a model, and the windows it is made for."""


def open_slots(
    tell: Callable[[SlotNews], None], plans: Path | None = None, stay: Stay = _STAY
) -> dict[Task, ModelSlot]:
    """An empty slot for every task that has a model. ``plans``: folder of built TensorRT plans."""
    return {task: ModelSlot(task, window, tell, plans=plans, stay=stay) for task, window in WINDOW_OF.items()}


def stage_current(registry: Registry, slots: Mapping[Task, ModelSlot]) -> None:
    """Stage what the registry says serves. A task without a bundle goes on with the rules alone, and says so."""
    for slot in slots.values():
        slot.stage_from(registry)


def begin_serving(registry: Registry, slots: Mapping[Task, ModelSlot]) -> None:
    """The same before anything is scored: what was released last serves from the first window on."""
    stage_current(registry, slots)
    for slot in slots.values():
        slot.between_batches()


def resume_serving(registry: Registry, slots: Mapping[Task, ModelSlot]) -> None:
    """The same for a worker: what is proven serves from the first window on (``ModelSlot.resume_from``)."""
    for slot in slots.values():
        slot.resume_from(registry)

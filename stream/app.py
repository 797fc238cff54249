"""The composition root of the worker: the only place that knows every room, and that reads the settings.

A worker is two corridors deep: observe (one half per stream) and decide, each with its door, on one Faust app. Anything
that fails here ends the process; what was not acknowledged is read again by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import faust
from aiokafka import TopicPartition
from faust.types import TP
from mode import CrashingSupervisor

from models.registry import Registry
from models.signing import KeyRefused, Trust
from stream import config, shadow, warming
from stream.agents import judgements, recovery, transport
from stream.agents.control import Releases
from stream.agents.door import Door
from stream.agents.fork import fork
from stream.agents.horizon import Horizon
from stream.agents.outbox import FaustOutbox
from stream.codeversion import CODE
from stream.config import Role, Settings
from stream.deciding import Decide
from stream.health import Health
from stream.httpserver import HttpServer, probe_routes
from stream.imagestore import ImageStore
from stream.links import Links
from stream.metrics import Metrics
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot, SlotNews, Stay, open_slots, resume_serving
from stream.notify.alertmanager import AlertmanagerNotifier
from stream.notify.delivery import Delivery
from stream.notify.mail import MailNotifier, Post
from stream.notify.webhook import WebhookNotifier
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.overload import Overload
from stream.pipeline import Corridor, Half
from stream.publish import Outbox
from stream.shadow import ShadowOutbox, ShadowTally
from stream.tally import Tally
from stream.topics import MAX_MESSAGE_BYTES, Topic
from stream.web.board import BoardServer
from stream.web.pictures import Pictures
from vitals.clock import Clock, SystemClock
from vitals.errors import Fault
from vitals.findings import Task
from vitals.unit import Unit, UnitError

_log = logging.getLogger("wardwatch")

GROUP: Final = "wardwatch"
_PLANS: Final = "plans"
_HARD_EXIT_S: Final = 8.0
_SESSION_S: Final = 6.0
_HEARTBEAT_S: Final = 1.0
"""Longer than a restart takes (it then disturbs nobody else), short enough for another to take over within 10 s."""
_FAILED_EXIT_S: Final = 2.0
"""What failed has nothing more to hand over, and somebody else should begin."""
_STREAM_BUFFER: Final = 200
_IMAGING_NICENESS: Final = 10
_SWITCH_INTERVAL_S: Final = 2e-4
"""A thread in a compiled kernel next to a busy interpreter gets 1 to 23 % of its speed at the stock 5 ms."""

_OBSERVE: Final = (Role.ALL, Role.OBSERVE)
_NOTIFY: Final = (Role.ALL, Role.DECIDE)
_DECIDE: Final = (*_NOTIFY, Role.SHADOW)
_BOARD: Final = (Role.ALL, Role.BOARD)


def main(environment: Mapping[str, str]) -> int:
    """Run the worker until SIGTERM or SIGINT (0), or until something fails (1)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("faust", "mode", "aiokafka", "kafka", transport.__name__):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = config.read(environment)
        unit = config.unit_in(settings.unit)
        trust = config.trust_in(settings.trusted_keys)
    except (config.SettingError, UnitError, KeyRefused, OSError) as error:
        _log.error("%s", error)
        return 2
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    status = asyncio.run(Worker(settings, unit, trust, SystemClock()).run())
    # Executors and clients of a broken broker may still hold threads: everything that had to be said was said.
    logging.shutdown()
    os._exit(status)


class Worker:
    """Everything of one process."""

    def __init__(self, settings: Settings, unit: Unit, trust: Trust, clock: Clock) -> None:
        self._settings = settings
        self._unit = unit
        self._clock = clock
        self._is_shadow = settings.role is Role.SHADOW
        self._group = shadow.GROUP if self._is_shadow else GROUP
        self._checkpoints = Topic.SHADOW_CHECKPOINTS if self._is_shadow else Topic.CHECKPOINTS
        self._metrics = Metrics(process="shadow" if self._is_shadow else "worker")
        self._health = Health(clock, settings.stalled_s)
        self._tally = (ShadowTally if self._is_shadow else Tally)(self._metrics, self._health, clock)
        self._app = _faust_app(settings, self._group)
        self._outbox: Outbox = FaustOutbox(self._app)
        if self._is_shadow:
            self._outbox = ShadowOutbox(self._outbox)
        self._registry = Registry.seeded(settings.registry, SHIPPED_BUNDLES, clock, trust)
        stay = Stay(settings.model_shadow_s, settings.model_probation_s)
        self._slots = open_slots(self._heard, settings.state / _PLANS, stay)
        self._releases = Releases(self._registry, self._slots, settings.state / _PLANS, self._outbox, clock)
        self._observing, self._deciding = (ThreadPoolExecutor(1, name) for name in ("observe", "decide"))
        self._imaging = ThreadPoolExecutor(1, "imaging", _give_way)
        self._images = ImageStore(tuple(prefix for prefix in settings.images.split(",") if prefix))
        self._clock_ahead_us = round(settings.clock_ahead_s * 1e6)
        self._overload = Overload(clock)
        self._doors: list[Door] = []
        self._horizon = Horizon(clock, self._taken, may_lag=self._is_shadow)
        self._serving: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[str] | None = None

    async def run(self) -> int:
        """The exit status."""
        role = self._settings.role
        self._ended = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end, "")
        board = self._board() if role in _BOARD else None
        routes = probe_routes(self._metrics.registry, self._health)
        http = HttpServer(
            self._settings.http_host, self._settings.http_port, [*routes, *(board.routes() if board else [])]
        )
        notifiers: list[Delivery] = []
        tasks: list[asyncio.Task[Any]] = []
        try:
            port = http.start()
            _log.info("serving http://%s:%d, code %s", self._settings.http_host, port, CODE)
            if board is not None:
                board.start()
            if role in _NOTIFY:
                notifiers = self._start_notifiers()
            if role is not Role.BOARD:
                tasks = await self._open_corridors(role)
            why = await self._ended
        except Fault as fault:
            why = str(fault)
        _exit_hard_after(_HARD_EXIT_S if not why else _FAILED_EXIT_S, 1 if why else 0)
        if why:
            _log.error("stopping: %s", why)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if role is not Role.BOARD:
            await self._app.stop()
        for notifier in notifiers:
            notifier.stop()
        if board is not None:
            board.stop()
        http.stop()
        return 1 if why else 0

    def _start_notifiers(self) -> list[Delivery]:
        settings = self._settings
        try:
            notifiers = self._notifiers(settings)
        except ValueError as error:
            raise Fault(f"a notifier cannot be made: {error}") from None
        for notifier in notifiers:
            notifier.start()
        return notifiers

    def _notifiers(self, settings: Settings) -> list[Delivery]:
        notifiers: list[Delivery] = []
        links = Links(settings.board_url)
        if settings.alertmanager:
            notifiers.append(
                AlertmanagerNotifier(settings.kafka, settings.alertmanager, self._metrics, self._clock, links=links)
            )
        if settings.webhook:
            notifiers.append(
                WebhookNotifier(
                    settings.kafka,
                    settings.webhook,
                    settings.webhook_secret,
                    self._metrics,
                    self._clock,
                    names_patient=bool(settings.webhook_patient),
                    links=links,
                )
            )
        if settings.mail:
            to = tuple(name.strip() for name in settings.mail_to.split(",") if name.strip())
            post = Post(settings.mail, settings.mail_from, to, settings.mail_user, settings.mail_secret)
            notifiers.append(MailNotifier(settings.kafka, post, self._metrics, self._clock, links=links))
        return notifiers

    async def _open_corridors(self, role: Role) -> list[asyncio.Task[Any]]:
        if role in _OBSERVE:
            # nothing is processed before it is done; the kernels are loaded and the group is joined meanwhile
            serving = asyncio.to_thread(resume_serving, self._registry, self._slots)
            self._serving = self._run(serving, ends_well=True)
        await asyncio.to_thread(warming.warm, self._slots)
        if role in _OBSERVE:
            self._open_observe()
        if role in _DECIDE:
            deciding = self._open_door((Topic.FINDINGS, Topic.COMMANDS), Decide(self._unit), self._deciding)
            deciding.time_passed_us = self._horizon.until_us
        for door in self._doors:
            door.register()
        self._app.on_partitions_revoked.connect(self._on_revoked)
        self._app.on_partitions_assigned.connect(self._on_assigned)
        transport.use(self._app)
        if self._is_shadow:
            await fork(self._settings.kafka, self._group, Decide.stream, self._outbox, self._clock)
        await self._app.start()
        threading.Thread(target=_end_when_stalled, args=(self._health,), name="watch", daemon=True).start()
        running: list[Coroutine[Any, Any, None]] = [self._supervise()]
        for door in self._doors:
            running += [door.corridor.run(), door.watch(), door.meter()]
        if role in _OBSERVE:
            running.append(self._releases.follow(self._settings.kafka))
        if role in _NOTIFY:
            running.append(judgements.follow(self._settings.kafka, self._tally.judged))
        if role in _DECIDE:
            running.append(self._horizon.follow(self._settings.kafka, GROUP, self._group))
        return [self._run(one) for one in running]

    def _board(self) -> BoardServer:
        pictures = Pictures(self._images, self._registry, self._clock_ahead_us)
        return BoardServer(self._settings.kafka, self._clock, self._metrics, pictures, unit=self._unit)

    def _open_observe(self) -> None:
        settings, slots = self._settings, self._slots
        observing = Observing(
            max_patients=settings.max_patients,
            clock_ahead_us=self._clock_ahead_us,
            archive_share=settings.archive_share,
            relief=self._overload.relief,
        )
        self._open_door((Topic.ECG,), ObserveEcg(slots, observing), self._observing)
        self._open_door((Topic.GLUCOSE,), ObserveGlucose(slots[Task.GLUCOSE], observing), self._observing)
        self._open_door((Topic.IMAGING,), ObserveImaging(_imaging(slots), self._images, observing), self._imaging)

    def _open_door(self, topics: tuple[Topic, ...], half: Half, thread: ThreadPoolExecutor) -> Corridor:
        corridor = Corridor(
            half,
            self._outbox,
            thread,
            self._clock,
            self._tally,
            checkpoint_s=self._settings.checkpoint_s,
            dead_letter_share=self._settings.dead_letter_share,
        )
        self._doors.append(Door(self._app, topics, corridor, self._tally.rewound))
        self._health.expect(half.stream)
        return corridor

    def _taken(self) -> dict[TopicPartition, int]:
        return {TopicPartition(*tp): at for door in self._doors for tp, at in door.corridor.taken.items()}

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self._horizon.hold()
        for door in self._doors:
            door.leave()
            self._health.loaded(door.corridor.half.stream, False)

    async def _on_assigned(self, _: Any, assigned: set[TP], **__: Any) -> None:
        self._horizon.hold()
        epochs = [door.leave() for door in self._doors]
        if self._entering is not None:
            self._entering.cancel()
        self._entering = self._run(self._enter(set(assigned), epochs), ends_well=True)

    async def _enter(self, assigned: set[TP], epochs: list[int]) -> None:
        """Load what belongs to the partitions of each half. Faust resumes meanwhile: the corridors wait."""
        recovered = await recovery.load(self._settings.kafka, assigned, self._checkpoints)
        self._tally.unreadable(recovered.unreadable)
        if self._serving is not None:
            await asyncio.shield(self._serving)
        for door, epoch in zip(self._doors, epochs, strict=True):
            mine = {tp.partition for tp in assigned if tp.topic in door.topics}
            stream = door.corridor.half.stream
            door.open_at(epoch, recovered.beginnings)
            past = partial(recovery.past, self._settings.kafka, self._group, door.topics[0])
            self._tally.unreadable(await door.corridor.enter(epoch, recovered.loaded.of(stream, mine), past))
            self._health.loaded(stream, door.corridor.is_loaded)
        self._horizon.decides({tp.partition for tp in assigned if tp.topic == Topic.FINDINGS})
        _log.info("ready with %d partitions", len(assigned))

    async def _supervise(self) -> None:
        """Lag and health every second."""
        while True:
            await asyncio.sleep(1.0)
            self._health.turned()
            for door in self._doors:
                self._tally.lag(door.corridor.half.stream, door.lag(), door.corridor.held)
                if door.topics == (Topic.ECG,):
                    self._overload.waiting(sum(door.lag().values()) + len(door.corridor.inbox))
            self._tally.overload(self._overload.step)
            if self._app.should_stop:
                raise Fault(f"Faust stopped: {self._app.crash_reason!r}")

    def _run(self, work: Coroutine[Any, Any, None], *, ends_well: bool = False) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)

        def ended(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            if error is not None:
                if not isinstance(error, Fault):
                    _log.error("a defect", exc_info=error)
                self._end(str(error) or type(error).__name__)
            elif not ends_well:
                self._end("a task ended")

        task.add_done_callback(ended)
        return task

    def _end(self, why: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(why)

    def _heard(self, news: SlotNews) -> None:
        self._tally.slot(news)
        self._releases.heard(news)
        _log.info("%s: %s, bundle %s on %s (%s)", news.task, news.result, news.bundle or "none", news.rung, news.why)


def _faust_app(settings: Settings, group: str) -> faust.App:
    return faust.App(
        group,
        broker=";".join(f"kafka://{address}" for address in settings.kafka.split(",")),
        datadir=str(settings.state / "faust"),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        agent_supervisor=CrashingSupervisor,
        TableManager=transport.NoTables,
        stream_wait_empty=False,
        stream_buffer_maxsize=_STREAM_BUFFER,
        table_standby_replicas=0,
        consumer_group_instance_id=f"{group}-{settings.worker_id}",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_MESSAGE_BYTES,
        producer_max_request_size=MAX_MESSAGE_BYTES,
        producer_acks=-1,
        broker_session_timeout=_SESSION_S,
        broker_heartbeat_interval=_HEARTBEAT_S,
        broker_commit_interval=1.0,
        worker_redirect_stdouts=False,
    )


def _imaging(slots: Mapping[Task, ModelSlot]) -> dict[Task, ModelSlot]:
    return {task: slots[task] for task in (Task.PNEUMONIA, Task.BREAST)}


def _give_way() -> None:
    """This thread takes what the others leave: an image may wait a minute, a heartbeat may not."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _IMAGING_NICENESS)


def _end_when_stalled(health: Health) -> None:
    """A process that holds partitions and does not get on makes room: nothing can be asked of it any more."""
    while not (stalled := health.stalled()):
        time.sleep(1.0)
    _log.error("stopping: %s", "; ".join(stalled))
    logging.shutdown()
    os._exit(1)


def _exit_hard_after(seconds: float, status: int) -> None:
    """With the broker down Faust never stops. Nothing is lost by it: what was not acknowledged is read again."""

    def end() -> None:
        _log.warning("not everything stopped within %g s", seconds)
        logging.shutdown()
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()

"""``make demo``: a ward to look at. Kafka, one worker with its board, the strips of its alarms, and everybody in
the cast, until Ctrl-C.

With ``--for`` it runs without a person: it sends for so long, acknowledges a few alarms as a nurse would, waits until
the worker has caught up, and ends with status 0 only if the laws hold: every event sent is accounted for, no finding
came in two versions, all three streams were scored.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from kafka.errors import KafkaError

from stream import children
from stream.broker import free_ports, open_broker
from stream.gateways.schedule import Due, in_order
from stream.gateways.sending import Sender, play
from stream.rehearsal.nurse import Nurse
from stream.rehearsal.readback import Marks, marks, records_since
from stream.rehearsal.report import READ_BACK, Counted, Report, Stored, report
from stream.rehearsal.status import Scrape, StatusLine
from stream.rehearsal.strips import strips
from stream.rehearsal.worker import DemoWorker
from vitals.clock import SystemClock
from vitals.errors import Fault
from vitals.units import US_PER_MS, US_PER_S

if TYPE_CHECKING:
    from stream.rehearsal.cast import Cast
    from stream.rehearsal.training import Training

_CATCH_UP_S: Final = 60.0
_CAUGHT_UP_SCRAPES: Final = 3
"""The worker looks at its lag once a second: so many quiet looks in a row, and decide has had its turn too."""
_STEP_S: Final = 1.0
_PAST_S: Final = 4.0
"""The last day of glucose has a start: it is through the worker when the present begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line."""

    speed: float
    seconds: float | None
    report: Path | None
    kafka: str | None
    http_port: int | None
    train: bool


def main(argv: list[str]) -> int:
    """``python -m stream demo``. 0: ended by Ctrl-C, or the laws hold; 1: they do not, or something is missing."""
    asked = _asked(argv)
    with children.signals_as_interrupt():
        try:
            return _run(asked)
        except KeyboardInterrupt:
            _say("Everything is stopped.")
            return 1 if asked.seconds else 0
        except (Fault, KafkaError) as error:
            _say(str(error))
            return 1


def recordings_folder() -> Path | None:
    """``WARDWATCH_DATA``, else ``../shared/data`` beside the project; None where there is neither."""
    named = os.environ.get("WARDWATCH_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def _asked(argv: list[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m stream demo", description=__doc__)
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of recording a second")
    parser.add_argument("--for", type=float, dest="seconds", metavar="S", help="end after S seconds and check the laws")
    parser.add_argument("--report", type=Path, help="with --for: where to write the report as JSON")
    parser.add_argument("--kafka", help="use this broker, host:port, which no other worker is reading")
    parser.add_argument("--http-port", type=int, help="port of the board (default: a free one)")
    parser.add_argument("--train", action="store_true", help="a trainer beside it: labels, a turn, the gate, a swap")
    asked = parser.parse_args(argv)
    if asked.speed <= 0 or (asked.seconds is not None and asked.seconds <= 0):
        parser.error("--speed and --for must be positive")
    if asked.report and not asked.seconds:
        parser.error("--report needs --for")
    return Asked(**vars(asked))


def _run(asked: Asked) -> int:
    with ExitStack() as stack:
        reading = _in_background(stack)
        _say("Starting Kafka")
        bootstrap = stack.enter_context(open_broker(asked.kafka))
        since = marks(bootstrap, READ_BACK)
        _say("Starting the worker (the first start on a machine compiles the signal path)")
        training, told = _training(asked, bootstrap)
        worker = stack.enter_context(DemoWorker(bootstrap, asked.http_port or free_ports(1)[0], told))
        stack.enter_context(strips(bootstrap))
        cast = reading.result()
        worker.wait_until_ready(lambda seconds: _say(f"  still starting, {seconds:.0f} s"))
        _introduce(cast, bootstrap, worker)
        # on a broker that was there, the worker may first have to end what an earlier run left unread
        before = _settled(worker, lambda _: True) if asked.kafka else Counted({}, {})
        if training is not None:
            stack.enter_context(training)
            _say(f"Trainer     {training.metrics}, log {training.log}")
        start_us = SystemClock().now_us() + round(_PAST_S * US_PER_S)
        with closing(Sender(bootstrap)) as sender:
            seconds = _rehearse(asked, cast, sender, worker, bootstrap, start_us, training)
        _say("Waiting until the worker has caught up")
        counted = _settled(worker, lambda now: now.since(before).whole(sender.events)).since(before)
        stored = _stored(bootstrap, since)
        made, broken = report(seconds, sender.events, counted, stored, live_ms=start_us // US_PER_MS)
        if training is not None:
            broken += training.missing()
    return _conclude(asked, made, broken)


def _training(asked: Asked, bootstrap: str) -> tuple[Training | None, dict[str, str]]:
    """The trainer beside the worker where one is asked for, and what the worker must be told then."""
    if not asked.train:
        return None, {}
    from stream.rehearsal.training import Training, fresh_folder  # noqa: PLC0415  only this demo needs it

    folder = fresh_folder()
    return Training(bootstrap, folder, free_ports(1)[0], _say), Training.told(folder)


def _in_background(stack: ExitStack) -> Future[Cast]:
    """The recordings are read while broker and worker start; so are the readers themselves."""

    def read() -> Cast:
        from stream.rehearsal.cast import assemble  # noqa: PLC0415

        return assemble(recordings_folder())

    pool = ThreadPoolExecutor(1, "cast")
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    return pool.submit(read)


def _introduce(cast: Cast, bootstrap: str, worker: DemoWorker) -> None:
    _say(f"Kafka       {bootstrap}")
    _say(f"Worker log  {worker.log}")
    _say(f"Retrain     WARDWATCH_KAFKA={bootstrap} .venv/bin/python -m trainer once --task breast")
    _say(f"Patients    {len(cast.patients)}")
    for note in cast.notes:
        _say(f"            {note}")
    _say(f"\nWard board  {worker.address}\n")


def _rehearse(
    asked: Asked,
    cast: Cast,
    sender: Sender,
    worker: DemoWorker,
    bootstrap: str,
    start_us: int,
    training: Training | None,
) -> float:
    """Sends and shows how it goes for the seconds asked for, or until Ctrl-C. The seconds that it took."""
    line = StatusLine(len(cast.patients))
    begin = time.monotonic()
    with ExitStack() as stack:
        nurse = stack.enter_context(closing(Nurse(bootstrap, sender.send))) if asked.seconds else None
        stack.callback(line.end)
        scans = [] if training is None else training.schedules(start_us, asked.speed)
        gateways = stack.enter_context(_playing(cast, sender, asked.speed, start_us, scans))
        while asked.seconds is None or time.monotonic() - begin < asked.seconds:
            worker.must_run()
            if not gateways.is_alive():
                break
            metrics = worker.metrics()
            line.show(time.monotonic() - begin, sender.events.total(), Scrape.of(metrics))
            if training is not None:
                training.look_after(metrics)
            if nurse is not None:
                nurse.look_after()
            gateways.join(_STEP_S if asked.seconds is None else min(_STEP_S, asked.seconds))
        return time.monotonic() - begin


@contextmanager
def _playing(
    cast: Cast, sender: Sender, speed: float, start_us: int, scans: list[Iterator[Due]]
) -> Iterator[threading.Thread]:
    """Everybody sends, in a thread, for the time of the block. Raises ``Fault`` when the thread failed."""
    stop = threading.Event()
    failed: list[Exception] = []

    def send() -> None:
        try:
            schedules = cast.schedules(start_us, speed, run=str(start_us // US_PER_S))
            play(in_order([*schedules, *scans]), sender.send, stop, starts_in_s=start_us / US_PER_S - time.time())
        except Exception as error:  # noqa: BLE001  told by the one who waits
            failed.append(error)

    thread = threading.Thread(target=send, name="gateways", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()
    if failed:
        raise Fault(f"the gateways stopped: {failed[0]}")


def _settled(worker: DemoWorker, is_whole: Callable[[Counted], bool]) -> Counted:
    """The worker's counts once they are whole and the log is read to its end, or as they are after a minute."""
    give_up = time.monotonic() + _CATCH_UP_S
    quiet = 0
    while True:
        worker.must_run()
        text = worker.metrics()
        counted = Counted.scraped(text)
        quiet = quiet + 1 if is_whole(counted) and not Scrape.of(text).lag else 0
        if quiet >= _CAUGHT_UP_SCRAPES or time.monotonic() > give_up:
            return counted
        time.sleep(_STEP_S)


def _stored(bootstrap: str, since: Marks) -> Iterator[Stored]:
    for topic in READ_BACK:
        for record in records_since(bootstrap, topic, since):
            yield Stored(topic, record.timestamp, record.value)


def _conclude(asked: Asked, made: Report, broken: list[str]) -> int:
    text = msgspec.json.format(msgspec.json.encode(made), indent=2).decode()
    if asked.report is not None:
        asked.report.write_text(text + "\n")
    else:
        _say(text)
    for law in broken:
        _say(f"Broken: {law}")
    _say("The laws do not hold." if broken else "The laws hold.")
    return 1 if broken else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

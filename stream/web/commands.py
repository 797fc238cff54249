"""What a person does at the board, checked and written to ``commands.v1`` (and ``labels.v1``).

The answer comes when the broker has the record. What it did to the alarm is told by ``alerts.v1`` alone.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, Literal
from zlib import crc32

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from msgspec import Meta
from msgspec.structs import replace

from stream.topics import PARTITIONS, Topic
from vitals import codec
from vitals.clock import Clock
from vitals.conditions import PAUSE_MAX_S, RULES, Compare, Condition, title
from vitals.errors import Fault
from vitals.events import Command, Label, Wire
from vitals.roles import Role, may
from vitals.unit import Unit

_SEND_DEADLINE_MS: Final = 5000
_AT_ONCE: Final = 8
_WAITING_MAX: Final = 64

Text = Annotated[str, Meta(min_length=1, max_length=80)]
PatientText = Annotated[str, Meta(min_length=1, max_length=200)]
AlertIdText = Annotated[str, Meta(min_length=1, max_length=64)]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Who does it to whom."""

    bed: PatientText
    who: Text
    role: Role
    reason: Annotated[str, Meta(max_length=300)] = ""


class Acknowledge(_Request, frozen=True, kw_only=True):
    """``POST /api/acknowledge``: one alarm."""

    alert_id: AlertIdText
    condition: Condition


class Pause(_Request, frozen=True, kw_only=True):
    """``POST /api/pause``: all alarms of a bed, for a bounded time."""

    seconds: Annotated[float, Meta(gt=0, le=PAUSE_MAX_S)]


class Resume(_Request, frozen=True, kw_only=True):
    """``POST /api/resume``: end of a pause."""


class Snooze(_Request, frozen=True, kw_only=True):
    """``POST /api/snooze``: one condition of a bed, for as long as its rule allows at most."""

    condition: Condition
    seconds: Annotated[float, Meta(gt=0)]


class Limit(_Request, frozen=True, kw_only=True):
    """``POST /api/limit``: from which ``value`` on, in the limit's unit, a condition is alarmed for this bed."""

    condition: Condition
    value: float


class Judge(_Request, frozen=True, kw_only=True):
    """``POST /api/judge``: what an alarm was worth; a label for the trainer."""

    alert_id: AlertIdText
    condition: Condition
    onset_us: int
    value: Literal["true", "false", "not-actionable"]


Request = Acknowledge | Pause | Resume | Snooze | Limit | Judge

REQUESTS: Final[dict[str, type[Request]]] = {
    "acknowledge": Acknowledge,
    "pause": Pause,
    "resume": Resume,
    "snooze": Snooze,
    "limit": Limit,
    "judge": Judge,
}


class NotYours(ValueError):
    """A role that may not do this."""


def parse(action: str, body: bytes, unit: Unit) -> Request:
    """The request in ``body``, which may be done in ``unit``.

    Raises ``ValueError`` with a text for the person, ``NotYours`` among them; ``KeyError`` for no such action.
    """
    request = msgspec.json.decode(body, type=REQUESTS[action])
    if not request.who.strip():
        raise ValueError("who must not be blank")
    # whoever may answer an alarm may say what it was worth
    if not may(request.role, "acknowledge" if action == "judge" else action, unit.may):
        raise NotYours(f"{action} is not for the role {request.role}")
    if isinstance(request, Snooze) and request.seconds > (most := unit.rules[request.condition].snooze_max_s):
        raise ValueError(f"{title(request.condition)} can be snoozed for {most:g} s at most")
    if isinstance(request, Limit):
        limit = unit.limits[request.condition]
        if not limit.adjustable or not limit.allows(request.value):
            bounds = f"{limit.lowest:g} to {limit.highest:g} {limit.unit}".rstrip()
            raise ValueError(f"the limit of {title(request.condition)} must lie inside {bounds}")
    return request


def record_of(request: Request, now_us: int) -> tuple[Topic, Wire]:
    """The record that says it, and where it goes."""
    who = request.who.strip()
    if isinstance(request, Judge):
        return Topic.LABELS, Label(
            patient=request.bed,
            task=request.condition,
            end_us=request.onset_us,
            value=request.value,
            who=f"{who} ({request.role})",
            when_us=now_us,
            alert_id=request.alert_id,
        )
    said = Command(
        patient=request.bed, action="resume", who=who, role=request.role, when_us=now_us, reason=request.reason
    )
    if isinstance(request, Acknowledge):
        said = replace(said, action="acknowledge", condition=request.condition, alert_id=request.alert_id)
    elif isinstance(request, Pause):
        said = replace(said, action="pause", seconds=request.seconds)
    elif isinstance(request, Snooze):
        said = replace(said, action="snooze", condition=request.condition, seconds=request.seconds)
    elif isinstance(request, Limit):
        side = "lower" if RULES[request.condition].compare is Compare.BELOW else "upper"
        said = replace(said, action="limit", condition=request.condition, **{side: request.value})
    return Topic.COMMANDS, said


class CommandDesk:
    """Writes commands. Calls come from many threads; at most 64 wait, each no longer than the broker is given."""

    def __init__(self, kafka: str, clock: Clock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._waiting = threading.BoundedSemaphore(_WAITING_MAX)
        self.threads = ThreadPoolExecutor(_AT_ONCE, "board-command")

    def send(self, request: Request) -> int:
        """Blocks until the broker has it; returns when it was given (µs). Raises ``Fault`` when it has not."""
        if not self._waiting.acquire(blocking=False):
            raise Fault("too many commands are waiting")
        try:
            now_us = self._clock.now_us()
            topic, event = record_of(request, now_us)
            patient = request.bed.encode()
            try:
                sent = self._open().send(
                    str(topic),
                    key=patient,
                    value=codec.encode(event),
                    # where this patient's findings and alarms are, so that one worker decides over all of them
                    partition=crc32(patient) % PARTITIONS,
                )
                sent.get(timeout=_SEND_DEADLINE_MS / 1000)
            except (KafkaError, OSError) as error:
                raise Fault(f"the broker did not take the command ({type(error).__name__})") from None
            return now_us
        finally:
            self._waiting.release()

    def close(self) -> None:
        """Let the producer go."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            if self._producer is not None:
                self._producer.close(timeout=1)
                self._producer = None

    def _open(self) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._kafka.split(","),
                    acks="all",
                    max_block_ms=_SEND_DEADLINE_MS,
                    request_timeout_ms=_SEND_DEADLINE_MS - 1000,
                    delivery_timeout_ms=_SEND_DEADLINE_MS,
                    allow_auto_create_topics=False,
                    bootstrap_timeout_ms=_SEND_DEADLINE_MS,
                )
            return self._producer

"""A worker in which one step fails when it is told to: ``python -m tests.faults.failing``.

It is the worker of ``stream/app.py`` with a plug in front of each step. A plug lets everything through until the file
``fail`` in the state folder names it; then it takes the file away and raises what nobody expects, or never returns.
With the argument ``full`` no file can be written at all.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stream import app, ingest
from stream.agents.outbox import FaustOutbox
from stream.alerting import Deciding
from stream.modelslot import ModelSlot
from stream.observing import ObserveGlucose
from stream.publish import Message
from stream.scoring import Scorer
from stream.topics import Topic
from vitals.signals import Bed
from vitals.windows.ecg import EcgWindows

STEPS = ("decode", "order", "window", "score", "publish", "checkpoint", "decide", "alert")


class Broken(Exception):
    """Nobody catches this one."""


def _is_told(step: str) -> bool:
    order = Path(os.environ["WARDWATCH_STATE"]) / "fail"
    try:
        if order.read_text() != step:
            return False
        order.unlink()
    except OSError:
        return False
    return True


def _plugged(step: str, call: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    def plug(*arguments: Any, **named: Any) -> Any:
        if after:
            answer = call(*arguments, **named)
            if _is_told(step):
                raise Broken(step)
            return answer
        if _is_told(step):
            raise Broken(step)
        return call(*arguments, **named)

    return plug


def _never_returning(step: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def plug(*arguments: Any, **named: Any) -> Any:
        if _is_told(step):
            threading.Event().wait()
        return call(*arguments, **named)

    return plug


class FailingOutbox(FaustOutbox):
    """Fails for findings or checkpoints when half of them are out; ``loop`` never gives the event loop back."""

    async def send(self, messages: Sequence[Message]) -> None:
        for step, topic in (("publish", Topic.FINDINGS), ("checkpoint", Topic.CHECKPOINTS)):
            if any(m.topic is topic and m.value is not None for m in messages) and _is_told(step):
                await super().send(messages[: len(messages) // 2])
                raise Broken(step)
        if _is_told("loop"):
            threading.Event().wait()
        await super().send(messages)


def main(argv: list[str]) -> int:
    if argv == ["full"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    ingest.ecg_chunks = _plugged("decode", ingest.ecg_chunks)
    EcgWindows.advance = _plugged("window", _plugged("order", EcgWindows.advance), after=True)  # type: ignore[method-assign]
    Scorer.score = _plugged("score", Scorer.score, after=True)  # type: ignore[method-assign]
    ModelSlot.score = _never_returning("model", ModelSlot.score)  # type: ignore[method-assign]
    ObserveGlucose.process = _never_returning("glucose", ObserveGlucose.process)  # type: ignore[method-assign]
    Deciding.decide = _plugged("decide", Deciding.decide, after=True)  # type: ignore[method-assign]
    Bed.stimulate = _plugged("alert", Bed.stimulate, after=True)  # type: ignore[method-assign]
    app.FaustOutbox = FailingOutbox  # type: ignore[misc]
    return app.main(os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

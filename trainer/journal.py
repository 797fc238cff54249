"""How turns ended: a journal per task, and a mark while one is under way, so that none that was killed is forgotten."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Final

import msgspec

from vitals.clock import Clock
from vitals.errors import WardwatchError
from vitals.findings import Task

_FOLDER: Final = "turns"
_KEPT: Final = 500


class Outcome(enum.StrEnum):
    """How a turn ended."""

    RELEASED = "released"
    REFUSED = "refused"  # by the gate
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # killed, or stopped by hand: found out at the next turn


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. ``why``: what made it due; ``detail``: the error of one that failed. Times in us, UTC, 0 for not yet.

    An interrupted turn has the time of the next one's beginning as its end.
    """

    why: str
    began_us: int
    ended_us: int = 0
    outcome: Outcome | None = None
    detail: str = ""


class Journal:
    """The turns of one task, the newest 500 of them."""

    def __init__(self, state: Path, task: Task) -> None:
        self._path = state / _FOLDER / f"{task}.jsonl"
        self._open = state / _FOLDER / f"{task}.open.json"

    def turns(self) -> list[Turn]:
        """Every turn that has ended, oldest first."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Turn) for line in lines]

    def under_way(self) -> Turn | None:
        """The turn that has begun and not ended, be it alive or killed."""
        try:
            return msgspec.json.decode(self._open.read_bytes(), type=Turn)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def last_began_us(self) -> int | None:
        """When the newest turn began, None before the first."""
        began = [turn.began_us for turn in (*self.turns()[-1:], self.under_way()) if turn is not None]
        return max(began, default=None)

    def in_a_row(self, outcome: Outcome) -> int:
        """How many of the newest turns all ended so."""
        return len(list(takewhile(lambda turn: turn.outcome is outcome, reversed(self.turns()))))

    @contextmanager
    def turn(self, why: str, clock: Clock) -> Iterator[Ending]:
        """Writes down the turn that the block takes, whose outcome it says. One that raises has failed; one that ends
        without an outcome (a kill, Ctrl-C) leaves its mark, and the next turn finds it.

        Only under the lock: a mark that is found here is of one that was killed.
        """
        now_us = clock.now_us()
        lost = self.under_way()
        if lost is not None and lost.began_us not in {turn.began_us for turn in self.turns()}:
            self._append(msgspec.structs.replace(lost, ended_us=now_us, outcome=Outcome.INTERRUPTED))
        begun = Turn(why=why, began_us=now_us)
        _written(self._open, msgspec.json.encode(begun))
        ending = Ending()
        try:
            yield ending
        except Exception as error:
            if ending.outcome is None:
                ending.outcome = Outcome.FAILED
                ending.detail = str(error) if isinstance(error, WardwatchError) else type(error).__name__
            raise
        finally:
            if ending.outcome is not None:
                ended = {"ended_us": clock.now_us(), "outcome": ending.outcome, "detail": ending.detail}
                self._append(msgspec.structs.replace(begun, **ended))
                self._open.unlink()

    def _append(self, turn: Turn) -> None:
        newest = [*self.turns(), turn][-_KEPT:]
        _written(self._path, b"".join(msgspec.json.encode(one) + b"\n" for one in newest))


class Ending:
    """Said by whoever takes the turn."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.detail = ""


def _written(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp")
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)

"""One trainer at a time in one state folder, by a lock that the system takes back when its holder dies, however."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vitals.errors import WardwatchError

_FILE: Final = "trainer.lock"


class Busy(WardwatchError):
    """Another trainer is at work in the same state folder."""


@contextmanager
def one_at_a_time(state: Path) -> Iterator[None]:
    """Raises ``Busy`` at once where another process holds it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / _FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("another trainer is at work in this state folder") from None
        yield

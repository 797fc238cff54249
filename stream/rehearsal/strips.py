"""The demo's strips: ``python -m stream strips`` as a process of its own beside the worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stream import children
from stream.rehearsal.worker import CLOCK_AHEAD_S

_STOP_GRACE_S: Final = 5.0


@contextmanager
def strips(bootstrap: str) -> Iterator[None]:
    """Runs for the time of the block; what it says goes to ``demo-strips.log`` beside the worker's."""
    told = {
        "WARDWATCH_KAFKA": bootstrap,
        "WARDWATCH_HTTP_PORT": "0",
        "WARDWATCH_CLOCK_AHEAD_S": str(CLOCK_AHEAD_S),
    }
    log = Path(os.environ.get("WARDWATCH_STATE", ".wardwatch")) / "demo-strips.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = children.start([sys.executable, "-m", "stream", "strips"], output=output, env=told)
        try:
            yield
        finally:
            children.stop(process, _STOP_GRACE_S)

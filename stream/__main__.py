"""``python -m stream <command>``."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

COMMANDS: Final = {
    "worker": "observe, decide, board: the service itself (settings come from the environment)",
    "replay": "send recordings as gateways would",
    "score": "the corridor over files, without a broker",
    "selftest": "patients who are nobody, for ever: their alarm must reach every sink once a minute",
    "strips": "the ECG around every alarm, frozen: one process for a site",
    "redrive": "what could not be used: counted by reason, and sent back once",
    "broker": "a local Kafka with all topics, until Ctrl-C",
    "topics": "create the topics that a broker lacks (WARDWATCH_KAFKA)",
    "catalogue": "the tables of topics, metrics, settings and reasons, as a page",
    "alarmtables": "write the tables of conditions, limits and signals into a page (docs/alarms.md)",
    "unit": "a unit's own alarm rules: a file to begin with, or a check of one",
    "burden": "alarms by bed and day, how soon they were answered, how many were true",
    "audit": "who did what to the alarms: is the record whole, and what does it say",
    "explain": "why an alarm was told, from the logs, and whether it comes out again to the byte",
    "whatif": "the alarms of the last days under other rules: gained and lost",
    "agp": "two weeks of a glucose monitor on one page, as a diabetes team reads it",
    "demo": "broker, worker, gateways and board together",
}


def main(argv: list[str]) -> int:
    """Run one command; each one's module is loaded only when it is asked for."""
    if not argv or argv[0] not in COMMANDS:
        wanted = "\n".join(f"  {name:11} {what}" for name, what in COMMANDS.items())
        print(f"usage: python -m stream <command>\n{wanted}", file=sys.stderr)
        return 0 if argv in (["-h"], ["--help"]) else 2
    if argv[0] == "worker":
        from stream import app  # noqa: PLC0415

        return app.main(os.environ)
    if argv[0] == "broker":
        from stream import broker  # noqa: PLC0415

        broker.serve()
        return 0
    if argv[0] == "topics":
        from stream import broker, config  # noqa: PLC0415

        with broker.open_broker(config.read(os.environ).kafka):
            return 0
    command = importlib.import_module(f"stream.{argv[0]}")
    status: int = command.main(argv[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

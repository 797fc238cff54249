"""``python -m stream selftest``: the patients who are nobody, sent to the service for ever; one process for a site.

It ends (1) when the broker does not take them, to be started again: their silence is what is listened for.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing, suppress

from kafka.errors import KafkaError

from stream import children, config
from stream.gateways import selftest
from stream.gateways.schedule import Due, Pace, in_order
from stream.gateways.sending import Sender, play
from vitals.clock import SystemClock
from vitals.errors import Fault


def main(argv: Sequence[str]) -> int:
    """0 when it was asked to end."""
    parser = argparse.ArgumentParser(prog="python -m stream selftest", description="the dead man's patients")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of theirs a second (for tests)")
    speed = parser.parse_args(argv).speed
    try:
        with (
            children.signals_as_interrupt() as stop,
            closing(Sender(config.read(os.environ).kafka)) as sender,
            suppress(KeyboardInterrupt),
        ):

            def send(due: Due) -> None:
                sender.send(due)
                sender.check()

            play(in_order(selftest.schedules(Pace(SystemClock().now_us(), speed))), send, stop)
    except (Fault, KafkaError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0

"""``python -m stream selftest``: the patients who are nobody, sent to the service for ever; one process for a site.

Its page of metrics says when the broker last confirmed one of their messages: what is confirmed here and does not come
out as an alarm was lost on the way, and what is not confirmed is the broker's fault.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final

from kafka.errors import KafkaError
from prometheus_client import start_http_server

from stream import children, config
from stream.gateways import selftest
from stream.gateways.schedule import Due, Pace, in_order
from stream.gateways.sending import Sender, play
from stream.metrics import Metrics
from vitals.clock import SystemClock
from vitals.errors import Fault

_AGAIN_S: Final = 1.0


def main(argv: Sequence[str]) -> int:
    """0 when it was asked to end, 2 for a setting or a port that cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m stream selftest", description="the dead man's patients")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of theirs a second (for tests)")
    speed = parser.parse_args(argv).speed
    metrics = Metrics(process="self-test")
    try:
        settings = config.read(os.environ)
        start_http_server(settings.http_port, settings.http_host, metrics.registry)
    except (config.SettingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with children.signals_as_interrupt() as stop, suppress(KeyboardInterrupt):
        while not stop.is_set():
            try:
                _send(settings.kafka, speed, metrics, stop)
            except (Fault, KafkaError) as error:
                sys.stderr.write(f"{error}\n")
                stop.wait(_AGAIN_S)
    return 0


def _send(kafka: str, speed: float, metrics: Metrics, stop: threading.Event) -> None:
    confirmed = metrics.gauge["wardwatch_self_test_confirmed_timestamp_seconds"]
    with closing(Sender(kafka, confirmed.set_to_current_time)) as sender:

        def send(due: Due) -> None:
            sender.send(due)
            sender.check()

        play(in_order(selftest.schedules(Pace(SystemClock().now_us(), speed))), send, stop)

"""``python -m stream audit``: is the record of who did what to the alarms as it was written, and what does it say.

Without an argument every chain of ``audit.v1`` is followed and its newest hash printed: kept elsewhere, ``--head``
shows later that the chain still goes through it. The journals of the model registry (``WARDWATCH_REGISTRY``), in which
promotions stand, are chains too and followed as well. ``--show`` lists the entries; they name staff and patients.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence

from kafka.errors import KafkaError

from models.registry import Registry, RegistryError
from stream import config
from stream.rehearsal.readback import records_since
from stream.topics import Topic
from vitals import codec
from vitals.audit import AuditEntry, verified
from vitals.clock import utc
from vitals.errors import Fault, Unusable
from vitals.findings import Task


def read_chains(bootstrap: str) -> tuple[dict[int, list[AuditEntry]], list[str]]:
    """The entries by partition, and what could not be read. Raises ``Fault`` when the log cannot be read to its end."""
    chains: dict[int, list[AuditEntry]] = defaultdict(list)
    wrong: list[str] = []
    for record in records_since(bootstrap, Topic.AUDIT, {}):
        try:
            entry = codec.decode(AuditEntry, record.value or b"")
        except Unusable:
            wrong.append(f"partition {record.partition}, offset {record.offset}: no entry")
            continue
        if entry.partition != record.partition:
            wrong.append(f"partition {record.partition}, offset {record.offset}: an entry of another chain")
        chains[record.partition].append(entry)
    return chains, wrong


def journal_breaks(registry: Registry) -> list[str]:
    """What is wrong with the journals of the models that were promoted. Raises ``RegistryError``."""
    return [
        f"journal of {task}, line {line}: what came before it was changed or left out"
        for task in Task
        for line in registry.journal_breaks(task)
    ]


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when every chain is whole, and goes through every hash that was named."""
    parser = argparse.ArgumentParser(prog="python -m stream audit", description=__doc__)
    parser.add_argument("--head", action="append", default=[], metavar="HASH", help="a hash that must be in a chain")
    parser.add_argument("--show", action="store_true", help="list the entries: names staff and patients")
    parser.add_argument("--kafka", help="broker, host:port (default: WARDWATCH_KAFKA)")
    asked = parser.parse_args(argv)
    try:
        settings = config.read(os.environ)
        chains, wrong = read_chains(asked.kafka or settings.kafka)
        if settings.registry.is_dir():
            wrong += journal_breaks(Registry(settings.registry))
    except (Fault, KafkaError, RegistryError, config.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for _, entries in sorted(chains.items()):
        wrong += verified(entries)
    known = {entry.hash for entries in chains.values() for entry in entries}
    wrong += [f"no chain goes through {head}" for head in asked.head if head not in known]
    for partition, entries in sorted(chains.items()):
        if asked.show:
            sys.stdout.writelines(f"{_line(entry)}\n" for entry in entries)
        sys.stdout.write(f"partition {partition}: {entries[-1].number} entries, head {entries[-1].hash}\n")
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


def _line(entry: AuditEntry) -> str:
    command = entry.command
    when = utc(command.when_us).isoformat(sep=" ", timespec="seconds")
    said = f" ({command.reason})" if command.reason else ""
    what = "; ".join(entry.told)
    return (
        f"{when} {command.who}, {command.role}: {command.action} {command.condition or ''} {command.patient}{said}"
        f" – {entry.outcome}{': ' if what else ''}{what}"
    )

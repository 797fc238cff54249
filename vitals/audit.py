"""Who asked what of the alarms, as a chain in which nothing can be changed, left out or put in between unseen.

There is one chain for each partition. An entry carries the hash of the one before it and its own, over everything it
says; a record that was read again after a crash makes the same entry again. Whoever keeps the newest hash elsewhere
(``python -m stream audit`` prints it) also sees when the end was cut off, or the whole chain made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec.structs import replace

from vitals.events import Command, Wire

BEGINNING: Final = ""
"""The hash before the first entry."""


class AuditEntry(Wire, frozen=True, tag="audit", tag_field="type"):
    """One command and what came of it. ``offset``: its place in ``commands.v1``; ``number``: from 1 on.

    ``outcome``: done, unchanged or refused. ``told``: what it changed, in words, with old and new where it was a limit;
    where it was refused, why. ``rules``: version of the rules and limits it was done under.

    Beside what was done stands where, so that the log can be lived through again as it was; a crash may change that, so
    the hash leaves it out. ``after``: offset of the last findings decided before it, -1 for none; ``passed_us``: how
    far time had been told to have passed.
    """

    partition: int
    number: int
    offset: int
    command: Command
    outcome: str
    told: list[str]
    rules: str
    after: int
    passed_us: int
    previous: str
    hash: str = ""


@dataclass(slots=True)
class Chain:
    """The newest end of the chain of one partition."""

    number: int = 0
    head: str = BEGINNING

    def extended(self, entry: AuditEntry) -> AuditEntry:
        """``entry`` as the next link."""
        self.number += 1
        linked = replace(entry, number=self.number, previous=self.head)
        linked = replace(linked, hash=hash_of(linked))
        self.head = linked.hash
        return linked


def hash_of(entry: AuditEntry) -> str:
    """Over everything that ``entry`` says was done, the hash before it included."""
    done = replace(entry, hash="", after=-1, passed_us=0)
    return blake2b(msgspec.msgpack.encode(done), digest_size=32).hexdigest()


def verified(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """What is wrong with the entries of one partition in the order of its log; nothing where all is as it was written.

    The first may be any: what lay before it has passed its retention.
    """
    heads: dict[int, str] = {}
    for entry in entries:
        at = f"partition {entry.partition}, entry {entry.number}"
        if hash_of(entry) != entry.hash:
            yield f"{at}: changed after it was written"
        before = heads.get(entry.number - 1)
        if heads.get(entry.number, entry.hash) != entry.hash:
            yield f"{at}: written twice, and not the same"
        elif heads and before is None and entry.number not in heads:
            yield f"{at}: what came before it is missing"
        elif before is not None and before != entry.previous:
            yield f"{at}: does not follow from the one before it"
        heads[entry.number] = entry.hash

"""State and its place in the log, written as one record and read back as the newest of an owner's.

Each assignment writes under an incarnation of its own: a process that was frozen and wakes up still sends its old
state, after the new owner's, and a compacted topic would keep the last one sent. Under keys of their own both are kept,
and the greater offset wins.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.publish import Message, message
from stream.topics import Topic
from vitals.events import Checkpoint


def incarnation(now_us: int) -> str:
    """A name that no other assignment has."""
    return f"{now_us // 1000}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the topic held for some partitions: the newest checkpoint of each owner, and the keys of all others."""

    newest: list[Checkpoint]
    outdated: list[Message]

    def of(self, stream: str, partitions: set[int]) -> Loaded:
        """The part that belongs to one half: owners are named ``stream/…``."""
        mine = [c for c in self.newest if c.owner.startswith(f"{stream}/") and c.partition in partitions]
        outdated = [m for m in self.outdated if m.key is not None and m.key.startswith(f"{stream}/".encode())]
        return Loaded(mine, [m for m in outdated if m.partition in partitions])


def newest(found: Iterable[tuple[bytes, Checkpoint]]) -> Loaded:
    """``found``: the last value of every key. ``outdated`` are tombstones for what a newer one replaces."""
    best: dict[str, tuple[bytes, Checkpoint]] = {}
    outdated: list[Message] = []
    for key, checkpoint in found:
        other = best.get(checkpoint.owner)
        if other is not None:
            loser = key if _progress(checkpoint) <= _progress(other[1]) else other[0]
            outdated.append(Message(Topic.CHECKPOINTS, None, loser, checkpoint.partition))
            if loser is key:
                continue
        best[checkpoint.owner] = (key, checkpoint)
    return Loaded([checkpoint for _, checkpoint in best.values()], outdated)


def _progress(checkpoint: Checkpoint) -> int:
    return sum(checkpoint.offsets.values())


@dataclass(slots=True)
class Owners:
    """Whose state has changed since it was saved, and how far each one's state reaches."""

    interval_us: int
    name: str = ""
    reached: dict[str, dict[str, int]] = field(default_factory=dict)
    partition: dict[str, int] = field(default_factory=dict)
    _dirty_since_us: dict[str, int] = field(default_factory=dict)

    def clear(self, name: str) -> None:
        """Forget everyone, and write under ``name`` from now on."""
        self.name = name
        self.reached.clear()
        self.partition.clear()
        self._dirty_since_us.clear()

    def restored(self, checkpoint: Checkpoint) -> None:
        """The state of this owner was taken back."""
        self.reached[checkpoint.owner] = dict(checkpoint.offsets)
        self.partition[checkpoint.owner] = checkpoint.partition

    def covers(self, owner: str, topic: str, offset: int) -> bool:
        """Whether this record is in the owner's state already."""
        return self.reached.get(owner, {}).get(topic, -1) >= offset

    def changed(self, owner: str, topic: str, partition: int, offset: int, now_us: int) -> None:
        """The owner's state now holds this record."""
        self.reached.setdefault(owner, {})[topic] = offset
        self.partition[owner] = partition
        self._dirty_since_us.setdefault(owner, now_us)

    def due(self, now_us: int) -> list[str]:
        """Owners whose oldest unsaved change is older than the interval."""
        return [owner for owner, since_us in self._dirty_since_us.items() if now_us - since_us >= self.interval_us]

    def checkpoint(self, owner: str, state: bytes) -> tuple[Checkpoint, Message]:
        """The record that saves ``state``; the owner counts as saved."""
        saved = Checkpoint(owner=owner, partition=self.partition[owner], offsets=dict(self.reached[owner]), state=state)
        self._dirty_since_us.pop(owner, None)
        key = f"{owner}/{self.name}".encode()
        return saved, message(Topic.CHECKPOINTS, saved, key=key, partition=saved.partition)

    def oldest_change_us(self) -> int | None:
        """Processing time of the oldest unsaved change."""
        return min(self._dirty_since_us.values(), default=None)

"""State and its place in the log, written as one record and read back as the newest of an owner's.

Each assignment writes under an incarnation of its own: a process that was frozen and wakes up still sends its old
state, after the new owner's, and a compacted topic would keep the last one sent. Under keys of their own both are kept,
and the greater offset wins.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

import msgspec

from stream.publish import Message, message
from stream.topics import Topic
from vitals.events import Checkpoint

PART_BYTES: Final = 2 * 1024 * 1024


def incarnation(now_us: int) -> str:
    """A name that no other assignment has."""
    return f"{now_us // 1000}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the topic held for some partitions: the newest checkpoint of each owner, the keys of all others, and the
    partitions of a half (its stream's name) in which something could not be read.
    """

    newest: list[Checkpoint] = field(default_factory=list)
    outdated: list[Message] = field(default_factory=list)
    lost: frozenset[tuple[str, int]] = frozenset()

    def of(self, stream: str, partitions: set[int]) -> Loaded:
        """The part that belongs to one half: owners are named ``stream/…``."""
        mine = [c for c in self.newest if c.owner.startswith(f"{stream}/") and c.partition in partitions]
        outdated = [m for m in self.outdated if m.key is not None and m.key.startswith(f"{stream}/".encode())]
        lost = frozenset((half, p) for half, p in self.lost if half == stream and p in partitions)
        return Loaded(mine, [m for m in outdated if m.partition in partitions], lost)


def newest(found: Iterable[tuple[bytes, Checkpoint]]) -> Loaded:
    """``found``: the last value of every key. ``outdated`` are tombstones for what a newer one replaces.

    Parts make a state only when all of them are there and of the same offsets.
    """
    saved: dict[str, dict[bytes, list[tuple[bytes, Checkpoint]]]] = {}
    for key, checkpoint in found:
        base = key if checkpoint.parts == 1 else key.rpartition(b"/")[0]
        saved.setdefault(checkpoint.owner, {}).setdefault(base, []).append((key, checkpoint))
    loaded = Loaded()
    for sets in saved.values():
        whole = {base: parts for base, parts in sets.items() if _is_whole(parts)}
        if not whole:
            continue
        best = max(whole, key=lambda base: _progress(whole[base][0][1]))
        loaded.newest.append(_joined([part for _, part in whole[best]]))
        for base, parts in sets.items():
            if base != best:
                loaded.outdated.extend(Message(Topic.CHECKPOINTS, None, key, part.partition) for key, part in parts)
    return loaded


def _is_whole(parts: list[tuple[bytes, Checkpoint]]) -> bool:
    first = parts[0][1]
    if len(parts) != first.parts:
        return False
    return all((part.offsets, part.parts) == (first.offsets, first.parts) for _, part in parts) and sorted(
        part.part for _, part in parts
    ) == list(range(first.parts))


def _joined(parts: list[Checkpoint]) -> Checkpoint:
    state = b"".join(part.state for part in sorted(parts, key=lambda part: part.part))
    return msgspec.structs.replace(parts[0], state=state, part=0, parts=1)


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
    _due_us: dict[str, int] = field(default_factory=dict)
    _turn: dict[str, int] = field(default_factory=dict)

    def clear(self, name: str) -> None:
        """Forget everyone, and write under ``name`` from now on."""
        self.name = name
        self.reached.clear()
        self.partition.clear()
        self._dirty_since_us.clear()
        self._due_us.clear()
        self._turn.clear()

    def restored(self, checkpoint: Checkpoint) -> None:
        """The state of this owner was taken back."""
        self.reached[checkpoint.owner] = dict(checkpoint.offsets)
        self.partition[checkpoint.owner] = checkpoint.partition

    def covers(self, owner: str, topic: str, offset: int) -> bool:
        """Whether this record is in the owner's state already."""
        return self.reached.get(owner, {}).get(topic, -1) >= offset

    def changed(self, owner: str, topic: str, partition: int, offset: int, now_us: int) -> None:
        """The owner's state now holds this record."""
        if owner not in self._dirty_since_us:
            self._dirty_since_us[owner] = now_us
            # The first time each at its own moment, so that a ward's owners are not all due at once for ever after.
            share = 1.0 if owner in self._due_us else crc32(owner.encode()) / 2**32
            self._due_us[owner] = now_us + round(share * self.interval_us)
        self.reached.setdefault(owner, {})[topic] = offset
        self.partition[owner] = partition

    def due(self, now_us: int) -> list[str]:
        """Owners whose oldest unsaved change is older than the interval, or than their share of the first one."""
        return [owner for owner in self._dirty_since_us if now_us >= self._due_us[owner]]

    def checkpoint(self, owner: str, state: bytes) -> tuple[Checkpoint, list[Message]]:
        """What saves ``state``, and the records it goes in; the owner counts as saved.

        Parts are written under two sets of keys by turns: while one is half overwritten the other is whole.
        """
        saved = Checkpoint(owner=owner, partition=self.partition[owner], offsets=dict(self.reached[owner]), state=state)
        self._dirty_since_us.pop(owner, None)
        key = f"{owner}/{self.name}"
        parts = max(1, -(-len(state) // PART_BYTES))
        if parts == 1:
            return saved, [message(Topic.CHECKPOINTS, saved, key=key.encode(), partition=saved.partition)]
        turn = self._turn[owner] = 1 - self._turn.get(owner, 1)
        return saved, [
            message(
                Topic.CHECKPOINTS,
                msgspec.structs.replace(
                    saved, state=state[part * PART_BYTES : (part + 1) * PART_BYTES], part=part, parts=parts
                ),
                key=f"{key}/{turn}/{part}".encode(),
                partition=saved.partition,
            )
            for part in range(parts)
        ]

    def oldest_change_us(self) -> int | None:
        """Processing time of the oldest unsaved change."""
        return min(self._dirty_since_us.values(), default=None)

"""What has been taken from the log and may not yet be acknowledged.

A record is released when its findings are confirmed and, where it changed somebody's state, when a checkpoint that
holds this state is confirmed too. Releases go strictly in the order of the partition: a commit is a promise about
everything before it, and one owner's checkpoint says nothing about another owner's records in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """One record between door and release. ``release`` acknowledges it."""

    topic: str
    partition: int
    offset: int
    release: Callable[[], object]
    owner: str | None = None
    processed: bool = False


@dataclass(slots=True)
class Ledger:
    """Entries by partition, in the order of the log."""

    _lines: dict[tuple[str, int], deque[Entry]] = field(default_factory=dict)
    _saved: dict[tuple[str, str], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def enter(self, entry: Entry) -> None:
        """A record was taken. Offsets of a partition must ascend."""
        line = self._lines.setdefault((entry.topic, entry.partition), deque())
        if line and line[-1].offset >= entry.offset:
            raise ValueError("offsets of a partition must ascend")
        line.append(entry)

    def processed(self, entries: Iterable[Entry], owners: Iterable[str | None]) -> None:
        """What came of these records is confirmed; ``owners``: whose state each one is in, None for nobody's."""
        for entry, owner in zip(entries, owners, strict=True):
            entry.owner = owner
            entry.processed = True

    def saved(self, owner: str, offsets: dict[str, int]) -> None:
        """A checkpoint of ``owner`` that holds everything up to ``offsets`` (topic to offset) is confirmed."""
        for topic, offset in offsets.items():
            self._saved[owner, topic] = offset

    def release(self) -> int:
        """Acknowledge from the head of every partition while nothing is owed. The number released."""
        released = 0
        for line in self._lines.values():
            while line and self._is_free(line[0]):
                line.popleft().release()
                released += 1
        return released

    def clear(self) -> None:
        """Forget everything: it will be read again."""
        self._lines.clear()
        self._saved.clear()

    def _is_free(self, entry: Entry) -> bool:
        if not entry.processed:
            return False
        return entry.owner is None or self._saved.get((entry.owner, entry.topic), -1) >= entry.offset

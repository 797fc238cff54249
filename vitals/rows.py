"""State of many patients as rows of one table: growing it, reusing rows, and saving some of them as bytes.

A row is one contiguous record, so that a patient's state sits in the cache together and a snapshot is one copy.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]

_HEADER: Final = np.dtype([("layout", "<u4"), ("rows", "<u4"), ("checksum", "<u4")])


class RowTable:
    """Rows of one structured dtype. ``blank`` is what a new row holds, ``name`` the kind of state.

    Fields from ``derived`` on are made of the others and stand last: a snapshot leaves them out.
    """

    def __init__(self, name: str, blank: npt.NDArray[np.void], derived: str | None = None) -> None:
        self._blank = blank.reshape(())
        self._saved: int = blank.dtype.itemsize if derived is None else blank.dtype.fields[derived][1]  # type: ignore[index]
        self._layout = crc32(repr((name, blank.dtype.descr, derived)).encode())
        self._free: list[int] = []
        self.data: npt.NDArray[np.void] = np.empty(0, blank.dtype)

    def add(self, n: int) -> Rows:
        """int32[n]: fresh rows."""
        missing = n - len(self._free)
        if missing > 0:
            self._grow(max(len(self.data) + missing, 2 * len(self.data)))
        rows = np.array([self._free.pop() for _ in range(n)], np.int32)
        self.data[rows] = self._blank
        return rows

    def free(self, rows: Rows) -> None:
        """Let rows be used again."""
        self._free.extend(reversed(rows.tolist()))

    def snapshot(self, rows: Rows) -> bytes:
        """The state of ``rows`` as bytes."""
        body = self._bytes()[rows, : self._saved].data
        return b"".join((np.array((self._layout, len(rows), crc32(body)), _HEADER).tobytes(), body))

    def rows_in(self, state: bytes) -> int:
        """How many rows this is a snapshot of. Raises ``ValueError`` for any other bytes."""
        n, rest = divmod(len(state) - _HEADER.itemsize, self._saved)
        if n < 0 or rest:
            raise ValueError("not a snapshot of this state")
        header: Any = np.frombuffer(state, _HEADER, 1)[0]
        body = memoryview(state)[_HEADER.itemsize :]
        if header["layout"] != self._layout or header["rows"] != n or header["checksum"] != crc32(body):
            raise ValueError("a snapshot of another version, or a damaged one")
        return n

    def size(self, n: int) -> int:
        """Bytes of a snapshot of ``n`` rows."""
        return _HEADER.itemsize + n * self._saved

    def restore(self, rows: Rows, state: bytes) -> None:
        """Put a snapshot of as many rows into ``rows``. Raises ``ValueError`` for any other bytes."""
        if self.rows_in(state) != len(rows):
            raise ValueError("not a snapshot of so many rows")
        body = memoryview(state)[_HEADER.itemsize :]
        self._bytes()[rows, : self._saved] = np.frombuffer(body, np.uint8).reshape(len(rows), self._saved)

    def _bytes(self) -> npt.NDArray[np.uint8]:
        return self.data.view(np.uint8).reshape(len(self.data), self.data.dtype.itemsize)

    def _grow(self, size: int) -> None:
        grown = np.full(size, self._blank)
        grown[: len(self.data)] = self.data
        self._free[:0] = range(size - 1, len(self.data) - 1, -1)
        self.data = grown

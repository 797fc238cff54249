"""Which patient lives in which row of the arrays, owner by owner.

An owner is what is saved and restored as one: a gateway for the ECG, one partition's share of a stream otherwise.
The same patient under two owners has two rows: two devices, two signals. ``source`` tells them apart from here on, and
the decide half follows one of them (``vitals/sources.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]

NO_ROW = -1


class RowState(Protocol):
    """State of many patients as arrays over rows (``EcgWindows``, ``GlucoseWindows``)."""

    def add(self, n: int) -> Rows: ...
    def free(self, rows: Rows) -> None: ...
    def snapshot(self, rows: Rows) -> bytes: ...
    def rows_in(self, state: bytes) -> int: ...
    def restore(self, rows: Rows, state: bytes) -> None: ...


class _Saved(msgspec.Struct, array_like=True):
    patients: list[str]
    state: bytes


class _Owner:
    __slots__ = ("last_patients", "last_rows", "rows", "source")

    def __init__(self, name: str) -> None:
        self.source = crc32(name.encode()) or 1
        self.rows: dict[str, int] = {}
        self.last_patients: Sequence[str] = ()
        self.last_rows: Rows = np.empty(0, np.int32)


class PatientRows:
    """Rows of ``state`` by owner and patient id; knows the name and the findings partition of each row."""

    def __init__(self, state: RowState, *, max_patients: int, partitions: int) -> None:
        self._state = state
        self._max_patients = max_patients
        self._partitions = partitions
        self._owners: dict[str, _Owner] = {}
        self.count = 0
        self.names: list[str] = []
        self.partition: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.salt: npt.NDArray[np.uint32] = np.empty(0, np.uint32)
        self.source: npt.NDArray[np.uint32] = np.empty(0, np.uint32)

    def rows_of(self, owner: str, patients: Sequence[str]) -> Rows:
        """int32[n]: the row of each patient, made when new; ``NO_ROW`` where the worker carries no more."""
        own = self._owners.get(owner)
        if own is None:
            own = self._owners[owner] = _Owner(owner)
        if patients == own.last_patients:
            return own.last_rows
        room = max(0, self._max_patients - self.count)
        fresh = [p for p in dict.fromkeys(patients) if p not in own.rows][:room]
        if fresh:
            self._enter(own, fresh)
        rows = np.array([own.rows.get(p, NO_ROW) for p in patients], np.int32)
        own.last_patients, own.last_rows = patients, rows
        return rows

    def snapshot(self, owner: str) -> bytes:
        """State of every patient of ``owner``."""
        own = self._owners[owner]
        rows = np.fromiter(own.rows.values(), np.int32, len(own.rows))
        return msgspec.msgpack.encode(_Saved(list(own.rows), self._state.snapshot(rows)))

    def restore(self, owner: str, saved: bytes) -> None:
        """Take ``owner`` back from a snapshot. Raises ``ValueError`` when it is of another version or corrupt."""
        try:
            was = msgspec.msgpack.decode(saved, type=_Saved)
        except msgspec.DecodeError as error:
            raise ValueError("not a snapshot of patients") from error
        if len(set(was.patients)) != self._state.rows_in(was.state) or len(set(was.patients)) != len(was.patients):
            raise ValueError("a snapshot whose patients do not fit its state")
        if owner in self._owners:
            self._leave(owner)
        own = self._owners[owner] = _Owner(owner)
        self._enter(own, was.patients)
        self._state.restore(np.fromiter(own.rows.values(), np.int32, len(own.rows)), was.state)

    def forget(self) -> None:
        """Let every owner go."""
        for owner in list(self._owners):
            self._leave(owner)

    def _leave(self, owner: str) -> None:
        own = self._owners.pop(owner)
        self._state.free(np.fromiter(own.rows.values(), np.int32, len(own.rows)))
        self.count -= len(own.rows)

    def _enter(self, own: _Owner, patients: Sequence[str]) -> None:
        rows = self._state.add(len(patients))
        top = int(rows.max(initial=-1)) + 1
        if top > len(self.names):
            grown = max(top, 2 * len(self.names))
            self.names.extend([""] * (grown - len(self.names)))
            self.partition = _grown(self.partition, grown)
            self.salt = _grown(self.salt, grown)
            self.source = _grown(self.source, grown)
        for patient, row in zip(patients, rows.tolist(), strict=True):
            own.rows[patient] = row
            self.names[row] = patient
            self.salt[row] = crc32(patient.encode())
            self.partition[row] = self.salt[row] % self._partitions
            self.source[row] = own.source
        self.count += len(patients)


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    grown = np.zeros(size, array.dtype)
    grown[: len(array)] = array
    return grown

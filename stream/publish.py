"""Findings, risks, alerts, archives and dead letters on their way to the topics: aggregated per target partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stream.topics import Topic
from vitals import codec
from vitals.events import Wire


@dataclass(frozen=True, slots=True)
class Message:
    """One record to be written. ``partition`` None leaves the choice to the key."""

    topic: Topic
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Outbox(Protocol):
    """Where messages leave. Implemented on Faust's producer at the door, and in memory offline."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Returns when the broker has confirmed every one of them. Raises ``Fault``: the worker stops."""


def message(topic: Topic, event: Wire, *, key: bytes | None = None, partition: int | None = None) -> Message:
    """``event`` as MessagePack."""
    return Message(topic, codec.encode(event), key, partition)


@dataclass(frozen=True, slots=True)
class Split:
    """The part of a table of patients that goes to one partition."""

    partition: int
    index: npt.NDArray[np.intp]  # rows of the table, in order
    unique: npt.NDArray[np.int32]  # the patient rows in it
    patients: list[str]  # their names
    row: list[int]  # for each row of the table, its place among them


def split(rows: npt.NDArray[np.int32], partition_of_row: npt.NDArray[np.int32], names: Sequence[str]) -> list[Split]:
    """A table of patients by findings partition. ``rows``: int32[n], the patient row of each line."""
    parts: list[Split] = []
    partition = partition_of_row[rows]
    order = np.argsort(partition, kind="stable")
    for index in np.split(order, np.flatnonzero(np.diff(partition[order])) + 1):
        if not len(index):
            continue
        unique, place = np.unique(rows[index], return_inverse=True)
        patients = [names[r] for r in unique.tolist()]
        parts.append(Split(int(partition[index[0]]), index, unique, patients, place.tolist()))
    return parts

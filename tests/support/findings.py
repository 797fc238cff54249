"""Findings by identity: what the laws speak of, whatever messages they came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from vitals import codec
from vitals.findings import FindingBatch, Findings

Identity = tuple[str, str, str, int]


def each(batches: Iterable[FindingBatch]) -> Iterator[tuple[Identity, dict[str, object]]]:
    """Every finding: its name, and what it says by field."""
    for batch in batches:
        for i in range(len(batch)):
            identity = (batch.patients[batch.row[i]], batch.task.value, batch.spec, batch.end_us[i])
            yield (
                identity,
                {
                    "model": batch.model,
                    "engine": batch.engine,
                    "known_us": batch.known_us[i],
                    "input_ms": batch.input_ms[i],
                    "verdict": batch.verdict[i],
                    "values": {name: batch.values[c][i] for c, name in enumerate(batch.columns)},
                    "ref": batch.ref[i] if batch.ref else "",
                },
            )


def by_identity(batches: Iterable[FindingBatch], *, leave_out: frozenset[str] = frozenset()) -> dict[Identity, bytes]:
    """Each finding's bytes under (patient, task, spec, end). Raises ``AssertionError`` where two of one name differ.

    ``leave_out``: fields that may differ (``input_ms`` between two runs with other arrival times).
    """
    found: dict[Identity, bytes] = {}
    for identity, fields in each(batches):
        content = msgspec.msgpack.encode({k: v for k, v in fields.items() if k not in leave_out})
        other = found.setdefault(identity, content)
        assert other == content, f"two findings of one name: {_difference(other, content)}"
    return found


def _difference(one: bytes, other: bytes) -> str:
    a, b = msgspec.msgpack.decode(one), msgspec.msgpack.decode(other)
    return ", ".join(f"{name}: {a[name]} and {b[name]}" for name in a if a[name] != b[name])


def decoded(values: Iterable[bytes | None]) -> list[FindingBatch]:
    """The tables in the values of ``findings.v1``."""
    return [table for value in values for table in codec.decode(Findings, value or b"").tables]

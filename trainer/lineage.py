"""Which people a released bundle has learnt from: the dataset it was trained on, and those of the bundles whose weights
it began from. Remembered here for as long as the state folder lives, since ancestors leave the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from vitals.findings import Task

_FOLDER: Final = "lineage"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """``dataset``: its hash; ``began_from``: the bundle whose weights were trained on, empty for fresh ones."""

    dataset: str
    began_from: str


def origins(state: Path, task: Task) -> dict[str, Origin]:
    """Of every bundle of ``task`` that was released here."""
    path = _path(state, task)
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Origin]) if path.exists() else {}


def note(state: Path, task: Task, bundle: str, origin: Origin) -> None:
    """Remembers where ``bundle`` comes from."""
    path = _path(state, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp")
    staged.write_bytes(msgspec.json.encode(origins(state, task) | {bundle: origin}))
    staged.replace(path)


def learnt_from(bundle: str, known: Mapping[str, Origin]) -> Iterator[str]:
    """Hashes of all the datasets that the weights of ``bundle`` have seen, its own first."""
    seen: set[str] = set()
    while bundle in known and bundle not in seen:
        seen.add(bundle)
        yield known[bundle].dataset
        bundle = known[bundle].began_from


def _path(state: Path, task: Task) -> Path:
    return state / _FOLDER / f"{task}.json"

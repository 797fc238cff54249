"""People who asked to be forgotten, by pseudonym: what the topics still hold of them is left out of every dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

_FILE: Final = "erased.json"


def people(state: Path) -> frozenset[str]:
    """Names as they stand in datasets."""
    path = state / _FILE
    return msgspec.json.decode(path.read_bytes(), type=frozenset[str]) if path.exists() else frozenset()


def note(state: Path, names: Iterable[str]) -> None:
    """Adds ``names``, for ever."""
    path = state / _FILE
    staged = path.with_suffix(".tmp")
    staged.write_bytes(msgspec.json.encode(sorted(people(state).union(names))))
    staged.replace(path)

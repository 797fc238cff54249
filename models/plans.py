"""TensorRT plans on disk, each named by what it was built from. A plan fits one GPU model and one TensorRT version.

    <folder>/<key>.plan     the plan
    <folder>/<key>.json     what it was built from, its hash, and the parity that let it in; written last

A plan is machine code: one whose bytes are not those that were stored is never handed to TensorRT.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

_FORMAT: Final = 1


class PlanKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decides a plan. ``device``: the GPU's own name. ``sizes``: rows of each optimisation profile."""

    device: str
    tensorrt: str
    onnx_sha256: str
    sizes: tuple[int, ...]
    format: int = _FORMAT

    @property
    def stem(self) -> str:
        """The name of its files, without suffix."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]


class PlanRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file beside a plan, for people and for the check. ``parity``: the table of the comparison it passed."""

    key: PlanKey
    sha256: str
    bundle: str
    file: str
    parity: str


def stored(folder: Path, record: PlanRecord, plan: bytes) -> Path:
    """Writes ``plan`` and its record so that a reader sees both whole or neither. Returns the path of the plan."""
    replace(folder / f"{record.key.stem}.plan", plan)
    replace(folder / f"{record.key.stem}.json", msgspec.json.format(msgspec.json.encode(record), indent=2))
    return folder / f"{record.key.stem}.plan"


def found(folder: Path, key: PlanKey) -> bytes | None:
    """The plan built from ``key``; None when there is none, or when its bytes are not the ones that were stored."""
    try:
        record = msgspec.json.decode((folder / f"{key.stem}.json").read_bytes(), type=PlanRecord)
        plan = (folder / f"{key.stem}.plan").read_bytes()
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return plan if record.key == key and record.sha256 == hashlib.sha256(plan).hexdigest() else None


def replace(path: Path, content: bytes) -> None:
    """Puts ``content`` where ``path`` says, whole, whoever reads or writes there meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)

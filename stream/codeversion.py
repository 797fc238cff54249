"""Which code decides here: a hash over all of ``vitals`` and over the files of ``stream`` that decide.

Not the version of the package: nobody has to remember to raise this one, and an alarm of a copy that somebody has
patched does not pass for one of the release. The packages of others (numpy, numba) are not in it.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Final

from vitals import kernels

DECIDING: Final = ("alerting", "bedside", "bedsnapshot", "reading")
"""Modules of ``stream`` between a finding and the steps of its alarm; a test holds this to what they import."""


def _code() -> str:
    digest = blake2b(kernels.SOURCES.encode(), digest_size=6)
    for name in DECIDING:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


CODE: Final = _code()
"""Twelve hex digits that differ between any two states of that code."""

"""Who is who in what the trainer stores: a name by a keyed hash, and a calendar of one's own.

Without the key nobody can try patient ids until one fits. It lies in the state folder, readable by its owner alone, and
must be kept as long as the stored datasets: with a new key the same patients get new names, may change sides, and can
no longer be found to be erased.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from vitals.units import US_PER_S

_FILE: Final = "pseudonyms.key"
_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600
_NAME_DIGITS: Final = 16
_LONGEST_SHIFT_S: Final = 365 * 86_400


class Pseudonyms:
    """The names and the shifts under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name(self, patient: str) -> str:
        """16 hexadecimal digits that stand for ``patient``."""
        return self._mac("name", patient).hex()[:_NAME_DIGITS]

    def shift_us(self, patient: str) -> int:
        """What is added to every time of ``patient``: whole seconds, up to a year into the past; intervals survive."""
        return -(1 + int.from_bytes(self._mac("time", patient)[:8]) % _LONGEST_SHIFT_S) * US_PER_S

    def _mac(self, purpose: str, patient: str) -> bytes:
        return hmac.new(self._key, f"{purpose}\0{patient}".encode(), hashlib.sha256).digest()


def kept_in(state: Path) -> Pseudonyms:
    """Those under the key in ``state``, which is made at the first time."""
    path = state / _FILE
    if not path.exists():
        state.mkdir(parents=True, exist_ok=True)
        staged = state / f".{_FILE}.{os.getpid()}"
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    path.chmod(_OWNER_ONLY)  # a volume may have been opened to its group when it was mounted
    return Pseudonyms(path.read_bytes())

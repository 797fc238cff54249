"""Who may do what at a bed. Whoever sees the board may read; to change what an alarm does takes a role that may.

A name and a role are as true as the log-in in front of the board makes them (docs/alarms.md): Wardwatch checks what a
role may do, both where it is asked for and where it is decided, and writes down who did it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, get_args, get_type_hints

from vitals.events import Command

ACTIONS: Final[tuple[str, ...]] = get_args(get_type_hints(Command)["action"])
"""Everything that can be asked of the alarms of a patient."""


class Role(enum.StrEnum):
    """Who people are at the board."""

    NURSE = "nurse"
    PHYSICIAN = "physician"
    TECHNICIAN = "technician"
    OTHER = "other"


MAY: Final[Mapping[Role, frozenset[str]]] = {
    Role.NURSE: frozenset(ACTIONS),
    Role.PHYSICIAN: frozenset(ACTIONS),
    Role.TECHNICIAN: frozenset({"resume", "admit"}),  # nothing that silences, and nothing that lets a patient go
    Role.OTHER: frozenset(),
}
"""As Wardwatch comes; a unit may say otherwise in its file (``vitals/unit.py``)."""


def may(role: str, action: str, table: Mapping[Role, frozenset[str]]) -> bool:
    """Whether ``role`` may do ``action``; a role that is not in ``table`` may nothing."""
    return any(role == known and action in allowed for known, allowed in table.items())

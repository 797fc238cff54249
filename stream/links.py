"""The way from a notification to its alarm on the board. The id of an alarm is a hash: a link names nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

ALARM_PATH: Final = "/alarm/"


@dataclass(frozen=True, slots=True)
class Links:
    """``board``: http(s)://host[:port][/path] as people reach it, empty where nothing links to it.

    Raises ``ValueError`` for an address that is none.
    """

    board: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.board)
        is_plain = parts.username is None and not parts.query and not parts.fragment
        if self.board and not (parts.scheme in {"http", "https"} and parts.hostname and is_plain):
            raise ValueError("the board's address is not http(s)://host[:port][/path]")

    def to(self, alert_id: str) -> str:
        """Where the board shows this alarm; empty where there is no link."""
        return f"{self.board.rstrip('/')}{ALARM_PATH}{alert_id}" if self.board else ""


NO_LINKS: Final = Links()

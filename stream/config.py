"""Settings: read once from the environment at the composition root, checked, and handed on as values."""

from __future__ import annotations

import enum
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from models.signing import Trust
from vitals.unit import FACTORY, Unit, UnitError
from vitals.unit import read as read_unit

_PREFIX: Final = "WARDWATCH_"


class Role(enum.StrEnum):
    """Which halves a process runs."""

    ALL = "all"
    OBSERVE = "observe"
    DECIDE = "decide"
    BOARD = "board"
    SHADOW = "shadow"  # decides under rules that are only tried: docs/alarms.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table: where a field comes from and what it may be."""

    field: str
    meaning: str
    default: str
    lower: float | None = None
    upper: float | None = None

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return _PREFIX + self.field.upper()


TABLE: Final = (
    Setting(field="kafka", meaning="broker addresses, host:port[,host:port]", default="127.0.0.1:9092"),
    Setting(field="role", meaning="all, observe, decide, board or shadow", default="all"),
    Setting(field="worker_id", meaning="stable name of this process (static membership)", default=""),
    Setting(field="http_host", meaning="address of board, /metrics and /health", default="127.0.0.1"),
    Setting(field="http_port", meaning="port of board, /metrics and /health", default="8080", lower=0, upper=65535),
    Setting(field="state", meaning="folder for working files", default=".wardwatch"),
    Setting(field="registry", meaning="folder of the model registry (default: in state)", default=""),
    Setting(
        field="trusted_keys",
        meaning="file of the public keys whose bundles may serve, empty: everybody's whose hash is right",
        default="",
    ),
    Setting(
        field="model_shadow_s",
        meaning="seconds that a release is asked beside the model that serves, before it serves",
        default="30",
        lower=0,
        upper=86_400,
    ),
    Setting(
        field="model_probation_s",
        meaning="seconds from then on in which its predecessor is kept open and comes back by itself",
        default="60",
        lower=0,
        upper=86_400,
    ),
    Setting(
        field="unit", meaning="file of the unit's own alarm rules (docs/alarms.md), empty: the factory's", default=""
    ),
    Setting(field="max_patients", meaning="patients one worker carries", default="20000", lower=1, upper=1_000_000),
    Setting(field="checkpoint_s", meaning="seconds between checkpoints", default="4", lower=0.1, upper=60),
    Setting(
        field="clock_ahead_s",
        meaning="how far ahead of arrival an event time may be",
        default="60",
        lower=1,
        upper=86_400,
    ),
    Setting(field="archive_share", meaning="share of windows archived for training", default="0.02", lower=0, upper=1),
    Setting(field="stalled_s", meaning="seconds without progress before the worker ends", default="16", lower=5),
    Setting(
        field="dead_letter_share",
        meaning="share of a minute's records, dead-lettered, that stops the line",
        default="0.5",
        lower=0,
        upper=1,
    ),
    Setting(field="images", meaning="address prefixes images may be fetched from, comma between them", default=""),
    Setting(
        field="board_url",
        meaning="address of the board as people reach it, for links to alarms in notifications; empty: no links",
        default="",
    ),
    Setting(field="alertmanager", meaning="Alertmanager address for clinical alarms, empty: none", default=""),
    Setting(field="webhook", meaning="webhook address for clinical alarms, empty: none", default=""),
    Setting(field="webhook_secret", meaning="key that signs webhook bodies", default=""),
    Setting(
        field="webhook_patient",
        meaning="1: webhook bodies name the patient; 0: nobody is named",
        default="0",
        lower=0,
        upper=1,
    ),
    Setting(
        field="mail",
        meaning="mail server for calls, smtp[+starttls]://host[:port] or smtps://, empty: none",
        default="",
    ),
    Setting(field="mail_from", meaning="sender of calls by mail", default=""),
    Setting(field="mail_to", meaning="receivers of calls by mail, comma between them", default=""),
    Setting(field="mail_user", meaning="user at the mail server, empty: no log-in", default=""),
    Setting(field="mail_secret", meaning="password at the mail server", default=""),
)


class SettingError(ValueError):
    """A setting is outside its bounds. The message names the variable and never its value where it is a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the stream can be told from outside."""

    kafka: str
    role: Role
    worker_id: str
    http_host: str
    http_port: int
    state: Path
    registry: Path
    trusted_keys: str
    model_shadow_s: float
    model_probation_s: float
    unit: str
    max_patients: int
    checkpoint_s: float
    clock_ahead_s: float
    archive_share: float
    stalled_s: float
    dead_letter_share: float
    images: str
    board_url: str
    alertmanager: str
    webhook: str
    webhook_secret: str
    webhook_patient: int
    mail: str
    mail_from: str
    mail_to: str
    mail_user: str
    mail_secret: str

    def __repr__(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if "secret" not in f.name)
        return f"Settings({', '.join(shown)})"


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from ``environment``. Raises ``SettingError`` for a value out of bounds or an unknown variable."""
    rows = {row.field: row for row in TABLE}
    known = {row.variable for row in TABLE} | {_PREFIX + "DATA"}
    for name in environment:
        if name.startswith(_PREFIX) and name not in known:
            raise SettingError(f"{name} is not a setting")
    kinds: dict[str, Any] = {f.name: f.type for f in fields(Settings)}
    values: dict[str, Any] = {
        name: _parse(row, kinds[name], environment.get(row.variable, row.default)) for name, row in rows.items()
    }
    values["worker_id"] = values["worker_id"] or socket.gethostname()
    if values["registry"] == Path():
        values["registry"] = values["state"] / "registry"
    settings = Settings(**values)
    if settings.stalled_s < 2 * settings.checkpoint_s:
        # nothing is acknowledged between two checkpoints
        raise SettingError("WARDWATCH_STALLED_S must be at least twice WARDWATCH_CHECKPOINT_S")
    return settings


def unit_in(path: str) -> Unit:
    """The unit's rules in a file, the factory's where none is named.

    Raises ``OSError``, or ``UnitError`` with all that is wrong in the file and where.
    """
    if not path:
        return FACTORY
    try:
        return read_unit(Path(path).read_text())
    except ValueError as error:
        raise UnitError(f"{path}:\n{error}") from None


def trust_in(path: str) -> Trust:
    """The keys in a file, none where none is named. Raises ``KeyRefused``."""
    return Trust.read(Path(path)) if path else Trust()


def _parse(row: Setting, kind: str, text: str) -> object:
    try:
        if kind == "Role":
            return Role(text)
        if kind == "Path":
            return Path(text)
        if kind not in {"int", "float"}:
            return text
        number = int(text) if kind == "int" else float(text)
    except ValueError:
        raise SettingError(f"{row.variable} is not {row.meaning}") from None
    if (row.lower is not None and not number >= row.lower) or (row.upper is not None and not number <= row.upper):
        raise SettingError(f"{row.variable} must lie between {row.lower} and {row.upper}")
    return number

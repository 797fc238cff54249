"""When to train again: when enough time has passed, or when enough new labels have come. One state file remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from trainer.config import LABELS_TOPIC
from trainer.corpus.archive import record_count
from vitals.findings import Task
from vitals.units import US_PER_S

_FOLDER: Final = "triggers"


class LastTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What stood when a task last took its turn. ``labels``: records that the label topic had ever taken."""

    began_us: int = 0
    labels: int = 0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """``every_s``: at least so often. ``new_labels``: sooner, after so many new labels (0: time alone)."""

    every_s: float
    new_labels: int = 0


def due(policy: Policy, last: LastTurn, *, now_us: int, labels: int) -> str | None:
    """Why it is time, None when it is not."""
    waited_s = (now_us - last.began_us) / US_PER_S
    if waited_s >= policy.every_s:
        return "never trained here" if last.began_us == 0 else f"{waited_s / 3600:.1f} h since the last turn"
    fresh = labels - last.labels
    if policy.new_labels and fresh >= policy.new_labels:
        return f"{fresh} new labels"
    return None


def last_turn(state: Path, task: Task) -> LastTurn:
    """What was noted at the last turn of ``task``; a file that cannot be read counts as none."""
    try:
        return msgspec.json.decode((state / _FOLDER / f"{task}.json").read_bytes(), type=LastTurn)
    except (OSError, msgspec.DecodeError):
        return LastTurn()


def note_turn(state: Path, task: Task, turn: LastTurn) -> None:
    """Remembers a turn, taken or failed: a corpus that cannot be trained on must not be tried every minute."""
    path = state / _FOLDER / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp")
    staged.write_bytes(msgspec.json.encode(turn))
    staged.replace(path)


def labels_so_far(kafka: str | None) -> int:
    """Labels that the broker has ever taken, 0 without a broker. Raises ``Fault``."""
    return 0 if kafka is None else record_count(kafka, LABELS_TOPIC)

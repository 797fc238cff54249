"""What two models said of the same live windows (``challenges.v1``), and what people said of these (``labels.v1``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.corpus.archive import array
from trainer.corpus.log import UNREADABLE, records
from vitals.events import Label, PairedAnswers
from vitals.findings import Task

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class PairedWindow:
    """One window. ``said_by_…``: float[columns]."""

    patient: str = field(repr=False)
    end_us: int
    champion: str
    challenger: str
    columns: list[str]
    said_by_champion: Floats
    said_by_challenger: Floats


def paired_windows(bootstrap: str, task: Task, topic: str, left_out: Counter[str]) -> list[PairedWindow]:
    """Every window of ``task`` that two models were asked about, each once for those two. Raises ``Fault``."""
    found: dict[tuple[str, str, str, int], PairedWindow] = {}
    for batch in records(bootstrap, topic, PairedAnswers, left_out):
        if batch.task != task:
            continue
        try:
            champion, challenger = array(batch.said_by_champion), array(batch.said_by_challenger)
            for i, (patient, end_us) in enumerate(zip(batch.patients, batch.end_us, strict=True)):
                said = champion[i].astype(float), challenger[i].astype(float)
                window = PairedWindow(patient, end_us, batch.champion, batch.challenger, batch.columns, *said)
                found.setdefault((batch.champion, batch.challenger, patient, end_us), window)
        except (ValueError, IndexError):
            left_out[UNREADABLE] += 1
    return list(found.values())


def newest_labels(
    bootstrap: str, task: Task, topic: str, left_out: Counter[str]
) -> Mapping[tuple[str, int], tuple[int, str]]:
    """When it was said, and what, by (patient, end of the window): of two words the later one. Raises ``Fault``."""
    newest: dict[tuple[str, int], tuple[int, str]] = {}
    for label in records(bootstrap, topic, Label, left_out):
        name = (label.patient, label.end_us)
        if label.task == task and label.when_us >= newest.get(name, (0, ""))[0]:
            newest[name] = (label.when_us, label.value)
    return newest

"""What serving saw and what people said of it: ``windows.v1`` and ``labels.v1``, joined.

Archived windows are the network's own inputs, to the bit. They need no cutting, only a label. A label of a window is
joined on (patient, task, end time). What a clinician said of an alarm reaches the windows that the alarm came from, and
no others, by the table in ``trainer/labels.py``. A label that was given before its window ended is refused: nobody can
have seen what it speaks of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.corpus.log import UNREADABLE, records
from trainer.labels import OF_ALARM
from vitals.conditions import Condition
from vitals.events import Label, Tensor, WindowArchive
from vitals.findings import Task

TOO_EARLY: Final = "label given before its window ended"
NO_CLASS: Final = "judged alarm that names no class"

_LOGITS: Final = "logits"

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class ArchivedWindow:
    """One window as it was scored. ``inputs``: named tensors without the batch axis.

    ``called``: the class that the serving model held most likely, None for a forecast.
    """

    patient: str = field(repr=False)
    end_us: int
    spec: str
    inputs: dict[str, Array] = field(repr=False)
    called: int | None = None


@dataclass(slots=True)
class Archive:
    """The archive of one task. ``label``: the word that counts per (patient, end time); ``excluded``: by reason."""

    windows: list[ArchivedWindow] = field(default_factory=list, repr=False)
    label: dict[tuple[str, int], str] = field(default_factory=dict, repr=False)
    excluded: Counter[str] = field(default_factory=Counter)


def archive(bootstrap: str, task: Task, windows_topic: str, labels_topic: str) -> Archive:
    """Everything of ``task`` that the two topics hold now. Raises ``Fault`` when the broker cannot be read.

    A window that was archived twice (a replay) is taken once. Of two labels of one window the later one counts, and
    one of the window itself before one of an alarm.
    """
    made = Archive()
    seen: set[tuple[str, int]] = set()
    for batch in records(bootstrap, windows_topic, WindowArchive, made.excluded):
        if batch.task != task:
            continue
        try:
            windows = _windows(batch)
        except (ValueError, IndexError):
            made.excluded[UNREADABLE] += 1
            continue
        for window in windows:
            if (window.patient, window.end_us) not in seen:
                seen.add((window.patient, window.end_us))
                made.windows.append(window)
    labels = list(records(bootstrap, labels_topic, Label, made.excluded))
    join(made, task, labels)
    return made


def join(made: Archive, task: Task, labels: list[Label]) -> None:
    """Gives the windows of ``made`` their words, in the order in which they were said."""
    of_patient: dict[str, list[ArchivedWindow]] = defaultdict(list)
    for window in made.windows:
        of_patient[window.patient].append(window)
    timely = []
    for label in sorted(labels, key=lambda one: one.when_us):
        if not concerns(label, task):
            continue
        if label.when_us < label.end_us:
            made.excluded[TOO_EARLY] += 1
            continue
        timely.append(label)
    for label in timely:
        if label.alert_id is None:
            continue
        behind = OF_ALARM[Condition(label.task)]
        word = behind.word(label.value)
        if word is None:
            made.excluded[NO_CLASS] += 1
            continue
        for window in of_patient[label.patient]:
            if behind.covers(window.end_us, label.end_us) and behind.called in (None, window.called):
                made.label[window.patient, window.end_us] = word
    for label in timely:
        if label.alert_id is None:
            made.label[label.patient, label.end_us] = label.value


def array(tensor: Tensor) -> Array:
    """The array of a tensor on the wire. Raises ``ValueError`` when shape and bytes do not fit."""
    little: Array = np.frombuffer(tensor.data, dtype=np.dtype(tensor.dtype).newbyteorder("<"))
    return little.astype(tensor.dtype).reshape(tensor.shape)


def concerns(label: Label, task: Task) -> bool:
    """Whether ``label`` is of a window of ``task``, or of an alarm whose judgement says something of such windows."""
    if label.alert_id is None:
        return label.task == task
    return label.task in OF_ALARM and OF_ALARM[Condition(label.task)].task is task


def _windows(batch: WindowArchive) -> list[ArchivedWindow]:
    tensors = {name: array(tensor) for name, tensor in batch.inputs.items()}
    called = array(batch.outputs[_LOGITS]).argmax(axis=1) if _LOGITS in batch.outputs else None
    return [
        ArchivedWindow(
            patient,
            end_us,
            batch.spec,
            {name: tensor[i] for name, tensor in tensors.items()},
            None if called is None else int(called[i]),
        )
        for i, (patient, end_us) in enumerate(zip(batch.patients, batch.end_us, strict=True))
    ]

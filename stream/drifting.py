"""Drift on its way out: what a bed's signal path noticed of itself, and what the answers of a task come to, as notices.

A bed's notices follow from its signal alone, and a replay writes the same ones. A ward's are made from what this worker
scored since it began, in the order in which it did: they begin anew with it, and say nothing for the first hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from stream.scoring import Ward
from vitals.conditions import Condition
from vitals.drift import evidence
from vitals.drift.answers import Answers
from vitals.drift.changes import Changes
from vitals.events import JUDGEMENTS, DriftKind, DriftNotice, Label
from vitals.findings import Task
from vitals.selftest import is_self_test

Stream = Literal["ecg", "glucose", "imaging"]

KINDS: Final[Mapping[Stream, tuple[DriftKind, ...]]] = {
    "ecg": evidence.KINDS,
    "glucose": (DriftKind.BIAS,),
    "imaging": (),
}
"""What can be told of a bed, by its stream. Answers can be told of every stream's ward."""


def series() -> Iterator[tuple[str, str, str, str]]:
    """Every (stream, kind, scope, event) that can be told."""
    for stream, kinds in KINDS.items():
        for kind, scope in (*((kind, "bed") for kind in kinds), (DriftKind.ANSWERS, "ward")):
            for event in ("began", "ended"):
                yield stream, kind.value, scope, event


def of_beds(changes: Changes, stream: Stream, task: Task, ward: Ward) -> Iterator[tuple[DriftNotice, int]]:
    """A notice for each of ``changes``, and the partition of its patient."""
    for i, row in enumerate(changes.row.tolist()):
        if not is_self_test(ward.names[row]):
            notice = DriftNotice(
                patient=ward.names[row],
                stream=stream,
                task=task.value,
                kind=changes.kind[i],
                scope="bed",
                event="began" if changes.began[i] else "ended",
                when_us=int(changes.end_us[i]),
                since_us=int(changes.from_us[i]),
                magnitude=float(changes.size[i]),
            )
            yield notice, int(ward.partition[row])


def judgement(label: Label) -> tuple[str, str] | None:
    """(condition, what it was worth) where ``label`` is what a person said of an alarm, else None."""
    if label.alert_id is None or label.value not in JUDGEMENTS or is_self_test(label.patient):
        return None
    return (label.task, label.value) if label.task in set(Condition) else None


class WardAnswers:
    """What is said of all windows of a stream, task by task. ``index``: the newest stability index of each task."""

    def __init__(self, stream: Stream) -> None:
        self._stream: Final = stream
        self._answers: dict[str, Answers] = {}
        self.index: dict[str, float] = {}

    def take(self, said: Mapping[tuple[str, str], int], until_us: int) -> Iterator[DriftNotice]:
        """``said``: windows by (task, answer), all of them up to ``until_us``."""
        by_task: dict[str, Counter[str]] = {}
        for (task, word), n in said.items():
            by_task.setdefault(task, Counter())[word] += n
        for task, words in by_task.items():
            judged = self._answers.setdefault(task, Answers()).take(words, until_us)
            if judged is None or judged.index is None:
                continue
            self.index[task] = judged.index
            if judged.event is not None:
                yield DriftNotice(
                    patient="",
                    stream=self._stream,
                    task=task,
                    kind=DriftKind.ANSWERS,
                    scope="ward",
                    event=judged.event,
                    when_us=until_us,
                    since_us=judged.from_us,
                    magnitude=judged.index,
                )

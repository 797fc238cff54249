"""When to train again: when enough time has passed, when enough has been labelled, or when the ward has changed."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

import msgspec

from trainer.config import DRIFT_TOPIC, LABELS_TOPIC
from trainer.corpus.archive import concerns
from trainer.corpus.log import records
from vitals.conditions import RULES, Condition
from vitals.events import DriftNotice, Label
from vitals.findings import Task
from vitals.units import US_PER_S

_STREAM: Final[dict[Task, Literal["ecg", "glucose", "imaging"]]] = {
    Task.ECG_BEAT: "ecg",
    Task.GLUCOSE: "glucose",
    Task.PNEUMONIA: "imaging",
    Task.BREAST: "imaging",
    Task.ECG_AF: "ecg",
}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """``every_s``: at least so often. Sooner, after so many ``labels`` or so many ``drifts``. 0: never for that."""

    every_s: float
    labels: int = 0
    drifts: int = 0


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What came since the last turn of a task. ``drifts``: streams and answers that began to differ, each once."""

    labels: int = 0
    drifts: int = 0


NOTHING: Final = News()


def due(policy: Policy, last_began_us: int | None, news: News, *, now_us: int) -> str | None:
    """Why it is time, None when it is not. ``last_began_us``: None before the first turn."""
    if policy.every_s and last_began_us is None:
        return "never trained here"
    waited_s = (now_us - (last_began_us or 0)) / US_PER_S
    if policy.every_s and waited_s >= policy.every_s:
        return f"{waited_s / 3600:.1f} h since the last turn"
    if policy.drifts and news.drifts >= policy.drifts:
        return f"drift: {news.drifts} began"
    if policy.labels and news.labels >= policy.labels:
        return f"{news.labels} new labels"
    return None


def news(kafka: str, task: Task, policy: Policy, since_us: int) -> News:
    """What the broker has taken since ``since_us`` that ``policy`` asks for. Raises ``Fault``."""
    unreadable: Counter[str] = Counter()
    labels, drifted = 0, set()
    if policy.labels:
        for label in records(kafka, LABELS_TOPIC, Label, unreadable, since_us=since_us):
            labels += concerns(label, task)
    if policy.drifts:
        for notice in records(kafka, DRIFT_TOPIC, DriftNotice, unreadable, since_us=since_us):
            if notice.event == "began" and is_about(notice, task):
                drifted.add((notice.patient, notice.task, notice.kind))
    return News(labels=labels, drifts=len(drifted))


def is_about(notice: DriftNotice, task: Task) -> bool:
    """Whether what ``notice`` tells of goes into windows of ``task``, or is said of them."""
    if notice.scope == "bed":
        return notice.stream == _STREAM[task]
    if notice.task in RULES:
        return RULES[Condition(notice.task)].task is task
    return notice.task == task

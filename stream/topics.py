"""Every topic, in one table: what it is keyed by, what it carries, who writes and who reads it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from vitals import alerts, audit, events, findings, risk, strips

PARTITIONS: Final = 8
"""The same for every topic: Kafka's co-partitioning then gives one worker partition p of all of them."""

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024

_DAY_MS: Final = 24 * 3600 * 1000
_KEEP_NEWEST: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": "60000",
    "max.compaction.lag.ms": "60000",
    "min.cleanable.dirty.ratio": "0.1",
}


def _kept_days(days: int) -> dict[str, str]:
    # the broker's own clock: latencies are differences of one clock, and no device can lie about arrival
    return {"retention.ms": str(days * _DAY_MS), "message.timestamp.type": "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One row of the table. ``config`` is the broker's own settings for the topic."""

    key: str
    value: type[events.Wire]
    writer: str
    reader: str
    config: dict[str, str] = field(default_factory=dict)


class Topic(enum.StrEnum):
    """The names on the broker."""

    ECG = "ecg.v1"
    GLUCOSE = "glucose.v1"
    IMAGING = "imaging.v1"
    FINDINGS = "findings.v1"
    RISK = "risk.v1"
    ALERTS = "alerts.v1"
    STRIPS = "strips.v1"
    WINDOWS = "windows.v1"
    LABELS = "labels.v1"
    DRIFT = "drift.v1"
    CHALLENGES = "challenges.v1"
    COMMANDS = "commands.v1"
    AUDIT = "audit.v1"
    SHADOW = "shadow.v1"
    RELEASES = "releases.v1"
    GATE = "gate.v1"
    CHECKPOINTS = "checkpoints.v1"
    SHADOW_CHECKPOINTS = "shadow-checkpoints.v1"
    DEAD_LETTER = "dead-letter.v1"


OBSERVED: Final = (Topic.ECG, Topic.GLUCOSE, Topic.IMAGING)

CATALOGUE: Final[dict[Topic, TopicSpec]] = {
    Topic.ECG: TopicSpec(
        "gateway (patient when the bundle has one)",
        events.EcgBundle,
        "gateways",
        "observe, board, strips",
        _kept_days(2),
    ),
    Topic.GLUCOSE: TopicSpec("patient", events.GlucoseReading, "gateways", "observe", _kept_days(14)),
    Topic.IMAGING: TopicSpec("patient", events.ImagingEvent, "gateways", "observe", _kept_days(14)),
    Topic.FINDINGS: TopicSpec(
        "none: partition = crc32(patient)", findings.Findings, "observe", "decide, board", _kept_days(7)
    ),
    Topic.RISK: TopicSpec("none: the findings' partition", risk.RiskBatch, "decide", "board, EHR", _kept_days(7)),
    Topic.ALERTS: TopicSpec("patient", alerts.AlertTransition, "decide", "board, notifiers, strips", _kept_days(90)),
    Topic.STRIPS: TopicSpec(
        # samples shrink by half, and a board or two read them
        "patient",
        strips.Strip,
        "strips",
        "board",
        {**_kept_days(90), "compression.type": "gzip"},
    ),
    Topic.WINDOWS: TopicSpec("none", events.WindowArchive, "observe", "trainer", _kept_days(30)),
    Topic.LABELS: TopicSpec("patient", events.Label, "board, importers", "trainer", _kept_days(365)),
    Topic.DRIFT: TopicSpec("patient; a ward's: task", events.DriftNotice, "worker", "trainer", _kept_days(30)),
    Topic.CHALLENGES: TopicSpec("none", events.PairedAnswers, "observe", "trainer", _kept_days(90)),
    Topic.COMMANDS: TopicSpec("patient", events.Command, "board", "decide", _kept_days(90)),
    Topic.AUDIT: TopicSpec("patient", audit.AuditEntry, "decide", "people", _kept_days(3650)),
    Topic.SHADOW: TopicSpec("patient", alerts.AlertTransition, "shadow", "people", _kept_days(90)),
    Topic.RELEASES: TopicSpec("task", events.ModelRelease, "trainer, observe", "observe", dict(_KEEP_NEWEST)),
    Topic.GATE: TopicSpec("task", events.GateVerdict, "trainer", "board", dict(_KEEP_NEWEST)),
    Topic.CHECKPOINTS: TopicSpec("owner and incarnation", events.Checkpoint, "worker", "worker", dict(_KEEP_NEWEST)),
    Topic.SHADOW_CHECKPOINTS: TopicSpec(
        "owner and incarnation", events.Checkpoint, "shadow", "shadow", dict(_KEEP_NEWEST)
    ),
    Topic.DEAD_LETTER: TopicSpec("as the record", events.DeadLetter, "observe", "people", _kept_days(30)),
}

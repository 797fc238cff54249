"""Findings to risks and alarms: the decide half, for the patients of one findings partition. No clock, no broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitals.alerts import AlertTransition
from vitals.risk import RiskBatch


@dataclass(slots=True)
class Decided:
    """What there is to publish, in order."""

    risks: list[RiskBatch] = field(default_factory=list)
    transitions: list[AlertTransition] = field(default_factory=list)

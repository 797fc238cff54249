"""Enough of PromQL to hold queries to the table of metrics: which series they select, which labels they speak of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stream.metrics import TABLE
from trainer.metrics import TABLE as TRAINER_TABLE

_SELECTOR = re.compile(r"\b(wardwatch[_:][a-z0-9_:]+|up)\b(?:\s*\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")

OF_THE_SCRAPE = frozenset({"job", "instance"})


@dataclass(frozen=True)
class Selector:
    """One series selector: ``matchers`` are (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(query: str) -> list[Selector]:
    """Every selector of a series of ours, or of ``up``."""
    return [Selector(name, tuple(_MATCHER.findall(inside or ""))) for name, inside in _SELECTOR.findall(query)]


def groupings(query: str) -> set[str]:
    """Every label that the query groups by or matches on."""
    return {label.strip() for inside in _GROUPING.findall(query) for label in inside.split(",") if label.strip()}


def exported() -> dict[str, frozenset[str]]:
    """Every series that the table gives, with its labels: a histogram is three of them."""
    series: dict[str, frozenset[str]] = {"up": OF_THE_SCRAPE}
    for row in TABLE:
        labels = frozenset(row.labels) | OF_THE_SCRAPE
        if row.kind == "histogram":
            series[f"{row.name}_bucket"] = labels | {"le"}
            series[f"{row.name}_sum"] = series[f"{row.name}_count"] = labels
        else:
            series[row.name] = labels
    series |= {name: frozenset(labels) | OF_THE_SCRAPE for name, (labels, _) in TRAINER_TABLE.items()}
    return series

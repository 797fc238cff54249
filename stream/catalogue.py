"""``python -m stream catalogue``: the closed tables as a page for people. A test holds the page to the tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from stream import config, metrics
from stream.topics import CATALOGUE, PARTITIONS
from vitals.errors import Reason

PAGE: Final = "docs/catalogue.md"


def main(_: Sequence[str]) -> int:
    """Print the page."""
    sys.stdout.write(page())
    return 0


def page() -> str:
    """Topics, metrics, settings and reasons in Markdown."""
    return "\n".join(
        [
            "# Catalogue",
            "",
            "Made from the tables in code by `make docs`. Do not edit.",
            "",
            *_section(
                f"Topics ({PARTITIONS} partitions each)",
                ("topic", "key", "value", "writer", "reader"),
                ((t.value, s.key, s.value.__name__, s.writer, s.reader) for t, s in CATALOGUE.items()),
            ),
            "Values are MessagePack, or JSON where the record's `content-type` header says `application/json`.",
            "",
            *_section(
                "Metrics",
                ("metric", "kind", "labels", "meaning"),
                ((m.name, m.kind, ", ".join(m.labels), m.meaning) for m in metrics.TABLE),
            ),
            *_section(
                "Settings",
                ("variable", "default", "meaning"),
                ((s.variable, s.default, s.meaning) for s in config.TABLE),
            ),
            *_section(
                "Why an event ends without a score",
                ("reason", "fate", "meaning"),
                ((r.value, r.fate.value, r.meaning) for r in Reason),
            ),
        ]
    )


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"## {title}", "", _line(head), _line(["---"] * len(head))]
    return [*lines, *(_line([f"`{row[0]}`", *row[1:]]) for row in rows), ""]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"

"""One line that says how it goes, from one scrape of the worker."""

from __future__ import annotations

import math
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_RECENT: Final = 20
"""Percentiles are those of the last so many scrapes."""
_EVERY_S: Final = 10.0
"""How often the line comes where it cannot be written over itself."""


@dataclass(slots=True)
class Scrape:
    """What the line needs. ``slowness``: upper bounds in seconds and how many findings stayed below each."""

    refused: int = 0
    findings: int = 0
    raised: int = 0
    active: int = 0
    lag: int = 0
    slowness: Counter[float] = field(default_factory=Counter)

    @classmethod
    def of(cls, text: str) -> Scrape:
        """From the text of ``/metrics``."""
        scrape = cls()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                scrape._take(sample.name, sample.labels, sample.value)
        return scrape

    def percentile_ms(self, share: float, since: Scrape) -> float:
        """Time within which ``share`` of the findings after ``since`` came, as finely as buckets tell; NaN: none."""
        bounds = [(upper, count - since.slowness[upper]) for upper, count in sorted(self.slowness.items())]
        wanted = share * bounds[-1][1] if bounds else 0.0
        if not wanted:
            return math.nan
        lower, below = 0.0, 0.0
        for upper, count in bounds:
            if count >= wanted:
                return 1000 * (
                    lower if math.isinf(upper) else lower + (upper - lower) * (wanted - below) / (count - below)
                )
            lower, below = upper, count
        return math.nan

    def _take(self, name: str, labels: dict[str, str], value: float) -> None:
        match name:
            case "wardwatch_events_total":
                self.refused += int(value) if labels["outcome"] != "scored" else 0
            case "wardwatch_findings_total":
                self.findings += int(value)
            case "wardwatch_alerts_total" if labels["event"] == "raised":
                self.raised += int(value)
            case "wardwatch_alerts_active":
                self.active += int(value)
            case "wardwatch_lag_records":
                self.lag += int(value)
            case "wardwatch_event_to_finding_seconds_bucket":
                self.slowness[float(labels["le"])] += int(value)


class StatusLine:
    """Written over itself on a terminal; elsewhere a new line from time to time."""

    def __init__(self, patients: int) -> None:
        self._patients = patients
        self._over = sys.stdout.isatty()
        self._last_s = -math.inf
        self._recent = deque([Scrape()], maxlen=_RECENT)

    def show(self, elapsed_s: float, sent: int, scrape: Scrape) -> None:
        """``sent``: events handed to the broker so far."""
        since = self._recent[0]
        self._recent.append(scrape)
        if not self._over and elapsed_s - self._last_s < _EVERY_S:
            return
        self._last_s = elapsed_s
        minutes, seconds = divmod(int(elapsed_s), 60)
        p50, p99 = (_in_words(scrape.percentile_ms(share, since)) for share in (0.5, 0.99))
        line = (
            f"{minutes:02}:{seconds:02}  events {sent}  findings {scrape.findings}  refused {scrape.refused}  "
            f"alarms {scrape.raised} ({scrape.active} present)  patients {self._patients}  lag {scrape.lag}  "
            f"p50 {p50}  p99 {p99}"
        )
        sys.stdout.write(f"\r\x1b[K{line}" if self._over else f"{line}\n")
        sys.stdout.flush()

    def end(self) -> None:
        """What comes next starts on a line of its own."""
        if self._over:
            sys.stdout.write("\n")


def _in_words(milliseconds: float) -> str:
    return "–" if math.isnan(milliseconds) else f"{milliseconds:.0f} ms"

"""The figures of one set of recordings, as JSON and as tables of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.alarms.counting import LIFE_THREATENING, RED, Found, Replay, Verdict, found, verdicts
from vitals.conditions import CONDITIONS, RULES, Condition

_DAY_S: Final = 86_400.0
_GOAL_FALSE_A_DAY: Final = 0.5
_GOAL_FOUND: Final = 0.99
_GOAL_PPV: Final = 0.90


@dataclass(frozen=True, slots=True)
class Burden:
    """Of the patients of one set."""

    name: str
    replays: Sequence[Replay]
    counts: Counter[tuple[Condition, Verdict]]
    found: Sequence[Found]

    @classmethod
    def of(cls, name: str, replays: Sequence[Replay]) -> Burden:
        """Counts ``replays``."""
        return cls(name, replays, verdicts(replays), [one for replay in replays for one in found(replay)])

    @property
    def days(self) -> float:
        """Patient-days that were watched."""
        return sum(replay.seconds for replay in self.replays) / _DAY_S

    def total(self, conditions: Sequence[Condition] | frozenset[Condition], verdict: Verdict | None = None) -> int:
        """Alarms of ``conditions``, of one verdict or of all."""
        return sum(n for (c, v), n in self.counts.items() if c in conditions and verdict in {None, v})

    def ppv(self) -> float | None:
        """Share of the red alarms that were true, of those that labels speak of."""
        true, false = self.total(RED, Verdict.TRUE), self.total(RED, Verdict.FALSE)
        return true / (true + false) if true + false else None

    def worst(self) -> tuple[str, int]:
        """Who had the most alarms, and how many."""
        replay = max(self.replays, key=lambda replay: len(replay.alarms))
        return replay.patient, len(replay.alarms)


def report_of(burdens: Sequence[Burden]) -> dict[str, Any]:
    """Everything, with each red alarm that was false and each event that was missed: for whoever looks for causes."""
    return {"goals": {"false_a_day": _GOAL_FALSE_A_DAY, "found": _GOAL_FOUND, "ppv": _GOAL_PPV}} | {
        burden.name: {
            "patients": len(burden.replays),
            "patient_days": round(burden.days, 3),
            "alarms": {
                c.value: {
                    "priority": RULES[c].priority.value,
                    "a_day": round(burden.total([c]) / burden.days, 2),
                    **{v.value: burden.counts[c, v] for v in Verdict},
                }
                for c in CONDITIONS
                if burden.total([c])
            },
            "red_ppv": burden.ppv(),
            "worst_patient": burden.worst(),
            "life_threatening": {
                what.value: {
                    "events": sum(one.event.what is what for one in burden.found),
                    "found": sum(one.red for one in burden.found if one.event.what is what),
                    "named": sum(one.named for one in burden.found if one.event.what is what),
                }
                for what in LIFE_THREATENING
            },
            "missed": [
                [one.patient, one.event.what.value, round(one.event.from_s, 1), round(one.event.to_s, 1)]
                for one in burden.found
                if not one.red
            ],
            "false_red": [
                [replay.patient, alarm.condition.value, round(alarm.told_s, 1)]
                for replay in burden.replays
                for alarm in replay.alarms
                if alarm.condition in RED and replay.verdict(alarm) is Verdict.FALSE
            ],
        }
        for burden in burdens
    }


def page_of(burdens: Sequence[Burden]) -> Iterator[str]:
    """Three tables: by set, by condition, by life-threatening event."""
    yield from _table(
        ("set", "patients", "patient-days", "alarms a day", "red", "true", "false", "not labelled",
         "false red a day", "red PPV", "most alarms"),
        (_of_set(burden) for burden in burdens),
    )  # fmt: skip
    yield ""
    yield from _table(
        ("condition", "priority", *(f"{burden.name}, a day" for burden in burdens), "true", "false", "not labelled"),
        (_of_condition(c, burdens) for c in CONDITIONS if any(burden.total([c]) for burden in burdens)),
    )
    yield ""
    yield from _table(
        ("life-threatening event", "set", "events", "red alarm", "named"),
        (row for what in LIFE_THREATENING for burden in burdens if (row := _of_event(what.value, burden))),
    )


def _of_set(burden: Burden) -> list[str]:
    ppv, (worst, most) = burden.ppv(), burden.worst()
    false = burden.total(RED, Verdict.FALSE)
    return [
        burden.name,
        str(len(burden.replays)),
        f"{burden.days:.2f}",
        f"{burden.total(CONDITIONS) / burden.days:.1f}",
        str(burden.total(RED)),
        *(str(burden.total(RED, verdict)) for verdict in Verdict),
        f"{false / burden.days:.1f}"
        if any(c in RED for r in burden.replays[:1] for c in r.truth.judged) or false
        else "",
        "" if ppv is None else f"{100 * ppv:.0f} %",
        f"{worst}: {most}",
    ]


def _of_condition(c: Condition, burdens: Sequence[Burden]) -> list[str]:
    return [
        f"`{c.value}`",
        RULES[c].priority.value,
        *(f"{burden.total([c]) / burden.days:.1f}" if burden.total([c]) else "" for burden in burdens),
        *(str(sum(burden.counts[c, v] for burden in burdens)) for v in Verdict),
    ]


def _of_event(what: str, burden: Burden) -> list[str]:
    events = [one for one in burden.found if one.event.what == what]
    if not events:
        return []
    return [
        what,
        burden.name,
        str(len(events)),
        *(f"{n} ({100 * n / len(events):.0f} %)" for n in (sum(e.red for e in events), sum(e.named for e in events))),
    ]


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)

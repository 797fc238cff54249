"""``python -m stream alarmtables PAGE``: what the alarms do, from the tables in code, written into a page for people.

A page keeps its own text; what stands between ``<!-- table NAME -->`` and ``<!-- end NAME -->`` is replaced.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from vitals.alerts import TRANSITIONS, State, Stimulus
from vitals.bed import TASKS
from vitals.conditions import CONDITIONS, NO_DATA, RULES, Compare, Condition, Rule
from vitals.limits import ADULT
from vitals.risk import ABSENT_SAYS, EXPIRES_S, FRESH_S, HALF_WIDTH
from vitals.roles import ACTIONS, MAY, Role

PAGE: Final = "docs/alarms.md"

_SIGN: Final = {Compare.ABOVE: ">", Compare.BELOW: "<", Compare.AT_LEAST: "≥"}
_MARKED: Final = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def main(argv: Sequence[str]) -> int:
    """Fill the tables of the page named in ``argv``."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m stream alarmtables PAGE\n")
        return 2
    page = Path(argv[0])
    page.write_text(filled(page.read_text()))
    return 0


def filled(text: str) -> str:
    """``text`` with every marked table as the code has it. Raises ``KeyError`` for a table that is not known."""
    tables = {
        "conditions": _conditions(),
        "limits": _limits(),
        "signals": _signals(),
        "diagram": _diagram(),
        "suppression": _suppression(),
        "roles": _roles(),
        "inputs": _inputs(),
    }
    return _MARKED.sub(lambda mark: mark[1] + "\n".join(tables[mark[2]]) + "\n" + mark[3], text)


def _conditions() -> list[str]:
    head = (
        "condition",
        "priority",
        "kind",
        "from",
        "raised when",
        "ends when",
        "latching",
        "escalates",
        "reminds",
        "snooze",
        "worse by",
    )
    return _table(head, (_condition_row(condition, RULES[condition]) for condition in CONDITIONS))


def _condition_row(condition: Condition, rule: Rule) -> Sequence[str]:
    limit = ADULT[condition]
    raised, ends = rule.measure, "it is over"
    if limit.adjustable:
        raised = f"{rule.measure} {_SIGN[rule.compare]} {limit.default:g} {limit.unit}".rstrip()
        slack = rule.hysteresis if rule.compare is Compare.BELOW else -rule.hysteresis
        back = {Compare.ABOVE: "≤", Compare.BELOW: "≥", Compare.AT_LEAST: "<"}[rule.compare]
        ends = f"{back} {limit.default + slack:g} {limit.unit}".rstrip()
    if condition is Condition.ALARM_FLOOD:
        raised, ends = f"{limit.default:g} {rule.measure}", "fewer than that in the last 10 min"
    if condition in NO_DATA.values():
        ends = "data come again"
    raised += f" for {_time(rule.on_delay_s)}" if rule.on_delay_s else ""
    raised += f", unless {' or '.join(rule.superseded_by)}" if rule.superseded_by else ""
    ends += f" for {_time(rule.off_delay_s)}" if rule.off_delay_s else ""
    ends += f", or not measured for {_time(rule.lapse_s)}" if rule.lapse_s else ""
    return (
        f"`{condition}`",
        rule.priority.value,
        rule.kind.value,
        rule.task.value if rule.task is not None else "alarms",
        raised,
        ends,
        "yes" if rule.latching else "",
        _time(rule.escalate_s),
        _time(rule.remind_s),
        f"≤ {_time(rule.snooze_max_s)}",
        f"{rule.rearm:g} {limit.unit}".rstrip() if rule.rearm else "",
    )


def _limits() -> list[str]:
    rows = ((condition, ADULT[condition]) for condition in CONDITIONS if ADULT[condition].adjustable)
    return _table(
        ("condition", "adult default", "guard rails", "unit", "source"),
        ((f"`{c}`", f"{x.default:g}", f"{x.lowest:g} to {x.highest:g}", x.unit, x.source) for c, x in rows),
    )


def _signals() -> list[str]:
    return _table(
        ("condition, signal", *(_words(stimulus.name) for stimulus in Stimulus)),
        ((_facts(state), *(_step(state, stimulus) for stimulus in Stimulus)) for state in State),
    )


def _step(state: State, stimulus: Stimulus) -> str:
    if stimulus not in TRANSITIONS[state]:
        return "–"
    after, event = TRANSITIONS[state][stimulus]
    return "·" if event is None else f"{event} → {_facts(after)}"


def _diagram() -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> REST"]
    lines += [f"    {state.name}: {_facts(state)}" for state in State]
    for state, row in TRANSITIONS.items():
        for stimulus, (after, event) in row.items():
            if event is not None:
                lines.append(f"    {state.name} --> {after.name}: {_words(stimulus.name)}")
    return [*lines, "```"]


def _suppression() -> list[str]:
    edges = [(worse, condition) for condition in CONDITIONS for worse in RULES[condition].superseded_by]
    return ["```mermaid", "graph LR", *(f"    {worse} --> {condition}" for worse, condition in edges), "```"]


def _roles() -> list[str]:
    rows = ((f"`{role}`", *("yes" if action in MAY[role] else "" for action in ACTIONS)) for role in Role)
    return _table(("role", *ACTIONS), rows)


def _inputs() -> list[str]:
    columns = zip(TASKS, FRESH_S, EXPIRES_S, HALF_WIDTH, ABSENT_SAYS, strict=True)
    return _table(
        ("input", "fresh up to", "expires at", "half-width, logits", "upper end where missing"),
        (
            (f"`{t}`", _time(fresh), _time(old), f"±{width:g}", f"{absent:g}")
            for t, fresh, old, width, absent in columns
        ),
    )


def _facts(state: State) -> str:
    return f"{'present' if state.present else 'absent'}, {state.signal}"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]

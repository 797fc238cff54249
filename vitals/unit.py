"""What a unit (an ICU, a step-down ward) has changed of the factory's alarm rules, in one file that people can read.

A table is named by its condition, ``roles`` says who may do what. Anything left out is as it came from the factory:

    name = "Step-down 4 East"

    [heart-rate-high]
    limit = 130              # inside its guard rails
    escalate_s = 120

    [roles]
    technician = ["resume", "admit", "acknowledge"]

A unit may be stricter than the factory as it likes, and laxer within bounds: a limit inside its guard rails, a time at
most ``LAXER`` times the factory's, a snooze never longer. Whatever is wrong is said at once, each with its line.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

import msgspec

from vitals.conditions import CONDITIONS, RULES, Condition, Rule
from vitals.limits import ADULT, LADDERS, Limit
from vitals.roles import ACTIONS, MAY, Role

LAXER: Final = 2.0
"""How many times the factory's delay, escalation or reminder a unit may wait."""

TIMES: Final = ("on_delay_s", "off_delay_s", "escalate_s", "remind_s", "snooze_max_s")
"""Times of a rule that a unit may change."""

_FIELDS: Final = ("limit", *TIMES)


class UnitError(ValueError):
    """A unit's file says what cannot be: a line for each thing wrong."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The rules of one unit: what is alarmed, from which limit on, and who may do what."""

    name: str
    rules: Mapping[Condition, Rule]
    limits: Mapping[Condition, Limit]
    may: Mapping[Role, frozenset[str]]

    @property
    def defaults(self) -> tuple[float, ...]:
        """Limits of a patient for whom nobody has moved one, in the order of ``CONDITIONS``."""
        return tuple(self.limits[condition].default for condition in CONDITIONS)

    @cached_property
    def version(self) -> str:
        """Twelve hex digits that differ between any two sets of rules and limits."""
        said = [(c, *astuple(self.rules[c]), *astuple(self.limits[c])) for c in CONDITIONS]
        numbers = [[float(x) if isinstance(x, int | float) else str(x) for x in row] for row in said]
        return blake2b(msgspec.json.encode(numbers), digest_size=6).hexdigest()


FACTORY: Final = Unit(name="", rules=RULES, limits=ADULT, may=MAY)


def read(text: str) -> Unit:
    """The unit that a file's ``text`` describes. Raises ``UnitError`` with everything that is wrong and where."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnitError(f"not TOML: {error}") from None
    wrong: list[tuple[int, str]] = []
    rules, limits, allowed = dict(RULES), dict(ADULT), dict(MAY)
    name = ""
    for key, value in said.items():
        if key == "name" and isinstance(value, str):
            name = value
        elif key == "roles" and isinstance(value, dict):
            wrong += ((_line(text, key, role), why) for role, why in _take_roles(value, allowed))
        elif key in RULES and isinstance(value, dict):
            condition = Condition(key)
            wrong += ((_line(text, key, what), why) for what, why in _take(condition, value, rules, limits))
        else:
            wrong.append((_line(text, key, ""), f"{key} is not a condition"))
    wrong += ((_line(text, c, "limit"), why) for c, why in _out_of_order(limits, said))
    if wrong:
        raise UnitError("\n".join(f"line {line}: {why}" for line, why in sorted(wrong)))
    return Unit(name=name, rules=rules, limits=limits, may=allowed)


def written(unit: Unit) -> str:
    """``unit`` as a file, whole, with the unit and the bounds of everything beside it."""
    lines = [f"name = {msgspec.json.encode(unit.name).decode()}"]
    for condition in CONDITIONS:
        rule, limit = unit.rules[condition], unit.limits[condition]
        lines += ["", f"[{condition}]  # {rule.priority} priority, {rule.kind}: {rule.measure}"]
        if limit.adjustable:
            lines.append(f"limit = {limit.default:g}  # {limit.lowest:g} to {limit.highest:g} {limit.unit}".rstrip())
        for field in TIMES:
            value, most = getattr(rule, field), _most(condition, field)
            if most:
                lines.append(f"{field} = {value:g}  # at most {most:g}")
    lines += ["", "[roles]"]
    for role, actions in unit.may.items():
        lines.append(f"{role} = {[a for a in ACTIONS if a in actions]}")
    return "\n".join([*lines, ""])


def _take(
    condition: Condition, said: Mapping[str, Any], rules: dict[Condition, Rule], limits: dict[Condition, Limit]
) -> Iterator[tuple[str, str]]:
    for field, value in said.items():
        if field not in _FIELDS:
            yield field, f"{condition}.{field} is none of {', '.join(_FIELDS)}"
        elif isinstance(value, bool) or not isinstance(value, int | float):
            yield field, f"{condition}.{field} is not a number"
        elif field == "limit":
            limit = limits[condition]
            if limit.adjustable and limit.allows(value):
                limits[condition] = replace(limit, default=float(value))
            else:
                yield field, f"{condition}.limit {value:g} lies outside {limit.lowest:g} to {limit.highest:g}"
        else:
            most = _most(condition, field)
            least = 0.0 if field.endswith("delay_s") else min(1.0, most)
            if least <= value <= most:
                changed: dict[str, Any] = {field: float(value)}
                rules[condition] = replace(rules[condition], **changed)
            else:
                yield field, f"{condition}.{field} {value:g} lies outside {least:g} to {most:g}"


def _take_roles(said: Mapping[str, Any], allowed: dict[Role, frozenset[str]]) -> Iterator[tuple[str, str]]:
    for role, actions in said.items():
        if role not in tuple(Role):
            yield role, f"{role} is none of {', '.join(Role)}"
        elif not isinstance(actions, list) or not set(actions) <= set(ACTIONS):
            yield role, f"roles.{role} is not a list of {', '.join(ACTIONS)}"
        else:
            allowed[Role(role)] = frozenset(actions)


def _out_of_order(limits: Mapping[Condition, Limit], said: Mapping[str, Any]) -> Iterator[tuple[Condition, str]]:
    for ladder in LADDERS:
        for lower, upper in itertools.pairwise(ladder):
            if limits[lower].default >= limits[upper].default:
                at = upper if upper in said else lower
                yield at, f"the limit of {lower} must lie below that of {upper}"


def _most(condition: Condition, field: str) -> float:
    factory: float = getattr(RULES[condition], field)
    return factory if field == "snooze_max_s" else LAXER * factory


def _line(text: str, table: str, key: str) -> int:
    """Where ``key`` of ``[table]`` stands, or its header, or ``table`` where that is a key of no table."""
    here, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*[\"']?([\w-]+)", line):
            here = header[1]
            found = number if here == table else found
        elif (named := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=", line)) and (here, named[1]) in {
            (table, key),
            ("", table),
        }:
            return number
    return found

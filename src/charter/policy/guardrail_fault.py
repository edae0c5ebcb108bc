"""What the strict validator says of a guardrail, in people's words and at its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from charter.core.values import Source
from charter.policy.statement import Statement
from charter.policy.vocabulary import (
    CALL_ATTRIBUTES,
    CHAIN_ATTRIBUTES,
    FLOW_ATTRIBUTES,
    FORMS,
    LOCAL_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    PRINCIPAL_ATTRIBUTES,
    QUANTITY_ATTRIBUTES,
)
from charter.registry.problem import Problem, suggestion

_ENTITY_TYPES = ("Charter::Principal", "Charter::Action", "Charter::Object", "Charter::System")
_PARTS_OF_CONTEXT = {"local": LOCAL_ATTRIBUTES, "chain": CHAIN_ATTRIBUTES, "flow": FLOW_ATTRIBUTES}
_ATTRIBUTES = {"Charter::Principal": PRINCIPAL_ATTRIBUTES, "Charter::Object": OBJECT_ATTRIBUTES}


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Whether `name` is a time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def zone_problem(statement: Statement, zone: str) -> Problem:
    """Return the problem that `zone` is none."""
    zones = [each for each in available_timezones() if "/" in each or each == "UTC"]
    near = suggestion(zone, zones, few=True) or "write an IANA name as in Europe/Berlin"
    return Problem.at(_source_of(statement, zone), f"`{zone[:50]}` is no time zone", near)


def fault_problems(statement: Statement, said: Iterable[str], arguments: Mapping[str, object]) -> list[Problem]:
    """Return one problem for each thing that is wrong; Cedar repeats itself for each action and each half of a path."""
    told = {_problem(statement, re.sub(r"^for policy `[^`]*`, ", "", each), arguments) for each in said}
    better = [each for each in told if each is not None]
    return better or [
        Problem.at(statement.source, "the scope of this rule fits no call", "name actions that there are")
    ]


def _problem(statement: Statement, said: str, arguments: Mapping[str, object]) -> Problem | None:
    if said.startswith("unable to find an applicable action"):
        return None  # it follows from another, or stands alone and is told then
    optional = re.match(r"unable to guarantee safety of access to optional attribute `(.*)` in", said)
    if optional:
        return _optional_problem(statement, optional[1], arguments)
    for form, tell in _TOLD:
        found = re.match(form, said)
        if found:
            return tell(statement, found)
    return Problem.at(statement.source, f"it does not validate: {said.splitlines()[0][:200]}", None)


def _attribute_problem(statement: Statement, found: re.Match[str]) -> Problem:
    text = f"`{found[1]}` is nothing that {found[2]} has"
    return Problem.at(_source_of(statement, found[1]), text, suggestion(found[1], _ATTRIBUTES.get(found[2], ())))


def _type_problem(statement: Statement, found: re.Match[str]) -> Problem:
    text = f"there are no entities of the type `{found[1]}`"
    return Problem.at(_source_of(statement, found[1].split("::")[-1]), text, suggestion(found[1], _ENTITY_TYPES))


def _mixed_problem(statement: Statement, found: re.Match[str]) -> Problem:
    text = f"a {found[1]} and a {found[2]} are compared or mixed"
    return Problem.at(statement.source, text, "compare like with like")


def _context_problem(statement: Statement, found: re.Match[str]) -> Problem:
    parts = found[1].split(".")
    if parts[0] == "arguments" and len(parts) > 2:  # noqa: PLR2004 - `arguments.<name>.<form>`
        words: tuple[str, ...] = FORMS if parts[-2] != "quantity" else QUANTITY_ATTRIBUTES
    else:
        words = _PARTS_OF_CONTEXT.get(parts[0], CALL_ATTRIBUTES)
    text = f"`{parts[-1]}` is nothing that `context{''.join('.' + part for part in parts[:-1])}` has"
    return Problem.at(_source_of(statement, parts[-1]), text, suggestion(parts[-1], words))


def _optional_problem(statement: Statement, dotted: str, arguments: Mapping[str, object]) -> Problem | None:
    parts = dotted.split(".")
    if len(parts) == 2 and arguments.get(parts[1]):  # noqa: PLR2004 - the whole path is told of as well
        return None
    guard = f"context.arguments has {'.'.join(parts[1:])}"
    text = f"`context.{dotted}` may be missing, and a rule that errs decides nothing"
    return Problem.at(_source_of(statement, parts[1]), text, f"ask first: `{guard} && …`")


_HELD = {  # by extension: what Cedar holds
    "decimal": "write a number from -922337203685477.5808 to 922337203685477.5807, with a point and 1 to 4 decimals",
    "datetime": "write a day that there is, as in 2026-11-24, or a time as in 2026-11-24T10:00:00Z",
    "duration": "write as in 1d12h, and less than 292 million years",
}


def _literal_problem(statement: Statement, found: re.Match[str]) -> Problem:
    text = f"`{found[2][:80]}` is no {found[1]} that Cedar holds"
    return Problem.at(_source_of(statement, found[2]), text, _HELD.get(found[1]))


_TOLD: tuple[tuple[str, Callable[[Statement, re.Match[str]], Problem]], ...] = (
    (r"attribute `(.*)` on entity type `(.*)` not found", _attribute_problem),
    (r"attribute `(.*)` in context .*not found", _context_problem),
    (r"unrecognized entity type `(.*)`", _type_problem),
    (r"the types (.*) and (.*) are not compatible", _mixed_problem),
    (
        r"error during extension function argument validation: failed to parse as a (\w+) value: `\"(.*)\"`",
        _literal_problem,
    ),
)


def _source_of(statement: Statement, word: str) -> Source:
    token = statement.find(word)
    return statement.source_of(token) if token else statement.source

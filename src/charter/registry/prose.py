"""What a charter says, in words: the same for the console, the command line and reports. Reads the charter's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter.registry.charter import DAYS, EVERY_ACTION

_COMPARED = {
    "max": "at most",
    "min": "at least",
    "over": "more than",
    "under": "less than",
    "equals": "exactly",
    "like": "like",
    "each_like": "each like",
}
_LISTED = {"one_of": "one of", "each_of": "each one of"}
_SIZED = {"max_length": "characters", "max_items": "entries"}
_DELEGATES = {"humans": "People"}


def conditions(grant: Mapping[str, Any]) -> list[str]:
    """Return what must hold for a call under `grant` (charter JSON), one phrase each; empty if nothing must."""
    when = dict(grant.get("when") or {})
    arguments = when.pop("arguments", {})
    parts = []
    if hours := when.pop("hours", None):
        parts.append(
            f"between {hours.replace('-', ' and ', 1)}" if isinstance(hours, str) else _compared("hours", hours)
        )
    if days := when.pop("days", None):
        parts.append(f"on {_days(days)}" if isinstance(days, list) else _compared("days", days))
    if workdays := when.pop("workdays", None):
        is_name = isinstance(workdays, str)
        parts.append(f"on working days of {workdays}" if is_name else _compared("workdays", workdays))
    parts += [_compared(name, condition) for name, condition in (when | arguments).items()]
    if lent := grant.get("delegated"):
        parts.append(_delegated(lent))
    parts += [_limit(limit) for limit in grant.get("limit") or []]
    if approval := grant.get("approval"):
        parts.append(_approval(approval))
    return parts


def actions(grant: Mapping[str, Any]) -> list[str]:
    """Return the actions of `grant` as a person reads them."""
    return ["every action"] if grant["actions"] == [EVERY_ACTION] else list(grant["actions"])


def objects(grant: Mapping[str, Any]) -> list[str]:
    """Return the objects of `grant` as a person reads them."""
    found = list(grant.get("objects", ["*"]))
    if "*" in found:
        return ["any object"]
    found += [f"{place} and all below it" for place in grant.get("under") or ()]
    return found + [f"the group {name}" for name in grant.get("groups") or ()]


def _compared(name: str, condition: Any) -> str:  # noqa: ANN401 - JSON
    if not isinstance(condition, Mapping):
        return f"{name} {condition}"
    parts = []
    for word, value in condition.items():
        if word in _LISTED:
            parts.append(f"{_LISTED[word]} {', '.join(map(str, value))}")
        elif word in _SIZED:
            parts.append(f"of at most {value} {_SIZED[word]}")
        else:
            parts.append(f"{_COMPARED.get(word, word)} {value}")
    return f"{name} {' and '.join(parts)}"


def _days(days: list[str]) -> str:
    """Return `mon` to `fri` as a range where the days follow each other, else as a list."""
    places = [DAYS.index(day) for day in days if day in DAYS]
    follow = len(places) == len(days) > 2 and places == list(range(places[0], places[0] + len(places)))  # noqa: PLR2004 - two days are no range
    return f"{days[0]} to {days[-1]}" if follow else ", ".join(days)


def _delegated(lent: Mapping[str, Any]) -> str:
    by = " or ".join(_DELEGATES.get(each, each).lower() for each in lent.get("by", ()))
    roles = " or ".join(lent.get("roles", ()))
    purposes = " or ".join(lent.get("purposes", ()))
    words = [f"begun by {by}" if by else "", f"in the role {roles}" if roles else ""]
    words += [f"for {purposes}" if purposes else "", f"at most {lent['max_depth']} deep" if "max_depth" in lent else ""]
    return " ".join(["only under a delegation", *(word for word in words if word)])


def _limit(limit: Mapping[str, Any]) -> str:
    zone = f" in {limit['zone']}" if "zone" in limit else ""
    time = f"within {limit['within']}" if "within" in limit else f"per {limit['per']}{zone}"
    if "count" in limit:
        return f"at most {limit['count']} calls {time}"
    return f"{limit['sum']} at most {limit['max']} in all {time}"


def _approval(approval: Mapping[str, Any]) -> str:
    when = [_compared(name, condition) for name, condition in (approval.get("when") or {}).items()]
    count = approval.get("count", 1)
    who = approval["by"] if count == 1 else f"{count} people as {approval['by']}"
    time = f" within {approval['within']}" if "within" in approval else ""
    return f"approval by {who}{time}" + (f" if {' and '.join(when)}" if when else " for each call")


def risk(found: Mapping[str, Any]) -> str:
    """Return a tier with the sum it comes from: `high: 13 = 2 changes state + 2 irreversibly + …`."""
    terms = [f"{factor['points']} {factor['name']}" for factor in found["factors"] if factor["points"]]
    return f"{found['tier']}: {found['points']}" + (f" = {' + '.join(terms)}" if terms else "")


def exceptions(charter: Mapping[str, Any]) -> list[str]:
    """Return the defaults of the organisation that a charter sets aside, each with its reason."""
    return [
        f"{each['rule']}{' until ' + each['until'] if 'until' in each else ''}: {each['reason']}"
        for each in charter.get("exceptions") or ()
    ]


def flow(charter: Mapping[str, Any]) -> list[str]:
    """Return where the charter's data may go less far than all of it."""
    found = charter.get("data_flow") or {}
    return [f"may {way} {', '.join(found[way]) or 'none of it'}" for way in ("read", "write", "send") if way in found]


def delegation(charter: Mapping[str, Any]) -> str:
    """Return in a few sentences who may lend the principal authority and to whom it may lend, for what and how long."""
    lent = charter.get("delegation") or {}
    givers = " and ".join(_DELEGATES.get(giver, giver) for giver in lent.get("from", ()))
    takers = " or ".join(lent.get("to") or ())
    purposes = f" for {', '.join(lent['purposes'])}" if lent.get("purposes") else ""
    bounds = f"at most {lent['max_ttl']} at a time, {lent['max_depth']} deep" if lent else ""
    sentences = [f"{givers} may lend it authority{purposes}, {bounds}." if givers else "Nobody may lend it authority."]
    if takers:
        sentences.append(f"It may lend authority to {takers}{'' if givers else f'{purposes}, {bounds}'}.")
    if systems := sorted({grant["system"] for grant in lent.get("ceiling") or ()}):
        sentences.append(f"People whose entitlements are not written down lend it at most {', '.join(systems)}.")
    return " ".join(sentences)

"""Plan: what applying an estate would change. Pure: the same estate and the same registered state make the same plan.

- What files once managed, files manage: a version made by hand since is *drift*, shown as such, and the file wins.
- What files never managed (made in the console) is left alone; leaving a file away withdraws what it managed.
- An identity has one name, kind and environment for life. A retired name is never used again, and a changed kind or
  environment is refused: both would let a new thing pass for an old one in every log that names it.
- A plan carries the digest of the state it rests on, and has a digest itself, so that exactly what someone looked at is
  what is applied.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from charter.core.canonical import canonical, digest
from charter.registry.charter import Charter
from charter.registry.compositions import is_pinned_otherwise, note_of_change
from charter.registry.data_class import DataClasses
from charter.registry.difference import Difference, differences, without_values
from charter.registry.estate import Estate, Sourced
from charter.registry.inventory import Inventory, inventory_of
from charter.registry.problem import EstateError, Problem
from charter.registry.record import EstatePart, ManagedBy, PartKind, RegisteredEstate, RegisteredPrincipal
from charter.registry.risk import risk_of
from charter.registry.standing import Standing
from charter.registry.system import System


class ChangeKind(StrEnum):
    """What happens to one thing."""

    CREATE = "create"
    CHANGE = "change"
    DRIFT = "drift"  # it was changed by hand; the file wins
    WITHDRAW = "withdraw"


class What(StrEnum):
    """What kind of thing it happens to. The order is the order of applying."""

    TEAMS = "teams"
    ISSUERS = "issuers"
    RULES = "rules"
    SYSTEM = "system"
    GUARDRAIL = "guardrail"
    PATTERN = "pattern"
    PRINCIPAL = "principal"


_NAMED = 10  # principals named in one note
_LINES = 60  # of policy text shown in one change
_ORDER = {each: index for index, each in enumerate(What)}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that applying would create, change, restore or withdraw."""

    change: ChangeKind
    what: What
    name: str  # for guardrails, patterns and teams the path
    before: str | None  # digests
    after: str | None
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    inventory: Inventory | None = None  # of a principal that stays

    def to_json(self) -> dict[str, Any]:
        """Return the change as plain JSON."""
        return {
            "change": self.change.value,
            "what": self.what.value,
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "differences": [each.to_json() for each in self.differences],
            "notes": list(self.notes),
            "inventory": self.inventory.to_json() if self.inventory else None,
        }


@dataclass(frozen=True)
class Plan:
    """Everything that applying would change."""

    estate: str  # the digest of the estate
    base: str  # the digest of the registered state it rests on
    changes: tuple[Change, ...]
    unchanged: int

    @cached_property
    def digest(self) -> str:
        """The digest of the whole plan."""
        return digest(canonical(self._body()))

    @property
    def counts(self) -> dict[str, int]:
        """How many things are created, changed, restored, withdrawn and left as they are."""
        found = {kind.value: 0 for kind in ChangeKind}
        for change in self.changes:
            found[change.change.value] += 1
        return found | {"unchanged": self.unchanged}

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON, the same for the same plan."""
        return self._body() | {"counts": self.counts, "digest": self.digest}

    def _body(self) -> dict[str, Any]:
        changes = [change.to_json() for change in self.changes]
        return {"estate": self.estate, "base": self.base, "changes": changes, "unchanged": self.unchanged}


def plan(estate: Estate, current: RegisteredEstate) -> Plan:
    """Return what applying `estate` to what is registered would change.

    Raises:
        EstateError: a file asks for what no identity can do: come back under a retired name, change kind or
            environment.
    """
    _check_identities(estate, current)
    changes = [*_parts(estate, current), *_systems(estate, current), *_principals(estate, current)]
    changes.sort(key=lambda change: (_ORDER[change.what], change.name))
    total = len(estate.charters) + len(estate.systems) + len(parts_of(estate))
    touched = sum(change.change is not ChangeKind.WITHDRAW for change in changes)
    return Plan(estate.digest, current.digest, tuple(changes), total - touched)


def parts_of(estate: Estate) -> dict[str, EstatePart]:
    """Return the estate's other files in the form they are registered in, by path."""
    bodies = [(part.path, PartKind.GUARDRAIL, part.text.encode()) for part in estate.guardrails]
    bodies += [(file.path, PartKind.RULES, file.text.encode()) for file in estate.central.files]
    bodies += [(part.path, PartKind.PATTERN, canonical(part.value.to_json())) for part in estate.patterns.values()]
    teams = estate.teams
    bodies.append((teams.path, PartKind.TEAMS, canonical(teams.value.to_json())))
    if estate.issuers.value.issuers:
        bodies.append((estate.issuers.path, PartKind.ISSUERS, canonical(estate.issuers.value.to_json())))
    return {path: EstatePart(path, kind, digest(body), body.decode(), digest(body)) for path, kind, body in bodies}


# --- principals -------------------------------------------------------------------------------------------------------


def _check_identities(estate: Estate, current: RegisteredEstate) -> None:
    problems: list[Problem] = []
    for name, part in estate.charters.items():
        known = current.principals.get(name)
        if known is None:
            continue
        if known.principal.standing is Standing.RETIRED:
            text = f"`{name}` is retired, and a retired name is never used again"
            problems.append(Problem.at(part.source_of("principal"), text, f"choose a new name, such as {name}-2"))
            continue
        for field in ("kind", "environment"):
            was, becomes = getattr(known.principal, field).value, getattr(part.value, field).value
            if was != becomes:
                text = f"`{name}` is registered with the {field} `{was}`, which an identity keeps for life"
                problems.append(Problem.at(part.source_of(field), text, "give the new thing a name of its own"))
    if problems:
        raise EstateError(problems)


def _principals(estate: Estate, current: RegisteredEstate) -> Iterator[Change]:
    systems = {name: part.value for name, part in estate.systems.items()}
    for name, part in estate.charters.items():
        change = _principal(part, current.principals.get(name), systems, estate.central.data.value)
        if change is not None:
            yield change
    for name, known in current.principals.items():
        is_kept = known.applied_digest is None or known.principal.standing is Standing.RETIRED
        if name not in estate.charters and not is_kept:
            yield Change(ChangeKind.WITHDRAW, What.PRINCIPAL, name, known.principal.digest, None)


def _principal(
    part: Sourced[Charter], known: RegisteredPrincipal | None, systems: Mapping[str, System], classes: DataClasses
) -> Change | None:
    charter = part.value
    now, name = charter.digest, charter.principal
    if known is None:
        reach = inventory_of(charter, systems)
        what = f"{charter.environment.value} {charter.kind.value} of {charter.owner.team}"
        notes = (what, *reach.lines(), f"risk: {risk_of(charter, systems, classes).sentence}")
        return Change(ChangeKind.CREATE, What.PRINCIPAL, name, None, now, (), notes, reach)
    was = known.principal.digest
    drift = _drift(was, known.applied_digest, known.managed_by, is_intact=known.is_intact)
    row = _row_differences(charter, known) if now == was else ()
    if now == was and not drift and not row:
        return None
    found: tuple[Difference, ...] = row
    lines: tuple[str, ...] = ()
    if known.charter is not None:
        was_policy, other = known.charter.get("policy"), {k: v for k, v in known.charter.items() if k != "policy"}
        found = differences(other, {k: v for k, v in charter.to_json().items() if k != "policy"})
        lines = _text_lines(was_policy if isinstance(was_policy, str) else "", charter.policy or "")
        held = note_of_change(known.charter, charter)
        lines = (held, *lines) if held else lines
    reach = inventory_of(charter, systems)
    risk = f"risk: {risk_of(charter, systems, classes).sentence}"
    notes = (*drift, *_standing_notes(known), *lines, *reach.lines(), risk)
    kind = ChangeKind.DRIFT if drift or row else ChangeKind.CHANGE
    return Change(kind, What.PRINCIPAL, name, was, now, found, notes, reach)


def _drift(registered: str, applied: str | None, managed_by: ManagedBy, *, is_intact: bool) -> tuple[str, ...]:
    """Return how what is registered came to differ from what files last said, if it does."""
    if not is_intact:
        return ("what is registered was altered in the database: it is not what its digest says; the file wins",)
    if managed_by is ManagedBy.CONSOLE:
        return ("changed in the console since files were last applied; the file wins",)
    if registered != applied:
        return ("changed by hand since files were last applied; the file wins",)
    return ()


def _row_differences(charter: Charter, known: RegisteredPrincipal) -> tuple[Difference, ...]:
    """Return where the registered principal contradicts its own charter: someone changed the row by hand."""
    was = known.principal
    pairs = (
        ("owner.person", was.owner_person, charter.owner.person),
        ("owner.team", was.owner_team, charter.owner.team),
        ("expires", was.expires.isoformat(), charter.expires.isoformat()),
    )
    return tuple(Difference(path, before, after) for path, before, after in pairs if before != after)


def _standing_notes(known: RegisteredPrincipal) -> tuple[str, ...]:
    standing = known.principal.standing
    if standing is Standing.ACTIVE:
        return ()
    return (f"it is {standing.value}, and stays so: applying a charter changes no standing",)


# --- systems ----------------------------------------------------------------------------------------------------------


def _systems(estate: Estate, current: RegisteredEstate) -> Iterator[Change]:
    for name, part in estate.systems.items():
        known = current.systems.get(name)
        after = part.value.digest
        if known is None or known.is_withdrawn:
            notes = ("it was withdrawn before and comes back",) if known else ()
            yield Change(ChangeKind.CREATE, What.SYSTEM, name, None, after, (), notes)
            continue
        drift = _drift(known.digest, known.applied_digest, known.managed_by, is_intact=known.is_intact)
        if known.digest == after and not drift:
            continue
        was = known.record.system.to_json() if known.record else {}
        kind = ChangeKind.DRIFT if drift else ChangeKind.CHANGE
        found = without_values(differences(was, part.value.to_json()), "upstream.env")
        yield Change(
            kind, What.SYSTEM, name, known.digest, after, found, (*drift, *_reached_by(estate, name, was=current))
        )
    for name, known in current.systems.items():
        if name not in estate.systems and known.applied_digest is not None and not known.is_withdrawn:
            yield Change(ChangeKind.WITHDRAW, What.SYSTEM, name, known.digest, None)


def _reached_by(estate: Estate, system: str, was: RegisteredEstate) -> tuple[str, ...]:
    """Return whom a changed system touches: their charters stay the same, and yet what they reach may not."""
    names = sorted(name for name, part in estate.charters.items() if system in part.value.systems)
    if not names:
        return ()
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (f"reached by {shown}{more}", *_held(estate, names, system, was), *_raised(estate, names, was))


def _held(estate: Estate, names: Sequence[str], system: str, was: RegisteredEstate) -> Iterator[str]:
    """Yield who pins tools of a system that are defined otherwise from now on."""
    known = was.systems.get(system)
    if known is None or known.record is None:
        return
    before, after = known.record.system, estate.systems[system].value
    found = [name for name in names if is_pinned_otherwise(estate.charters[name].value, before, after)]
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        yield f"held until that is reviewed, since their charters pin it: {', '.join(found[:_NAMED])}{more}"


def _raised(estate: Estate, names: Sequence[str], was: RegisteredEstate) -> Iterator[str]:
    """Yield whose tier of risk the changed systems move."""
    after = {name: part.value for name, part in estate.systems.items()}
    before = after | {name: each.record.system for name, each in was.systems.items() if each.record}
    classes = estate.central.data.value
    for name in names:
        charter = estate.charters[name].value
        old, new = risk_of(charter, before, classes).tier, risk_of(charter, after, classes).tier
        if old is not new:
            yield f"the risk of {name} becomes {new.value}; it was {old.value}"


# --- the other files --------------------------------------------------------------------------------------------------


def _parts(estate: Estate, current: RegisteredEstate) -> Iterator[Change]:
    wanted = parts_of(estate)
    for path, part in wanted.items():
        known = current.parts.get(path)
        what = What(part.kind.value)
        if known is None:
            yield Change(ChangeKind.CREATE, what, path, None, part.digest)
            continue
        drift = _drift(known.digest, known.applied_digest, ManagedBy.GIT, is_intact=known.is_intact)
        if known.digest == part.digest and not drift:
            continue
        kind = ChangeKind.DRIFT if drift else ChangeKind.CHANGE
        found, lines = _between(known, part)
        yield Change(kind, what, path, known.digest, part.digest, found, (*drift, *lines))
    for path, known in current.parts.items():
        if path not in wanted:
            yield Change(ChangeKind.WITHDRAW, What(known.kind.value), path, known.digest, None)


def _text_lines(before: str, after: str) -> tuple[str, ...]:
    """Return the lines that differ between two texts."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    lines = [line for line in found if not line.startswith(("---", "+++"))]
    return (*lines[:_LINES], *(["…"] if len(lines) > _LINES else []))


def _between(known: EstatePart, part: EstatePart) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Return what differs: fields for what has fields, lines for policy text."""
    if part.kind in (PartKind.GUARDRAIL, PartKind.RULES):
        return (), _text_lines(known.body, part.body)
    try:
        was = json.loads(known.body)
    except ValueError:  # altered by hand beyond reading
        was = {}
    return differences(was if isinstance(was, dict) else {}, json.loads(part.body)), ()

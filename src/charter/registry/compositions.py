"""What the charters of an estate pin, held against the systems, roles and issuers that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from charter.registry.attester import untold
from charter.registry.charter import Charter
from charter.registry.composed import Terms
from charter.registry.composition import Part, parts_of
from charter.registry.estate import Sourced
from charter.registry.issuer import Issuers
from charter.registry.problem import Problem
from charter.registry.system import System


def tools_of(charter: Charter, systems: Mapping[str, System]) -> Iterator[tuple[str, str, str]]:
    """Yield the tools that a charter's grants and the Cedar beside it name: system, tool, pin of its definition.

    A tool whose definition nobody accepted cannot be called, and is no part yet; what a lease lets do stands in the
    system's own file.
    """
    named = [
        (grant.system, systems[grant.system].granted(grant)) for grant in charter.grants if grant.system in systems
    ]
    named += [(system, (action,)) for system, action in charter.policy_actions if system in systems]
    for system, actions in named:
        for action in filter(None, map(systems[system].actions.get, actions)):
            if action.pin is not None:
                yield system, action.tool, action.pin


def declared_parts(charter: Charter, systems: Mapping[str, System]) -> dict[str, tuple[str, ...]]:
    """Return the parts that a charter declares under these systems; none if it pins nothing."""
    if charter.composition is None:
        return {}
    return parts_of(charter.composition, charter.model.provider, tools_of(charter, systems))


def terms_of(charter: Charter) -> Terms | None:
    """Return what a charter says of changes; None if it pins nothing."""
    pinned = charter.composition
    if pinned is None:
        return None
    return Terms(pinned.on_change, charter.reviewer, tuple(part.value for part in pinned.attested or ()))


def note_of_change(was: Mapping[str, Any], charter: Charter) -> str | None:
    """Return what applying does to a principal whose charter `was` (as JSON) pinned something, and now otherwise."""
    before = was.get("composition")
    if not isinstance(before, dict) or _pins(before) == _pins(charter.to_json().get("composition") or {}):
        return None
    severe = "suspend" in (before.get("on_change"), charter.composition and charter.composition.on_change.value)
    held = "suspended" if severe else "restrained"
    return f"what it is made of changes: it is {held} until that is reviewed (charter composition show)"


def is_pinned_otherwise(charter: Charter, before: System, after: System) -> bool:
    """Return whether a charter pins its tools, and a system defines one of them otherwise from now on."""
    one, other = ({system.system: system} for system in (before, after))
    return declared_parts(charter, one) != declared_parts(charter, other)


def _pins(composition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in composition.items() if name in set(Part)}


def problems_of_compositions(charters: Mapping[str, Sourced[Charter]], issuers: Issuers) -> Iterator[Problem]:
    """Yield what cannot be: models outside the charter's own, and parts to be attested that nothing attests."""
    for part in charters.values():
        charter, pinned = part.value, part.value.composition
        if pinned is None:
            continue
        for index, name in enumerate(pinned.model or ()):
            if not is_model_of(charter.model.name, name):
                where = part.source_of(f"composition.model.{index}")
                yield Problem.at(where, f"`{name}` is no `{charter.model.name}`, which `model` says it calls", None)
        issuer = issuers.issuers.get(charter.credential.issuer or "")
        for index, text, mend in untold(charter, issuer):
            yield Problem.at(part.source_of(f"composition.attested.{index}"), text, mend)


def is_model_of(pattern: str, name: str) -> bool:
    """Return whether a model's exact name is one that a charter's `model` says; `*` may end that."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern

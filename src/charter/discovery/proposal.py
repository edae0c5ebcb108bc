"""From a group of calls to a charter of its own: what the group used of what was shared, and nothing else.

INVARIANT: a proposal grants nothing that the shared charter does not: each of its grants is one of the shared one's,
with the same conditions, limits and approvals, for no more actions, on objects within the same patterns.
INVARIANT: what only a person can say (what it is for, who approved it) is left out and named in a `MISSING` comment.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from charter.discovery.split import Group
from charter.discovery.uses import Deed, Feature, Tally
from charter.policy.like import is_like
from charter.registry.charter import EVERY_ACTION, Charter, CredentialType, Grant
from charter.registry.pattern import write_yaml

OFTEN = 5  # calls on one object alone, for it to be named by itself
MAX_NAMED = 20  # patterns of one grant; more are left as the shared charter has them
MAX_NAME = 63
_WORDS = re.compile(r"[a-z0-9]+")
_VERSION = re.compile(r"\s+v?[0-9][\w.+-]*$")
_ORDER = ("charter", "principal", "kind", "environment", "owner", "purpose", "model", "data", "approved", "credential")
_FIRST = re.compile(r"^(\S+):", re.MULTILINE)
_PROPOSED = "# Proposed by charter split"
MISSING_PURPOSE = "# MISSING: purpose: what it is for, in one sentence"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A charter proposed for one group."""

    name: str
    charter: Mapping[str, Any]  # as plain JSON, without `purpose` and `approved`
    notes: tuple[str, ...]  # what a person should know of it
    group: Group = field(repr=False)

    def filled(self, shared: Charter) -> dict[str, Any]:
        """Return the charter as it would be if a person said what is missing, so that the rest can be checked."""
        missing = {"purpose": shared.purpose, "approved": shared.approved.model_dump(mode="json")}
        return dict(self.charter) | missing

    def text(self, shared: Charter, since: str, until: str) -> str:
        """Return the file of the charter."""
        lines = [
            f"{_PROPOSED} {shared.principal}, from its calls of {since[:10]} to {until[:10]}:",
            f"# {self.group.tally.calls} calls that came by {_told(self.group)}",
            *(f"# {note}" for note in self.notes),
            f"# CHECK: owner: copied from {shared.principal}; who answers for this one?",
        ]
        body = write_yaml(self.charter)
        roles = f"role: as {shared.approved.role}"
        approved = f"# MISSING: approved: {{by: someone else than the owner, {roles}, on: the day}}"
        body = body.replace("model:", f"{MISSING_PURPOSE}\nmodel:", 1) if "\nmodel:" in body else body
        at = body.index("credential:")
        return "\n".join(lines) + "\n" + body[:at] + approved + "\n" + body[at:]


def is_ours(text: str, shared: str) -> bool:
    """Whether a file was proposed for the account `shared`: the same name is proposed again, and never written over."""
    return text.startswith(f"{_PROPOSED} {shared},")


def proposals(shared: Charter, groups: Iterable[Group], taken: Iterable[str] = ()) -> list[Proposal]:
    """Return a charter for each group, of names that are not `taken`."""
    names = set(taken) | {shared.principal}
    found: list[Proposal] = []
    for number, group in enumerate(groups, 1):
        name = _name(shared.principal, group, number, names)
        names.add(name)
        grants, notes = _grants(shared, group.tally)
        found.append(Proposal(name, _charter(shared, name, group, grants), tuple(notes), group))
    return found


def unused(shared: Charter, tally: Tally) -> list[dict[str, Any]]:
    """Return what the shared charter grants and nobody used: what can be taken out of it right away."""
    used = {(index, action) for index, action, _ in _placed(shared, tally)}
    found: list[dict[str, Any]] = []
    for index, grant in enumerate(shared.grants):
        idle = [action for action in grant.actions if action != EVERY_ACTION and (index, action) not in used]
        is_idle = not any(each == index for each, _ in used)
        if is_idle or idle:
            actions = list(grant.actions) if is_idle else idle
            found.append({"grant": index + 1, "system": grant.system, "actions": actions, "whole": is_idle})
    return found


# --- grants -----------------------------------------------------------------------------------------------------------


def _placed(shared: Charter, tally: Tally) -> Iterator[tuple[int, str, Deed]]:
    """Yield each deed with the grant that it rests on: the one that decided, if it still grants it, else the first."""
    for (system, action, rule), deed in sorted(tally.deeds.items()):
        fitting = [index for index, grant in enumerate(shared.grants) if _covers(grant, system, action)]
        decided = [index for index in fitting if rule == f"{shared.principal}/grant-{index + 1}"]
        for index in (decided or fitting)[:1]:
            yield index, action, deed


def _covers(grant: Grant, system: str, action: str) -> bool:
    return grant.system == system and (action in grant.actions or EVERY_ACTION in grant.actions)


def _grants(shared: Charter, tally: Tally) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the grants that a group needs, and what it did that no grant of today allows."""
    deeds: dict[int, tuple[set[str], Deed]] = {}
    for index, action, deed in _placed(shared, tally):
        actions, whole = deeds.setdefault(index, (set(), Deed()))
        actions.add(action)
        whole.merge(deed)
    grants = [_narrowed(shared.grants[index], *deeds[index]) for index in sorted(deeds)]
    known = {(shared.grants[index].system, action) for index, (actions, _) in deeds.items() for action in actions}
    notes = [
        f"{system}/{action} was allowed then, and no grant of today allows it: it is left out"
        for system, action in sorted(tally.actions - known)
    ]
    notes += [
        f"{system}/{action} was refused {count} times: it is left out"
        for (system, action), count in sorted(tally.refused.items())
        if (system, action) not in known
    ]
    return grants, notes


def _narrowed(grant: Grant, actions: set[str], deed: Deed) -> dict[str, Any]:
    """Return a grant for what was done of it."""
    found = grant.model_dump(mode="json", by_alias=True, exclude_none=True)
    found["actions"] = sorted(actions)
    found["objects"] = _objects(grant, deed)
    if not grant.limit:
        found.pop("limit", None)
    if found["objects"] in ([], ["*"]):
        del found["objects"]
    return found


def _objects(grant: Grant, deed: Deed) -> list[str]:
    """Return patterns for the objects of a deed, each within one of the grant's; where that fails, the grant's."""
    whole = list(grant.objects)
    if grant.under or grant.groups or deed.more_objects or not deed.objects:
        return whole
    found = list(_generalised(deed.objects))
    is_within = all(any(is_like(each, pattern) for pattern in grant.objects) for each in found)
    return sorted(found) if is_within and len(found) <= MAX_NAMED else whole


def _generalised(objects: Counter[str]) -> Iterator[str]:
    """Yield patterns: a folder for what varies within it, an object by itself where it was used often and alone."""
    folders: dict[str, Counter[str]] = {}
    for name, calls in objects.items():
        folder, slash, _ = name.rpartition("/")
        folders.setdefault(folder + slash, Counter())[name] += calls
    for folder, names in folders.items():
        ((name, calls), *others) = names.most_common()
        is_plain = "*" not in name
        yield name if is_plain and not others and (calls >= OFTEN or not folder) else f"{folder}*"


# --- the rest of the charter ------------------------------------------------------------------------------------------


def _charter(shared: Charter, name: str, group: Group, grants: list[dict[str, Any]]) -> dict[str, Any]:
    body = shared.to_json()
    found: dict[str, Any] = {key: body[key] for key in ("charter", "kind", "environment", "owner", "model")}
    found |= {
        "principal": name,
        "data": [each for each in shared.data if each in group.tally.data],
        "credential": _credential(shared, group),
        "grants": grants,
        "review": body["review"],
        "expires": body["expires"],
    }
    if shared.delegation is not None and any(feature is Feature.INITIATOR for feature, _ in group.values):
        found["delegation"] = body["delegation"]
    ordered = [key for key in _ORDER if key in found]
    return {key: found[key] for key in (*ordered, *(each for each in found if each not in ordered))}


def _credential(shared: Charter, group: Group) -> dict[str, Any]:
    """Return a credential of its own: a key that nobody else has, or the very workloads that the group came by."""
    own = shared.credential
    kept = own.model_dump(mode="json", exclude_none=True)
    chosen = {key: kept[key] for key in ("bearer", "tokens", "sharing") if key in kept}
    workload = dict(group.values).get(Feature.WORKLOAD)
    for each in own.workloads or ():
        if workload == in_words(each.conditions):
            return {"type": CredentialType.SPIFFE.value, "workloads": [each.model_dump(exclude_none=True)]} | chosen
    return {"type": CredentialType.PRIVATE_KEY_JWT.value} | chosen


def in_words(conditions: Mapping[str, object]) -> str:
    """Return a workload's selectors in words."""
    return ", ".join(f"{name} {value}" for name, value in conditions.items() if value != "")


def _name(shared: str, group: Group, number: int, taken: set[str]) -> str:
    """Return a name for a group's principal: the shared one's, and what tells the group."""
    feature, value = group.values[0]
    words = _WORDS.findall(_VERSION.sub("", value).partition("@")[0].lower())
    if feature in (Feature.CREDENTIAL, Feature.KEY, Feature.HOURS) or not words:
        words = [str(number)]
    stem = f"{shared}-{'-'.join(words)}"[:MAX_NAME].rstrip("-")
    name, again = stem, 2
    while name in taken:
        name, again = f"{stem[: MAX_NAME - 4].rstrip('-')}-{again}", again + 1
    return name


def _told(group: Group) -> str:
    said = "; ".join(f"{feature.value} {value}" for feature, value in group.values)
    return "".join(ch if ch.isprintable() else "?" for ch in said)[:200]

"""The composition of one principal as the registry keeps it: what was accepted, what was seen, what waits for a review.

Each part is on its own: what was accepted of it, what the charter in force declares, what was last seen of it and by
whom. A part whose declared or seen value is none of the accepted ones is a change. It stays one until a person reviews
it, also when it is undone meanwhile: something was there that nobody had accepted.

INVARIANT: a person reviews exactly what they looked at: a change has a digest, and another change has another.
INVARIANT: who reviews a change is what the charter said before it, whatever comes with it.
INVARIANT: nothing here reads a clock or a store; each step yields a new value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from charter.core.canonical import digest_of
from charter.core.errors import ConflictError, ErrorCode
from charter.registry.composition import OnChange, Parts, composition_digest, system_of_part


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last seen of a part: the value, who tells it, and since when it has been that."""

    value: str
    by: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Changed:
    """One part that is not what was accepted. No values: it was not there, or is there no more."""

    was: tuple[str, ...]
    now: tuple[str, ...]
    by: str  # who tells it: the kernel, an issuer, a system, or the charter's version
    at: dt.datetime
    actor: str | None = None  # the person who applied it, where files did


@dataclass(frozen=True, slots=True)
class Terms:
    """What the charter in force says of changes."""

    on_change: OnChange
    role: str  # who reviews changes from now on
    attested: tuple[str, ...] = ()  # parts without whose attestation nothing is given


@dataclass(frozen=True, slots=True)
class Composed:
    """The pinned composition of one principal."""

    principal_id: str
    terms: Terms
    reviewer: str  # the role that reviews what waits
    declared: Parts  # by the charter and the systems in force; nothing where the charter pins nothing any more
    accepted: Parts
    accepted_by: str
    accepted_at: dt.datetime
    reviews: int = 0
    seen: Mapping[str, Seen] = field(default_factory=dict)
    changes: Mapping[str, Changed] = field(default_factory=dict)  # wait for a review
    finding: str | None = None  # of the changes

    @property
    def digest(self) -> str:
        """The digest of what was accepted: what the identity is bound to."""
        return composition_digest(self.accepted)

    @property
    def now(self) -> Parts:
        """What it is made of now, as far as is known: what was accepted, with what changed and is not back."""
        changed = {part: each.now for part, each in self.changes.items() if not self.is_back(part)}
        return {part: values for part, values in sorted({**self.accepted, **changed}.items()) if values}

    @property
    def digest_now(self) -> str:
        """The digest of what it is made of now."""
        return composition_digest(self.now)

    @property
    def change(self) -> str | None:
        """The digest of what waits for a review; None if nothing does."""
        if not self.changes:
            return None
        parts = {part: [list(each.was), list(each.now), self.is_back(part)] for part, each in self.changes.items()}
        return digest_of({"principal": self.principal_id, "reviews": self.reviews, "parts": parts})

    def is_back(self, part: str) -> bool:
        """Whether a part that changed is what was accepted again."""
        accepted, seen = self.accepted.get(part, ()), self.seen.get(part)
        if self.changes[part].actor is not None:
            return self.declared.get(part, ()) == accepted
        return seen is None or seen.value in accepted

    @property
    def systems(self) -> frozenset[str]:
        """The systems whose tools are parts of it."""
        found = (system_of_part(part) for part in {**self.accepted, **self.declared, **self.changes})
        return frozenset(system for system in found if system is not None)

    def attested_by(self, part: str) -> Seen | None:
        """Return who attests that a part is what was accepted, if anybody does."""
        seen = self.seen.get(part)
        return seen if seen is not None and seen.value in self.accepted.get(part, ()) else None


def pinned(principal_id: str, terms: Terms, parts: Parts, *, by: str, at: dt.datetime) -> Composed:
    """Return the first composition of a principal: what its charter declares counts as accepted with it."""
    return Composed(principal_id, terms, terms.role, parts, parts, by, at)


def declare(known: Composed, terms: Terms, parts: Parts, *, by: str, actor: str, at: dt.datetime) -> Composed:
    """Return the composition under another version of the charter or of a system.

    Parts that it declares otherwise than before are changes, unless they come back to what was accepted. A value that
    was seen of such a part says nothing of the new one, and is forgotten.
    """
    moved = [part for part in {**known.declared, **parts} if known.declared.get(part, ()) != parts.get(part, ())]
    changes = dict(known.changes)
    for part in moved:
        was, now = known.accepted.get(part, ()), parts.get(part, ())
        if now != was:
            changes[part] = Changed(was, now, by, at, actor)
    return replace(
        known,
        terms=terms,
        reviewer=known.reviewer if changes else terms.role,
        declared=parts,
        changes=dict(sorted(changes.items())),
        seen={part: each for part, each in known.seen.items() if part not in moved},
    )


def see(known: Composed, part: str, value: str, *, by: str, at: dt.datetime) -> Composed:
    """Return the composition once `value` was seen of `part`, as `by` tells; the same object if it says nothing new."""
    before = known.seen.get(part)
    is_pinned = part in known.accepted or part in known.declared
    if not is_pinned or (before is not None and (before.value, before.by) == (value, by)):
        return known
    seen = dict(known.seen) | {part: Seen(value, by, at)}
    accepted, waiting = known.accepted.get(part, ()), known.changes.get(part)
    if value in accepted or (waiting is not None and value in waiting.now):
        return replace(known, seen=seen)
    changed = Changed(accepted, (value,), by, at)
    return replace(known, seen=seen, changes=dict(sorted({**known.changes, part: changed}.items())))


def accept(known: Composed, change: str, *, by: str, at: dt.datetime) -> Composed:
    """Return the composition once a person accepted what it is now. `change` is the beginning of what they looked at.

    What was last seen and is not what they accepted (the program before, which still runs) is news when it is seen
    again.

    Raises:
        ConflictError: nothing waits, or something else.
    """
    if known.change is None:
        raise ConflictError(ErrorCode.BAD_MOVE, "no change of its composition waits for a review", help="nothing to do")
    if not known.change.startswith(change):
        raise ConflictError(
            ErrorCode.STALE,
            "what waits for a review is another change than the one you looked at",
            help=f"look at it: it is {known.change} now",
        )
    accepted = known.now
    return replace(
        known,
        reviewer=known.terms.role,
        accepted=accepted,
        seen={part: each for part, each in known.seen.items() if each.value in accepted.get(part, ())},
        accepted_by=by,
        accepted_at=at,
        reviews=known.reviews + 1,
        changes={},
        finding=None,
    )

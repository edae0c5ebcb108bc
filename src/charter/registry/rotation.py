"""When what a principal proves itself by has to be replaced, and when it counts no more.

    registered            wanted            due              over
        |---- `rotate` less a little ----|--------|---- `grace` ----|
                       its client replaces it     a finding         refused

Both follow from the charter in force, so that a changed charter counts at once. A credential that another has taken the
place of is due no more: it ends by itself once clients had time to change over.

INVARIANT: only what is registered here grows old: what a charter declares changes with the charter.
"""

from __future__ import annotations

import datetime as dt

from charter.registry.declared import SECRET
from charter.registry.principal import ClientKey
from charter.registry.standing import Standing
from charter.registry.terms import Terms

OVERLAP = dt.timedelta(hours=1)  # a replaced key counts on: longer than any token it obtained
SECRET_OVERLAP = dt.timedelta(days=1)  # a replaced secret, which people carry about
LONGEST_OVERLAP = dt.timedelta(days=30)
_MOST_LEAD = dt.timedelta(days=1)
_GROWS_OLD = frozenset({"EC", "OKP", SECRET})


def grows_old(key: ClientKey) -> bool:
    """Return whether a credential is one that is replaced by another, and is in use."""
    return key.jwk.get("kty") in _GROWS_OLD and key.standing is Standing.ACTIVE


def due_at(key: ClientKey, terms: Terms) -> dt.datetime | None:
    """Return when `key` must have been replaced; None: never, or it is replaced already."""
    if terms.rotate_seconds is None and key.due_at is None:
        return None  # nobody wants any replaced: what nearly all calls find
    if not grows_old(key) or key.replaced_by is not None:
        return None
    if terms.rotate_seconds is None:
        return key.due_at
    by_charter = key.registered_at + dt.timedelta(seconds=terms.rotate_seconds)
    return by_charter if key.due_at is None else min(by_charter, key.due_at)


def wanted_at(key: ClientKey, terms: Terms) -> dt.datetime | None:
    """Return from when on its client shall replace `key`: a little before it is due."""
    due = due_at(key, terms)
    if due is None:
        return key.registered_at if key.replaced_by is not None and grows_old(key) else None
    return due - min((due - key.registered_at) / 10, _MOST_LEAD)


def over_at(key: ClientKey, terms: Terms) -> dt.datetime | None:
    """Return when `key` counts no more, whatever its standing; None: as long as its standing lets it."""
    due = due_at(key, terms)
    if due is None or terms.grace_seconds is None:
        return key.ends_at
    late = due + dt.timedelta(seconds=terms.grace_seconds)
    return late if key.ends_at is None else min(late, key.ends_at)


def overlap_of(terms: Terms, wanted: dt.timedelta | None = None, usual: dt.timedelta = OVERLAP) -> dt.timedelta:
    """Return how long a replaced credential counts on: as `wanted`, else as is usual, or no longer than it lived."""
    if wanted is not None:
        return min(wanted, LONGEST_OVERLAP)
    return usual if terms.rotate_seconds is None else min(usual, dt.timedelta(seconds=terms.rotate_seconds))

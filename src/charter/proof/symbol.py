"""Cedar's values where they are not known: terms for what is plain, shapes for what is made of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from charter.policy.cedar_value import Uid
from charter.proof.term import FALSE, TRUE, Term


class Kind(StrEnum):
    """Types of Cedar whose values are one term."""

    BOOL = "bool"
    LONG = "long"
    TEXT = "text"
    DECIMAL = "decimal"  # in 1/10,000
    DATETIME = "datetime"  # in milliseconds since 1970
    DURATION = "duration"  # in milliseconds


@dataclass(frozen=True, slots=True)
class Scalar:
    """A plain value."""

    kind: Kind
    term: Term


@dataclass(frozen=True, slots=True)
class Listed:
    """A set whose entries are written out."""

    entries: tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A set of texts that is known by its name alone.

    `alias` says under which name an entry is kept, if it is kept at all: two versions of a calendar are two entries.
    """

    name: str
    alias: Mapping[str, str] | None = None

    def entry(self, text: str) -> str | None:
        """Return the name under which an entry is kept; None: the set never holds it."""
        return text if self.alias is None else self.alias.get(text)


@dataclass(frozen=True, slots=True)
class Fields:
    """A record, or the attributes of an entity: for each name whether it is there, and its value."""

    members: Mapping[str, tuple[Term, Symbol]]

    def presence(self, name: str) -> Term:
        """Return that the member is there."""
        found = self.members.get(name)
        return FALSE if found is None else found[0]


@dataclass(frozen=True, slots=True)
class Thing:
    """An entity: its type, its id, what it is in besides itself, and its attributes if they may be read."""

    type: str
    id: Term
    within: frozenset[Uid] = frozenset()
    attributes: Fields | None = field(default=None, compare=False)


Symbol = Scalar | Listed | Named | Fields | Thing


def there(symbol: Symbol) -> tuple[Term, Symbol]:
    """Return a member of a record that is always there."""
    return TRUE, symbol

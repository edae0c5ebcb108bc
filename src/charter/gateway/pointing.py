"""What the person's request points at by name, and what stands there alone: "her address is on www.dora.example".

Whoever names a page, a file or a record as the place to look at asks for what is to be found there. What is found is
still what others wrote, and others may have written more into it. So of a thing that was pointed at counts

    the only one      address of mail, account or amount of money that stands in it: with a second one, neither
    the same field    of a record that bears the name, for a call of the same system: "with the same participants as …"

A text has no name of its own to be told by: it may be a list of all that anybody wrote with the name in it. So it is
pointed at by what has the form of a file or page alone; records are by what is quoted too.

INVARIANT: names are taken from the person's own words: quoted, or in the form of a file, page or address. What a model
or a tool calls something points at nothing.
INVARIANT: of several records that bear one name, none is pointed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from charter.gateway.provenance import ACCOUNT, MAIL, MAX_LEAVES, MAX_NAME, MAX_TEXT, QUOTES, decimal_of, leaves, normal

SHORTEST = 3  # characters of a name
MAX_NAMES = 64  # that one session's requests name
MAX_POINTED = 1024  # values of one session
MAX_RECORDS = 256  # of one result that are looked at for the name
_QUOTED = re.compile(rf"(?<!\w)[{QUOTES}](?P<name>[^{QUOTES}\n]{{3,80}})[{QUOTES}](?!\w)")
_SHAPED = re.compile(
    r"(?<![\w@.%~+/:-])(?:https?://)?[\w%~+-]+(?:[./][\w%~+-]+)*\.[A-Za-z]\w{1,9}(?![\w@])(?:/[\w.%~+-]*)*", re.ASCII
)
_ADDRESSES = (re.compile(MAIL, re.IGNORECASE), re.compile(ACCOUNT, re.IGNORECASE))
_MONEY = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d{1,12})\.\d{2}(?![\w.,]*\d|%)")

T = TypeVar("T")


@dataclass(slots=True)
class Pointed:
    """What one session's requests name, and what stands alone in it."""

    names: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)  # those of them that have the form of a file or page
    values: set[str] = field(default_factory=set)  # addresses and accounts, in their normal form
    amounts: set[Decimal] = field(default_factory=set)
    fields: set[tuple[str, str, str]] = field(default_factory=set)  # system, name of a field, its whole value

    def hear(self, text: str) -> None:
        """Keep what a person's words name."""
        for name, is_place in names_in(text).items():
            if len(self.names) >= MAX_NAMES:
                return
            self.names.add(name)
            self.places |= {name} if is_place else set()

    def take_in(self, system: str, arguments: Mapping[str, Any], contents: Iterable[Any]) -> None:
        """Keep what stands alone in what a reading call brought, if its arguments ask for something by its name.

        Of what is too long to be looked at whole nothing is kept: more might stand in the rest.
        """
        if not self.names:
            return
        told = self.names & {bare(each) for _, each in leaves(arguments) if isinstance(each, str)}
        if not told or len(self.values) + len(self.amounts) + len(self.fields) >= MAX_POINTED:
            return
        whole = list(contents)
        records = _records(whole)
        if records:
            whole = [each for each in records if any(bare(said) in told for _, said in _short(each))]
            if len(whole) != 1 or len(records) > MAX_RECORDS:
                return
            self.fields |= {(system, name, normal(said)) for name, said in _short(whole[0])}
        elif not told & self.places:
            return
        said = [each for _, each in leaves(whole) if isinstance(each, str)]
        text = "\n".join(said)
        if len(text) > MAX_TEXT or len(said) >= MAX_LEAVES:
            return
        for kind in _ADDRESSES:
            self.values |= _only({normal(each[0].rstrip(".")) for each in kind.finditer(text)})
        self.amounts |= _only({Decimal(each[0].replace(",", "")) for each in _MONEY.finditer(text)})

    def holds(self, value: Any, argument: str, system: str) -> bool:  # noqa: ANN401 - any JSON scalar
        """Return whether a value stands alone there, or in a field called like the `argument` that it is given for."""
        if isinstance(value, bool) or value is None:
            return False
        if not isinstance(value, str):
            return decimal_of(str(value)) in self.amounts
        text = normal(value)
        return text in self.values or (system, argument, text) in self.fields


def names_in(text: str) -> dict[str, bool]:
    """Return what a text names, no people: what it quotes, and, told by True, what has the form of a file or page."""
    kept = text[:MAX_TEXT]
    found = {bare(each["name"]): False for each in _QUOTED.finditer(kept)}
    found |= {bare(each[0]): True for each in _SHAPED.finditer(kept)}
    return {name: is_place for name, is_place in found.items() if len(name) >= SHORTEST and "@" not in name}


def bare(text: str) -> str:
    """Return a name in the form in which names are compared: without the scheme and the last slash of a page."""
    return normal(text).removeprefix("https://").removeprefix("http://").rstrip("/")


def _only(found: set[T]) -> set[T]:
    return found if len(found) == 1 else set()


def _records(contents: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Return the records of a result, each once: objects, in a list or by themselves, however the server wraps them."""
    found: dict[str, Mapping[str, Any]] = {}
    for content in contents:
        only = next(iter(content.values())) if isinstance(content, Mapping) and len(content) == 1 else content
        for each in only if isinstance(only, list) else [only]:
            if isinstance(each, Mapping) and len(found) <= MAX_RECORDS:
                found.setdefault(repr(each), each)
    return list(found.values())


def _short(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((name, said) for name, said in leaves(record) if isinstance(said, str) and 0 < len(said) <= MAX_NAME)

"""What a Cedar expression comes to, and who reads the expressions within one: what each group of operators needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from charter.policy.engine import Json
from charter.policy.expression import NotModelledError
from charter.proof.symbol import Kind, Scalar, Symbol
from charter.proof.term import FALSE, TRUE, Term

MAX_CHARACTER = 0x2FFFF  # of texts in the solver's logic


@dataclass(frozen=True, slots=True)
class Reading:
    """What an expression comes to: its value, and where it has one."""

    symbol: Symbol
    holds_up: Term = TRUE  # evaluating it makes no error


ERROR = Reading(Scalar(Kind.BOOL, FALSE), FALSE)
Variables = Mapping[str, Symbol]  # principal, action, resource, context


class Reads(Protocol):
    """Reads the expressions of one policy."""

    @property
    def variables(self) -> Variables:
        """What the variables are."""
        ...

    def read(self, node: Json, depth: int = 0) -> Reading:
        """Return what an expression comes to."""
        ...

    def truth(self, node: Json, depth: int) -> tuple[Term, Term]:
        """Return where an expression is true, and where it is true or false rather than an error."""
        ...

    def scalar(self, node: Json, kind: Kind, depth: int) -> tuple[Term, Term]:
        """Return the term of an expression of this kind, and where it has a value; another kind is an error."""
        ...


Read = Callable[[Reads, Any, int], Reading]


def truth_value(term: Term, holds_up: Term = TRUE) -> Reading:
    """Return what is true or false."""
    return Reading(Scalar(Kind.BOOL, term), holds_up)


def plain_text(text: str) -> str:
    """Return a text that the solver's logic has.

    Raises:
        NotModelledError: a character is beyond it.
    """
    if any(ord(char) > MAX_CHARACTER for char in text):
        raise NotModelledError("a character beyond those that texts are proven over")
    return text

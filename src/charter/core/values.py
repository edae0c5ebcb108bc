"""Values parsed once and valid for ever after: names, SPIFFE IDs, secrets, source positions.

Names are ASCII on purpose. A look-alike letter in a principal's name is an attack (one principal passing for another in
a console or a log), and an identity ends up in URLs, SPIFFE paths and policy text, where other alphabets help nobody.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from typing_extensions import override

from charter.core.errors import ErrorCode, MalformedError

MAX_NAME = 63
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ACTION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:/-]{0,126}[A-Za-z0-9_])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?")


def parse_name(text: str, what: str = "name") -> str:
    """Return `text` if it is a name: 1 to 63 of a-z, 0-9 and inner hyphens.

    Raises:
        MalformedError: it is not; the message says which character is wrong.
    """
    if _NAME.fullmatch(text):
        return text
    wrong = next((ch for ch in text if not (ch.isascii() and (ch.isdigit() or ch.islower() or ch == "-"))), None)
    why = f"has `{wrong!a}`" if wrong else "is empty, longer than 63, or begins or ends with a hyphen"
    raise MalformedError(
        ErrorCode.BAD_VALUE, f"the {what} {text[:80]!a} {why}", help="use 1 to 63 of a-z, 0-9 and hyphens inside"
    )


def parse_action(text: str) -> str:
    """Return `text` if it is an action's name: 1 to 128 of letters, digits and inner `._:/-`.

    Raises:
        MalformedError: it is not.
    """
    if _ACTION.fullmatch(text):
        return text
    raise MalformedError(
        ErrorCode.BAD_VALUE, f"{text[:80]!a} is no action name", help="use letters, digits and ._:/- inside"
    )


def parse_line(text: str, what: str, *, longest: int) -> str:
    """Return `text` as one line of visible text: people write it by hand, and it stands in the evidence.

    Raises:
        MalformedError: it is empty, too long, or holds control, zero-width or direction-changing characters.
    """
    line = " ".join(text.split())
    if not line:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"the {what} is missing", help=f"write a {what}; it stands in the evidence"
        )
    if len(line) > longest:
        raise MalformedError(ErrorCode.BAD_VALUE, f"the {what} is longer than {longest} characters", help="shorten it")
    if not line.isprintable():
        raise MalformedError(
            ErrorCode.BAD_VALUE,
            f"the {what} holds a control, zero-width or direction-changing character",
            help="type it by hand",
        )
    return line


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A SPIFFE ID (SPIFFE-ID section 2). Charter's are `spiffe://<trust domain>/<environment>/<kind>/<name>`."""

    trust_domain: str
    path: str

    @classmethod
    def of_principal(cls, trust_domain: str, environment: str, kind: str, name: str) -> SpiffeId:
        """Return the id Charter gives a principal."""
        if not _TRUST_DOMAIN.fullmatch(trust_domain):
            raise MalformedError(ErrorCode.BAD_VALUE, f"{trust_domain[:80]!a} is no SPIFFE trust domain")
        return cls(trust_domain, f"/{environment}/{kind}/{parse_name(name)}")

    @override
    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where in an estate's files something stands: `path` relative to the estate, `line` and `column` from 1."""

    path: str
    line: int
    column: int = 1

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Secret:
    """Bytes that never show themselves: `repr` and `str` are `***`, equality takes constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes; call it where they are used and nowhere else."""
        return self._value

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    @override
    def __hash__(self) -> int:
        return hash(self._value)

    @override
    def __repr__(self) -> str:
        return "***"

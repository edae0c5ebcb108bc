"""Values parsed once and valid for ever after: names, SPIFFE IDs, secrets, source positions.

Names are ASCII on purpose. A look-alike letter in a principal's name is an attack (one principal passing for another in
a console or a log), and an identity ends up in URLs, SPIFFE paths and policy text, where other alphabets help nobody.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from typing_extensions import override

from charter.core.errors import ErrorCode, MalformedError

MAX_NAME = 63
MAX_SPIFFE_ID = 2048  # bytes, which are characters (SPIFFE-ID section 2.3)
SPIFFE_SCHEME = "spiffe://"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ACTION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:/-]{0,126}[A-Za-z0-9_])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def parse_name(text: str, what: str = "name") -> str:
    """Return `text` if it is a name: 1 to 63 of a-z, 0-9 and inner hyphens.

    Raises:
        MalformedError: it is not; the message says which character is wrong.
    """
    if _NAME.fullmatch(text):
        return text
    wrong = next((ch for ch in text if not (ch.isascii() and (ch.isdigit() or ch.islower() or ch == "-"))), None)
    why = f"has {wrong!a}" if wrong else "is empty, longer than 63, or begins or ends with a hyphen"
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


def parse_trust_domain(text: str) -> str:
    """Return `text` if it is the name of a SPIFFE trust domain: 1 to 255 of a-z, 0-9 and `._-` (SPIFFE-ID section 2.1).

    Raises:
        MalformedError: it is not. Capitals are refused and never folded: two spellings would be two names in a log.
    """
    if _TRUST_DOMAIN.fullmatch(text):
        return text
    raise MalformedError(
        ErrorCode.BAD_VALUE,
        f"{text[:80]!a} is no SPIFFE trust domain",
        help="use 1 to 255 of a-z, 0-9, dots, hyphens and underscores, without spiffe://",
    )


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A SPIFFE ID (SPIFFE-ID section 2). Charter's are `spiffe://<trust domain>/<environment>/<kind>/<name>`.

    `path` is empty or begins with a slash. An id without a path names the trust domain itself.
    """

    trust_domain: str
    path: str

    @classmethod
    def of_principal(cls, trust_domain: str, environment: str, kind: str, name: str) -> SpiffeId:
        """Return the id Charter gives a principal."""
        return cls(parse_trust_domain(trust_domain), f"/{environment}/{kind}/{parse_name(name)}")

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Return the SPIFFE ID that `text` is, character for character; nothing is decoded, folded or normalised.

        Raises:
            MalformedError: it is none (SPIFFE-ID sections 2.1 to 2.4); the message says which part is wrong.
        """
        if len(text) > MAX_SPIFFE_ID:
            raise _no_spiffe_id(text, f"is longer than {MAX_SPIFFE_ID} characters")
        if not text.startswith(SPIFFE_SCHEME):
            raise _no_spiffe_id(text, "does not begin with `spiffe://`")
        trust_domain, slash, path = text.removeprefix(SPIFFE_SCHEME).partition("/")
        if not _TRUST_DOMAIN.fullmatch(trust_domain):
            raise _no_spiffe_id(text, "has a trust domain that is not 1 to 255 of a-z, 0-9 and `._-`")
        segments = path.split("/") if slash else []
        if not all(_SEGMENT.fullmatch(each) and each not in (".", "..") for each in segments):
            raise _no_spiffe_id(text, "has a path segment that is empty, `.`, `..` or not of letters, digits and `._-`")
        return cls(trust_domain, slash + path)

    @override
    def __str__(self) -> str:
        return f"{SPIFFE_SCHEME}{self.trust_domain}{self.path}"


def _no_spiffe_id(text: str, why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE, f"{text[:80]!a} is no SPIFFE ID: it {why}", help="write spiffe://TRUST-DOMAIN/PATH"
    )


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


def is_loopback(host: str | None) -> bool:
    """Return whether `host` is this machine by its own spelling; names are not looked up."""
    try:
        return host == "localhost" or (host is not None and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def trusted_address(text: str) -> str:
    """Return `text`, which must be the https address of an issuer, or an http one on this machine.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"`{text[:80]}` is no address; write it in full, as in https://issuer.example.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"`{text[:80]}` is not https, so anyone on the way could sign in its name")
    return text

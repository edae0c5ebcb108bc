"""Signatures of agent cards, verified with keys that the operator trusts (A2A 1.0 section 8.4.3).

    (1) The protected header holds `alg` and `kid`, perhaps `typ` and `jku`, and nothing else. `jwk`, `x5u`, `x5c`,
        `crit` and `b64` are refused: a card cannot bring the key that it is to be believed by.
    (2) The key is one that the operator gave, or one of a key set at an address whose host the operator named; a
        `jku` that leads elsewhere is passed over, never followed.
    (3) The algorithm is asymmetric and the key's own: `none`, and a public key used as a secret, fit no key.
    (4) The signature is over the card's canonical form, without its `signatures`.

One good signature is enough: others may be of keys that are on their way in or out.

INVARIANT: the unprotected header is read by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from charter.identity.agent_card import AgentCard, CardSignature
from charter.identity.foreign import ForeignKey
from charter.identity.jose import Compact, decode_base64url, encode_base64url, read_json

_HEADER = frozenset({"alg", "kid", "typ", "jku"})
_TYPES = frozenset({"jose", "jose+json", "jwt"})  # the last is what libraries write where they are told nothing
MAX_PROTECTED = 4096  # characters


class Signed(StrEnum):
    """What is to be thought of a card's signatures."""

    TRUSTED = "trusted"  # one verifies with a key that is trusted
    UNSIGNED = "unsigned"
    UNCHECKED = "unchecked"  # there are some, and no keys to check them with
    UNTRUSTED = "untrusted"  # none is by a key that is trusted
    BAD = "bad"  # one names a key that is trusted, and does not verify


@dataclass(frozen=True, slots=True)
class CardProof:
    """What verification found: the outcome, by which key, and why no other signature counts."""

    outcome: Signed
    key_id: str | None = None
    faults: tuple[str, ...] = ()


def key_addresses(card: AgentCard, hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses of key sets that the card's signatures name and whose hosts are among `hosts`, exactly.

    Nothing is fetched here, and nothing that another host serves is ever named.
    """
    allowed = {host.lower() for host in hosts}
    found: list[str] = []
    for signature in card.signatures:
        header, _ = _header(signature)
        address = header.get("jku") if header else None
        if isinstance(address, str) and _host_of(address) in allowed and address not in found:
            found.append(address)
    return tuple(found)


def verify_card(card: AgentCard, keys: Sequence[ForeignKey]) -> CardProof:
    """Return what the card's signatures are worth, by the keys that are trusted."""
    if not card.signatures:
        return CardProof(Signed.UNSIGNED)
    if not keys:
        return CardProof(Signed.UNCHECKED)
    faults: list[str] = []
    outcome = Signed.UNTRUSTED
    for index, signature in enumerate(card.signatures):
        found = _verified(card, signature, keys)
        if isinstance(found, ForeignKey):
            return CardProof(Signed.TRUSTED, found.key_id)
        faults.append(f"signature {index}: {found.text}")
        if found.is_bad:
            outcome = Signed.BAD
    return CardProof(outcome, None, tuple(faults))


@dataclass(frozen=True, slots=True)
class _Fault:
    text: str
    is_bad: bool = False  # it claims a key that is trusted


def _verified(card: AgentCard, signature: CardSignature, keys: Sequence[ForeignKey]) -> ForeignKey | _Fault:
    """Return the trusted key that made a signature, or why there is none."""
    header, fault = _header(signature)
    if header is None:
        return _Fault(fault)
    algorithm, key_id = header["alg"], header["kid"]
    named = [key for key in keys if key.key_id == key_id]
    if not named:
        return _Fault("it names a key that is not trusted")
    fitting = [key for key in named if algorithm in key.algorithms]
    if not fitting:
        return _Fault(f"it names the algorithm {algorithm[:20]!a}, which is not that of its key", is_bad=True)
    try:
        raw = decode_base64url(signature.signature)
    except ValueError:
        return _Fault("it is no base64url", is_bad=True)
    for form in _forms(card):
        parts = Compact(header, {}, f"{signature.protected}.{encode_base64url(form)}".encode(), raw)
        for key in fitting:
            if key.verify(algorithm, parts):
                return key
    return _Fault("it does not verify: the card is not what was signed", is_bad=True)


def _forms(card: AgentCard) -> Iterator[bytes]:
    yield card.form
    lax = card.lax_form
    if lax is not None:
        yield lax


def _header(signature: CardSignature) -> tuple[dict[str, Any], str] | tuple[None, str]:
    """Return the protected header, or why there is none that counts."""
    if len(signature.protected) > MAX_PROTECTED:
        return None, f"its protected header is longer than {MAX_PROTECTED} characters"
    try:
        header = read_json(decode_base64url(signature.protected))
    except ValueError as err:
        return None, f"its protected header cannot be read: {err}"
    extra = sorted(header.keys() - _HEADER)
    if extra:
        return None, f"its protected header holds {extra[0][:40]!a}, which has no place there"
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid"), str):
        return None, "its protected header names no algorithm and key"
    if not isinstance(header.get("typ", "JOSE"), str) or header.get("typ", "JOSE").lower() not in _TYPES:
        return None, "its protected header is of another type"
    return header, ""


def _host_of(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return None
    return host.lower() if parts.scheme == "https" and host and parts.username is None else None

"""A person's consent, picked up: codes that are taken once, and refresh tokens that are replaced at every use.

A consent is a delegation (identity/delegation.py): what lives and dies is that. A code lets the client pick it up
within a minute; a refresh token lets it come back until the delegation ends. Both are kept by their digests.

INVARIANT: a code that comes twice, or a refresh token that was replaced, is in two hands: the delegation is withdrawn
with everything beneath it, and the evidence says why (RFC 6749 sections 4.1.2 and 10.4; OAuth 2.1 section 4.3.1).
INVARIANT: a code counts only with the verifier whose challenge was sent before the person was asked (RFC 7636).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from charter.core.canonical import digest
from charter.core.errors import AbsentError, DeniedError, ErrorCode
from charter.identity.bearer import Client
from charter.identity.delegation import LendingWork, Wanted
from charter.identity.jose import encode_base64url
from charter.identity.withdrawal import withdraw
from charter.registry.principal import LiveEstate
from charter.registry.registered_client import RegisteredClient
from charter.registry.standing import Standing

CODE_SECONDS = 60
REFRESH_PREFIX = "crf_"
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.1
DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")  # a SHA-256 in base64url: a challenge, the thumbprint of a key


class RefreshState(StrEnum):
    """What became of a refresh token."""

    ACTIVE = "active"
    USED = "used"  # replaced by the next
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ConsentCode:
    """What a consent is picked up with. `redirect_uri` and `challenge` are those of the request; a device has none."""

    digest: str
    principal_id: str
    delegation_id: str
    resource: str
    redirect_uri: str | None
    challenge: str | None
    expires_at: int  # seconds since 1970
    proof_key: str | None = None  # thumbprint of the DPoP key that must come with it (RFC 9449 section 10)
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One refresh token. `family` is the delegation it stands for."""

    digest: str
    family: str
    principal_id: str
    credential: str
    resource: str
    bound_to: str | None  # thumbprint of the key that must be shown with it
    expires_at: int
    state: RefreshState = RefreshState.ACTIVE


class ConsentStore(Protocol):
    """The codes, refresh tokens and registrations kept."""

    def add_code(self, code: ConsentCode) -> None:
        """Keep a new code."""
        ...

    def code(self, digest: str) -> ConsentCode | None:
        """Return the code of that digest."""
        ...

    def use_code(self, digest: str) -> None:
        """Mark a code as taken."""
        ...

    def add_refresh(self, token: RefreshToken) -> None:
        """Keep a new refresh token."""
        ...

    def refresh(self, digest: str) -> RefreshToken | None:
        """Return the refresh token of that digest."""
        ...

    def set_refresh(self, digest: str, state: RefreshState) -> None:
        """Change what became of one."""
        ...

    def revoke_family(self, family: str) -> int:
        """Revoke what is active of a family; return how many that were."""
        ...

    def add_client(self, client: RegisteredClient) -> None:
        """Keep a new registration."""
        ...

    def count_clients(self, principal_id: str) -> int:
        """Return how many registrations of a principal there are."""
        ...


class ConsentWork(LendingWork, Protocol):
    """The slice of the work that consent needs."""

    @property
    def consents(self) -> ConsentStore:
        """Codes, refresh tokens, registrations."""
        ...


def digest_of_secret(secret: str) -> str:
    """Return what is kept of a code or refresh token: it has 256 random bits, so that a plain digest hides it."""
    return digest(secret.encode(errors="surrogatepass"))


@dataclass(frozen=True, slots=True)
class Pickup:
    """What comes with a code."""

    secret: str
    principal_id: str
    redirect_uri: str | None
    verifier: str | None
    resource: str | None
    proof_key: str | None = None  # thumbprint of the DPoP key that came along


def refuse_code(tx: ConsentWork, code: ConsentCode | None, pickup: Pickup) -> DeniedError | None:
    """Return why a code is not taken, if so; one that comes twice ends what it stood for. Part of a work."""
    if code is None or code.principal_id != pickup.principal_id:
        return _bad("there is no such code for this client")
    if code.is_used:
        end_family(tx, code.delegation_id, "its code came twice")
        return _bad("the code was used before, so what it stood for is withdrawn")
    if int(tx.at.timestamp()) >= code.expires_at:
        return _bad("the code is older than a minute")
    strange = None if code.challenge is None else _strange(code, code.challenge, pickup)
    return _bad(strange) if strange else None


def _strange(code: ConsentCode, challenge: str, pickup: Pickup) -> str | None:
    """Return what shows that the code of a browser's request is in other hands than those that asked, if anything."""
    if code.redirect_uri != pickup.redirect_uri:
        return "the redirect address is not the one that the code was sent to"
    if not _is_answer(challenge, pickup.verifier):
        return "the code verifier is missing, or another than the one that the request was made with"
    if code.proof_key not in (None, pickup.proof_key):
        return "the code is bound to another key than the one whose proof came with it, or none came"
    return None


def refuse_refresh(
    tx: ConsentWork, token: RefreshToken | None, *, principal_id: str, shown_key: str | None
) -> DeniedError | None:
    """Return why a refresh token is not taken, if so; a replaced one ends its family. Part of a work."""
    if token is None or token.principal_id != principal_id:
        return _bad("there is no such refresh token for this client")
    if token.state is RefreshState.USED:
        end_family(tx, token.family, "a refresh token that was replaced came again")
        return _bad("the refresh token was replaced before, so what it stood for is withdrawn")
    if token.state is RefreshState.REVOKED or int(tx.at.timestamp()) >= token.expires_at:
        return _bad("the refresh token was revoked, or has expired")
    if not _is_bound_to(tx.live, token, shown_key):
        return _bad("the refresh token is bound to another key than the one shown with it, or none was shown")
    return None


def revoke_refresh(tx: ConsentWork, secret: str, client: Client) -> None:
    """Take a refresh token back, and with it the consent that it stands for (RFC 7009 section 2.1). A work.

    One that is not the client's own is as good as unknown.
    """
    found = tx.consents.refresh(digest_of_secret(secret))
    if found is not None and found.principal_id == client.principal_id:
        end_family(tx, found.family, "its client gave it back")


def end_family(tx: ConsentWork, family: str, why: str) -> None:
    """Revoke the refresh tokens of a consent, and withdraw the delegation. Part of a work."""
    tx.consents.revoke_family(family)
    try:
        withdraw(tx, Wanted(link=family), actor="charter", reason=why)
    except AbsentError:
        return  # it is withdrawn, or has ended, already


def replaced(token: RefreshToken, digest: str, resource: str, shown_key: str | None) -> RefreshToken:
    """Return the refresh token that takes the place of `token`, bound to the key that was shown with that."""
    return replace(token, digest=digest, resource=resource, state=RefreshState.ACTIVE, bound_to=shown_key)


def _is_bound_to(live: LiveEstate, token: RefreshToken, shown_key: str | None) -> bool:
    """Return whether the key that was shown is the one the token is bound to, or a registered one that followed it."""
    bound, seen = token.bound_to, set[str]()
    while bound is not None and bound != shown_key and bound not in seen:
        seen.add(bound)
        key = live.keys.get(bound)
        follows = key is not None and key.principal_id == token.principal_id and key.standing is not Standing.REVOKED
        bound = key.replaced_by if key is not None and follows else None
    return bound == shown_key and (shown_key is not None or token.bound_to is None)


def _is_answer(challenge: str, verifier: str | None) -> bool:
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        return False
    made = encode_base64url(hashlib.sha256(verifier.encode()).digest())
    return hmac.compare_digest(made, challenge)


def _bad(why: str) -> DeniedError:
    return DeniedError(ErrorCode.BAD_GRANT, why, help="begin again: ask the person for consent")

"""Identity assertions of the organisation's provider: it signs that a person lets a client act (ID-JAG).

An identity assertion authorization grant is a JWT of the type `oauth-id-jag+jwt` that the provider made out to this
server, for one person and one client, by its own policy (draft-ietf-oauth-identity-assertion-authz-grant).

INVARIANT: what the assertion says bounds what is lent; the charters on both sides bound it again.
INVARIANT: it counts for the client that it names and that proved itself, and once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from charter.core.canonical import digest
from charter.core.errors import AbsentError, DeniedError, ErrorCode
from charter.identity.foreign import SKEW_SECONDS
from charter.registry.delegation import is_person
from charter.registry.issuer import Platform, TrustedIssuer
from charter.registry.lent_scope import MAX_WORDS, Scope, ScopePart
from charter.registry.principal import LiveEstate

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPE = "oauth-id-jag+jwt"
_JTI = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class Asserted:
    """What an assertion says, once its signature and its frame were checked."""

    issuer: str
    person: str  # by e-mail address, as people are known here
    client_id: str
    resource: str | None
    scope: str | None
    jti_digest: str
    remember_until: int  # seconds since 1970

    @property
    def memory_key(self) -> str:
        """What tells this issuer's `jti` from another's in the replay memory."""
        return digest(f"id-jag {self.issuer}".encode())[7:]


def provider_of(live: LiveEstate, issuer: str) -> TrustedIssuer:
    """Return the trusted provider whose tokens say `issuer`.

    Raises:
        DeniedError: there is none.
    """
    for each in live.issuers.issuers.values():
        if each.platform is Platform.IDENTITY_PROVIDER and each.address == issuer:
            return each
    raise DeniedError(
        ErrorCode.BAD_GRANT,
        "the assertion's issuer is no identity provider that is trusted here",
        help="name it in issuers.yaml, with the platform identity-provider",
    )


def asserted_of(live: LiveEstate, claims: Mapping[str, Any]) -> Asserted:
    """Return what verified `claims` assert.

    Raises:
        DeniedError: they lack something, or name somebody who is not known here.
    """
    jti, client_id = claims.get("jti"), claims.get("client_id")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        _refuse("has no `jti` of 1 to 256 printable ASCII characters")
    if not isinstance(client_id, str) or not client_id:
        _refuse("does not say for which client it is, as `client_id`")
    for name in ("resource", "scope"):
        if not isinstance(claims.get(name), str | None):
            _refuse(f"has a `{name}` that is no text")
    if "authorization_details" in claims:
        _refuse("has `authorization_details`, which are not understood here")
    return Asserted(
        issuer=claims["iss"],
        person=_person(live, claims),
        client_id=client_id,
        resource=claims.get("resource"),
        scope=claims.get("scope"),
        jti_digest=digest(jti.encode()),
        remember_until=claims["exp"] + 2 * SKEW_SECONDS,
    )


def scope_of(asserted: Asserted, system: str, actions: frozenset[str]) -> Scope:
    """Return what is lent on `system`, which knows `actions`: those that the assertion names as scope, or all.

    Raises:
        DeniedError: it names something else.
    """
    words = tuple(dict.fromkeys((asserted.scope or "").split()))
    strange = next((word for word in words if word not in actions), None)
    if strange is not None or len(words) > MAX_WORDS:
        raise DeniedError(
            ErrorCode.BAD_SCOPE,
            f"the assertion's scope names {strange or words[0]!a:.80}, which is no action of `{system}`",
            help="let the provider name actions of the system, or no scope",
        )
    return Scope((ScopePart(system, words),)) if words else Scope((ScopePart(system),))


def _person(live: LiveEstate, claims: Mapping[str, Any]) -> str:
    """Return whom the assertion is about: by verified address, or by what the directory calls the subject."""
    email, directory = claims.get("email"), live.directory
    if email is None:
        subject = claims.get("sub")
        known = directory.with_external_id(subject) if isinstance(subject, str) and subject else ()
        if len(known) > 1:
            _refuse("has a `sub` by which the directory knows more than one person")
        email = known[0].email if known else None
    elif claims.get("email_verified", True) is not True:
        _refuse("has an e-mail address that its issuer did not verify")
    if not isinstance(email, str) or not is_person(email.lower()):
        _refuse("does not say whom it is about: neither `email`, nor a `sub` that the directory knows")
    found = email.lower()
    if directory.has_left(found) or (len(directory) > 0 and directory.with_email(found) is None):
        _refuse("is about somebody whom the directory does not know as active")
    return found


def only_purpose(purposes: tuple[str, ...], asked: str | None) -> str:
    """Return the purpose for which it is lent: the one asked for, or the only one there is.

    Raises:
        AbsentError: none is asked for, and the charter knows several or none.
    """
    if asked is not None:
        return asked
    if len(purposes) == 1:
        return purposes[0]
    raise AbsentError(
        ErrorCode.BAD_REQUEST,
        "the request does not say for which purpose",
        help="send `purpose`, as the charter has it",
    )


def _refuse(why: str) -> NoReturn:
    raise DeniedError(ErrorCode.BAD_GRANT, f"the assertion {why}", help="let the provider make another")

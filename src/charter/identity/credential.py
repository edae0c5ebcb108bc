"""Credentials: the public keys that principals prove themselves with. Many over time, each of exactly one principal.

INVARIANT: one key, one principal. The same key offered for a second principal is refused, and that it was offered is a
finding, committed although the registration is not: the refusal is a value here and an error at the edge (`required`).
INVARIANT: registering or revoking a key changes nothing of the identity: id, SPIFFE ID, epoch and charter stay.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from charter.core.canonical import digest_of
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ConflictError, DeniedError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import refusal
from charter.identity.certificate import read_certificate, thumbprint_of_certificate
from charter.identity.jose import PublicKey, parse_public_jwk
from charter.identity.noting import note
from charter.identity.work import IdentityWork
from charter.registry.charter import CredentialType
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.record import Finding
from charter.registry.sharing import Certainty
from charter.registry.standing import Standing

MAX_KEYS = 10  # active ones of one principal: enough to roll over a fleet, few enough to try each
MAX_READY = 10_000
SHARED = "shared-credential"
FEED_KIND = "key"


@dataclass(frozen=True, slots=True)
class SharedKey:
    """The refusal of a key that another principal has: the finding is kept."""

    thumbprint: str
    offered_for: str
    holder: str
    finding_id: str


Registration = ClientKey | SharedKey


def register_key(  # noqa: PLR0913 - each is decided by the caller, and named there
    tx: IdentityWork,
    principal: Principal,
    jwk: object,
    *,
    actor: str,
    reason: str,
    entropy: Entropy,
    certificate: bytes | None = None,
    shown_by: Callable[[str], str | None] = lambda _thumbprint: None,
) -> Registration:
    """Register the public key `jwk` for `principal`; the same key again is the same registration. A work.

    `certificate` is one, in DER, that holds the key: its client may show it in TLS (RFC 8705 section 2.2). `shown_by`
    says which principal showed a key lately that nobody registered, as in a DPoP proof.

    Raises:
        MalformedError: it is no public key that fits.
        DeniedError: the principal may not act.
        ConflictError: the key was revoked, or the principal has too many.
    """
    public = parse_public_jwk(jwk)
    shown = _certificate_of(public, certificate)
    stopped = refusal(tx.live, principal.id, None, at=tx.at)
    if stopped is not None:
        raise DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    known = tx.identity.key_by_thumbprint(public.thumbprint)
    holder_id = known.principal_id if known is not None else shown_by(public.thumbprint)
    holder = tx.live.principals.get(holder_id) if holder_id else None
    if holder is not None and holder.id != principal.id:
        return _shared(tx, principal, holder, public.thumbprint, actor=actor, entropy=entropy)
    if known is not None:
        if known.standing is not Standing.ACTIVE:
            raise ConflictError(
                ErrorCode.BAD_MOVE,
                f"the key `{known.id}` of `{principal.name}` is {known.standing.value}",
                help="make a new key",
            )
        return known if shown is None else _with_certificate(tx, known, shown, actor, reason)
    _check_room(tx, principal)
    key = ClientKey(
        entropy.identifier("crd"), principal.id, public.thumbprint, public.jwk, Standing.ACTIVE, tx.at, shown
    )
    tx.identity.add_key(key)
    body = {"principal": principal.name, "key": key.id, "thumbprint": key.thumbprint, "type": _type_of(public)}
    tx.record(Draft(EntryKind.CREDENTIAL_REGISTERED, actor, principal.id, body | {"reason": reason}))
    _show(tx, key, actor, reason)
    return key


def revoke_key(tx: IdentityWork, principal: Principal, key_id: str, *, actor: str, reason: str) -> ClientKey:
    """Revoke one key of `principal`, by id or thumbprint: tokens it obtained are dead at once. A work.

    Raises:
        AbsentError: the principal has no such key.
        ConflictError: it is revoked already.
    """
    key = key_named(tx.live, principal, key_id)
    if key.standing is Standing.REVOKED:
        raise ConflictError(ErrorCode.BAD_MOVE, f"the key `{key.id}` is revoked already", help="nothing is left to do")
    revoked = replace(key, standing=Standing.REVOKED)
    tx.identity.update_key(revoked)
    body = {"principal": principal.name, "key": key.id, "thumbprint": key.thumbprint, "reason": reason}
    tx.record(Draft(EntryKind.CREDENTIAL_REVOKED, actor, principal.id, body))
    _show(tx, revoked, actor, reason)
    return revoked


def key_named(live: LiveEstate, principal: Principal, key_id: str) -> ClientKey:
    """Return the credential of `principal` with that id or thumbprint.

    Raises:
        AbsentError: it has none.
    """
    key = next((k for k in live.keys_of(principal.id) if key_id in (k.id, k.thumbprint)), None)
    if key is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_KEY,
            f"`{principal.name}` has no key {key_id[:64]!a}",
            help=f"charter show {principal.name}",
        )
    return key


def required(registration: Registration) -> ClientKey:
    """Return the registered key: for the edge, once the work is committed.

    Raises:
        ConflictError: the key was refused, because another principal has it.
    """
    match registration:
        case ClientKey():
            return registration
        case SharedKey():
            raise ConflictError(
                ErrorCode.SHARED_CREDENTIAL,
                f"this key is `{registration.holder}`'s and cannot be `{registration.offered_for}`'s too",
                help=f"make one of its own for `{registration.offered_for}`; see the finding {registration.finding_id}",
            )


def key_of(key: ClientKey) -> PublicKey:
    """Return a registered key, ready to verify with.

    Raises:
        MalformedError: the row was altered into something that is no key, or another one.
    """
    public = parse_public_jwk(key.jwk)
    if public.thumbprint != key.thumbprint:
        raise MalformedError(ErrorCode.KEY_BROKEN, f"the key `{key.id}` is not the one that was registered")
    return public


class ReadyKeys:
    """Registered keys ready to verify with, kept: building the point is half the cost of a verification."""

    def __init__(self) -> None:
        self._ready: OrderedDict[str, PublicKey] = OrderedDict()

    def of(self, key: ClientKey) -> PublicKey:
        """Return `key_of(key)`."""
        found = self._ready.get(key.thumbprint)
        if found is None:
            found = self._ready[key.thumbprint] = key_of(key)
            if len(self._ready) > MAX_READY:
                self._ready.popitem(last=False)
        return found


def _shared(
    tx: IdentityWork, principal: Principal, holder: Principal, thumbprint: str, *, actor: str, entropy: Entropy
) -> SharedKey:
    """Keep the finding that one key was offered for two principals.

    Whoever offers a public key need not hold it, so it moves nobody's standing.
    """
    both = sorted([principal.id, holder.id])
    body = {
        "thumbprint": thumbprint,
        "certainty": Certainty.SEEN.value,
        "holder": holder.name,
        "offered_for": principal.name,
        "offered_by": actor,
        "principals": both,
    }
    finding = Finding.noticed(
        entropy.identifier("fnd"),
        SHARED,
        digest_of({"kind": SHARED, "thumbprint": thumbprint, "principals": both}),
        title=f"the key of {holder.name} was offered for {principal.name} too",
        body=body,
        at=tx.at,
        principal_id=holder.id,
    )
    kept, _ = note(tx, finding, actor=actor)
    return SharedKey(thumbprint, principal.name, holder.name, kept.id)


def _certificate_of(public: PublicKey, certificate: bytes | None) -> str | None:
    """Return the certificate as it is kept.

    Raises:
        MalformedError: it is none, or holds another key.
    """
    if certificate is None:
        return None
    if read_certificate(certificate).key != public.thumbprint:
        raise MalformedError(ErrorCode.BAD_VALUE, "the certificate holds another key", help="send the one of this key")
    return base64.b64encode(certificate).decode()


def _with_certificate(tx: IdentityWork, known: ClientKey, certificate: str, actor: str, reason: str) -> ClientKey:
    """Keep another certificate of a key that is registered already: one that replaces one about to expire."""
    if known.certificate == certificate:
        return known
    renewed = replace(known, certificate=certificate)
    tx.identity.update_key(renewed)
    name = tx.live.principals[known.principal_id].name
    body = {"principal": name, "key": known.id, "thumbprint": known.thumbprint, "type": "certificate", "reason": reason}
    body["x5t#S256"] = thumbprint_of_certificate(base64.b64decode(certificate))
    tx.record(Draft(EntryKind.CREDENTIAL_REGISTERED, actor, known.principal_id, body))
    _show(tx, renewed, actor, reason)
    return renewed


def _check_room(tx: IdentityWork, principal: Principal) -> None:
    active = sum(key.standing is Standing.ACTIVE for key in tx.live.keys_of(principal.id))
    if active >= MAX_KEYS:
        raise ConflictError(
            ErrorCode.TOO_MANY,
            f"`{principal.name}` has {active} active keys already",
            help=f"revoke those no longer used: charter show {principal.name}",
        )


def _show(tx: IdentityWork, key: ClientKey, actor: str, reason: str) -> None:
    tx.changed(FEED_KIND, key.id, actor=actor, reason=reason)
    tx.after_commit(lambda: tx.live.put_key(key))


def _type_of(public: PublicKey) -> str:
    return f"{CredentialType.PRIVATE_KEY_JWT.value} {public.algorithms[0]}"

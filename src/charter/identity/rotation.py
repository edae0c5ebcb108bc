"""One credential takes the place of another: the identity stays; what the old one obtained lives on, or dies with it.

    with overlap    the old one counts on for a while and then retires; what it lent and leased stays
    at once         the old one is revoked with the commit, and everything that was obtained with it is dead

A client replaces its own key by itself (`succeed` with its request, identity/rotation_request.py); a person does it for
any credential.

INVARIANT: a credential has one successor. A replaced key that names another one is refused and becomes a finding: two
hold it, and one of them should not.
INVARIANT: nothing of the identity changes: id, SPIFFE ID, epoch, charter, limits, delegations and reviews stay.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from charter.core.canonical import digest_of
from charter.core.entropy import Entropy
from charter.core.errors import ConflictError, ErrorCode
from charter.evidence.entry import Draft, EntryKind
from charter.identity.credential import FEED_KIND, SharedKey, key_named, register_key
from charter.identity.jose import parse_public_jwk
from charter.identity.noting import note
from charter.identity.work import IdentityWork
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.record import Finding
from charter.registry.rotation import grows_old
from charter.registry.standing import Standing

FORKED = "rotated-key-reused"


@dataclass(frozen=True, slots=True)
class Forked:
    """The refusal of a second successor: the finding is kept."""

    key_id: str
    finding_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """By whom and why one credential follows another, and how long the old one counts on; None: not at all."""

    actor: str
    reason: str
    overlap: dt.timedelta | None


@dataclass(frozen=True, slots=True)
class Succession:
    """One key has taken the place of another."""

    before: ClientKey
    after: ClientKey


def succeed(  # noqa: PLR0913 - each is decided by the caller, and named there
    tx: IdentityWork,
    principal: Principal,
    old: ClientKey,
    jwk: object,
    *,
    change: Change,
    entropy: Entropy,
    certificate: bytes | None = None,
) -> Succession | SharedKey | Forked:
    """Let the key `jwk` take the place of `old`; asked again for the same, it is the same succession. A work.

    Raises:
        MalformedError: it is no public key that fits.
        DeniedError: the principal may not act.
        ConflictError: it is the same key, one that was revoked, or the principal has too many.
    """
    offered = parse_public_jwk(jwk).thumbprint
    if offered == old.thumbprint:
        raise ConflictError(ErrorCode.BAD_MOVE, f"the key `{old.id}` cannot follow itself", help="make a new key")
    forked = fork(tx, principal, old, offered, entropy)
    if forked is not None:
        return forked
    found = register_key(
        tx, principal, jwk, actor=change.actor, reason=change.reason, entropy=entropy, certificate=certificate
    )
    return found if isinstance(found, SharedKey) else replace_by(tx, principal, old, found, change)


def fork(tx: IdentityWork, principal: Principal, old: ClientKey, offered: str, entropy: Entropy) -> Forked | None:
    """Return the refusal if `old` was replaced by another key than `offered`, with the finding kept. Part of a work."""
    if old.replaced_by is None or old.replaced_by == offered:
        return None
    body = {"principal": principal.name, "key": old.id, "successor": old.replaced_by, "offered": offered}
    finding = Finding.noticed(
        entropy.identifier("fnd"),
        FORKED,
        digest_of({"kind": FORKED, "key": old.thumbprint}),
        title=f"a key of {principal.name} that was replaced named another successor: two hold it",
        body=body,
        at=tx.at,
        principal_id=principal.id,
    )
    kept, _ = note(tx, finding, actor=principal.id)
    return Forked(old.id, kept.id)


def replace_by(tx: IdentityWork, principal: Principal, old: ClientKey, after: ClientKey, change: Change) -> Succession:
    """Let `after`, which is kept already, take the place of `old`. Part of a work."""
    if old.replaced_by == after.thumbprint and change.overlap is not None:
        return Succession(old, after)
    ends = tx.at + (change.overlap or dt.timedelta(0))
    standing = Standing.REVOKED if change.overlap is None else old.standing
    before = replace(old, standing=standing, ends_at=ends, replaced_by=after.thumbprint, due_at=None)
    tx.identity.update_key(before)
    body = {
        "principal": principal.name,
        "before": old.id,
        "before_thumbprint": old.thumbprint,
        "after": after.id,
        "after_thumbprint": after.thumbprint,
        "at_once": change.overlap is None,
        "ends": ends.isoformat(),
        "reason": change.reason,
    }
    tx.record(Draft(EntryKind.CREDENTIAL_ROTATED, change.actor, principal.id, body))
    if change.overlap is None:
        told = {"principal": principal.name, "key": old.id, "thumbprint": old.thumbprint, "reason": change.reason}
        tx.record(Draft(EntryKind.CREDENTIAL_REVOKED, change.actor, principal.id, told))
    _show(tx, before, change.actor, change.reason)
    return Succession(before, after)


def ask_for(tx: IdentityWork, principal: Principal, key_id: str, *, actor: str, reason: str) -> ClientKey:
    """Make a key due now: its client, which alone can replace it, is told with its next token. A work.

    Raises:
        AbsentError: the principal has no such key.
        ConflictError: it is in use no more, is replaced already, or is nothing that is replaced.
    """
    key = key_named(tx.live, principal, key_id)
    if not grows_old(key) or key.replaced_by is not None:
        raise ConflictError(
            ErrorCode.BAD_MOVE,
            f"the credential `{key.id}` of `{principal.name}` is none that waits to be replaced",
            help=f"charter key ls {principal.name}",
        )
    asked = replace(key, due_at=tx.at)
    tx.identity.update_key(asked)
    body = {"principal": principal.name, "before": key.id, "after": None, "asked": True, "reason": reason}
    tx.record(Draft(EntryKind.CREDENTIAL_ROTATED, actor, principal.id, body))
    _show(tx, asked, actor, reason)
    return asked


def ended(live: LiveEstate, at: dt.datetime) -> list[str]:
    """Return the thumbprints of the replaced credentials whose time is over: cheap, and asked every few seconds."""
    return [thumbprint for thumbprint, ends in list(live.ending.items()) if ends <= at]


def retire_ended(tx: IdentityWork) -> None:
    """Retire the replaced credentials whose time is over. A work.

    It has been refused since that very moment; this says so in its standing, and in the evidence.
    """
    for thumbprint in ended(tx.live, tx.at):
        key = tx.live.keys[thumbprint]
        retired = replace(key, standing=Standing.RETIRED)
        tx.identity.update_key(retired)
        name = tx.live.principals[key.principal_id].name
        body = {"principal": name, "key": key.id, "thumbprint": thumbprint, "replaced_by": key.replaced_by}
        reason = "another took its place, and its time is over"
        tx.record(Draft(EntryKind.CREDENTIAL_RETIRED, "charter", key.principal_id, body | {"reason": reason}))
        _show(tx, retired, "charter", reason)


def _show(tx: IdentityWork, key: ClientKey, actor: str, reason: str) -> None:
    tx.changed(FEED_KIND, key.id, actor=actor, reason=reason)
    tx.after_commit(lambda: tx.live.put_key(key))

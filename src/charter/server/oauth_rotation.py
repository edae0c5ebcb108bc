"""Where a client replaces its own key: POST /oauth/rotate with `rotation`, a JWS (identity/rotation_request.py).

The answer says which key counts from now on and until when the old one does. Asked again with the same two keys, as
after an answer that was lost, it says the same.

INVARIANT: whoever holds the key in use alone, or the new one alone, changes nothing.
INVARIANT: what an authenticated client is refused is written, with the key it offered; what strangers get wrong is
counted per source.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import partial

from charter.core.entropy import Entropy
from charter.core.errors import (
    CharterError,
    ConflictError,
    DeniedError,
    ErrorCode,
    MalformedError,
    UnauthenticatedError,
)
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import refusal
from charter.identity.bearer import Client
from charter.identity.credential import ReadyKeys, SharedKey
from charter.identity.issuance import replayed, use_assertion
from charter.identity.rotation import Change, Forked, Succession, succeed
from charter.identity.rotation_request import NewKey, RotationRequest, read_new_key, read_rotation
from charter.identity.work import IdentityWork
from charter.registry.rotation import overlap_of
from charter.server.gateway_http import Head, Receive
from charter.server.oauth_form import needed, read_form
from charter.server.oauth_http import Answer, Endpoint
from charter.server.oauth_parts import Parts

ROTATE_PATH = "/oauth/rotate"
METHOD = "key_rotation"
_REASON = "replaced by its client"


Offer = NewKey | MalformedError  # what came as a new key


@dataclass(frozen=True, slots=True)
class _Refused:
    """What a work refused; its evidence is committed with it."""

    error: CharterError


class KeyRotation:
    """The endpoint."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._keys = parts, ReadyKeys()
        self.endpoints = (Endpoint(ROTATE_PATH, {"POST": self._rotate}, "key_rotation_endpoint"),)

    async def _rotate(self, head: Head, receive: Receive) -> Answer:
        text = needed(await read_form(head, receive), "rotation")
        parts = self._parts
        parts.failures.check(head.source)
        at = parts.clock.now()
        try:
            asked = read_rotation(text, parts.live, self._keys, audience=parts.issuer + ROTATE_PATH, at=at)
        except UnauthenticatedError as err:
            parts.failures.failed(head.source, err.code)
            raise
        parts.failures.check(head.source, asked.principal.id)
        parts.pace.take(asked.principal.id)
        work = partial(_work, asked=asked, offer=_offer(asked, at), source=head.source, entropy=parts.entropy)
        done = await parts.writer.awrite(work)
        if isinstance(done, _Refused):
            parts.failures.failed(head.source, done.error.code, asked.principal.id)
            raise done.error
        return Answer(
            {
                "client_id": asked.principal.id,
                "key": done.after.id,
                "thumbprint": done.after.thumbprint,
                "replaces": done.before.thumbprint,
                "replaced_key_ends": int(done.before.ends_at.timestamp()) if done.before.ends_at else None,
            }
        )


def _offer(asked: RotationRequest, at: dt.datetime) -> Offer:
    """Return the new key, or what is wrong with it: signatures are looked at before the work, not within."""
    try:
        return read_new_key(asked, at)
    except MalformedError as err:
        return err


def _work(
    tx: IdentityWork, asked: RotationRequest, offer: Offer, source: str, entropy: Entropy
) -> Succession | _Refused:
    """Carry it out, or say why not, with the evidence of it. A work."""
    client = Client(asked.principal.id, METHOD, asked.old.thumbprint, asked.used)
    if not use_assertion(tx, client):
        return _Refused(replayed())
    principal, old = tx.live.principals[asked.principal.id], tx.live.keys[asked.old.thumbprint]
    found = _succeed(tx, client, offer, entropy)
    if isinstance(found, Succession):
        return found
    body: dict[str, str | None] = {"method": METHOD, "principal": principal.name, "key": old.thumbprint}
    body |= {"asks": "key-rotation"}
    body |= {"offered": offer.public.thumbprint if isinstance(offer, NewKey) else None, "source": source}
    body |= {"outcome": "refused", "why": found.detail, "code": found.code.value}
    tx.record(Draft(EntryKind.AUTHENTICATION, principal.id, principal.id, body))
    return _Refused(found)


def _succeed(tx: IdentityWork, client: Client, offer: Offer, entropy: Entropy) -> Succession | CharterError:
    """Let the new key follow, or return why it does not. Part of a work."""
    unfit = _unfit(tx, client, offer)
    if unfit is not None:
        return unfit
    assert isinstance(offer, NewKey)  # noqa: S101 - what is none is unfit
    principal, old = tx.live.principals[client.principal_id], tx.live.keys[client.credential]
    change = Change(principal.id, _REASON, overlap_of(principal.terms))
    jwk, certificate = offer.public.jwk, offer.certificate
    try:
        found = succeed(tx, principal, old, jwk, change=change, entropy=entropy, certificate=certificate)
    except MalformedError as err:  # a certificate that holds another key
        return _bad(err.detail)
    except ConflictError as err:  # too many
        return err
    match found:
        case Succession():
            return found
        case SharedKey():  # whose it is, is for the finding to say
            return _bad("the new key is not this client's alone")
        case Forked():
            text = f"the key `{found.key_id}` was replaced by another already, which alone can be replaced in turn"
            return DeniedError(ErrorCode.NOT_STANDING, text, help="tell the owner: somebody else may hold the key")


def _unfit(tx: IdentityWork, client: Client, offer: Offer) -> CharterError | None:
    """Return why nothing can follow, or not this."""
    stopped = refusal(tx.live, client, None, at=tx.at)
    if stopped is not None:
        return DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    if isinstance(offer, MalformedError):
        return offer
    old, known = tx.live.keys[client.credential], tx.identity.key_by_thumbprint(offer.public.thumbprint)
    is_own = known is not None and known.principal_id == client.principal_id
    if is_own and offer.public.thumbprint != old.replaced_by:
        return _bad("the new key is one that this client uses, or used before")
    return None


def _bad(why: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_NEW_KEY, why, help="make a fresh one for this change alone")

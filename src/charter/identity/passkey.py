"""Passkeys: adding one, signing in with one, revoking one. The ceremonies' verification is the webauthn library's.

    (1) A challenge of 256 random bits is made for each ceremony, is good for five minutes, and is taken once.
    (2) The answer is for the console's own origin and host, by a device that verified its user.
    (3) A known, active passkey of that host signed it; a counter that did not go up is a copy, and revokes it.

INVARIANT: a passkey that is copied, revoked or of another host opens nothing, and the attempt stands in the evidence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from charter.core.clock import rfc3339
from charter.core.entropy import Entropy
from charter.core.errors import AbsentError, ConflictError, ErrorCode, UnauthenticatedError
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.registry.passkey import Passkey
from charter.registry.standing import Standing

MAX_RESPONSE = 4096  # characters
MAX_PASSKEYS = 20
_USER = b"charter-operator"


class PasskeyStore(Protocol):
    """The passkeys kept."""

    def add(self, passkey: Passkey) -> None:
        """Keep a new one."""
        ...

    def update(self, passkey: Passkey) -> None:
        """Replace the one with the same id."""
        ...

    def all(self) -> list[Passkey]:
        """Return all there ever were, oldest first."""
        ...


class PasskeyWork(Transaction, Protocol):
    """The slice of the work that passkeys need."""

    @property
    def passkeys(self) -> PasskeyStore:
        """The passkeys kept."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ceremony takes place: the page's origin, and its host name, which a passkey is made for."""

    origin: str
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device said, and to which challenge."""

    response: str  # JSON, as the browser gives it
    challenge: bytes


def registration_options(place: Place, person: str, challenge: bytes, known: list[Passkey]) -> str:
    """Return what the browser is asked to make a passkey with, as JSON."""
    options = generate_registration_options(
        rp_id=place.host,
        rp_name="Charter",
        user_name=person,
        user_id=_USER,
        challenge=challenge,
        exclude_credentials=[_descriptor(each) for each in known],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )
    return str(options_to_json(options))


def authentication_options(place: Place, challenge: bytes, known: list[Passkey]) -> str:
    """Return what the browser is asked to sign, as JSON."""
    options = generate_authentication_options(
        rp_id=place.host,
        challenge=challenge,
        allow_credentials=[_descriptor(each) for each in known],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return str(options_to_json(options))


def challenge_in(response: str) -> bytes:
    """Return the challenge that a response says it answers; it is compared with those that were made.

    Raises:
        UnauthenticatedError: it says none.
    """
    try:
        client = json.loads(base64url_to_bytes(_parsed(response)["response"]["clientDataJSON"]))
        return bytes(base64url_to_bytes(client["challenge"]))
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise _refusal("the browser's answer cannot be read") from err


def add_passkey(tx: PasskeyWork, answer: Answer, place: Place, *, person: str, name: str, entropy: Entropy) -> Passkey:
    """Keep the passkey that a device made. A work.

    Raises:
        UnauthenticatedError: the answer does not verify.
        ConflictError: the passkey is known already, or there are too many.
    """
    try:
        made = verify_registration_response(
            credential=_parsed(answer.response),
            expected_challenge=answer.challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as err:
        raise _refusal("the new passkey does not verify") from err
    known = tx.passkeys.all()
    credential_id = bytes_to_base64url(made.credential_id)
    if any(each.credential_id == credential_id for each in known):
        raise ConflictError(ErrorCode.EXISTS, "this passkey is known already", help="use another device")
    if sum(each.standing is Standing.ACTIVE for each in known) >= MAX_PASSKEYS:
        raise ConflictError(ErrorCode.TOO_MANY, f"there are {MAX_PASSKEYS} passkeys already", help="remove one first")
    passkey = Passkey(
        id=entropy.identifier("psk"),
        person=person,
        host=place.host,
        credential_id=credential_id,
        public_key=bytes_to_base64url(made.credential_public_key),
        sign_count=made.sign_count,
        name=name,
        standing=Standing.ACTIVE,
        added_at=rfc3339(tx.at),
        used_at=None,
    )
    tx.passkeys.add(passkey)
    _tell(tx, passkey, person, "added")
    return passkey


def use_passkey(tx: PasskeyWork, answer: Answer, place: Place) -> Passkey | None:
    """Return the passkey that answered; None if it opens nothing, which is recorded if it is a known one. A work."""
    said = _identifier_in(answer.response)
    passkey = next((each for each in tx.passkeys.all() if each.credential_id == said), None)
    if passkey is None:
        return None
    if passkey.standing is not Standing.ACTIVE or passkey.host != place.host:
        _tell(tx, passkey, passkey.person, "refused")
        return None
    try:
        count = verify_authentication_response(
            credential=_parsed(answer.response),
            expected_challenge=answer.challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            credential_public_key=base64url_to_bytes(passkey.public_key),
            credential_current_sign_count=0,  # compared below: one that went back is more than a failure
            require_user_verification=True,
        ).new_sign_count
    except (WebAuthnException, ValueError, KeyError, TypeError):
        _tell(tx, passkey, passkey.person, "refused")
        return None
    if passkey.sign_count and count <= passkey.sign_count:
        tx.passkeys.update(replace(passkey, standing=Standing.REVOKED))
        _tell(tx, passkey, passkey.person, "revoked: a copy of it was used")
        return None
    used = replace(passkey, sign_count=count, used_at=rfc3339(tx.at))
    tx.passkeys.update(used)
    return used


def revoke_passkey(tx: PasskeyWork, passkey_id: str, *, person: str) -> Passkey:
    """Let a passkey open nothing any more. A work.

    Raises:
        AbsentError: there is no such passkey in use.
    """
    found = next((each for each in tx.passkeys.all() if each.id == passkey_id), None)
    if found is None or found.standing is not Standing.ACTIVE:
        raise AbsentError(ErrorCode.UNKNOWN_KEY, f"there is no passkey {passkey_id[:64]!a} in use")
    revoked = replace(found, standing=Standing.REVOKED)
    tx.passkeys.update(revoked)
    _tell(tx, revoked, person, "removed")
    return revoked


def _parsed(response: str) -> dict[str, Any]:
    if len(response) > MAX_RESPONSE:
        _refuse("the browser's answer is too long")
    try:
        found = json.loads(response)
    except (ValueError, RecursionError) as err:
        raise _refusal("the browser's answer cannot be read") from err
    if not isinstance(found, dict):
        _refuse("the browser's answer cannot be read")
    return found


def _identifier_in(response: str) -> str:
    return str(_parsed(response).get("id", ""))


def _descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(id=base64url_to_bytes(passkey.credential_id))


def _tell(tx: PasskeyWork, passkey: Passkey, actor: str, what: str) -> None:
    body = {"passkey": passkey.id, "person": passkey.person, "host": passkey.host, "name": passkey.name, "what": what}
    tx.record(Draft(EntryKind.PASSKEY_CHANGED, actor, None, body))
    tx.changed("passkey", passkey.id, actor=actor, reason=what)


def _refuse(why: str) -> NoReturn:
    raise _refusal(why)


def _refusal(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(ErrorCode.NOT_SIGNED_IN, why, help="try again, or sign in by a link: charter console")

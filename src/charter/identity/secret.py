"""Shared secrets of principals that can do no better: made here, told once, kept as a salted hash.

A secret has 256 random bits, so that nobody finds it by trying, and a plain hash keeps it as well as a slow one would.
The salt keeps equal hashes from telling of equal secrets, should they ever be brought from elsewhere.

INVARIANT: only a principal whose charter in force says `legacy-secret` has a secret made, or is believed one.
INVARIANT: the secret is in no row, log, error or evidence; it leaves once, in the answer to whoever had it made.
INVARIANT: how long a comparison takes tells neither whether there is such a client nor how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from charter.core.canonical import canonical
from charter.core.entropy import Entropy
from charter.core.errors import ConflictError, DeniedError, ErrorCode
from charter.core.values import Secret
from charter.evidence.entry import Draft, EntryKind
from charter.identity.authority import refusal
from charter.identity.jose import encode_base64url
from charter.identity.work import IdentityWork
from charter.registry.charter import CredentialType
from charter.registry.declared import SECRET
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.standing import Standing

PREFIX = "chs_"  # so that scanners know one when it leaks
SECRET_BYTES, SALT_BYTES = 32, 16
MAX_SECRET = 256  # characters that are looked at
MAX_ACTIVE = 2  # the one in use, and the one that replaces it
_NOTHING = {"kty": SECRET, "salt": "-" * 22, "digest": "sha256:" + "-" * 64}  # compared with where there is nothing


@dataclass(frozen=True, slots=True)
class FreshSecret:
    """A secret that was just made, and what is kept of it."""

    secret: Secret
    key_id: str
    members: dict[str, str]


def fresh_secret(entropy: Entropy) -> FreshSecret:
    """Return a new secret."""
    secret = PREFIX + encode_base64url(entropy.bytes(SECRET_BYTES))
    salt = encode_base64url(entropy.bytes(SALT_BYTES))
    members = {"kty": SECRET, "salt": salt, "digest": _digest(salt, secret)}
    return FreshSecret(Secret(secret.encode()), entropy.identifier("crd"), members)


def keep_secret(
    tx: IdentityWork,
    principal: Principal,
    fresh: FreshSecret,
    *,
    actor: str,
    reason: str,
    instead_of: Sequence[ClientKey] = (),
) -> ClientKey:
    """Keep what is kept of `fresh` as a credential of `principal`; those it is `instead_of` end with it. A work.

    Raises:
        DeniedError: its charter does not say `legacy-secret`, or it may not act.
        ConflictError: it has two already.
    """
    if principal.terms.type is not CredentialType.LEGACY_SECRET:
        raise DeniedError(
            ErrorCode.POLICY_DENIED,
            f"the charter of `{principal.name}` does not allow a shared secret",
            help="use a key: charter run; or let the charter say `credential: {type: legacy-secret}`",
        )
    stopped = refusal(tx.live, principal.id, None, at=tx.at)
    if stopped is not None:
        raise DeniedError(ErrorCode.NOT_STANDING, stopped.text, help=stopped.mend)
    if len([key for key in secrets_of(tx.live, principal) if key not in instead_of]) >= MAX_ACTIVE:
        raise ConflictError(
            ErrorCode.TOO_MANY,
            f"`{principal.name}` has {MAX_ACTIVE} secrets in use",
            help=f"let the new one count alone: charter rotate secret {principal.name} --at-once",
        )
    thumbprint = encode_base64url(hashlib.sha256(canonical(fresh.members | {"principal": principal.id})).digest())
    key = ClientKey(fresh.key_id, principal.id, thumbprint, fresh.members, Standing.ACTIVE, tx.at)
    tx.identity.add_key(key)
    body = {"principal": principal.name, "key": key.id, "thumbprint": thumbprint, "type": SECRET, "reason": reason}
    tx.record(Draft(EntryKind.CREDENTIAL_REGISTERED, actor, principal.id, body))
    tx.changed("key", key.id, actor=actor, reason=reason)
    tx.after_commit(lambda: tx.live.put_key(key))
    return key


def secret_of(live: LiveEstate, principal: Principal | None, guess: str) -> ClientKey | None:
    """Return the credential of `principal` that `guess` is the secret of, if there is one."""
    candidates = secrets_of(live, principal) if principal is not None else []
    kept = [key.jwk for key in candidates] + [_NOTHING] * (MAX_ACTIVE - len(candidates))
    right = [_is_secret(members, guess[:MAX_SECRET]) for members in kept]  # each, whatever the one before was
    found = [key for key, is_right in zip(candidates, right, strict=False) if is_right]
    return found[0] if found and len(guess) <= MAX_SECRET else None


def secrets_of(live: LiveEstate, principal: Principal) -> list[ClientKey]:
    """Return the secrets of `principal` that are in use, the oldest first."""
    if principal.terms.type is not CredentialType.LEGACY_SECRET:
        return []
    keys = live.keys_of(principal.id)
    return [key for key in keys if key.jwk.get("kty") == SECRET and key.standing is Standing.ACTIVE][-MAX_ACTIVE:]


def _is_secret(members: dict[str, str], guess: str) -> bool:
    return hmac.compare_digest(_digest(members["salt"], guess).encode(), members["digest"].encode())


def _digest(salt: str, secret: str) -> str:
    return "sha256:" + hashlib.sha256(f"{salt}.{secret}".encode(errors="surrogatepass")).hexdigest()

"""Charter's own signing keys: what they are for, how they follow each other, and the ring that holds them in memory.

A key is `next` (published, so that everyone who caches the JWKS knows it before it signs), `active` (signs), `retiring`
(what it signed still verifies) and `retired`. Access tokens and JWT-SVIDs are signed with ES256, each with keys of
their own; evidence and charters with Ed25519.

INVARIANT: a private half is kept only as long as it may sign: it is opened from its seal into memory, and its seal is
emptied when the key stops signing. Public halves are kept for ever: evidence and charters stay provable.
INVARIANT: the ring is one immutable reading, replaced after the commit that changed it. A key whose public half is not
that of its private half stops everything.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.keys import SEED_BYTES, Ed25519Signer, Signer
from charter.core.values import Secret
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.jose import PublicKey, decode_base64url, encode_base64url, parse_public_jwk, thumbprint_of
from charter.identity.period import USUAL, Periods
from charter.identity.sealing import Sealer

OVERLAP = dt.timedelta(minutes=30)  # beyond any token's life and any cache of the JWKS
FEED_KIND = "signing-key"
_SCALAR_SEED_BYTES = 40  # 64 bits more than the order: uniform enough (FIPS 186-5 section A.2.1)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class KeyUse(StrEnum):
    """What a signing key is for."""

    TOKEN = "token"  # noqa: S105 - a use, no secret
    EVIDENCE = "evidence"
    CHARTER = "charter"
    JWT_SVID = "jwt-svid"
    WITNESS = "witness"  # what cosigns the heads of others' logs


_ES256 = (KeyUse.TOKEN, KeyUse.JWT_SVID)
_OF_NODE = (KeyUse.EVIDENCE, KeyUse.WITNESS)  # each node has its own
_NOT_BY_ITSELF = (KeyUse.JWT_SVID, KeyUse.WITNESS)


class KeyState(StrEnum):
    """How far a signing key's life has come."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One signing key as it is kept. `sealed` is empty once it signs no more; `origin` is an evidence key's log."""

    id: str  # RFC 7638 thumbprint
    use: KeyUse
    origin: str | None
    public: dict[str, str]  # the JWK's required members
    sealed: str
    state: KeyState
    created_at: dt.datetime
    retire_after: dt.datetime | None = None

    @property
    def context(self) -> str:
        """What the seal is bound to: a sealed key moved to another row or use does not open."""
        return f"charter/signing-key/{self.use.value}/{self.id}"

    def is_good(self, at: dt.datetime) -> bool:
        """Return whether what this key signs, signed or will sign verifies at `at`."""
        return self.state is not KeyState.RETIRED and not _is_over(self, at)


class KeyStore(Protocol):
    """Where signing keys are kept."""

    def signing_keys(self) -> Sequence[SigningKey]:
        """Return every key, oldest first."""
        ...

    def add_signing_key(self, key: SigningKey) -> None:
        """Keep a new key."""
        ...

    def update_signing_key(self, key: SigningKey) -> None:
        """Keep a key's new state and seal."""
        ...


class KeyWork(Transaction, Protocol):
    """The slice of the work that signing keys need."""

    @property
    def identity(self) -> KeyStore:
        """Where they are kept."""
        ...

    def hand_log_over(self, successor: Signer) -> None:
        """Let this node's log go on with another key."""
        ...


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The key that signs access tokens, or JWT-SVIDs."""

    id: str
    private: ECKey = field(repr=False)


@dataclass(slots=True)
class _Reading:
    """What the ring holds at one moment."""

    keys: dict[str, SigningKey] = field(default_factory=dict)  # oldest first
    signers: dict[tuple[KeyUse, str | None], Signer] = field(default_factory=dict, repr=False)
    tokens: dict[KeyUse, TokenKey] = field(default_factory=dict, repr=False)  # those that sign with ES256
    root: Secret = field(default_factory=lambda: Secret(b""), repr=False)  # what other secrets are derived from
    root_before: Secret | None = field(default=None, repr=False)  # from which they were derived until the last rotation
    # of ES256 keys not retired, by use and id: what one use signed never verifies for another
    verifiers: dict[KeyUse, dict[str, PublicKey]] = field(default_factory=lambda: {use: {} for use in _ES256})


class KeyRing:
    """The signing keys in memory."""

    def __init__(self, sealer: Sealer, entropy: Entropy, signs: Periods = USUAL) -> None:
        self._sealer = sealer
        self._entropy = entropy
        self._signs = signs  # how long a key signs before the next one does
        self._origin: str | None = None  # the log of this node
        self._now = _Reading()

    # --- reading ---

    def signer(self, use: KeyUse | str, origin: str | None = None) -> Signer:
        """Return the signer for `use`; for evidence, that of the log `origin`. It follows rotations by itself.

        Raises:
            IntegrityError: there is no such key.
        """
        signer = LiveSigner(self, KeyUse(use), origin)
        self.active_signer(signer.use, origin)
        return signer

    def active_signer(self, use: KeyUse, origin: str | None) -> Signer:
        """Return the Ed25519 key that signs for `use` at this moment.

        Raises:
            IntegrityError: there is none.
        """
        try:
            return self._now.signers[use, origin]
        except KeyError:
            where = f" of the log `{origin}`" if origin else ""
            raise IntegrityError(
                ErrorCode.KEY_BROKEN, f"there is no active {use.value} key{where}", help="run charter doctor"
            ) from None

    def token_key(self, use: KeyUse = KeyUse.TOKEN) -> TokenKey:
        """Return the key that signs access tokens, or JWT-SVIDs.

        Raises:
            IntegrityError: there is none.
        """
        found = self._now.tokens.get(use)
        if found is None:
            raise IntegrityError(ErrorCode.KEY_BROKEN, f"there is no active {use.value} key", help="run charter doctor")
        return found

    def derived(self, purpose: bytes) -> bytes:
        """Return 32 bytes for `purpose` alone, derived from the key that signs access tokens: all nodes share them.

        Raises:
            IntegrityError: there is no such key.
        """
        self.token_key()
        return hmac.digest(self._now.root.reveal(), purpose, hashlib.sha256)

    def derived_before(self, purpose: bytes) -> bytes | None:
        """Return what `derived` gave until the key was last replaced; None: it never was since the start, or at once.

        So what was derived and handed out lately still counts, for as long as it would have.
        """
        root = self._now.root_before
        return None if root is None else hmac.digest(root.reveal(), purpose, hashlib.sha256)

    def token_verifier(self, key_id: str, at: dt.datetime) -> PublicKey | None:
        """Return the public key `key_id` if access tokens it signed still verify at `at`."""
        reading = self._now
        verifier = reading.verifiers[KeyUse.TOKEN].get(key_id)
        return None if verifier is None or _is_over(reading.keys[key_id], at) else verifier

    def verifiers(self, use: KeyUse, at: dt.datetime) -> dict[str, PublicKey]:
        """Return the public keys, by id, that tokens of `use` are, were lately or will be signed with."""
        reading = self._now
        return {i: key for i, key in reading.verifiers[use].items() if not _is_over(reading.keys[i], at)}

    def waiting(self, use: KeyUse) -> SigningKey | None:
        """Return the key that will sign next for `use`."""
        own = (key for key in self._now.keys.values() if key.use is use and key.origin == self._origin_of(use))
        return next((key for key in own if key.state is KeyState.NEXT), None)

    def jwks(self, at: dt.datetime) -> dict[str, list[dict[str, str]]]:
        """Return the JWK set (RFC 7517) of the keys that tokens are, were lately or will be signed with."""
        named = self.verifiers(KeyUse.TOKEN, at).items()
        return {"keys": [key.jwk | {"kid": key_id, "use": "sig", "alg": "ES256"} for key_id, key in named]}

    def publics(self, use: KeyUse | str, origin: str | None = None) -> dict[str, bytes]:
        """Return the raw Ed25519 public keys that ever signed for `use`, by key id, oldest first."""
        chosen = (k for k in self._now.keys.values() if k.use is KeyUse(use) and k.origin == origin)
        return {key.id: decode_base64url(key.public["x"]) for key in chosen if key.state is not KeyState.NEXT}

    def head_publics(self, origin: str) -> tuple[bytes, ...]:
        """Return the public keys that prove a head to be of the log `origin`: the one that signs, and the next.

        A log that was put back from before its key changed has the key of its lost heads already, as its next.
        """
        upcoming = (k for k in self._now.keys.values() if (k.use, k.origin) == (KeyUse.EVIDENCE, origin))
        waiting = (decode_base64url(key.public["x"]) for key in upcoming if key.state is KeyState.NEXT)
        return self.evidence_public(origin), *waiting

    def evidence_public(self, origin: str) -> bytes:
        """Return the public key of the log `origin`, 32 raw bytes.

        Raises:
            IntegrityError: there is none.
        """
        return self.active_signer(KeyUse.EVIDENCE, origin).public

    # --- making and changing ---

    def begin(self, store: KeyStore, origin: str, at: dt.datetime) -> Signer:
        """Hold what `store` keeps, and return the signer of the log `origin`, whose key is made if there is none.

        This comes before there is a log that could record it; the log's first entry names the key.

        Raises:
            IntegrityError: a key cannot be opened.
        """
        self._origin = origin
        keys = list(store.signing_keys())
        if not any(_signs(key, KeyUse.EVIDENCE, origin) for key in keys):
            keys.append(self._new(KeyUse.EVIDENCE, origin, KeyState.ACTIVE, at))
            store.add_signing_key(keys[-1])
        self.show(keys)
        return self.signer(KeyUse.EVIDENCE, origin)

    def ensure(self, tx: KeyWork) -> None:
        """Make what is missing (each use has an active key and a next one), and retire what is due. A work."""
        self.retire_due(tx)
        for use in KeyUse:
            keys = self._of(tx, use)
            for state in (KeyState.ACTIVE, KeyState.NEXT):
                if not any(key.state is state for key in keys):
                    self._make(tx, self._new(use, self._origin_of(use), state, tx.at))
        self._show_after(tx)

    def rotate(self, tx: KeyWork, use: KeyUse | str, *, actor: str, reason: str, at_once: bool = False) -> SigningKey:
        """Let the next key sign for `use` from now on, and make another next one; return the one that signs. A work.

        What the old one signed verifies on: tokens until they expire, evidence and charters for ever. `at_once`: tokens
        that it signed are worthless with this commit. With a new key of evidence, both sign the log's head.
        """
        origin = self._origin_of(KeyUse(use))
        chosen = self._of(tx, KeyUse(use))
        old = next((key for key in chosen if key.state is KeyState.ACTIVE), None)
        fresh = next((key for key in chosen if key.state is KeyState.NEXT), None)
        if fresh is None:
            fresh = self._new(KeyUse(use), origin, KeyState.NEXT, tx.at)
            tx.identity.add_signing_key(fresh)
        if old is not None:
            gone = replace(old, state=KeyState.RETIRING, sealed="", retire_after=tx.at + OVERLAP)
            gone = replace(gone, state=KeyState.RETIRED, retire_after=tx.at) if at_once else gone
            tx.identity.update_signing_key(gone)
        active = replace(fresh, state=KeyState.ACTIVE)
        tx.identity.update_signing_key(active)
        upcoming = self._new(active.use, origin, KeyState.NEXT, tx.at)
        tx.identity.add_signing_key(upcoming)
        before = old.id if old else None
        body = _body(active, before, reason) | {"next": upcoming.id, "at_once": at_once}
        tx.record(Draft(EntryKind.KEY_ROTATED, actor, None, body))
        if active.use is KeyUse.EVIDENCE and old is not None:
            tx.hand_log_over(_ed25519(self._sealer.unseal(active.sealed, active.context), active))
        tx.changed(FEED_KIND, active.id, actor=actor, reason=reason)
        self._show_after(tx, at_once=at_once)
        return active

    def tend(self, tx: KeyWork) -> None:
        """Retire the keys whose overlap is over, and let the next one sign where it is due. A work.

        Keys of JWT-SVIDs follow each other together with the bundle that tells of them (identity/trust.py), and a
        witness's when a person says so, since whoever trusts it was given it by hand; one use at a time, so that each
        work sees what the one before left.
        """
        self.retire_due(tx)
        due = (use for use in KeyUse if use not in _NOT_BY_ITSELF and self.is_due(use, tx.at))
        use = next(due, None)
        if use is not None:
            self.rotate(tx, use, actor="charter", reason="due")

    def is_due(self, use: KeyUse, at: dt.datetime) -> bool:
        """Return whether the key that waits has waited its time: it was made when the one that signs began to."""
        due = self.due_at(use)
        return due is None or at >= due

    def due_at(self, use: KeyUse) -> dt.datetime | None:
        """Return when the key that waits shall begin to sign; None: there is none that waits, or a person says when."""
        waiting, period = self.waiting(use), self._signs.get(use.value)
        return None if waiting is None or period is None else waiting.created_at + period

    def all(self) -> list[SigningKey]:
        """Return every key that is not retired, oldest first; of evidence, this node's own."""
        return [
            key
            for key in self._now.keys.values()
            if key.state is not KeyState.RETIRED and key.origin == self._origin_of(key.use)
        ]

    def retire_due(self, tx: KeyWork) -> int:
        """Retire the keys whose overlap is over; return how many. A work."""
        due = [k for k in tx.identity.signing_keys() if k.state is KeyState.RETIRING and _is_over(k, tx.at)]
        for key in due:
            tx.identity.update_signing_key(replace(key, state=KeyState.RETIRED))
            tx.changed(FEED_KIND, key.id, actor="charter", reason="its overlap is over")
        if due:
            self._show_after(tx)
        return len(due)

    def show(self, keys: Iterable[SigningKey]) -> None:
        """Hold exactly `keys`.

        Raises:
            IntegrityError: one cannot be opened, or its halves do not belong together.
        """
        self._now = self._read(list(keys))

    # --- within ---

    def _origin_of(self, use: KeyUse) -> str | None:
        return self._origin if use in _OF_NODE else None

    def _of(self, tx: KeyWork, use: KeyUse) -> list[SigningKey]:
        origin = self._origin_of(use)
        return [key for key in tx.identity.signing_keys() if key.use is use and key.origin == origin]

    def _make(self, tx: KeyWork, key: SigningKey) -> None:
        tx.identity.add_signing_key(key)
        if key.state is KeyState.ACTIVE:
            tx.record(Draft(EntryKind.KEY_ROTATED, "charter", None, _body(key, None, "the first of its use")))
        tx.changed(FEED_KIND, key.id, actor="charter", reason=f"made as the {key.state.value} {key.use.value} key")

    def _show_after(self, tx: KeyWork, *, at_once: bool = False) -> None:
        reading, now = self._read(list(tx.identity.signing_keys())), self._now
        if reading.root.reveal() == now.root.reveal():
            reading.root_before = now.root_before
        elif now.root.reveal() and not at_once:
            reading.root_before = now.root

        def show() -> None:
            self._now = reading

        tx.after_commit(show)

    def _read(self, keys: list[SigningKey]) -> _Reading:
        reading = _Reading({key.id: key for key in keys})
        for key in keys:
            if key.use in _ES256 and key.state is not KeyState.RETIRED:
                reading.verifiers[key.use][key.id] = parse_public_jwk(key.public)
            if key.state is not KeyState.ACTIVE:
                continue
            secret = self._sealer.unseal(key.sealed, key.context)
            if key.use in _ES256:
                reading.tokens[key.use] = TokenKey(key.id, _token_private(secret, key))
                if key.use is KeyUse.TOKEN:  # what is derived tells nothing of the key, nor of what else is derived
                    reading.root = Secret(hmac.digest(secret.reveal(), b"charter/derived", hashlib.sha256))
            else:
                reading.signers[key.use, key.origin] = _ed25519(secret, key)
        return reading

    def _new(self, use: KeyUse, origin: str | None, state: KeyState, at: dt.datetime) -> SigningKey:
        """Return a fresh key, sealed."""
        if use in _ES256:
            secret = new_p256_secret(self._entropy)
            public = p256_jwk(p256_key(secret))
        else:
            secret = Secret(self._entropy.bytes(SEED_BYTES))
            x = encode_base64url(Ed25519Signer.from_seed(secret.reveal()).public)
            public = {"crv": "Ed25519", "kty": "OKP", "x": x}
        key = SigningKey(thumbprint_of(public), use, origin, public, "", state, at)
        return replace(key, sealed=self._sealer.seal(secret, key.context))


@dataclass(frozen=True, slots=True)
class LiveSigner:
    """Signs with whatever key of the ring is active at the moment. Satisfies core.keys.Signer."""

    ring: KeyRing
    use: KeyUse
    origin: str | None

    @property
    def key_id(self) -> str:
        """The RFC 7638 thumbprint of the public key."""
        return self.ring.active_signer(self.use, self.origin).key_id

    @property
    def public(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return self.ring.active_signer(self.use, self.origin).public

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        return self.ring.active_signer(self.use, self.origin).sign(data)


def new_p256_secret(entropy: Entropy) -> Secret:
    """Return a fresh private scalar of P-256, 32 bytes, big-endian (FIPS 186-5 section A.2.1)."""
    scalar = int.from_bytes(entropy.bytes(_SCALAR_SEED_BYTES)) % (_P256_ORDER - 1) + 1
    return Secret(scalar.to_bytes(32))


def p256_key(secret: Secret) -> ec.EllipticCurvePrivateKey:
    """Return the private key of a scalar."""
    return ec.derive_private_key(int.from_bytes(secret.reveal()), ec.SECP256R1())


def p256_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Return the public JWK of a P-256 key, its required members only."""
    numbers = key.public_key().public_numbers()
    x, y = (encode_base64url(value.to_bytes(32)) for value in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _token_private(secret: Secret, key: SigningKey) -> ECKey:
    private = p256_key(secret)
    _must_match(p256_jwk(private), key)
    return ECKey.import_key(private)


def _ed25519(secret: Secret, key: SigningKey) -> Signer:
    signer = Ed25519Signer.from_seed(secret.reveal())
    _must_match({"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(signer.public)}, key)
    return signer


def _must_match(public: dict[str, str], key: SigningKey) -> None:
    if public != key.public or thumbprint_of(public) != key.id:
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"the halves of the {key.use.value} key `{key.id}` do not belong together",
            help="the table signing_key was altered: restore the newest backup",
        )


def _body(key: SigningKey, before: str | None, reason: str) -> dict[str, Any]:
    """Return what the evidence says of a key that begins to sign."""
    public: dict[str, Any] = {"use": key.use.value, "origin": key.origin, "after": key.id, "public": key.public}
    return public | {"before": before, "reason": reason}


def _signs(key: SigningKey, use: KeyUse, origin: str | None) -> bool:
    return key.use is use and key.origin == origin and key.state is KeyState.ACTIVE


def _is_over(key: SigningKey, at: dt.datetime) -> bool:
    return key.retire_after is not None and key.retire_after <= at

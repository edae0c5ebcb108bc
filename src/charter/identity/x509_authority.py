"""The X.509 authorities of our own trust domain: a root that signs intermediates, an intermediate that signs SVIDs.

A root is `next` (in the bundle, so that every workload and every other trust domain knows it before it signs),
`active`, `retiring` (what it signed still verifies) and `retired`. An intermediate travels with each SVID, so it needs
no notice: it is `active` or `retired`.

    root:          lives two years, signs for half a year unless the settings say otherwise
    intermediate:  lives two weeks, signs for one, likewise

INVARIANT: a root's private half is opened only to sign an intermediate; an intermediate's is in memory. A private half
is forgotten when it signs no more.
INVARIANT: what an authority signs ends no later than itself; a root stays in the bundle until all it signed has ended.
INVARIANT: an authority taken out at once is gone from the bundle with the same commit, and with it all it signed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from charter.core.canonical import digest
from charter.core.entropy import Entropy
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.values import Secret, SpiffeId
from charter.core.work import Transaction
from charter.evidence.entry import Draft, EntryKind
from charter.identity.keys import KeyState, new_p256_secret, p256_key
from charter.identity.period import USUAL, Periods
from charter.identity.sealing import Sealer
from charter.identity.x509_profile import AuthorityPlan, key_id_of, p256_of, serial_number, sign_authority, svid_form

SVID_LIFE = dt.timedelta(hours=1)
ROOT_LIFE = dt.timedelta(days=730)
INTERMEDIATE_LIFE = dt.timedelta(days=14)
OVERLAP = SVID_LIFE + dt.timedelta(hours=1)  # a root stays known for: the last SVID under it, and slow listeners
FEED_KIND = "x509-authority"


class AuthorityRole(StrEnum):
    """What an authority signs."""

    ROOT = "x509-root"
    INTERMEDIATE = "x509-intermediate"


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority as it is kept. `sealed` is empty once it signs no more."""

    id: str  # the SHA-256 of its public key (SubjectPublicKeyInfo), in hexadecimal
    trust_domain: str
    role: AuthorityRole
    certificate: bytes  # DER
    sealed: str
    state: KeyState
    created_at: dt.datetime
    signs_from: dt.datetime | None = None  # since when it is active, if it ever was
    retire_after: dt.datetime | None = None  # of a retiring root

    @property
    def context(self) -> str:
        """What the seal is bound to: a sealed key moved to another row does not open."""
        return f"charter/{self.role.value}/{self.trust_domain}/{self.id}"


class AuthorityStore(Protocol):
    """Where authorities are kept."""

    def authorities(self, trust_domain: str) -> Sequence[Authority]:
        """Return the authorities of a trust domain of ours, oldest first."""
        ...

    def add_authority(self, authority: Authority) -> None:
        """Keep a new authority."""
        ...

    def update_authority(self, authority: Authority) -> None:
        """Keep an authority's new state and seal."""
        ...


class AuthorityWork(Transaction, Protocol):
    """The slice of the work that authorities need."""

    @property
    def trust(self) -> AuthorityStore:
        """Where they are kept."""
        ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """The intermediate that signs SVIDs now."""

    id: str
    certificate: x509.Certificate
    der: bytes  # of the certificate: it travels with each SVID
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    form: x509.CertificateBuilder = field(repr=False)  # what stands in everything it signs

    @property
    def ends(self) -> dt.datetime:
        """When it ends; nothing it signs ends later."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is held at one moment."""

    roots: tuple[Authority, ...] = ()  # not retired, oldest first
    certificates: tuple[x509.Certificate, ...] = ()  # theirs
    intermediate: Authority | None = None
    issuer: Issuer | None = None


class Authorities:
    """The authorities in memory."""

    def __init__(self, trust_domain: str, sealer: Sealer, entropy: Entropy, signs: Periods = USUAL) -> None:
        self.trust_domain = trust_domain
        self._signs = signs
        self._sealer = sealer
        self._entropy = entropy
        self._now = _Reading()

    # --- reading ---

    def issuer(self) -> Issuer:
        """Return the intermediate that signs.

        Raises:
            IntegrityError: there is none.
        """
        if self._now.issuer is None:
            raise IntegrityError(ErrorCode.KEY_BROKEN, "no X.509 authority signs", help="run charter doctor")
        return self._now.issuer

    def roots(self, at: dt.datetime) -> tuple[x509.Certificate, ...]:
        """Return the roots that SVIDs are verified with at `at`, oldest first."""
        pairs = zip(self._now.roots, self._now.certificates, strict=True)
        return tuple(certificate for root, certificate in pairs if not is_over(root, at))

    # --- changing ---

    def ensure(self, tx: AuthorityWork) -> bool:
        """Make what is missing, replace what has signed long enough, drop what is over; return whether any was. A work.

        It is asked every few seconds, so it looks into the database only when something may be due.
        """
        if not self._is_due(tx.at):
            return False
        known = _Known(tx, self.trust_domain)
        for root in known.of(AuthorityRole.ROOT):
            if root.state is not KeyState.RETIRED and is_over(root, tx.at):
                known.update(replace(root, state=KeyState.RETIRED, sealed=""), "its overlap is over")
        active = known.one(AuthorityRole.ROOT, KeyState.ACTIVE)
        if active is None or tx.at >= self._signs_until(active):
            self._follow_root(known, "charter", "due" if active else "the first of its use", at_once=False)
        intermediate = known.one(AuthorityRole.INTERMEDIATE, KeyState.ACTIVE)
        if intermediate is None or tx.at >= self._signs_until(intermediate):
            self._follow_intermediate(known, "charter", "due" if intermediate else "the first of its use")
        self._show_after(known)
        return True

    def rotate(
        self, tx: AuthorityWork, role: AuthorityRole, *, actor: str, reason: str, at_once: bool = False
    ) -> Authority:
        """Let another authority of `role` sign from now on; return it. A work.

        `at_once` takes the old root out of the bundle with the same commit: what it signed is worthless. Otherwise that
        verifies until it ends.
        """
        known = _Known(tx, self.trust_domain)
        if role is AuthorityRole.ROOT:
            self._follow_root(known, actor, reason, at_once=at_once)
        else:
            self._follow_intermediate(known, actor, reason)
        self._show_after(known)
        found = known.one(role, KeyState.ACTIVE)
        assert found is not None  # noqa: S101 - one was just made active
        return found

    def show(self, authorities: Iterable[Authority]) -> None:
        """Hold exactly `authorities`.

        Raises:
            IntegrityError: the one that signs cannot be opened, or its halves do not belong together.
        """
        self._now = self._read(authorities)

    # --- within ---

    def due_at(self, role: AuthorityRole) -> dt.datetime | None:
        """Return when another authority of `role` shall sign; None: none signs."""
        active = self.active(role)
        return None if active is None else self._signs_until(active)

    def active(self, role: AuthorityRole) -> Authority | None:
        """Return the authority of `role` that signs."""
        known = self._now.roots if role is AuthorityRole.ROOT else filter(None, (self._now.intermediate,))
        return next((each for each in known if each.state is KeyState.ACTIVE), None)

    def _signs_until(self, authority: Authority) -> dt.datetime:
        return (authority.signs_from or authority.created_at) + self._signs[authority.role.value]

    def _is_due(self, at: dt.datetime) -> bool:
        now = self._now
        root = next((each for each in now.roots if each.state is KeyState.ACTIVE), None)
        return (
            root is None
            or now.intermediate is None
            or any(at >= self._signs_until(each) for each in (root, now.intermediate))
            or any(is_over(each, at) for each in now.roots)
        )

    def _follow_root(self, known: _Known, actor: str, reason: str, *, at_once: bool) -> None:
        """Let the next root sign, make another next one, and an intermediate under the one that signs."""
        at = known.tx.at
        old, fresh = (known.one(AuthorityRole.ROOT, state) for state in (KeyState.ACTIVE, KeyState.NEXT))
        if (
            fresh is not None
            and certificate_of(fresh).not_valid_after_utc
            < at + self._signs[AuthorityRole.ROOT.value] + INTERMEDIATE_LIFE
        ):
            known.update(replace(fresh, state=KeyState.RETIRED, sealed=""), "it waited too long")
            fresh = None
        if fresh is None:
            fresh = self._root(at)
            known.add(fresh, "made to sign")
        if old is not None:
            gone = replace(old, state=KeyState.RETIRING, sealed="", retire_after=at + OVERLAP)
            known.update(replace(gone, state=KeyState.RETIRED, retire_after=at) if at_once else gone, reason)
        active = replace(fresh, state=KeyState.ACTIVE, signs_from=at)
        known.update(active, reason)
        known.add(self._root(at), "made to follow")
        known.tx.record(Draft(EntryKind.AUTHORITY_ROTATED, actor, None, _body(active, old, reason, at_once=at_once)))
        self._follow_intermediate(known, actor, reason)

    def _follow_intermediate(self, known: _Known, actor: str, reason: str) -> None:
        root = known.one(AuthorityRole.ROOT, KeyState.ACTIVE)
        assert root is not None  # noqa: S101 - `ensure` makes one first
        old = known.one(AuthorityRole.INTERMEDIATE, KeyState.ACTIVE)
        if old is not None:
            known.update(replace(old, state=KeyState.RETIRED, sealed=""), reason)
        active = self._intermediate(root, known.tx.at)
        known.add(active, reason)
        known.tx.record(Draft(EntryKind.AUTHORITY_ROTATED, actor, None, _body(active, old, reason, at_once=False)))

    def _root(self, at: dt.datetime) -> Authority:
        """Return a fresh root, sealed, which waits."""
        secret = new_p256_secret(self._entropy)
        key = p256_key(secret)
        plan = self._plan(AuthorityRole.ROOT, key.public_key(), at, at + ROOT_LIFE)
        return self._sealed(AuthorityRole.ROOT, sign_authority(plan, None, key), secret, KeyState.NEXT, at)

    def _intermediate(self, root: Authority, at: dt.datetime) -> Authority:
        """Return a fresh intermediate signed by `root`, sealed, which signs."""
        secret, above = new_p256_secret(self._entropy), certificate_of(root)
        ends = min(at + INTERMEDIATE_LIFE, above.not_valid_after_utc)
        plan = self._plan(AuthorityRole.INTERMEDIATE, p256_key(secret).public_key(), at, ends)
        signed = sign_authority(plan, above, self._open(root))
        return self._sealed(AuthorityRole.INTERMEDIATE, signed, secret, KeyState.ACTIVE, at)

    def _plan(
        self, role: AuthorityRole, public: ec.EllipticCurvePublicKey, at: dt.datetime, ends: dt.datetime
    ) -> AuthorityPlan:
        name, depth = f"{role.value} {key_id_of(public)[:16]}", 1 if role is AuthorityRole.ROOT else 0
        return AuthorityPlan(
            name, SpiffeId(self.trust_domain, ""), public, serial_number(self._entropy), at, ends, depth
        )

    def _sealed(
        self, role: AuthorityRole, signed: x509.Certificate, secret: Secret, state: KeyState, at: dt.datetime
    ) -> Authority:
        signs_from = at if state is KeyState.ACTIVE else None
        name, der = key_id_of(p256_of(signed)), signed.public_bytes(Encoding.DER)
        made = Authority(name, self.trust_domain, role, der, "", state, at, signs_from)
        return replace(made, sealed=self._sealer.seal(secret, made.context))

    def _open(self, authority: Authority) -> ec.EllipticCurvePrivateKey:
        """Return an authority's private half.

        Raises:
            IntegrityError: it cannot be opened, or is not the certificate's.
        """
        key = p256_key(self._sealer.unseal(authority.sealed, authority.context))
        public = p256_of(certificate_of(authority))
        if key.public_key() != public or key_id_of(public) != authority.id:
            raise IntegrityError(
                ErrorCode.KEY_BROKEN,
                f"the halves of the {authority.role.value} `{authority.id[:16]}` do not belong together",
                help="the table x509_authority was altered: restore the newest backup",
            )
        return key

    def _show_after(self, known: _Known) -> None:
        reading = self._read(known.all)

        def show() -> None:
            self._now = reading

        known.tx.after_commit(show)

    def _read(self, authorities: Iterable[Authority]) -> _Reading:
        known = list(authorities)
        roots = tuple(a for a in known if a.role is AuthorityRole.ROOT and a.state is not KeyState.RETIRED)
        signing = [a for a in known if a.role is AuthorityRole.INTERMEDIATE and a.state is KeyState.ACTIVE]
        intermediate = signing[-1] if signing else None
        issuer = None
        if intermediate is not None:
            key = self._open(intermediate)
            own = certificate_of(intermediate)
            issuer = Issuer(intermediate.id, own, intermediate.certificate, key, svid_form(own))
        return _Reading(roots, tuple(certificate_of(each) for each in roots), intermediate, issuer)


class _Known:
    """The authorities as one work has them: what the store keeps, and what the work changed since."""

    def __init__(self, tx: AuthorityWork, trust_domain: str) -> None:
        self.tx = tx
        self._by_id = {each.id: each for each in tx.trust.authorities(trust_domain)}

    @property
    def all(self) -> list[Authority]:
        return list(self._by_id.values())

    def of(self, role: AuthorityRole) -> list[Authority]:
        return [each for each in self._by_id.values() if each.role is role]

    def one(self, role: AuthorityRole, state: KeyState) -> Authority | None:
        return next((each for each in self.of(role) if each.state is state), None)

    def add(self, authority: Authority, why: str) -> None:
        self.tx.trust.add_authority(authority)
        self._keep(authority, why)

    def update(self, authority: Authority, why: str) -> None:
        self.tx.trust.update_authority(authority)
        self._keep(authority, why)

    def _keep(self, authority: Authority, why: str) -> None:
        self._by_id[authority.id] = authority
        self.tx.changed(FEED_KIND, authority.id, actor="charter", reason=f"{why}: {authority.state.value}")


def certificate_of(authority: Authority) -> x509.Certificate:
    """Return an authority's certificate."""
    return x509.load_der_x509_certificate(authority.certificate)


def is_over(root: Authority, at: dt.datetime) -> bool:
    """Return whether nothing is verified with a root any more: its overlap has passed, or it has ended itself."""
    return (root.retire_after is not None and root.retire_after <= at) or root.created_at + ROOT_LIFE <= at


def _body(active: Authority, old: Authority | None, reason: str, *, at_once: bool) -> dict[str, Any]:
    """Return what the evidence says of an authority that begins to sign."""
    return {
        "role": active.role.value,
        "after": active.id,
        "before": old.id if old else None,
        "certificate": digest(active.certificate),
        "at_once": at_once,
        "reason": reason,
    }

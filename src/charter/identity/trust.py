"""Our own trust domain and those we federate with: which authorities are trusted for which SPIFFE IDs, right now.

The bundle of our own trust domain is *published*: worked out from the authorities and keys as they are kept, given the
next number whenever it differs from the one before, and written down in the transaction that changed them. What
workloads, other trust domains and our own verifiers see is the published bundle.

INVARIANT: an authority is in a published bundle before it signs, and stays until all it signed has ended, unless it is
taken out at once.
INVARIANT: numbers only rise: the same number is never given to two contents.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from charter.core.canonical import canonical, digest, digest_of
from charter.core.errors import ErrorCode, IntegrityError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.bundle import Bundle, jwt_authority, parse_bundle
from charter.identity.keys import KeyRing, KeyState, KeyUse, KeyWork, SigningKey
from charter.identity.x509_authority import (
    Authorities,
    Authority,
    AuthorityRole,
    AuthorityStore,
    certificate_of,
    is_over,
)

REFRESH_SECONDS = 300  # how often others shall look for a new bundle
FEED_KIND = "bundle"


@dataclass(frozen=True, slots=True)
class KeptBundle:
    """A bundle as it is kept. `body` is the document: the published one, or the one fetched."""

    trust_domain: str
    sequence: int | None
    digest: str  # of the body
    body: bytes
    taken_at: dt.datetime


class TrustStore(AuthorityStore, Protocol):
    """Where authorities and bundles are kept."""

    def bundles(self) -> Sequence[KeptBundle]:
        """Return every bundle: our own and others'."""
        ...

    def bundle(self, trust_domain: str) -> KeptBundle | None:
        """Return the bundle of one trust domain."""
        ...

    def put_bundle(self, bundle: KeptBundle) -> None:
        """Keep the bundle of a trust domain in place of the one before."""
        ...

    def federated(self) -> Sequence[str]:
        """Return the trust domains that we federate with."""
        ...

    def drop_bundle(self, trust_domain: str) -> None:
        """Forget the bundle of a trust domain."""
        ...


class TrustWork(KeyWork, Protocol):
    """The slice of the work that trust needs."""

    @property
    def trust(self) -> TrustStore:
        """Where authorities and bundles are kept."""
        ...


class Trust:
    """What is trusted, in memory. `bundles` is one immutable reading, replaced after the commit that changed it."""

    def __init__(self, trust_domain: str, ring: KeyRing, authorities: Authorities) -> None:
        self.trust_domain = trust_domain
        self.ring = ring
        self.authorities = authorities
        self._bundles: Mapping[str, Bundle] = {}

    # --- reading ---

    @property
    def bundles(self) -> Mapping[str, Bundle]:
        """Every trusted bundle by its trust domain: what `verify_jwt_svid` and `verify_x509_svid` take."""
        return self._bundles

    @property
    def own(self) -> Bundle:
        """The published bundle of our own trust domain.

        Raises:
            IntegrityError: there is none yet.
        """
        found = self._bundles.get(self.trust_domain)
        if found is None:
            raise IntegrityError(ErrorCode.KEY_BROKEN, "no trust bundle is published", help="run charter doctor")
        return found

    # --- changing ---

    def open(self, tx: TrustWork) -> None:
        """Hold what is kept, and make what is missing. A work, at start.

        Raises:
            IntegrityError: an authority cannot be opened, or a bundle is not what its digest says.
        """
        self.authorities.show(tx.trust.authorities(self.trust_domain))
        self.authorities.ensure(tx)
        self._publish(tx)
        known = {self.trust_domain, *tx.trust.federated()}  # no bundle is trusted only because it is there
        held = {each.trust_domain: _read(each) for each in tx.trust.bundles() if each.trust_domain in known}
        tx.after_commit(lambda: self._show(lambda _: held))

    def tend(self, tx: TrustWork) -> None:
        """Replace authorities and keys that have signed long enough, and publish what follows from it. A work."""
        changed = self.authorities.ensure(tx)
        due = self.ring.is_due(KeyUse.JWT_SVID, tx.at)
        if due:
            self.ring.rotate(tx, KeyUse.JWT_SVID, actor="charter", reason="due")
        if changed or due or self._has_ended(tx.at):
            self._publish(tx)

    def rotate_root(self, tx: TrustWork, *, actor: str, reason: str, at_once: bool) -> Authority:
        """Let the next root sign from now on; `at_once` takes the old one out of the bundle too. A work."""
        found = self.authorities.rotate(tx, AuthorityRole.ROOT, actor=actor, reason=reason, at_once=at_once)
        self._publish(tx)
        return found

    def rotate_intermediate(self, tx: TrustWork, *, actor: str, reason: str) -> Authority:
        """Let a fresh intermediate sign from now on. The bundle stays as it is. A work."""
        return self.authorities.rotate(tx, AuthorityRole.INTERMEDIATE, actor=actor, reason=reason)

    def rotate_jwt_key(self, tx: TrustWork, *, actor: str, reason: str, at_once: bool = False) -> SigningKey:
        """Let the next key sign JWT-SVIDs from now on; `at_once` takes the old one out of the bundle too. A work."""
        found = self.ring.rotate(tx, KeyUse.JWT_SVID, actor=actor, reason=reason, at_once=at_once)
        self._publish(tx)
        return found

    def keep(self, tx: TrustWork, kept: KeptBundle, *, actor: str, reason: str) -> None:
        """Keep another bundle of a trust domain, in force with this commit. A work.

        Raises:
            MalformedError: its body is no bundle.
        """
        bundle = parse_bundle(kept.trust_domain, kept.body)
        tx.trust.put_bundle(kept)
        body = {
            "trust_domain": kept.trust_domain,
            "sequence": kept.sequence,
            "digest": kept.digest,
            "x509_authorities": len(bundle.x509_authorities),
            "jwt_authorities": sorted(bundle.jwt_authorities),
            "reason": reason,
        }
        tx.record(Draft(EntryKind.BUNDLE_CHANGED, actor, None, body))
        tx.changed(FEED_KIND, kept.trust_domain, actor=actor, reason=reason)
        tx.after_commit(lambda: self._show(lambda held: {**held, kept.trust_domain: bundle}))

    def drop(self, tx: TrustWork, trust_domain: str, *, actor: str, reason: str) -> None:
        """Trust a trust domain no longer, with this commit. A work."""
        tx.trust.drop_bundle(trust_domain)
        body = {"trust_domain": trust_domain, "sequence": None, "digest": None, "reason": reason}
        tx.record(Draft(EntryKind.BUNDLE_CHANGED, actor, None, body))
        tx.changed(FEED_KIND, trust_domain, actor=actor, reason=reason)
        tx.after_commit(lambda: self._show(lambda held: {k: v for k, v in held.items() if k != trust_domain}))

    # --- within ---

    def _publish(self, tx: TrustWork) -> None:
        """Write down our bundle if it differs from the one that is published."""
        content = _content(
            self.trust_domain, tx.trust.authorities(self.trust_domain), tx.identity.signing_keys(), tx.at
        )
        before = tx.trust.bundle(self.trust_domain)
        if before is not None and digest_of(_read(before).document()["keys"]) == digest_of(content.document()["keys"]):
            return
        sequence = 1 if before is None else (before.sequence or 0) + 1
        bundle = replace(content, sequence=sequence, refresh_seconds=REFRESH_SECONDS)
        body = canonical(bundle.document())
        kept = KeptBundle(self.trust_domain, sequence, digest(body), body, tx.at)
        self.keep(tx, kept, actor="charter", reason="its authorities changed")

    def _has_ended(self, at: dt.datetime) -> bool:
        """Return whether the published bundle holds a key that verifies no more."""
        return not self.own.jwt_authorities.keys() <= self.ring.verifiers(KeyUse.JWT_SVID, at).keys()

    def _show(self, change: Callable[[Mapping[str, Bundle]], Mapping[str, Bundle]]) -> None:
        self._bundles = change(self._bundles)


def _content(
    trust_domain: str, authorities: Sequence[Authority], keys: Sequence[SigningKey], at: dt.datetime
) -> Bundle:
    """Return the authorities that our SVIDs are verified with, in the order they were made."""
    roots = [a for a in authorities if a.role is AuthorityRole.ROOT and a.state is not KeyState.RETIRED]
    signing = [key for key in keys if key.use is KeyUse.JWT_SVID and key.is_good(at)]
    return Bundle(
        trust_domain,
        tuple(certificate_of(root) for root in roots if not is_over(root, at)),
        {key.id: jwt_authority(key.id, key.public) for key in signing},
    )


def _read(kept: KeptBundle) -> Bundle:
    if digest(kept.body) != kept.digest:
        raise IntegrityError(
            ErrorCode.KEY_BROKEN,
            f"the bundle of `{kept.trust_domain}` is not what its digest says",
            help="the table trust_bundle was altered: restore the newest backup",
        )
    return parse_bundle(kept.trust_domain, kept.body)

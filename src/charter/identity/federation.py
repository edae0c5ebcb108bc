"""Federation: another trust domain whose SVIDs our workloads may believe (SPIFFE Federation, sections 5 to 7).

A relationship is one-way, and has three parameters that an operator gives and nothing ever infers: the trust domain's
name, the address of its bundle endpoint, and how that endpoint is authenticated.

    https_web       by a certificate that this machine's authorities vouch for
    https_spiffe    by an X.509-SVID for one SPIFFE ID, verified with that ID's own trust domain's bundle: for a
                    self-serving endpoint the newest one of the very trust domain, first the one given by the operator

INVARIANT: a bundle is filed under the name that the operator gave, whatever it says and wherever it came from.
INVARIANT: a bundle with a lower number than the one that is held, or without one where there was one, is not taken.
INVARIANT: a trust domain that could not be asked for a week is trusted no longer.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit

from typing_extensions import override

from charter.core.canonical import digest
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError
from charter.core.values import SpiffeId, parse_trust_domain
from charter.evidence.entry import Draft, EntryKind
from charter.identity.bundle import Bundle, parse_bundle
from charter.identity.trust import KeptBundle, Trust, TrustStore, TrustWork

USUAL_REFRESH = dt.timedelta(minutes=5)  # where a bundle says nothing (SPIFFE Federation section 4.1)
SHORTEST = dt.timedelta(seconds=30)  # whatever a bundle says
MAX_SILENCE = dt.timedelta(days=7)
MAX_URL = 2048
MAX_NETWORKS = 16
MAX_FEDERATIONS = 1000


class Profile(StrEnum):
    """How a bundle endpoint is authenticated."""

    HTTPS_WEB = "https_web"
    HTTPS_SPIFFE = "https_spiffe"


@dataclass(frozen=True, slots=True)
class Federation:
    """One relationship. `networks` are those beside the public ones in which its endpoint may be."""

    trust_domain: str
    url: str
    profile: Profile
    endpoint_id: str | None  # the SPIFFE ID of the endpoint, of https_spiffe
    networks: tuple[str, ...]
    added_at: dt.datetime
    added_by: str
    asked_at: dt.datetime | None = None
    refreshed_at: dt.datetime | None = None  # when it last answered with a bundle that was good
    failure: str | None = None  # why it did not, the last time it was asked

    @property
    def endpoint_domain(self) -> str:
        """The trust domain whose bundle authenticates the endpoint."""
        return SpiffeId.parse(self.endpoint_id).trust_domain if self.endpoint_id else self.trust_domain

    def next_at(self, bundle: Bundle | None) -> dt.datetime:
        """Return when the endpoint is to be asked again; a failure waits as long (section 6.2)."""
        if self.asked_at is None:
            return self.added_at
        hint = bundle.refresh_seconds if bundle else None
        return self.asked_at + (USUAL_REFRESH if hint is None else max(SHORTEST, dt.timedelta(seconds=hint)))

    def is_silent(self, at: dt.datetime) -> bool:
        """Return whether its endpoint has been silent for too long to go on trusting what it said."""
        return at - (self.refreshed_at or self.added_at) > MAX_SILENCE


class FederationStore(TrustStore, Protocol):
    """Where relationships are kept."""

    def federations(self) -> Sequence[Federation]:
        """Return every relationship, by trust domain."""
        ...

    def federation(self, trust_domain: str) -> Federation | None:
        """Return the relationship with a trust domain."""
        ...

    def put_federation(self, federation: Federation) -> None:
        """Keep a relationship in place of the one before."""
        ...

    def drop_federation(self, trust_domain: str) -> None:
        """Forget a relationship."""
        ...


class FederationWork(TrustWork, Protocol):
    """The slice of the work that federation needs."""

    @property
    @override
    def trust(self) -> FederationStore:
        """Where authorities, bundles and relationships are kept."""
        ...


def plan_federation(  # noqa: PLR0913 - the parameters of section 5.1, each given by an operator
    trust_domain: str,
    url: str,
    profile: Profile,
    *,
    endpoint_id: str | None,
    networks: Sequence[str],
    by: str,
    at: dt.datetime,
) -> Federation:
    """Return the relationship that these parameters describe.

    Raises:
        MalformedError: one is wrong; the message says which, and why.
    """
    parse_trust_domain(trust_domain)
    _check_url(url)
    if (profile is Profile.HTTPS_SPIFFE) != (endpoint_id is not None):
        raise _refusal(
            "the SPIFFE ID of the endpoint goes with the profile https_spiffe, and only with it",
            "charter federation add NAME --url URL --profile https_spiffe --endpoint-id spiffe://…",
        )
    if endpoint_id is not None and not SpiffeId.parse(endpoint_id).path:
        raise _refusal(f"`{endpoint_id}` names a trust domain and no endpoint", "name the endpoint's own SPIFFE ID")
    kept = tuple(_network(each) for each in networks)
    if len(kept) > MAX_NETWORKS:
        raise _refusal(f"{len(kept)} networks are too many", f"name at most {MAX_NETWORKS}")
    return Federation(trust_domain, url, profile, endpoint_id, kept, at, by)


def add_federation(
    tx: FederationWork, trust: Trust, wanted: Federation, first: bytes | None, *, reason: str
) -> Federation:
    """Begin a relationship; `first` is a bundle that the operator has by other means. A work.

    Raises:
        MalformedError: `first` is no bundle, or is missing where nothing else authenticates the endpoint.
        ConflictError: it is our own trust domain, or there is a relationship already.
    """
    if wanted.trust_domain == trust.trust_domain:
        raise ConflictError(
            ErrorCode.EXISTS,
            f"`{wanted.trust_domain}` is our own trust domain",
            help="two trust domains of one name cannot federate: one of them must be renamed",
        )
    if tx.trust.federation(wanted.trust_domain) is not None or len(tx.trust.federations()) >= MAX_FEDERATIONS:
        raise ConflictError(
            ErrorCode.EXISTS,
            f"there is a relationship with `{wanted.trust_domain}` already, or there are too many",
            help="charter federation remove ends one",
        )
    is_known = wanted.endpoint_domain in trust.bundles or wanted.endpoint_domain == wanted.trust_domain
    if wanted.profile is Profile.HTTPS_SPIFFE and first is None and wanted.endpoint_domain not in trust.bundles:
        raise _refusal(
            f"nothing authenticates the endpoint: no bundle of `{wanted.endpoint_domain}` is held",
            "give a first one: --bundle FILE" if is_known else f"federate with `{wanted.endpoint_domain}` first",
        )
    tx.trust.put_federation(wanted)
    body = {
        "trust_domain": wanted.trust_domain,
        "url": wanted.url,
        "profile": wanted.profile.value,
        "endpoint_id": wanted.endpoint_id,
        "networks": list(wanted.networks),
        "reason": reason,
    }
    tx.record(Draft(EntryKind.FEDERATION_ADDED, wanted.added_by, None, body))
    if first is not None:
        trust.keep(tx, _kept(wanted.trust_domain, first, tx.at), actor=wanted.added_by, reason="given by the operator")
    return wanted


def remove_federation(tx: FederationWork, trust: Trust, trust_domain: str, *, actor: str, reason: str) -> Federation:
    """End a relationship: the trust domain is trusted no longer with this commit (section 6.3). A work.

    Raises:
        AbsentError: there is none.
    """
    found = known_federation(tx, trust_domain)
    tx.trust.drop_federation(trust_domain)
    tx.record(Draft(EntryKind.FEDERATION_REMOVED, actor, None, {"trust_domain": trust_domain, "reason": reason}))
    if trust_domain in trust.bundles:
        trust.drop(tx, trust_domain, actor=actor, reason=reason)
    return found


def known_federation(tx: FederationWork, trust_domain: str) -> Federation:
    """Return the relationship with a trust domain.

    Raises:
        AbsentError: there is none.
    """
    found = tx.trust.federation(trust_domain)
    if found is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_DOMAIN,
            f"there is no relationship with the trust domain {trust_domain[:80]!a}",
            help="charter federation ls",
        )
    return found


def answered(tx: FederationWork, trust: Trust, asked: Federation, body: bytes) -> Federation | None:
    """Take over the bundle that an endpoint answered with; None if the relationship is another one by now. A work.

    Raises:
        MalformedError: it is no bundle, or an older one than is held.
    """
    if not _is_same(tx.trust.federation(asked.trust_domain), asked):
        return None
    fresh, held = _kept(asked.trust_domain, body, tx.at), tx.trust.bundle(asked.trust_domain)
    if held is not None and held.sequence is not None and (fresh.sequence is None or fresh.sequence < held.sequence):
        raise MalformedError(
            ErrorCode.BAD_BUNDLE,
            f"the bundle of `{asked.trust_domain}` has the number {fresh.sequence}, and {held.sequence} is held",
            help="an old bundle was served; if its numbers truly began anew, remove the relationship and add it again",
        )
    if held is None or held.digest != fresh.digest:
        trust.keep(tx, fresh, actor="charter", reason="fetched")
    kept = replace(asked, asked_at=tx.at, refreshed_at=tx.at, failure=None)
    tx.trust.put_federation(kept)
    return kept


def unanswered(tx: FederationWork, trust: Trust, asked: Federation, why: str) -> Federation | None:
    """Note that an endpoint did not answer with a good bundle; after too long, trust its domain no longer. A work."""
    if not _is_same(tx.trust.federation(asked.trust_domain), asked):
        return None
    kept = replace(asked, asked_at=tx.at, failure=why[:500])
    tx.trust.put_federation(kept)
    if asked.failure is None:
        body: dict[str, Any] = {"trust_domain": asked.trust_domain, "why": kept.failure}
        tx.record(Draft(EntryKind.FEDERATION_FAILED, "charter", None, body))
    if kept.is_silent(tx.at) and asked.trust_domain in trust.bundles:
        why = f"it has been silent for {MAX_SILENCE.days} days"
        trust.drop(tx, asked.trust_domain, actor="charter", reason=why)
    return kept


def _is_same(now: Federation | None, asked: Federation) -> bool:
    """Return whether the relationship is still the one whose endpoint was asked."""
    return now is not None and (now.url, now.profile, now.added_at) == (asked.url, asked.profile, asked.added_at)


def _kept(trust_domain: str, body: bytes, at: dt.datetime) -> KeptBundle:
    return KeptBundle(trust_domain, parse_bundle(trust_domain, body).sequence, digest(body), body, at)


def _check_url(url: str) -> None:
    """Check the address of a bundle endpoint (section 5.2.1.1)."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    is_plain = len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url
    if not is_plain or parts.scheme != "https" or not host or "@" in parts.netloc or parts.fragment:
        raise _refusal(
            f"{url[:200]!a} is no address of a bundle endpoint", "write https://HOST/PATH, without user or fragment"
        )


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as err:
        raise _refusal(f"{text[:80]!a} is no network", "write it as in 10.20.0.0/16") from err


def _refusal(text: str, mend: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, text, help=mend)

"""The keys of trusted issuers: from issuers.yaml, from the address it names, or by OIDC discovery; kept for a while.

INVARIANT: strangers cannot make us ask without end: only trusted issuers are asked, one question at a time each, and a
`kid` that nobody knows makes us ask again after ten seconds at the earliest.
INVARIANT: keys that could not be refreshed are used for an hour at most; then nothing is verified with them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from charter.adapters.document_fetch import DocumentFetcher, FetchError
from charter.core.clock import Clock
from charter.core.errors import CharterError, ErrorCode, MalformedError, UnavailableError
from charter.identity.foreign import ForeignKey, parse_key_set
from charter.registry.issuer import TrustedIssuer

DISCOVERY = "/.well-known/openid-configuration"
LONGEST_SECONDS = 3600.0  # that keys are used after they were fetched
USUAL_SECONDS = 300.0  # that they are used without asking again, where their server says nothing
MAX_KEPT = 1000  # issuers
AGAIN_SECONDS = 10.0  # between two questions to one issuer


@dataclass(slots=True)
class _Kept:
    keys: tuple[ForeignKey, ...]
    fetched: float
    fresh_until: float


@dataclass(slots=True)
class IssuerKeys:
    """Keys by issuer. Belongs to the event loop it is used on."""

    fetcher: DocumentFetcher
    clock: Clock
    _kept: dict[tuple[str, str | None], _Kept] = field(default_factory=dict)
    _asking: dict[tuple[str, str | None], asyncio.Lock] = field(default_factory=dict)

    async def of(self, issuer: TrustedIssuer, key_id: str | None) -> tuple[ForeignKey, ...]:
        """Return the keys of `issuer`, fetched anew if `key_id` is not among those kept.

        Raises:
            UnavailableError: they cannot be had, or are none.
        """
        if issuer.keys:
            return _parsed({"keys": list(issuer.keys)}, issuer)
        kept = self._kept.get(_name(issuer))
        if kept is not None and self._serves(kept, key_id):
            return kept.keys
        async with self._asking.setdefault(_name(issuer), asyncio.Lock()):
            kept = self._kept.get(_name(issuer))
            if kept is None or not self._serves(kept, key_id):
                kept = await self._asked(issuer, kept)
            return kept.keys

    def _serves(self, kept: _Kept, key_id: str | None) -> bool:
        now = self.clock.monotonic()
        is_known = key_id is None or any(key.key_id == key_id for key in kept.keys)
        return (is_known and now < kept.fresh_until) or now < kept.fetched + AGAIN_SECONDS

    async def _asked(self, issuer: TrustedIssuer, kept: _Kept | None) -> _Kept:
        now = self.clock.monotonic()
        try:
            fresh = await self._fetch(issuer)
        except CharterError:
            if kept is None or now >= kept.fetched + LONGEST_SECONDS:
                raise
            return kept
        if len(self._kept) >= MAX_KEPT:  # issuers that are trusted no more are never asked for again
            self._kept.clear()
        self._kept[_name(issuer)] = fresh
        return fresh

    async def _fetch(self, issuer: TrustedIssuer) -> _Kept:
        url = issuer.keys_url or await self._discovered(issuer)
        found = await self.fetcher.fetch(url)
        now = self.clock.monotonic()
        keys = _parsed(_document(found.body, url), issuer)
        seconds = USUAL_SECONDS if found.max_age_seconds is None else min(found.max_age_seconds, LONGEST_SECONDS)
        return _Kept(keys, now, now + seconds)

    async def _discovered(self, issuer: TrustedIssuer) -> str:
        """Return where the issuer says its keys are (OpenID Connect Discovery section 4.3: it must name itself)."""
        address = str(issuer.address)
        url = address.rstrip("/") + DISCOVERY
        document = _document((await self.fetcher.fetch(url)).body, url)
        where = document.get("jwks_uri")
        if document.get("issuer") != address or not isinstance(where, str):
            raise FetchError(
                ErrorCode.UPSTREAM_FAILED,
                f"the document at `{url}` does not speak for the issuer `{address}`, or names no keys",
                help="check `issuer` in issuers.yaml, or name its keys in `keys_url`",
            )
        return where


def _name(issuer: TrustedIssuer) -> tuple[str, str | None]:
    return str(issuer.address), issuer.keys_url


def _document(body: bytes, url: str) -> Mapping[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise FetchError(ErrorCode.UPSTREAM_FAILED, f"the document at `{url}` is no JSON") from err
    if not isinstance(found, dict):
        raise FetchError(ErrorCode.UPSTREAM_FAILED, f"the document at `{url}` is no JSON object")
    return found


def _parsed(document: object, issuer: TrustedIssuer) -> tuple[ForeignKey, ...]:
    try:
        return parse_key_set(document)
    except MalformedError as err:
        text = f"the keys of the issuer `{issuer.address}` cannot be used: {err.detail}"
        raise UnavailableError(ErrorCode.UPSTREAM_FAILED, text, help=err.help) from err

"""The organisation's OpenID provider, asked through authlib; what it signs is verified like any other issuer's token.

INVARIANT: an ID token counts only with the nonce that this sign-in asked with, for our client alone, and with an e-mail
address that the provider verified.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from httpx import HTTPError

from charter.adapters.document_fetch import DocumentFetcher, FetchError
from charter.adapters.issuer_keys import DISCOVERY, IssuerKeys
from charter.core.clock import Clock
from charter.core.errors import ErrorCode, UnauthenticatedError, UnavailableError
from charter.core.values import Secret
from charter.identity.foreign import read_foreign, verify_foreign
from charter.identity.single_signon import Identity
from charter.registry.issuer import Platform, TrustedIssuer

SCOPE = "openid email profile"
SECONDS = 10.0
MAX_GROUPS = 2000
MAX_GROUP = 256
MAX_EMAIL = 254


@dataclass(slots=True)
class OidcProvider:
    """One provider, and our client there. Belongs to the event loop it is used on."""

    issuer: str
    client_id: str
    secret: Secret | None
    redirect_uri: str
    label: str
    groups_claim: str
    fetcher: DocumentFetcher
    keys: IssuerKeys
    clock: Clock
    _document: Mapping[str, Any] | None = field(default=None)

    async def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where the browser goes to sign in."""
        where = await self._endpoint("authorization_endpoint")
        async with self._client() as client:
            url, _ = client.create_authorization_url(where, state=state, nonce=nonce, code_verifier=verifier)
        return str(url)

    async def identity(self, code: str, *, nonce: str, verifier: str) -> Identity:
        """Return whom `code` stands for."""
        where = await self._endpoint("token_endpoint")
        try:
            async with self._client() as client:
                answer = await client.fetch_token(where, code=code, code_verifier=verifier)
        except AuthlibBaseError as err:
            raise _refusal("the provider does not accept the sign-in's code") from err
        except (HTTPError, ValueError) as err:
            raise UnavailableError(ErrorCode.UPSTREAM_FAILED, "the sign-in provider cannot be asked") from err
        token = answer.get("id_token")
        if not isinstance(token, str):
            _refuse("the provider gave no ID token")
        return await self._identity_in(token, nonce)

    async def _identity_in(self, token: str, nonce: str) -> Identity:
        """Return whom an ID token is about (OpenID Connect Core section 3.1.3.7)."""
        trusted = TrustedIssuer(platform=Platform.IDENTITY_PROVIDER, issuer=self.issuer)
        found = read_foreign(token)
        keys = await self.keys.of(trusted, found.key_id)
        claims = verify_foreign(found, keys, trusted, audiences=[self.client_id], at=self.clock.now())
        if claims.get("nonce") != nonce or claims.get("azp", self.client_id) != self.client_id:
            _refuse("the ID token answers another sign-in than this one")
        subject, email = claims.get("sub"), claims.get("email")
        if not isinstance(subject, str) or not isinstance(email, str) or not 3 <= len(email) <= MAX_EMAIL:  # noqa: PLR2004 - a@b
            _refuse("the provider does not tell the person's e-mail address")
        if claims.get("email_verified") is not True:
            _refuse("the provider did not verify the person's e-mail address")
        return Identity(self.issuer, subject, email.lower(), _groups(claims.get(self.groups_claim, [])))

    def _client(self) -> AsyncOAuth2Client:
        secret = self.secret.reveal().decode() if self.secret else None
        return AsyncOAuth2Client(
            self.client_id,
            secret,
            scope=SCOPE,
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            timeout=SECONDS,
            follow_redirects=False,
            trust_env=False,
        )

    async def _endpoint(self, name: str) -> str:
        if self._document is None:
            url = self.issuer.rstrip("/") + DISCOVERY
            body = (await self.fetcher.fetch(url)).body
            try:
                document = json.loads(body)
            except ValueError as err:
                raise FetchError(ErrorCode.UPSTREAM_FAILED, f"the document at `{url}` is no JSON") from err
            if not isinstance(document, dict) or document.get("issuer") != self.issuer:
                raise FetchError(
                    ErrorCode.UPSTREAM_FAILED,
                    f"the document at `{url}` does not speak for the issuer `{self.issuer}`",
                    help="check CHARTER_OIDC_ISSUER: it must be exactly what the provider calls itself",
                )
            self._document = document
        found = self._document.get(name)
        if not isinstance(found, str):
            raise FetchError(ErrorCode.UPSTREAM_FAILED, f"the sign-in provider names no `{name}`")
        return found


def _groups(said: object) -> tuple[str, ...]:
    if not isinstance(said, list) or len(said) > MAX_GROUPS:
        return ()
    return tuple(each for each in said if isinstance(each, str) and len(each) <= MAX_GROUP)


def _refuse(why: str) -> NoReturn:
    raise _refusal(why)


def _refusal(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(ErrorCode.NOT_SIGNED_IN, why, help="begin again, or ask whoever runs the provider")

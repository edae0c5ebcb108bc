"""What an estate says of the credential for an upstream: which secret, and how it is shown. Never the secret itself.

A secret is named `vault:NAME` (sealed in Charter's vault, see identity/vault.py) or `env:NAME` (a variable of Charter's
own environment).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from charter.registry.charter import Model
from charter.registry.problem import PlacedError


def _of_form(pattern: str, why: str) -> tuple[StringConstraints, AfterValidator, WithJsonSchema]:
    """Return what holds text to `pattern` and never repeats the text: it may be a secret in a wrong place."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(why)
        return text

    schema = WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})
    return StringConstraints(strict=True, max_length=2048), AfterValidator(check), schema


_SECRET = r"vault:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|env:[A-Za-z_][A-Za-z0-9_]{0,127}"  # noqa: S105 - a form
SecretRef = Annotated[str, *_of_form(_SECRET, "names no secret; write `vault:NAME`, never the secret itself")]
VariableName = Annotated[str, *_of_form(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "is no variable; use letters, digits and _")]
HeaderName = Annotated[str, *_of_form(r"[A-Za-z][A-Za-z0-9-]{0,63}", "is no header; use letters, digits and -")]
Url = Annotated[str, *_of_form(r"https?://[^\s@#]+", "is no URL; it begins with https:// and names no user")]
ClientId = Annotated[str, *_of_form(r"[\x21-\x7e]{1,255}", "is no client id; it holds no spaces")]
ScopeWord = Annotated[  # RFC 6749 section 3.3
    str, *_of_form(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}", "is no scope; write each word of it as an entry of its own")
]
VAULT = "vault:"
# What the transport itself says, and what would let a secret pass for something else.
_NOT_CREDENTIALS = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept", "accept-encoding", "te"}
    | {"user-agent", "cookie", "origin", "upgrade", "trailer", "expect"}
)


class BearerCredential(Model):
    """A static bearer token: `Authorization: Bearer …`."""

    type: Literal["bearer"]
    secret: SecretRef


class HeaderCredential(Model):
    """A static key in a header of its own, as in `X-Api-Key`."""

    type: Literal["header"]
    header: HeaderName
    secret: SecretRef

    @model_validator(mode="after")
    def _is_free(self) -> HeaderCredential:
        lowered = self.header.lower()
        if lowered in _NOT_CREDENTIALS or lowered.startswith(("mcp-", "sec-", "proxy-")):
            raise PlacedError(("header",), f"`{self.header}` is said by the transport and can carry no credential")
        return self


class ClientCredential(Model):
    """Access tokens that Charter obtains for itself (RFC 6749 section 4.4); `secret` is its client secret there."""

    type: Literal["oauth-client"]
    token_url: Url
    client_id: ClientId
    secret: SecretRef
    auth: Literal["basic", "post"] = "basic"
    scope: Annotated[tuple[ScopeWord, ...], Field(max_length=64)] = ()
    resource: Url | None = None  # RFC 8707


class PersonCredential(Model):
    """Access tokens of the person on whose behalf a call is made, from that person's refresh token in the vault.

    A person connects once, by `charter vault connect`; a call that nobody delegated has no person and is not made.
    """

    type: Literal["oauth-person"]
    authorize_url: Url
    token_url: Url
    client_id: ClientId
    secret: SecretRef | None = None  # None: a public client
    auth: Literal["basic", "post"] = "basic"
    scope: Annotated[tuple[ScopeWord, ...], Field(max_length=64)] = ()
    resource: Url | None = None


UpstreamCredential = Annotated[
    BearerCredential | HeaderCredential | ClientCredential | PersonCredential, Field(discriminator="type")
]


def vault_name(reference: str) -> str | None:
    """Return the name of the vault's secret that `reference` names, or None if it names another kind of secret."""
    return reference.removeprefix(VAULT) if reference.startswith(VAULT) else None

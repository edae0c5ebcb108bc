"""Client authentication by a shared secret (RFC 6749 section 2.3.1), for principals whose charter says `legacy-secret`.

    client_secret_basic   in the header `Authorization: Basic`, client and secret form-encoded within
    client_secret_post    in the parameters `client_id` and `client_secret`

INVARIANT: a wrong secret, a principal that has none, one whose charter allows none, and one that does not exist are
answered alike.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple
from urllib.parse import unquote_plus

from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.bearer import Client
from charter.identity.clients import client_named
from charter.identity.secret import secret_of
from charter.server.oauth_clients import Asked
from charter.server.oauth_parts import Parts

BASIC, POST = "client_secret_basic", "client_secret_post"
MAX_BASIC = 1024  # characters


class _Given(NamedTuple):
    """What a request gives as client and secret."""

    client_id: str
    secret: str


class ClientSecretBasic:
    """`client_secret_basic`."""

    name = BASIC
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request has credentials in its head."""
        return asked.head.headers.get("authorization", "").partition(" ")[0].lower() == "basic"

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that the head names, if there is one."""
        given = _basic(asked)
        principal = client_named(self._parts.live, given.client_id) if given else None
        return principal.id if principal else ""

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose secret it is.

        Raises:
            UnauthenticatedError: it is nobody's, or the body names another client.
        """
        given = _basic(asked)
        if given is None or asked.form.get("client_id", given.client_id) != given.client_id:
            raise _not_its_own()
        return _client(self._parts, given, self.name)


class ClientSecretPost:
    """`client_secret_post`."""

    name = POST
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request has a secret in its body."""
        return "client_secret" in asked.form

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that the body names, if there is one."""
        principal = client_named(self._parts.live, asked.form.get("client_id", ""))
        return principal.id if principal else ""

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client whose secret it is.

        Raises:
            UnauthenticatedError: it is nobody's.
        """
        return _client(self._parts, _Given(asked.form.get("client_id", ""), asked.form["client_secret"]), self.name)


def _client(parts: Parts, given: _Given, method: str) -> Client:
    key = secret_of(parts.live, client_named(parts.live, given.client_id), given.secret)
    if key is None:
        raise _not_its_own()
    return Client(key.principal_id, method, key.thumbprint)


def _basic(asked: Asked) -> _Given | None:
    text = asked.head.headers.get("authorization", "").partition(" ")[2].strip()
    if len(text) > MAX_BASIC:
        return None
    try:
        client_id, colon, secret = base64.b64decode(text, validate=True).decode("ascii").partition(":")
        found = _Given(unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict"))
    except (binascii.Error, ValueError):
        return None
    return found if colon else None


def _not_its_own() -> UnauthenticatedError:
    return UnauthenticatedError(
        ErrorCode.BAD_CLIENT,
        "there is no such client, or the secret is not its own",
        help="use private_key_jwt (RFC 7523); secrets count only where a charter says legacy-secret",
    )

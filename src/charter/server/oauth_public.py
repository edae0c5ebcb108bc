"""Public clients at the token endpoint: programs on people's own machines, which can prove nothing.

INVARIANT: such a client gets what a person lent it and nothing of its own: it is installed for the flows that begin
with a person's consent, and its principal's charter must say that it is one.
"""

from __future__ import annotations

from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.identity.asking_client import AskingClient, asking_client
from charter.identity.bearer import Client
from charter.identity.marks import CLIENT_MARK
from charter.server.oauth_clients import PUBLIC, Asked, has_secret
from charter.server.oauth_parts import Parts

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
CONSENTED = frozenset({"authorization_code", "refresh_token", DEVICE_CODE})


class PublicClient:
    """`none`: the client says who it is, and what it holds of a person's consent does the rest."""

    name = PUBLIC
    signing_algorithms: tuple[str, ...] = ()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def fits(self, asked: Asked) -> bool:
        """Return whether the request names a client and proves nothing, in a flow that rests on consent."""
        proves = "client_assertion" in asked.form or has_secret(asked)
        begins = asked.form.get("grant_type") in CONSENTED or asked.head.path.endswith(("/device", "/revoke"))
        return "client_id" in asked.form and not proves and begins and self._found(asked) is not None

    def claimed(self, asked: Asked) -> str:
        """Return the id of the principal that the request names."""
        found = self._found(asked)
        return found.principal.id if found else ""

    async def authenticate(self, asked: Asked) -> Client:
        """Return the client that the request names.

        Raises:
            UnauthenticatedError: it is no public client.
        """
        found = self._found(asked)
        if found is None or found.credential is None:
            raise UnauthenticatedError(
                ErrorCode.BAD_CLIENT, "there is no such client", help="its charter must name it: credential.client"
            )
        mark = f"{CLIENT_MARK} {found.client_id}"
        return Client(found.principal.id, PUBLIC, found.credential.thumbprint, shown=(mark,))

    def _found(self, asked: Asked) -> AskingClient | None:
        try:
            return asking_client(self._parts.live, asked.form.get("client_id", ""))
        except CharterError:
            return None

"""The endpoints by which programs come to ask people: devices (RFC 8628), and clients that register (RFC 7591).

    POST /oauth/device      a device asks for a code to show
    POST /oauth/register    a program of an older MCP specification registers, where a charter lets it

Newer clients go by the address of their metadata document and need no registration.

INVARIANT: a registration names a principal that is there, and grants nothing; who may register is in its charter.
"""

from __future__ import annotations

from typing import Any, cast

from charter.core.clock import rfc3339
from charter.core.errors import ConflictError, DeniedError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.asking import ASKED_LIFE, POLL_SECONDS, Wish
from charter.identity.asking_client import parse_redirects, registrable
from charter.identity.consent import ConsentWork
from charter.identity.issuance import system_at
from charter.identity.jose import read_json
from charter.registry.principal import ClientKey
from charter.registry.registered_client import RegisteredClient
from charter.server.gateway_http import Head, Receive, read_body
from charter.server.oauth_clients import PUBLIC, Clients
from charter.server.oauth_flows import check_no_scope
from charter.server.oauth_form import needed, read_form
from charter.server.oauth_http import Answer, Endpoint
from charter.server.oauth_parts import Parts

DEVICE_PATH = "/oauth/device"
REGISTER_PATH = "/oauth/register"
MAX_REGISTRATION = 16 * 1024  # bytes
MAX_CLIENTS = 500  # registrations of one principal
MAX_NAME = 120
_GRANTS = frozenset({"authorization_code", "refresh_token"})


class Asking:
    """The two endpoints."""

    def __init__(self, parts: Parts, clients: Clients) -> None:
        self._parts, self._clients = parts, clients
        metadata = {
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,  # RFC 9207
            "client_id_metadata_document_supported": True,
        }
        self.endpoints = (
            Endpoint(DEVICE_PATH, {"POST": self._device}, "device_authorization_endpoint", metadata),
            Endpoint(REGISTER_PATH, {"POST": self._register}, "registration_endpoint"),
        )

    async def _device(self, head: Head, receive: Receive) -> Answer:
        """Give a device its code (RFC 8628 section 3.2)."""
        form = await read_form(head, receive)
        check_no_scope(form)
        client = await self._clients.used(head, form)
        parts = self._parts
        resource = needed(form, "resource", ErrorCode.BAD_TARGET)
        if system_at(parts.live, parts.issuer, resource) is None:
            raise DeniedError(ErrorCode.BAD_TARGET, f"no system is at {resource[:200]!a}", help="name it in full")
        named = parts.live.registered_clients.get(form.get("client_id", ""))
        wish = Wish(client.principal_id, resource, form.get("purpose"), named.name if named else None)
        secret, device = parts.consents.begin_device(wish)
        page = f"{parts.issuer}/device"
        return Answer(
            {
                "device_code": secret,
                "user_code": device.code,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?code={device.code}",
                "expires_in": int(ASKED_LIFE.total_seconds()),
                "interval": POLL_SECONDS,
            }
        )

    async def _register(self, head: Head, receive: Receive) -> Answer:
        """Register a program whose addresses a charter names (RFC 7591 section 3)."""
        parts = self._parts
        parts.failures.check(head.source)
        said = _metadata(head, await read_body(head, receive, MAX_REGISTRATION))
        redirects = parse_redirects(said.get("redirect_uris"))
        name = _checked(said)
        try:
            key = registrable(parts.live, redirects)
        except DeniedError as err:
            parts.failures.failed(head.source, err.code)
            raise
        made = RegisteredClient(
            parts.entropy.identifier("dcl"), key.principal_id, name, redirects, rfc3339(parts.clock.now())
        )
        await parts.writer.awrite(lambda tx: _keep(cast("ConsentWork", tx), made, key))
        return Answer(
            {
                "client_id": made.client_id,
                "client_id_issued_at": int(parts.clock.now().timestamp()),
                "client_name": made.name,
                "redirect_uris": list(made.redirects),
                "token_endpoint_auth_method": PUBLIC,
                "grant_types": sorted(_GRANTS),
                "response_types": ["code"],
            },
            201,
        )


def _keep(tx: ConsentWork, made: RegisteredClient, key: ClientKey) -> None:
    """Keep a registration. A work."""
    if tx.consents.count_clients(made.principal_id) >= MAX_CLIENTS:
        raise ConflictError(
            ErrorCode.TOO_MANY,
            f"{MAX_CLIENTS} programs registered for this principal already",
            help="let it go by the address of its metadata document",
        )
    tx.consents.add_client(made)
    body = {"client": made.client_id, "calls_itself": made.name, "redirects": list(made.redirects), "key": key.id}
    tx.record(Draft(EntryKind.CREDENTIAL_REGISTERED, "charter", made.principal_id, body | {"type": "dynamic-client"}))
    tx.after_commit(lambda: tx.live.registered_clients.update({made.client_id: made}))


def _metadata(head: Head, body: bytes) -> dict[str, Any]:
    if head.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise MalformedError(ErrorCode.BAD_METADATA, "the body must be `application/json`")
    try:
        return read_json(body)
    except ValueError as err:
        raise MalformedError(ErrorCode.BAD_METADATA, f"the metadata cannot be read: {err}") from err


def _checked(said: dict[str, Any]) -> str:
    """Return what the program calls itself, if the rest of its metadata asks for nothing that is not to be had."""
    name = said.get("client_name", "")
    asked = said.get("grant_types", [])
    if not isinstance(name, str) or not name.isprintable() or len(name) > MAX_NAME:
        raise MalformedError(ErrorCode.BAD_METADATA, f"`client_name` is no text of at most {MAX_NAME} characters")
    is_granted = isinstance(asked, list) and all(isinstance(each, str) and each in _GRANTS for each in asked)
    if said.get("token_endpoint_auth_method", PUBLIC) != PUBLIC or not is_granted:
        raise MalformedError(
            ErrorCode.BAD_METADATA,
            "only public clients register here, for authorization_code and refresh_token",
            help="send token_endpoint_auth_method=none",
        )
    return name

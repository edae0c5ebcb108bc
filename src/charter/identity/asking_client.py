"""Which client a browser's request comes from, and where its answer may go: before any person is asked anything.

    client_id             is
    https://…             the address of the client's metadata document, which the charter of a public client names
    dcl_…                 a client that registered itself, where such a charter lets it
    prn_…, spiffe://…     a principal with a credential of its own, whose charter names `redirects`

INVARIANT: nothing is sent to an address that is not written down for this very client: where the client or its address
is not known, the person is told, and the browser stays here (OAuth 2.1 section 4.1.2.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from charter.core.errors import AbsentError, DeniedError, ErrorCode, MalformedError
from charter.registry.client_address import MAX_ADDRESS, is_redirect_within, redirect_address
from charter.registry.declared import PUBLIC_CLIENT
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.standing import Standing

MAX_REDIRECTS = 50
MAX_NAME = 120


@dataclass(frozen=True, slots=True)
class AskingClient:
    """A client that asks for a person's consent."""

    client_id: str
    principal: Principal
    credential: ClientKey | None  # of a public client; None: it will prove itself with its own
    redirects: tuple[str, ...]  # as far as they are known here
    document: str | None  # where its metadata is, which must name the redirect address too
    calls_itself: str | None = None


def asking_client(live: LiveEstate, client_id: str) -> AskingClient:
    """Return the client of that id.

    Raises:
        AbsentError: there is none, or its charter does not let it ask people.
    """
    registered = live.registered_clients.get(client_id)
    if registered is not None:
        key = _public_key_of(live, registered.principal_id)
        if key is None or not key.jwk["registration"]:
            _absent(client_id)
        # what was registered counts only as far as the charter, as it is now, still allows
        kept = tuple(each for each in registered.redirects if _is_within_any(each, redirects_of(key)))
        return AskingClient(client_id, live.principals[key.principal_id], key, kept, None, registered.name)
    for key in live.public_clients.values():
        if key.jwk["client"] and key.jwk["client"] == client_id and key.standing is Standing.ACTIVE:
            return AskingClient(client_id, live.principals[key.principal_id], key, redirects_of(key), client_id)
    return _absent(client_id)


def redirects_of(key: ClientKey) -> tuple[str, ...]:
    """Return the addresses that a charter names for its public client."""
    return tuple(json.loads(key.jwk["redirects"]))


def registrable(live: LiveEstate, redirects: tuple[str, ...]) -> ClientKey:
    """Return the one public client whose charter lets a program with these addresses register.

    Raises:
        DeniedError: none does, or more than one.
    """
    fitting = [
        key
        for key in live.public_clients.values()
        if key.standing is Standing.ACTIVE
        and key.jwk["registration"]
        and all(_is_within_any(each, redirects_of(key)) for each in redirects)
    ]
    if len(fitting) != 1:
        raise DeniedError(
            ErrorCode.BAD_REDIRECT,
            "no charter lets a program with these redirect addresses register here",
            help="let the owner of its charter name them under `credential.redirects`, with `registration: allowed`",
        )
    return fitting[0]


def check_redirect(client: AskingClient, asked: str | None, document: Mapping[str, Any] | None) -> str:
    """Return where the answer goes: `asked`, or the one address there is. `document` is the client's metadata.

    Raises:
        MalformedError: it is not written down for this client.
    """
    known = list(client.redirects)
    if document is not None:
        named = _redirects_in(document, client.client_id)
        known = [each for each in named if not known or _is_within_any(each, client.redirects)]
    if asked is None and len(known) == 1:
        return known[0]
    if asked is None or not _is_within_any(asked, known):
        raise MalformedError(
            ErrorCode.BAD_REDIRECT,
            f"the redirect address is not one of `{client.principal.name}`",
            help="its charter and its metadata say which there are",
        )
    return asked


def _redirects_in(document: Mapping[str, Any], client_id: str) -> tuple[str, ...]:
    """Return the addresses in a metadata document, which must speak for itself and need no secret."""
    method = document.get("token_endpoint_auth_method", "none")
    redirects = document.get("redirect_uris")
    if document.get("client_id") != client_id or method != "none" or "client_secret" in document:
        raise MalformedError(
            ErrorCode.BAD_REDIRECT,
            "the client's metadata speak for another client, or for one that is not public",
            help="`client_id` must be the document's own address, and `token_endpoint_auth_method` `none`",
        )
    return parse_redirects(redirects)


def parse_redirects(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """Return a list of redirect addresses as a client gives them.

    Raises:
        MalformedError: it is no such list.
    """
    is_list = isinstance(value, list) and 1 <= len(value) <= MAX_REDIRECTS
    if not is_list or not all(isinstance(each, str) and len(each) <= MAX_ADDRESS for each in value):
        raise MalformedError(ErrorCode.BAD_REDIRECT, "`redirect_uris` is no list of addresses")
    try:
        return tuple(redirect_address(each) for each in value)
    except ValueError as err:
        raise MalformedError(ErrorCode.BAD_REDIRECT, f"`redirect_uris`: {err}") from err


def _is_within_any(asked: str, known: tuple[str, ...] | list[str]) -> bool:
    return any(is_redirect_within(asked, each) for each in known)


def _public_key_of(live: LiveEstate, principal_id: str) -> ClientKey | None:
    found = (key for key in live.keys_of(principal_id) if key.jwk.get("kty") == PUBLIC_CLIENT)
    return next((key for key in found if key.standing is Standing.ACTIVE), None)


def _absent(client_id: str) -> NoReturn:
    raise AbsentError(
        ErrorCode.UNKNOWN_PRINCIPAL,
        f"no principal goes by the client {client_id[:120]!a}",
        help="write its charter, with the client's address under `credential.client`, and apply it",
    )

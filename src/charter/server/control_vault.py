"""The control API's part about the vault. Whoever reaches it is the operator: nobody else may put a secret in.

INVARIANT: a secret comes in here, in a request body, and never goes out: no answer holds one.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field

from charter.bootstrap import vault as secrets
from charter.core.errors import ErrorCode, MalformedError
from charter.core.values import Secret, parse_name
from charter.identity.vault import MAX_SECRET, MAX_SYSTEMS
from charter.server.control_shape import Command, Person, Reason, house_of

vault = APIRouter()
SecretName = Annotated[str, AfterValidator(lambda text: parse_name(text, "secret's name"))]
SystemNames = Annotated[list[str], Field(max_length=MAX_SYSTEMS)]


class Put(Command):
    """Put a secret in. `value` is base64, so that any bytes can be."""

    value: Annotated[str, Field(max_length=2 * MAX_SECRET, repr=False)]
    systems: SystemNames = Field(default_factory=list)
    actor: Person


class Bind(Command):
    """Let a secret be for these systems."""

    systems: Annotated[SystemNames, Field(min_length=1)]
    actor: Person


class Remove(Command):
    """Forget a secret, or a connection."""

    actor: Person
    reason: Reason


class Begin(Command):
    """Where shall a person sign in?"""

    system: Annotated[str, Field(max_length=63)]
    person: Person
    redirect_uri: Annotated[str, Field(pattern=r"^http://127\.0\.0\.1:[0-9]{1,5}/[a-z]{1,20}$")]


class Finish(Command):
    """What the sign-in gave."""

    state: Annotated[str, Field(max_length=128)]
    code: Annotated[str, Field(min_length=1, max_length=4096, repr=False)]
    actor: Person


@vault.get("/vault")
async def list_vault(request: Request) -> dict[str, Any]:
    """What the vault holds, without a secret."""
    return secrets.listing(house_of(request))


@vault.post("/vault/secrets/{name}")
async def put_secret(request: Request, name: SecretName, body: Put) -> dict[str, Any]:
    """Put a secret in, in place of one of the same name."""
    return await secrets.put(house_of(request), name, _decoded(body.value), body.systems, actor=body.actor)


@vault.post("/vault/secrets/{name}/bind")
async def bind_secret(request: Request, name: SecretName, body: Bind) -> dict[str, Any]:
    """Say what a secret is for."""
    return await secrets.bind(house_of(request), name, body.systems, actor=body.actor)


@vault.post("/vault/secrets/{name}/remove")
async def remove_secret(request: Request, name: SecretName, body: Remove) -> dict[str, Any]:
    """Forget a secret."""
    return await secrets.remove(house_of(request), name, actor=body.actor, reason=body.reason)


@vault.post("/vault/connections/begin")
async def begin_connection(request: Request, body: Begin) -> dict[str, Any]:
    """Where a person signs in, to let Charter act for them."""
    return secrets.begin_connection(house_of(request), body.system, body.person, body.redirect_uri)


@vault.post("/vault/connections/finish")
async def finish_connection(request: Request, body: Finish) -> dict[str, Any]:
    """Keep what the sign-in gave."""
    return await secrets.finish_connection(house_of(request), body.state, body.code, actor=body.actor)


@vault.post("/vault/connections/{system}/{person}/end")
async def end_connection(request: Request, system: str, person: str, body: Remove) -> dict[str, Any]:
    """Act for a person no more."""
    return await secrets.end_connection(house_of(request), system, person, actor=body.actor, reason=body.reason)


def _decoded(text: str) -> Secret:
    try:
        return Secret(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, "`value` is no base64", help="encode the secret's bytes") from err

"""Leases over HTTP, for their holders: asked for, renewed and given back with an access token of the system.

    POST   /lease/SYSTEM                 {"actions": {"read": ["public.orders"]}, "ttl_seconds": 600}, both optional
    POST   /lease/SYSTEM/LEASE/renew
    DELETE /lease/SYSTEM/LEASE

The token is the one for the system's endpoint, `<issuer>/mcp/SYSTEM`; a DPoP proof is made for the address called. The
answer to the first two holds the credential, once; it is for programs, and must not reach a model.

INVARIANT: a credential stands in the one answer to its holder, which nobody may store, and nowhere else.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from charter.bootstrap import leasing
from charter.bootstrap.lease_views import view
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.core.values import parse_name
from charter.gateway.call import Bearer
from charter.gateway.mcp_json import parse_json
from charter.policy.verdict import Escalate, word
from charter.server.gateway import GatewayApp
from charter.server.gateway_http import (
    Head,
    HttpRefusal,
    Receive,
    Scope,
    Send,
    check_json,
    read_body,
    read_head,
    send_json,
)
from charter.server.problems import problem_of

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.lease_room import LeaseRoom
    from charter.bootstrap.leasing import Given, NotGiven

PREFIX = "/lease/"
MAX_BODY = 64 * 1024
MAX_ACTIONS, MAX_OBJECTS, MAX_WORD = 64, 200, 1024
GIVE_BACK_SECONDS = 10.0
_LEASE = re.compile(r"lea_[0-9a-z]{26}")
_log = logging.getLogger("charter.leases")


@dataclass(frozen=True, slots=True)
class LeaseApp:
    """The ASGI application."""

    gateway: GatewayApp  # who calls is found out as at a system's endpoint
    room: LeaseRoom

    @classmethod
    def of(cls, house: House, gateway: GatewayApp) -> Self:
        """Return the leases' endpoint of a house."""
        return cls(gateway, house.leasing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            head = read_head(scope)
            system, lease_id, deed = _place(head.path)
            bearer = await self.gateway.caller(head, system)
            status, body = await self._serve(head, receive, bearer, (system, lease_id, deed))
            await send_json(send, status, body, *self.gateway.callers.nonce_for(head))
        except HttpRefusal as refusal:
            body = {"title": "refused", "status": refusal.status, "detail": refusal.detail}
            await send_json(send, refusal.status, body, *refusal.headers)
        except CharterError as err:
            status, body = problem_of(err)
            await send_json(send, status, body)
        except Exception:  # noqa: BLE001 - the edge of a request: a bug becomes a bare 500
            _log.exception("a request for a lease failed")
            await send_json(send, 500, {"title": "failed", "status": 500, "detail": "the lease endpoint failed"})

    async def _serve(
        self, head: Head, receive: Receive, bearer: Bearer, place: tuple[str, str | None, str]
    ) -> tuple[int, dict[str, Any]]:
        system, lease_id, deed = place
        match head.method, lease_id, deed:
            case "POST", None, "":
                check_json(head)
                wanted, seconds = _asked(await read_body(head, receive, MAX_BODY))
                return _answer(201, await leasing.request(self.room, bearer, system, wanted, seconds))
            case "POST", str(), "renew":
                self._must_be_of(lease_id, bearer, system)
                return _answer(200, await leasing.renew(self.room, lease_id, bearer))
            case "DELETE", str(), "":
                self._must_be_of(lease_id, bearer, system)
                ended = await leasing.give_back(self.room, lease_id, bearer, GIVE_BACK_SECONDS)
                return 200, {"lease": view(ended)}
            case _:
                raise HttpRefusal(405, "ask by POST, renew by POST, give back by DELETE")

    def _must_be_of(self, lease_id: str, bearer: Bearer, system: str) -> None:
        """Raise AbsentError unless the lease is the bearer's, on the system that their token is for."""
        lease = self.room.find(lease_id, bearer)
        if lease.system != system:
            self.room.find("", bearer)


def _answer(status: int, found: Given | NotGiven) -> tuple[int, dict[str, Any]]:
    from charter.bootstrap.leasing import NotGiven

    if isinstance(found, NotGiven):
        return 403, refusal_body(found)
    variables = {name: value.reveal().decode() for name, value in found.credential.variables.items()}
    credential = {"type": found.credential.kind, "variables": variables}
    return status, {"lease": view(found.lease), "credential": credential}


def refusal_body(found: NotGiven) -> dict[str, Any]:
    """Return the problem document of a lease that was not given: each right that was refused, and why."""
    refusals = []
    for action, on, refused in found.refusals:
        reason = refused.verdict.reasons[0]
        refusals.append(
            {
                "action": action,
                "on": on,
                "verdict": word(refused.verdict),
                "verdict_id": refused.verdict_id,
                "text": reason.text,
                "mend": reason.mend,
                "approval": refused.approval_id,
            }
        )
    waits = any(isinstance(refused.verdict, Escalate) for _, _, refused in found.refusals)
    code = ErrorCode.APPROVAL_NEEDED if waits else ErrorCode.POLICY_DENIED
    first = refusals[0]
    return {
        "type": f"urn:charter:error:{code.value}",
        "title": "denied",
        "status": 403,
        "detail": first["text"],
        "code": code.value,
        "help": f"charter approvals approve {first['approval']}" if waits else first["mend"],
        "verdict_id": first["verdict_id"],
        "refusals": refusals,
    }


def _place(path: str) -> tuple[str, str | None, str]:
    """Return the system, the lease and the deed that a path names."""
    parts = path.removeprefix(PREFIX).split("/")
    try:
        system = parse_name(parts[0], "system")
    except MalformedError as err:
        raise HttpRefusal(404, "there is nothing here: leases are at /lease/SYSTEM") from err
    match parts[1:]:
        case []:
            return system, None, ""
        case [lease_id] if _LEASE.fullmatch(lease_id):
            return system, lease_id, ""
        case [lease_id, "renew"] if _LEASE.fullmatch(lease_id):
            return system, lease_id, "renew"
        case _:
            raise HttpRefusal(404, "there is nothing here: leases are at /lease/SYSTEM")


def _asked(body: bytes) -> tuple[dict[str, list[str]] | None, int | None]:
    """Return what a request asks for.

    Raises:
        MalformedError: it is no such request.
    """
    found = parse_json(body or b"{}")
    if not isinstance(found, dict) or set(found) - {"actions", "ttl_seconds"}:
        raise _malformed("the body is an object with `actions` and `ttl_seconds`, both optional")
    actions, seconds = found.get("actions"), found.get("ttl_seconds")
    if seconds is not None and (type(seconds) is not int or seconds < 1):
        raise _malformed("`ttl_seconds` is a whole number of seconds")
    if actions is None:
        return None, seconds
    if not isinstance(actions, dict) or not 1 <= len(actions) <= MAX_ACTIONS:
        raise _malformed("`actions` is an object: each action, and the tables or resources it is for")
    for name, on in actions.items():
        if not 1 <= len(name) <= MAX_WORD or not _are_words(on):
            raise _malformed("each of `actions` is a list of tables or resources")
    return actions, seconds


def _are_words(on: object) -> bool:
    return (
        isinstance(on, list)
        and 1 <= len(on) <= MAX_OBJECTS
        and all(type(w) is str and 0 < len(w) <= MAX_WORD for w in on)
    )


def _malformed(text: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, text, help="see docs/leases.md")

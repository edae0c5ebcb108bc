"""What remote nodes ask for: to be let in, and SVIDs and bundles for the processes they tell of.

join    with a one-time token
who     is this process, and which bundles may it trust
x509    an X.509-SVID for a key that stays on the node
jwt     a JWT-SVID
watch   wait until something may have changed
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec

from charter.bootstrap.workload import Bell, Workloads
from charter.core.clock import rfc3339
from charter.core.errors import ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.attestation import attest
from charter.identity.bearer import Attested
from charter.identity.jose import parse_public_jwk
from charter.identity.node import (
    NodeRequest,
    NotJoined,
    join,
    make_join_token,
    process_of,
    put_out,
    read_join,
    read_node_request,
    use_request,
)
from charter.identity.node_key import ask_for_node_key, rotate_node_key

if TYPE_CHECKING:
    from charter.bootstrap.house import House

WATCH_SECONDS = 25.0


class Nodes:
    """Answers the requests of nodes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._workloads = Workloads(house)
        self._began = house.entropy.token(8)  # so that no node takes another process's count for this one's
        self._changes = 0
        self._bell: Bell | None = None
        house.database.listen(self._changed)
        house.last_calls.append(self._changed)

    async def join(self, text: str, source: str) -> dict[str, Any]:
        """Let a node in.

        Raises:
            UnauthenticatedError: the request or its token is no good.
        """
        house = self._house
        asked = read_join(text, audience=house.settings.issuer, at=house.clock.now())
        if asked.asks != "join":
            raise _unknown(asked.asks)
        joined = await house.database.awrite(lambda tx: join(tx, asked, source=source, entropy=house.entropy))
        if isinstance(joined, NotJoined):
            raise joined.error
        return {"node": joined.name, "trust_domain": house.trust.trust_domain}

    async def answer(self, text: str, source: str = "") -> dict[str, Any]:
        """Answer a request of a node that is in.

        Raises:
            UnauthenticatedError: it is none, or the process is no principal's.
            DeniedError: the principal may not act.
            MalformedError: it asks for something that is not understood.
        """
        house = self._house
        audience, at = house.settings.issuer, house.clock.now()
        asked = await asyncio.to_thread(
            house.database.read, lambda tx: read_node_request(text, tx.nodes.node, audience=audience, at=at)
        )
        self._house.sharing.uses.node_at(asked.node, source)
        match asked.asks:
            case "who":
                return self._who(await self._known(asked))
            case "x509":
                return await self._x509(asked, source)
            case "jwt":
                return await self._jwt(asked)
            case "watch":
                found = await self._watch(asked.said.get("version"))
                return found | {"key_rotation_at": self._key_wanted_at(asked.node)}
            case "rotate":
                return await self._rotate(asked)
            case _:
                raise _unknown(asked.asks)

    # --- within ---

    async def _rotate(self, asked: NodeRequest) -> dict[str, Any]:
        """Let a node go by another key from now on."""
        await self._use(asked)
        node = await self._house.database.awrite(lambda tx: rotate_node_key(tx, asked))
        ends = node.before_until
        return {"key": node.thumbprint, "replaced_key_ends": ends.timestamp() if ends else None}

    def _key_wanted_at(self, name: str) -> float:
        node = self._house.database.read(lambda tx: tx.nodes.node(name))
        return node.key_due_at.timestamp() if node is not None else 0.0

    async def _known(self, asked: NodeRequest) -> Attested:
        process = process_of(asked)
        found = attest(self._house.live, process)
        if found is None:
            raise UnauthenticatedError(
                ErrorCode.NOT_ATTESTED,
                f"no charter's workload on the node `{asked.node}` matches this process (user {process.uid}, group "
                f"{process.gid})",
                help="charter workload entries shows what charters ask for",
            )
        await self._workloads.noted(found, by=f"the node {asked.node}")
        self._workloads.entitled(found)
        await self._house.sharing.notice(self._house.sharing.attested(found, asked.node))
        return found

    def _who(self, known: Attested) -> dict[str, Any]:
        principal = self._house.live.principals[known.principal_id]
        bundles = self._workloads.bundles(known)
        return {
            "principal_id": principal.id,
            "principal": principal.name,
            "spiffe_id": principal.spiffe_id,
            "credential": known.credential,
            "basis": [str(each) for each in self._workloads.basis(known)],
            "bundles": {name: each.document() for name, each in bundles.items()},
        }

    async def _x509(self, asked: NodeRequest, source: str) -> dict[str, Any]:
        public = _public_key(asked.said.get("jwk"))
        known = await self._known(asked)
        await self._use(asked)
        who = self._who(known)  # before: a change from here on asks for another SVID
        planned = await self._workloads.planned_x509(known, public, source)
        chain = [base64.b64encode(each).decode() for each in planned.sign()]
        return who | {"chain": chain, "begins": planned.plan.begins.timestamp(), "ends": planned.plan.ends.timestamp()}

    async def _jwt(self, asked: NodeRequest) -> dict[str, Any]:
        audiences = asked.said.get("audiences")
        if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
            raise MalformedError(ErrorCode.BAD_REQUEST, "the audiences are no list of texts")
        known = await self._known(asked)
        await self._use(asked)
        issued = await self._workloads.jwt(known, tuple(audiences))
        return {"token": issued.token, "spiffe_id": issued.spiffe_id, "principal": issued.hint}

    async def _use(self, asked: NodeRequest) -> None:
        """Let a request that is answered with an SVID be answered once."""
        if not await self._house.database.awrite(lambda tx: use_request(tx, asked)):
            raise UnauthenticatedError(
                ErrorCode.ASSERTION_REPLAYED, "this request was used before", help="sign a fresh one for each"
            )

    async def _watch(self, version: object) -> dict[str, Any]:
        """Wait until the estate has moved past `version`, or for a while; return where it is."""
        if self._bell is None:
            self._bell = Bell()
        moved = self._bell.next
        if version == self._version:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), WATCH_SECONDS)
        return {"version": self._version}

    @property
    def _version(self) -> str:
        return f"{self._began}.{self._changes}"

    def _changed(self) -> None:
        self._changes += 1
        if self._bell is not None:
            self._bell.ring()


# --- what operators ask for ---


async def new_join_token(house: House, name: str, *, life: dt.timedelta, actor: str, reason: str) -> dict[str, Any]:
    """Have a join token made; it is in this answer alone."""
    token, shown = await house.database.awrite(
        lambda tx: make_join_token(tx, name, life=life, actor=actor, reason=reason, entropy=house.entropy)
    )
    return {"node": name, "token": shown, "expires": rfc3339(token.expires_at), "server": house.settings.issuer}


async def remove(house: House, name: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Put a node out."""
    node = await house.database.awrite(lambda tx: put_out(tx, name, actor=actor, reason=reason))
    return {"node": node.name, "standing": node.standing.value}


async def ask_for_key(house: House, name: str, *, actor: str, reason: str) -> dict[str, Any]:
    """Have a node replace its key."""
    node = await house.database.awrite(lambda tx: ask_for_node_key(tx, name, actor=actor, reason=reason))
    return {"node": node.name, "key": node.thumbprint, "state": "asked"}


def listing(house: House) -> list[dict[str, Any]]:
    """Return the nodes that joined."""
    return [
        {
            "node": each.name,
            "key": each.thumbprint,
            "standing": each.standing.value,
            "joined_at": rfc3339(each.joined_at),
        }
        for each in house.database.read(lambda tx: tx.nodes.nodes())
    ]


def _public_key(jwk: object) -> ec.EllipticCurvePublicKey:
    found = parse_public_jwk(jwk).key.get_op_key("verify")
    if not isinstance(found, ec.EllipticCurvePublicKey):
        raise MalformedError(ErrorCode.BAD_REQUEST, "the key of an X.509-SVID is one on P-256")
    return found


def _unknown(asks: str) -> MalformedError:
    return MalformedError(ErrorCode.BAD_REQUEST, f"a node asks for {asks[:40]!a}, which is not understood")

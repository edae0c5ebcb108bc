"""Remote nodes: machines that tell of their own processes, once a one-time token let them in.

    (1) An operator has a join token made for a node's name; it is shown once and kept as a digest.
    (2) The node makes a key, and joins with the token and a request signed by that key.
    (3) From then on each request is a compact JWS of that key, made out to this server, good for a minute and once.

A node is believed in what it says of its processes, and nothing else: whether they are a principal's, and whether that
may act, is decided here, for selectors that name this very node.

INVARIANT: a token lets in one key, before it ends, once. A token that comes again is refused and becomes a finding.
INVARIANT: a node vouches for processes of its own name alone, whatever it says.
INVARIANT: a node that was put out is out with the commit; what it obtained is no other principal's and ends by itself.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from charter.core.canonical import digest, digest_of
from charter.core.entropy import Entropy
from charter.core.errors import (
    AbsentError,
    CharterError,
    ConflictError,
    ErrorCode,
    MalformedError,
    UnauthenticatedError,
)
from charter.core.values import parse_name
from charter.evidence.entry import Draft, EntryKind
from charter.identity.attestation import Process
from charter.identity.jose import Compact, PublicKey, parse_compact, parse_public_jwk, verify_compact
from charter.identity.noting import note
from charter.identity.work import IdentityWork
from charter.registry.record import Finding
from charter.registry.standing import Standing
from charter.registry.workload import MAX_ID, MAX_PATH

TYPE = "charter-node+jwt"
TOKEN_BYTES = 32
KEY_LIFE = dt.timedelta(days=30)  # after which a node makes itself another key
USUAL_LIFE = dt.timedelta(hours=1)
LONGEST_LIFE = dt.timedelta(days=7)
MAX_REQUEST = 32 * 1024  # characters
REQUEST_SECONDS = 60
SKEW_SECONDS = 30
MAX_NODES = 10_000
REUSED = "join-token-reused"
FEED_KIND = "node"
_JTI = re.compile(r"[\x21-\x7e]{16,256}")
_WHAT = "the node's request"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token as it is kept."""

    digest: str
    node: str
    made_at: dt.datetime
    made_by: str
    expires_at: dt.datetime
    used_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that joined, by its name and its key."""

    name: str
    thumbprint: str
    jwk: Mapping[str, str]
    standing: Standing
    joined_at: dt.datetime
    since: dt.datetime | None = None  # when its present key came, if it did not join with it
    before_jwk: Mapping[str, str] | None = None  # the key before
    before_until: dt.datetime | None = None  # until when that counts too
    due_at: dt.datetime | None = None  # when a person wants its key replaced

    @property
    def key_due_at(self) -> dt.datetime:
        """When its key must have been replaced."""
        by_age = (self.since or self.joined_at) + KEY_LIFE
        return by_age if self.due_at is None else min(by_age, self.due_at)


class NodeStore(Protocol):
    """Where nodes and join tokens are kept."""

    def nodes(self) -> Sequence[Node]:
        """Return every node, by name."""
        ...

    def node(self, name: str) -> Node | None:
        """Return the node of that name."""
        ...

    def put_node(self, node: Node) -> None:
        """Keep a node in place of the one before."""
        ...

    def join_token(self, digest: str) -> JoinToken | None:
        """Return the token of that digest."""
        ...

    def put_join_token(self, token: JoinToken) -> None:
        """Keep a token in place of the one before."""
        ...

    def forget_join_tokens(self, before: dt.datetime) -> None:
        """Forget tokens that ended before."""
        ...


class NodeWork(IdentityWork, Protocol):
    """The slice of the work that nodes need."""

    @property
    def nodes(self) -> NodeStore:
        """Where they are kept."""
        ...


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """A request that its node's key signed. `jti` is not yet remembered as used."""

    node: str
    key: PublicKey
    asks: str  # what for
    said: Mapping[str, Any]
    jti: str
    expires_at: int


_Number = Annotated[int, Field(ge=0, le=MAX_ID)]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PATH, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Told(BaseModel):
    """What a node may tell of a process."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    pid: _Number
    uid: _Number
    gid: _Number
    path: _Text | None = None
    unit: _Text | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


# --- join tokens ---


def make_join_token(
    tx: NodeWork, name: str, *, life: dt.timedelta, actor: str, reason: str, entropy: Entropy
) -> tuple[JoinToken, str]:
    """Return a new one-time token for a node's name, as it is kept and as it is shown once. A work.

    Raises:
        MalformedError: the name is none, or the token shall live too long.
        ConflictError: there are too many nodes.
    """
    parse_name(name, "node")
    if not dt.timedelta(0) < life <= LONGEST_LIFE:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"a join token lives at most {LONGEST_LIFE.days} days", help="write 1h, 30m or 2d"
        )
    if tx.nodes.node(name) is None and len(tx.nodes.nodes()) >= MAX_NODES:
        raise ConflictError(ErrorCode.TOO_MANY, f"there are {MAX_NODES} nodes already", help="charter workload nodes")
    shown = entropy.token(TOKEN_BYTES)
    token = JoinToken(digest(shown.encode()), name, tx.at, actor, tx.at + life)
    tx.nodes.put_join_token(token)
    body = {"node": name, "token": token.digest, "expires": token.expires_at.isoformat(), "reason": reason}
    tx.record(Draft(EntryKind.JOIN_TOKEN_MADE, actor, None, body))
    return token, shown


@dataclass(frozen=True, slots=True)
class NotJoined:
    """A refusal to join: what it leaves in findings and evidence is committed with it."""

    error: CharterError


def join(tx: NodeWork, asked: NodeRequest, *, source: str, entropy: Entropy) -> Node | NotJoined:
    """Let a node in by its one-time token. A work."""
    shown = asked.said.get("token")
    token = tx.nodes.join_token(digest(shown.encode())) if isinstance(shown, str) else None
    if token is None or token.node != asked.node:
        return NotJoined(_bad_token("is not known, or is for another node"))
    if token.used_at is not None:
        _found_reused(tx, token, asked, source, entropy)
        return NotJoined(_bad_token("was used before"))
    if tx.at >= token.expires_at:
        return NotJoined(_bad_token("has ended"))
    tx.nodes.put_join_token(replace(token, used_at=tx.at))
    node = Node(asked.node, asked.key.thumbprint, asked.key.jwk, Standing.ACTIVE, tx.at)
    before = tx.nodes.node(asked.node)
    tx.nodes.put_node(node)
    body: dict[str, str | None] = {"node": node.name, "key": node.thumbprint, "token": token.digest, "source": source}
    body |= {"before": before.thumbprint if before else None, "let_in_by": token.made_by}
    tx.record(Draft(EntryKind.NODE_JOINED, f"node {node.name}", None, body))
    tx.changed(FEED_KIND, node.name, actor=f"node {node.name}", reason="it joined")
    return node


def put_out(tx: NodeWork, name: str, *, actor: str, reason: str) -> Node:
    """Put a node out: it vouches for nobody with this commit. A work.

    Raises:
        AbsentError: there is none of that name.
        ConflictError: it is out already.
    """
    node = tx.nodes.node(name)
    if node is None:
        raise AbsentError(
            ErrorCode.UNKNOWN_NODE, f"there is no node {name[:80]!a}", help="charter workload nodes lists them"
        )
    if node.standing is not Standing.ACTIVE:
        raise ConflictError(ErrorCode.BAD_MOVE, f"the node `{name}` is out already", help="nothing is left to do")
    out = replace(node, standing=Standing.REVOKED)
    tx.nodes.put_node(out)
    body = {"node": name, "key": node.thumbprint, "reason": reason}
    tx.record(Draft(EntryKind.NODE_PUT_OUT, actor, None, body))
    tx.changed(FEED_KIND, name, actor=actor, reason=reason)
    return out


# --- requests ---


def read_join(text: str, *, audience: str, at: dt.datetime) -> NodeRequest:
    """Return a request to join; its key is its own, and stands in its header.

    Raises:
        UnauthenticatedError: it is none.
    """
    try:
        parts = parse_compact(text, _WHAT, members=frozenset({"alg", "typ", "jwk"}), limit=MAX_REQUEST)
        key = parse_public_jwk(parts.header.get("jwk"))
        verify_compact(parts, key, _WHAT)
    except MalformedError as err:
        raise _refused(err.detail) from err
    return _request(parts.header, parts.claims, key, audience, at)


def read_node_request(text: str, find: Callable[[str], Node | None], *, audience: str, at: dt.datetime) -> NodeRequest:
    """Return a request of a node that joined; `find` returns the node of a name.

    Raises:
        UnauthenticatedError: it is none; who the node would be makes no difference to what is said.
    """
    try:
        parts = parse_compact(text, _WHAT, members=frozenset({"alg", "typ"}), limit=MAX_REQUEST)
    except MalformedError as err:
        raise _refused(err.detail) from err
    name = parts.claims.get("iss")
    node = find(name) if isinstance(name, str) else None
    try:
        if node is None or node.standing is not Standing.ACTIVE:
            raise node_refusal("is not signed by a node that is in")
        key = _signer_of(node, parts, at)
    except MalformedError as err:
        raise node_refusal("is not signed by a node that is in") from err
    return _request(parts.header, parts.claims, key, audience, at)


def _signer_of(node: Node, parts: Compact, at: dt.datetime) -> PublicKey:
    """Return the node's key that signed: its present one, or the one before for as long as that counts.

    Raises:
        MalformedError: neither did.
    """
    key = parse_public_jwk(dict(node.jwk))
    try:
        verify_compact(parts, key, _WHAT)
    except MalformedError:
        if node.before_jwk is None or node.before_until is None or at >= node.before_until:
            raise
        key = parse_public_jwk(dict(node.before_jwk))
        verify_compact(parts, key, _WHAT)
    return key


def use_request(tx: IdentityWork, asked: NodeRequest) -> bool:
    """Remember a request; return False if it was used before. A work."""
    return tx.identity.remember_assertion(asked.key.thumbprint, digest(asked.jti.encode()), asked.expires_at)


def process_of(asked: NodeRequest) -> Process:
    """Return the process that a node tells of: one of its own.

    Raises:
        MalformedError: it tells something that no process is.
    """
    try:
        told = _Told.model_validate(asked.said.get("process"))
    except ValidationError as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, "a node told of something that is no process") from err
    return Process(told.pid, told.uid, told.gid, told.path, told.unit, told.sha256, asked.node)


def _request(
    header: Mapping[str, Any], claims: Mapping[str, Any], key: PublicKey, audience: str, at: dt.datetime
) -> NodeRequest:
    if header.get("typ") != TYPE:
        raise node_refusal("is of another type")
    if claims.keys() != {"iss", "aud", "iat", "exp", "jti", "asks", "said"} or claims["aud"] != audience:
        raise node_refusal(f"is not made out to `{audience}`, or has other claims than it should")
    name, asks, said, jti = claims["iss"], claims["asks"], claims["said"], claims["jti"]
    now, issued, ends = int(at.timestamp()), claims["iat"], claims["exp"]
    if type(issued) is not int or type(ends) is not int or not 0 < ends - issued <= REQUEST_SECONDS:
        raise node_refusal(f"lives longer than {REQUEST_SECONDS} seconds")
    if ends + SKEW_SECONDS <= now or issued - SKEW_SECONDS > now:
        raise node_refusal("is not of this moment; check the node's clock")
    if not (isinstance(jti, str) and _JTI.fullmatch(jti) and isinstance(asks, str) and isinstance(said, Mapping)):
        raise node_refusal("lacks what it asks for, or what it is known by")
    try:
        parse_name(name if isinstance(name, str) else "", "node")
    except MalformedError as err:
        raise _refused(err.detail) from err
    return NodeRequest(name, key, asks, said, jti, ends + SKEW_SECONDS + 1)


def _found_reused(tx: NodeWork, token: JoinToken, asked: NodeRequest, source: str, entropy: Entropy) -> None:
    """Keep the finding that a join token was shown again: whoever has it now had no right to it, or had it first."""
    body = {"node": token.node, "token": token.digest, "key": asked.key.thumbprint, "source": source}
    finding = Finding.noticed(
        entropy.identifier("fnd"),
        REUSED,
        digest_of({"kind": REUSED, "token": token.digest}),
        title=f"a join token of the node {token.node} was used before and was shown again",
        body=body,
        at=tx.at,
    )
    note(tx, finding, actor="charter")


def _bad_token(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        ErrorCode.BAD_JOIN_TOKEN,
        f"the join token {why}",
        help="have another one made: charter workload join-token NODE",
    )


def node_refusal(why: str) -> UnauthenticatedError:
    """Return the error of a request that is no good; `why` goes on from what it is."""
    return _refused(f"{_WHAT} {why}")


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(ErrorCode.BAD_CLIENT, why, help="join again: charter workload join URL NODE")

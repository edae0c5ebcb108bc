"""A remote node's key, replaced by the node itself: a request that its key in use signed, with a proof of the new one.

    the request         asks: rotate, said: {proof}, signed like any request of the node (identity/node.py)
    proof, by the new   {alg, typ: charter-node-key+jwt, jwk}    {node, old}    `old`: thumbprint of the key in use

INVARIANT: the key in use alone, or the new one alone, changes nothing; a key that was replaced replaces nothing.
INVARIANT: the node stays who it is: its name, what charters say of it, and the SVIDs of its workloads.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from charter.core.errors import AbsentError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.identity.jose import PublicKey, parse_compact, parse_public_jwk, verify_compact
from charter.identity.node import FEED_KIND, Node, NodeRequest, NodeWork, node_refusal
from charter.registry.standing import Standing

PROOF_TYPE = "charter-node-key+jwt"
KEY_OVERLAP = dt.timedelta(hours=1)  # that the key before counts on


def rotate_node_key(tx: NodeWork, asked: NodeRequest, *, at_once: bool = False) -> Node:
    """Let the key that a node's request names and that signed for it be the node's from now on. A work.

    Asked again for the same, as after an answer that was lost, it is the same. The key before counts on for a while.

    Raises:
        UnauthenticatedError: the node is not in, or the request is signed by the key before.
        MalformedError: the new key is none, or did not sign for it.
    """
    node = tx.nodes.node(asked.node)
    if node is None or node.standing is not Standing.ACTIVE:
        raise node_refusal("is not signed by a node that is in")
    new = _new_key(asked)
    if new.thumbprint == node.thumbprint:
        return node
    if asked.key.thumbprint != node.thumbprint:
        raise node_refusal("is signed by a key that was replaced already")
    until = None if at_once else tx.at + KEY_OVERLAP
    made = replace(
        node,
        thumbprint=new.thumbprint,
        jwk=new.jwk,
        since=tx.at,
        before_jwk=None if at_once else node.jwk,
        before_until=until,
        due_at=None,
    )
    tx.nodes.put_node(made)
    body = {"node": node.name, "before": node.thumbprint, "key": made.thumbprint}
    tx.record(Draft(EntryKind.NODE_ROTATED, f"node {node.name}", None, body))
    tx.changed(FEED_KIND, node.name, actor=f"node {node.name}", reason="its key was replaced")
    return made


def ask_for_node_key(tx: NodeWork, name: str, *, actor: str, reason: str) -> Node:
    """Make a node's key due now: the node, which alone can replace it, is told when it asks next. A work.

    Raises:
        AbsentError: there is no such node that is in.
    """
    node = tx.nodes.node(name)
    if node is None or node.standing is not Standing.ACTIVE:
        raise AbsentError(
            ErrorCode.UNKNOWN_NODE, f"no node {name[:80]!a} is in", help="charter workload nodes lists them"
        )
    asked = replace(node, due_at=tx.at)
    tx.nodes.put_node(asked)
    body = {"node": name, "before": node.thumbprint, "key": None, "asked": True, "reason": reason}
    tx.record(Draft(EntryKind.NODE_ROTATED, actor, None, body))
    tx.changed(FEED_KIND, name, actor=actor, reason=reason)
    return asked


def _new_key(asked: NodeRequest) -> PublicKey:
    """Return the new key, which signed the thumbprint of the one that signed the request."""
    text = asked.said.get("proof")
    what = "the proof of the new key"
    parts = parse_compact(text if isinstance(text, str) else "", what, members=frozenset({"alg", "typ", "jwk"}))
    key = parse_public_jwk(parts.header.get("jwk"))
    verify_compact(parts, key, what)
    if parts.header.get("typ") != PROOF_TYPE or parts.claims != {"node": asked.node, "old": asked.key.thumbprint}:
        raise MalformedError(ErrorCode.BAD_NEW_KEY, f"{what} is for another node, key or purpose")
    if key.thumbprint == asked.key.thumbprint:
        raise MalformedError(ErrorCode.BAD_NEW_KEY, "the new key is the one in use", help="make another")
    return key

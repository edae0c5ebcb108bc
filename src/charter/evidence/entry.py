"""What an evidence entry is.

An entry is one immutable statement. Its canonical JSON (RFC 8785) is hashed, stored and exported, byte for byte:

    {"v": 1, "node": "nod_…", "index": 41, "time": "2026-11-24T09:30:00.000000Z", "kind": "verdict",
     "principal": "prn_…" | null, "actor": "…", "body": {…}}

`index` and `node` stand inside the hashed bytes, so a reordered or transplanted entry contradicts itself. Bodies hold
text, integers, booleans, lists and objects, never floats, secrets or tokens; quantities are text. In version 2,
personal and sensitive values stand apart, where they can be erased (payload.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from charter.core.canonical import canonical
from charter.core.clock import rfc3339
from charter.evidence.payload import Apart, set_apart

MAX_ENTRY_BYTES = 65_536


class EntryKind(StrEnum):
    """What an entry states."""

    LOG_OPENED = "log.opened"
    AUTHENTICATION = "authentication"  # a token issued or refused
    AUTHENTICATION_FAILURES = "authentication.failures"  # counted per source, so that strangers cannot grow the log
    VERDICT = "verdict"
    OUTCOME = "outcome"
    CLIENT_ASKED = "client.asked"  # a server asks the person or model behind a call something
    CONTEXT_CHANGED = "context.changed"  # strangers' content, or a class of data, comes into a session
    OBSERVED = "observed"  # what another tells of something Charter did not see: a vendor's log, a span
    QUESTION_REFUSED = "question.refused"  # an enforcement point asked what means nothing here, and was told no
    QUESTION_SEARCHED = "question.searched"  # an enforcement point asked who, what or which: one page of the answer
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_GIVEN = "approval.given"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_SPENT = "approval.spent"
    REPEAT_GIVEN = "repeat.given"  # a person said yes to further calls like one
    REPEAT_ENDED = "repeat.ended"
    APPROVAL_CANCELLED = "approval.cancelled"  # whoever asked for it no longer needs it
    STAND_IN_CHANGED = "stand-in.changed"  # a person named who answers in their roles while they are away, or nobody
    CHARTER_APPLIED = "charter.applied"
    CHARTER_WITHDRAWN = "charter.withdrawn"
    SYSTEM_APPLIED = "system.applied"
    GUARDRAILS_APPLIED = "guardrails.applied"
    TEAMS_APPLIED = "teams.applied"
    ISSUERS_APPLIED = "issuers.applied"
    RULES_APPLIED = "rules.applied"
    PATTERN_APPLIED = "pattern.applied"
    PLAN_PROPOSED = "plan.proposed"  # what a plan would do was put before those whose yes it needs
    PLAN_REFUSED = "plan.refused"  # one of them said no
    PLAN_APPROVED = "plan.approved"  # a person looked at what a plan widens, and said yes to exactly that plan
    SIZE_ACCEPTED = "right-size.accepted"  # a person took a narrower charter that was proposed from use
    SIZE_KEPT = "right-size.kept"  # a person said that something unused stays, or not to ask for a while
    STANDING_CHANGED = "standing.changed"
    COMPOSITION_PINNED = "composition.pinned"  # what a principal is made of counts as accepted with its charter
    COMPOSITION_CHANGED = "composition.changed"  # something of it is not what was accepted
    COMPOSITION_REVIEWED = "composition.reviewed"  # a person accepted what it is now
    CREDENTIAL_REGISTERED = "credential.registered"
    CREDENTIAL_REVOKED = "credential.revoked"
    CREDENTIAL_USED = "credential.used"  # one of two uses that cannot both be right; of others nothing is written
    CREDENTIAL_ROTATED = "credential.rotated"  # one took the place of another, or is asked to
    CREDENTIAL_RETIRED = "credential.retired"  # one that was replaced counts no more
    KEY_ROTATED = "key.rotated"
    LEASE_RECORDED = "lease.recorded"  # a credential for one principal is about to be made at a system
    LEASE_ISSUED = "lease.issued"
    LEASE_RENEWED = "lease.renewed"
    LEASE_ENDING = "lease.ending"  # it is revoked from now on, until that is done
    LEASE_REVOKED = "lease.revoked"
    LEASE_NOT_REVOKED = "lease.not-revoked"  # an attempt failed
    LEASE_FAILED = "lease.failed"  # nothing was made
    PERSON_CONNECTED = "person.connected"  # a person let Charter act for them at an upstream, or no more
    VAULT_CHANGED = "vault.changed"  # a secret that Charter holds was put in, bound or removed; never the secret
    AUTHORITY_ROTATED = "authority.rotated"  # an X.509 authority of our trust domain
    BUNDLE_CHANGED = "bundle.changed"  # the authorities of a trust domain, ours or another's, are others now
    SVID_ISSUED = "svid.issued"
    JOIN_TOKEN_MADE = "node.join-token"  # noqa: S105 - a kind, no secret
    NODE_JOINED = "node.joined"
    NODE_ROTATED = "node.rotated"  # its key was replaced, or is asked to be
    NODE_PUT_OUT = "node.put-out"
    FEDERATION_ADDED = "federation.added"
    FEDERATION_REMOVED = "federation.removed"
    FEDERATION_FAILED = "federation.failed"  # the first time that an endpoint gave no good bundle
    FINDING_OPENED = "finding.opened"
    FINDING_CHANGED = "finding.changed"
    BEHAVIOUR_ACCEPTED = "behaviour.accepted"  # a person said that something unlike a principal is normal for it
    RESPONSE_ENDED = "response.ended"  # what a rule did because of a finding is over
    ACTOR_IDENTIFIED = "actor.identified"  # a person said which principal it is that another's logs name so
    SINK_CHANGED = "sink.changed"  # where evidence is sent to: added or removed
    WITNESS_CHANGED = "witness.changed"  # a log of another whose heads are cosigned here: added or removed
    SOURCE_CHANGED = "source.changed"  # an application that may send spans: added or revoked
    TOOL_HELD = "tool.held"  # a tool definition that is not the pinned one
    PERSON_CHANGED = "person.changed"  # by the directory: new, changed, inactive, gone
    GROUP_CHANGED = "group.changed"
    PASSKEY_CHANGED = "passkey.changed"
    PROVISIONER_CHANGED = "provisioner.changed"
    OPERATOR_SIGNED_IN = "operator.signed-in"
    EVIDENCE_ERASED = "evidence.erased"  # payloads of entries are gone: which, by whom, why, under which rule
    EVIDENCE_EXPORTED = (
        "evidence.exported"  # a pack of a period was handed out; also what shows that the period is over
    )
    HOLD_PLACED = "hold.placed"  # nothing of these entries may be erased
    HOLD_RELEASED = "hold.released"
    DELEGATION_MADE = "delegation.made"
    DELEGATION_ACCEPTED = "delegation.accepted"  # the borrower signed that it takes part
    DELEGATION_WITHDRAWN = "delegation.withdrawn"
    DELEGATION_SWITCHED = "delegation.switched"  # whether one party may lend to another at all


class Draft(msgspec.Struct, frozen=True):
    """An entry that has no place in the log yet. `actor` is who did it: a principal's id, a person, or `charter`."""

    kind: EntryKind
    actor: str
    principal: str | None = None  # the id of the principal it is about
    body: dict[str, Any] = msgspec.field(default_factory=dict)


class Entry(msgspec.Struct, frozen=True):
    """An entry at its place: the exact canonical `data` and what stands in it."""

    node: str
    index: int
    time: dt.datetime
    kind: EntryKind
    actor: str
    principal: str | None
    data: bytes
    apart: Apart | None = None


def place(draft: Draft, *, node: str, index: int, at: dt.datetime, salt: Callable[[int], bytes] | None = None) -> Entry:
    """Return `draft` as the entry at `index` of `node`'s log.

    With `salt`, which gives random bytes, what can be erased stands apart from what is hashed.

    Raises:
        MalformedError: the body has no canonical form.
    """
    parted = set_apart(draft.kind.value, draft.body, salt) if salt is not None else None
    body, said, apart = parted or (draft.body, None, None)
    data = canonical(
        {
            "v": 1 if said is None else 2,
            "node": node,
            "index": index,
            "time": rfc3339(at),
            "kind": draft.kind.value,
            "actor": draft.actor,
            "principal": draft.principal,
            "body": body,
        }
        | ({} if said is None else {"apart": said})
    )
    return Entry(node, index, at, draft.kind, draft.actor, draft.principal, data, apart)

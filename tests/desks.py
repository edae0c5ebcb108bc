"""A desk with an estate on it: what the console is tested against, in the shapes the house itself answers in."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from charter.console.pages import console_app
from charter.console.signin import SignIn
from charter.core.clock import rfc3339
from charter.core.errors import AbsentError, ConflictError, DeniedError, ErrorCode, MalformedError, UnauthenticatedError
from charter.evidence.reconciliation import Agreement, Ground, Judgement
from charter.identity.asking_client import AskingClient
from charter.identity.passkey import Answer, Place
from charter.identity.single_signon import Identity
from charter.lifecycle.approval_card import argument_line, visible
from charter.registry.access import Access
from charter.registry.passkey import Passkey
from charter.registry.repeat import Terms
from charter.registry.standing import Move, Standing, moved
from charter.reports.call_story import Found, story_of
from charter.reports.picture import Picture
from charter.reports.session import Graph, Session, graph_of, read_session
from fakes import CountingEntropy, FixedClock
from pictures_made import small

START = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
Json = dict[str, Any]

_ROWS = (
    # name kind environment person team provider model; purpose;
    # (data, systems, changes state, irreversibly, role, credential);
    # (standing, approved on, review, expires)
    (
        "refund-agent agent production maria@example.com payments-ops anthropic claude-*",
        "Refund small disputed card charges",
        (["customer-pii"], ["payments", "ledger"], True, True, "payments-risk", "private-key-jwt"),
        ("active", "2026-11-02", "90d", "2027-11-02"),
    ),
    (
        "repo-helper developer-assistant production rita@example.com platform anthropic claude-*",
        "Answer questions about the disputes repository and prepare branches",
        ([], ["git"], True, False, "platform-lead", "private-key-jwt"),
        ("restrained", "2026-09-01", "90d", "2026-12-10"),
    ),
    (
        "support-copilot copilot production jon@example.com support openai gpt-*",
        "Draft answers to customers for a person to send",
        (["customer-pii", "contract-terms"], ["crm", "knowledge-base"], False, False, "support-lead", "federated"),
        ("active", "2026-06-01", "26w", "2027-06-01"),
    ),
    (
        "invoice-workflow workflow staging ana@example.com finance mistral mistral-large",
        "Read supplier invoices and prepare bookings",
        (["supplier-data"], ["erp"], True, False, "finance-controller", "private-key-jwt"),
        ("suspended", "2026-08-15", "90d", "2027-02-01"),
    ),
    (
        "notes-summaries saas-feature production jon@example.com support vendor built-in",
        "Summarise meeting notes inside the notes service",
        (["internal"], ["notes"], False, False, "support-lead", "vendor-managed"),
        ("active", "2026-10-10", "180d", "2027-10-10"),
    ),
    (
        "price-watch browser-agent sandbox ana@example.com finance anthropic claude-*",
        "Compare public price lists once a day",
        ([], ["web"], False, False, "finance-controller", "private-key-jwt"),
        ("revoked", "2026-03-01", "90d", "2026-10-01"),
    ),
    (
        "fraud-scoring model-integration production maria@example.com payments-ops internal fraud-v7",
        "Score card charges for the disputes team",
        (["customer-pii"], ["payments"], False, False, "payments-risk", "mutual-tls"),
        ("active", "2026-11-20", "90d", "2027-11-20"),
    ),
)


def _principal(number: int, row: tuple[Any, ...]) -> Json:
    name, kind, environment, person, team, provider, model = row[0].split()
    data, systems, changes, irreversible, role, credential = row[2]
    standing, approved, review, expires = row[3]
    return {
        "name": name,
        "id": f"prn_{number:026d}",
        "kind": kind,
        "environment": environment,
        "owner": {"person": person, "team": team},
        "purpose": row[1],
        "model": {"provider": provider, "name": model},
        "data": data,
        "systems": systems,
        "state_changing": changes,
        "irreversible": irreversible,
        "risk": {
            "tier": "high" if irreversible else "low",
            "points": 9 if irreversible else 0,
            "factors": [{"name": "irreversibly", "points": 2 * irreversible, "why": "it was granted to"}],
        },
        "approved": {"by": "alex@example.com", "role": role, "on": approved},
        "credential": credential,
        "review": review,
        "expires": expires,
        "standing": standing,
        "chosen": standing,
        "held_by": [],
        "composition": None,
        "version": 3,
        "digest": f"sha256:{number:064x}",
        "spiffe_id": f"spiffe://charter.local/{environment}/{kind}/{name}",
    }


GRANTS: list[Json] = [
    {
        "system": "payments",
        "actions": ["charge.read", "refund.create"],
        "objects": ["charge/*"],
        "when": {
            "hours": "08:00-18:00 Europe/Berlin",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "amount": {"max": "200 EUR"},
        },
        "limit": [{"count": 50, "per": "day"}, {"sum": "amount", "max": "2000 EUR", "per": "day"}],
        "approval": {"when": {"amount": {"over": "100 EUR"}}, "by": "payments-lead"},
    },
    {"system": "ledger", "actions": ["rows.read"], "objects": ["*"], "when": {"query": {"like": "SELECT *"}}},
]
POLICY = """// refund-agent/grant-1
permit (
  principal == Charter::Principal::"refund-agent",
  action in [Charter::Action::"payments/charge.read", Charter::Action::"payments/refund.create"],
  resource
) when { context.amount.value.lessThanOrEqual(decimal("200.0")) };
"""
SESSION = "ses_" + "0" * 24
A_FLOW = {"exposed": True, "data": ["customer-pii"], "told": ["`to` is what only content from outside named"]}
WHY = {
    "allow": ("grant 1 of refund-agent allows it", "", "refund-agent/grant-1", "charter"),
    "deny": (
        "guardrail no-night-writes forbids writes between 22:00 and 06:00",
        "repeat the call after 06:00",
        "guardrail/no-night-writes",
        "guardrail",
    ),
    "escalate": (
        "a refund over 100 EUR needs a yes of payments-lead",
        "someone who holds payments-lead can approve it",
        "refund-agent/grant-1",
        "approval",
    ),
}


def an_approval(number: int = 1, **changed: Any) -> Json:
    """Return a call that waits, with some top-level fields changed."""
    return {
        "id": f"apr_{number:026d}",
        "state": "waiting",
        "call": {
            "principal": "refund-agent",
            "system": "payments",
            "tool": "create_refund",
            "action": "refund.create",
            "effect": "irreversible",
            "object": "charge/ch_3RkA",
            "arguments": {
                "charge_id": "ch_3RkA",
                "amount": 150,
                "currency": "EUR",
                "note": "double charge\nsee ticket 8812",
            },
            "why": ["a refund over 100 EUR needs a yes of payments-lead"],
        },
        "roles": ["payments-lead"],
        "given": {},
        "missing": ["payments-lead"],
        "asked_at": rfc3339(START - dt.timedelta(minutes=4)),
        "expires_at": rfc3339(START + dt.timedelta(hours=24)),
        "verdict_id": "vrd_00000000000000000000000003",
    } | changed


def a_card(approval: Json) -> Json:
    """Return the card of a call that waits."""
    call, amounts = approval["call"], {"amount": (Decimal(150), "EUR")}
    seen = f"the first time on {call['object']}, like 12 other objects before"
    return {
        "asks": {
            "principal": call["principal"],
            "kind": "agent",
            "owner": "maria@example.com (payments-ops)",
            "chain": "by itself",
            "purpose": None,
            "started_by": None,
        },
        "arguments": [argument_line(name, value, amounts) for name, value in call["arguments"].items()],
        "denied": None,
        "unusual": [
            {"sign": "amount", "text": "amount: 150 EUR, more than ever: usually 20, at most 95 EUR"},
            {"sign": "object", "text": visible(seen)},
        ],
        "usual": "compared with 214 calls let through in 30 days",
    }


def a_lease(number: int = 1, **changed: Any) -> Json:
    """Return a credential that is leased to refund-agent, with some fields changed."""
    return {
        "id": f"lea_{number:026d}",
        "principal": "refund-agent",
        "system": "orders-db",
        "state": "issued",
        "rights": [{"action": "rows.read", "on": "sales.orders", "verbs": ["SELECT"]}],
        "ends_at": rfc3339(START + dt.timedelta(minutes=15)),
        "overdue": False,
        "error": "",
    } | changed


def a_signal(**changed: Any) -> Json:
    """Return a signal of the refund agent with some fields changed."""
    sentence = "`customer/*` on `payments` is new to it; of 540 before, 1 had one that was new to it"
    return {
        "id": "sig_00000000000000000000000001",
        "principal": "refund-agent",
        "at": rfc3339(START),
        "noticed_at": rfc3339(START),
        "lag_ms": 180,
        "deed": "payments/charge.read",
        "effect": "read",
        "verdict_id": "vrd_00000000000000000000000004",
        "index": 41,
        "score": "19.4",
        "by_session": False,
        "count": 3,
        "finding": "fnd_00000000000000000000000001",
        "contributions": [
            {"feature": "object", "key": "payments: customer/*", "bits": "14.1", "sentence": sentence},
            {"feature": "hours", "key": "working days 03:00", "bits": "5.3", "sentence": "it works at 03:00 UTC"},
        ],
    } | changed


def a_behaviour(**changed: Any) -> Json:
    """Return what the refund agent usually does, with some fields changed."""
    hours = [[0.0] * 8 + [3.0, 9.0, 20.0, 20.0, 12.0] + [5.0] * 5 + [0.0] * 6, [0.0] * 24]
    return {
        "principal": "refund-agent",
        "owner": "maria@example.com",
        "standing": "restrained",
        "is_young": False,
        "needs": 0,
        "peers": {"group": "agents in its environment", "calls": 1200},
        "thresholds": {"act": 16.0, "session": 24.0},
        "baseline": {
            "since": rfc3339(START - dt.timedelta(days=30)),
            "calls": 540,
            "deeds": [["payments/charge.read", 360], ["payments/refund.create", 180]],
            "steps": [{"after": "(start)", "then": [["payments/charge.read", 180]]}],
            "places": [["payments: charge/*", 540]],
            "objects": {"known": 180, "new_of_100": 33},
            "parties": [["system: payments", 540]],
            "networks": [["10.0.0.0/24", 540]],
            "data": [["customer-pii", 540]],
            "purposes": [],
            "hours": hours,
            "days": [22, 8],
            "refused_of_100": 2,
            "refused_in_a_row": 0,
            "calls_in_ten_minutes": 4,
            "bytes": [["payments/get_charge", 900]],
            "cost": None,
        },
        "narrowing": [{"system": "payments", "actions": ["charge.read", "refund.create"], "objects": ["charge/*"]}],
        "signals": [a_signal()],
        "accepted": [],
        "responses": [
            {
                "finding": "fnd_00000000000000000000000001",
                "rule": "left-its-mission",
                "does": "restrain",
                "began_at": rfc3339(START),
                "until": rfc3339(START + dt.timedelta(hours=4)),
            }
        ],
    } | changed


def a_composition(**changed: Any) -> Json:
    """Return what a principal is made of, its program changed, with some fields changed."""
    was, now = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    return {
        "principal": "refund-agent",
        "standing": "restrained",
        "digest": "sha256:" + "d" * 64,
        "accepted_by": "alex@example.com",
        "accepted_at": rfc3339(START),
        "on_change": "restrain",
        "reviewer": "payments-risk",
        "reviewers": ["alex@example.com"],
        "parts": [
            {
                "part": "model",
                "kind": "model",
                "accepted": ["anthropic/claude-sonnet-4-5"],
                "declared": ["anthropic/claude-sonnet-4-5"],
                "seen": None,
                "attested_by": "declared",
                "must_be_attested": False,
            },
            {
                "part": "program",
                "kind": "program",
                "accepted": [was],
                "declared": [was],
                "seen": {"value": now, "by": "the kernel", "at": rfc3339(START)},
                "attested_by": "declared",
                "must_be_attested": True,
            },
            {
                "part": "tools.payments.create_refund",
                "kind": "tools",
                "accepted": [was],
                "declared": [was],
                "seen": None,
                "attested_by": "the gateway",
                "must_be_attested": False,
            },
        ],
        "change": "sha256:" + "c" * 64,
        "now": "sha256:" + "e" * 64,
        "changes": [
            {
                "part": "program",
                "was": [was],
                "now": [now],
                "told_by": "the kernel",
                "at": rfc3339(START),
                "applied_by": None,
                "is_back": False,
            }
        ],
        "finding": "fnd_1",
    } | changed


def a_delegation(number: int = 1, **changed: Any) -> Json:
    """Return what one party lent another, with some fields changed."""
    return {
        "id": f"del_{number:026d}",
        "rests_on": None,
        "initiator": "maria@example.com",
        "lender": "maria@example.com",
        "borrower": "refund-agent",
        "role": "decider",
        "control_plane": "http://127.0.0.1:8420",
        "purpose": "dispute-handling",
        "scope": [{"system": "payments", "actions": ["charge.read"], "objects": ["*"]}],
        "made": rfc3339(START),
        "expires": rfc3339(START + dt.timedelta(hours=1)),
        "standing": "active",
        "usable": True,
        "why": None,
        "accepted": True,
        "made_by": "maria@example.com",
        "door": "cli",
        "reason": "a dispute",
        "withdrawn_by": None,
    } | changed


def a_finding(number: int = 1, **changed: Any) -> Json:
    """Return a credential that was found to be shared, with some fields changed."""
    use = {
        "principal": "prn_1",
        "credential": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "deed": "token",
        "at": rfc3339(START),
        "source": "10.1.2.3",
        "place": "cluster",
        "entry": 12,
    }
    return {
        "id": f"fnd_{number:026d}",
        "kind": "shared-credential",
        "state": "open",
        "title": "one key stands behind both fraud-scoring and refund-agent",
        "body": {
            "certainty": "proved",
            "uses": [use, use | {"source": "9.9.9.9", "place": "office", "entry": 17}],
            "entries": [12, 17],
            "answer": {"fraud-scoring": "restrain", "refund-agent": "restrain"},
        },
        "principals": ["fraud-scoring", "refund-agent"],
        "opened_at": rfc3339(START),
        "days": 0,
        "status": "New",
        "severity": "High",
        "confidence": "High",
        "first_seen": rfc3339(START),
        "last_seen": rfc3339(START),
        "count": 3,
    } | changed


def a_size(**changed: Any) -> Json:
    """Return a proposed narrower charter, safe to take."""
    path = "principals/refund-agent.yaml"
    step = {"key": "action:payments/refund.void", "piece": "action", "system": "payments", "what": "refund.void"}
    step |= {"was": "refund.void", "becomes": "nothing", "uses": 0, "last_used": None, "unused_days": 90}
    step |= {"why": "no recorded call asked for it"}
    diff = f"diff --git a/{path} b/{path}\n-actions: [refund.create, refund.void]\n+actions: [refund.create]\n"
    return {
        "principal": "refund-agent",
        "since": "2026-08-26T00:00:00.000000Z",
        "until": "2026-11-24T09:30:00.000000Z",
        "accepted": None,
        "excluded": None,
        "narrowings": [step],
        "kept": [{"key": "action:payments/charge.read", "why": "it is used at year end: once, last on 30 Dec 2025"}],
        "cautions": ["the history has no year end in it"],
        "narrower": True,
        "not_proven": [],
        "replayed": 120,
        "changed": [],
        "untold": [],
        "untouched": [],
        "safe": True,
        "proposal": "sha256:" + "a" * 64,
        "diff": diff,
    } | changed


def text_of(html: str) -> str:
    """Return what a reader sees of `html`, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def a_rule(name: str, **changed: Any) -> Json:
    """Return what the organisation lays down about calls, some fields changed."""
    told = {"name": name, "on": "calls", "force": "hard", "for": {}, "asks": {}, "lifted_by": [], "set_aside_by": []}
    return told | {"reason": "nobody does more", "answers": [], "source": "guardrails/a.cedar:3:1"} | changed


def a_sink(name: str = "archive", **changed: Any) -> Json:
    """Return where evidence is sent to, in order."""
    told = {"name": name, "to": f"https://{name}.example/in", "form": "ocsf", "state": "ok", "backlog": 0, "sent": 9}
    told |= {"oldest": "2026-11-24T09:00:00.000000Z", "waited_seconds": 0, "failures": 0, "error": ""}
    told |= {"warnings": []}
    return told | {"failed_at": "2026-11-24T09:29:00.000000Z" if "failures" in changed else None} | changed


def a_split(**changed: Any) -> Json:
    """Return what is said of who is behind refund-agent, with some fields changed."""
    considered = [
        {
            "by": [by],
            "groups": 2,
            "confidence": sure,
            "word": "high",
            "coverage": 100,
            "steadiness": 100,
            "apartness": 50,
        }
        for by, sure in (("client", 80), ("place", 60))
    ]
    proposal = {
        "principal": "refund-agent-reports",
        "path": "principals/refund-agent-reports.yaml",
        "text": "charter: v1\nprincipal: refund-agent-reports\n",
        "notes": ["payments/refund.create was refused 6 times: it is left out"],
        "values": {"client": "reports 1.0"},
        "calls": 31,
        "days": 4,
        "first": rfc3339(START),
        "last": rfc3339(START),
        "hours": "08-17",
        "did": [{"system": "payments", "action": "charge.read", "calls": 31}],
        "refused": [],
    }
    return {
        "principal": "refund-agent",
        "standing": "active",
        "since": rfc3339(START - dt.timedelta(days=30)),
        "until": rfc3339(START),
        "calls": 63,
        "by": ["client"],
        "confidence": considered[0],
        "considered": considered,
        "proposals": [proposal, proposal | {"principal": "refund-agent-disputes"}],
        "rest": 2,
        "unused": [],
        "problems": ["principals/refund-agent-reports.yaml:3:1: a problem"],
        "plan": ["fill in what is MISSING", "charter validate && charter plan && charter apply"],
    } | changed


def _is_meant(delegation: Json, wanted: Mapping[str, str]) -> bool:
    said = {
        "link": (delegation["id"],),
        "person": (delegation["lender"],),
        "agent": (delegation["lender"], delegation["borrower"]),
        "purpose": (delegation["purpose"],),
    }
    return all(value in said[name] for name, value in wanted.items())


def an_age(**changed: Any) -> Json:
    """Return a credential with its age, with some fields changed."""
    return {
        "kind": "token",
        "of": "charter",
        "id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "since": rfc3339(START),
        "age_days": 12,
        "next": rfc3339(START + dt.timedelta(days=18)),
        "ends": None,
        "by": "charter",
        "overdue": False,
    } | changed


PLAN = "sha256:" + "5" * 64


def a_proposal(**changed: Any) -> Json:
    """Return a plan that waits, with one principal that could do more."""
    told: Json = {
        "plan": PLAN,
        "by": "jo@example.com",
        "at": "2026-11-24T09:00:00.000000Z",
        "reason": "refunds up to 300 EUR",
        "changes": ["change principal refund-agent"],
        "effects": [
            {
                "principal": "refund-agent",
                "others": 0,
                "conclusion": "wider",
                "seat": "role:payments-lead",
                "why": "it widens beyond its pattern",
                "note": None,
                "gains": [
                    "`refund-agent` may do `refund.create` on `payments` with `amount` 300 EUR: allowed; it was denied"
                ],
                "losses": [],
                "not_proven": [],
                "terms": [],
                "duties": [],
                "rules": [],
                "left": 0,
            }
        ],
        "needs": [
            {
                "seat": "role:payments-lead",
                "for": ["refund-agent"],
                "why": ["refund-agent: it widens beyond its pattern"],
                "given": [],
                "people": ["lena@example.com", "maria@example.com"],
            }
        ],
        "refused": [],
        "state": "waiting",
    }
    return told | changed


def a_call(verdict: Json, **more: Any) -> Found:
    """Return what the log has of a call: with each part that a story can have."""
    reason = {"rule": verdict["rule"], "text": verdict["why"], "mend": "ask for less", "source": "x.yaml:1:1"}
    chain = {"delegation": "del_" + "0" * 26, "initiator": "maria@example.com", "purpose": "dispute-handling"}
    party = {"name": "maria@example.com", "role": "initiator", "control_plane": "https://charter", "credential": None}
    body = {
        "verdict_id": verdict["verdict_id"],
        "principal": verdict["principal"],
        "verdict": verdict["verdict"],
        "system": verdict["system"],
        "tool": verdict["tool"],
        "action": verdict["tool"],
        "object": "charge/ch_1",
        "effect": "write",
        "data": ["customer-pii"],
        "kind": "agent",
        "team": "payments-ops",
        "environment": "production",
        "reasons": [reason | {"layer": verdict["layer"], "link": verdict["principal"]}],
        "charter": {"version": 3, "digest": "sha256:" + "0" * 64},
        "chain": chain | {"parties": [party]},
        "token": "tok_1",
        "client": "a program",
        "source": "10.0.0.7",
        "door": "mcp",
        "call_digest": "sha256:" + "1" * 64,
        "asked": {"arguments": {"note": {"withheld": True, "length": 12}, "reason": None}, "flow": A_FLOW},
        "limits": [{"link": verdict["principal"], "limit": "50 calls per day"}],
        "approval": "apr_" + "0" * 26,
        "decided_by": {"response": "msg_1", "model": "small-1", "verdict": "vrd_" + "0" * 26},
        "sequence": {
            "session": SESSION,
            "run": "ticket-7",
            "since": verdict["time"],
            "step": 2,
            "parents": [{"verdict": "vrd_" + "0" * 26, "known_by": "proposal"}],
        },
    }
    entry = {"index": verdict["index"], "time": verdict["time"], "kind": "verdict", "principal": "prn_1", "body": body}
    said = {"approval": body["approval"], "given": {"payments-lead": "lena@example.com"}, "reason": "looked at it"}
    yes = entry | {"kind": "approval.given", "actor": "lena@example.com", "body": said}
    used = {"model": "small-1", "input_tokens": 9, "output_tokens": 7, "cost": "0.0010"}
    done = {"outcome": "ok", "sent": True, "bytes": 9, "result_digest": "sha256:2", "duration_ms": 12, "used": used}
    outcome = entry | {"kind": "outcome", "body": done | {"labels": {"origin": "untrusted", "data": ["customer-pii"]}}}
    asked = entry | {"kind": "client.asked", "body": {"what": "elicitation"}}
    brings = {"exposed": True, "data": ["customer-pii"]}
    changed = entry | {"kind": "context.changed", "body": brings | {"added": brings}}
    told = {"at": verdict["time"], "source": {"kind": "cloudtrail"}, "action": "x", "object": "y", "outcome": "success"}
    given: dict[str, Any] = {
        "related": [yes, outcome, asked, changed],
        "after": [entry],
        "children": [entry],
        "judgement": Judgement(Agreement.AGREES, Ground.DONE, "it was done as it was allowed"),
        "seen": [entry | {"kind": "observed", "body": told}],
        "authority": {
            "applied": {
                "by": "alex@example.com",
                "at": verdict["time"],
                "reason": "approved",
                "plan": None,
                "index": 3,
            },
            "owner": {"person": "maria@example.com", "team": "payments-ops"},
            "standing": "active",
            "change": ["charter kill refund-agent"],
        },
        "log": {
            "index": verdict["index"],
            "size": 9,
            "entries": [1],
            "origin": "x",
            "prove": "charter evidence prove 1",
        },
    }
    return Found(verdict=entry, **given | more)


class FakeDesk:
    """An estate in memory. `asked` lists the deeds that were done, `broken` is raised by every read when set."""

    def __init__(self) -> None:
        self.principals = {row[0].split()[0]: _principal(n, row) for n, row in enumerate(_ROWS, 1)}
        self.kept: list[Json] = []
        self.holds: dict[str, Json] = {}
        self.elsewhere: list[Json] = []  # of what is erased, in logs of other nodes
        self.waiting = {a["id"]: a for a in (an_approval(),)}
        self.given_beforehand: dict[str, Json] = {}
        self.links = {"a-link": "lena@example.com"}
        self.spent_links: set[str] = set()
        self.away: list[Json] = [
            {"person": "lena@example.com", "by": "jo@example.com", "last_day": "2026-12-05", "reason": "on leave"}
        ]
        self.proposed = [a_proposal()]
        self.sized = a_size()
        self.lent = [
            a_delegation(),
            a_delegation(
                2, rests_on=a_delegation()["id"], lender="refund-agent", borrower="fraud-scoring", role="decider"
            ),
        ]
        self.off: list[Json] = []
        self.made: dict[str, Json] = {}
        self.behaved = a_behaviour()
        self.found = [a_finding(), a_finding(2, kind="held-tool", state="resolved", body={"tool": "x"}, principals=[])]
        self.parted = a_split()
        self.ages = [an_age(), an_age(kind="key", of="refund-agent", id="crd_1", by="its client", overdue=True)]
        self.people = {"payments-lead": ("lena@example.com",)}
        self.asked: list[tuple[Any, ...]] = []
        self.signins: list[tuple[str, str]] = []
        self.admitted: list[tuple[str, str]] = []
        self.reviewed: dict[str, str] = {}
        self.access = Access.VIEWER
        self.passkeys_kept: list[Passkey] = []
        self.broken: Exception | None = None
        self.unrecorded: Exception | None = None
        self.healthy = True
        self.leases: list[Json] = []
        self.most = 5000  # how many the inventory lists
        for number, word in enumerate(("allow", "allow", "escalate", "deny", "allow")):
            self.add_verdict(word, system="payments", tool=("get_charge", "create_refund")[number % 2])

    def add_verdict(self, word: str = "allow", **changed: Any) -> Json:
        """Append a verdict to the log; two other entries stand between it and the one before."""
        place = len(self.kept)
        why, mend, rule, layer = WHY[word]
        entry = {
            "index": place * 3,
            "time": rfc3339(START + dt.timedelta(seconds=place)),
            "principal": "refund-agent",
            "verdict": word,
            "system": "payments",
            "tool": "create_refund",
            "action": "refund.create",
            "object": "charge/ch_3RkA",
            "why": why,
            "mend": mend,
            "rule": rule,
            "source": "principals/refund-agent.yaml:12:5",
            "layer": layer,
            "verdict_id": f"vrd_{place + 1:026d}",
        } | changed
        self.kept.append(entry)
        return entry

    def inventory(self, filters: Mapping[str, str]) -> list[Json]:
        self._read()
        fitting = [
            p
            for _, p in sorted(self.principals.items())
            if all((p["owner"]["team"] if key == "team" else p[key]) == value for key, value in filters.items())
        ]
        return copy.deepcopy(fitting[: self.most])

    def dossier(self, name: str) -> Json:
        self._read()
        p = copy.deepcopy(self._principal(name))
        grants = GRANTS if name == "refund-agent" else []
        charter = {"charter": "v1", "principal": name, "grants": grants, "review": p["review"], "expires": p["expires"]}
        if name == "refund-agent":
            charter["delegation"] = {
                "from": ["humans"],
                "purposes": ["dispute-handling"],
                "max_ttl": "1h",
                "max_depth": 2,
            }
        key = {"id": "crd_1", "thumbprint": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "standing": "active"}
        return p | {
            "charter": charter,
            "policy": POLICY,
            "keys": [key | {"registered_at": rfc3339(START)}] if grants else [],
            "recent": [copy.deepcopy(v) for v in self.kept[::-1] if v["principal"] == name],
            "findings": [
                {"id": f["id"], "kind": f["kind"], "title": f["title"]}
                for f in self.found
                if f["state"] == "open" and name in f["principals"]
            ],
            "waiting": [a for a in self.approvals(every=False) if a["call"]["principal"] == name],
            "leases": [copy.deepcopy(each) for each in self.leases if each["principal"] == name],
        }

    async def move(self, name: str, move: Move, *, actor: str, reason: str) -> Json:
        p = self._principal(name)
        before = Standing(p["standing"])
        p["standing"] = p["chosen"] = moved(before, move, name).value
        self.asked.append((name, move, actor, reason))
        steps = [(0.41, "standing and epoch changed, durably"), (0.52, "2 tokens dead"), (0.77, "1 open stream ended")]
        return {
            "before": before.value,
            "after": p["standing"],
            "steps": [{"ms": ms, "what": what} for ms, what in steps],
        }

    def verdicts(
        self, after: int | None, limit: int, *, principal: str | None = None, verdict: str | None = None
    ) -> Json:
        self._read()
        fitting = [
            v
            for v in self.kept
            if (not principal or v["principal"] == principal)
            and (not verdict or v["verdict"] == verdict)
            and (after is None or v["index"] > after)
        ]
        chosen = fitting[-limit:] if after is None else fitting[:limit]
        complete = after is None or len(fitting) <= limit
        last = self.kept[-1]["index"] if self.kept else -1
        return {"entries": copy.deepcopy(chosen), "next": last if complete else chosen[-1]["index"]}

    def why(self, verdict_id: str) -> Json:
        self._read()
        found = next((v for v in self.kept if v["verdict_id"] == verdict_id), None)
        if found is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_ENTRY, f"there is no verdict `{verdict_id}`", help="charter evidence query"
            )
        reason = {"rule": found["rule"], "text": found["why"], "mend": "ask for less", "layer": found["layer"]}
        reason |= {"link": found["principal"], "source": "principals/refund-agent.yaml:12:5"}
        condition = {"condition": "`amount` up to 200 EUR", "met": False, "given": "this call asks 350 EUR"}
        asked = {"condition": "objects like `charge/*`", "met": True, "given": "this call is for `charge/ch_1`"}
        later = {"condition": "when principal.restrained", "met": None, "given": ""}
        rule = {"rule": found["rule"], "kind": "grant", "link": found["principal"], "source": "p.yaml:1:1", "needs": []}
        rule |= {"outcome": "does not apply", "decided": True, "conditions": [asked, condition]}
        other = rule | {"rule": "built-in/restrained", "decided": False, "conditions": [later], "source": None}
        return {
            "verdict_id": verdict_id,
            "index": found["index"],
            "at": found["time"],
            "sentence": f"`{found['tool']}` by `{found['principal']}`: {found['why']}",
            "lacking": None,
            "call": {name: found[name] for name in ("principal", "system", "tool")} | {"action": None, "object": "c/1"},
            "recorded": {"verdict": found["verdict"], "reasons": [reason]},
            "agrees": True,
            "difference": None,
            "held_then": {"charter": {"version": 3, "digest": "sha256:…"}, "slice": "sha256:…"},
            "notes": ["the text of `note` is not kept"],
            "replayed": {"reasons": [reason], "rules": [rule, other], "unlisted": 0},
        }

    def story(self, verdict_id: str) -> Json:
        self._read()
        found = next((v for v in self.kept if v["verdict_id"] == verdict_id), None)
        if found is None:
            raise AbsentError(
                ErrorCode.UNKNOWN_ENTRY, f"there is no verdict `{verdict_id}`", help="charter evidence query"
            )
        lines = [f"{found['verdict']}: {found['why']}", f"rule {found['rule']}", f"tool {found['tool']}"]
        return story_of(a_call(found)) | {
            "entries": [
                {"time": found["time"], "index": found["index"], "kind": "verdict", "lines": lines},
                {"time": found["time"], "index": found["index"] + 1, "kind": "outcome", "lines": ["answered in 12 ms"]},
            ]
        }

    def sessions(self, name: str) -> Json:
        self._read()
        self._principal(name)
        return {"principal": name, "since": self.kept[0]["time"], "is_whole": True, "sessions": [self._one().summary()]}

    def session(self, name: str, session_id: str) -> tuple[Json, Graph]:
        self._read()
        found = self._one()
        self._principal(name)
        if session_id != found.id:
            raise AbsentError(ErrorCode.UNKNOWN_ENTRY, "the log knows no such session")
        return found.summary() | {"calls": [each.to_json() for each in found.steps]}, graph_of(found)

    def _one(self) -> Session:
        calls = [dict(a_call(each).verdict) for each in self.kept[:2]]
        found = read_session(SESSION, [*calls, *a_call(self.kept[0]).related])
        assert found is not None
        return found

    def right_size(self, name: str) -> Json:
        self._principal(name)
        return copy.deepcopy(self.sized | {"principal": name})

    async def answer_size(self, name: str, word: str, wanted: Any, *, person: str, reason: str) -> Json:
        self._principal(name)
        if person != "maria@example.com":
            text = f"`{person}` does not answer for `{name}`"
            raise DeniedError(ErrorCode.POLICY_DENIED, text, help="its owner must")
        if word == "accept" and wanted["proposal"] != self.sized["proposal"]:
            raise ConflictError(ErrorCode.STALE, "what it used is not what was looked at", help="look again")
        self.asked.append((word, name, wanted["key"], reason))
        return self.sized | {"applied": False, "until": "2027-02-24T00:00:00Z"}

    def plans(self) -> list[Json]:
        self._read()
        return [copy.deepcopy(each) for each in self.proposed]

    async def answer_plan(self, digest: str, yes: bool, *, person: str, reason: str) -> Json:
        found = next((each for each in self.proposed if each["plan"] == digest), None)
        if found is None:
            raise AbsentError(ErrorCode.UNKNOWN_ENTRY, "no such plan was proposed")
        if person not in found["needs"][0]["people"]:
            raise DeniedError(ErrorCode.POLICY_DENIED, f"`{person}` holds none of the seats", help="someone else must")
        if yes:
            found["needs"][0]["given"].append(person)
        else:
            found["refused"].append({"person": person, "reason": reason})
        found["state"] = "approved" if yes else "refused"
        return copy.deepcopy(found)

    def approvals(self, every: bool) -> list[Json]:
        self._read()
        found = [copy.deepcopy(a) for a in self.waiting.values() if every or a["state"] == "waiting"]
        return [each | {"card": a_card(each)} for each in found]

    def linked(self, token: str) -> Json:
        self._read()
        if token not in self.links:
            raise AbsentError(ErrorCode.UNKNOWN_APPROVAL, "there is no such link")
        spent = token in self.spent_links
        return {"person": self.links[token], "spent": spent, "approval": self.approvals(True)[0]}

    async def answer_by_link(self, token: str, yes: bool, *, reason: str, signed_in: str | None) -> Json:
        found = self.linked(token)
        if found["spent"]:
            raise AbsentError(ErrorCode.UNKNOWN_APPROVAL, "this link was used")
        if signed_in not in (None, found["person"]):
            raise DeniedError(ErrorCode.POLICY_DENIED, f"`{signed_in}` is signed in here", help="sign out first")
        answered = await self.answer(next(iter(self.waiting)), yes, person=found["person"], reason=reason)
        self.spent_links.add(token)
        return answered

    def unanswered(self) -> int:
        self._read()
        return sum(a["state"] == "waiting" for a in self.waiting.values())

    def stand_ins(self) -> list[Json]:
        self._read()
        return [copy.deepcopy(each) for each in self.away]

    async def name_stand_in(self, *, person: str, by: str, until: dt.date, reason: str) -> Json:
        if person == by:
            raise MalformedError(ErrorCode.BAD_VALUE, "nobody stands in for themselves", help="name somebody else")
        found = {"person": person, "by": by, "last_day": until.isoformat(), "reason": reason}
        self.away = [*(each for each in self.away if each["person"] != person), found]
        return found

    async def end_stand_in(self, *, person: str, reason: str) -> Json:
        if not any(each["person"] == person for each in self.away):
            raise AbsentError(ErrorCode.UNKNOWN_APPROVAL, f"nobody stands in for `{person}`")
        self.away = [each for each in self.away if each["person"] != person]
        return {"person": person, "by": None, "reason": reason}

    def rules(self) -> list[Json]:
        self._read()
        return [
            a_rule("a-year-at-most", on="charters", asks={"at_most": {"expires": "366d"}}),
            a_rule("refund-ceiling", force="ceiling", lifted_by=["payments-lead"], answers=["OWASP ASI02"]),
        ]

    def sinks(self) -> list[Json]:
        self._read()
        return [a_sink(), a_sink("siem", state="failing", error="it answered 503", failures=7, backlog=120)]

    def repeats(self) -> list[Json]:
        return list(self.given_beforehand.values())

    async def end_repeat(self, repeat_id: str, *, person: str, reason: str) -> Json:
        found = self.given_beforehand.pop(repeat_id, None)
        if found is None:
            raise AbsentError(ErrorCode.UNKNOWN_APPROVAL, f"there is no yes to further calls `{repeat_id}`")
        self.asked.append((repeat_id, person, reason))
        return found

    async def answer(
        self, approval_id: str, yes: bool, *, person: str, reason: str, further: Terms | None = None
    ) -> Json:
        found = self.waiting.get(approval_id)
        if found is None:
            raise AbsentError(ErrorCode.UNKNOWN_APPROVAL, f"there is no approval `{approval_id}`")
        if found["state"] != "waiting":
            raise ConflictError(
                ErrorCode.BAD_MOVE, f"the approval `{approval_id}` is {found['state']}", help="ask again"
            )
        if yes and person not in self.people["payments-lead"]:
            raise DeniedError(
                ErrorCode.POLICY_DENIED,
                f"`{person}` does not hold the role `payments-lead`",
                help="someone who holds it in teams.yaml must approve",
            )
        self.asked.append((approval_id, yes, person, reason))
        found["state"] = "approved" if yes else "refused"
        if yes:
            found |= {"given": {"payments-lead": person}, "missing": []}
        if further is not None:
            given = {
                "repeat": "rpt_1",
                "principal": found["call"]["principal"],
                "system": found["call"]["system"],
                "tool": found["call"]["tool"],
                "vary": list(further.vary),
                "given": {"payments-lead": person},
                "left": further.count,
                "until": "2026-11-24T10:30:00.000000Z",
            }
            self.given_beforehand["rpt_1"] = given
            return copy.deepcopy(found) | {"further": given}
        return copy.deepcopy(found)

    def pin(self, name: str = "refund-agent", **changed: Any) -> Json:
        """Let the charter of a principal pin what it is made of; with a change, it is restrained."""
        self.made[name] = made = a_composition(principal=name, **changed)
        p = self._principal(name)
        p["composition"] = {"digest": made["digest"], "change": made["change"]}
        if made["change"]:
            p |= {"standing": "restrained", "chosen": "active", "held_by": ["fnd_1"]}
        return made

    def signals(self, principal: str | None = None) -> Json:
        self._read()
        found = [each for each in self.behaved["signals"] if principal in (None, each["principal"])]
        return {"signals": copy.deepcopy(found), "watch": {"backlog": 0, "failure": ""}}

    def behaviour(self, name: str) -> Json:
        self._read()
        self._principal(name)
        if name == "refund-agent":
            return copy.deepcopy(self.behaved)
        nothing: Json = {key: [] for key in ("deeds", "steps", "places", "parties", "networks", "data", "purposes")}
        empty = self.behaved["baseline"] | nothing | {"since": None, "calls": 0, "days": [0, 0]}
        more: Json = {"signals": [], "accepted": [], "responses": [], "narrowing": [], "baseline": empty}
        return copy.deepcopy(self.behaved | more | {"principal": name, "is_young": True, "needs": 64})

    async def accept_signal(self, name: str, finding_id: str, *, until: str, actor: str, reason: str) -> Json:
        if not until.endswith("d"):
            raise MalformedError(ErrorCode.BAD_VALUE, f"`{until}` is no end", help="write 30d")
        self.asked.append(("accept-signal", name, finding_id, until, actor, reason))
        end = rfc3339(START + dt.timedelta(days=30))
        told = self.behaved["signals"][0]["contributions"]
        said = [
            {
                "id": f"acc_{n}",
                "feature": each["feature"],
                "key": each["key"],
                "until": end,
                "by": actor,
                "reason": reason,
            }
            for n, each in enumerate(told)
        ]
        self.behaved |= {"accepted": said, "responses": [], "standing": "active"}
        return {"principal": name, "accepted": said, "until": end, "settled": [finding_id], "standing": "active"}

    def compositions(self) -> list[Json]:
        self._read()
        told = [
            {
                "principal": name,
                "standing": self._principal(name)["standing"],
                "digest": each["digest"],
                "parts": len(each["parts"]),
                "kinds": sorted({part["kind"] for part in each["parts"]}),
                "attested": [part["kind"] for part in each["parts"] if part["attested_by"] != "declared"],
                "change": each["change"],
                "changed": [changed["part"] for changed in each["changes"]],
                "reviewer": each["reviewer"],
            }
            for name, each in self.made.items()
        ]
        return sorted(told, key=lambda each: (each["change"] is None, each["principal"]))

    def composition(self, name: str) -> Json:
        self._read()
        self._principal(name)
        if name not in self.made:
            raise AbsentError(ErrorCode.NOT_PINNED, f"the charter of `{name}` pins nothing of what it is made of")
        return copy.deepcopy(self.made[name] | {"standing": self._principal(name)["standing"]})

    async def accept_composition(self, name: str, change: str, *, person: str, reason: str) -> Json:
        made = self.composition(name)
        if made["change"] != change:
            raise ConflictError(ErrorCode.STALE, "what waits for a review is another change", help="look at it")
        if person not in made["reviewers"]:
            raise DeniedError(ErrorCode.POLICY_DENIED, f"`{person}` does not hold the role", help="someone else must")
        self.asked.append(("accept", name, change, person, reason))
        self.made[name] |= {"change": None, "changes": [], "accepted_by": person}
        self._principal(name).update(standing="active", held_by=[])
        return self.composition(name) | {"before": "restrained", "index": 9}

    def delegations(self, wanted: Mapping[str, str]) -> Json:
        self._read()
        fitting = [d for d in self.lent if _is_meant(d, wanted)]
        return copy.deepcopy({"delegations": fitting[::-1], "live": len(self.lent), "off": self.off})

    def delegation(self, delegation_id: str) -> Json:
        self._read()
        found = {d["id"]: d for d in self.lent}
        if delegation_id not in found:
            raise AbsentError(ErrorCode.UNKNOWN_DELEGATION, f"there is no delegation `{delegation_id}`")
        links = [found[delegation_id]]
        while links[0]["rests_on"]:
            links.insert(0, found[links[0]["rests_on"]])
        names = [links[0]["lender"], *(each["borrower"] for each in links)]
        roles = ["initiator", *(each["role"] for each in links)]
        plane = {"control_plane": "http://127.0.0.1:8420", "credential": None}
        chain = [
            {"name": name, "role": role, "delegation": None} | plane for name, role in zip(names, roles, strict=True)
        ]
        return copy.deepcopy(links[-1] | {"chain": chain, "links": links})

    async def lend(self, *, person: str, borrower: str, purpose: str, lasts: str | None, reason: str) -> Json:
        charter = self.dossier(borrower)["charter"]
        if purpose not in charter.get("delegation", {}).get("purposes", ()):
            raise DeniedError(ErrorCode.BAD_DELEGATION, f"`{borrower}` takes none for `{purpose}`", help="name another")
        self.asked.append(("lend", person, borrower, purpose, lasts, reason))
        self.lent.append(a_delegation(len(self.lent) + 1, lender=person, initiator=person, borrower=borrower))
        return copy.deepcopy(self.lent[-1])

    async def withdraw(self, wanted: Mapping[str, str], *, actor: str, reason: str) -> Json:
        meant = [d for d in self.lent if _is_meant(d, wanted) and d["standing"] == "active"]
        if not meant:
            raise AbsentError(ErrorCode.UNKNOWN_DELEGATION, "there is no live delegation with that")
        for each in meant:
            each |= {"standing": "revoked", "usable": False, "why": "it was withdrawn", "withdrawn_by": actor}
        self.asked.append(("withdraw", dict(wanted), actor, reason))
        return {"count": len(meant), "beneath": 1, "streams": 2, "permits": 3, "index": 17}

    async def switch(self, lender: str, borrower: str, *, is_on: bool, actor: str, reason: str) -> Json:
        self._principal(borrower)
        edge = {"lender": lender, "borrower": borrower}
        self.off = [each for each in self.off if each != edge] + ([] if is_on else [edge])
        self.asked.append(("switch", lender, borrower, is_on, actor, reason))
        return edge | {"state": "on" if is_on else "off"}

    def keeping(self) -> Json:
        self._read()
        rule = {"rule": "customer-pii", "period": "90d", "before": rfc3339(START), "swept_at": None, "reached": None}
        eye = {
            "name": "eye.example/w",
            "url": "https://eye.example",
            "size": 7,
            "at": None,
            "error": None,
            "cosigned": True,
        }
        heads = [{"folder": "/srv/heads", "size": 9, "error": ""}, {"folder": "/gone", "size": 0, "error": "<i>no"}]
        seen = {
            "size": 9,
            "quorum": 1,
            "cosigned": 7,
            "cosigned_by": 1,
            "backlog": 2,
            "witnesses": [eye],
            "kept": heads,
        }
        holds = list(self.holds.values())
        kept = {
            "rules": [rule],
            "under_way": 0,
            "elsewhere": [{"log": "<b>other</b>", "orders": 2}],
            "holds": len(holds),
        }
        return {"retention": kept, "holds": copy.deepcopy(holds), "witnesses": seen}

    async def erase(self, wanted: Mapping[str, Any], *, actor: str, reason: str, really: bool) -> Json:
        if not wanted:
            raise MalformedError(ErrorCode.BAD_VALUE, "nothing is named", help="name a person")
        if really:
            self.asked.append(("erase", dict(wanted), actor, reason))
        entries = [{"index": 5, "time": rfc3339(START), "kind": "verdict"}]
        return {
            "found": 1,
            "held": len(self.holds),
            "erased": int(really),
            "entries": entries,
            "elsewhere": self.elsewhere,
        }

    async def hold(self, wanted: Mapping[str, Any], *, actor: str, reason: str) -> Json:
        made = {"id": f"hld_{len(self.holds)}", "reason": reason, "placed_by": actor, "placed_at": rfc3339(START)}
        self.holds[made["id"]] = made | dict(wanted)
        return made

    async def release_hold(self, hold_id: str, *, actor: str, reason: str) -> Json:
        self.asked.append(("release", hold_id, actor, reason))
        if hold_id not in self.holds:
            raise AbsentError(ErrorCode.BAD_VALUE, "no such hold stands")
        return self.holds.pop(hold_id)

    def credentials(self) -> Json:
        self._read()
        told = copy.deepcopy(self.ages)
        held = sum(each["kind"] == "key" for each in told)
        return {"credentials": told, "principals": held, "overdue": sum(each["overdue"] for each in told)}

    async def rotate_own(self, kind: str, *, at_once: bool, actor: str, reason: str) -> Json:
        self.asked.append(("rotate", kind, at_once, actor, reason))
        if at_once and kind == "x509-intermediate":
            raise MalformedError(ErrorCode.BAD_VALUE, "an intermediate does not leave at once", help="its root does")
        return {"use": kind, "key_id": "a-fresh-one", "state": "active"}

    async def rotate_key(self, name: str, key_id: str, *, at_once: bool, actor: str, reason: str) -> Json:
        self._principal(name)
        if all(each["id"] != key_id for each in self.ages):
            raise AbsentError(ErrorCode.UNKNOWN_KEY, f"`{name}` has no key {key_id!a}", help="charter key ls")
        self.asked.append(("rotate", name, key_id, at_once, actor, reason))
        return {"before": key_id, "after": None, "state": "revoked" if at_once else "asked", "ends": None}

    def findings(self) -> list[Json]:
        self._read()
        return copy.deepcopy(self.found)

    def finding(self, finding_id: str) -> Json:
        self._read()
        found = next((each for each in self.found if each["id"] == finding_id), None)
        if found is None:
            raise AbsentError(ErrorCode.UNKNOWN_FINDING, f"there is no finding `{finding_id}`", help="charter findings")
        entry = {"time": found["first_seen"], "index": 12, "kind": "authentication", "lines": ["by prn_1: a token"]}
        return copy.deepcopy(found | {"entries": [entry]})

    async def settle_finding(self, finding_id: str, state: str, *, actor: str, reason: str) -> Json:
        found = next(each for each in self.found if each["id"] == self.finding(finding_id)["id"])
        if found["state"] == state:
            raise ConflictError(ErrorCode.BAD_MOVE, f"the finding `{finding_id}` is {state}", help="nothing is left")
        found["state"] = state
        found["body"] = found["body"] | {"settled": {"by": actor, "reason": reason}}
        self.asked.append(("settle", finding_id, state, actor, reason))
        return copy.deepcopy(found)

    async def split(self, name: str, *, since: str | None, by: list[str]) -> Json:
        self._principal(name)
        self.asked.append(("split", name, since, tuple(by)))
        if since == "never":
            raise MalformedError(ErrorCode.BAD_VALUE, "`never` is no time", help="write 30d")
        if name == "price-watch":
            raise AbsentError(
                ErrorCode.UNKNOWN_ENTRY, f"the evidence has no call of `{name}`", help="look further back"
            )
        return copy.deepcopy(self.parted)

    async def pictures(self, wanted: Mapping[str, str]) -> list[Picture]:
        self._read()
        self.reviewed = dict(wanted)
        return small()

    async def review(self, wanted: Mapping[str, str]) -> Json:
        self._read()
        self.reviewed = dict(wanted)
        names = (
            "Which AI systems are most active?",
            "Which touch sensitive systems?",
            "Which are repeatedly denied or escalated?",
            "Which permissions are broader than their use?",
            "Which act outside their usual pattern?",
        )
        rows = [
            ["refund-agent", "payments-ops", 412, 7, "2026-11-24", "refund-agent made 81 % of the calls"],
            ["repo-helper", "platform", 96, 0, "2026-11-23", "repo-helper made the others"],
        ]
        return {
            "since": rfc3339(START - dt.timedelta(days=90)),
            "until": rfc3339(START),
            "notes": [],
            "questions": [
                {
                    "question": name,
                    "columns": ["principal", "team", "calls", "refused", "last call", "sentence"],
                    "rows": rows if n != 2 else [],
                    "total": 2 if n != 2 else 0,
                    "meaning": "calls in the period",
                    "sentence": "None in this period." if n == 2 else "2 rows. First: refund-agent.",
                    "sql": "SELECT principal, team, count(*) AS calls\nFROM verdicts\nGROUP BY 1, 2\nORDER BY 3 DESC",
                }
                for n, name in enumerate(names)
            ],
        }

    def status(self) -> Json:
        self._read()
        return {
            "version": "0.1.0",
            "node": "nod_00000000000000000000000001",
            "issuer": "http://127.0.0.1:8420",
            "principals": len(self.principals),
            "systems": 4,
            "healthy": self.healthy,
            "leases": {"in_use": len(self.leases), "overdue": sum(each["overdue"] for each in self.leases)},
            "compositions": {
                "pinned": len(self.made),
                "changed": sum(each["change"] is not None for each in self.made.values()),
            },
            "log_size": len(self.kept) * 3,
        }

    async def admit(self, identity: Identity, *, source: str) -> Access:
        self.admitted.append((identity.email, source))
        return self.access

    async def asking_client(self, client_id: str, redirect_uri: str | None) -> tuple[AskingClient, str]:
        raise AbsentError(ErrorCode.UNKNOWN_PRINCIPAL, f"no principal goes by {client_id} at {redirect_uri}")

    def consent_card(self, principal_id: str, resource: str) -> Json:
        raise AbsentError(ErrorCode.UNKNOWN_PRINCIPAL, f"no {principal_id} at {resource}")

    async def consent(self, *agreed: str, **more: str) -> None:
        self.asked.append(("consent", agreed, more))

    async def consent_to_device(self, *agreed: str, **more: Any) -> None:
        self.asked.append(("consent_to_device", agreed, more))

    def passkeys(self) -> list[Passkey]:
        return list(self.passkeys_kept)

    async def add_passkey(self, answer: Answer, place: Place, *, person: str, name: str) -> Passkey:
        self.asked.append(("add_passkey", answer.challenge, place.host, person, name))
        raise UnauthenticatedError(ErrorCode.NOT_SIGNED_IN, "the new passkey does not verify")

    async def use_passkey(self, _answer: Answer, _place: Place) -> Passkey | None:
        return None

    async def revoke_passkey(self, passkey_id: str, *, person: str) -> Passkey:
        raise AbsentError(ErrorCode.UNKNOWN_KEY, f"there is no passkey {passkey_id} of {person}")

    async def signed_in(self, *, person: str, source: str, door: str = "console") -> None:
        if self.unrecorded:
            raise self.unrecorded
        self.signins.append((person, source if door == "console" else f"{source} ({door})"))

    def _principal(self, name: str) -> Json:
        if name not in self.principals:
            raise AbsentError(
                ErrorCode.UNKNOWN_PRINCIPAL, f"there is no principal `{name}`", help="charter ls shows all of them"
            )
        return self.principals[name]

    def _read(self) -> None:
        if self.broken:
            raise self.broken


class Caller:
    """A browser's half of the conversation, without a browser: keeps the cookie, fills in the form token."""

    def __init__(self, desk: FakeDesk | None = None, *, issuer: str = "http://127.0.0.1:8420") -> None:
        self.desk = desk or FakeDesk()
        self.clock = FixedClock(START)
        self.signin = SignIn(self.clock, CountingEntropy(), "maria@example.com", issuer=issuer)
        self.app = console_app(self.desk, self.signin)
        self.cookie: str | None = None
        self.source = "127.0.0.1"

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> httpx.Response:
        """Send exactly this, with the session's cookie if there is one and `headers` name none."""
        sent = dict(headers or {})
        if self.cookie and "cookie" not in sent:
            sent["cookie"] = f"{self.signin.address.cookie}={self.cookie}"

        async def run() -> httpx.Response:
            wire = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=(self.source, 50_000))
            async with httpx.AsyncClient(transport=wire, base_url=self.signin.address.origin) as client:
                return await client.request(method, path, headers=sent, content=body)

        return asyncio.run(run())

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as the console's own page would."""
        if self.cookie and "form_token" not in fields:
            fields["form_token"] = self.form_token()
        return self.send("POST", path, headers=self.own_form(), body=urlencode(fields))

    def own_form(self) -> dict[str, str]:
        """The headers a browser sends with one of our own forms (the page said `no-referrer`, hence the null)."""
        form = "application/x-www-form-urlencoded"
        return {"content-type": form, "origin": "null", "sec-fetch-site": "same-origin"}

    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.get("/").text)
        assert found, "the inventory has no form with a token"
        return found[1]

    def sign_in(self, link: str | None = None) -> Caller:
        """Redeem a link and keep the cookie; return self."""
        answer = self.send("POST", urlsplit(link or self.signin.link()).path, headers=self.own_form())
        assert answer.status_code == 303, answer.text
        self.cookie = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        return self

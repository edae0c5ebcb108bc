"""Decisions that programs made by the policies they carry (carried.py), reported afterwards: into the evidence, once.

A program keeps what it decided in a spool on its disk before it acts on it, numbered from 1, and reports it in order.

INVARIANT: a decision is recorded once, however often it is reported; the spool's place moves in the same transaction.
INVARIANT: what a program says that it decided is held against what its policies say, and recorded as what it was found
to be: an allow that nothing here bears out stands in the evidence as the verdict that it should have been, with the
word that the call was made all the same.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Protocol

import msgspec

from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import CharterError, ErrorCode, MalformedError
from charter.evidence.entry import Draft, EntryKind
from charter.gateway.call import Bearer, Call
from charter.gateway.carried import MAX_ARGUMENTS, Deed
from charter.gateway.facts import Facts
from charter.gateway.mcp_json import parse_json
from charter.gateway.settle import GatewayWork, Ticket, denial_body, verdict_body
from charter.policy.verdict import Allow, Deny, Layer, Reason, Verdict

SOURCE = "in-process"  # the door, in evidence
RULE = "built-in/carried"
MAX_DECISIONS = 256  # of one report
MAX_REPORT = 8 * 1024 * 1024  # bytes
Id = Annotated[str, msgspec.Meta(pattern=r"^vrd_[0-9a-z]{26}$")]
SpoolId = Annotated[str, msgspec.Meta(pattern=r"^spl_[0-9a-z]{26}$")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class _Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    at: Annotated[str, msgspec.Meta(max_length=40)]
    policies: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
    system: Word
    action: Word
    object: Word
    arguments: dict[str, Any]


class _Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    spool: SpoolId
    first: Number
    decisions: Annotated[list[_Made], msgspec.Meta(min_length=1, max_length=MAX_DECISIONS)]


@dataclass(frozen=True, slots=True)
class Made:
    """One decision that a program made by itself: an allow."""

    number: int  # in its spool
    id: str  # vrd_…
    at: dt.datetime  # as the program took the pipeline's time to be
    policies: str  # digest of what it carried
    deed: Deed


@dataclass(frozen=True, slots=True)
class Report:
    """Some decisions of one spool, in order and without a gap between them."""

    spool: str
    made: tuple[Made, ...]


class Bears(StrEnum):
    """What bears out a decision that a program made."""

    THEN = "then"  # the policies that it carried, which were in force when it was made
    NOW = "now"  # the policies in force when it is reported
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision, and what is said of it here."""

    made: Made
    call: Call
    facts: Facts | None
    verdict: Verdict  # the pipeline's, when it is reported
    bears: Bears


class Spools(Protocol):
    """How far each program's spool came."""

    def through(self, principal_id: str, spool: str) -> int:
        """Return the number of the last decision recorded of a spool; 0: none."""
        ...

    def put(self, principal_id: str, spool: str, through: int, at: dt.datetime) -> None:
        """Keep it."""
        ...


class ReportWork(GatewayWork, Protocol):
    """The slice of the work that reports need."""

    @property
    def spools(self) -> Spools:
        """How far each spool came."""
        ...


def parse_report(data: bytes) -> Report:
    """Return what a program reports.

    Raises:
        MalformedError: it is no report.
    """
    try:
        form = msgspec.convert(parse_json(data), _Report)
        made = tuple(
            Made(form.first + index, each.id, parse_rfc3339(each.at), each.policies, _deed(each))
            for index, each in enumerate(form.decisions)
        )
    except (msgspec.ValidationError, ValueError) as err:
        raise MalformedError(ErrorCode.BAD_REQUEST, f"this is no report: {err}"[:300], help="see docs/sdk.md") from err
    return Report(form.spool, made)


def _deed(made: _Made) -> Deed:
    if len(msgspec.json.encode(made.arguments)) > MAX_ARGUMENTS * 2:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the arguments of `{made.id}` are too large to have been decided")
    return Deed(made.system, made.action, made.object, made.arguments)


def call_of(made: Made) -> Call | None:
    """Return the call that was decided; None if there is none of this kind."""
    try:
        return made.deed.call()
    except CharterError:
        return None


def record_reported(
    tx: ReportWork, bearer: Bearer, spool: str, items: Sequence[Judged], told: Mapping[str, str]
) -> tuple[int, list[Judged]]:
    """Record what is new of a report; return how far its spool is recorded, and the new ones that nothing bears out.

    `told`: the `issuer`, and `taken_by`, the person who brought it where its program does not run any more.
    """
    through = tx.spools.through(bearer.principal_id, spool)
    unborne: list[Judged] = []
    for item in items:
        if item.made.number <= through:
            continue
        missing = item.made.number - through - 1
        tx.record(
            Draft(
                EntryKind.VERDICT,
                bearer.principal_id,
                bearer.principal_id,
                _body(tx, bearer, spool, item, told, missing),
            )
        )
        through = item.made.number
        if item.bears is Bears.NOTHING:
            unborne.append(item)
    tx.spools.put(bearer.principal_id, spool, through, tx.at)
    return through, unborne


def _body(
    tx: ReportWork, bearer: Bearer, spool: str, item: Judged, told: Mapping[str, str], missing: int
) -> dict[str, Any]:
    ticket = Ticket(item.made.id, "", SOURCE, issuer=told["issuer"])
    verdict = item.verdict if item.bears is Bears.NOTHING or isinstance(item.verdict, Allow) else _borne_then(bearer)
    if item.facts is not None:
        body = verdict_body(tx, bearer, item.call, item.facts, verdict, ticket) | {"approval": None}
    else:
        denial = verdict if isinstance(verdict, Deny) else Deny(verdict.reasons)
        body = denial_body(tx, bearer, item.call, denial, ticket)
        body |= {"verdict": "allow" if isinstance(verdict, Allow) else "deny"}
    by = {name: said for name, said in told.items() if name == "taken_by"}
    return body | {"in_process": {**_told(spool, item, missing), **by}}


def _told(spool: str, item: Judged, missing: int) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "at": rfc3339(item.made.at),
        "policies": item.made.policies,
        "spool": spool,
        "number": item.made.number,
        "borne_out_by": item.bears.value,
    }
    return told | ({"missing_before": missing} if missing else {})


def _borne_then(bearer: Bearer) -> Allow:
    text = "the policies that the program carried allowed it, and they were in force then"
    return Allow((Reason(Layer.CHARTER, RULE, text, "", bearer.principal_name),))

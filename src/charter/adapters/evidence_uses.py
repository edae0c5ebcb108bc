"""One principal's calls, read from the evidence as far as it must be to tell who is behind them.

A verdict names the token that it came with; the token's issuance names the credential that obtained it, the key it is
bound to, and the address it was asked for from. Both are read in the order of time, in one pass, in bounded memory.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from charter.adapters import tables as t
from charter.adapters.evidence_store import APART, whole_data
from charter.adapters.payloads import Payloads
from charter.core.clock import parse_rfc3339, rfc3339
from charter.discovery.uses import Call, Feature, with_told
from charter.evidence.entry import EntryKind
from charter.evidence.payload import known

MAX_TOKENS = 100_000  # remembered at a time: tokens live for minutes
TOKEN_LIFE = dt.timedelta(minutes=15)


class _Reason(msgspec.Struct):
    rule: str = ""


class _Chain(msgspec.Struct):
    initiator: str | None = None


class _Verdict(msgspec.Struct):
    verdict: str
    system: str
    tool: str = ""
    action: str | None = None
    effect: str | None = None
    object: str | None = None
    token: str = ""
    source: str | None = None
    client: str | None = None
    data: list[str] = []
    reasons: list[_Reason] = []
    chain: _Chain | None = None


class _Issued(msgspec.Struct):
    key: str | None = None
    token: str | None = None
    bound_to: str | None = None
    source: str | None = None


class _Entry(msgspec.Struct):
    time: str
    kind: str
    body: msgspec.Raw


_entry = msgspec.json.Decoder(_Entry).decode
_verdict = msgspec.json.Decoder(_Verdict).decode
_issued = msgspec.json.Decoder(_Issued).decode
_KINDS = (EntryKind.VERDICT.value, EntryKind.AUTHENTICATION.value)


@dataclass(frozen=True, slots=True)
class Words:
    """How what the evidence names is told: credentials, workloads, places."""

    credential: Callable[[str], str]
    workload: Callable[[str], str | None]
    place: Callable[[str], str]


def calls_of(
    connection: sa.Connection,
    principal_id: str,
    since: dt.datetime,
    until: dt.datetime,
    words: Words,
    payloads: Payloads | None,
) -> Iterator[Call]:
    """Yield the calls of a principal in `since <= time < until`, in the order of time."""
    c = t.evidence_entry.c
    query = (
        sa.select(c.node, c.index, c.data, *APART)
        .where(
            c.principal_id == principal_id,
            c.time >= rfc3339(since - TOKEN_LIFE),
            c.time < rfc3339(until),
            c.kind.in_(_KINDS),
        )
        .order_by(c.time, c.index)
    )
    tokens: OrderedDict[str, _Issued] = OrderedDict()
    for node, index, data, *apart in connection.execute(query, execution_options={"yield_per": 5_000}):
        entry = _entry(whole_data(payloads, (node, index), data, tuple(apart)))
        if entry.kind == EntryKind.AUTHENTICATION.value:
            _remember(tokens, _issued(entry.body))
        elif (at := parse_rfc3339(entry.time)) >= since:
            yield _call(at, _verdict(entry.body), tokens, words)


def _remember(tokens: OrderedDict[str, _Issued], issued: _Issued) -> None:
    if issued.token is None:  # it was refused
        return
    tokens[issued.token] = issued
    if len(tokens) > MAX_TOKENS:
        tokens.popitem(last=False)


def _call(at: dt.datetime, said: _Verdict, tokens: OrderedDict[str, _Issued], words: Words) -> Call:
    issued = tokens.get(said.token, _Issued())
    source = known(said.source or "") or known(issued.source or "")
    call = Call(
        at=at,
        verdict=said.verdict,
        system=said.system,
        action=said.action or said.tool,
        effect=said.effect or "",
        object=known(said.object or ""),
        rule=said.reasons[0].rule if said.reasons else "",
        data=tuple(said.data),
        token=said.token,
        told=(),
    )
    return with_told(
        call,
        (Feature.WORKLOAD, words.workload(issued.key) if issued.key else None),
        (Feature.CREDENTIAL, words.credential(issued.key) if issued.key else None),
        (Feature.KEY, issued.bound_to[:16] if issued.bound_to else None),
        (Feature.INITIATOR, known(said.chain.initiator or "") or None if said.chain else None),
        (Feature.CLIENT, said.client),
        (Feature.PLACE, words.place(source) if source else None),
    )

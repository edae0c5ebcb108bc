"""What was observed of a principal: acts, read from entries of the evidence.

    call        a verdict: what was asked for, under which purpose, and what was decided
    answer      an outcome: how much came back, and what it cost
    proof       a credential was used to obtain something

Evidence holds no arguments, so an act has none: objects, data classes, amounts of data and cost, places and times are
what behaviour is told by.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from charter.core.clock import parse_rfc3339
from charter.evidence.entry import EntryKind
from charter.evidence.payload import known

MAX_WORD = 200  # characters of anything that is kept of an act: callers choose some of it
MAX_DATA = 32  # data classes of one call
KINDS = frozenset({EntryKind.VERDICT.value, EntryKind.OUTCOME.value, EntryKind.AUTHENTICATION.value})
_OUTSIDE = frozenset({"charter", "delegation"})  # layers that say: this is not what it was given


@dataclass(frozen=True, slots=True)
class Call:
    """One verdict."""

    index: int  # of its entry
    at: dt.datetime
    principal: str  # id
    session: str
    system: str
    action: str  # the tool's name where no action is known
    effect: str  # read | write | irreversible, or nothing
    object: str
    verdict: str  # allow | deny | escalate
    layer: str  # of the first reason
    purpose: str  # of the delegation it was made under
    initiator: str  # who began the chain
    point: str  # the enforcement point that asked, if one did
    data: tuple[str, ...]
    network: str  # where it came from, as a network; nothing where it is not told
    verdict_id: str

    @property
    def deed(self) -> str:
        """System and action, as one word."""
        return f"{self.system}/{self.action}"

    @property
    def is_outside(self) -> bool:
        """Whether it was refused because nobody gave it to the principal to do."""
        return self.verdict == "deny" and self.layer in _OUTSIDE


@dataclass(frozen=True, slots=True)
class Answer:
    """One outcome."""

    index: int
    at: dt.datetime
    principal: str
    deed: str  # system/tool
    bytes: int
    cost: float | None  # in the currency of the system's price list
    verdict_id: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One use of a credential."""

    index: int
    at: dt.datetime
    principal: str
    network: str


Act = Call | Answer | Proof


class _Reason(msgspec.Struct):
    layer: str = ""


class _Chain(msgspec.Struct):
    purpose: str | None = None
    initiator: str | None = None


class _Point(msgspec.Struct):
    point: str = ""


class _Sequence(msgspec.Struct):
    session: str = ""


class _Verdict(msgspec.Struct):
    verdict: str
    system: str
    verdict_id: str = ""
    tool: str = ""
    action: str | None = None
    effect: str | None = None
    object: str | None = None
    session: str | None = None
    sequence: _Sequence | None = None
    token: str | None = None
    source: str | None = None
    data: list[str] = []
    reasons: list[_Reason] = []
    chain: _Chain | None = None
    asked_by: _Point | None = None


class _Used(msgspec.Struct):
    cost: Any = None


class _Outcome(msgspec.Struct):
    system: str = ""
    tool: str = ""
    bytes: int = 0
    used: _Used | None = None
    verdict_id: str = ""


class _Authentication(msgspec.Struct):
    outcome: str = ""
    source: str | None = None


class _Entry(msgspec.Struct):
    index: int
    time: str
    kind: str
    principal: str | None = None
    body: Any = None


_entry = msgspec.json.Decoder(_Entry).decode


def act_of(told: bytes | Mapping[str, Any]) -> Act | None:
    """Return the act that an entry of the evidence tells of; None if it tells of none, or in no form known here."""
    try:
        entry = _entry(told) if isinstance(told, bytes) else msgspec.convert(told, _Entry)
        if entry.principal is None or entry.kind not in KINDS:
            return None
        at = parse_rfc3339(entry.time)
        if entry.kind == EntryKind.VERDICT.value:
            return _call(entry, at, msgspec.convert(entry.body, _Verdict))
        if entry.kind == EntryKind.OUTCOME.value:
            return _answer(entry, at, msgspec.convert(entry.body, _Outcome))
        used = msgspec.convert(entry.body, _Authentication)
    except (msgspec.MsgspecError, ValueError):
        return None  # of a version that wrote it otherwise; what cannot be read is nobody's behaviour
    if used.outcome != "issued" or not used.source or not known(used.source):
        return None
    return Proof(entry.index, at, entry.principal, network_of(used.source))


def network_of(address: str, places: Mapping[str, str] | None = None) -> str:
    """Return where an address is, as far as behaviour tells places apart: its /24, or /48 of IPv6.

    An address within a network is nobody's choice for long: cloud and office addresses change, networks hardly.
    """
    network = _network_of(address)
    return (places or {}).get(network, network)


@lru_cache(maxsize=4096)
def _network_of(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return _word(address)
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))  # noqa: PLR2004 - of IP


def folder_of(name: str) -> str:
    """Return an object's folder: `charge/ch_1` is in `charge/*`; what has no folder is its own."""
    head, slash, _ = name.rpartition("/")
    return f"{head}/*" if slash else name


def _call(entry: _Entry, at: dt.datetime, said: _Verdict) -> Call:
    chain = said.chain or _Chain()
    return Call(
        index=entry.index,
        at=at,
        principal=entry.principal or "",
        session=_word((said.sequence.session if said.sequence else "") or said.session or said.token or ""),
        system=_word(said.system),
        action=_word(said.action or said.tool),
        effect=said.effect or "",
        object=_word(known(said.object or "")),
        verdict=said.verdict,
        layer=said.reasons[0].layer if said.reasons else "",
        purpose=_word(chain.purpose or ""),
        initiator=_word(known(chain.initiator or "")),
        point=_word(said.asked_by.point if said.asked_by else ""),
        data=tuple(_word(each) for each in said.data[:MAX_DATA]),
        network=network_of(said.source) if said.source and known(said.source) else "",
        verdict_id=said.verdict_id[:64],
    )


def _answer(entry: _Entry, at: dt.datetime, said: _Outcome) -> Answer:
    cost = said.used.cost if said.used else None
    told = float(cost) if isinstance(cost, str | int | float) else None
    deed = f"{_word(said.system)}/{_word(said.tool)}"
    return Answer(entry.index, at, entry.principal or "", deed, max(0, said.bytes), told, said.verdict_id[:64])


def _word(text: str) -> str:
    """Return a text as it is kept: short, and without what would not print."""
    return text[:MAX_WORD] if text.isprintable() else ascii(text)[1:-1][:MAX_WORD]

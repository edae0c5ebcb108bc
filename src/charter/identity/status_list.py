"""Token status lists (draft-ietf-oauth-status-list): whether tokens may be used now, for who validates them offline.

A token says where to look: `status.status_list.uri`, and there `idx`. The list is a signed JWT that holds two bits for
each index, compressed. It is worked out from what there is anyway: a token's index is that of the evidence entry of its
issuance, so a list stands for 65,536 entries of the log, needs no table, and comes back after a restart.

    0  valid       it may be used
    1  invalid     never again: taken back, or from before its principal's authority, key or delegation was withdrawn
    2  suspended   not now: its system is suspended, an edge is switched off, its charter has expired

INVARIANT: a status is `authority.refusal`'s answer at the moment the list was signed; nothing is remembered of it for
longer than `REFRESH_SECONDS` here, or `TTL_SECONDS` elsewhere.
INVARIANT: strangers read these lists; however often they ask, what it costs is bounded by the time that passes.
"""

from __future__ import annotations

import base64
import datetime as dt
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import msgspec

from charter.evidence.log import Stored
from charter.identity.authority import refusal
from charter.identity.bearer import Bearer, Binding, Confirmation
from charter.identity.claims import LIST_SIZE, MAX_TOKEN_SECONDS, STATUS_PATH, list_address
from charter.identity.issuance import is_target, system_at
from charter.identity.jose import sign_compact
from charter.identity.keys import KeyRing
from charter.registry.principal import LiveEstate
from charter.registry.standing import Standing

TYPE = "statuslist+jwt"
BITS = 2
TTL_SECONDS = 10  # after which a copy is to be fetched again
LIFE_SECONDS = 60  # after which it is not to be used any more
REFRESH_SECONDS = 0.25
_READ_BEHIND = dt.timedelta(seconds=MAX_TOKEN_SECONDS + 60)
_READ_ON = dt.timedelta(seconds=60)  # after longer, what was issued lately is less to read than all there is meanwhile
_ENDED = (Standing.REVOKED, Standing.RETIRED)
_BOUND = Confirmation(Binding.JKT, "")  # to which key does not matter to standing
IssuedSince = Callable[[int | None, dt.datetime], Sequence[Stored]]  # entries of issuances, after an index, in order


class Status(IntEnum):
    """What a list says of a token (section 7.1)."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2


@dataclass(frozen=True, slots=True)
class _Issued:
    """One token, as far as its status depends on it. `holder` is shared by all that differ by their id alone."""

    slot: int
    token_id: str
    holder: Bearer
    resource: str


@dataclass(slots=True)
class _List:
    """One list: the tokens it speaks for, and what was signed of it last."""

    issued: list[_Issued] = field(default_factory=list)
    ends: int = 0  # when the last of them has expired
    signed: tuple[dt.datetime, bytes] | None = None


class StatusLists:
    """The lists of one node's log. Its methods block, and may be called from any thread."""

    def __init__(self, ring: KeyRing, live: LiveEstate, issued_since: IssuedSince, *, issuer: str, node: str) -> None:
        self._ring = ring
        self._live = live
        self._issued_since = issued_since
        self._issuer = issuer
        self._node = node
        self._lock = threading.Lock()
        self._lists: dict[int, _List] = {}
        self._holders: dict[tuple[Bearer, str], Bearer] = {}
        self._last: int | None = None  # the newest entry that was read
        self._read_at: dt.datetime | None = None

    def signed(self, name: str, at: dt.datetime) -> bytes | None:
        """Return the list called `name`, the end of its address; None if there is none, or its tokens have expired."""
        node, _, digits = name.partition("/")
        if node != self._node or not digits.isascii() or not digits.isdigit() or str(int(digits)) != digits:
            return None
        number = int(digits)
        with self._lock:
            self._read(at, is_missing=number not in self._lists and self._may_begin(number))
            found = self._lists.get(number)
            return None if found is None else self._sign(name, found, at)

    def addresses(self, at: dt.datetime) -> list[str]:
        """Return the addresses of all lists there are."""
        with self._lock:
            self._read(at)
            return [list_address(self._issuer, self._node, number) for number in self._lists]

    def _may_begin(self, number: int) -> bool:
        """Return whether a token not read yet may stand in that list: in the newest one, or the one after it."""
        return (self._last or 0) // LIST_SIZE <= number <= (self._last or 0) // LIST_SIZE + 1

    def _read(self, at: dt.datetime, *, is_missing: bool = False) -> None:
        """Read what was issued since the last time; forget lists whose tokens have all expired."""
        if not is_missing and self._read_at is not None and _is_fresh(self._read_at, at):
            return
        now, last = int(at.timestamp()), self._last
        is_long_ago = self._read_at is None or at - self._read_at > _READ_ON
        for stored in self._issued_since(None if is_long_ago else last, at - _READ_BEHIND):
            if last is not None and stored.index <= last:
                continue
            self._last = stored.index
            found = _issuance(stored)
            if found is not None and found.holder.expires_at > now:
                self._take(stored.index // LIST_SIZE, found)
        self._read_at = at
        over = [number for number, each in self._lists.items() if each.ends <= now]
        for number in over:
            del self._lists[number]
        if over:
            held = {id(each.holder) for some in self._lists.values() for each in some.issued}
            self._holders = {key: holder for key, holder in self._holders.items() if id(holder) in held}

    def _take(self, number: int, issued: _Issued) -> None:
        ends = issued.holder.expires_at
        plain = replace(issued.holder, expires_at=0)
        holder = self._holders.setdefault((plain, issued.resource), plain)
        found = self._lists.setdefault(number, _List())
        found.issued.append(replace(issued, holder=holder))
        found.ends = max(found.ends, ends)

    def _sign(self, name: str, found: _List, at: dt.datetime) -> bytes:
        if found.signed is not None and _is_fresh(found.signed[0], at):
            return found.signed[1]
        now, key = int(at.timestamp()), self._ring.token_key()
        claims = {
            "sub": self._issuer + STATUS_PATH + name,
            "iss": self._issuer,
            "iat": now,
            "exp": now + LIFE_SECONDS,
            "ttl": TTL_SECONDS,
            "status_list": {"bits": BITS, "lst": packed(self._statuses(found, at), BITS, LIST_SIZE)},
        }
        header = {"alg": "ES256", "kid": key.id, "typ": TYPE}
        token = sign_compact(header, claims, key.private).encode()
        found.signed = (at, token)
        return token

    def _statuses(self, found: _List, at: dt.datetime) -> dict[int, Status]:
        """Return the status of each token that is not simply valid."""
        known: dict[int, Status] = {}  # by identity of the holder
        statuses: dict[int, Status] = {}
        for each in found.issued:
            status = known.get(id(each.holder))
            if status is None:
                status = known[id(each.holder)] = self._status(each.holder, each.resource, at)
            if each.token_id in self._live.revoked_tokens:
                status = Status.INVALID
            if status is not Status.VALID:
                statuses[each.slot] = status
        return statuses

    def _status(self, holder: Bearer, resource: str, at: dt.datetime) -> Status:
        record = system_at(self._live, self._issuer, resource)
        if not is_target(self._live, self._issuer, resource) or _is_over(self._live, holder):
            return Status.INVALID
        return Status.VALID if refusal(self._live, holder, record, at=at) is None else Status.SUSPENDED


def packed(statuses: Mapping[int, int], bits: int, size: int) -> str:
    """Return `lst`: `size` statuses of `bits` each, the first in the lowest bits of the first byte, compressed."""
    octets = bytearray(size * bits // 8)
    per_octet = 8 // bits
    for slot, status in statuses.items():
        octets[slot // per_octet] |= status << (slot % per_octet * bits)
    return base64.urlsafe_b64encode(zlib.compress(bytes(octets), 9)).rstrip(b"=").decode()


def _is_fresh(then: dt.datetime, at: dt.datetime) -> bool:
    return 0 <= (at - then).total_seconds() < REFRESH_SECONDS


def _issuance(stored: Stored) -> _Issued | None:
    """Return the token whose issuance is recorded there; None if it is the entry of something else."""
    body = msgspec.json.decode(stored.data).get("body", {})
    if body.get("outcome") != "issued" or not isinstance(body.get("token"), str) or stored.principal is None:
        return None
    holder = Bearer(
        principal_id=stored.principal,
        principal_name="",
        epoch=body["epoch"],
        charter_digest="",
        token_id="",
        credential=body["key"],
        expires_at=body["expires"],
        bound_to=_BOUND if body["bound_to"] else None,
        delegation=body.get("delegation"),
        initiator=body.get("initiator") if body.get("delegation") else None,
    )
    return _Issued(stored.index % LIST_SIZE, body["token"], holder, body["resource"])


def _is_over(live: LiveEstate, holder: Bearer) -> bool:
    """Return whether no change could let the token be used again; what is only held back is not over."""
    principal, key = live.principals.get(holder.principal_id), live.keys.get(holder.credential)
    if principal is None or principal.standing in _ENDED or principal.epoch != holder.epoch:
        return True
    if key is None or key.standing in _ENDED:
        return True
    if holder.delegation is None:
        return False
    chain = live.delegations.chain_of(holder.delegation)
    return chain is None or any(link.standing in _ENDED for link in chain.links)

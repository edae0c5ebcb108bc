"""The delegations in memory: what every call under one reads, in columns of plain numbers.

A million live delegations must be asked about in microseconds and fit in bounded memory, so a row is some ninety bytes
in arrays, and what repeats (parties, purposes, scopes, keys, issuers) is kept once and counted. There is no list of
what hangs beneath a delegation: a chain is read upwards from its end, at most eight steps, so whatever was withdrawn
above is found there, and withdrawing costs one byte however much hangs beneath.

INVARIANT: only the database writer changes the book, after its commit. A reader may run at any moment: a row is found
once it is whole, is not used again before it has been expired for an hour, and what is read must bear the id asked for.
INVARIANT: a chain that cannot be read whole is no chain.
"""

from __future__ import annotations

from array import array
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Hashable
from typing import Generic, TypeVar

from charter.core.entropy import encode_base32
from charter.registry.delegation import HUMANS, MAX_DEPTH, Chain, Delegation, Link, Role, is_person
from charter.registry.delegation_index import RowIndex, number_of
from charter.registry.lent_scope import Scope
from charter.registry.standing import Standing

GRACE_SECONDS = 3600  # how long an expired row is left alone
MAX_SWEPT = 10_000  # rows at a time, so that the writer is not held up
_NONE = 0xFFFF_FFFF
_HASH = 32  # bytes
_UNPROVED = bytes(_HASH)
_LOW = (1 << 64) - 1
_ROLES, _STANDINGS = tuple(Role), tuple(Standing)
_ROLE_AT = {role: at for at, role in enumerate(_ROLES)}
_STANDING_AT = {standing: at for at, standing in enumerate(_STANDINGS)}
_ROW_TYPES = {  # column -> the array's type: Q eight bytes, I four, B one
    "high": "Q",
    "low": "Q",
    "parent": "I",
    "lender": "I",
    "borrower": "I",
    "purpose": "I",
    "scope": "I",
    "plane": "I",
    "credential": "I",
    "epoch": "I",
    "made": "I",
    "expires": "I",
    "role": "B",
    "standing": "B",
}
T = TypeVar("T", bound=Hashable)


class Pool(Generic[T]):
    """Values kept once, however many rows name them, by number; forgotten with the last row that does."""

    def __init__(self) -> None:
        self.values: list[T | None] = []
        self._numbers: dict[T, int] = {}
        self._uses = array("I")
        self._free: list[int] = []

    def take(self, value: T) -> int:
        """Return the number of `value`, one use more."""
        number = self._numbers.get(value)
        if number is None:
            number = self._add(value)
        self._uses[number] += 1
        return number

    def give(self, number: int) -> None:
        """Count one use less."""
        self._uses[number] -= 1
        value = self.values[number]
        if not self._uses[number] and value is not None:
            del self._numbers[value]
            self.values[number] = None
            self._free.append(number)

    def at(self, number: int) -> T:
        """Return the value with that number."""
        value = self.values[number]
        if value is None:
            raise LookupError(number)
        return value

    def count_of(self, value: T) -> int:
        """Return how often `value` is used."""
        number = self._numbers.get(value)
        return 0 if number is None else self._uses[number]

    def __len__(self) -> int:
        return len(self._numbers)

    def _add(self, value: T) -> int:
        if self._free:
            number = self._free.pop()
            self.values[number] = value
        else:
            number = len(self.values)
            self.values.append(value)
            self._uses.append(0)
        self._numbers[value] = number
        return number


class DelegationBook:
    """All delegations that are not long expired, by id; and which lender may not lend to which borrower for now."""

    def __init__(self) -> None:
        self._columns = {name: array(kind) for name, kind in _ROW_TYPES.items()}
        self._high, self._low = self._columns["high"], self._columns["low"]
        self._proofs = bytearray()  # 32 bytes a row; zeros where the delegation is not accepted yet
        self._index = RowIndex(self._number_at)
        self._free: list[int] = []
        self._due: dict[int, array[int]] = {}  # hour of expiry -> rows
        self._parties: Pool[str] = Pool()
        self._texts: Pool[str] = Pool()  # purposes, issuers, thumbprints
        self._scopes: Pool[Scope] = Pool()
        self.switched_off: frozenset[tuple[str, str]] = frozenset()  # (party or `humans`, borrower)

    def __len__(self) -> int:
        return len(self._index)

    # --- reading ---

    def count_of(self, party: str) -> int:
        """Return how many delegations a party is lender or borrower of."""
        return self._parties.count_of(party)

    def link(self, delegation_id: str) -> Link | None:
        """Return one delegation."""
        row = self._row_of(delegation_id)
        found = None if row is None else self._link(row)
        return found if found is not None and found.id == delegation_id else None

    def chain_of(self, delegation_id: str | None) -> Chain | None:
        """Return the chain that the delegation ends, as it stands now; None if any of it is not known."""
        row = self._row_of(delegation_id) if delegation_id is not None else None
        links: list[Link] = []
        parents = self._columns["parent"]
        try:
            while row is not None:
                links.append(self._link(row))
                above = parents[row]
                row = None if above == _NONE else above
                if len(links) > MAX_DEPTH:
                    return None
        except LookupError:
            return None
        if not links or links[0].id != delegation_id:  # spelt otherwise, or swept away while it was read
            return None
        return Chain(tuple(reversed(links)))

    def is_switched_off(self, lender: str, borrower: str) -> bool:
        """Whether `lender` may not lend to `borrower` for now."""
        off = self.switched_off
        return bool(off) and ((lender, borrower) in off or (is_person(lender) and (HUMANS, borrower) in off))

    def _row_of(self, delegation_id: str) -> int | None:
        number = number_of(delegation_id)
        return None if number is None else self._index.find(number)

    def _number_at(self, row: int) -> int:
        return self._high[row] << 64 | self._low[row]

    def _link(self, row: int) -> Link:
        c = self._columns
        lender, borrower = self._parties.at(c["lender"][row]), self._parties.at(c["borrower"][row])
        credential, epoch = c["credential"][row], c["epoch"][row]
        return Link(
            id=f"del_{encode_base32(self._number_at(row))}",
            lender=lender,
            borrower=borrower,
            role=_ROLES[c["role"][row]],
            control_plane=self._texts.at(c["plane"][row]),
            purpose=self._texts.at(c["purpose"][row]),
            scope=self._scopes.at(c["scope"][row]),
            made_at=c["made"][row],
            expires_at=c["expires"][row],
            standing=_STANDINGS[c["standing"][row]],
            lender_epoch=None if epoch == _NONE else epoch,
            lender_credential=None if credential == _NONE else self._texts.at(credential),
            proof=self._proof(row),
            is_switched_off=self.is_switched_off(lender, borrower),
        )

    def _proof(self, row: int) -> str | None:
        raw = bytes(self._proofs[row * _HASH : (row + 1) * _HASH])
        return None if raw == _UNPROVED else urlsafe_b64encode(raw).rstrip(b"=").decode()

    # --- changing: the writer alone ---

    def add(self, delegation: Delegation) -> None:
        """Show a new delegation.

        Raises:
            ValueError: its id is of another form or there already, or what it rests on is not there.
        """
        link, number = delegation.link, number_of(delegation.id)
        if number is None or self._index.find(number) is not None:
            raise ValueError(f"{delegation.id} cannot be added")
        parent = None if delegation.parent is None else self._row_of(delegation.parent)
        if delegation.parent is not None and parent is None:
            raise ValueError(f"{delegation.id} rests on {delegation.parent}, which is not there")
        row = self._fill(number, link, _NONE if parent is None else parent)
        self._due.setdefault(link.expires_at // GRACE_SECONDS, array("I")).append(row)
        self._index.put(number, row)

    def withdraw(self, delegation_id: str) -> None:
        """Show a delegation as withdrawn; one that is not there is gone already."""
        row = self._row_of(delegation_id)
        if row is not None:
            self._columns["standing"][row] = _STANDING_AT[Standing.REVOKED]

    def accept(self, delegation_id: str, proof: str) -> None:
        """Show a delegation as accepted by the proof with that hash."""
        row = self._row_of(delegation_id)
        if row is not None:
            self._proofs[row * _HASH : (row + 1) * _HASH] = _hash_of(proof)

    def switch(self, lender: str, borrower: str, *, is_on: bool) -> None:
        """Show whether `lender`, a party or `humans`, may lend to `borrower` at all."""
        pair = frozenset({(lender, borrower)})
        self.switched_off = self.switched_off - pair if is_on else self.switched_off | pair

    def sweep(self, now: int, *, most: int = MAX_SWEPT) -> int:
        """Forget at most `most` of those that expired more than an hour before `now`, in seconds since 1970.

        Return how many rows that were. What hangs beneath a delegation expires no later than it, so what is left
        hanging for a while is expired too.
        """
        swept = 0
        for hour in sorted(hour for hour in self._due if (hour + 2) * GRACE_SECONDS <= now):
            rows = self._due[hour]
            while rows and swept < most:
                self._forget(rows.pop())
                swept += 1
            if not rows:
                del self._due[hour]
        return swept

    def _fill(self, number: int, link: Link, parent: int) -> int:
        values = {
            "high": number >> 64,
            "low": number & _LOW,
            "parent": parent,
            "lender": self._parties.take(link.lender),
            "borrower": self._parties.take(link.borrower),
            "purpose": self._texts.take(link.purpose),
            "scope": self._scopes.take(link.scope),
            "plane": self._texts.take(link.control_plane),
            "credential": _NONE if link.lender_credential is None else self._texts.take(link.lender_credential),
            "epoch": _NONE if link.lender_epoch is None else link.lender_epoch,
            "made": link.made_at,
            "expires": link.expires_at,
            "role": _ROLE_AT[link.role],
            "standing": _STANDING_AT[link.standing],
        }
        proof = _UNPROVED if link.proof is None else _hash_of(link.proof)
        if self._free:
            row = self._free.pop()
            for name, value in values.items():
                self._columns[name][row] = value
            self._proofs[row * _HASH : (row + 1) * _HASH] = proof
            return row
        for name, value in values.items():
            self._columns[name].append(value)
        self._proofs += proof
        return len(self._high) - 1

    def _forget(self, row: int) -> None:
        c = self._columns
        self._index.drop(self._number_at(row))
        self._parties.give(c["lender"][row])
        self._parties.give(c["borrower"][row])
        self._texts.give(c["purpose"][row])
        self._texts.give(c["plane"][row])
        self._scopes.give(c["scope"][row])
        if c["credential"][row] != _NONE:
            self._texts.give(c["credential"][row])
        self._free.append(row)

    @property
    def bytes_held(self) -> int:
        """How much memory rows and index take; what they share comes on top."""
        rows = sum(len(column) * column.itemsize for column in self._columns.values())
        due = sum(len(each) * each.itemsize for each in self._due.values())
        return rows + due + len(self._proofs) + self._index.bytes_held


def _hash_of(proof: str) -> bytes:
    return urlsafe_b64decode(proof + "=")

"""A permit is worth exactly one call, once, from the ledger that made it."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from msgspec import structs

from charter.core.errors import IntegrityError
from charter.gateway.call import Call
from charter.gateway.permit import PERMIT_SECONDS, Permit, PermitLedger
from fakes import FixedClock

CALL = Call("payments", "create_refund", {"amount": 5}, "sha256:" + "a" * 64, "sha256:" + "b" * 64)


def issued(ledger: PermitLedger) -> Permit:
    return ledger.issue(verdict_id="vrd_1", principal_id="prn_1", call=CALL)


def test_a_permit_is_spent_once() -> None:
    ledger = PermitLedger(FixedClock())
    permit = issued(ledger)
    ledger.redeem(permit, CALL)
    with pytest.raises(IntegrityError, match="already spent"):
        ledger.redeem(permit, CALL)


def test_a_replaced_copied_or_pickled_permit_is_worthless() -> None:
    ledger = PermitLedger(FixedClock())
    permit = issued(ledger)
    for forged in (dataclasses.replace(permit), copy.copy(permit), copy.deepcopy(permit)):
        if forged is not permit:
            with pytest.raises(IntegrityError):
                ledger.redeem(forged, CALL)
    with pytest.raises(IntegrityError):
        ledger.redeem(pickle.loads(pickle.dumps(permit)), CALL)  # noqa: S301 - the attack


def test_a_handmade_permit_is_worthless() -> None:
    ledger = PermitLedger(FixedClock())
    with pytest.raises(IntegrityError):
        ledger.redeem(Permit("vrd_1", "prn_1", "payments", CALL.digest, 1e12), CALL)


def test_a_permit_of_another_ledger_is_worthless() -> None:
    clock = FixedClock()
    with pytest.raises(IntegrityError):
        PermitLedger(clock).redeem(issued(PermitLedger(clock)), CALL)


@pytest.mark.parametrize("change", [{"digest": "sha256:" + "c" * 64}, {"system": "mail"}])
def test_a_permit_for_another_call_is_worthless_and_gone(change: dict[str, str]) -> None:
    ledger = PermitLedger(FixedClock())
    permit = issued(ledger)
    with pytest.raises(IntegrityError, match="another call"):
        ledger.redeem(permit, structs.replace(CALL, **change))
    with pytest.raises(IntegrityError):
        ledger.redeem(permit, CALL)


def test_a_late_permit_is_worthless() -> None:
    clock = FixedClock()
    ledger = PermitLedger(clock)
    permit = issued(ledger)
    clock.advance(seconds=PERMIT_SECONDS)
    with pytest.raises(IntegrityError, match="expired"):
        ledger.redeem(permit, CALL)


def test_withdrawn_permits_are_worthless_and_only_that_principals() -> None:
    ledger = PermitLedger(FixedClock())
    mine = issued(ledger)
    other = ledger.issue(verdict_id="vrd_2", principal_id="prn_2", call=CALL)
    assert ledger.withdraw("prn_1") == 1
    with pytest.raises(IntegrityError):
        ledger.redeem(mine, CALL)
    ledger.redeem(other, CALL)

"""Slices, requests and decisions for tests, bound and evaluated by the real engine.

verdict = decided(a_charter(), "refund.create", {"charge_id": "ch_1", "amount": 50, "currency": "EUR"})
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from builders import a_charter, a_system
from charter.adapters.cedar import CedarEngine
from charter.core.values import Source
from charter.policy.decide import decide
from charter.policy.guardrail import Guardrail, parse_guardrails
from charter.policy.request import NO_CHAIN, Asker, ChainFacts, Request, build_request
from charter.policy.slice import Slice, bind_slice
from charter.policy.verdict import Verdict
from charter.registry.central import NOTHING, Central
from charter.registry.charter import Charter
from charter.registry.system import System

ENGINE = CedarEngine()
TUESDAY_NOON = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)  # 13:00 in Berlin
REFUND = {"charge_id": "ch_1", "amount": 50, "currency": "EUR"}


def an_asker(charter: Charter, *, restrained: bool = False) -> Asker:
    """Return the principal of `charter` as policy sees it."""
    return Asker(
        "prn_1",
        charter.principal,
        charter.kind.value,
        charter.environment,
        charter.owner.team,
        restrained=restrained,
    )


def guards(text: str, path: str = "guardrails/house.cedar") -> tuple[Guardrail, ...]:
    """Return the guardrails that `text` holds."""
    return parse_guardrails(path, text, ENGINE)


def bound(
    charter: Charter | None = None,
    *,
    system: System | None = None,
    guardrails: Iterable[Guardrail] = (),
    sources: Mapping[str, Source] | None = None,
    central: Central = NOTHING,
) -> Slice:
    """Return the slice of `charter` over one system."""
    known = system or a_system()
    return bind_slice(charter or a_charter(), sources or {}, {known.system: known}, tuple(guardrails), ENGINE, central)


def a_request(
    action: str = "refund.create",
    arguments: Mapping[str, Any] = REFUND,
    *,
    charter: Charter | None = None,
    system: System | None = None,
    at: dt.datetime = TUESDAY_NOON,
    approvals: Iterable[str] = (),
    restrained: bool = False,
    chain: ChainFacts = NO_CHAIN,
) -> Request:
    """Return one call of the charter's principal."""
    asker = an_asker(charter or a_charter(), restrained=restrained)
    made = build_request(asker, system or a_system(), action, arguments, at, frozenset(approvals))
    return replace(made, chain=chain)


def decided(
    charter: Charter | None = None,
    action: str = "refund.create",
    arguments: Mapping[str, Any] = REFUND,
    *,
    system: System | None = None,
    guardrails: Iterable[Guardrail] = (),
    sources: Mapping[str, Source] | None = None,
    **given: Any,
) -> Verdict:
    """Return the verdict on one call of the charter's principal."""
    slice_ = bound(charter, system=system, guardrails=guardrails, sources=sources)
    return decide(slice_, a_request(action, arguments, charter=charter, system=system, **given), ENGINE)

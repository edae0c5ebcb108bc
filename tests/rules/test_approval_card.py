"""The card of a waiting call: what it shows, what it masks, what it finds different from usual."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.bootstrap import authority, inventory
from charter.lifecycle.approval_card import Past, PastCall, card_of, masked, plain_card, unusual, visible
from charter.registry.approval import Approval, ApprovalState
from houses import a_house

AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)


def asking(**changed: Any) -> Approval:
    call = {
        "principal": "refund-agent",
        "system": "payments",
        "tool": "create_refund",
        "action": "refund.create",
        "effect": "irreversible",
        "object": "charge/ch_1",
        "arguments": {"charge_id": "ch_1", "amount": 150, "currency": "EUR"},
        "why": ["a refund over 100 EUR needs a yes"],
    }
    return Approval(
        "apr_1", "prn_1", "sha256:0", call | changed, ("lead", "lead/2"), {}, ApprovalState.WAITING, AT,
        AT + dt.timedelta(hours=24), "vrd_1",
    )  # fmt: skip


def past(count: int = 30, **changed: Any) -> PastCall:
    facts: dict[str, Any] = {
        "at": AT - dt.timedelta(days=count % 20 + 1),
        "system": "payments",
        "action": "refund.create",
        "object": "charge/ch_1",
        "amounts": {"amount": (Decimal(100 + count % 10), "EUR")},
    }
    return PastCall(**(facts | changed))


def signs(approval: Approval, calls: list[PastCall], amount: str = "105", unit: str = "EUR", **more: Any) -> list[str]:
    found = unusual(approval, Past(calls, {"amount": (Decimal(amount), unit)}, **more))
    return [each["sign"] for each in found]


USUAL = [past(number) for number in range(30)]


@pytest.mark.parametrize(
    ("approval", "calls", "amount", "expected"),
    [
        (asking(), [], "105", ["nothing"]),
        (asking(), USUAL, "105", []),
        (asking(), [past(system="crm")], "105", ["system"]),
        (asking(), [past(action="charge.read")], "105", ["action"]),
        (asking(object="charge/ch_2"), USUAL, "105", ["object"]),
        (asking(object="vault/x"), USUAL, "105", ["place"]),
        (asking(), USUAL, "110", ["amount"]),
        (asking(), USUAL[:4], "900", []),  # too few to know
        (asking(), [past(n, amounts={"amount": (Decimal(n), "EUR")}) for n in range(1, 101)], "99", []),
        (asking(), [*USUAL, past(amounts={"amount": (Decimal(9000), "EUR")})], "500", ["amount"]),
        (asking(), [past(n, at=AT.replace(hour=20)) for n in range(30)], "105", ["hour"]),
        (asking(), [past(n, at=AT.replace(hour=20)) for n in range(19)], "105", []),
    ],
)  # fmt: skip
def test_what_is_different_from_usual(
    approval: Approval, calls: list[PastCall], amount: str, expected: list[str]
) -> None:
    assert signs(approval, calls, amount) == expected


def test_another_unit_and_another_counterparty_are_told() -> None:
    spent = [asking(arguments={"charge_id": "ch_1", "iban": "DE1", "currency": "EUR"})]
    here = asking(arguments={"charge_id": "ch_1", "iban": "DE2", "currency": "EUR"})
    assert signs(here, USUAL, "5", "BTC", approved=spent) == ["unit", "argument"]


KEY = "sk-" + "a1B2" * 8


def test_only_the_credential_is_masked_and_nothing_hides_beside_it() -> None:
    said = masked({"note": f"pay DE99 now {KEY} thanks", "api_key": "hunter2hunter2hunter2", "password": "x y"})
    assert said["note"].startswith("pay DE99 now [masked: 35 characters, sha256 ")
    assert said["note"].endswith(" thanks")
    assert said["api_key"].startswith("[masked: 21 characters, sha256 ")
    assert said["password"] == "x y"
    assert masked({"secret": "1234"}) == {"secret": "[masked: 4 characters]"}  # a digest would give it away


@given(st.text(max_size=60))
def test_no_text_poses_as_a_line_of_the_card(text: str) -> None:
    """Whatever an argument says, each line of the card is ours or is set in and marked."""
    named = card_of(asking(arguments={"note": text}, object=text, why=[text]), None, Past())
    heads = ("Who asks:", "On behalf:", "Would do:", "Object:", "Arguments:", "Different from usual:", "Held because:")
    lines = plain_card(named).split("\n")
    assert sum(line.startswith(heads) for line in lines) == len(heads)
    assert all(line.startswith((*heads, "  ")) for line in lines)
    assert not any(ord(each) in (*range(0x202A, 0x202F), 0x1B, 0x200B) for line in lines for each in line)


def test_what_cannot_be_seen_is_written_out() -> None:
    assert visible("a\u202eb\u200b\x1b[2J") == "a⟨U+202E⟩b⟨U+200B⟩⟨U+001B⟩[2J"
    card = card_of(asking(arguments={"to": "p\u0430ypal"}), None, Past())
    assert "look alike" in card["arguments"][0]["note"]


def test_a_card_is_made_from_the_evidence_of_the_house(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer = stage.bearer()

        def refund(amount: int, charge: str = "ch_1") -> Any:
            said = {"charge_id": charge, "amount": amount, "currency": "EUR"}
            return stage.submit(bearer, stage.make("create_refund", said))[0]

        for _ in range(6):
            refund(20)
        first = refund(150).approval_id
        card = inventory.approval_cards(stage.house, [inventory.approval(stage.house, first)])[0]["card"]
        assert [each["sign"] for each in card["unusual"]] == ["amount"]
        assert "150 EUR, more than ever: usually 20, at most 20 EUR" in card["unusual"][0]["text"]
        assert card["usual"] == "compared with 6 calls let through in 30 days"
        assert card["asks"]["owner"] == "maria@example.com (payments-ops)"
        assert {each["name"]: each.get("amount") for each in card["arguments"]}["amount"] == "150 EUR"
        asyncio.run(authority.answer(stage.house, first, yes=True, person="lena@example.com", reason="seen"))
        refund(150)
        second = refund(150, "ch_2").approval_id
        card = inventory.approval_cards(stage.house, [inventory.approval(stage.house, second)])[0]["card"]
        assert [each["sign"] for each in card["unusual"]] == ["object", "amount"]

"""Agent cards in a house: adopted, looked at, held against what a charter pins; keys from files and named hosts."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from agent_cards import CardKey, a_card, a_key, as_bytes, signed_by
from charter.adapters.document_fetch import DocumentFetcher, FetchError
from charter.bootstrap import cards, composition
from charter.bootstrap.estate import check_files
from charter.core.errors import AbsentError, MalformedError
from charter.discovery.adopt import word
from charter.discovery.adopt_card import draft_from_card, name_of
from charter.identity.agent_card import read_card
from charter.identity.card_signature import CardProof, Signed, verify_card
from charter.registry.estate import NO_TEAMS
from charter.registry.problem import EstateError
from charter.registry.record import FindingState
from charter.registry.standing import Standing
from fakes import FixedClock
from hostile import NASTY
from houses import Stage, a_house, estate_files
from tls_server import WebAuthority, a_tls_server

KEY = a_key()
AT = FixedClock().now()


def digest(card: dict[str, Any]) -> str:
    return read_card(as_bytes(card)).digest


def pinning(card: dict[str, Any]) -> dict[str, str]:
    return estate_files(composition={"card": digest(card)})


def look(stage: Stage, card: dict[str, Any], *keys: CardKey, principal: str | None = None) -> dict[str, Any]:
    sets = [{"keys": [key.jwk for key in keys]}] if keys else []
    shown = cards.Shown(as_bytes(card).decode(), sets, "card.json")
    return asyncio.run(cards.look(stage.house, shown, principal=principal, actor="test@example.com"))


def unproven(stage: Stage) -> list[Any]:
    return stage.house.database.read(lambda tx: list(tx.registry.findings.of_kinds([cards.UNPROVEN])))


def standing(stage: Stage) -> Standing:
    return stage.house.principal("refund-agent").standing


# --- drafts ---


def test_a_draft_lacks_only_what_a_person_must_say_and_pins_the_card() -> None:
    card = read_card(as_bytes(a_card()))
    name, text = draft_from_card(card, CardProof(Signed.TRUSTED, "key-1"), "card.json", teams=NO_TEAMS.value, at=AT)
    assert name == "route-planner"
    assert f"composition: {{card: {card.digest}}}" in text
    files = estate_files() | {f"principals/{name}.yaml": text}
    with pytest.raises(EstateError) as told:
        check_files(files, FixedClock())
    missing = [problem.text for problem in told.value.problems]
    assert sorted(missing) == [
        f"`{field}` is missing" for field in ("approved", "environment", "expires", "model", "owner", "purpose")
    ]


@pytest.mark.parametrize("words", [each for each in NASTY if each.isprintable() or "\n" in each][:40])
def test_whatever_a_card_says_its_draft_has_no_line_of_its_own(words: str) -> None:
    words = words.encode("utf-8", "replace").decode()
    skill = a_card()["skills"][0] | {"name": words or "x", "id": f"{words}\ngrants: [everything]"}
    card = read_card(
        as_bytes(a_card(name=f"{words}\nkind: copilot", description=f"{words}\n\u202eapproved", skills=[skill]))
    )
    name, text = draft_from_card(card, CardProof(Signed.UNSIGNED), f"x\n{words}", teams=NO_TEAMS.value, at=AT)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        "charter: v1",
        f"principal: {word(name)}",
        "kind: agent",
        "grants: []  # nothing is allowed until someone grants it",
        "credential: {type: private-key-jwt}",
        f"composition: {{card: {card.digest}}}",
        "review: 90d",
    ]
    assert "\u202e" not in text


@pytest.mark.parametrize("name", ["", "---", "日本語", "\u202e", "true", "a" * 300])
def test_a_principal_always_gets_a_name_that_can_be_one(name: str) -> None:
    assert len(name_of(read_card(as_bytes(a_card(name=name))))) in range(1, 64)


# --- looking at a card ---


def test_a_card_that_a_trusted_key_signed_is_no_finding(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        told = look(stage, signed_by(KEY, a_card()), KEY)
        assert (told["outcome"], told["key"], told["finding"]) == ("trusted", "key-1", None)
        assert told["digest"] == digest(a_card())
        assert unproven(stage) == []


@pytest.mark.parametrize(
    ("card", "keys", "outcome"),
    [
        (a_card(), [KEY], "unsigned"),
        (signed_by(KEY, a_card()), [], "unchecked"),
        (signed_by(a_key("other"), a_card()), [KEY], "untrusted"),
        (signed_by(KEY, a_card()) | {"name": "Route planner"}, [KEY], "bad"),
    ],
)
def test_any_other_is_a_finding_once_and_gone_when_it_is_signed(
    tmp_path: Path, card: dict[str, Any], keys: list[CardKey], outcome: str
) -> None:
    with a_house(tmp_path) as stage:
        told = look(stage, card, *keys)
        assert told["outcome"] == outcome
        assert look(stage, card, *keys)["finding"] == told["finding"]
        (finding,) = unproven(stage)
        assert finding.state is FindingState.OPEN
        plain = {name: value for name, value in card.items() if name != "signatures"}
        look(stage, signed_by(KEY, plain), KEY)
        (finding,) = unproven(stage)
        assert finding.state is FindingState.RESOLVED


def test_the_pinned_card_signed_is_attested(tmp_path: Path) -> None:
    with a_house(tmp_path, files=pinning(a_card())) as stage:
        told = look(stage, signed_by(KEY, a_card()), KEY, principal="refund-agent")
        (part,) = told["composition"]["parts"]
        assert part["attested_by"] == "the signature of key-1"
        assert standing(stage) is Standing.ACTIVE


def test_the_pinned_card_unsigned_stays_declared_and_is_a_finding(tmp_path: Path) -> None:
    with a_house(tmp_path, files=pinning(a_card())) as stage:
        told = look(stage, a_card(), KEY, principal="refund-agent")
        assert told["composition"]["parts"][0]["attested_by"] == "declared"
        assert told["finding"] == unproven(stage)[0].id
        assert standing(stage) is Standing.ACTIVE


@pytest.mark.parametrize("keys", [[KEY], []])
def test_another_card_than_the_pinned_one_is_a_change_whoever_signed_it(tmp_path: Path, keys: list[CardKey]) -> None:
    with a_house(tmp_path, files=pinning(a_card())) as stage:
        other = a_card(version="2.0.0")
        told = look(stage, signed_by(KEY, other), *keys, principal="refund-agent")
        assert standing(stage) is Standing.RESTRAINED
        (changed,) = told["composition"]["changes"]
        assert (changed["was"], changed["now"]) == ([digest(a_card())], [digest(other)])
        review = composition.review(
            stage.house, "refund-agent", told["composition"]["change"], person="alex@example.com", reason="version 2"
        )
        assert asyncio.run(review)["standing"] == "active"


def test_a_principal_that_pins_no_card_is_held_against_none(tmp_path: Path) -> None:
    with a_house(tmp_path, files=estate_files(composition={"tools": "granted"})) as stage:
        with pytest.raises(AbsentError, match="pins no agent card"):
            look(stage, a_card(), principal="refund-agent")
        with pytest.raises(AbsentError, match="pins nothing"):
            look(stage, a_card(), principal="charge-reader")
        with pytest.raises(AbsentError, match="no principal"):
            look(stage, a_card(), principal="nobody")


# --- where cards and keys come from ---


def gather(where: str, context: ssl.SSLContext, *hosts: str) -> cards.Shown:
    return asyncio.run(cards.gather(where, None, hosts, DocumentFetcher(tls=lambda: context)))


def test_a_card_and_the_keys_of_a_named_host_are_fetched_over_https() -> None:
    authority = WebAuthority.fresh()
    with a_tls_server({}, authority.server()) as server:
        card = signed_by(KEY, a_card(), jku=server.url("/jwks.json"))
        server.documents |= {"/.well-known/agent-card.json": card, "/jwks.json": {"keys": [KEY.jwk]}}
        shown = gather(server.base, authority.trusting(), "127.0.0.1")
        assert server.asked == ["/.well-known/agent-card.json", "/jwks.json"]
        keys = [key for each in shown.keys for key in cards.parse_key_set(each)]
        assert verify_card(read_card(shown.card.encode()), keys).outcome is Signed.TRUSTED


def test_the_keys_of_a_host_that_nobody_named_are_not_asked_for() -> None:
    authority = WebAuthority.fresh()
    with a_tls_server({}, authority.server()) as server:
        card = signed_by(KEY, a_card(), jku=server.url("/jwks.json"))
        server.documents |= {"/card": card, "/jwks.json": {"keys": [KEY.jwk]}}
        shown = gather(server.url("/card"), authority.trusting(), "routes.example.com")
        assert server.asked == ["/card"]
        assert shown.keys == []


def test_a_card_is_not_fetched_past_a_redirect_a_wrong_certificate_or_its_bound() -> None:
    authority = WebAuthority.fresh()
    with a_tls_server({}, authority.server()) as server:
        server.documents |= {
            "/moved": lambda: (302, {"location": server.url("/card")}, b""),
            "/card": a_card(),
            "/large": a_card(description="a" * 300_000),
        }
        with pytest.raises(FetchError, match="status 302"):
            gather(server.url("/moved"), authority.trusting())
        with pytest.raises(FetchError, match="more than"):
            gather(server.url("/large"), authority.trusting())
        with pytest.raises(FetchError, match="could not be reached"):
            gather(server.url("/card"), ssl.create_default_context())


def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_bytes(as_bytes(signed_by(KEY, a_card())))
    keys = tmp_path / "keys.json"
    for text in ("", "[]", "{", "null"):
        keys.write_text(text, encoding="utf-8")
        with pytest.raises(MalformedError, match="no JWK Set"):
            asyncio.run(cards.gather(str(card), keys, ()))
    keys.write_text(json.dumps({"keys": [KEY.jwk]}), encoding="utf-8")
    shown = asyncio.run(cards.gather(str(card), keys, ()))
    assert (shown.where, len(shown.keys)) == (str(card), 1)


def test_a_private_key_in_a_key_set_counts_for_nothing(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        private = KEY.private.as_dict(private=True) | {"kid": "key-1"}
        shown = cards.Shown(as_bytes(signed_by(KEY, a_card())).decode(), [{"keys": [private]}], "card.json")
        with pytest.raises(MalformedError, match="no key that fits"):
            asyncio.run(cards.look(stage.house, shown, principal=None, actor="test@example.com"))

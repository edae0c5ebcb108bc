"""Delegation abused: authority that would grow, chains forged and spliced, tokens of others, links long withdrawn.

Each is refused with the error of RFC 8693 section 2.2.2 and leaves no delegation behind. Peers had these: `may_act` not
enforced and rogue actor tokens taken (keycloak/keycloak#50690), `act` left out of introspection (keycloak/keycloak
#53029), `sub` and `act` the wrong way round (zeroid), disabled links that went on working (highflame-ai/zeroid#89).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.bootstrap import authority
from charter.core.canonical import canonical
from charter.core.clock import Deadline
from charter.core.errors import CharterError, UnauthenticatedError
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.actor_proof import TYPE
from charter.identity.exchange import ACCESS_TOKEN, DELEGATION
from charter.identity.jose import encode_base64url
from charter.registry.standing import Move
from delegations import MARIA
from identity_stage import LEDGER, PAYMENTS, ClientKeyPair
from lending_stage import CHAIN, PURPOSE, Lending, a_lending, lending_charters, lending_files
from oauth_door import Answer

JO, ALEX = "jo@example.com", "alex@example.com"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
ASKING: list[dict[str, Any]] = [
    {"system": "payments", "actions": ["charge.read"]},
    {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}},
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Lending]:
    with a_lending(tmp_path) as found:
        yield found


@contextmanager
def leaving_nothing(stage: Lending) -> Iterator[None]:
    """Whatever happens inside makes no delegation and accepts none."""
    before = len(stage.stage.house.live.delegations), len(stage.stage.entries("delegation.accepted"))
    yield
    assert (len(stage.stage.house.live.delegations), len(stage.stage.entries("delegation.accepted"))) == before


def refused(answer: Answer, said: str, error: str = "invalid_request") -> None:
    assert (answer.status, answer.body.get("error")) == (400, error), answer.body
    assert said in answer.body["error_description"], answer.body
    assert "access_token" not in answer.body


def scope(*actions: str, **more: Any) -> str:
    return json.dumps([{"type": "charter_scope", "system": "payments", "actions": list(actions)} | more])


# --- who may exchange what ---


def test_a_token_that_names_nobody_cannot_be_exchanged(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"))
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", flow), "names nobody who may act for it")


def test_a_token_can_be_exchanged_only_by_whom_it_names(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    with leaving_nothing(stage):
        for thief in ("charge-tool", "rogue-agent"):
            refused(stage.ask_exchange(thief, flow), "names another than the client")


def test_a_lender_cannot_name_whom_its_charter_does_not(stage: Lending) -> None:
    loan = stage.lend("triage-flow")
    for named in ("charge-tool", "rogue-agent", "nobody", "prn_" + "0" * 26):
        refused(stage.ask_redeem("triage-flow", loan, may_act=named), "does not let it lend authority to")
        answer = stage.door.post(
            "/oauth/token",
            grant_type="client_credentials",
            resource=PAYMENTS,
            may_act=named,
            purpose=PURPOSE,
            **stage.client("triage-flow"),
        )
        refused(answer, "does not let it lend authority to")


def test_a_delegation_to_another_principal_cannot_be_redeemed(stage: Lending) -> None:
    loan = stage.lend("refund-agent")
    with leaving_nothing(stage):
        for thief in ("triage-flow", "rogue-agent"):
            proof = stage.proof(thief, subject=MARIA, onto=loan)
            refused(stage.ask(thief, loan, DELEGATION, actor_proof=proof), "names no delegation to this client")


@pytest.mark.parametrize("name", ["", "del_", "del_" + "0" * 26, "x" * 5000, "prn_" + "0" * 26])
def test_a_made_up_delegation_is_none(stage: Lending, name: str) -> None:
    answer = stage.ask("refund-agent", name, DELEGATION)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


def test_a_rogue_actor_token_is_refused_although_the_subject_token_is_good(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    rogue = stage.own_token("rogue-agent")
    with leaving_nothing(stage):
        answer = stage.ask_exchange("refund-agent", flow, actor_token=rogue, actor_token_type=ACCESS_TOKEN)
        refused(answer, "the actor token is 'rogue-agent''s")


@pytest.mark.parametrize(
    "forge", [lambda t: t[:-4] + "AAAA", lambda t: t.replace(".", "..", 1), lambda _: "x", lambda _: "ey" * 4000]
)
def test_a_forged_actor_or_subject_token_is_refused(stage: Lending, forge: Callable[[str], str]) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    own = stage.own_token("refund-agent")
    proof = stage.proof("refund-agent", subject=MARIA, onto=stage.delegation_of(flow))
    with leaving_nothing(stage):
        refused(stage.ask("refund-agent", forge(flow), actor_proof=proof), "as subject token")
        answer = stage.ask_exchange("refund-agent", flow, actor_token=forge(own), actor_token_type=ACCESS_TOKEN)
        refused(answer, "as actor token")


def test_an_actor_token_that_is_itself_lent_is_refused(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    lent = stage.redeem("refund-agent", stage.lend("refund-agent", JO))
    with leaving_nothing(stage):
        answer = stage.ask_exchange("refund-agent", flow, actor_token=lent, actor_token_type=ACCESS_TOKEN)
        refused(answer, "itself one under delegation")


@pytest.mark.parametrize(
    "more",
    [{"actor_token": "x"}, {"actor_token_type": ACCESS_TOKEN}, {"actor_token": "x", "actor_token_type": "urn:other"}],
)
def test_an_actor_token_goes_with_its_type(stage: Lending, more: dict[str, str]) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    refused(stage.ask_exchange("refund-agent", flow, **more), "go together")


def test_ones_own_actor_token_changes_nothing(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    own = stage.own_token("refund-agent")
    assert stage.exchange("refund-agent", flow, actor_token=own, actor_token_type=ACCESS_TOKEN)


def test_a_subject_token_of_another_audience_is_refused(stage: Lending) -> None:
    files = lending_files() | {"systems/ledger.yaml": _as_ledger(lending_files()["systems/payments.yaml"])}
    grants = [{"system": name, "actions": ["charge.read"]} for name in ("payments", "ledger")]
    for name in CHAIN:
        files[f"principals/{name}.yaml"] = canonical(
            {k: v for k, v in (lending_charters()[name] | {"grants": grants}).items() if v is not None}
        ).decode()
    stage.stage.apply(files)
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    with leaving_nothing(stage):
        answer = stage.ask_exchange("refund-agent", flow, resource=LEDGER)
        refused(answer, "made out to another system")


def _as_ledger(text: str) -> str:
    return text.replace('"system":"payments"', '"system":"ledger"')


@pytest.mark.parametrize(
    ("more", "said", "error"),
    [
        ({"resource": ""}, "no system is at", "invalid_target"),
        ({"resource": "http://127.0.0.1:8420/mcp/nowhere"}, "no system is at", "invalid_target"),
        ({"resource": PAYMENTS + "/"}, "no system is at", "invalid_target"),
        ({"audience": "payments"}, "'audience' is not used here", "invalid_target"),
        ({"scope": "everything"}, "there are no scopes here", "invalid_scope"),
        (
            {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
            "only access tokens",
            "invalid_request",
        ),
        ({"subject_token_type": ""}, "'subject_token_type' is missing", "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "type is not known", "invalid_request"),
        ({"authorization_details": "{}"}, "are no list", "invalid_authorization_details"),
        ({"authorization_details": '[{"type":"other"}]'}, "are no list", "invalid_authorization_details"),
        ({"authorization_details": "[" * 1500}, "are no list", "invalid_authorization_details"),
        ({"authorization_details": '[{"type":"charter_scope","system":"../x"}]'}, "names a thing", "invalid_request"),
        ({"purpose": "travel"}, "not the one that the subject token was made for", "invalid_request"),
    ],
)
def test_a_request_that_is_not_of_its_form_is_told_so(
    stage: Lending, more: dict[str, str], said: str, error: str
) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", flow, **more), said, error)


# --- authority that would grow ---


def test_a_hop_cannot_widen_what_was_lent(stage: Lending) -> None:
    loan = stage.lend(
        "triage-flow", scope=[{"system": "payments", "actions": ["charge.read"], "objects": ["charge/ch_1"]}]
    )
    flow = stage.redeem("triage-flow", loan, may_act="refund-agent")
    with leaving_nothing(stage):
        for wider in (
            scope("refund.create"),
            scope("*"),
            scope("charge.read"),
            scope("charge.read", objects=["charge/*"]),
            json.dumps([{"type": "charter_scope", "system": "ledger"}]),
        ):
            refused(stage.ask_exchange("refund-agent", flow, authorization_details=wider), "'triage-flow' cannot lend")


def test_a_delegation_of_reading_lets_nobody_beneath_it_write(stage: Lending) -> None:
    loan = stage.lend("triage-flow", scope=[{"system": "payments", "actions": ["charge.read"]}])
    flow = stage.redeem("triage-flow", loan, may_act="refund-agent")
    agent = stage.exchange("refund-agent", flow)
    assert isinstance(stage.call(agent), Admitted)
    denied = stage.refund(agent)
    assert isinstance(denied, Refused)
    assert denied.verdict.reasons[0].rule == loan


def test_nobody_can_lend_for_longer_than_their_charter_says(stage: Lending) -> None:
    with pytest.raises(CharterError, match="longer than the 1h that the charter of `triage-flow` allows"):
        stage.lend("triage-flow", lasts="2h")


def test_a_hop_cannot_last_longer_than_the_one_above(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow", lasts="5m"), may_act="refund-agent")
    token = stage.exchange("refund-agent", flow)
    links = stage.stage.house.live.delegations.chain_of(stage.delegation_of(token))
    assert links is not None
    assert links.links[1].expires_at == links.links[0].expires_at


def test_no_chain_goes_in_a_circle(tmp_path: Path) -> None:
    lent = {"from": ["humans", "refund-agent"], "to": ["refund-agent"], "purposes": [PURPOSE], "max_depth": 8}
    back = {"from": ["humans", "triage-flow"], "to": ["triage-flow"], "purposes": [PURPOSE], "max_depth": 8}
    files = lending_files({"triage-flow": {"delegation": lent}, "refund-agent": {"delegation": back}})
    with a_lending(tmp_path, files=files) as stage:
        agent = stage.exchange(
            "refund-agent",
            stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent"),
            may_act="triage-flow",
        )
        with leaving_nothing(stage):
            refused(stage.ask_exchange("triage-flow", agent), "'triage-flow' is in this chain already")


def test_a_principal_cannot_exchange_its_own_token(tmp_path: Path) -> None:
    own = {"from": ["humans", "refund-agent"], "to": ["refund-agent"], "purposes": [PURPOSE]}
    with a_lending(tmp_path, files=lending_files({"refund-agent": {"delegation": own}})) as stage:
        token = stage.own_token("refund-agent", may_act="refund-agent", purpose=PURPOSE)
        with leaving_nothing(stage):
            refused(stage.ask_exchange("refund-agent", token), "in this chain already")


def test_no_chain_is_deeper_than_any_of_its_charters_allows(tmp_path: Path) -> None:
    shallow = {"from": ["humans"], "to": ["refund-agent"], "purposes": [PURPOSE], "max_depth": 2}
    with a_lending(tmp_path, files=lending_files({"triage-flow": {"delegation": shallow}})) as stage:
        agent = stage.chain("triage-flow", "refund-agent")[-1]
        assert isinstance(stage.call(agent), Admitted)
        answer = stage.ask_redeem("refund-agent", stage.delegation_of(agent), may_act="charge-tool")
        with leaving_nothing(stage):
            found = stage.ask_exchange("charge-tool", answer.body["access_token"])
            refused(found, "3 delegations in a row are more than the 2 that the charter of 'triage-flow' allows")


# --- proofs ---


def test_a_proof_cannot_be_used_twice(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    proof = stage.proof(
        "refund-agent", subject=MARIA, onto=stage.delegation_of(flow), previous=stage.claims(flow)["chain"]["proof"]
    )
    assert stage.exchange("refund-agent", flow, actor_proof=proof)
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", flow, actor_proof=proof), "was used before")


def test_a_proof_by_anothers_key_is_refused(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    given: dict[str, Any] = {
        "subject": MARIA,
        "onto": stage.delegation_of(flow),
        "previous": stage.claims(flow)["chain"]["proof"],
    }
    with leaving_nothing(stage):
        for signer in (stage.pair("triage-flow"), ClientKeyPair.fresh(stage.id("refund-agent"))):
            forged = stage.proof("refund-agent", signer=signer, **given)
            refused(stage.ask_exchange("refund-agent", flow, actor_proof=forged), "not signed with a key of its actor")


def test_a_proof_by_a_revoked_key_is_refused(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    old = stage.pair("refund-agent")
    proof = stage.proof(
        "refund-agent", subject=MARIA, onto=stage.delegation_of(flow), previous=stage.claims(flow)["chain"]["proof"]
    )
    house = stage.stage.house
    asyncio.run(authority.revoke_key(house, "refund-agent", old.thumbprint, actor="test@example.com", reason="lost"))
    del stage.pairs["refund-agent"]
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", flow, actor_proof=proof), "not signed with a key of its actor")


def test_links_of_two_chains_cannot_be_spliced(stage: Lending) -> None:
    """Maria's workflow token, and the agent's proof that it takes part in jo's chain: neither may lend to the other."""
    marias = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    jos = stage.redeem("triage-flow", stage.lend("triage-flow", JO), may_act="refund-agent")
    other = {"subject": JO, "onto": stage.delegation_of(jos), "previous": stage.claims(jos)["chain"]["proof"]}
    own: dict[str, Any] = {
        "subject": MARIA,
        "onto": stage.delegation_of(marias),
        "previous": stage.claims(marias)["chain"]["proof"],
    }
    with leaving_nothing(stage):
        for name, value in other.items():
            mixed = stage.proof("refund-agent", **(own | {name: value}))
            assert stage.ask_exchange("refund-agent", marias, actor_proof=mixed).body["error"] == "invalid_request"
        whole = stage.proof("refund-agent", **other)
        refused(stage.ask_exchange("refund-agent", marias, actor_proof=whole), "is for another initiator")


def test_two_chains_of_the_same_initiator_cannot_be_spliced(stage: Lending) -> None:
    one, other = (stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent") for _ in range(2))
    proof = stage.proof(
        "refund-agent", subject=MARIA, onto=stage.delegation_of(other), previous=stage.claims(other)["chain"]["proof"]
    )
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", one, actor_proof=proof), "does not hang on")


def test_a_proof_without_the_hash_of_the_one_before_starts_no_new_chain_within_one(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    proof = stage.proof("refund-agent", subject=MARIA, onto=stage.delegation_of(flow))
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", flow, actor_proof=proof), "does not continue the proofs")


def test_a_client_assertion_or_dpop_proof_is_no_actor_proof(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    assertion = stage.pair("refund-agent").assertion(stage.stage.clock.now())
    with leaving_nothing(stage):
        refused(stage.ask_exchange("refund-agent", flow, actor_proof=assertion), f"another type than '{TYPE}'")


def test_an_actor_proof_is_no_client_assertion(stage: Lending) -> None:
    loan = stage.lend("refund-agent")
    proof = stage.proof("refund-agent", subject=MARIA, onto=loan)
    answer = stage.door.post(
        "/oauth/token", grant_type="client_credentials", resource=PAYMENTS, **stage.door.client(proof)
    )
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


# --- tokens made up ---


def test_act_that_nests_without_end_is_refused_unread(stage: Lending) -> None:
    act: dict[str, Any] = {"sub": "a", "iss": "b"}
    for _ in range(60):
        act = {"sub": "a", "iss": "b", "act": act}
    forged = stage.pair("refund-agent").signed(canonical({"sub": MARIA, "act": act}), {"typ": "at+jwt", "kid": "x"})
    deep = encode_base64url(("{" + '"act":{' * 600 + "}" * 601).encode())
    with leaving_nothing(stage):
        refused(stage.ask("refund-agent", forged), "as subject token")
        refused(stage.ask("refund-agent", "e30." + deep + ".x"), "as subject token")


def test_introspection_neither_drops_nor_turns_round_the_actors(stage: Lending) -> None:
    for name, token in zip(CHAIN, stage.chain(*CHAIN), strict=True):
        told, claims = stage.introspected(name, token), stage.claims(token)
        assert (told["sub"], told["act"]) == (claims["sub"], claims["act"])
        assert told["act"]["sub"] == stage.id(name) != told["sub"]


def test_introspection_of_a_chain_with_a_withdrawn_link_tells_nothing(stage: Lending) -> None:
    tokens = stage.chain(*CHAIN)
    stage.withdraw(link=stage.delegation_of(tokens[0]))
    for name, token in zip(CHAIN, tokens, strict=True):
        assert stage.introspected(name, token) == {"active": False}


# --- confused deputies ---


def test_an_approval_for_one_initiator_is_not_spent_on_a_call_for_another(tmp_path: Path) -> None:
    asking = [
        {"system": "payments", "actions": ["charge.read"]},
        {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}},
    ]
    with a_lending(tmp_path, files=lending_files({"refund-agent": {"grants": asking}})) as stage:
        marias, jos = (
            stage.redeem("refund-agent", stage.lend("refund-agent", who)) for who in ("alex@example.com", JO)
        )
        held = stage.refund(marias)
        assert isinstance(held, Refused)
        deed = authority.answer(
            stage.stage.house, str(held.approval_id), yes=True, person="lena@example.com", reason="seen"
        )
        asyncio.run(deed)
        assert isinstance(stage.refund(jos), Refused)
        assert isinstance(stage.refund(stage.own_token("refund-agent")), Refused)
        assert isinstance(stage.refund(marias), Admitted)


def test_the_initiator_cannot_approve_what_is_done_for_them(tmp_path: Path) -> None:
    asking = [
        {"system": "payments", "actions": ["charge.read"]},
        {"system": "payments", "actions": ["refund.create"], "approval": {"by": "payments-lead"}},
    ]
    with a_lending(tmp_path, files=lending_files({"refund-agent": {"grants": asking}})) as stage:
        token = stage.redeem("refund-agent", stage.lend("refund-agent", "lena@example.com"))
        held = stage.refund(token)
        assert isinstance(held, Refused)
        for spelling in ("lena@example.com", "Lena@Example.com"):
            deed = authority.answer(stage.stage.house, str(held.approval_id), yes=True, person=spelling, reason="mine")
            with pytest.raises(CharterError, match="on behalf of"):
                asyncio.run(deed)


def test_an_mcp_session_opened_for_one_initiator_is_not_joined_for_another(stage: Lending) -> None:
    from charter.core.errors import AbsentError
    from charter.gateway.mcp_sessions import Sessions

    house = stage.stage.house
    sessions = Sessions(stage.stage.clock, house.entropy)
    one, other = (stage.bearer(stage.redeem("refund-agent", stage.lend("refund-agent", who))) for who in (MARIA, JO))
    kept = sessions.open(one.principal_id, "payments", "2025-11-25", delegation=one.delegation)
    for delegation in (other.delegation, None):
        with pytest.raises(AbsentError):
            sessions.get(kept.id, other.principal_id, "payments", delegation=delegation)


# --- links withdrawn ---


def works(stage: Lending, token: str) -> bool:
    """Return whether a token is good for anything at the gateway."""
    try:
        return isinstance(stage.call(token), Admitted)
    except UnauthenticatedError:
        return False


def test_withdrawing_a_middle_link_stops_what_is_beneath_it_and_nothing_beside_it(stage: Lending) -> None:
    tokens = stage.chain(*CHAIN)
    beside = stage.exchange(
        "refund-agent", stage.redeem("triage-flow", stage.delegation_of(tokens[0]), may_act="refund-agent")
    )
    others = stage.chain(*CHAIN, person=JO)
    stage.withdraw(link=stage.delegation_of(tokens[1]))
    assert [works(stage, token) for token in tokens] == [True, False, False]
    assert works(stage, beside)
    assert all(works(stage, token) for token in others)


def test_withdrawing_by_person_agent_and_purpose_stops_exactly_those(tmp_path: Path) -> None:
    two = {
        name: {"delegation": charter["delegation"] | {"purposes": [PURPOSE, "travel"]}}
        for name, charter in lending_charters().items()
        if charter["delegation"]
    }
    for wanted, stopped in (
        ({"person": MARIA}, {"maria", "maria-travel"}),
        ({"agent": "triage-flow"}, {"maria", "jo"}),
        ({"purpose": "travel"}, {"maria-travel"}),
        ({"person": JO, "agent": "triage-flow"}, {"jo"}),
    ):
        folder = tmp_path / "-".join(wanted)
        folder.mkdir()
        with a_lending(folder, files=lending_files(two)) as stage:
            tokens = {
                "maria": stage.chain("triage-flow", "refund-agent")[-1],
                "jo": stage.chain("triage-flow", "refund-agent", person=JO)[-1],
                "maria-travel": _travel(stage),
            }
            stage.withdraw(**wanted)
            assert {name for name, token in tokens.items() if not works(stage, token)} == stopped


def _travel(stage: Lending) -> str:
    loan = stage.lend("refund-agent", purpose="travel")
    proof = stage.proof("refund-agent", subject=MARIA, onto=loan, target={"aud": [PAYMENTS], "purpose": "travel"})
    return stage.redeem("refund-agent", loan, actor_proof=proof)


def test_an_edge_that_is_switched_off_stops_what_was_lent_by_it_and_comes_back_with_it(stage: Lending) -> None:
    flow, agent, tool = stage.chain(*CHAIN)
    direct = stage.redeem("refund-agent", stage.lend("refund-agent"))
    stage.switch("triage-flow", "refund-agent", is_on=False)
    assert [works(stage, token) for token in (flow, agent, tool, direct)] == [True, False, False, True]
    again = stage.redeem("triage-flow", stage.delegation_of(flow), may_act="refund-agent")
    refused(
        stage.ask_exchange("refund-agent", again), "delegation from 'triage-flow' to 'refund-agent' is switched off"
    )
    stage.switch("triage-flow", "refund-agent", is_on=True)
    assert [works(stage, token) for token in (flow, agent, tool)] == [True, True, True]
    stage.switch("humans", "refund-agent", is_on=False)
    assert [works(stage, token) for token in (agent, tool, direct)] == [True, True, False]


def test_an_expired_link_stops_the_chain(stage: Lending) -> None:
    loan = stage.lend("triage-flow", lasts="2m")
    token = stage.exchange("refund-agent", stage.redeem("triage-flow", loan, may_act="refund-agent"))
    assert works(stage, token)
    stage.stage.clock.advance(seconds=121)
    assert not works(stage, token)
    answer = stage.ask("refund-agent", stage.delegation_of(token), DELEGATION)
    refused(answer, "ended at")


@pytest.mark.parametrize("who", CHAIN)
@pytest.mark.parametrize("move", [Move.SUSPEND, Move.KILL, Move.RETIRE])
def test_nothing_is_exchanged_or_called_after_any_link_is_killed(stage: Lending, who: str, move: Move) -> None:
    tokens = stage.chain(*CHAIN)
    ahead = stage.redeem("refund-agent", stage.delegation_of(tokens[1]), may_act="charge-tool")
    asyncio.run(authority.move(stage.stage.house, who, move, actor="pia@example.com", reason="a test"))
    at = CHAIN.index(who)
    for depth, (name, token) in enumerate(zip(CHAIN, tokens, strict=True)):
        assert works(stage, token) is (depth < at)
        answer = stage.ask("refund-agent" if name == who else name, stage.delegation_of(token), DELEGATION)
        assert (answer.status == 200) is (depth < at)
    assert stage.ask_exchange("charge-tool", ahead).status != 200


def test_a_suspended_and_resumed_lender_has_to_lend_again(stage: Lending) -> None:
    agent = stage.chain("triage-flow", "refund-agent")[-1]
    for move in (Move.SUSPEND, Move.RESUME):
        asyncio.run(authority.move(stage.stage.house, "triage-flow", move, actor="pia@example.com", reason="a test"))
    assert not works(stage, agent)
    assert works(stage, stage.chain("triage-flow", "refund-agent")[-1])


def test_a_lenders_revoked_key_takes_what_it_lent_with_it(stage: Lending) -> None:
    flow, agent, tool = stage.chain(*CHAIN)
    deed = authority.revoke_key(
        stage.stage.house,
        "refund-agent",
        stage.pair("refund-agent").thumbprint,
        actor="test@example.com",
        reason="lost",
    )
    asyncio.run(deed)
    assert [works(stage, token) for token in (flow, agent, tool)] == [True, False, False]


def test_a_charter_that_stops_naming_a_borrower_stops_what_was_lent(stage: Lending) -> None:
    token = stage.chain("triage-flow", "refund-agent")[-1]
    assert works(stage, token)
    stage.stage.apply(
        lending_files({"triage-flow": {"delegation": {"from": ["humans"], "purposes": [PURPOSE], "max_depth": 3}}})
    )
    denied = stage.call(token)
    assert isinstance(denied, Refused)
    assert "does not let it lend authority to `refund-agent`" in denied.verdict.reasons[0].text


def test_an_open_call_ends_when_a_link_above_it_is_withdrawn(stage: Lending) -> None:
    flow, _, tool = stage.chain(*CHAIN)

    async def call() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        from charter.bootstrap import delegation

        house = stage.stage.house
        stage.stage.upstream.gate = asyncio.Event()
        made = stage.stage.make("get_charge", {"charge_id": "ch_1"})
        found = await house.pipeline.submit(
            stage.bearer(tool), made, Deadline.after(stage.stage.clock, 5), source="test"
        )
        assert isinstance(found, Admitted)
        messages = aiter(found.messages)
        first = await anext(messages)
        done = await delegation.withdraw(
            house, {"link": stage.delegation_of(flow)}, actor="x@example.com", reason="now"
        )
        rest = [message async for message in messages]
        await house.pipeline.settled()
        return [first, *rest], done

    (first, last), done = asyncio.run(call())
    assert "method" in first
    assert last["error"]["data"] == {"layer": "standing"}
    assert done["streams"] == 1
    assert stage.stage.entries("outcome")[-1]["body"]["outcome"] == "withdrawn"


# --- whatever is done in whatever order ---


@settings(max_examples=12)
@given(st.data())
def test_withdrawing_a_link_stops_exactly_the_chains_that_hold_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    with a_lending(tmp_path_factory.mktemp("chains")) as stage:
        tokens: list[str] = []
        for _ in range(data.draw(st.integers(1, 3))):
            depth = data.draw(st.integers(1, 3))
            tokens += stage.chain(*CHAIN[:depth], person=data.draw(st.sampled_from([MARIA, JO])))
        chains = {token: stage.stage.house.live.delegations.chain_of(stage.delegation_of(token)) for token in tokens}
        gone: set[str] = set()
        for _ in range(data.draw(st.integers(1, 3))):
            alive = sorted({link.id for chain in chains.values() if chain for link in chain.links} - gone)
            if not alive:
                break
            one = data.draw(st.sampled_from(alive))
            stage.withdraw(link=one)
            gone.add(one)
            for token, chain in chains.items():
                assert chain is not None
                assert works(stage, token) is gone.isdisjoint(chain.rests_on)

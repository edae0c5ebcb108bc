"""Token exchange end to end: chains made, told, decided along, and kept over a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import PAYMENTS_SYSTEM
from charter.bootstrap import delegation, evidence
from charter.bootstrap.tending import _tend_once
from charter.core.canonical import canonical
from charter.core.errors import AbsentError, DeniedError, UnauthenticatedError
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.actor_proof import verify_chain
from charter.identity.exchange import ACCESS_TOKEN, DELEGATION
from charter.identity.jose import parse_public_jwk
from charter.policy.verdict import Escalate, Layer
from charter.registry.directory import Group, Person
from delegations import MARIA
from houses import a_house
from identity_stage import ISSUER, PAYMENTS
from lending_stage import CHAIN, PURPOSE, Lending, a_lending, lending_files


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Lending]:
    with a_lending(tmp_path) as found:
        yield found


def actors(claims: dict[str, Any]) -> list[str]:
    """Return the names in nested `act`, outermost first."""
    found, act = [], claims.get("act")
    while act:
        found.append(act["name"])
        act = act.get("act")
    return found


# --- what a token says ---


def test_sub_is_the_initiator_and_act_the_actors_with_the_current_one_outermost(stage: Lending) -> None:
    for depth, token in enumerate(stage.chain(*CHAIN), start=1):
        claims = stage.claims(token)
        assert (claims["sub"], claims["sub_profile"]) == (MARIA, "user")
        assert actors(claims) == list(reversed(CHAIN[:depth]))
        assert claims["client_id"] == claims["act"]["sub"] == stage.id(CHAIN[depth - 1])
        assert "name" not in claims
        assert claims["chain"]["depth"] == depth


def test_introspection_tells_the_same_chain_as_the_token_and_the_proofs_of_it(stage: Lending) -> None:
    token = stage.chain(*CHAIN)[-1]
    claims, told = stage.claims(token), stage.introspected(CHAIN[-1], token)
    assert {name: told[name] for name in claims} == claims
    assert told["actor_proofs_complete"] is True
    keys = {stage.id(name): [parse_public_jwk(stage.pair(name).jwk)] for name in CHAIN}
    verified = verify_chain(
        told["actor_proofs"],
        act=told["act"],
        subject=told["sub"],
        audience=PAYMENTS,
        keys_of=lambda issuer, actor: keys[actor] if issuer == ISSUER else [],
    )
    assert verified[-1].digest == claims["chain"]["proof"]


def test_roles_follow_from_what_the_parties_are(stage: Lending) -> None:
    act = stage.claims(stage.chain(*CHAIN)[-1])["act"]
    assert [act["act"]["act"]["role"], act["act"]["role"], act["role"]] == ["carrier", "decider", "executor"]


def test_a_principal_may_begin_a_chain_of_its_own(stage: Lending) -> None:
    own = stage.own_token("triage-flow", may_act="refund-agent", purpose=PURPOSE)
    claims = stage.claims(stage.exchange("refund-agent", own))
    assert (claims["sub"], claims["sub_profile"]) == (stage.id("triage-flow"), "service")
    assert actors(claims) == ["refund-agent"]


def test_the_answer_is_that_of_the_rfc(stage: Lending) -> None:
    answer = stage.ask_redeem("refund-agent", stage.lend("refund-agent"))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body["issued_token_type"] == ACCESS_TOKEN
    assert answer.body["token_type"] == "Bearer"
    assert answer.body["expires_in"] == 300
    assert answer.body["delegation"].startswith("del_")


def test_a_token_outlives_neither_its_delegation_nor_its_proof(stage: Lending) -> None:
    loan = stage.lend("refund-agent", lasts="2m")
    assert stage.ask_redeem("refund-agent", loan).body["expires_in"] == 120
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    now = int(stage.stage.clock.now().timestamp())
    short = stage.proof(
        "refund-agent",
        subject=MARIA,
        onto=stage.delegation_of(flow),
        previous=stage.claims(flow)["chain"]["proof"],
        exp=now + 300,
    )
    token = stage.exchange("refund-agent", flow, actor_proof=short)
    link = stage.stage.house.live.delegations.link(stage.delegation_of(token))
    assert link is not None
    assert link.expires_at == now + 300


def test_a_delegation_is_accepted_once_and_redeemed_as_often_as_it_lasts(stage: Lending) -> None:
    loan = stage.lend("refund-agent")
    first = stage.redeem("refund-agent", loan)
    second = stage.ask("refund-agent", loan, DELEGATION)
    assert second.status == 200
    assert stage.claims(second.body["access_token"])["chain"] == stage.claims(first)["chain"]
    assert len(stage.stage.entries("delegation.accepted")) == 1


def test_a_delegation_is_not_redeemed_before_it_is_accepted(stage: Lending) -> None:
    answer = stage.ask("refund-agent", stage.lend("refund-agent"), DELEGATION)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "actor_proof" in answer.body["error_description"]


def test_what_is_lent_can_be_narrowed_at_each_hop(stage: Lending) -> None:
    flow = stage.redeem("triage-flow", stage.lend("triage-flow"), may_act="refund-agent")
    reading = [{"type": "charter_scope", "system": "payments", "actions": ["charge.read"], "objects": ["charge/ch_*"]}]
    agent = stage.exchange("refund-agent", flow, authorization_details=json.dumps(reading), may_act="charge-tool")
    tool = stage.exchange("charge-tool", agent)
    for token in (agent, tool):
        assert isinstance(stage.call(token), Admitted)
        refused = stage.refund(token)
        assert isinstance(refused, Refused)
        assert refused.verdict.reasons[0].layer is Layer.DELEGATION
    assert isinstance(stage.refund(flow), Admitted)


# --- decided along the chain ---


def test_a_call_is_allowed_by_every_link_and_its_verdict_tells_the_whole_chain(stage: Lending) -> None:
    token = stage.chain(*CHAIN)[-1]
    assert isinstance(stage.refund(token), Admitted)
    told = stage.stage.entries("verdict")[-1]["body"]["chain"]
    assert [(p["name"], p["role"]) for p in told["parties"]] == [
        (MARIA, "initiator"),
        ("triage-flow", "carrier"),
        ("refund-agent", "decider"),
        ("charge-tool", "executor"),
    ]
    assert (told["initiator"], told["decider"], told["executor"]) == (MARIA, "refund-agent", "charge-tool")
    assert {p["control_plane"] for p in told["parties"]} == {ISSUER}
    assert asyncio.run(evidence.verify(stage.stage.house))["ok"]
    (entry,) = evidence.entries_at(stage.stage.house, [stage.stage.entries("verdict")[-1]["index"]])
    line = (
        f"{MARIA} (initiator, by {ISSUER}) → triage-flow (carrier, by {ISSUER}) → refund-agent (decider, by {ISSUER})"
    )
    assert any(line in each for each in entry["lines"])


def test_a_denial_names_the_link_that_lacked_the_right(tmp_path: Path) -> None:
    reading = [{"system": "payments", "actions": ["charge.read"]}]
    with a_lending(tmp_path, files=lending_files({"triage-flow": {"grants": reading}})) as stage:
        token = stage.chain(*CHAIN)[-1]
        assert isinstance(stage.call(token), Admitted)
        refused = stage.refund(token)
        assert isinstance(refused, Refused)
        (reason,) = refused.verdict.reasons
        assert (reason.link, reason.text) == (
            "triage-flow",
            "triage-flow has no grant for `refund.create` on `payments`",
        )


def test_limits_of_every_link_are_reserved_and_given_back_together(tmp_path: Path) -> None:
    once = [
        {"system": "payments", "actions": ["charge.read"], "limit": [{"count": 1, "per": "day"}]},
        {"system": "payments", "actions": ["refund.create"], "limit": [{"count": 2, "per": "day"}]},
    ]
    with a_lending(
        tmp_path, files=lending_files({"triage-flow": {"grants": once}, "charge-tool": {"grants": once}})
    ) as stage:
        tool = stage.chain(*CHAIN)[-1]
        flow = stage.redeem("triage-flow", stage.lend("triage-flow"))
        assert isinstance(stage.call(tool), Admitted)
        for token, link in ((tool, "charge-tool"), (flow, "triage-flow")):
            refused = stage.call(token)
            assert isinstance(refused, Refused)
            assert (refused.verdict.reasons[0].layer, refused.verdict.reasons[0].link) == (Layer.LIMIT, link)
        assert isinstance(stage.refund(flow), Admitted)
        assert isinstance(stage.refund(flow), Admitted)
        refused = stage.refund(tool)  # the workflow has no room left, so the tool's own counter must not move
        assert isinstance(refused, Refused)
        assert refused.verdict.reasons[0].link == "triage-flow"
        used = stage.stage.house.database.read(
            lambda tx: tx.limits.used(stage.id("charge-tool"), [("charge-tool/grant-2/limit-1", _today(stage))])
        )
        assert used == {}


def _today(stage: Lending) -> int:
    return int(stage.stage.clock.now().timestamp()) // 86_400 * 86_400


def test_approvals_of_every_link_are_owed_and_one_yes_of_each_role_is_enough(tmp_path: Path) -> None:
    def asking(role: str) -> list[dict[str, Any]]:
        return [
            {"system": "payments", "actions": ["charge.read"]},
            {"system": "payments", "actions": ["refund.create"], "approval": {"by": role}},
        ]

    files = lending_files(
        {"triage-flow": {"grants": asking("payments-risk")}, "refund-agent": {"grants": asking("payments-lead")}}
    )
    with a_lending(tmp_path, files=files) as stage:
        token = stage.chain("triage-flow", "refund-agent", person="jo@example.com")[-1]
        held = stage.refund(token)
        assert isinstance(held, Refused)
        assert isinstance(held.verdict, Escalate)
        assert held.verdict.approvers == ("payments-lead", "payments-risk")
        assert {reason.link for reason in held.verdict.reasons} == {"triage-flow", "refund-agent"}
        house, approval = stage.stage.house, str(held.approval_id)
        for person in ("lena@example.com", "alex@example.com"):
            asyncio.run(_approve(house, approval, person))
        assert isinstance(stage.refund(token), Admitted)
        again = stage.refund(token)
        assert isinstance(again, Refused)


async def _approve(house: Any, approval: str, person: str) -> None:
    from charter.bootstrap import authority

    await authority.answer(house, approval, yes=True, person=person, reason="seen")


def test_a_restrained_link_restrains_the_whole_chain(stage: Lending) -> None:
    from charter.bootstrap import authority
    from charter.registry.standing import Move

    tool = stage.chain(*CHAIN)[-1]
    asyncio.run(
        authority.move(stage.stage.house, "triage-flow", Move.RESTRAIN, actor="pia@example.com", reason="a test")
    )
    assert isinstance(stage.call(tool), Admitted)
    held = stage.refund(tool)
    assert isinstance(held, Refused)
    assert isinstance(held.verdict, Escalate)
    assert held.verdict.reasons[0].link == "triage-flow"


def test_a_guardrail_that_binds_a_lender_alone_is_not_got_round_by_lending(tmp_path: Path) -> None:
    text = (
        '@id("flow-reads")\nforbid (principal == Charter::Principal::"triage-flow", '
        'action in Charter::Action::"irreversible", resource);\n'
    )
    with a_lending(tmp_path, files=lending_files() | {"guardrails/flow.cedar": text}) as stage:
        refused = stage.refund(stage.chain(*CHAIN)[-1])
        assert isinstance(refused, Refused)
        assert refused.verdict.reasons[0].rule == "guardrail/flow-reads"


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ("context.chain.depth > 2", False),
        ("context.chain.depth > 3", True),
        (f'context.chain.purpose == "{PURPOSE}"', False),
        ("!context.chain.by_person", True),
        (f'context.chain.initiator == "{MARIA}"', False),
        ('context.chain.parties.contains("triage-flow")', False),
        ('context.chain.deciders.contains("charge-tool")', True),
        ('context.chain.initiator_roles.contains("payments-lead")', False),
        ('context.chain.initiator_roles.contains("payments-risk")', True),
    ],
)
def test_guardrails_read_the_chain(tmp_path: Path, condition: str, allowed: bool) -> None:
    text = f'@id("chain")\nforbid (principal, action, resource) when {{ {condition} }};\n'
    with a_lending(tmp_path, files=lending_files() | {"guardrails/chain.cedar": text}) as stage:
        assert isinstance(stage.call(stage.chain(*CHAIN)[-1]), Admitted) is allowed


def test_a_call_without_delegation_reads_a_chain_of_one(tmp_path: Path) -> None:
    alone = (
        'context.chain.depth == 0 && context.chain.initiator == "refund-agent" && context.chain.purpose == "" '
        '&& context.chain.parties.contains("refund-agent")'
    )
    text = f'@id("alone")\nforbid (principal, action, resource) unless {{ {alone} }};\n'
    with a_lending(tmp_path, files=lending_files() | {"guardrails/alone.cedar": text}) as stage:
        assert isinstance(stage.call(stage.own_token("refund-agent")), Admitted)
        assert isinstance(stage.call(stage.redeem("refund-agent", stage.lend("refund-agent"))), Refused)


# --- what people may do themselves ---

READING = {"system": "payments", "actions": ["charge.read"]}


def test_an_agent_may_do_no_more_than_the_person_it_acts_for_is_entitled_to(tmp_path: Path) -> None:
    entitled = {
        "entitlements": {
            "payments-lead": [READING, {"system": "payments", "actions": ["refund.create"]}],
            "payments-ops": [READING],
        }
    }
    with a_lending(tmp_path, files=lending_files(teams=entitled)) as stage:
        maria, jo = (stage.redeem("refund-agent", stage.lend("refund-agent", who)) for who in (MARIA, "jo@example.com"))
        assert isinstance(stage.refund(maria), Admitted)
        assert isinstance(stage.call(jo), Admitted)
        refused = stage.refund(jo)
        assert isinstance(refused, Refused)
        assert refused.verdict.reasons[0].link == "jo@example.com"
        assert "jo@example.com has no grant for `refund.create`" in refused.verdict.reasons[0].text


def test_a_person_of_whom_nothing_is_said_may_do_nothing_once_entitlements_are_given(tmp_path: Path) -> None:
    with a_lending(tmp_path, files=lending_files(teams={"entitlements": {"payments-ops": [READING]}})) as stage:
        loan = stage.lend("refund-agent", "stranger@example.com")
        answer = stage.ask_redeem("refund-agent", loan)
        assert (answer.status, answer.body["error"]) == (400, "invalid_target")
        assert "stranger@example.com" in answer.body["error_description"]


def test_without_entitlements_the_charters_ceiling_bounds_delegated_use(tmp_path: Path) -> None:
    changed = {"refund-agent": {"delegation": {"from": ["humans"], "purposes": [PURPOSE], "ceiling": [READING]}}}
    with a_lending(tmp_path, files=lending_files(changed)) as stage:
        lent = stage.redeem("refund-agent", stage.lend("refund-agent"))
        assert isinstance(stage.call(lent), Admitted)
        refused = stage.refund(lent)
        assert isinstance(refused, Refused)
        assert refused.verdict.reasons[0].link == MARIA
        assert isinstance(stage.refund(stage.own_token("refund-agent")), Admitted)


def someone(email: str, *, is_active: bool = True) -> Person:
    return Person(
        f"psn_{email}", email, email, email, None, is_active, {}, "2026-11-24T09:30:00Z", "2026-11-24T09:30:00Z"
    )


def test_groups_of_the_directory_entitle_whoever_is_in_them_from_the_next_call(tmp_path: Path) -> None:
    with a_lending(tmp_path, files=lending_files(teams={"entitlements": {"group:Charge Readers": [READING]}})) as stage:
        directory, sam = stage.stage.house.live.directory, someone("sam@example.com")
        directory.put_person(sam)
        loan = stage.lend("refund-agent", "sam@example.com")
        assert stage.ask_redeem("refund-agent", loan).body["error"] == "invalid_target"
        group = Group("grp_1", "charge readers", None, frozenset({sam.id}), {}, "x", "x")
        directory.put_group(group)
        token = stage.redeem("refund-agent", loan)
        assert isinstance(stage.call(token), Admitted)
        directory.drop_group(group.id)
        assert isinstance(stage.call(token), Refused)


def test_what_someone_lent_stops_when_the_directory_says_that_they_left(stage: Lending) -> None:
    directory = stage.stage.house.live.directory
    directory.put_person(someone(MARIA))
    token = stage.chain(*CHAIN)[-1]
    assert isinstance(stage.call(token), Admitted)
    directory.put_person(someone(MARIA, is_active=False))
    with pytest.raises(UnauthenticatedError, match="left, as the directory has it"):
        stage.call(token)
    with pytest.raises(DeniedError, match="left, as the directory has it"):
        stage.lend("refund-agent")


def test_a_change_of_entitlements_counts_from_the_next_call(tmp_path: Path) -> None:
    with a_lending(tmp_path, files=lending_files(teams={"entitlements": {"payments-ops": [READING]}})) as stage:
        token = stage.redeem("refund-agent", stage.lend("refund-agent"))
        assert isinstance(stage.call(token), Admitted)
        stage.stage.apply(lending_files(teams={"entitlements": {}}))
        assert isinstance(stage.call(token), Refused)


# --- tools shrink ---


def test_the_list_of_tools_shrinks_with_the_chain(stage: Lending) -> None:
    from charter.gateway.pins import ToolDefinition
    from houses import PIN

    tools = [ToolDefinition(name, {"name": name}, PIN) for name in ("get_charge", "create_refund")]
    reading = [{"system": "payments", "actions": ["charge.read"]}]
    whole, narrow = (stage.redeem("refund-agent", stage.lend("refund-agent", scope=scope)) for scope in (None, reading))
    visible = stage.stage.house.pipeline.visible
    assert len(visible(stage.bearer(whole), "payments", tools)[0]) == 2
    assert [tool.name for tool in visible(stage.bearer(narrow), "payments", tools)[0]] == ["get_charge"]


def test_a_task_is_bound_by_what_its_purpose_lists_and_so_are_its_tools(stage: Lending) -> None:
    from charter.gateway.pins import ToolDefinition
    from houses import PIN

    tools = [ToolDefinition(name, {"name": name}, PIN) for name in ("get_charge", "create_refund")]
    listed = "charter: v1\npurposes: {dispute-handling: {only: [{system: payments, actions: [charge.read]}]}}\n"
    elsewhere = listed.replace("payments, actions: [charge.read]", "ledger, actions: ['*']")
    ledger = canonical(PAYMENTS_SYSTEM | {"system": "ledger"}).decode()
    token, visible = stage.chain(*CHAIN)[-1], stage.stage.house.pipeline.visible
    assert isinstance(stage.refund(token, 10), Admitted)
    stage.stage.apply(lending_files() | {"purposes.yaml": listed})
    refused = stage.refund(token, 10)
    assert isinstance(refused, Refused)
    assert [reason.rule for reason in refused.verdict.reasons] == ["purpose/dispute-handling"]
    assert isinstance(stage.call(token), Admitted)
    assert [tool.name for tool in visible(stage.bearer(token), "payments", tools)[0]] == ["get_charge"]
    stage.stage.apply(lending_files() | {"purposes.yaml": elsewhere, "systems/ledger.yaml": ledger})
    why = "the task is for `dispute-handling`, which `payments` is no part of"
    assert visible(stage.bearer(token), "payments", tools) == ([], why)


# --- kept ---


def test_delegations_outlive_a_restart_and_withdrawals_with_them(tmp_path: Path) -> None:
    with a_lending(tmp_path) as stage:
        kept, gone = (stage.redeem("refund-agent", stage.lend("refund-agent")) for _ in range(2))
        stage.withdraw(link=stage.delegation_of(gone))
        stage.switch("humans", "charge-tool", is_on=False)
        book, both = stage.stage.house.live.delegations, [stage.delegation_of(token) for token in (kept, gone)]
        before = {each: book.chain_of(each) for each in both}
    with a_house(tmp_path, apply=False) as house:
        again = house.house.live.delegations
        assert {each: again.chain_of(each) for each in before} == before
        assert again.switched_off == {("humans", house.house.principal("charge-tool").id)}


def test_delegations_that_ended_leave_memory_first_and_the_store_after_a_month(stage: Lending) -> None:
    token = stage.chain(*CHAIN)[-1]
    house, last = stage.stage.house, stage.delegation_of(token)
    stage.stage.clock.advance(hours=4)
    asyncio.run(_tended(house))
    in_memory, still_shown = len(house.live.delegations), delegation.show(house, last)
    stage.stage.clock.advance(days=31)
    asyncio.run(_tended(house))
    assert (in_memory, still_shown["usable"], still_shown["why"]) == (0, False, "it has ended")
    with pytest.raises(AbsentError):
        delegation.show(house, last)


async def _tended(house: Any) -> None:
    await house.database.awrite(lambda tx: _tend_once(house, tx))


def test_a_delegation_can_be_listed_and_shown_with_its_chain_and_proofs(stage: Lending) -> None:
    tokens = stage.chain(*CHAIN)
    listed = delegation.listing(stage.stage.house, {"agent": "refund-agent"})["delegations"]
    assert [(each["lender"], each["borrower"]) for each in listed] == [
        ("refund-agent", "charge-tool"),
        ("triage-flow", "refund-agent"),
    ]
    shown = delegation.show(stage.stage.house, stage.delegation_of(tokens[-1]))
    assert [party["name"] for party in shown["chain"]] == [MARIA, *CHAIN]
    assert shown["usable"]
    keys = {party: [parse_public_jwk(jwk) for jwk in jwks] for party, jwks in shown["keys"].items()}
    verified = verify_chain(
        shown["proofs"],
        act=stage.claims(tokens[-1])["act"],
        subject=MARIA,
        audience=PAYMENTS,
        keys_of=lambda _issuer, actor: keys[actor],
    )
    assert len(verified) == 3


def test_a_denied_exchange_is_evidence(stage: Lending) -> None:
    answer = stage.ask_exchange("refund-agent", stage.own_token("triage-flow"))
    assert answer.status == 400
    body = stage.stage.entries("authentication")[-1]["body"]
    assert (body["outcome"], body["code"], body["flow"]) == ("refused", "bad_subject", "token-exchange")

"""Remote nodes that lie, come again, or are not nodes: none gets in twice, and none vouches for another's processes."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.bootstrap import authority, node
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError, UnauthenticatedError
from charter.identity.failures import PER_SOURCE
from charter.identity.node import LONGEST_LIFE, MAX_REQUEST, REUSED, read_join
from charter.registry.standing import Move
from fuzz_stage import fuzzed
from hostile import JSON, TEXT
from houses import Stage, a_house
from identity_stage import ClientKeyPair
from nodes import ACTOR, PROCESS, NodeHand, a_join_token, a_joined_node
from workload_stage import spiffe_files

REFUND_AGENT = "spiffe://charter.local/production/agent/refund-agent"
KEY = {name: value for name, value in ClientKeyPair.fresh("a-workload").jwk.items() if name in ("kty", "crv", "x", "y")}
FILES = spiffe_files(
    refund_agent={"node": "web-1", "uid": 1000}, ledger_agent={"node": "web-2", "uid": 1000}, local_agent={"uid": 1000}
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=FILES) as found:
        yield found


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeHand]:
    """A node that is in, of a house that many tests share: they are refused, and change nothing."""
    with a_house(tmp_path_factory.mktemp("nodes"), files=FILES) as found:
        yield a_joined_node(found, "web-1")


def refused(answer: Any, status: int, *words: str) -> str:
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert all(word in problem["detail"] for word in words), problem
    return str(problem["type"]).rpartition(":")[2]


def findings(stage: Stage) -> list[Any]:
    return stage.house.database.read(lambda tx: tx.registry.findings.of_kinds([REUSED]))


# --- getting in ---


def test_a_join_token_lets_in_once_and_the_second_who_shows_it_is_a_finding(stage: Stage) -> None:
    token = a_join_token(stage.house, "web-1")
    assert NodeHand.fresh(stage, "web-1").join(token).json() == {"node": "web-1", "trust_domain": "charter.local"}
    thief = NodeHand.fresh(stage, "web-1")
    assert refused(thief.join(token), 401, "used before") == "bad_join_token"
    assert refused(thief.ask("who", {"process": PROCESS}), 401) == "bad_client"
    thief.join(token)
    (found,) = findings(stage)  # one, however often it is shown
    assert found.kind == "join-token-reused"
    assert found.body["key"] == thief.pair.thumbprint
    assert found.body["source"] == "192.0.2.7"
    assert token not in str(found.body)


def test_of_two_who_show_a_join_token_at_once_one_gets_in(stage: Stage) -> None:
    token = a_join_token(stage.house, "web-1")
    hands = [NodeHand.fresh(stage, "web-1") for _ in range(6)]
    texts = [hand.signed("join", {"token": token}, {"jwk": hand.pair.jwk}) for hand in hands]
    nodes = hands[0].app.nodes

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(nodes.join(text, "192.0.2.7") for text in texts), return_exceptions=True)

    results = asyncio.run(all_at_once())
    assert sum(isinstance(each, dict) for each in results) == 1
    assert len(stage.entries("node.joined")) == 1


def test_a_join_token_that_has_ended_lets_nobody_in(stage: Stage) -> None:
    token = a_join_token(stage.house, "web-1", minutes=5)
    stage.clock.advance(minutes=5)
    assert refused(NodeHand.fresh(stage, "web-1").join(token), 401, "has ended") == "bad_join_token"


def test_a_join_token_is_good_for_its_own_node_alone(stage: Stage) -> None:
    token = a_join_token(stage.house, "web-1")
    refused(NodeHand.fresh(stage, "web-2").join(token), 401, "not known, or is for another node")
    assert NodeHand.fresh(stage, "web-1").join(token).status_code == 200  # trying elsewhere did not use it up


@pytest.mark.parametrize("token", ["", "x", "0" * 64, None, 5, ["a"], {"a": "b"}, "é", "a\x00"])
def test_what_is_no_join_token_lets_nobody_in(stage: Stage, token: object) -> None:
    assert refused(NodeHand.fresh(stage, "web-1").join(token), 401, "not known") == "bad_join_token"


def test_no_join_token_is_kept_as_it_is_shown(stage: Stage) -> None:
    token = a_join_token(stage.house, "web-1")
    NodeHand.fresh(stage, "web-1").join(token)
    folder = stage.house.settings.data_folder
    assert all(token.encode() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_request_to_join_is_signed_by_the_key_that_it_brings(stage: Stage) -> None:
    hand, other = NodeHand.fresh(stage, "web-1"), NodeHand.fresh(stage, "web-1")
    token = a_join_token(stage.house, "web-1")
    refused(hand.join(token, {"jwk": other.pair.jwk}), 401)
    refused(hand.join(token, {"jwk": other.pair.private.as_dict(private=True)}), 401)
    refused(hand.join(token, {"jwk": None}), 401)
    refused(hand.send(hand.signed("join", {"token": token}), "join"), 401)
    assert hand.join(token).status_code == 200


def test_whoever_joins_under_a_name_takes_the_place_of_the_one_before(stage: Stage) -> None:
    before, after = a_joined_node(stage, "web-1"), a_joined_node(stage, "web-1")
    refused(before.ask("who", {"process": PROCESS}), 401, "is not signed by a node that is in")
    assert after.ask("who", {"process": PROCESS}).status_code == 200
    (first, second) = stage.entries("node.joined")
    assert second["body"]["before"] == first["body"]["key"] == before.pair.thumbprint


@pytest.mark.parametrize("life", [dt.timedelta(0), dt.timedelta(seconds=-1), LONGEST_LIFE + dt.timedelta(seconds=1)])
def test_no_join_token_lives_long(stage: Stage, life: dt.timedelta) -> None:
    with pytest.raises(MalformedError, match="lives at most 7 days"):
        asyncio.run(node.new_join_token(stage.house, "web-1", life=life, actor=ACTOR, reason="a test"))


@pytest.mark.parametrize("name", ["", "Web-1", "web 1", "../web", "wéb", "a" * 64, "web-1\n"])
def test_no_join_token_is_made_for_what_is_no_name(stage: Stage, name: str) -> None:
    with pytest.raises(MalformedError):
        asyncio.run(node.new_join_token(stage.house, name, life=dt.timedelta(hours=1), actor=ACTOR, reason="a test"))


# --- vouching ---


def test_a_node_vouches_for_its_own_processes_alone(stage: Stage) -> None:
    one, two = a_joined_node(stage, "web-1"), a_joined_node(stage, "web-2")
    assert one.ask("who", {"process": PROCESS}).json()["principal"] == "refund-agent"
    assert two.ask("who", {"process": PROCESS}).json()["principal"] == "ledger-agent"  # never local-agent
    claimed = {"process": PROCESS | {"node": "web-1"}}
    assert refused(two.ask("who", claimed), 400, "no process") == "bad_request"
    assert refused(two.ask("x509", {"process": PROCESS | {"uid": 0}, "jwk": KEY}), 401, "web-2") == "not_attested"
    assert refused(two.ask("who", {"process": PROCESS}, iss="web-1"), 401) == "bad_client"
    three = a_joined_node(stage, "web-3")
    assert refused(three.ask("who", {"process": PROCESS}), 401) == "not_attested"


def test_a_request_for_an_svid_is_answered_once(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    for asks, said in (("x509", {"jwk": KEY}), ("jwt", {"audiences": ["payments"]})):
        text = hand.signed(asks, {"process": PROCESS} | said)
        assert hand.send(text).status_code == 200
        assert refused(hand.send(text), 401, "used before") == "assertion_replayed"
    assert len(stage.entries("svid.issued")) == 2


def test_a_node_that_was_put_out_is_out_at_once(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    early = hand.signed("x509", {"process": PROCESS, "jwk": KEY})
    asyncio.run(node.remove(stage.house, "web-1", actor=ACTOR, reason="stolen"))
    refused(hand.send(early), 401, "is not signed by a node that is in")
    refused(hand.ask("watch", {"version": None}), 401)
    assert stage.entries("svid.issued") == []
    with pytest.raises(ConflictError):
        asyncio.run(node.remove(stage.house, "web-1", actor=ACTOR, reason="again"))
    with pytest.raises(AbsentError):
        asyncio.run(node.remove(stage.house, "web-9", actor=ACTOR, reason="a test"))


@pytest.mark.parametrize("move", [Move.KILL, Move.SUSPEND, Move.RETIRE])
def test_a_withdrawn_principals_processes_get_nothing_through_a_node(stage: Stage, move: Move) -> None:
    hand = a_joined_node(stage, "web-1")
    asyncio.run(authority.move(stage.house, "refund-agent", move, actor=ACTOR, reason="a test"))
    for asks, said in (("who", {}), ("x509", {"jwk": KEY}), ("jwt", {"audiences": ["payments"]})):
        assert refused(hand.ask(asks, {"process": PROCESS} | said), 403) == "not_standing"
    assert stage.entries("svid.issued") == []


def test_a_node_that_asks_in_a_loop_does_not_fill_the_evidence(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    hand.app.nodes._workloads._pace.burst = 3
    answers = [hand.ask("jwt", {"process": PROCESS, "audiences": ["payments"]}).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]
    assert len(stage.entries("svid.issued")) == 3


# --- what is no request ---


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "http://localhost:9999"},
        {"aud": ["http://127.0.0.1:8440"]},
        {"aud": None},
        {"iss": None},
        {"iss": "web-9"},
        {"iss": ["web-1"]},
        {"exp": None},
        {"exp": 2**40},
        {"exp": True},
        {"iat": 0},
        {"iat": None},
        {"iat": 1.5},
        {"jti": None},
        {"jti": "short"},
        {"jti": "x" * 300},
        {"asks": None},
        {"asks": 5},
        {"said": None},
        {"said": []},
        {"more": 1},
    ],
)
def test_a_request_with_anything_else_in_its_claims_is_refused(hand: NodeHand, changed: dict[str, Any]) -> None:
    given = {"asks": "who", "said": {"process": PROCESS}} | changed
    refused(hand.send(hand.signed(**given)), 401)


@pytest.mark.parametrize(
    "header", [{"typ": "JWT"}, {"typ": None}, {"alg": "none"}, {"alg": "HS256"}, {"kid": "x"}, {"jwk": KEY}, {"b64": 1}]
)
def test_a_request_with_anything_else_in_its_header_is_refused(hand: NodeHand, header: dict[str, Any]) -> None:
    refused(hand.ask("who", {"process": PROCESS}, header), 401)


def test_a_request_of_another_moment_is_refused(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    text = hand.signed("who", {"process": PROCESS})
    stage.clock.advance(minutes=2)
    refused(hand.send(text), 401, "not of this moment")
    stage.clock.advance(minutes=-10)
    refused(hand.send(text), 401, "not of this moment")


def test_a_request_signed_by_another_key_is_refused(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    hand.pair = ClientKeyPair.fresh("web-1")
    refused(hand.ask("who", {"process": PROCESS}), 401, "is not signed by a node that is in")


@pytest.mark.parametrize("asks", ["", "join", "Rotate", "Who", "who ", "__init__", "x" * 5000])
def test_what_is_not_understood_is_refused(hand: NodeHand, asks: str) -> None:
    refused(hand.ask(asks, {"process": PROCESS}), 400, "not understood")


@pytest.mark.parametrize(
    "process",
    [
        None,
        [],
        {},
        PROCESS | {"uid": -1},
        PROCESS | {"uid": "1000"},
        PROCESS | {"uid": True},
        PROCESS | {"pid": 2**63},
        PROCESS | {"path": "/bin/a\x00b"},
        PROCESS | {"path": "x" * 5000},
        PROCESS | {"sha256": "F" * 64},
        PROCESS | {"sha256": None, "node": "web-1"},
        PROCESS | {"node": ""},
    ],
)
def test_what_is_no_process_is_refused(hand: NodeHand, process: object) -> None:
    assert refused(hand.ask("who", {"process": process}), 400, "no process") == "bad_request"


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        "key",
        KEY | {"x": KEY["y"]},
        KEY | {"d": KEY["x"]},
        KEY | {"crv": "P-384"},
        {"kty": "oct", "k": "AAAA"},
        {name: ClientKeyPair.fresh("a", "EdDSA").jwk[name] for name in ("kty", "crv", "x")},
    ],
)
def test_an_x509_svid_is_for_a_public_key_on_p256(hand: NodeHand, jwk: object) -> None:
    refused(hand.ask("x509", {"process": PROCESS, "jwk": jwk}), 400)
    assert hand.stage.entries("svid.issued") == []


@pytest.mark.parametrize("audiences", [None, [], "payments", [5], [""], ["a"] * 40, ["x" * 5000], ["a\x00"]])
def test_a_jwt_svid_is_for_audiences(hand: NodeHand, audiences: object) -> None:
    refused(hand.ask("jwt", {"process": PROCESS, "audiences": audiences}), 400)
    assert hand.stage.entries("svid.issued") == []


def test_a_request_is_short_and_says_what_it_is(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    assert hand.send("x" * (MAX_REQUEST + 1)).status_code == 413
    assert hand.send(hand.signed("who", {"process": PROCESS}), media="application/json").status_code == 415
    assert hand.send(b"\xff\xfe").status_code == 400
    assert hand.send("a.b.c", "elsewhere").status_code == 404


def test_whoever_guesses_join_tokens_is_slowed_down(stage: Stage) -> None:
    hand = NodeHand.fresh(stage, "web-1")
    token = a_join_token(stage.house, "web-1")
    for _ in range(PER_SOURCE - 1):
        stage.house.failures.failed(hand.source, ErrorCode.BAD_JOIN_TOKEN)
    refused(hand.join("a-guess"), 401)
    refused(hand.join(token), 429)
    stage.clock.advance(minutes=1)
    assert hand.join(token).status_code == 200


def test_nothing_a_node_says_breaks_the_door_or_makes_it_another(stage: Stage) -> None:
    hand = a_joined_node(stage, "web-1")
    claims = ["iss", "aud", "iat", "exp", "jti", "asks", "said"]
    asked = st.sampled_from(["who", "x509", "jwt", "join"]) | TEXT
    facts = st.dictionaries(st.sampled_from(["pid", "uid", "gid", "path", "unit", "sha256", "node"]), JSON, max_size=4)
    processes = facts.map(lambda found: PROCESS | found) | JSON
    said = st.fixed_dictionaries({"process": processes}, optional={"jwk": JSON, "audiences": JSON}) | JSON

    @fuzzed(150)
    @given(asked, said, st.dictionaries(st.sampled_from(claims), JSON, max_size=1))
    def attempt(asks: str, what: Any, changed: dict[str, Any]) -> None:
        stage.clock._monotonic += 61  # so that nobody is slowed down
        answer = hand.send(hand.signed(**({"asks": asks, "said": what} | changed)))
        assert answer.status_code in (200, 400, 401, 403, 413), answer.text
        if answer.status_code == 200:
            assert answer.json().get("principal") == "refund-agent"

    attempt()


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}"))
def test_a_text_that_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        read_join(text, audience="http://127.0.0.1:8440", at=dt.datetime.now(dt.UTC))

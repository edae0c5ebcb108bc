"""Status lists, read as a stranger would: with a JWT library, zlib and the address that the token names."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from charter.bootstrap import authority
from charter.identity.claims import LIST_SIZE
from charter.identity.status_list import TTL_SECONDS, Status, packed
from charter.registry.standing import Move, Standing
from identity_stage import ISSUER
from lending_stage import Lending, a_lending

WHO: dict[str, Any] = {"actor": "pia@example.com", "reason": "a test"}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Lending]:
    with a_lending(tmp_path) as found:
        yield found


def path_of(uri: str) -> str:
    assert uri.startswith(ISSUER + "/")
    return uri.removeprefix(ISSUER)


def fetched(stage: Lending, uri: str) -> dict[str, Any]:
    """Return the claims of a list, checked as section 8.3 asks."""
    answer = stage.door.request("GET", path_of(uri))
    assert answer.status == 200, answer.raw
    assert answer.headers["content-type"] == "application/statuslist+jwt"
    token = answer.raw.decode()
    keys = jwt.PyJWKSet.from_dict(stage.door.request("GET", "/oauth/jwks").body)
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "statuslist+jwt"
    now = stage.stage.clock.now().timestamp()
    claims: dict[str, Any] = jwt.decode(
        token, keys[header["kid"]].key, ["ES256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert claims["sub"] == uri
    assert claims["iat"] <= now < claims["exp"]
    return claims


def status_of(stage: Lending, token: str) -> int:
    reference = stage.claims(token)["status"]["status_list"]
    told = fetched(stage, reference["uri"])["status_list"]
    octets = zlib.decompress(base64.urlsafe_b64decode(told["lst"] + "=" * (-len(told["lst"]) % 4)))
    bits, index = told["bits"], reference["idx"]
    assert index < len(octets) * 8 // bits
    return int(octets[index * bits // 8] >> (index * bits % 8) & ((1 << bits) - 1))


def later(stage: Lending) -> None:
    stage.stage.clock.advance(seconds=1)


@pytest.mark.parametrize(
    ("statuses", "bits", "lst"),
    [
        ([1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1], 1, "eNrbuRgAAhcBXQ"),
        ([1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3], 2, "eNo76fITAAPfAgc"),
    ],
)
def test_the_examples_of_the_draft(statuses: list[int], bits: int, lst: str) -> None:
    assert packed(dict(enumerate(statuses)), bits, len(statuses)) == lst


def test_a_token_that_is_revoked_shows_and_the_one_beside_it_does_not(stage: Lending) -> None:
    one, other = stage.own_token("refund-agent"), stage.own_token("refund-agent")
    assert status_of(stage, one) == status_of(stage, other) == Status.VALID
    assert stage.door.post("/oauth/revoke", token=one, **stage.client("refund-agent")).status == 200
    later(stage)
    assert (status_of(stage, one), status_of(stage, other)) == (Status.INVALID, Status.VALID)


@pytest.mark.parametrize("to", [Move.SUSPEND, Move.KILL])
def test_withdrawn_authority_shows_for_every_token_and_for_good(stage: Lending, to: Move) -> None:
    mine, others = stage.own_token("refund-agent"), stage.own_token("charge-tool")
    asyncio.run(authority.move(stage.stage.house, "refund-agent", to, **WHO))
    later(stage)
    assert (status_of(stage, mine), status_of(stage, others)) == (Status.INVALID, Status.VALID)
    if to is Move.SUSPEND:
        asyncio.run(authority.move(stage.stage.house, "refund-agent", Move.RESUME, **WHO))
        later(stage)
        assert status_of(stage, mine) == Status.INVALID
        assert status_of(stage, stage.own_token("refund-agent")) == Status.VALID


def test_a_system_that_is_suspended_holds_its_tokens_back(stage: Lending) -> None:
    token, live = stage.own_token("refund-agent"), stage.stage.house.live
    record = live.systems["payments"]
    for standing, status in ((Standing.SUSPENDED, Status.SUSPENDED), (Standing.ACTIVE, Status.VALID)):
        live.systems["payments"] = replace(record, standing=standing)
        later(stage)
        assert status_of(stage, token) == status


def test_a_revoked_key_ends_what_it_obtained(stage: Lending) -> None:
    token = stage.own_token("refund-agent")
    key = stage.stage.house.live.keys_of(stage.id("refund-agent"))[0]
    asyncio.run(authority.revoke_key(stage.stage.house, "refund-agent", key.id, **WHO))
    later(stage)
    assert status_of(stage, token) == Status.INVALID


def test_a_chain_shows_what_becomes_of_its_links(stage: Lending) -> None:
    flow, refunds = stage.chain("triage-flow", "refund-agent")
    assert status_of(stage, refunds) == Status.VALID
    stage.switch("triage-flow", "refund-agent", is_on=False)
    later(stage)
    assert (status_of(stage, flow), status_of(stage, refunds)) == (Status.VALID, Status.SUSPENDED)
    stage.switch("triage-flow", "refund-agent", is_on=True)
    stage.withdraw(link=stage.delegation_of(flow))
    later(stage)
    assert (status_of(stage, flow), status_of(stage, refunds)) == (Status.INVALID, Status.INVALID)


def test_the_lists_come_back_after_a_restart(tmp_path: Path) -> None:
    with a_lending(tmp_path) as stage:
        token = stage.own_token("refund-agent")
        assert stage.door.post("/oauth/revoke", token=token, **stage.client("refund-agent")).status == 200
    with a_lending(tmp_path, apply=False) as again:
        again.stage.clock.advance(seconds=5)
        assert status_of(again, token) == Status.INVALID


def test_a_list_is_gone_when_its_last_token_has_expired(stage: Lending) -> None:
    token = stage.own_token("refund-agent")
    claims = stage.claims(token)
    uri = claims["status"]["status_list"]["uri"]
    assert stage.door.request("GET", "/oauth/status").body == {"status_lists": [uri]}
    stage.stage.clock.advance(seconds=claims["exp"] - claims["iat"])
    assert stage.door.request("GET", path_of(uri)).status == 404
    assert stage.door.request("GET", "/oauth/status").body == {"status_lists": []}


def test_the_metadata_and_introspection_tell_of_it(stage: Lending) -> None:
    token = stage.own_token("refund-agent")
    told = stage.door.request("GET", "/.well-known/oauth-authorization-server").body
    assert told["status_list_aggregation_endpoint"] == f"{ISSUER}/oauth/status"
    assert stage.introspected("refund-agent", token)["status"] == stage.claims(token)["status"]


def test_the_answer_can_be_kept_for_as_long_as_it_says(stage: Lending) -> None:
    uri = stage.claims(stage.own_token("refund-agent"))["status"]["status_list"]["uri"]
    answer = stage.door.request("GET", path_of(uri))
    assert answer.headers["cache-control"] == f"public, max-age={TTL_SECONDS}"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert fetched(stage, uri)["ttl"] == TTL_SECONDS


def test_the_past_is_not_told(stage: Lending) -> None:
    uri = stage.claims(stage.own_token("refund-agent"))["status"]["status_list"]["uri"]
    assert stage.door.request("GET", path_of(uri) + "?time=1686925000").status == 501


def test_what_is_no_list_is_not_found(stage: Lending) -> None:
    uri = path_of(stage.claims(stage.own_token("refund-agent"))["status"]["status_list"]["uri"])
    base = uri.rsplit("/", 1)[0]
    strange = [
        "",
        "/",
        "/0",
        f"{base}",
        f"{base}/",
        f"{base}/00",
        f"{base}/-1",
        f"{base}/1",
        f"{base}/99999999999999999",
    ]
    strange += [f"{base}/٣", f"{base}/0/", f"{base}/0x0", "/nod_" + "0" * 26 + "/0", f"{base}/../0", f"{base}/0%00"]
    for each in strange:
        path = each if each.startswith("/oauth") else "/oauth/status" + each
        if path in ("/oauth/status", uri):
            continue
        assert stage.door.request("GET", path).status in (400, 404), path
    assert stage.door.request("POST", uri).status == 405


def test_two_answers_in_a_moment_cost_one_signature(stage: Lending, monkeypatch: pytest.MonkeyPatch) -> None:
    from charter.identity import status_list

    made: list[object] = []
    sign = status_list.sign_compact
    monkeypatch.setattr(status_list, "sign_compact", lambda *given: made.append(given) or sign(*given))
    uri = path_of(stage.claims(stage.own_token("refund-agent"))["status"]["status_list"]["uri"])
    for _ in range(50):
        stage.door.request("GET", uri)
    assert len(made) == 1


def test_tokens_of_two_lists_are_told_apart(stage: Lending, monkeypatch: pytest.MonkeyPatch) -> None:
    from charter.identity import claims, status_list

    for module in (claims, status_list):
        monkeypatch.setattr(module, "LIST_SIZE", 8)
    assert LIST_SIZE == 1 << 16
    tokens = [stage.own_token("refund-agent") for _ in range(20)]
    dead = tokens[3::5]
    for token in dead:
        stage.door.post("/oauth/revoke", token=token, **stage.client("refund-agent"))
    later(stage)
    assert [status_of(stage, each) for each in tokens] == [int(each in dead) for each in tokens]
    assert len({stage.claims(each)["status"]["status_list"]["uri"] for each in tokens}) > 1

"""Clocks that differ, jump and run backwards: nothing becomes valid again, nothing is valid before its time."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from charter.bootstrap import evidence
from charter.gateway.pipeline import Admitted, Refused
from charter.identity.claims import TOKEN_SECONDS
from charter.identity.jose import encode_base64url
from charter.identity.tokens import SKEW_SECONDS
from charter.server.oauth import ASSERTION_TYPE
from fuzz_stage import World, a_world, check
from hostile import spelt
from houses import a_house, estate_files

MINUTE, HOUR = 60, 3600


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as found:
        yield found


def set_clock(world: World, seconds: float) -> None:
    """Set the wall clock on or back; the other clock, which only ever runs on, does not notice."""
    world.stage.clock.at += dt.timedelta(seconds=seconds)


def ask(world: World, assertion: str, **headers: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "resource": world.resource}
    form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    answer = world.ask(world.doors, "POST", "/oauth/token", form=form, headers=headers)
    check(world, answer)
    return answer


def call(world: World, token: str, **headers: str) -> int:
    """Return the status with which the gateway takes a token; what is sent with it is no message."""
    given = {"authorization": f"Bearer {token}", "content-type": "application/json", "accept": "*/*"} | headers
    answer = world.ask(world.doors, "POST", "/mcp/payments", content=b"{}", headers=given)
    check(world, answer)
    return answer.status_code


TAKEN = 400  # the token was, its message is none


# --- access tokens ---


def test_a_token_is_good_until_the_very_second_it_expires(world: World) -> None:
    set_clock(world, TOKEN_SECONDS - 1)
    assert call(world, world.token) == TAKEN
    set_clock(world, 1)
    assert call(world, world.token) == 401


def test_a_token_from_the_future_is_not_valid_yet(world: World) -> None:
    """A node whose clock runs ahead issues it; one whose clock is right does not take it before its time."""
    set_clock(world, HOUR)
    token = world.fetch_token()
    set_clock(world, -HOUR)
    assert call(world, token) == 401
    set_clock(world, HOUR - SKEW_SECONDS - 1)
    assert call(world, token) == 401
    set_clock(world, 1)
    assert call(world, token) == TAKEN


def test_a_revoked_token_stays_revoked_whatever_the_clock_does(world: World) -> None:
    form = {"token": world.token, "client_assertion_type": ASSERTION_TYPE, "client_assertion": world.assertion()}
    assert world.ask(world.doors, "POST", "/oauth/revoke", form=form).status_code == 200
    for jump in (0, HOUR / 2, -HOUR / 2):
        set_clock(world, jump)
        tend(world)
        assert call(world, world.token) == 401


def tend(world: World) -> None:
    """Do what a serving house does every few seconds."""
    from charter.bootstrap.tending import _tend_once

    world.house.database.write(lambda tx: _tend_once(world.house, tx))


# --- client assertions ---


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"exp": 1}, 401),
        ({"exp": MINUTE + 31}, 200),
        ({"exp": -29}, 200),
        ({"exp": -30}, 401),
        ({"exp": 5 * MINUTE + 30}, 200),
        ({"exp": 5 * MINUTE + 31}, 401),
        ({"iat": 30}, 200),
        ({"iat": 31}, 401),
        ({"iat": -5 * MINUTE - 30}, 200),
        ({"iat": -5 * MINUTE - 31}, 401),
        ({"nbf": 30}, 200),
        ({"nbf": 31}, 401),
    ],
)
def test_an_assertion_is_good_within_its_time_and_half_a_minute(
    world: World, changed: dict[str, int], status: int
) -> None:
    now = int(world.stage.clock.now().timestamp())
    (name, seconds), *_ = changed.items()
    value = seconds if changed == {"exp": 1} else now + seconds
    answer = ask(world, world.pair.signed(spelt(world.claims(**{name: value}))))
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "value", [None, "1795512600", 1795512600.5, -1, True, [], {}, 10**400, 2**63, "9" * 400, "soon"]
)
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_that_is_none_is_refused(world: World, claim: str, value: Any) -> None:
    if claim != "exp" and value is None:
        return  # they need not be there
    claims = world.claims()
    claims[claim] = value
    assert ask(world, world.pair.framed(b'{"alg":"ES256"}', spelt(claims))).status_code == 401


def test_an_assertion_is_good_once_though_the_clock_runs_ahead_and_is_set_right(world: World) -> None:
    """While the clock is an hour ahead, everything of now looks long expired: it is not forgotten for that."""
    assertion = world.assertion()
    assert ask(world, assertion).status_code == 200
    set_clock(world, HOUR)
    tend(world)
    set_clock(world, -HOUR)
    assert ask(world, assertion).status_code == 401


# --- DPoP proofs ---


def proof(world: World, **changed: Any) -> str:
    at = world.stage.clock.now()
    claims: dict[str, Any] = {"htm": "POST", "htu": world.resource, "iat": int(at.timestamp()), "jti": "p-1"}
    claims |= {"nonce": world.nonce(at)}
    claims["ath"] = encode_base64url(hashlib.sha256(world.token.encode()).digest())
    return world.pair.framed(spelt({"alg": "ES256", "typ": "dpop+jwt", "jwk": world.pair.jwk}), spelt(claims | changed))


@pytest.fixture
def bound(world: World) -> World:
    """A world whose token is bound to its client's key."""
    htu = f"{world.issuer}/oauth/token"
    answer = ask(world, world.assertion(), dpop=proof(world, htu=htu, ath=None, jti="p-0"))
    assert answer.json()["token_type"] == "DPoP", answer.text
    world.token = answer.json()["access_token"]
    return world


@pytest.mark.parametrize(("seconds", "status"), [(-31, 401), (-30, TAKEN), (0, TAKEN), (30, TAKEN), (31, 401)])
def test_a_proof_is_of_this_moment(bound: World, seconds: int, status: int) -> None:
    made = proof(bound, iat=int(bound.stage.clock.now().timestamp()) + seconds)
    assert call(bound, bound.token, authorization=f"DPoP {bound.token}", dpop=made) == status


@pytest.mark.parametrize("value", [None, "now", 1.5, True, 10**400, -(10**400), [], 2**63])
def test_a_proof_of_no_moment_is_refused(bound: World, value: Any) -> None:
    """A stranger makes it with a key of their own, so it is looked at before anything else is known of them."""
    made = proof(bound, iat=value)
    assert call(bound, bound.token, authorization=f"DPoP {bound.token}", dpop=made) == 401


def test_a_proof_is_good_once_though_the_clock_runs_ahead_and_is_set_right(bound: World) -> None:
    made = proof(bound)
    headers = {"authorization": f"DPoP {bound.token}", "dpop": made}
    assert call(bound, bound.token, **headers) == TAKEN
    set_clock(bound, HOUR)
    assert call(bound, bound.token, authorization=f"DPoP {bound.token}", dpop=proof(bound, jti="p-2")) == 401
    set_clock(bound, -HOUR)
    assert call(bound, bound.token, **headers) == 401


# --- policy, limits and evidence ---


def test_a_clock_set_back_gives_no_second_helping_of_a_limit(tmp_path: Path) -> None:
    grant = {"system": "payments", "actions": ["charge.read"], "limit": [{"count": 2, "per": "day"}]}
    with a_house(tmp_path, files=estate_files(grants=[grant])) as stage:
        bearer, made = stage.bearer(), stage.make("get_charge", {"charge_id": "ch_1"})
        assert [isinstance(stage.submit(bearer, made)[0], Admitted) for _ in range(3)] == [True, True, False]
        for seconds in (-HOUR, HOUR, 0):
            stage.clock.at += dt.timedelta(seconds=seconds)
            assert isinstance(stage.submit(bearer, made)[0], Refused)


def test_a_clock_that_runs_backwards_leaves_the_evidence_provable(tmp_path: Path) -> None:
    """Entries keep the order they were made in, whatever time they bear; the log says what the clock said."""
    with a_house(tmp_path) as stage:
        bearer, made = stage.bearer(), stage.make("get_charge", {"charge_id": "ch_1"})
        for seconds in (0, -HOUR, -24 * HOUR, 48 * HOUR):
            stage.clock.at += dt.timedelta(seconds=seconds)
            stage.submit(bearer, made)
        report = asyncio.run(evidence.verify(stage.house))
        assert report["ok"], report
        assert report["clock"]["set_back"] == 2, "by an hour, and by a day"
        verdicts = evidence.listing(stage.house, {}, after=-1, newest=None, limit=1000)["entries"]
        assert [each["index"] for each in verdicts] == list(range(report["size"]))
        assert evidence.proof(stage.house, report["size"] - 1)["proof"]


def test_a_charter_that_expired_does_so_at_the_end_of_its_day(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        bearer, made = stage.bearer(), stage.make("get_charge", {"charge_id": "ch_1"})
        end = dt.datetime.combine(stage.house.principal("refund-agent").expires, dt.time(), dt.UTC) + dt.timedelta(
            days=1
        )
        stage.clock.at = end - dt.timedelta(microseconds=1)
        assert isinstance(stage.submit(bearer, made)[0], Admitted)
        stage.clock.at = end
        assert isinstance(stage.submit(bearer, made)[0], Refused)

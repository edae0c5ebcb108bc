"""Whoever enforces a system may ask what a token for it is worth (RFC 7662): for that system, and for no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access_stage import OTHER_POINT, POINT, Access, an_access
from charter.bootstrap import authority
from charter.registry.standing import Move
from charter.server.oauth import ASSERTION_TYPE


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with an_access(tmp_path) as found:
        yield found


def introspected(access: Access, by: str, token: str) -> dict[str, Any]:
    assertion = access.pair(by).assertion(access.stage.clock.now(), aud=f"{access.issuer}/oauth/token")
    form = {"token": token, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    answer = access.send("POST", "/oauth/introspect", form=form)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_point_is_told_of_tokens_for_the_systems_it_stands_before(access: Access) -> None:
    token = access.token("alice", "/mcp/records")
    told = introspected(access, POINT, token)
    assert (told["active"], told["name"], told["aud"]) == (True, "alice", f"{access.issuer}/mcp/records")
    assert told == introspected(access, "alice", token)


@pytest.mark.parametrize(
    ("by", "system"), [(OTHER_POINT, "records"), (POINT, "ledger"), ("stranger", "records"), ("bob", "records")]
)
def test_nobody_else_is(access: Access, by: str, system: str) -> None:
    assert introspected(access, by, access.token("alice", f"/mcp/{system}")) == {"active": False}


def test_a_points_own_word_is_no_way_to_another_points_token(access: Access) -> None:
    assert introspected(access, POINT, access.token(OTHER_POINT)) == {"active": False}


def test_what_was_withdrawn_is_not_active_and_a_point_that_was_learns_nothing(access: Access) -> None:
    token = access.token("alice", "/mcp/records")
    assert introspected(access, POINT, token)["active"] is True
    asyncio.run(authority.move(access.house, "alice", Move.SUSPEND, actor="t@example.com", reason="a test"))
    assert introspected(access, POINT, token) == {"active": False}
    asyncio.run(authority.move(access.house, "alice", Move.RESUME, actor="t@example.com", reason="a test"))
    fresh = access.fetch("alice", "/mcp/records").json()["access_token"]
    assert introspected(access, POINT, fresh)["active"] is True
    asyncio.run(authority.move(access.house, POINT, Move.SUSPEND, actor="t@example.com", reason="a test"))
    form = {"token": fresh, "client_id": access.house.principal(POINT).id}
    assert access.send("POST", "/oauth/introspect", form=form).status_code == 401

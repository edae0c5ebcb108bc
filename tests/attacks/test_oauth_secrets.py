"""Shared secrets: guessed, leaked, used where no charter allows them, kept too long."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from charter.bootstrap import authority, inventory
from charter.core.errors import ConflictError, DeniedError, ErrorCode
from charter.identity import secret as secrets_of
from charter.identity.failures import PER_CLIENT
from charter.server.oauth import OAuthApp
from houses import Stage, a_house, estate_files
from oauth_door import Answer, Door, Grants

LEGACY = {"type": "legacy-secret", "bearer": "allowed"}
PAYMENTS = "http://127.0.0.1:8420/mcp/payments"
FORM = {"grant_type": "client_credentials", "resource": PAYMENTS}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_house(tmp_path, files=estate_files(credential=LEGACY)) as found:
        yield found


def made(stage: Stage, name: str = "refund-agent") -> dict[str, Any]:
    return asyncio.run(authority.make_secret(stage.house, name, actor="a@example.com", reason="a test"))


def post(stage: Stage, client_id: str, secret: str, **more: str) -> Answer:
    return door_of(stage).post("/oauth/token", **FORM | {"client_id": client_id, "client_secret": secret} | more)


def basic(stage: Stage, client_id: str, secret: str, *, raw: str | None = None) -> Answer:
    text = raw if raw is not None else f"{quote_plus(client_id)}:{quote_plus(secret)}"
    headers = {
        "content_type": "application/x-www-form-urlencoded",
        "authorization": f"Basic {base64.b64encode(text.encode()).decode()}",
    }
    body = "&".join(f"{name}={quote_plus(value)}" for name, value in FORM.items()).encode()
    return door_of(stage).request("POST", "/oauth/token", body, **headers)


def door_of(stage: Stage) -> Door:
    return Door(OAuthApp.of(stage.house), Grants())


def test_a_secret_works_in_both_ways_and_says_so_in_the_evidence(stage: Stage) -> None:
    """Else the tests below would pass for a door that believes no secret at all."""
    found = made(stage)
    answers = [post(stage, found["client_id"], found["secret"]), basic(stage, found["client_id"], found["secret"])]
    assert [answer.status for answer in answers] == [200, 200]
    methods = [entry["body"]["method"] for entry in stage.entries("authentication")]
    assert methods == ["client_secret_post", "client_secret_basic"]


def test_a_guess_is_invalid_client_and_the_header_names_the_scheme_that_was_tried(stage: Stage) -> None:
    found = made(stage)
    in_body, in_head = (way(stage, found["client_id"], "chs_" + "A" * 43) for way in (post, basic))
    assert (in_body.status, in_body.body["error"]) == (401, "invalid_client")
    assert (in_head.status, in_head.body["error"]) == (401, "invalid_client")
    assert in_head.headers["www-authenticate"].startswith("Basic ")


def test_guessing_is_throttled_for_who_guesses_and_for_nobody_else(stage: Stage) -> None:
    found = made(stage)
    guesses = [post(stage, found["client_id"], f"chs_guess{n}").status for n in range(PER_CLIENT + 2)]
    assert guesses == [401] * PER_CLIENT + [429, 429]
    assert post(stage, found["client_id"], found["secret"]).status == 429  # from there, even the right one waits
    elsewhere = door_of(stage)
    elsewhere.source = "198.51.100.9"
    form = FORM | {"client_id": found["client_id"], "client_secret": found["secret"]}
    assert elsewhere.post("/oauth/token", **form).status == 200


def test_whether_there_is_such_a_client_cannot_be_told_from_the_answer(stage: Stage) -> None:
    found = made(stage)
    answers = [post(stage, who, "chs_guess") for who in (found["client_id"], "prn_nobody", "")]
    reader = stage.house.principal("charge-reader").id  # its charter allows no secret
    answers.append(post(stage, reader, "chs_guess"))
    assert len({json.dumps(answer.body) for answer in answers}) == 1


def test_each_comparison_takes_constant_time_and_none_is_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked about, the same number of digests is compared, each by `hmac.compare_digest`."""
    found = made(stage)
    counted: list[int] = []

    def counting(left: Any, right: Any) -> bool:
        counted.append(len(left))
        return hmac.compare_digest(left, right)

    class Hmac:
        compare_digest = staticmethod(counting)

    monkeypatch.setattr(secrets_of, "hmac", Hmac)
    spent = []
    for client_id, guess in (
        (found["client_id"], found["secret"]),
        (found["client_id"], "chs_x"),
        ("prn_nobody", "chs_x"),
    ):
        counted.clear()
        post(stage, client_id, guess)
        spent.append(list(counted))
    assert spent == [[71, 71]] * 3


@pytest.mark.parametrize(
    "twist",
    [
        lambda s: s.swapcase(),
        lambda s: s + " ",
        lambda s: s[:-1],
        lambda s: s + "\u200b",
        lambda s: s.replace("chs_", ""),
        lambda _: "",
        lambda s: s * 100,
        lambda s: s.replace("_", "\uff3f"),
    ],
)
def test_nothing_like_the_secret_is_the_secret(stage: Stage, twist: Any) -> None:
    found = made(stage)
    answer = post(stage, found["client_id"], twist(found["secret"]))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "raw", ["", ":", "no colon", "a:b:c", "%zz:%zz", "\x00:\x00", "x" * 3000, "prn_x:" + "y" * 2000]
)
def test_a_malformed_head_is_invalid_client(stage: Stage, raw: str) -> None:
    answer = basic(stage, "", "", raw=raw)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


def test_a_secret_in_two_places_is_one_too_many(stage: Stage) -> None:
    found = made(stage)
    text = base64.b64encode(f"{found['client_id']}:{found['secret']}".encode()).decode()
    form = FORM | {"client_id": found["client_id"], "client_secret": found["secret"]}
    body = "&".join(f"{name}={quote_plus(value)}" for name, value in form.items()).encode()
    headers = {"content_type": "application/x-www-form-urlencoded", "authorization": f"Basic {text}"}
    answer = door_of(stage).request("POST", "/oauth/token", body, **headers)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


def test_a_body_that_names_another_client_than_the_head_is_refused(stage: Stage) -> None:
    found = made(stage)
    text = base64.b64encode(f"{found['client_id']}:{found['secret']}".encode()).decode()
    other = stage.house.principal("charge-reader").id
    body = "&".join(f"{n}={quote_plus(v)}" for n, v in (FORM | {"client_id": other}).items()).encode()
    headers = {"content_type": "application/x-www-form-urlencoded", "authorization": f"Basic {text}"}
    assert door_of(stage).request("POST", "/oauth/token", body, **headers).status == 401


def test_the_secret_is_nowhere_but_in_the_one_answer(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    found = made(stage)
    post(stage, found["client_id"], found["secret"])
    post(stage, found["client_id"], found["secret"] + "x")
    database = (stage.house.settings.data_folder / "charter.db").read_bytes()
    journal = stage.house.settings.data_folder / "charter.db-wal"
    kept = database + (journal.read_bytes() if journal.exists() else b"")
    evidence = json.dumps(stage.entries("credential.registered") + stage.entries("authentication"))
    shown = json.dumps(inventory.dossier(stage.house, "refund-agent"))
    for place in (kept.decode("latin-1"), evidence, shown, caplog.text):
        assert found["secret"] not in place
    (key,) = [k for k in inventory.dossier(stage.house, "refund-agent")["keys"] if k["type"] == "secret"]
    assert key["jwk"] == {"kty": "secret"}


def test_no_secret_is_made_for_a_principal_that_can_do_better(stage: Stage) -> None:
    with pytest.raises(DeniedError, match="does not allow a shared secret") as caught:
        made(stage, "charge-reader")
    assert caught.value.code is ErrorCode.POLICY_DENIED


def test_two_secrets_are_the_most_so_that_one_can_replace_the_other(stage: Stage) -> None:
    old, new = made(stage), made(stage)
    with pytest.raises(ConflictError) as caught:
        made(stage)
    assert caught.value.code is ErrorCode.TOO_MANY
    assert [post(stage, old["client_id"], each["secret"]).status for each in (old, new)] == [200, 200]
    house = stage.house
    asyncio.run(authority.revoke_key(house, "refund-agent", old["key"], actor="a@example.com", reason="rotated"))
    assert [post(stage, old["client_id"], each["secret"]).status for each in (old, new)] == [401, 200]


def test_a_charter_that_no_longer_says_so_ends_the_secret_at_once(stage: Stage) -> None:
    found = made(stage)
    token = post(stage, found["client_id"], found["secret"]).body["access_token"]
    stage.apply(estate_files(credential={"type": "private-key-jwt", "bearer": "allowed"}))
    answer = post(stage, found["client_id"], found["secret"])
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert stage.house.tokens.read(token, at=stage.clock.now())  # it is a token still
    from charter.identity.authority import refusal

    bearer = stage.house.tokens.read(token, at=stage.clock.now()).bearer
    assert refusal(stage.house.live, bearer, None, at=stage.clock.now()) is not None

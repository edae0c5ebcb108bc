"""A workload proves itself by its platform's token: for each platform, with the claims it documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from charter.registry.issuer import Platform
from charter.registry.standing import Standing
from identity_stage import PAYMENTS, TOKEN_ENDPOINT, Stage, a_stage
from oauth_door import Answer, Door, a_door
from platforms import CLAIMS, LocalIssuer, a_local_issuer, trust

CLIENT = "prn_refund-agent"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    with a_local_issuer() as issuer:
        yield issuer


def present(door: Door, token: str, client_id: str = CLIENT) -> Answer:
    return door.token(token, PAYMENTS, client_id=client_id)


@pytest.mark.parametrize("platform", list(CLAIMS))
def test_each_platform_token_obtains_a_charter_token(stage: Stage, issuer: LocalIssuer, platform: Platform) -> None:
    trust(stage, issuer, platform)
    answer = present(a_door(stage), issuer.token(stage, CLAIMS[platform]))
    assert answer.status == 200, answer.raw
    claims = json.loads(Door.payload(answer.body["access_token"]))
    assert (claims["sub"], claims["aud"], claims["crd"]) == (CLIENT, PAYMENTS, "declared-refund-agent")
    (entry,) = stage.entries("authentication")
    assert (entry["body"]["method"], entry["body"]["outcome"]) == ("federated_jwt", "issued")


def test_the_spiffe_id_names_the_client_too(stage: Stage, issuer: LocalIssuer) -> None:
    trust(stage, issuer, Platform.GITHUB)
    token = issuer.token(stage, CLAIMS[Platform.GITHUB], aud=TOKEN_ENDPOINT)
    assert present(a_door(stage), token, "spiffe://charter.local/production/agent/refund-agent").status == 200


@pytest.mark.parametrize(
    ("key", "alg"), [(ECKey.generate_key("P-256"), "ES256"), (ECKey.generate_key("P-384"), "ES384"), (None, "PS256")]
)
def test_other_keys_sign_too(stage: Stage, issuer: LocalIssuer, key: Any, alg: str) -> None:
    trust(stage, issuer, Platform.OIDC)
    issuer.keys["k2"] = key or issuer.keys["k1"]
    issuer.publish()
    now = int(stage.clock.now().timestamp())
    claims = {"iss": issuer.address, "aud": [TOKEN_ENDPOINT], "iat": now, "exp": now + 60, "sub": "pipeline/42"}
    assert present(a_door(stage), issuer.sign(claims, kid="k2", alg=alg)).status == 200


def test_a_key_that_rolled_is_found_and_its_issuer_is_not_asked_without_end(stage: Stage, issuer: LocalIssuer) -> None:
    trust(stage, issuer, Platform.OIDC)
    door, claims = a_door(stage), CLAIMS[Platform.OIDC]
    assert present(door, issuer.token(stage, claims)).status == 200
    issuer.keys["k2"] = OKPKey.generate_key("Ed25519")
    issuer.publish()
    now = int(stage.clock.now().timestamp())
    rolled = issuer.sign(
        {"iss": issuer.address, "aud": TOKEN_ENDPOINT, "iat": now, "exp": now + 600} | claims, kid="k2", alg="Ed25519"
    )
    asked = len(issuer.server.asked)
    assert present(door, rolled).body["error"] == "invalid_client"
    assert len(issuer.server.asked) == asked  # a stranger's `kid` is no reason to ask again at once
    stage.clock.advance(seconds=11)
    assert present(door, rolled).status == 200


def test_keys_in_the_file_need_no_issuer_within_reach(stage: Stage, issuer: LocalIssuer) -> None:
    public = issuer.keys["k1"].as_dict(private=False) | {"kid": "k1"}
    trust(stage, issuer, Platform.KUBERNETES, keys=[public])
    issuer.server.documents.clear()
    assert present(a_door(stage), issuer.token(stage, CLAIMS[Platform.KUBERNETES])).status == 200
    assert issuer.server.asked == []


def test_an_issuer_out_of_reach_is_no_bad_token(stage: Stage, issuer: LocalIssuer) -> None:
    trust(stage, issuer, Platform.OIDC)
    issuer.server.documents.clear()
    answer = present(a_door(stage), issuer.token(stage, CLAIMS[Platform.OIDC]))
    assert (answer.status, answer.body["error"]) == (503, "temporarily_unavailable")


def test_keys_are_used_for_an_hour_without_their_issuer_and_no_longer(stage: Stage, issuer: LocalIssuer) -> None:
    trust(stage, issuer, Platform.OIDC)
    door = a_door(stage)
    assert present(door, issuer.token(stage, CLAIMS[Platform.OIDC])).status == 200
    issuer.server.documents.clear()
    stage.clock.advance(minutes=30)
    assert present(door, issuer.token(stage, CLAIMS[Platform.OIDC])).status == 200
    stage.clock.advance(minutes=31)
    assert present(door, issuer.token(stage, CLAIMS[Platform.OIDC])).status == 503


def test_a_revoked_credential_and_a_killed_principal_obtain_nothing(stage: Stage, issuer: LocalIssuer) -> None:
    trust(stage, issuer, Platform.GITHUB)
    door = a_door(stage)
    token = issuer.token(stage, CLAIMS[Platform.GITHUB])
    first = present(door, token).body["access_token"]
    key = stage.live.keys["declared-refund-agent"]
    stage.live.put_key(replace(key, standing=Standing.REVOKED))
    assert present(door, token).body["error"] == "invalid_client"
    stage.live.put_key(key)
    principal = stage.live.principals[CLIENT]
    stage.show(replace(principal, standing=Standing.REVOKED, epoch=principal.epoch + 1))
    assert present(door, token).status in {400, 403}
    assert first

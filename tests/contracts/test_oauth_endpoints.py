"""The OAuth endpoints on SQLite and PostgreSQL: what they give, record and refuse."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from charter.core.canonical import canonical, digest_of
from charter.core.errors import ErrorCode, IntegrityError, UnavailableError
from charter.identity.bearer import Binding, Confirmation
from charter.identity.failures import PER_CLIENT, PER_SOURCE
from charter.identity.jose import encode_base64url
from charter.identity.pace import Pace
from charter.identity.revocation import CLOCK_STEP_SECONDS, forget_expired
from charter.registry.standing import Standing
from charter.server.oauth import OAuthApp
from identity_stage import ISSUER, LEDGER, PAYMENTS, TOKEN_ENDPOINT, ClientKeyPair, Stage, a_stage
from oauth_door import Answer, Door, a_door

FORM_TYPE = "application/x-www-form-urlencoded"
NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    with a_stage(tmp_path, url=database_url) as found:
        yield found


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Stage]:
    """A stage on SQLite, for what no database has a say in."""
    with a_stage(tmp_path) as found:
        yield found


def a_token(stage: Stage, door: Door, pair: ClientKeyPair, resource: str = PAYMENTS) -> str:
    answer = door.token(pair.assertion(stage.clock.now()), resource)
    assert answer.status == 200, answer.body
    return str(answer.body["access_token"])


def a_proof(pair: ClientKeyPair, at: dt.datetime, **changed: Any) -> str:
    claims = {"htm": "POST", "htu": TOKEN_ENDPOINT, "iat": int(at.timestamp()), "jti": f"proof-{next(pair.serial)}"}
    return pair.signed(canonical(claims | changed), {"typ": "dpop+jwt", "jwk": pair.jwk})


# --- token ---


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_client_gets_a_token_for_a_system_it_is_granted(stage: Stage, algorithm: str) -> None:
    door, pair = a_door(stage), stage.client("refund-agent", algorithm)
    answer = door.token(pair.assertion(NOW), PAYMENTS)
    assert (answer.status, answer.body["token_type"], answer.body["expires_in"]) == (200, "Bearer", 300)
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    bearer = stage.tokens.verify(answer.body["access_token"], audience=PAYMENTS, at=NOW)
    assert (bearer.principal_id, bearer.credential) == ("prn_refund-agent", pair.thumbprint)


def test_what_is_signed_is_what_was_recorded(stage: Stage) -> None:
    door, pair = a_door(stage), stage.client("refund-agent")
    token = a_token(stage, door, pair)
    (entry,) = stage.entries("authentication")
    claims, body = json.loads(door.payload(token)), entry["body"]
    assert body["claims"] == digest_of(claims)
    assert (body["outcome"], body["token"], body["expires"]) == ("issued", claims["jti"], claims["exp"])
    assert (entry["principal"], entry["actor"]) == ("prn_refund-agent", "prn_refund-agent")
    assert (body["key"], body["resource"], body["source"]) == (pair.thumbprint, PAYMENTS, "192.0.2.7")
    assert token not in json.dumps(entry)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (LEDGER, "the charter of 'refund-agent' grants nothing on 'ledger'"),
        (f"{ISSUER}/mcp/nothing", "no system is at"),
        (f"{PAYMENTS}/", "no system is at"),
        ("payments", "no system is at"),
        ("https://evil.example/mcp/payments", "no system is at"),
        (PAYMENTS.replace("127.0.0.1", "localhost"), "no system is at"),
    ],
)
def test_a_resource_without_a_grant_is_invalid_target_and_recorded(local: Stage, resource: str, said: str) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    answer = door.token(pair.assertion(NOW), resource)
    (entry,) = local.entries("authentication")
    assert (answer.status, answer.body["error"]) == (400, "invalid_target")
    assert said in answer.body["error_description"]
    assert (entry["body"]["outcome"], entry["body"]["code"]) == ("refused", "bad_target")


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.REVOKED, Standing.RETIRED])
def test_a_withdrawn_principal_is_unauthorized_client_and_recorded(stage: Stage, standing: Standing) -> None:
    door, pair = a_door(stage), stage.client("refund-agent")
    stage.show(replace(stage.live.principals["prn_refund-agent"], standing=standing))
    answer = door.token(pair.assertion(NOW), PAYMENTS)
    (entry,) = stage.entries("authentication")
    assert (answer.status, answer.body["error"]) == (400, "unauthorized_client")
    assert f"'refund-agent' is {standing.value}" in answer.body["error_description"]
    assert (entry["body"]["outcome"], entry["body"]["code"]) == ("refused", "not_standing")


def test_a_suspended_system_is_invalid_target(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    local.live.systems["payments"] = replace(local.live.systems["payments"], standing=Standing.SUSPENDED)
    answer = door.token(pair.assertion(NOW), PAYMENTS)
    assert (answer.status, answer.body["error"]) == (400, "invalid_target")
    assert "'payments' is suspended" in answer.body["error_description"]


def test_a_restrained_principal_still_gets_tokens(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    local.show(replace(local.live.principals["prn_refund-agent"], standing=Standing.RESTRAINED))
    assert door.token(pair.assertion(NOW), PAYMENTS).status == 200


FORM = {"grant_type": "client_credentials", "resource": PAYMENTS}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "Client_Credentials"}, "unsupported_grant_type"),
        ({"resource": ""}, "invalid_target"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"client_secret": "s3cret"}, "invalid_client"),
        ({"client_assertion": ""}, "invalid_client"),
        ({"client_assertion_type": ""}, "invalid_client"),
        ({"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, "invalid_client"),
    ],
)
def test_each_fault_of_a_token_request_has_its_own_error(local: Stage, changed: dict[str, str], error: str) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    answer = door.post("/oauth/token", **(FORM | door.client(pair.assertion(NOW)) | changed))
    assert (answer.status, answer.body["error"]) == (401 if error == "invalid_client" else 400, error)
    assert set(answer.body) == {"error", "error_description"}
    assert "s3cret" not in answer.body["error_description"]


def test_an_empty_or_unknown_parameter_changes_nothing(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    more = {"scope": "", "client_secret": "", "audience": "ignored", "x-extra": "ignored"}
    assert door.token(pair.assertion(NOW), PAYMENTS, **more).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (b"resource=a&resource=b&grant_type=client_credentials", {}, 400, "invalid_target"),
        (b"grant_type=client_credentials&grant_type=client_credentials", {}, 400, "invalid_request"),
        (b"grant_type=client_credentials&grant%5Ftype=x", {}, 400, "invalid_request"),
        (b'{"grant_type":"client_credentials"}', {"content_type": "application/json"}, 415, "invalid_request"),
        (b"a=1", {"content_type": "multipart/form-data; boundary=x"}, 415, "invalid_request"),
        (b"a=1", {"content_type": "application/x-www-form-urlencoded; charset=utf-16"}, 415, "invalid_request"),
        (b"a=1", {"content_encoding": "gzip"}, 415, "invalid_request"),
        (b"a=" + b"x" * 20_000, {}, 413, "invalid_request"),
        (b"a=1", {"content_length": "99999999999999999999999"}, 413, "invalid_request"),
        (b"a=1", {"content_length": "-1"}, 400, "invalid_request"),
    ],
)
def test_a_body_that_is_no_plain_form_is_refused(
    local: Stage, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    given = {"content_type": "application/x-www-form-urlencoded"} | headers
    answer = a_door(local).request("POST", "/oauth/token", body, **given)
    assert (answer.status, answer.body["error"]) == (status, error)


def test_parameters_in_the_url_are_refused(local: Stage) -> None:
    answer = a_door(local).post("/oauth/token?grant_type=client_credentials", **FORM)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert "stand in the URL" in answer.body["error_description"]


def test_a_body_that_never_ends_is_cut_off(local: Stage) -> None:
    door = a_door(local)
    taken = 0

    async def endless() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"a" * 4096, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/oauth/token",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("192.0.2.7", 1),
    }
    asyncio.run(door.app(scope, endless, send))
    assert sent[0]["status"] == 413
    assert taken < 10


def test_basic_authentication_is_told_what_to_do_instead(local: Stage) -> None:
    headers = {"content_type": "application/x-www-form-urlencoded", "authorization": "Basic YTpi"}
    answer = a_door(local).request("POST", "/oauth/token", b"grant_type=client_credentials", **headers)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert "private_key_jwt" in answer.body["error_description"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "127.0.0.1:8420@evil.example", ""])
def test_no_header_changes_who_the_issuer_is(local: Stage, host: str) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    tricks = {"host": host, "x_forwarded_host": host, "x_forwarded_proto": "https", "forwarded": f"host={host}"}
    told = door.request("GET", "/.well-known/oauth-authorization-server", **tricks)
    form = "&".join(f"{k}={v}" for k, v in (FORM | door.client(pair.assertion(NOW))).items())
    tricks["content_type"] = "application/x-www-form-urlencoded"
    token = door.request("POST", "/oauth/token", form.encode(), **tricks).body["access_token"]
    assert told.body["issuer"] == ISSUER
    assert all(value.startswith(ISSUER) for name, value in told.body.items() if name.endswith(("endpoint", "uri")))
    assert json.loads(door.payload(token))["iss"] == ISSUER


def test_a_charter_that_changes_meanwhile_is_looked_at_again(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    real, changes = door.grants.of, iter(range(2))

    class Changing:
        def of(self, principal: Any) -> Any:
            if next(changes, None) is not None:
                local.show(replace(local.live.principals[principal.id], digest=f"sha256:{next(pair.serial):064d}"))
            return real(principal)

    door.app.parts.slices = Changing()
    assert door.token(pair.assertion(NOW), PAYMENTS).status == 200
    assert len(local.entries("authentication")) == 1


def test_a_charter_that_keeps_changing_is_given_up_and_costs_no_assertion(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    real = door.app.parts.slices

    class Changing:
        def of(self, principal: Any) -> Any:
            local.show(replace(local.live.principals[principal.id], digest=f"sha256:{next(pair.serial):064d}"))
            return real.of(principal)

    assertion = pair.assertion(NOW)
    door.app.parts.slices = Changing()
    given_up = door.token(assertion, PAYMENTS)
    door.app.parts.slices = real
    assert (given_up.status, given_up.body["error"]) == (503, "temporarily_unavailable")
    assert door.token(assertion, PAYMENTS).status == 200


def test_a_policy_that_cannot_be_bound_grants_nothing(local: Stage) -> None:
    class Broken:
        def of(self, _principal: Any) -> Any:
            raise IntegrityError(ErrorCode.EVIDENCE_BROKEN, "a guardrail was altered")

    door, pair = a_door(local), local.client("refund-agent")
    door.app.parts.slices = Broken()
    answer = door.token(pair.assertion(NOW), PAYMENTS)
    assert (answer.status, answer.body["error"]) == (400, "invalid_target")


def test_an_assertion_works_once_on_either_database(stage: Stage) -> None:
    door, pair = a_door(stage), stage.client("refund-agent")
    assertion = pair.assertion(NOW)
    answers = [door.token(assertion, PAYMENTS) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 401, 401]
    assert "used before" in answers[1].body["error_description"]
    assert door.token(pair.assertion(NOW), PAYMENTS).status == 200


def test_where_nothing_can_be_recorded_no_token_is_given(local: Stage) -> None:
    class Full:
        async def awrite(self, _work: Any) -> Any:
            raise UnavailableError(ErrorCode.STORE_FAILED, "the disk is full", retry_after_seconds=3)

    door, pair = a_door(local), local.client("refund-agent")
    door.app.parts.writer = Full()  # type: ignore[assignment]  # only what the endpoint calls
    answer = door.token(pair.assertion(NOW), PAYMENTS)
    assert (answer.status, answer.body["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "3"


def test_a_bug_is_a_bare_500(local: Stage, caplog: pytest.LogCaptureFixture) -> None:
    class Buggy:
        async def awrite(self, _work: Any) -> Any:
            raise ZeroDivisionError("a detail for the log alone")

    door, pair = a_door(local), local.client("refund-agent")
    door.app.parts.writer = Buggy()  # type: ignore[assignment]  # only what the endpoint calls
    answer = door.token(pair.assertion(NOW), PAYMENTS)
    assert (answer.status, answer.body) == (
        500,
        {"error": "server_error", "error_description": "the server failed"},
    )
    assert "a detail for the log alone" in caplog.text
    assert "assertion" not in caplog.text.lower().replace("client_assertion", "")


# --- tokens bound to a key ---


def test_a_proof_binds_the_token_to_its_key(stage: Stage) -> None:
    door, pair = a_door(stage), stage.client("refund-agent")
    answer = door.token(pair.assertion(NOW), PAYMENTS, dpop=a_proof(pair, NOW))
    token = answer.body["access_token"]
    (entry,) = stage.entries("authentication")
    assert answer.body["token_type"] == "DPoP"
    assert stage.tokens.read(token, at=NOW).bearer.bound_to == Confirmation(Binding.JKT, pair.thumbprint)
    assert entry["body"]["bound_to"] == pair.thumbprint


@pytest.mark.parametrize(
    "changed", [{"htm": "GET"}, {"htu": PAYMENTS}, {"iat": 0}, {"htu": TOKEN_ENDPOINT.replace("127.0.0.1", "x")}]
)
def test_a_bad_proof_is_invalid_dpop_proof(local: Stage, changed: dict[str, Any]) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    answer = door.token(pair.assertion(NOW), PAYMENTS, dpop=a_proof(pair, NOW, **changed))
    assert (answer.status, answer.body["error"]) == (400, "invalid_dpop_proof")


def test_a_replayed_proof_is_invalid_dpop_proof(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    proof = a_proof(pair, NOW)
    answers = [door.token(pair.assertion(NOW), PAYMENTS, dpop=proof) for _ in range(2)]
    assert [a.status for a in answers] == [200, 400]


def test_strangers_proofs_are_not_remembered(local: Stage) -> None:
    """Else anybody could fill the memory of used proofs, and nobody's could be told from a replay any more."""
    door = a_door(local)
    stranger = ClientKeyPair.fresh("prn_refund-agent")
    for _ in range(5):
        answer = door.token(stranger.assertion(NOW), PAYMENTS, dpop=a_proof(stranger, NOW))
        assert answer.body["error"] == "invalid_client"
    assert len(door.app.parts.proofs._now) == 0


# --- introspection and revocation ---


def introspect(stage: Stage, door: Door, pair: ClientKeyPair, token: str) -> Answer:
    return door.post("/oauth/introspect", token=token, **door.client(pair.assertion(stage.clock.now())))


def test_introspection_tells_a_client_of_its_own_token(stage: Stage) -> None:
    door, pair = a_door(stage), stage.client("refund-agent")
    token = a_token(stage, door, pair)
    told = introspect(stage, door, pair, token).body
    claims = json.loads(door.payload(token))
    assert (told["active"], told["token_type"]) == (True, "Bearer")
    assert {name: told[name] for name in claims} == claims


def test_introspection_tells_of_the_binding(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    token = door.token(pair.assertion(NOW), PAYMENTS, dpop=a_proof(pair, NOW)).body["access_token"]
    told = introspect(local, door, pair, token).body
    assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": pair.thumbprint})


@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30.", "."])
def test_introspection_of_nonsense_is_not_active(local: Stage, token: str) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    answer = introspect(local, door, pair, token)
    assert (answer.status, answer.body) == (200, {"active": False})


def test_introspection_tells_nobody_of_anothers_token(local: Stage) -> None:
    door, pair, other = a_door(local), local.client("refund-agent"), local.client("ledger-agent")
    token = a_token(local, door, pair)
    assert introspect(local, door, other, token).body == {"active": False}


def test_a_signed_answer_is_proof_of_what_was_said_and_no_token(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    token = a_token(local, door, pair)
    plain = introspect(local, door, pair, token).body
    answer = signed_introspection(local, door, pair, token)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/token-introspection+jwt")

    keys = KeySet.import_key_set(door.request("GET", "/oauth/jwks").body)
    read = joserfc_jwt.decode(answer.raw.decode(), keys, algorithms=["ES256"])

    assert read.header["typ"] == "token-introspection+jwt"
    assert read.claims == {
        "iss": ISSUER,
        "aud": pair.client_id,
        "iat": int(NOW.timestamp()),
        "token_introspection": plain,
    }
    assert introspect(local, door, pair, answer.raw.decode()).body == {"active": False}
    refused = door.token(answer.raw.decode(), PAYMENTS)
    assert (refused.status, refused.body["error"]) == (401, "invalid_client")
    told = door.request("GET", "/.well-known/openid-configuration").body
    assert told["introspection_signing_alg_values_supported"] == ["ES256"]


def test_a_signed_answer_about_nonsense_says_that_it_is_not_active(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    answer = signed_introspection(local, door, pair, "nonsense")
    assert json.loads(door.payload(answer.raw.decode()))["token_introspection"] == {"active": False}


def signed_introspection(stage: Stage, door: Door, pair: ClientKeyPair, token: str) -> Answer:
    form = {"token": token} | door.client(pair.assertion(stage.clock.now()))
    headers = {"content_type": FORM_TYPE, "accept": "application/json;q=0.5, application/token-introspection+jwt"}
    return door.request("POST", "/oauth/introspect", urlencode(form).encode(), **headers)


def test_introspection_needs_a_client(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    token = a_token(local, door, pair)
    answer = door.post("/oauth/introspect", token=token)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert "token" in door.post("/oauth/introspect", **door.client(pair.assertion(NOW))).body["error_description"]


def test_a_revoked_token_is_dead_everywhere_and_after_a_restart(tmp_path: Path, database_url: str) -> None:
    from charter.adapters.registry_store import load_live
    from charter.identity.authority import refusal

    with a_stage(tmp_path, url=database_url) as stage:
        door, pair = a_door(stage), stage.client("refund-agent")
        token, other = a_token(stage, door, pair), a_token(stage, door, pair)
        answer = door.post("/oauth/revoke", token=token, **door.client(pair.assertion(NOW)))
        assert (answer.status, answer.body) == (200, {})
        assert introspect(stage, door, pair, token).body == {"active": False}
        assert introspect(stage, door, pair, other).body["active"]
        bearer = stage.tokens.read(token, at=NOW).bearer
        loaded = stage.database.read(lambda tx: load_live(tx.connection))
        stopped = refusal(loaded, bearer, None, at=NOW)
        assert stopped is not None
        assert stopped.text == "the token of `refund-agent` was revoked"
        assert stage.entries("authentication")[-1]["body"]["outcome"] == "revoked"


def test_revoking_nonsense_or_the_same_again_is_done(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    token = a_token(local, door, pair)
    for each in (token, token, "nonsense"):
        assert door.post("/oauth/revoke", token=each, **door.client(pair.assertion(NOW))).status == 200
    outcomes = [entry["body"]["outcome"] for entry in local.entries("authentication")]
    assert outcomes == ["issued", "revoked"]


def test_a_client_cannot_revoke_anothers_token(local: Stage) -> None:
    door, pair, other = a_door(local), local.client("refund-agent"), local.client("ledger-agent")
    token = a_token(local, door, pair)
    answer = door.post("/oauth/revoke", token=token, **door.client(other.assertion(NOW)))
    assert (answer.status, answer.body["error"]) == (400, "invalid_grant")
    assert introspect(local, door, pair, token).body["active"]


def test_revoked_tokens_are_forgotten_once_they_are_expired_anyway(stage: Stage) -> None:
    door, pair = a_door(stage), stage.client("refund-agent")
    token = a_token(stage, door, pair)
    door.post("/oauth/revoke", token=token, **door.client(pair.assertion(NOW)))
    assert len(stage.live.revoked_tokens) == 1
    assert stage.database.write(forget_expired) == 0
    stage.clock.advance(seconds=400)
    assert stage.database.write(forget_expired) == 0  # the clock may have run ahead, and be set right again
    stage.clock.advance(seconds=CLOCK_STEP_SECONDS)
    assert stage.database.write(forget_expired) == 3  # two assertions and the token
    assert stage.live.revoked_tokens == {}


# --- what is public ---

METHODS = [
    "private_key_jwt",
    "federated_jwt",
    "aws_caller_identity",
    "spiffe_jwt",
    "none",
    "client_secret_basic",
    "client_secret_post",
]


def test_the_metadata_says_what_there_is(local: Stage) -> None:
    answer = a_door(local).request("GET", "/.well-known/oauth-authorization-server")
    told = answer.body
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert told["issuer"] == ISSUER
    assert told["token_endpoint"] == TOKEN_ENDPOINT
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    device = "urn:ietf:params:oauth:grant-type:device_code"
    bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    grants = ["client_credentials", exchange, bearer, "authorization_code", "refresh_token", device]
    assert told["grant_types_supported"] == grants
    for endpoint in ("token", "introspection", "revocation"):
        methods = [name for name in METHODS if name != "none" or endpoint != "introspection"]
        assert told[f"{endpoint}_endpoint_auth_methods_supported"] == methods
        assert told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] == ["ES256", "EdDSA"]


def test_an_issuer_with_a_path_has_its_metadata_behind_the_well_known_one(local: Stage) -> None:
    door = a_door(local)
    door.app = OAuthApp.at(replace(door.app.parts, issuer="https://ai.example/charter"))
    assert door.request("GET", "/.well-known/oauth-authorization-server/charter").status == 200
    assert door.request("GET", "/.well-known/oauth-authorization-server").status == 404


def test_the_jwks_has_public_halves_alone(local: Stage) -> None:
    keys = a_door(local).request("GET", "/oauth/jwks").body["keys"]
    assert len(keys) == 2
    for key in keys:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        required = {name: key[name] for name in ("crv", "kty", "x", "y")}
        assert key["kid"] == encode_base64url(hashlib.sha256(canonical(required)).digest())


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/oauth/token", 405, "POST"),
        ("PUT", "/oauth/token", 405, "POST"),
        ("POST", "/oauth/jwks", 405, "GET"),
        ("DELETE", "/.well-known/oauth-authorization-server", 405, "GET"),
        ("GET", "/oauth/", 404, None),
        ("GET", "/oauth/token/", 404, None),
        ("GET", "/.well-known/nothing", 404, None),
        ("GET", "/oauth/../oauth/jwks", 404, None),
    ],
)
def test_other_methods_and_places_are_told_so(
    local: Stage, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = a_door(local).request(method, path)
    assert (answer.status, answer.headers.get("allow")) == (status, allow)


# --- strangers ---


def test_strangers_cannot_grow_the_log(local: Stage) -> None:
    door = a_door(local)
    stranger = ClientKeyPair.fresh("prn_nobody")
    before = len(local.entries())
    for _ in range(50):
        door.token(stranger.assertion(NOW), PAYMENTS)
        door.post("/oauth/revoke", token="x")
    assert len(local.entries()) == before
    local.clock.advance(minutes=1)
    (draft,) = local.failures.drain()
    assert draft.body["count"] == 100
    assert draft.body["worst"][0]["source"] == "192.0.2.7"


def test_failures_of_one_client_from_one_place_end_in_429_for_it_alone(local: Stage) -> None:
    door, pair, other = a_door(local), local.client("refund-agent"), local.client("ledger-agent")
    thief = ClientKeyPair.fresh(pair.client_id)
    statuses = [door.token(thief.assertion(NOW), PAYMENTS).status for _ in range(PER_CLIENT + 2)]
    throttled = door.token(pair.assertion(NOW), PAYMENTS)
    assert statuses == [401] * PER_CLIENT + [429] * 2
    assert (throttled.status, throttled.body["error"]) == (429, "temporarily_unavailable")
    assert 1 <= int(throttled.headers["retry-after"]) <= 61
    assert door.token(other.assertion(NOW), LEDGER).status == 200
    door.source = "198.51.100.9"
    assert door.token(pair.assertion(NOW), PAYMENTS).status == 200


def test_failures_of_nobody_in_particular_end_in_429(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    statuses = [door.post("/oauth/token", **FORM).status for _ in range(PER_SOURCE + 1)]
    assert statuses == [401] * PER_SOURCE + [429]
    assert door.token(pair.assertion(NOW), PAYMENTS).status == 200


def test_a_killed_agent_that_keeps_asking_cannot_grow_the_log(local: Stage) -> None:
    door, pair = a_door(local), local.client("refund-agent")
    local.show(replace(local.live.principals["prn_refund-agent"], standing=Standing.REVOKED))
    statuses = [door.token(pair.assertion(NOW), PAYMENTS).status for _ in range(PER_CLIENT + 20)]
    assert statuses.count(429) == 20
    assert len(local.entries("authentication")) == PER_CLIENT


def test_a_client_in_a_loop_is_slowed_down_and_nobody_else(local: Stage) -> None:
    door, pair, other = a_door(local, pace=Pace(local.clock, 3, 1, "tokens", "keep one")), *both(local)
    statuses = [door.token(pair.assertion(NOW), PAYMENTS).status for _ in range(4)]
    assert statuses == [200] * 3 + [429]
    throttled = introspect(local, door, pair, "x")
    assert (throttled.status, throttled.body["error"]) == (429, "temporarily_unavailable")
    assert throttled.headers["retry-after"] == "1"
    assert door.token(other.assertion(NOW), LEDGER).status == 200
    local.clock.advance(seconds=1)
    assert introspect(local, door, pair, "x").status == 200


def both(stage: Stage) -> tuple[ClientKeyPair, ClientKeyPair]:
    return stage.client("refund-agent"), stage.client("ledger-agent")

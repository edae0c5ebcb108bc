"""A workload on AWS proves itself by a request it signs with the real botocore; a local STS says who it is."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from charter.core.errors import CharterError, UnauthenticatedError
from charter.identity.aws_caller import ASSERTION_TYPE, AUDIENCE_HEADER, BODY, CONTENT_TYPE, read_signed_request
from charter.identity.jose import encode_base64url
from charter.registry.issuer import Issuers
from document_server import a_document_server
from fakes import FixedClock
from identity_stage import ISSUER, PAYMENTS, Stage, a_stage
from oauth_door import Answer, a_door
from platforms import declare

ACCOUNT, CLIENT = "123456789012", "prn_refund-agent"
NAMED = {"account": ACCOUNT, "role": "refund-agent"}


@pytest.fixture(scope="module")
def sts() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def stage(tmp_path: Path, sts: str) -> Iterator[Stage]:
    clock = FixedClock(dt.datetime.now(dt.UTC).replace(microsecond=0))  # botocore signs by the machine's clock
    with a_stage(tmp_path, clock=clock) as stage:
        stated = {"platform": "aws", "sts": sts}
        stage.live.issuers = Issuers.model_validate({"charter": "v1", "issuers": {"theirs": stated}})
        declare(stage, NAMED)
        yield stage


def as_role(sts: str, role: str) -> Credentials:
    """Return the credentials that a workload running as `role` finds on its machine."""
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "made-up"}
    client = boto3.client("sts", region_name="eu-central-1", endpoint_url=sts, **keys)
    given = client.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="i-0abc")["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def signed(sts: str, credentials: Credentials, *, audience: str = ISSUER) -> dict[str, str]:
    """Return the headers of a request for the caller's identity, signed as docs/federation.md says."""
    headers = {"content-type": CONTENT_TYPE, AUDIENCE_HEADER: audience}
    request = AWSRequest("POST", f"{sts}/", data=BODY, headers=headers)
    SigV4Auth(credentials, "sts", "eu-central-1").add_auth(request)
    return {name.lower(): str(value) for name, value in request.headers.items()}


def written(headers: dict[str, str]) -> str:
    return encode_base64url(json.dumps(headers).encode())


def present(stage: Stage, headers: dict[str, str], client_id: str = CLIENT) -> Answer:
    proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": written(headers), "client_id": client_id}
    return a_door(stage).post("/oauth/token", grant_type="client_credentials", resource=PAYMENTS, **proof)


def test_a_role_that_the_charter_names_obtains_a_token_once(stage: Stage, sts: str) -> None:
    headers = signed(sts, as_role(sts, "refund-agent"))
    answer = present(stage, headers)
    assert answer.status == 200, answer.raw
    assert stage.entries("authentication")[0]["body"]["method"] == "aws_caller_identity"
    again = present(stage, headers)
    assert (again.status, again.body["error"]) == (401, "invalid_client")
    assert "used before" in again.body["error_description"]


def test_another_role_of_the_account_obtains_nothing(stage: Stage, sts: str) -> None:
    answer = present(stage, signed(sts, as_role(sts, "refund-agent-2")))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert "something else for 'role'" in answer.body["error_description"]


def test_a_request_signed_for_another_server_proves_nothing_here(stage: Stage, sts: str) -> None:
    answer = present(stage, signed(sts, as_role(sts, "refund-agent"), audience="https://vault.example"))
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert AUDIENCE_HEADER in answer.body["error_description"]


def test_a_client_whose_charter_trusts_no_account_is_as_unknown_as_nobody(stage: Stage, sts: str) -> None:
    headers = signed(sts, as_role(sts, "refund-agent"))
    said = {present(stage, headers, name).body["error_description"] for name in ("prn_ledger-agent", "prn_nobody", "")}
    assert len(said) == 1


def test_a_signature_that_aws_refuses_is_a_bad_client_and_silence_is_not(stage: Stage, sts: str) -> None:
    headers = signed(sts, as_role(sts, "refund-agent"))
    replies: dict[str, Any] = {"/": lambda: (403, {"content-type": "text/xml"}, b"<ErrorResponse/>")}
    with a_document_server(replies) as server:
        for status, expected in ((403, (401, "invalid_client")), (500, (503, "temporarily_unavailable"))):
            replies["/"] = lambda status=status: (status, {"content-type": "text/xml"}, b"<ErrorResponse/>")
            point_at(stage, server.base)
            answer = present(stage, headers)
            assert (answer.status, answer.body["error"]) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<a/>",
        b"<a><Account>123456789012</Account></a>",
        b'<!DOCTYPE a [<!ENTITY x "xxxx">]><a><Account>&x;</Account><Arn>a</Arn><UserId>b</UserId></a>',
    ],
)
def test_nonsense_from_the_service_is_no_caller(stage: Stage, sts: str, body: bytes) -> None:
    headers = signed(sts, as_role(sts, "refund-agent"))
    with a_document_server({"/": lambda: (200, {"content-type": "text/xml"}, body)}) as server:
        point_at(stage, server.base)
        assert present(stage, headers).status == 503


def point_at(stage: Stage, sts: str) -> None:
    stated = {"platform": "aws", "sts": sts}
    stage.live.issuers = Issuers.model_validate({"charter": "v1", "issuers": {"theirs": stated}})


AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
SOUND = {
    "authorization": (
        "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20261124/eu-central-1/sts/aws4_request, "
        f"SignedHeaders=content-type;host;x-amz-date;{AUDIENCE_HEADER}, Signature={'0' * 64}"
    ),
    "x-amz-date": "20261124T092900Z",
    AUDIENCE_HEADER: ISSUER,
}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"x-amz-date": "20261124T092400Z"}, "within the last"),
        ({"x-amz-date": "20261124T093100Z"}, "within the last"),
        ({"x-amz-date": "20261123T092900Z"}, "oddly when"),
        ({"x-amz-date": "20261124T996100Z"}, "oddly when"),
        ({"authorization": SOUND["authorization"].replace(f";{AUDIENCE_HEADER}", "")}, "must sign the headers"),
        ({"authorization": SOUND["authorization"].replace("host;", "")}, "must sign the headers"),
        ({"authorization": SOUND["authorization"].replace("/sts/", "/s3/")}, "not signed for the Security Token"),
        ({"authorization": "Basic xyz"}, "not signed for the Security Token"),
        ({"x-amz-security-token": "abc"}, "must sign its x-amz-security-token"),
        ({"host": "evil.example"}, "none but"),
        ({"x-amz-target": "x"}, "none but"),
        ({AUDIENCE_HEADER: "http://127.0.0.1:8420/"}, "must name"),
        ({"content-type": "application/json"}, "content type"),
        ({"x-amz-security-token": "a\r\nhost: evil"}, "no header may hold"),
    ],
)
def test_a_signed_request_that_could_mean_anything_else_is_refused(changed: dict[str, str], why: str) -> None:
    assert read_signed_request(written(SOUND), audience=ISSUER, at=AT).headers == SOUND
    with pytest.raises(UnauthenticatedError) as caught:
        read_signed_request(written(SOUND | changed), audience=ISSUER, at=AT)
    assert why in caught.value.detail


@settings(max_examples=200)
@given(st.text(max_size=80) | st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5).map(written))
def test_any_text_is_a_signed_request_or_a_clear_refusal(text: str) -> None:
    with pytest.raises(CharterError):
        read_signed_request(text, audience=ISSUER, at=AT)

"""AWS workloads prove themselves by a request to AWS's Security Token Service that they sign and do not send.

    (1) The workload signs `GetCallerIdentity` (Signature Version 4) and hands its headers over; address and body are
        fixed by us, so that a signature can be good for nothing else.
    (2) `X-Charter-Audience` is among the signed headers and names this server: a request signed for another service
        that works this way proves nothing here.
    (3) It was signed within the last five minutes, give or take 30 seconds, and is taken once.
    (4) AWS itself answers who signed. Its answer alone is believed.

INVARIANT: no header of the workload's but those five is sent on, so that none can change what is asked.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from charter.core.canonical import digest
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.bearer import UsedAssertion
from charter.identity.jose import decode_base64url

ASSERTION_TYPE = "urn:charter:oauth:client-assertion-type:aws-caller-identity"
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
CONTENT_TYPE = "application/x-www-form-urlencoded"
AUDIENCE_HEADER = "x-charter-audience"
SIGNED_SECONDS = 300
SKEW_SECONDS = 30
MAX_ASSERTION = 16_384
_NEEDED = frozenset({"authorization", "x-amz-date", AUDIENCE_HEADER})
_KNOWN = _NEEDED | {"x-amz-security-token", "content-type"}
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[A-Z0-9]{16,128})/(?P<day>\d{8})/[a-z0-9-]{1,32}/sts/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]{1,512}), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_MOMENT = re.compile(r"\d{8}T\d{6}Z")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
_ROLE = re.compile(r"arn:aws[a-z-]*:sts::\d{12}:assumed-role/(?P<role>[\w+=,.@-]{1,64})/(?P<session>[\w+=,.@-]{2,64})")
_WHAT = "the signed request"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request for the caller's identity, signed by the caller and not yet sent."""

    headers: Mapping[str, str]
    used: UsedAssertion


def read_signed_request(assertion: str, *, audience: str, at: dt.datetime) -> SignedRequest:
    """Return the signed request that `assertion` is: base64url of a JSON object of headers.

    Raises:
        UnauthenticatedError: it is none, was signed for another server, or too long ago.
    """
    headers = _headers(assertion)
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    if found is None:
        _refuse("is not signed for the Security Token Service with Signature Version 4")
    signed = found["signed"].split(";")
    if not {"host", "x-amz-date", AUDIENCE_HEADER} <= set(signed):
        _refuse(f"must sign the headers host, x-amz-date and {AUDIENCE_HEADER}")
    if "x-amz-security-token" in headers and "x-amz-security-token" not in signed:
        _refuse("must sign its x-amz-security-token")
    if headers[AUDIENCE_HEADER] != audience:
        _refuse(f"must name `{audience}` in {AUDIENCE_HEADER}", ErrorCode.WRONG_AUDIENCE)
    until = _check_moment(headers["x-amz-date"], found["day"], at)
    return SignedRequest(headers, UsedAssertion(digest(found["signature"].encode()), until))


def caller_claims(account: str, arn: str, user_id: str) -> dict[str, str]:
    """Return what AWS's answer says of a caller, in the words of issuers.yaml."""
    claims = {"account": account, "arn": arn}
    role = _ROLE.fullmatch(arn)
    if role is not None:
        claims |= {"role": role["role"], "session": role["session"], "role_id": user_id.partition(":")[0]}
    return claims


def _headers(assertion: str) -> dict[str, str]:
    if len(assertion) > MAX_ASSERTION:
        _refuse(f"is longer than {MAX_ASSERTION} characters", ErrorCode.TOO_LARGE)
    try:
        found: Any = json.loads(decode_base64url(assertion), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        _refuse("is no base64url of a JSON object of headers")
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        _refuse("is no base64url of a JSON object of headers")
    headers = {name.lower(): value for name, value in found.items()}
    if len(headers) != len(found) or not _NEEDED <= headers.keys() <= _KNOWN:
        _refuse(f"must have the headers {', '.join(sorted(_NEEDED))}, and none but {', '.join(sorted(_KNOWN))}")
    if not all(_PLAIN.fullmatch(value) for value in headers.values()):
        _refuse("has a header that holds a character no header may hold")
    if headers.get("content-type", CONTENT_TYPE).partition(";")[0] != CONTENT_TYPE:
        _refuse(f"must be of the content type {CONTENT_TYPE}")
    return headers


def _check_moment(text: str, day: str, at: dt.datetime) -> int:
    """Return until when the signature must be remembered, in seconds since 1970."""
    if not _MOMENT.fullmatch(text) or not text.startswith(day):
        _refuse("says oddly when it was signed")
    try:
        signed = dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()
    except ValueError:
        _refuse("says oddly when it was signed")
    if not signed - SKEW_SECONDS <= at.timestamp() <= signed + SIGNED_SECONDS + SKEW_SECONDS:
        _refuse(f"was not signed within the last {SIGNED_SECONDS} seconds; check this machine's clock")
    return int(signed) + SIGNED_SECONDS + SKEW_SECONDS + 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a header is repeated")
    return found


def _refuse(why: str, code: ErrorCode = ErrorCode.BAD_TOKEN) -> NoReturn:
    raise UnauthenticatedError(code, f"{_WHAT} {why}", help="sign a fresh GetCallerIdentity: see docs/federation.md")

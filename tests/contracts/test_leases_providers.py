"""The Provider port, on the fake, on PostgreSQL and on AWS (moto): made, renewed, taken back, whatever was there."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.adapters.aws_leases import CLOCKS, MAX_POLICY, AwsLeases, deny_policy, session_policy
from charter.adapters.postgres_leases import PostgresLeases
from charter.core.entropy import SystemEntropy
from charter.core.errors import DeniedError, MalformedError
from charter.core.values import Secret
from charter.gateway.broker import Gone, Provider, ProviderError
from charter.registry.lease import Holder, Lease, LeaseState, Right
from charter.registry.manifest import parse_estate
from charter.registry.principal import SystemRecord
from charter.registry.problem import EstateError
from charter.registry.standing import Standing
from charter.registry.system import System
from fakes import FakeProvider
from leasing_stage import PASSWORD, Orders, an_orders_database, lease_files, orders_system

ROLE = "arn:aws:iam::123456789012:role/charter-reports"
ACTIONS = {"read": {"effect": "read", "verbs": ["s3:GetObject", "s3:ListBucket"], "on": ["arn:aws:s3:::reports/*"]}}


def aws_system(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "charter": "v1",
        "system": "reports",
        "kind": "aws",
        "environment": "production",
        "owner": {"person": "pia@example.com", "team": "payments-platform"},
        "aws": {
            "role": ROLE,
            "region": "eu-central-1",
            "external_id": "charter",
            "access_key": "A" * 20,
            "secret": "vault:aws",
        },
        "lease": {"ttl": "15m", "max": "1h"},
        "actions": ACTIONS,
    }
    return given | changed


@dataclass
class Place:
    """A provider, a system and what lies outside."""

    provider: Provider
    record: SystemRecord
    right: Right
    orders: Orders | None = None

    def lease(self, **changed: Any) -> Lease:
        lease_id = SystemEntropy().identifier("lea")
        now = dt.datetime.now(dt.UTC)
        given: dict[str, Any] = {
            "id": lease_id,
            "system": self.record.name,
            "kind": self.record.system.kind.value,
            "system_body": self.record.system.to_json(),
            "system_digest": self.record.digest,
            "holder": Holder("prn_1", "order-agent", 0, "sha256:1", "tok_1", "thumb", is_bound=True),
            "rights": (self.right,),
            "handle": self.provider.handle(lease_id, self.record),
            "state": LeaseState.RECORDED,
            "ttl_seconds": 900,
            "created_at": now,
            "expires_at": now + dt.timedelta(minutes=15),
            "ends_at": now + dt.timedelta(hours=1),
            "changed_at": now,
        }
        return Lease(**given | changed)

    def issued(self) -> Lease:
        lease = self.lease()
        credential = self.provider.issue(self.record, lease)
        return lease.issued(lease.created_at, credential.expires_at, credential.handle)


def a_record(body: dict[str, Any]) -> SystemRecord:
    system = System.model_validate(body)
    return SystemRecord(system.system, 1, system.digest, Standing.ACTIVE, system)


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.postgres), "aws"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "postgres":
        with an_orders_database(request.getfixturevalue("postgres_url")) as orders:
            provider = PostgresLeases(lambda _record, _ref: Secret(PASSWORD.encode()), SystemEntropy())
            record = a_record(orders_system(orders))
            yield Place(provider, record, Right("read", "public.orders", ("select",), "vrd_1"), orders)
        return
    right = Right("read", "arn:aws:s3:::reports/*", ("s3:GetObject", "s3:ListBucket"), "vrd_1")
    if request.param == "aws":
        import boto3

        request.getfixturevalue("aws_url")
        iam = boto3.client("iam")
        if "charter-reports" not in [role["RoleName"] for role in iam.list_roles()["Roles"]]:
            iam.create_role(RoleName="charter-reports", AssumeRolePolicyDocument="{}")
        yield Place(AwsLeases(lambda _record, _ref: Secret(b"test")), a_record(aws_system()), right)
        return
    yield Place(FakeProvider(), a_record(aws_system()), right)


def test_what_is_made_is_found_by_the_name_it_had_before(place: Place) -> None:
    lease = place.lease()
    credential = place.provider.issue(place.record, lease)
    assert credential.expires_at >= lease.expires_at - dt.timedelta(seconds=1)
    assert credential.variables
    assert place.provider.handle(lease.id, place.record) == lease.handle
    assert (
        place.provider.revoke(place.record, lease.issued(lease.created_at, lease.expires_at, credential.handle))
        is Gone.REMOVED
    )


def test_two_leases_have_nothing_in_common(place: Place) -> None:
    one, other = place.lease(), place.lease()
    assert not set(one.handle.values()) & set(other.handle.values()) - {ROLE, *_shared(place)}
    first, second = place.provider.issue(place.record, one), place.provider.issue(place.record, other)
    if place.record.system.kind.value == "postgres" or isinstance(place.provider, AwsLeases):
        assert not {v.reveal() for k, v in first.variables.items() if _is_secret(k)} & {
            v.reveal() for v in second.variables.values()
        }


def _shared(place: Place) -> set[str]:
    where = place.record.system.postgres
    return {where.database, where.host} if where else set()


def _is_secret(name: str) -> bool:
    return name in ("PGPASSWORD", "PGUSER", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def test_a_second_revocation_is_no_error(place: Place) -> None:
    lease = place.issued()
    assert place.provider.revoke(place.record, lease) is Gone.REMOVED
    assert place.provider.revoke(place.record, lease) in (Gone.MISSING, Gone.REMOVED)


def test_what_was_never_made_is_missing(place: Place) -> None:
    assert place.provider.revoke(place.record, place.lease()) is Gone.MISSING


def test_it_is_renewed(place: Place) -> None:
    lease = place.issued()
    now = dt.datetime.now(dt.UTC)
    until = now + dt.timedelta(minutes=30)
    credential = place.provider.renew(place.record, lease, now, until)
    assert abs(credential.expires_at - until) <= dt.timedelta(seconds=2)
    renewed = lease.renewed(now, credential.expires_at, credential.handle)
    assert place.provider.revoke(place.record, renewed) is Gone.REMOVED


def test_no_credential_shows_itself(place: Place) -> None:
    credential = place.provider.issue(place.record, place.lease())
    for name, value in credential.variables.items():
        if _is_secret(name) and name != "PGUSER":
            assert value.reveal().decode() not in repr(credential)


# --- AWS ---


@pytest.fixture
def aws(request: pytest.FixtureRequest) -> Place:
    import boto3

    request.getfixturevalue("aws_url")
    iam = boto3.client("iam")
    if "charter-reports" not in [role["RoleName"] for role in iam.list_roles()["Roles"]]:
        iam.create_role(RoleName="charter-reports", AssumeRolePolicyDocument="{}")
    right = Right("read", "arn:aws:s3:::reports/*", ("s3:GetObject", "s3:ListBucket"), "vrd_1")
    return Place(AwsLeases(lambda _record, _ref: Secret(b"test")), a_record(aws_system()), right)


def _assumed(session: str) -> Any:
    """Return what AWS, as moto has it, knows of a session."""
    from moto.sts.models import sts_backends

    for account in sts_backends.values():
        for backend in account.values():
            for role in backend.assumed_roles:
                if role.session_name == session:
                    return role
    raise AssertionError(session)


def test_the_session_policy_is_the_grant_and_goes_to_aws(aws: Place) -> None:
    lease = aws.lease()
    aws.provider.issue(aws.record, lease)
    found = _assumed(lease.handle["session"])
    assert json.loads(found.policy) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::reports/*"]}
        ],
    }
    assert (found.role_arn, found.external_id) == (ROLE, "charter")


def test_the_credential_is_one_that_boto3_uses(aws: Place) -> None:
    import boto3

    lease = aws.lease()
    variables = aws.provider.issue(aws.record, lease).variables
    who = boto3.client(
        "sts",
        region_name="eu-central-1",
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"].reveal().decode(),
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"].reveal().decode(),
        aws_session_token=variables["AWS_SESSION_TOKEN"].reveal().decode(),
    ).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::123456789012:assumed-role/charter-reports/{lease.handle['session']}"


def test_a_revoked_session_is_denied_everything_until_it_would_have_ended_and_no_other_is(aws: Place) -> None:
    import boto3

    iam = boto3.client("iam")
    lease, bystander = aws.issued(), aws.issued()
    aws.provider.revoke(aws.record, lease)
    name = f"charter-revoked-{lease.id}"
    policy = iam.get_role_policy(RoleName="charter-reports", PolicyName=name)["PolicyDocument"]
    (statement,) = policy["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    assert statement["Condition"] == {"StringEquals": {"aws:userid": lease.handle["userid"]}}
    assert lease.handle["userid"].endswith(f":{lease.handle['session']}")
    assert bystander.handle["userid"] != lease.handle["userid"]
    until = dt.datetime.fromisoformat(lease.handle["until"])
    assert aws.provider.tidy_after(lease) == until + CLOCKS
    aws.provider.tidy(aws.record, lease)
    aws.provider.tidy(aws.record, lease)  # and once more, as after a crash
    assert name not in iam.list_role_policies(RoleName="charter-reports")["PolicyNames"]


def test_a_deny_policy_outlives_every_renewal(aws: Place) -> None:
    lease = aws.issued()
    now = dt.datetime.now(dt.UTC)
    credential = aws.provider.renew(aws.record, lease, now, now + dt.timedelta(hours=1))
    renewed = lease.renewed(now, credential.expires_at, credential.handle)
    after = aws.provider.tidy_after(renewed)
    assert after is not None
    assert after >= credential.expires_at + CLOCKS


def test_an_aws_that_refuses_is_told_without_what_was_sent(aws: Place) -> None:
    gone = a_record(aws_system(aws=aws_system()["aws"] | {"role": "arn:aws:iam::123456789012:role/gone"}))
    lease = aws.issued()
    with pytest.raises(ProviderError, match="NoSuchEntity") as caught:
        aws.provider.revoke(gone, lease)
    assert "test" not in f"{caught.value} {caught.value.help}".replace("latest", "")


def test_a_policy_that_is_too_long_for_aws_is_refused_before_anything_is_made() -> None:
    rights = tuple(Right("read", f"arn:aws:s3:::reports-{n:03}/*", ("s3:GetObject",), "vrd_1") for n in range(80))
    with pytest.raises(DeniedError, match=f"AWS takes {MAX_POLICY}"):
        session_policy(rights)


ARNS = st.from_regex(r"arn:aws:s3:::[a-z]{1,10}/[a-z*]{1,5}", fullmatch=True)
VERBS = st.lists(
    st.sampled_from(["s3:GetObject", "s3:PutObject", "sqs:SendMessage"]), min_size=1, max_size=3, unique=True
)


@given(st.lists(st.tuples(VERBS, ARNS), min_size=1, max_size=8))
def test_a_session_policy_allows_each_right_and_no_other_pair(asked: list[tuple[list[str], str]]) -> None:
    rights = tuple(Right("a", on, tuple(verbs), "vrd_1") for verbs, on in asked)
    policy = json.loads(session_policy(rights))
    allowed = {(a, r) for s in policy["Statement"] for a in s["Action"] for r in s["Resource"]}
    assert allowed == {(verb, on) for verbs, on in asked for verb in verbs}
    assert {s["Effect"] for s in policy["Statement"]} == {"Allow"}


@given(st.text(max_size=60))
def test_a_deny_policy_is_about_exactly_one_session(userid: str) -> None:
    (statement,) = json.loads(deny_policy(userid))["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:userid": userid}}


# --- what estates may say ---


def leased(**action: Any) -> dict[str, str]:
    body = aws_system()
    body["actions"] = {"read": ACTIONS["read"] | action}
    return lease_files(body, [{"system": "reports", "actions": ["read"]}])


def postgres(**action: Any) -> dict[str, str]:
    orders = Orders("", "broker", "orders", "db.example.com")
    body = orders_system(orders)
    body["actions"] = {"read": body["actions"]["read"] | action}
    return lease_files(body, [{"system": "orders-db", "actions": ["read"]}])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (postgres(verbs=["select", "truncate"]), "is none of select, insert"),
        (postgres(verbs=["insert"]), "may only select"),
        (postgres(on=["orders"]), "is no table"),
        (postgres(on=['public.orders"; DROP TABLE x; --']), "is no table"),
        (postgres(on=["pg_catalog.pg_authid"]), "is no table"),
        (postgres(on=["information_schema.tables"]), "is no table"),
        (postgres(on=None), "`on` is missing"),
        (postgres(tool="another"), "neither `tool` nor `object`"),
        (postgres(object="*"), "neither `tool` nor `object`"),
        (leased(verbs=["s3:*"]), "is no IAM action"),
        (leased(verbs=["*"]), "is no IAM action"),
        (leased(verbs=["s3:Get*"]), "is no IAM action"),
        (leased(verbs=["s3:PutObject"]), "may only Get"),
        (leased(on=["reports"]), "is no resource"),
    ],
)
def test_what_a_leased_system_may_not_say(files: dict[str, str], said: str) -> None:
    with pytest.raises(EstateError, match=said):
        parse_estate({k: v.replace('"on":null,', "") for k, v in files.items()})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lease": None}, "`lease` is missing"),
        ({"aws": None}, "`aws` is missing"),
        ({"kind": "mcp", "actions": {}}, "says where a system of the kind aws is"),
        ({"upstream": {"transport": "http", "url": "https://x.example"}}, "has no upstream"),
        ({"lease": {"ttl": "5m", "max": "1h"}}, "sessions of 15m at least"),
        ({"lease": {"ttl": "2h", "max": "1h"}}, "longer at first than in all"),
        ({"lease": {"ttl": "1h", "max": "13h"}}, "at most 12h"),
        ({"aws": {"role": "reports", "region": "eu-central-1"}}, "is no role's ARN"),
        ({"aws": {"role": ROLE, "region": "eu-central-1", "access_key": "A" * 20}}, "go together"),
    ],
)
def test_a_leased_system_is_of_its_kind(changed: dict[str, Any], said: str) -> None:
    body = {k: v for k, v in aws_system(**changed).items() if v is not None}
    with pytest.raises((EstateError, MalformedError), match=said):
        parse_estate(lease_files(body, [{"system": "reports", "actions": ["read"]}]))


def test_a_lease_value_moves_only_where_it_may() -> None:
    lease = Place(FakeProvider(), a_record(aws_system()), Right("read", "x", ("y",), "v")).lease()
    now = lease.created_at
    from charter.core.errors import ConflictError

    for state in LeaseState:
        for move in (
            lambda each: each.issued(now, now, {}),
            lambda each: each.renewed(now, now, {}),
            lambda each: each.revoking(now, "why"),
            lambda each: each.revoked(now),
            lambda each: each.failed(now, "why"),
        ):
            here = replace(lease, state=state)
            try:
                there = move(here).state
            except ConflictError:
                continue
            assert (state, there) in {
                (LeaseState.RECORDED, LeaseState.ISSUED),
                (LeaseState.RECORDED, LeaseState.REVOKING),
                (LeaseState.RECORDED, LeaseState.FAILED),
                (LeaseState.ISSUED, LeaseState.RENEWED),
                (LeaseState.ISSUED, LeaseState.REVOKING),
                (LeaseState.RENEWED, LeaseState.RENEWED),
                (LeaseState.RENEWED, LeaseState.REVOKING),
                (LeaseState.REVOKING, LeaseState.REVOKING),
                (LeaseState.REVOKING, LeaseState.REVOKED),
            }


def test_pauses_between_attempts_double_up_to_five_minutes() -> None:
    lease = Place(FakeProvider(), a_record(aws_system()), Right("read", "x", ("y",), "v")).lease()
    now = lease.created_at
    ended = lease.revoking(now, "why")
    pauses = []
    for _ in range(12):
        ended = ended.not_revoked(now, "down")
        assert ended.next_try_at is not None
        pauses.append(int((ended.next_try_at - now).total_seconds()))
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]

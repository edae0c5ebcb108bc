"""AWS sessions made per lease: AssumeRole with a session policy that allows exactly the granted actions and resources.

What a session may do is the intersection of the role's own policies and the session policy, so a lease never exceeds
the role either. AWS has no way to end one session; so a revocation puts an inline policy on the role that denies
everything to this one session, known by its `aws:userid`, and takes it away again once the session would have ended
by itself.

INVARIANT: a session is named by its lease before it exists, and no two leases share a name.
INVARIANT: the deny policy stands until the last credential of the session has expired, renewals included.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from charter.core.clock import parse_rfc3339, rfc3339
from charter.core.errors import CharterError, DeniedError, ErrorCode
from charter.core.values import Secret
from charter.gateway.broker import Credential, Gone, ProviderError
from charter.registry.lease import Lease, Right
from charter.registry.leasing import AwsPlace
from charter.registry.principal import SystemRecord

T = TypeVar("T")
SecretOf = Callable[[SystemRecord, str], Secret]
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 10, 2
LEAST_SECONDS, MOST_SECONDS = 900, 43_200  # of a session (sts:AssumeRole, DurationSeconds)
MAX_POLICY = 2048  # characters of a session policy
CLOCKS = dt.timedelta(minutes=5)  # by which clocks may differ, before a deny policy is taken away
_MISSING = frozenset({"NoSuchEntity", "NoSuchEntityException"})


@dataclass(frozen=True, slots=True)
class AwsLeases:
    """Satisfies gateway.broker.Provider for systems of the kind aws."""

    secret_of: SecretOf

    def handle(self, lease_id: str, record: SystemRecord) -> Mapping[str, str]:
        """Return the name of the session that will be made."""
        return {"session": f"charter-{lease_id}", "role": _place(record).role}

    def issue(self, record: SystemRecord, lease: Lease) -> Credential:
        """Assume the role for a recorded lease."""
        return self._session(record, lease, lease.expires_at - lease.created_at)

    def renew(self, record: SystemRecord, lease: Lease, at: dt.datetime, until: dt.datetime) -> Credential:
        """Assume the role again, for the same session name: a new credential; the old one ends by itself."""
        return self._session(record, lease, until - at)

    def revoke(self, record: SystemRecord, lease: Lease) -> Gone:
        """Deny everything to the session from now on."""
        if "userid" not in lease.handle:  # nobody learned of a credential: there is none that could be used
            return Gone.MISSING
        iam, place = self._client("iam", record, perhaps_made=True), _place(record)
        document = deny_policy(lease.handle["userid"])
        given = {"RoleName": _role_name(place), "PolicyName": _policy_name(lease), "PolicyDocument": document}
        _asked(lambda: iam.put_role_policy(**given), perhaps_made=True)
        return Gone.REMOVED

    def tidy_after(self, lease: Lease) -> dt.datetime | None:
        """Return when every credential of the session has ended by itself."""
        until = lease.handle.get("until")
        return parse_rfc3339(until) + CLOCKS if until is not None else None

    def tidy(self, record: SystemRecord, lease: Lease) -> None:
        """Take the deny policy away."""
        iam, place = self._client("iam", record, perhaps_made=True), _place(record)
        given = {"RoleName": _role_name(place), "PolicyName": _policy_name(lease)}
        _asked(lambda: iam.delete_role_policy(**given), perhaps_made=True, missing_is_fine=True)

    def _session(self, record: SystemRecord, lease: Lease, life: dt.timedelta) -> Credential:
        place, policy = _place(record), session_policy(lease.rights)
        seconds = min(max(int(life.total_seconds()), LEAST_SECONDS), MOST_SECONDS)
        given: dict[str, Any] = {
            "RoleArn": place.role,
            "RoleSessionName": lease.handle["session"],
            "Policy": policy,
            "DurationSeconds": seconds,
        }
        given |= {"ExternalId": place.external_id} if place.external_id else {}
        sts = self._client("sts", record, perhaps_made=False)
        answer = _asked(lambda: sts.assume_role(**given), perhaps_made=False)
        found = answer["Credentials"]
        plain = {
            "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
            "AWS_SESSION_TOKEN": found["SessionToken"],
            "AWS_REGION": place.region,
            "AWS_DEFAULT_REGION": place.region,
        }
        variables = {name: Secret(str(value).encode()) for name, value in plain.items()}
        until = found["Expiration"].astimezone(dt.UTC)
        handle = {"userid": str(answer["AssumedRoleUser"]["AssumedRoleId"]), "until": rfc3339(until)}
        return Credential("aws", variables, until, handle)

    def _client(self, service: str, record: SystemRecord, *, perhaps_made: bool) -> Any:  # noqa: ANN401 - boto3 has no types of its own
        place = _place(record)
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as err:
            text, mend = "AWS needs the package boto3", "pip install 'charter[aws]'"
            raise ProviderError(text, perhaps_made=perhaps_made, help=mend) from err
        key: dict[str, str] = {}
        if place.access_key is not None and place.secret is not None:
            try:
                secret = self.secret_of(record, place.secret).reveal().decode()
            except CharterError as err:
                raise ProviderError(err.detail, perhaps_made=perhaps_made, help=err.help) from err
            key = {"aws_access_key_id": place.access_key, "aws_secret_access_key": secret}
        settings = Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS}
        )
        try:
            return boto3.client(service, region_name=place.region, config=settings, **key)
        except (BotoCoreError, ValueError) as err:
            raise _failed(type(err).__name__, perhaps_made=perhaps_made) from err


def session_policy(rights: tuple[Right, ...]) -> str:
    """Return the session policy that allows what `rights` say and nothing else.

    Raises:
        DeniedError: it is longer than AWS takes.
    """
    by_actions: dict[tuple[str, ...], list[str]] = {}
    for right in rights:
        resources = by_actions.setdefault(tuple(sorted(right.verbs)), [])
        resources += [right.on] if right.on not in resources else []
    statements = [
        {"Effect": "Allow", "Action": list(actions), "Resource": resources} for actions, resources in by_actions.items()
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    if len(policy) > MAX_POLICY:
        raise DeniedError(
            ErrorCode.TOO_LARGE,
            f"the session policy of this lease has {len(policy)} characters, and AWS takes {MAX_POLICY}",
            help="ask for fewer actions or resources at once",
        )
    return policy


def deny_policy(userid: str) -> str:
    """Return the policy that denies everything to one session of a role, and nothing to any other."""
    statement = {
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:userid": userid}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


def _place(record: SystemRecord) -> AwsPlace:
    place = record.system.aws
    if place is None:
        raise RuntimeError("a lease of the kind aws is for a system of that kind")
    return place


def _role_name(place: AwsPlace) -> str:
    return place.role.rpartition("/")[2]


def _policy_name(lease: Lease) -> str:
    return f"charter-revoked-{lease.id}"


def _asked(ask: Callable[[], T], *, perhaps_made: bool, missing_is_fine: bool = False) -> T | dict[str, Any]:
    """Return what AWS answers; its complaints become ProviderErrors, without what they repeat."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as err:
        code = str(err.response.get("Error", {}).get("Code", "unknown"))
        if missing_is_fine and code in _MISSING:
            return {}
        raise _failed(code, perhaps_made=perhaps_made) from err
    except BotoCoreError as err:
        raise _failed(type(err).__name__, perhaps_made=perhaps_made) from err


def _failed(why: str, *, perhaps_made: bool) -> ProviderError:
    return ProviderError(
        f"AWS refuses, or cannot be reached: {why[:100]}",
        perhaps_made=perhaps_made,
        help="check the system's `aws`: the role, who may assume it, and that its policies may be changed",
    )

"""What records of vendors' logs tell of: what failed, what it was done to, and that nothing of one is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from charter.core.errors import MalformedError
from charter.evidence.observation import Observation
from charter.evidence.payload import set_apart
from charter.evidence.vendors.google import MAX_EVENTS
from charter.evidence.vendors.readers import read_observations

AT = "2026-11-26T20:15:51.202Z"
JO = {"type": "session", "session": {"user": {"id": "user-9", "email": "jo@example.com"}, "ip_address": "192.0.2.1"}}


def told(kind: str, **record: Any) -> tuple[Observation, ...]:
    return read_observations(json.dumps(record).encode(), kind)


def google(application: str, *events: tuple[str, dict[str, str]]) -> tuple[Observation, ...]:
    flag = {"name": "primary_event", "boolValue": True}
    return told(
        "google-workspace",
        id={"time": AT, "uniqueQualifier": "-38", "applicationName": application},
        actor={"email": "liz@example.com", "profileId": "1"},
        events=[
            {"type": "x", "name": name, "parameters": [flag, *({"name": n, "value": v} for n, v in values.items())]}
            for name, values in events
        ],
    )


def aws(name: str, **more: Any) -> tuple[Observation, ...]:
    jo = {"type": "IAMUser", "arn": "arn:aws:iam::1:user/jo"}
    return told(
        "cloudtrail", eventID="e", eventTime=AT, eventSource="x.amazonaws.com", eventName=name, userIdentity=jo, **more
    )


def openai(kind: str, **said: Any) -> tuple[Observation, ...]:
    return told("openai", id="audit_log-1", type=kind, effective_at=1795608861, actor=JO, **{kind: said})


def anthropic(kind: str, actor: dict[str, Any], **more: Any) -> tuple[Observation, ...]:
    return told("anthropic", id="activity_1", created_at=AT, type=kind, organization_id="org_1", actor=actor, **more)


def github(action: str, **more: Any) -> tuple[Observation, ...]:
    said = {"@timestamp": 1795608861000, "action": action, "actor": "boss"}
    return told("github", _document_id="d", **(said | more))


USER = {"type": "user_actor", "email_address": "jo@example.com", "user_id": "user_1", "ip_address": "192.0.2.34"}
NOBODY = {"type": "unauthenticated_user_actor", "unauthenticated_email_address": "jo@example.com"}
SCIM = {"type": "scim_directory_sync_actor", "directory_id": "directory_1"}


@pytest.mark.parametrize(
    ("found", "outcome", "error"),
    [
        (openai("login.failed", error_code="invalid_password"), "failure", "invalid_password"),
        (anthropic("sso_login_failed", NOBODY), "failure", ""),
        (github("user.failed_login"), "failure", ""),
        (google("login", ("login_failure", {})), "failure", ""),
        (google("login", ("login_success", {})), "success", ""),
        (aws("ConsoleLogin", errorMessage="Failed authentication"), "failure", "Failed authentication"),
        (openai("login.succeeded"), "success", ""),
    ],
)
def test_what_failed_is_no_success(found: tuple[Observation, ...], outcome: str, error: str) -> None:
    assert [(each.outcome, each.error) for each in found] == [(outcome, error)]


@pytest.mark.parametrize(
    ("found", "effect", "name"),
    [
        (aws("DeleteBucket", requestParameters={"bucketName": "crown-jewels"}), "delete", "crown-jewels"),
        (openai("user.updated", id="user-2", changes_requested={"role": "owner"}), "update", "user-2"),
        (openai("project.archived", id="proj_abc"), "update", "proj_abc"),
        (anthropic("claude_file_viewed", USER, claude_file_id="claude_file_1"), "read", "claude_file_1"),
        (anthropic("claude_chat_created", USER, claude_chat_id="chat_1", claude_project_id=None), "create", "chat_1"),
        (google("drive", ("edit", {"visibility": "private", "doc_id": "1ABC"})), "update", "1ABC"),
        (google("token", ("authorize", {"app_name": "Claude"})), "other", "Claude"),
        (github("org.add_member", org="acme", user="newbie"), "create", "acme"),
    ],
)
def test_what_was_done_and_to_what(found: tuple[Observation, ...], effect: str, name: str) -> None:
    assert [(each.effect, each.object) for each in found] == [(effect, name)]


def test_each_event_of_an_activity_is_told_and_the_first_keeps_its_id() -> None:
    edited, opened = google("drive", ("edit", {"doc_id": "1"}), ("change_document_visibility", {"doc_id": "1"}))
    assert (edited.action, opened.action) == ("edit", "change_document_visibility")
    assert (edited.event, opened.event) == (f"drive/{AT}/-38", f"drive/{AT}/-38/1")
    assert edited.digest == opened.digest  # of the record, which both can be held against
    with pytest.raises(MalformedError, match="more than 100 events"):
        google("drive", *[("edit", {"doc_id": "1"})] * (MAX_EVENTS + 1))


@pytest.mark.parametrize(
    ("found", "uses_ai"),
    [
        (anthropic("claude_chat_created", USER), True),
        (anthropic("sso_login_failed", NOBODY), False),
        (anthropic("user_created", SCIM), False),
        (openai("api_key.created", id="key_1"), True),
        (openai("login.failed"), False),
    ],
)
def test_who_only_signs_in_or_is_brought_by_a_directory_uses_no_ai(
    found: tuple[Observation, ...], uses_ai: bool
) -> None:
    assert [each.uses_ai for each in found] == [uses_ai]


@pytest.mark.parametrize(("action", "actor"), [("git.clone", None), ("git.clone", ""), ("copilot.swe_agent", None)])
def test_what_github_tells_of_nobody_is_kept_and_is_nobodys(action: str, actor: str | None) -> None:
    """The platform's own deeds, and strangers who clone in public: valid events, that are evidence too."""
    (found,) = github(action, actor=actor, repository="o/public")
    assert (found.who.name, found.who.kind, found.object) == ("(unnamed)", "unknown", "o/public")
    assert not found.uses_ai


def test_an_address_that_nobody_proved_names_no_actor() -> None:
    (found,) = anthropic("sso_login_failed", NOBODY)
    assert "jo@example.com" not in found.who.names
    assert found.more["claimed"] == "jo@example.com"


def impersonation() -> tuple[Observation, ...]:
    return told(
        "kubernetes",
        auditID="a",
        stage="ResponseComplete",
        verb="create",
        user={"username": "jo@example.com"},
        impersonatedUser={"username": "system:serviceaccount:prod:agent"},
        objectRef={"resource": "pods", "namespace": "prod"},
        responseStatus={"code": 201},
        stageTimestamp=AT,
    )


def test_a_person_who_impersonates_is_the_actor_and_whom_they_impersonate_is_told() -> None:
    (found,) = impersonation()
    assert (found.who.marks, found.more["impersonates"]) == (("jo@example.com",), "system:serviceaccount:prod:agent")


@pytest.mark.parametrize(
    ("found", "who"),
    [
        (anthropic("sso_login_failed", NOBODY), "jo@example.com"),
        (github("org.add_member", user="newbie"), "newbie"),
        (impersonation(), "serviceaccount:prod:agent"),
    ],
)
def test_other_people_that_a_record_names_can_be_erased(found: tuple[Observation, ...], who: str) -> None:
    body = found[0].draft(None, "", {}).body
    apart = set_apart("observed", dict(body), bytes)
    assert apart is not None
    assert who in json.dumps(body)
    assert who not in json.dumps(apart[0])

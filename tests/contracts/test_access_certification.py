"""The published certification scenario of the AuthZEN Authorization API 1.0, at every level, over TLS on a real socket.

Source: github.com/openid/authzen at e287920, certification/authorization-api-1_0-scenario.md; the numbers are its
sections. Its requests are sent as they stand there; what they must get is checked as its harness does. The fixture is
the estate of access_stage.py.
"""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from access_stage import POINT, Access, access_files
from certificates import a_server_certificate
from charter.config import Settings
from charter.server.app import _tls_server
from charter.server.oauth import ASSERTION_TYPE
from houses import a_house
from serving import serving_on

ALICE, BOB = {"type": "user", "id": "alice"}, {"type": "user", "id": "bob"}
ADMIN = BOB | {"properties": {"role": "admin"}}
READ, WRITE = {"name": "read"}, {"name": "write"}
ONE, TWO = {"type": "record", "id": "record-1"}, {"type": "record", "id": "record-2"}
ARCHIVED = TWO | {"properties": {"status": "archived"}}
ACTIVE = ONE | {"properties": {"status": "active"}}
CONTEXT = {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}


@dataclass
class Pdp:
    """What the harness knows: an address, and a token of an enforcement point."""

    base: str
    client: httpx.Client
    token: str = ""

    def post(self, path: str, body: Any = None, *, content: bytes | None = None, **headers: str) -> httpx.Response:
        given = {"Authorization": f"Bearer {self.token}"} | headers
        if content is not None:
            return self.client.post(self.base + path, content=content, headers=given)
        return self.client.post(self.base + path, json=body, headers=given)

    def decision(self, subject: Any, action: Any, resource: Any, **more: Any) -> bool:
        asked = {"subject": subject, "action": action, "resource": resource} | more
        answer = self.post("/access/v1/evaluation", asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        said = answer.json()
        assert type(said["decision"]) is bool
        assert isinstance(said.get("context", {}), dict)
        return bool(said["decision"])

    def batch(self, **asked: Any) -> list[bool]:
        answer = self.post("/access/v1/evaluations", asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        said = answer.json()["evaluations"]
        assert len(said) == len(asked["evaluations"])
        assert all(type(each["decision"]) is bool and isinstance(each.get("context", {}), dict) for each in said)
        return [each["decision"] for each in said]

    def search(self, what: str, **asked: Any) -> dict[str, Any]:
        answer = self.post(f"/access/v1/search/{what}", asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        said: dict[str, Any] = answer.json()
        assert isinstance(said["results"], list)
        if "page" in said:
            assert isinstance(said["page"]["next_token"], str)
        return said

    def found(self, what: str, **asked: Any) -> set[str]:
        results = self.search(what, **asked)["results"]
        if what == "action":
            return {each["name"] for each in results}
        assert all(each["type"] == asked[what]["type"] for each in results)
        return {each["id"] for each in results}


@pytest.fixture(scope="module")
def pdp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pdp]:
    folder: Path = tmp_path_factory.mktemp("certification")
    server = a_server_certificate().write(folder / "server", "server")
    listener = socket.create_server(("127.0.0.1", 0))
    told: dict[str, Any] = {"tls_cert": server[0], "tls_key": server[1], "tls_port": listener.getsockname()[1]}
    (folder / "estate").mkdir()
    with a_house(folder / "estate", files=access_files(), **told) as stage:
        stage.clock.at = dt.datetime.now(dt.UTC)
        settings: Settings = stage.house.settings
        assert settings.mtls_url is not None
        trusting = ssl.create_default_context(cafile=str(folder / "server" / "server.pem"))
        access = Access(stage, None)  # type: ignore[arg-type]  # its key alone is used
        with serving_on(_tls_server(stage.house), listener), httpx.Client(verify=trusting, timeout=20) as client:
            pdp = Pdp(settings.mtls_url, client)
            form = {
                "grant_type": "client_credentials",
                "resource": f"{settings.issuer}/access/v1",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": access.pair(POINT).assertion(
                    stage.clock.now(), aud=f"{settings.mtls_url}/oauth/token"
                ),
            }
            answer = client.post(f"{pdp.base}/oauth/token", data=form)
            assert answer.status_code == 200, answer.text
            pdp.token = answer.json()["access_token"]
            yield pdp


# --- Basic (2) ---


def test_the_eight_decisions_of_the_fixture(pdp: Pdp) -> None:
    """Sections 1.4, 2.2.1 to 2.2.7: rules 1 to 8, with and without a context."""
    assert pdp.decision(ALICE, READ, ONE) is True
    assert pdp.decision(ALICE, WRITE, ONE) is True
    assert pdp.decision(BOB, READ, ONE) is True
    assert pdp.decision(BOB, WRITE, ONE) is False
    assert pdp.decision(ALICE, WRITE, ARCHIVED) is False
    assert pdp.decision(ADMIN, WRITE, ARCHIVED) is True
    assert pdp.decision(ALICE, {"name": "delete", "properties": {"soft": True}}, ONE) is True
    assert pdp.decision(ALICE, {"name": "delete", "properties": {"soft": False}}, ONE) is False
    assert pdp.decision(ALICE, READ, ONE, context=CONTEXT) is True
    assert pdp.decision(BOB, WRITE, ONE, context=CONTEXT) is False


def test_additional_properties_and_unknown_fields_are_taken(pdp: Pdp) -> None:
    """Sections 2.2.8 and 2.2.9."""
    subject = ALICE | {"properties": {"department": "Sales", "role": "manager"}}
    action = READ | {"properties": {"method": "GET"}}
    resource = ONE | {"properties": {"status": "active", "owner": "bob"}}
    assert pdp.decision(subject, action, resource) is True
    assert pdp.decision(ALICE, READ, ONE, foo="bar", futureField={"nested": True}) is True


@pytest.mark.parametrize(
    "asked",
    [
        {"action": READ, "resource": ONE},
        {"subject": ALICE, "resource": ONE},
        {"subject": ALICE, "action": READ},
        {"subject": {"id": "alice"}, "action": READ, "resource": ONE},
        {"subject": {"type": "user"}, "action": READ, "resource": ONE},
        {"subject": ALICE, "action": {}, "resource": ONE},
        {"subject": ALICE, "action": READ, "resource": {"id": "record-1"}},
        {"subject": ALICE, "action": READ, "resource": {"type": "record"}},
        {"subject": "alice", "action": READ, "resource": ONE},
        {"subject": ALICE, "action": {"name": 123}, "resource": ONE},
    ],
)
def test_what_lacks_a_field_or_has_one_of_another_type_is_a_400(pdp: Pdp, asked: Any) -> None:
    """Sections 2.4.1, 2.4.2 and 2.4.6."""
    assert pdp.post("/access/v1/evaluation", asked).status_code == 400


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"subject": {"type": "user", "id": "alice"}}', "text/plain"),
        (b"{not json", "application/json"),
        (b"", "application/json"),
    ],
)
def test_another_content_type_broken_json_and_an_empty_body_are_a_400(pdp: Pdp, content: bytes, kind: str) -> None:
    """Sections 2.4.3 to 2.4.5."""
    answer = pdp.post("/access/v1/evaluation", content=content, **{"Content-Type": kind})
    assert answer.status_code == 400


def test_a_request_id_comes_back_and_none_is_needed(pdp: Pdp) -> None:
    """Sections 2.5.1 and 2.5.2; with errors too (section 10.1.3 of the specification)."""
    asked = {"subject": ALICE, "action": READ, "resource": ONE}
    named = {"X-Request-ID": "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"}
    assert pdp.post("/access/v1/evaluation", asked, **named).headers["x-request-id"] == named["X-Request-ID"]
    assert pdp.post("/access/v1/evaluation", {}, **named).headers["x-request-id"] == named["X-Request-ID"]
    assert "x-request-id" not in pdp.post("/access/v1/evaluation", asked).headers


def test_the_same_question_gets_the_same_decision(pdp: Pdp) -> None:
    """Section 2.6."""
    assert [pdp.decision(ALICE, READ, ONE) for _ in range(5)] == [True] * 5
    assert [pdp.decision(BOB, WRITE, ONE) for _ in range(5)] == [False] * 5


# --- Batch (3) ---


def test_batches_are_answered_one_by_one_and_in_order(pdp: Pdp) -> None:
    """Sections 3.2.1 to 3.2.6."""
    pdp.batch(subject=ALICE, action=READ, evaluations=[{"resource": ONE}, {"resource": TWO}])
    assert pdp.batch(subject=BOB, resource=ONE, evaluations=[{"action": READ}, {"action": WRITE}]) == [True, False]
    assert pdp.batch(subject=ALICE, action=WRITE, evaluations=[{"resource": ACTIVE}, {"resource": ARCHIVED}]) == [
        True,
        False,
    ]
    assert pdp.batch(action=WRITE, resource=ARCHIVED, evaluations=[{"subject": ALICE}, {"subject": ADMIN}]) == [
        False,
        True,
    ]
    whole = [{"subject": ALICE, "action": READ, "resource": ONE}, {"subject": BOB, "action": WRITE, "resource": ONE}]
    assert pdp.batch(evaluations=whole) == [True, False]
    other = {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}
    items = [{"resource": ONE}, {"resource": TWO, "context": other}]
    pdp.batch(subject=ALICE, action=READ, context={"time": "2025-06-27T18:03-07:00"}, evaluations=items)


def test_defaults_are_inherited_and_replaced_whole(pdp: Pdp) -> None:
    """Section 3.2.7."""
    items: list[Any] = [{}, {"resource": ARCHIVED}]
    assert pdp.batch(subject=ALICE, action=WRITE, resource=ACTIVE, evaluations=items) == [True, False]


def test_a_question_that_is_none_is_denied_by_itself(pdp: Pdp) -> None:
    """Section 3.4.1."""
    options = {"evaluations_semantic": "execute_all"}
    items: list[Any] = [{"resource": ONE}, {}]
    assert pdp.batch(subject=ALICE, action=READ, options=options, evaluations=items) == [True, False]


@pytest.mark.parametrize("more", [{}, {"evaluations": []}])
def test_without_evaluations_one_question_is_answered(pdp: Pdp, more: dict[str, Any]) -> None:
    """Sections 3.4.2 and 3.4.3."""
    answer = pdp.post("/access/v1/evaluations", {"subject": ALICE, "action": READ, "resource": ONE} | more)
    assert answer.status_code == 200
    assert answer.json()["decision"] is True


# --- Search (4) ---


def test_subjects_are_found(pdp: Pdp) -> None:
    """Sections 4.2.1 to 4.2.4."""
    asked: dict[str, Any] = {"subject": {"type": "user"}, "action": READ, "resource": ONE}
    plain = pdp.found("subject", **asked)
    assert {"alice", "bob"} <= plain
    assert pdp.found("subject", **asked, context=CONTEXT) == plain
    assert pdp.found("subject", **asked | {"subject": ALICE}) == plain
    assert "bob" in pdp.found("subject", subject={"type": "user"}, action=WRITE, resource=ARCHIVED)


def test_resources_are_found(pdp: Pdp) -> None:
    """Sections 4.3.1 to 4.3.4."""
    asked: dict[str, Any] = {"subject": ALICE, "action": READ, "resource": {"type": "record"}}
    plain = pdp.found("resource", **asked)
    assert "record-1" in plain
    assert pdp.found("resource", **asked, context=CONTEXT) == plain
    assert pdp.found("resource", **asked | {"resource": ONE}) == plain
    assert "record-2" in pdp.found("resource", subject=ADMIN, action=WRITE, resource={"type": "record"})


def test_actions_are_found(pdp: Pdp) -> None:
    """Sections 4.4.1 to 4.4.3."""
    plain = pdp.found("action", subject=ALICE, resource=ONE)
    assert {"read", "write"} <= plain
    assert pdp.found("action", subject=ALICE, resource=ONE, context=CONTEXT) == plain
    assert "write" in pdp.found("action", subject=ADMIN, resource=ARCHIVED)


def test_pages_follow_one_another(pdp: Pdp) -> None:
    """Sections 4.5.1 to 4.5.3: the second request has the token alone, as there."""
    asked: dict[str, Any] = {"subject": {"type": "user"}, "action": READ, "resource": ONE}
    first = pdp.search("subject", **asked, page={"limit": 1})
    assert len(first["results"]) == 1
    found, following = [first["results"][0]["id"]], first["page"]["next_token"]
    while following:
        page = pdp.search("subject", **asked, page={"token": following})
        assert isinstance(page["page"]["next_token"], str)
        found += [each["id"] for each in page["results"]]
        following = page["page"]["next_token"]
    assert sorted(found) == ["alice", "bob"]


def test_nothing_found_is_an_empty_list(pdp: Pdp) -> None:
    """Sections 4.6.1 and 4.6.2, at all three."""
    nobody, ship = {"type": "user", "id": "nonexistent-user"}, {"type": "spaceship"}
    assert pdp.search("action", subject=nobody, resource=ONE)["results"] == []
    assert pdp.search("resource", subject=nobody, action=READ, resource={"type": "record"})["results"] == []
    assert pdp.search("subject", subject=ship, action=READ, resource=ONE)["results"] == []
    assert pdp.search("resource", subject=ALICE, action=READ, resource=ship)["results"] == []
    assert pdp.search("action", subject=ship | {"id": "x"}, resource=ONE)["results"] == []
    assert pdp.search("subject", subject={"type": "user"}, action=READ, resource=ship | {"id": "x"})["results"] == []


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("subject", {"subject": {"type": "user"}, "resource": ONE}),
        ("resource", {"action": READ, "resource": {"type": "record"}}),
        ("action", {"subject": ALICE}),
        ("subject", {"subject": {"type": "user"}, "action": READ, "resource": {"type": "record"}}),
        ("resource", {"subject": {"type": "user"}, "action": READ, "resource": {"type": "record"}}),
        ("action", {"subject": {"type": "user"}, "resource": ONE}),
    ],
)
def test_a_search_that_lacks_a_field_is_a_400(pdp: Pdp, what: str, asked: Any) -> None:
    """Sections 4.7.1 and 4.7.2."""
    assert pdp.post(f"/access/v1/search/{what}", asked).status_code == 400


# --- Discovery (6) ---


def test_the_metadata_are_whole_and_signed(pdp: Pdp) -> None:
    """Sections 6.1 to 6.5."""
    answer = pdp.client.get(f"{pdp.base}/.well-known/authzen-configuration")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    assert told["policy_decision_point"] == pdp.base
    endpoints = {name: url for name, url in told.items() if name.endswith("_endpoint")}
    assert len(endpoints) == 5
    assert all(
        url.startswith(f"{pdp.base}/access/v1/") and pdp.base.startswith("https://") for url in endpoints.values()
    )
    assert all(isinstance(each, str) for each in told.get("capabilities", []))
    keys = jwt.PyJWKSet.from_dict(pdp.client.get(f"{pdp.base}/oauth/jwks").json())
    signed = jwt.get_unverified_header(told["signed_metadata"])
    claims = jwt.decode(told["signed_metadata"], keys[signed["kid"]].key, algorithms=["ES256"])
    assert claims["iss"].startswith("http")
    assert {name: claims[name] for name in endpoints} == endpoints

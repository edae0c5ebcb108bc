"""SCIM 2.0 as a directory speaks it: the conformance checks of others, and what leaving does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_tester import Status, check_server

from charter.bootstrap import people
from charter.server.scim import ScimApp
from houses import House, a_house

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Answer:
    def __init__(self, status: int, headers: dict[str, str], raw: bytes) -> None:
        self.status, self.headers, self.raw = status, headers, raw

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw))


class Directory:
    """The organisation's directory: it holds a provisioner's token."""

    def __init__(self, stage: House) -> None:
        self.house = stage.house
        made = asyncio.run(people.add_provisioner(stage.house, "okta", actor="sam@example.com"))
        self.token: str = made["token"]
        self.app = ScimApp.of(stage.house)

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, raw: bytes = b"") -> Answer:
        data = raw or (b"" if body is None else json.dumps(body).encode())
        headers = {"authorization": f"Bearer {self.token if token is None else token}"}
        headers |= {"content-type": "application/scim+json", "content-length": str(len(data))}
        return asyncio.run(self.send(method, path, headers, data))

    async def send(self, method: str, path: str, headers: dict[str, str], data: bytes) -> Answer:
        where, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": f"/scim/v2{where}",
            "raw_path": where.encode("ascii", "replace"),
            "query_string": query.encode("utf-8", "replace"),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("192.0.2.9", 50_000),
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await self.app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(part.get("body", b"") for part in sent[1:]))

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Serve a client that speaks WSGI, as the conformance checks do."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        data = environ["wsgi.input"].read(length) if length else b""
        headers = {"authorization": f"Bearer {self.token}", "content-length": str(len(data))}
        headers["content-type"] = environ.get("CONTENT_TYPE", "") or "application/scim+json"
        query = environ.get("QUERY_STRING", "")
        path = environ["PATH_INFO"].partition("/scim/v2")[2] + (f"?{query}" if query else "")
        answer = asyncio.run(self.send(environ["REQUEST_METHOD"], path, headers, data))
        start_response(f"{answer.status} Said", list(answer.headers.items()))
        return [answer.raw]

    def add(self, name: str, **more: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/Users", {"schemas": [USER], "userName": name} | more)
        assert answer.status == 201, answer.raw
        return answer.body


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as stage:
        yield stage


@pytest.fixture
def directory(stage: House) -> Directory:
    return Directory(stage)


def test_the_conformance_checks_of_others_pass(directory: Directory) -> None:
    client = WSGISCIMClient(directory.wsgi, base_url=directory.app.base)
    client.discover()
    results = check_server(client, raise_exceptions=False)
    failed = [f"{r.title}: {r.reason}" for r in results if r.status in (Status.ERROR, Status.CRITICAL)]
    assert failed == []
    assert sum(r.status is Status.SUCCESS for r in results) > 50


def test_a_person_comes_back_as_they_were_sent_without_their_password(directory: Directory) -> None:
    sent = {
        "userName": "Maria@example.com",
        "name": {"givenName": "Maria", "familyName": "Berg"},
        "emails": [{"value": "maria@example.com", "type": "work", "primary": True}],
        "password": "hunter2hunter2",
        "externalId": "00u1",
    }
    made = directory.ask("POST", "/Users", {"schemas": [USER]} | sent)
    assert made.status == 201
    got = directory.ask("GET", f"/Users/{made.body['id']}").body
    assert got == made.body
    for name in ("userName", "name", "emails", "externalId"):
        assert got[name] == sent[name]
    assert "hunter2" not in json.dumps(got)
    kept = directory.house.live.directory.people[got["id"]]
    assert "hunter2" not in repr(kept.body)


def test_names_differ_by_more_than_their_case(directory: Directory) -> None:
    directory.add("maria@example.com")
    again = directory.ask("POST", "/Users", {"schemas": [USER], "userName": "MARIA@example.com"})
    assert (again.status, again.body["scimType"]) == (409, "uniqueness")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('userName eq "maria@example.com"', 1),
        ('userName eq "MARIA@EXAMPLE.COM"', 1),
        ('userName eq "nobody"', 0),
        ('userName sw "m"', 1),
        ('emails.value eq "jo@example.com"', 1),
        ('emails[value eq "jo@example.com"]', 1),
        ("active eq true", 2),
        ('externalId eq "x1"', 1),
        ('userName eq "maria@example.com" or displayName eq "Jo"', 2),
    ],
)
def test_people_are_found_by_filters(directory: Directory, query: str, found: int) -> None:
    directory.add("maria@example.com", externalId="x1")
    directory.add("jo", displayName="Jo", emails=[{"value": "jo@example.com"}])
    answer = directory.ask("GET", f"/Users?filter={quote(query)}")
    assert (answer.status, answer.body["totalResults"]) == (200, found)


def test_pages_hold_what_was_asked_for(directory: Directory) -> None:
    for number in range(5):
        directory.add(f"person-{number}")
    page = directory.ask("GET", "/Users?startIndex=2&count=2&attributes=userName").body
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 2)
    assert [set(each) - {"id", "schemas", "meta"} for each in page["Resources"]] == [{"userName"}, {"userName"}]


def test_whoever_becomes_inactive_has_left_and_what_they_owned_is_a_finding(directory: Directory) -> None:
    maria = directory.add("maria@example.com", emails=[{"value": "maria@example.com"}])
    body = {"schemas": [PATCH], "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    answer = directory.ask("PATCH", f"/Users/{maria['id']}", body)
    assert (answer.status, answer.body["active"]) == (200, False)
    assert directory.house.live.directory.has_left("Maria@example.com")
    found = directory.house.database.read(lambda tx: tx.registry.findings.of_kinds(["owner-left"]))
    assert sorted(finding.body["principal"] for finding in found) == ["charge-reader", "refund-agent"]
    entries = [e.to_json() for e in directory.house.database.read_log(lambda log: log.entries(None, 1000))]
    assert [e["body"]["what"] for e in entries if e["kind"] == "person.changed"] == ["added", "made inactive"]
    body["Operations"][0]["value"] = "True"
    assert directory.ask("PATCH", f"/Users/{maria['id']}", body).body["active"] is True
    assert not directory.house.live.directory.has_left("maria@example.com")


def test_a_deleted_person_is_gone_and_still_has_left(directory: Directory, stage: House) -> None:
    maria = directory.add("maria@example.com")
    group = {"schemas": [GROUP], "displayName": "owners", "members": [{"value": maria["id"]}]}
    made = directory.ask("POST", "/Groups", group).body
    assert directory.ask("GET", f"/Users/{maria['id']}").body["groups"][0]["display"] == "owners"
    assert directory.ask("DELETE", f"/Users/{maria['id']}").status == 204
    assert directory.ask("GET", f"/Users/{maria['id']}").status == 404
    assert "members" not in directory.ask("GET", f"/Groups/{made['id']}").body
    assert directory.house.live.directory.has_left("maria@example.com")
    again = directory.house.database.read(lambda tx: tx.directory.load())
    assert again.has_left("maria@example.com")
    assert again.groups[made["id"]].members == frozenset()
    directory.add("maria@example.com")
    assert stage.house.live.directory.with_email("maria@example.com") is not None


def test_the_directory_in_memory_is_what_was_kept(directory: Directory) -> None:
    people_made = [directory.add(f"p{n}@example.com", active=n != 2) for n in range(4)]
    members = [{"value": each["id"]} for each in people_made[:3]]
    directory.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": "g", "members": members})
    kept = directory.house.database.read(lambda tx: tx.directory.load())
    live = directory.house.live.directory
    assert (kept.people, kept.groups, kept.provisioners) == (live.people, live.groups, live.provisioners)
    assert kept.has_left("p2@example.com")


def test_members_come_and_go_by_patches(directory: Directory) -> None:
    one, two = directory.add("one"), directory.add("two")
    group = directory.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": "g"}).body
    add = [{"op": "add", "path": "members", "value": [{"value": one["id"]}, {"value": two["id"]}]}]
    directory.ask("PATCH", f"/Groups/{group['id']}", {"schemas": [PATCH], "Operations": add})
    gone = [{"op": "remove", "path": f'members[value eq "{one["id"]}"]'}]
    left = directory.ask("PATCH", f"/Groups/{group['id']}", {"schemas": [PATCH], "Operations": gone}).body
    assert [each["value"] for each in left["members"]] == [two["id"]]
    nobody = [{"op": "add", "path": "members", "value": [{"value": "psn_nobody"}]}]
    answer = directory.ask("PATCH", f"/Groups/{group['id']}", {"schemas": [PATCH], "Operations": nobody})
    assert answer.status == 404


# --- who may, and what must fail ---


def test_nothing_is_told_without_a_provisioners_token(directory: Directory) -> None:
    for token in ("", "x", "cdp_" + "0" * 64, directory.token.upper(), directory.token + "x"):
        for path in ("/Users", "/Groups", "/ServiceProviderConfig", "/Schemas", "/nowhere"):
            answer = directory.ask("GET", path, token=token)
            assert answer.status in (401, 429)
            assert directory.token not in answer.raw.decode()


def test_guessing_tokens_is_slowed_down(directory: Directory) -> None:
    answers = {directory.ask("GET", "/Users", token=f"cdp_{n}").status for n in range(700)}
    assert answers == {401, 429}


def test_a_revoked_provisioner_is_refused_at_once(directory: Directory) -> None:
    asyncio.run(people.revoke_provisioner(directory.house, "okta", actor="sam@example.com"))
    assert directory.ask("GET", "/Users").status == 401


def test_the_token_is_kept_nowhere(directory: Directory, tmp_path: Path) -> None:
    held = directory.token.encode()
    directory.house.database.write(lambda _: None)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert held not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("method", "path", "raw", "status"),
    [
        ("POST", "/Users", b"{", 400),
        ("POST", "/Users", b"[]", 400),
        ("POST", "/Users", b'{"schemas": []}', 400),
        ("POST", "/Users", b'{"schemas": ["x"], "userName": 5}', 400),
        ("POST", "/Users", b"[" * 100_000, 400),
        ("POST", "/Users", b" " * (256 * 1024 + 1), 413),
        ("PUT", "/Users", b"{}", 405),
        ("POST", "/Users/psn_1", b"{}", 405),
        ("GET", "/Users/psn_1", b"", 404),
        ("GET", "/Users?filter=userName", b"", 400),
        ("GET", "/Users?filter=nowhere%20eq%20%22x%22", b"", 200),
        ("GET", "/Users?filter=" + "(" * 900, b"", 400),
        ("GET", "/Users?filter=" + "a" * 1001, b"", 400),
        ("GET", "/Users?count=x", b"", 400),
        ("GET", "/Users?count=1&count=2", b"", 400),
        ("GET", "/Schemas?filter=id%20pr", b"", 403),
        ("DELETE", "/ServiceProviderConfig", b"", 405),
        ("GET", "/Me", b"", 404),
        ("POST", "/Users/.search", b'{"filter": 5.5}', 400),
        ("POST", "/Users/.search", b'{"count": true}', 400),
    ],
)
def test_bad_requests_get_scims_own_errors(
    directory: Directory, method: str, path: str, raw: bytes, status: int
) -> None:
    answer = directory.ask(method, path, raw=raw)
    assert answer.status == status, answer.raw
    if status >= 400:
        assert answer.body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        assert answer.body["status"] == str(status)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
attributes = st.sampled_from(
    ["userName", "emails", "active", "name", "displayName", "members", "schemas", "groups", "id", "Operations", "meta"]
)


@settings(max_examples=120)
@given(
    st.sampled_from(["POST", "PUT", "PATCH"]),
    st.sampled_from(["/Users", "/Groups"]),
    st.dictionaries(attributes, json_values, max_size=5),
    st.text(min_size=1, max_size=40),
)
def test_no_request_makes_the_server_fail(
    directory: Directory, method: str, where: str, body: dict[str, Any], text: str
) -> None:
    known = USER if where == "/Users" else GROUP
    schemas = [PATCH] if method == "PATCH" else [known]
    path = where if method == "POST" else f"{where}/psn_x"
    for sent in (body, {"schemas": schemas, "userName": "x"} | body):
        assert directory.ask(method, path, sent).status < 500
    assert directory.ask("GET", f"{where}?filter={quote(text)}").status < 500
    assert directory.ask("GET", f"{where}/{quote(text, safe='')}").status in (404, 405)

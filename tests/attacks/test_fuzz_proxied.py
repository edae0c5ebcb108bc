"""Whatever a proxy says of a request: it is let through by an allow alone, and nothing breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_stage import RECORDS, Access, a_principal, access_files, an_access
from fuzz_stage import fuzzed

BASE = "https://records.example.com"
PROXY = {"base": BASE, "routes": [{"request": "GET /records/{record_id}", "action": "read", "query": ["fields"]}]}
METHODS = st.sampled_from(["GET", "get", "POST", "DELETE", "CONNECT", "", "GET GET", "\u00e9"])
PIECES = st.sampled_from(
    ["/records/r-1", "/records/", "..", "%2e", "%2f", "//", ";", "?", "fields=1", "&", "#", "\\", "%", "\u00e9"]
)
TARGETS = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=60)


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    system = RECORDS | {"enforcement": {"proxy": PROXY}}
    system["actions"] = {"read": {"effect": "read", "object": "record/{record_id}"}}
    reading = [{"system": "records", "actions": ["read"], "objects": ["record/r-1"]}]
    files = access_files(records=system) | {
        "principals/alice.yaml": a_principal("alice", reading),
        "principals/bob.yaml": a_principal("bob", []),
    }
    with an_access(tmp_path_factory.mktemp("proxied"), files) as found:
        yield found


def test_an_allow_alone_lets_a_request_through(access: Access) -> None:
    token = access.token("alice", "/mcp/records")

    @fuzzed(150)
    @given(METHODS, TARGETS, st.sampled_from(["nginx", "envoy"]), st.booleans())
    def attempt(method: str, target: str, door: str, is_known: bool) -> None:
        headers = {"authorization": f"Bearer {token if is_known else 'x'}"}
        try:
            told = {"x-original-method": method.encode("latin-1"), "x-original-uri": target.encode("latin-1")}
        except UnicodeEncodeError:
            return
        if any(set(each) & {10, 13, 0} for each in told.values()):
            return  # no header holds them: httpx refuses to send it
        path = "/access/nginx/records"
        if door == "envoy":
            told = {}
            if not (target.isascii() and target.isprintable()):
                return  # no request line holds it
            path = "/access/envoy/records" + (target if target.startswith("/") else f"/{target}")
        before = len(access.stage.entries("verdict"))
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        sent |= {name.encode(): value for name, value in told.items()}
        answer = access.send("GET", path, headers=sent)  # type: ignore[arg-type]  # bytes, as they come over a wire
        assert answer.status_code in (200, 303, 400, 401, 403, 404, 421), answer.text  # 303: `..` led out of the door
        if answer.status_code == 200:
            assert is_known
            assert target.partition("?")[0].partition("#")[0] == "/records/r-1", target
            assert door == "envoy" or method == "GET"
            assert len(access.stage.entries("verdict")) == before + 1

    attempt()


def test_a_system_without_its_own_proxy_has_no_door(access: Access) -> None:
    for name in ("ledger", "nothing", "", "records/x", "%72ecords"):
        assert access.send("GET", f"/access/nginx/{name}").status_code == 404

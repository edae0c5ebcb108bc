"""Which request is which action: read strictly, matched by one route at most."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from charter.core.errors import MalformedError
from charter.gateway.proxied import call_of, parse_target, route_of
from charter.registry.proxied import Proxied
from charter.registry.system import System

ROUTES: list[dict[str, Any]] = [
    {"request": "GET /", "action": "look"},
    {"request": "GET /records/{record_id}", "action": "read", "query": ["fields"]},
    {"request": "GET /records/{record_id}/notes/{note}", "action": "read"},
    {"request": "POST /records", "action": "write"},
]


def proxied(*routes: dict[str, Any], base: str = "https://records.example.com") -> Proxied:
    return Proxied.model_validate({"base": base, "routes": list(routes) or ROUTES})


def system() -> System:
    return System.model_validate(
        {
            "charter": "v1",
            "system": "records",
            "kind": "http",
            "environment": "production",
            "owner": {"person": "pia@example.com", "team": "platform"},
            "actions": {"look": {"effect": "read"}, "read": {"effect": "read"}, "write": {"effect": "write"}},
            "enforcement": {"proxy": {"base": "https://records.example.com", "routes": ROUTES}},
        }
    )


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", ("look", {})),
        ("GET", "/records/r-1", ("read", {"record_id": "r-1"})),
        ("GET", "/records/r%201", ("read", {"record_id": "r 1"})),
        ("GET", "/records/r-1?fields=a%2Cb", ("read", {"record_id": "r-1", "fields": "a,b"})),
        ("GET", "/records/r-1/notes/n", ("read", {"record_id": "r-1", "note": "n"})),
        ("POST", "/records", ("write", {})),
        ("HEAD", "/records/r-1", None),
        ("get", "/records/r-1", None),
        ("GET", "/Records/r-1", None),
        ("GET", "/records", None),
        ("GET", "/records/r-1?fields=a&more=b", None),
        ("POST", "/records?dry_run=1", None),
    ],
)
def test_a_request_takes_one_route_or_none(
    method: str, target: str, expected: tuple[str, dict[str, str]] | None
) -> None:
    found = route_of(proxied(), method, parse_target(target))
    assert (found and (found[0].action, found[1])) == expected


@pytest.mark.parametrize(
    "target",
    [
        "",
        "records",
        "//",
        "//evil.example/records",
        "/records/",
        "/records//r-1",
        "/records/.",
        "/records/..",
        "/records/%2e%2e",
        "/records/a%2fb",
        "/records/a%5cb",
        "/records/a\\b",
        "/records/%252e",
        "/records/a;b",
        "/records/%",
        "/records/%g1",
        "/records/%00",
        "/records/%c0%af",
        "/records/\u00e9",
        "/records/a#b",
        "/records/a?x=1&x=2",
        "/records/a?x=1&%78=2",
        "http://records.example.com/records/a",
        "/" + "a" * 9000,
        "/a?" + "&".join(f"p{n}=1" for n in range(65)),
    ],
)
def test_what_can_be_read_in_two_ways_is_no_request(target: str) -> None:
    with pytest.raises(MalformedError):
        parse_target(target)


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/\\%;\u2028\u2029"), min_size=1))
def test_a_segment_comes_out_as_it_was_encoded(text: str) -> None:
    if text.strip("."):
        assert parse_target("/records/" + quote(text, safe="")).segments == ("records", text)


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        ([{"request": "GET /a/{b}", "action": "x"}, {"request": "GET /{c}/d", "action": "y"}], "could be both"),
        ([{"request": "GET /a", "action": "x"}, {"request": "GET /a", "action": "y"}], "could be both"),
        ([{"request": "FETCH /a", "action": "x"}], "begins with no method"),
        ([{"request": "GET a", "action": "x"}], "has no path"),
        ([{"request": "GET /a/{b}/{b}", "action": "x"}], "one part twice"),
        ([{"request": "GET /{asked}", "action": "x"}], "means something else"),
        ([{"request": "GET /a{b}", "action": "x"}], "neither plain nor"),
        ([{"request": "GET /a//b", "action": "x"}], "neither plain nor"),
        ([{"request": "GET /../b", "action": "x"}], "neither plain nor"),
        ([{"request": "GET /a/{b}", "action": "x", "query": ["b"]}], "is taken already"),
        ([{"request": "GET /a", "action": "x", "query": ["q", "q"]}], "is taken already"),
    ],
)
def test_routes_that_leave_anything_open_are_refused(routes: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        proxied(*routes)


@pytest.mark.parametrize("base", ["http://records.example.com", "https://records.example.com/api", "records", ""])
def test_the_address_is_the_one_callers_see(base: str) -> None:
    with pytest.raises(ValidationError):
        proxied(base=base)


def test_a_system_is_told_of_routes_to_actions_that_it_has_not() -> None:
    told = system().model_dump(mode="json", exclude_none=True)
    told["enforcement"]["proxy"]["routes"][0]["action"] = "raed"
    with pytest.raises(ValidationError, match="`raed` is no action"):
        System.model_validate(told)
    told["enforcement"] = {"context": ["region"]}
    with pytest.raises(ValidationError, match="nobody enforces"):
        System.model_validate(told)


def test_a_call_is_bound_to_what_was_asked() -> None:
    own = system()
    assert own.enforcement is not None
    assert own.enforcement.proxy is not None
    calls = [
        call_of(own, own.enforcement.proxy, method, parse_target(target))
        for method, target in [("GET", "/records/a"), ("GET", "/records/b"), ("DELETE", "/records/a")]
    ]
    assert [call.tool for call in calls] == ["read", "read", "DELETE /records/a"]
    assert len({call.digest for call in calls}) == 3
    assert all(call.by_proxy for call in calls)

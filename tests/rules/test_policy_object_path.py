"""An object's path means to the upstream what it means to policy, or there is none."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.errors import MalformedError
from charter.policy.object_path import fill_template, template_fault

FILLED = [
    ("charge/{charge_id}", {"charge_id": "ch_1"}, "charge/ch_1"),
    ("charge/{charge_id}", {"charge_id": 7}, "charge/7"),
    ("charge/{charge_id}", {"charge_id": 7.0}, "charge/7"),
    ("flag/{on}", {"on": True}, "flag/true"),
    ("rows", {}, "rows"),
    ("*", {"charge_id": "ch_1"}, "*"),
    ("repo/{repo}/branch/{branch}", {"repo": "web", "branch": "feature/x"}, "repo/web/branch/feature/x"),
    ("{path}", {"path": "/srv/data/a.txt"}, "/srv/data/a.txt"),
    ("{path}", {"path": "/"}, "/"),
    ("{path}", {"path": "."}, "."),
    ("{url}", {"url": "https://example.com/a/b"}, "https://example.com/a/b"),
    ("{url}", {"url": "https://example.com/"}, "https://example.com/"),
    ("page/{url}", {"url": "https://example.com"}, "page/https://example.com"),
]
REFUSED = [
    ("charge/{charge_id}", {}, "the argument `charge_id` is missing"),
    ("charge/{charge_id}", {"charge_id": None}, "must be text or a whole number"),
    ("charge/{charge_id}", {"charge_id": ["ch_1"]}, "must be text or a whole number"),
    ("charge/{charge_id}", {"charge_id": {"id": "ch_1"}}, "must be text or a whole number"),
    ("charge/{charge_id}", {"charge_id": 1.5}, "must be text or a whole number"),
    ("charge/{charge_id}", {"charge_id": ""}, "is empty"),
    ("charge/{charge_id}", {"charge_id": "../admin"}, "holds a `.` or `..` segment"),
    ("charge/{charge_id}", {"charge_id": "a/./b"}, "holds a `.` or `..` segment"),
    ("charge/{charge_id}", {"charge_id": "a//b"}, "holds an empty segment"),
    ("charge/{charge_id}", {"charge_id": "/a"}, "holds an empty segment"),
    ("charge/{charge_id}", {"charge_id": "a/"}, "holds an empty segment"),
    ("charge/{charge_id}", {"charge_id": "a\x00b"}, "holds a control or invisible character"),
    ("charge/{charge_id}", {"charge_id": "a\u202eb"}, "holds a control or invisible character"),
    ("charge/{charge_id}", {"charge_id": "a\ud800b"}, "holds a control or invisible character"),
    ("charge/{charge_id}", {"charge_id": "e\u0301"}, "is not in Unicode's composed form"),
    ("charge/{charge_id}", {"charge_id": "x" * 1025}, "is longer than 1024 characters"),
    ("{path}", {"path": "C:\\data\\..\\secret"}, "holds a `.` or `..` segment"),
    ("{path}", {"path": "\uff0e\uff0e/secret"}, "holds a `.` or `..` segment"),
    ("{path}", {"path": "%2e%2e/secret"}, "holds a `.` or `..` segment"),
    ("{path}", {"path": "%252e%252e%252fsecret"}, "holds a `.` or `..` segment"),
    ("{path}", {"path": "a%00b"}, "holds an encoded control character"),
    ("{url}", {"url": "https://example.com@evil.example/"}, "is a URL that can be read as another"),
    ("{url}", {"url": "https://EXAMPLE.com/"}, "is a URL that can be read as another"),
    ("{url}", {"url": "https://example.com\\@evil.example/"}, "holds an empty segment"),
    ("{url}", {"url": "https://example.com/a/../b"}, "holds a `.` or `..` segment"),
    ("repo/{repo}/branch/{branch}", {"repo": "web/branch/main", "branch": "x"}, "names one part of a path"),
    ("repo/{repo}/branch/{branch}", {"repo": "web%2Fbranch", "branch": "x"}, "names one part of a path"),
    ("a/.{rest}", {"rest": "."}, "segment"),
    ("{a}{b}", {"a": "x", "b": "y" * 1024}, "is longer than 1024 characters"),
]


@pytest.mark.parametrize(("template", "arguments", "path"), FILLED)
def test_a_template_is_filled_from_the_calls_arguments(template: Any, arguments: Any, path: Any) -> None:
    assert fill_template(template, arguments) == path


@pytest.mark.parametrize(("template", "arguments", "why"), REFUSED)
def test_what_an_upstream_could_read_as_another_object_is_refused(template: Any, arguments: Any, why: Any) -> None:
    with pytest.raises(MalformedError, match=re.escape(why)) as caught:
        fill_template(template, arguments)
    assert caught.value.help


def test_a_refusal_names_the_argument_and_never_shows_its_value() -> None:
    with pytest.raises(MalformedError) as caught:
        fill_template("{path}", {"path": "hunter2/../x"})
    assert "`path`" in caught.value.detail
    assert "hunter2" not in f"{caught.value.detail}{caught.value.help}"


@pytest.mark.parametrize("template", ["charge/{charge_id", "charge/charge_id}", "charge/{}"])
def test_a_template_with_odd_braces_is_told_of(template: Any) -> None:
    assert template_fault(template)


PIECES = st.sampled_from(["..", ".", "/", "\\", "%2e", "%2F", "%5c", "%25", "a", "b", "\uff0e", "\u2024", "~", "\x01"])


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=8).map("".join), st.sampled_from(["{p}", "root/{p}", "root/{p}/leaf"]))
def test_no_path_ever_leaves_its_template(value: Any, template: Any) -> None:
    try:
        path = fill_template(template, {"p": value})
    except MalformedError:
        return
    once = unquote(path)
    for reading in (path, once, unquote(once)):
        assert ".." not in re.split(r"[/\\]", reading)
    assert path.startswith(template.partition("{")[0])


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_an_argument_in_the_middle_is_always_one_segment(value: Any) -> None:
    try:
        path = fill_template("repo/{repo}/branch/{branch}", {"repo": value, "branch": "main"})
    except MalformedError:
        return
    assert path.split("/") == ["repo", value, "branch", "main"]
    assert quote(value, safe="").count("%2F") == 0

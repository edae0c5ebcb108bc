"""What is lent: which calls a scope covers, and that narrowing never widens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import MalformedError
from charter.policy.like import is_like
from charter.registry.lent_scope import EVERYTHING, Scope, ScopePart, is_within, parse_scope

ACTIONS = ["charge.read", "refund.create", "charge.list"]
SYSTEMS = ["payments", "ledger"]
patterns = st.text("ab/*", min_size=1, max_size=6)
paths = st.text("ab/", min_size=1, max_size=6)
parts = st.builds(
    ScopePart,
    st.sampled_from(SYSTEMS),
    st.one_of(st.just(("*",)), st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=2, unique=True).map(tuple)),
    st.lists(patterns, min_size=1, max_size=2, unique=True).map(tuple),
)
scopes = st.one_of(st.just(EVERYTHING), st.builds(Scope, st.lists(parts, min_size=1, max_size=3).map(tuple)))


@given(paths, patterns)
def test_a_path_is_within_a_pattern_exactly_when_cedar_says_it_is_like_it(path: str, pattern: str) -> None:
    assert is_within(path, pattern) == is_like(path, pattern)


@given(patterns, patterns, paths)
def test_a_pattern_within_another_matches_nothing_that_the_other_does_not(narrow: str, wide: str, path: str) -> None:
    if is_within(narrow, wide) and is_like(path, narrow):
        assert is_like(path, wide)


@given(scopes, scopes, st.sampled_from(SYSTEMS), st.sampled_from([*ACTIONS, "other.action"]), paths)
def test_what_lacks_nothing_allows_whatever_the_other_does(
    wide: Scope, narrow: Scope, system: str, action: str, path: str
) -> None:
    if wide.lacking(narrow) is None and narrow.allows(system, action, path):
        assert wide.allows(system, action, path)


@given(scopes)
def test_a_scope_lacks_nothing_of_itself_and_everything_lacks_nothing_at_all(scope: Scope) -> None:
    assert scope.lacking(scope) is None
    assert EVERYTHING.lacking(scope) is None


@given(scopes, st.sampled_from(SYSTEMS))
def test_what_is_on_one_system_is_within_the_whole(scope: Scope, system: str) -> None:
    there = scope.on(system)
    assert scope.lacking(there) is None
    assert not there.reaches("another")


@given(scopes)
def test_a_scope_reads_back_as_it_was_written(scope: Scope) -> None:
    assert parse_scope(scope.to_json()) == scope


@pytest.mark.parametrize(
    ("wide", "narrow", "said"),
    [
        ([{"system": "payments"}], None, "everything"),
        ([{"system": "payments"}], [{"system": "ledger"}], "anything on `ledger`"),
        (
            [{"system": "payments", "actions": ["charge.read"]}],
            [{"system": "payments"}],
            "every action on `payments`",
        ),
        (
            [{"system": "payments", "actions": ["charge.read"]}],
            [{"system": "payments", "actions": ["refund.create"]}],
            "`refund.create` on `payments`",
        ),
        (
            [{"system": "payments", "objects": ["charge/a*"]}],
            [{"system": "payments", "objects": ["charge/*"]}],
            "`charge/*` on `payments`",
        ),
        (
            [
                {"system": "payments", "actions": ["charge.read"], "objects": ["charge/*"]},
                {"system": "payments", "actions": ["refund.create"], "objects": ["charge/a"]},
            ],
            [{"system": "payments", "actions": ["charge.read", "refund.create"], "objects": ["charge/b"]}],
            "`charge/b` on `payments`",
        ),
    ],
)
def test_what_is_lacking_is_said_in_words(wide: Any, narrow: Any, said: str) -> None:
    assert parse_scope(wide).lacking(parse_scope(narrow)) == said


@pytest.mark.parametrize(
    "value",
    [
        [],
        "payments",
        {"system": "payments"},
        [{"system": "Payments"}],
        [{"system": "payments", "action": ["x"]}],
        [{"system": "payments", "actions": []}],
        [{"system": "payments", "actions": "charge.read"}],
        [{"system": "payments", "actions": ["charge.*"]}],
        [{"system": "payments", "actions": ["*", "charge.read"]}],
        [{"system": "payments", "objects": ["a\u202eb"]}],
        [{"system": "payments", "objects": ["x" * 513]}],
        [{"system": "payments", "objects": [f"{n}" * 50 for n in range(100)]}],
        [{"system": f"s{n}"} for n in range(33)],
        [3],
    ],
)
def test_what_is_no_scope_is_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        parse_scope(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["system", "actions", "objects", "x"]), v),
        max_leaves=12,
    )
)
def test_no_json_does_more_than_be_refused(value: Any) -> None:
    try:
        scope = parse_scope(value)
    except MalformedError:
        return
    assert parse_scope(scope.to_json()) == scope

"""Canonical JSON: one value, one sequence of bytes."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from charter.core import canonical as module
from charter.core.canonical import canonical, digest_of
from charter.core.errors import MalformedError

safe_integers = st.integers(-(2**53) + 1, 2**53 - 1)
scalars = st.none() | st.booleans() | safe_integers | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abcÿ", max_size=3), inner, max_size=5)
)


@given(values)
def test_the_fast_form_is_the_reference_form(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(st.dictionaries(st.text("abc", max_size=3), scalars, max_size=6))
def test_the_order_of_keys_changes_nothing(value: dict[str, object]) -> None:
    assert digest_of(value) == digest_of(dict(reversed(value.items())))


@given(values)
def test_what_is_written_reads_back(value: object) -> None:
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, "\ud800", {1: "x"}, b"x", object(), {"a": {"b": 2**60}}]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        canonical(value)


def test_nesting_is_bounded() -> None:
    value: list[object] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(MalformedError, match="nests deeper"):
        canonical(value)


class Key(str):
    """A text that is not quite one."""

    __slots__ = ()


def test_keys_that_are_known_change_no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MANY_KEYS", len(module._known_keys) + 2)
    fresh = ["known-1", "known-2", "known-3", "ÿ-1", "\U00010000", "\uffff"]
    for _ in range(2):  # the second time, what could be is known
        for value in (dict.fromkeys(fresh, 1), *({key: {key: None}} for key in fresh), {Key("known-1"): [Key("x")]}):
            assert canonical(value) == rfc8785.dumps(value)
    assert len(module._known_keys) <= module._MANY_KEYS
    with pytest.raises(MalformedError):
        canonical({"known-1": 1, 2: 1})

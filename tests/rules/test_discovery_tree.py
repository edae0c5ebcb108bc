"""Other people's configuration files are read leniently, within bounds, and never expanded or run."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.discovery.tree import MAX_DEPTH, Node, UnreadableError, read_json, read_yaml

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=20,
)


def plain(node: Node) -> object:
    """Return what a node stands for, scalars as text."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def as_text(value: object) -> object:
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


@settings(max_examples=150)
@given(JSON, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_all_json_is_read_as_json_reads_it(value: object, indent: int | str | None, ascii_only: bool) -> None:
    assert plain(read_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only))) == as_text(value)


def test_comments_and_trailing_commas_are_forgiven_and_lines_counted() -> None:
    root = read_json('// one\n{\n  /* two\n  */ "a": [1, 2,],\n  "b": {"c": "// no comment",},\n}\n')

    assert plain(root) == {"a": ["1", "2"], "b": {"c": "// no comment"}}
    assert [root.line, root.fields["a"].line, root.fields["b"].fields["c"].line] == [2, 4, 5]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ends too early"),
        ('{"a": ', "ends too early"),
        ("{a: 1}", "a key must stand in quotes"),
        ("[1]]", "closes nothing"),
        ("{} {}", "more after the end"),
        ('{"a" 1 "b": 2}', None),
        ('{"a": 1}}', "closes nothing"),
        ('"open', "no JSON"),
        ("[" * 100, f"deeper than {MAX_DEPTH}"),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, why: str | None) -> None:
    if why is None:
        assert isinstance(read_json(text), Node)
        return
    with pytest.raises(UnreadableError, match=rf"line \d+: .*{why}"):
        read_json(text)


@settings(max_examples=300)
@given(st.text(st.sampled_from('{}[]:,"\\/*\n ab1'), max_size=80))
def test_any_text_is_read_as_json_or_refused(text: str) -> None:
    try:
        read_json(text)
    except UnreadableError:
        return


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.text(st.sampled_from("a:-&*!{}[]|>'\"\n #%<? \t"), max_size=60)))
def test_any_text_is_read_as_yaml_or_refused(text: str) -> None:
    try:
        for _ in read_yaml(text).walk():
            pass
    except UnreadableError:
        return


def test_yaml_values_have_their_lines() -> None:
    root = read_yaml("on: [push]\njobs:\n  a:\n    steps:\n      - run: |\n          one\n          two\n")

    step = (root.get("jobs", "a", "steps") or root).items[0]
    assert step.text_at("run") == "one\ntwo\n"
    assert step.line == 5


def test_aliases_are_references_and_a_thousand_laughs_stay_small() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30))
    started = time.monotonic()

    root = read_yaml(f"l0: &l0 ha\n{levels}\n")

    assert root.fields["l2"].items[0] is root.fields["l1"]
    assert sum(1 for _ in root.walk()) <= 500_000
    assert time.monotonic() - started < 20


def test_an_alias_within_its_own_anchor_does_not_turn_for_ever() -> None:
    root = read_yaml("a: &a\n  b: *a\n")

    assert sum(1 for _ in root.walk()) < 200


def test_tags_mean_nothing() -> None:
    assert read_yaml("!!python/object/apply:os.system ['echo']").items[0].text == "echo"


@pytest.mark.parametrize("text", ["a: [" * 70 + "]" * 70, "- " * 80 + "x", "{a: " * 70])
def test_deep_yaml_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        read_yaml(text)


def test_long_yaml_is_refused() -> None:
    with pytest.raises(UnreadableError, match="longer than 256 KiB"):
        read_yaml("a" * 300_000)

"""The strict reader of estate files: what it takes, what it refuses, where it says things stand."""

from __future__ import annotations

import contextlib
import json
import time
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charter.core.values import Source
from charter.registry.document import MAX_DEPTH, MAX_FILE_BYTES, Document, read_document
from charter.registry.problem import EstateError, Problem


def read(text: str) -> Document:
    return read_document(text.encode(), "f.yaml")


def refused(data: bytes | str) -> list[str]:
    with pytest.raises(EstateError) as caught:
        read_document(data if isinstance(data, bytes) else data.encode(), "f.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("2026-11-02", "2026-11-02"),
        ("12:30", "12:30"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-7", -7),
        ("007", 7),
        ("1.50", Decimal("1.50")),
        ("1e3", Decimal("1e3")),
        ('"12"', "12"),
        ("'true'", "true"),
        ("1_000", "1_000"),
        ("1.2.3", "1.2.3"),
        (".5", Decimal("0.5")),
        ("[a, 1]", ["a", 1]),
        ("{a: {b: c}}", {"a": {"b": "c"}}),
    ],
)
def test_scalars_are_read_as_the_core_schema_of_yaml_1_2_has_them(written: str, value: object) -> None:
    assert read(f"key: {written}").value == {"key": value}


def test_every_value_and_key_knows_its_line_and_column() -> None:
    document = read("a: 1\nlist:\n  - x: {y: z}\n")
    assert document.source(("list", 0, "x", "y")) == Source("f.yaml", 3, 12)
    assert document.key_source(("list", 0, "x")) == Source("f.yaml", 3, 5)
    assert document.sources()["list.0"] == Source("f.yaml", 3, 5)
    assert document.source(("list", 7)) == Source("f.yaml", 3, 3)


def test_an_empty_value_stands_at_its_key() -> None:
    assert read("a:\nb: 1\n").source(("a",)) == Source("f.yaml", 1, 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 1\nb: *x\n", "f.yaml:1:4: the anchor `&x` is not allowed; write values out where needed"),
        ("a: &x 1\nb: *x\n", "f.yaml:2:4: aliases are not allowed; write the value out where it is needed"),
        ("a: !!python/object:os.system x\n", "f.yaml:1:4: the tag `tag:yaml.org,2002:python/object:os.syste` is not"),
        ("a: ! x\n", "f.yaml:1:4: the tag `!` is not allowed; remove it; quotes make text"),
        ("a: 1\na: 2\n", "f.yaml:2:1: `a` is written twice; the first is in line 1; keep one"),
        ("a: {b: 1, b: 2}\n", "f.yaml:1:11: `b` is written twice; the first is in line 1; keep one"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here; keep one document in a file"),
        ("%YAML 1.1\n---\na: yes\n", "f.yaml:1:1: directives are not allowed; remove the line that begins with `%`"),
        ("# c\n\n%TAG ! tag:x,2000:\n---\na: 1\n", "f.yaml:3:1: directives are not allowed; remove the line"),
        ('a: "\\ud800"\n', "f.yaml:1:4: this text holds half a character; write the character itself"),
        ("? [a, b]\n: 1\n", "f.yaml:1:3: a key must be a word; write `word: value`"),
        ("1: a\n", "f.yaml:1:1: the key `1` is no text; write it in quotes"),
        ("a: 0x10\n", "f.yaml:1:4: `0x10` is no plain number; write it in quotes if it is text"),
        ("a: .inf\n", "f.yaml:1:4: `.inf` is no plain number; write it in quotes if it is text"),
        ("a: 99999999999999999\n", "f.yaml:1:4: the number `99999999999999999` is too large; write it in quotes if"),
        ("a: 1e999\n", "f.yaml:1:4: the number `1e999` is too large; write it in quotes if it is text"),
        ("", "f.yaml:1:1: the file is empty; write `charter: v1` first"),
        ("# only a comment\n", "f.yaml:1:1: the file is empty; write `charter: v1` first"),
        ("a: [1, 2\n", "f.yaml:2:1: a `,` or `]` is missing; close the brackets"),
        ("a: {b: 1\n", "f.yaml:2:1: a `,` or `}` is missing; close the braces"),
        ('a: "never closed\n', "f.yaml:2:1: the quotes are never closed; close them on the same line"),
        ("a: 1\n  b: 2\n", "f.yaml:2:4: a `:` stands where none can; put text that holds `: ` in quotes"),
        (
            "a:\n\t- b\n",
            "f.yaml:2:1: this character cannot stand here; indent with spaces, and put such text in quotes",
        ),
        ("a: [*]\n", 'f.yaml:1:6: `*` cannot stand here bare; put it in quotes: "*"'),
        ("a: \u202egnp\n", "f.yaml:1:4: the character U+202E is invisible or changes the direction of text; remove it"),
        ("# a\u200bb\n", "f.yaml:1:4: the character U+200B is invisible or changes the direction of text; remove it"),
        ("\ufeffa: 1\n", "f.yaml:1:1: the file begins with a byte order mark; save it as UTF-8 without one"),
    ],
)
def test_what_lets_a_file_mean_something_else_than_it_shows_is_refused(text: str, problem: str) -> None:
    assert any(each.startswith(problem) for each in refused(text)), refused(text)


def test_bytes_that_are_no_utf_8_are_refused_where_they_stand() -> None:
    assert refused(b"a: 1\nb: x\xff\n") == ["f.yaml:2:5: the byte 0xff is no UTF-8; save the file as UTF-8"]
    assert refused("a: 1".encode("utf-16"))[0].startswith("f.yaml:1:1: the byte 0xff is no UTF-8")


def test_a_file_larger_than_256_kib_is_refused() -> None:
    assert refused(b"#" * (MAX_FILE_BYTES + 1)) == ["f.yaml:1:1: the file is larger than 256 KiB; split it"]


@pytest.mark.parametrize("opened", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_before_it_is_read(opened: str) -> None:
    assert any("nests deeper than 32 levels" in each for each in refused(opened * 5000))
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH).value


def test_all_that_can_be_told_apart_is_told_at_once() -> None:
    assert len(refused("a: &x 1\nb: !t 2\nc: 1\nc: 2\nd: 0x1\n")) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"[" * MAX_FILE_BYTES,
        b"a: " + b"b " * (MAX_FILE_BYTES // 2 - 2),
        b"[" + b"a: b, " * (MAX_FILE_BYTES // 7),
        b'"' + b"\n" * (MAX_FILE_BYTES - 2) + b'"',
        b"!" * MAX_FILE_BYTES,
        b"- " * (MAX_FILE_BYTES // 2),
        b": " * (MAX_FILE_BYTES // 2),
        b"".join(b"k%d: 1\n" % number for number in range(20_000)),
    ],
    ids=["brackets", "words", "pairs", "lines", "tags", "dashes", "colons", "keys"],
)
def test_no_file_takes_long(data: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(EstateError):
        read_document(data[:MAX_FILE_BYTES], "f.yaml")
    assert time.process_time() - began < 20


_YAML = st.text(alphabet=st.sampled_from(list("abc:-?[]{}&*!|>'\"%@`#,\\\n \t019.~\u00e4\u202e\ufeff")), max_size=60)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=80), _YAML.map(str.encode), st.text(max_size=60).map(lambda t: t.encode("utf-8"))))
@example(b'"\\UFFFFFFFF"')
@example(b"%YAML 9.9\n---\n")
@example(b"\0")
@example(b"- !<!\n")
@example(b"&a &b c")
@example(b"a: |9999999999\n x")
def test_whatever_the_bytes_it_is_a_document_or_an_estate_error(data: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        read_document(data, "f.yaml")
    except EstateError as err:
        problems = err.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(str(problem).isprintable() for problem in problems)


_PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.from_regex(r"[a-z ]{0,9}", fullmatch=True)
)
_JSON = st.recursive(
    _PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
)


@settings(max_examples=150)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), _JSON, max_size=4))
def test_json_reads_as_itself(value: dict[str, object]) -> None:
    assert read(json.dumps(value)).value == value

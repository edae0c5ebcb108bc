"""Forms: one reading, or none."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import ErrorCode, MalformedError
from charter.server.oauth_form import MAX_FIELDS, needed, parse_form


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=MAX_FIELDS))
def test_what_a_client_encodes_is_what_is_read(form: dict[str, str]) -> None:
    def has_surrogates(text: str) -> bool:
        return any("\ud800" <= ch <= "\udfff" for ch in text)

    if any(has_surrogates(text) for pair in form.items() for text in pair):
        return
    assert parse_form(urlencode(form).encode()) == {name: value for name, value in form.items() if value}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        form = parse_form(body)
    except MalformedError:
        return
    assert all(form.values())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"a=1&a=1", ErrorCode.BAD_REQUEST),
        (b"a=1&a=2", ErrorCode.BAD_REQUEST),
        (b"a=&a=2", ErrorCode.BAD_REQUEST),
        (b"a=1&%61=2", ErrorCode.BAD_REQUEST),
        (b"resource=x&resource=y", ErrorCode.BAD_TARGET),
        (b"unknown=1&unknown=2", ErrorCode.BAD_REQUEST),
        (b"a", ErrorCode.BAD_REQUEST),
        (b"a=1&&b=2", ErrorCode.BAD_REQUEST),
        (b"a=1;b=2&c", ErrorCode.BAD_REQUEST),
        (b"a=%", ErrorCode.BAD_REQUEST),
        (b"a=%zz", ErrorCode.BAD_REQUEST),
        (b"a=%ff", ErrorCode.BAD_REQUEST),
        (b"a=%ed%a0%80", ErrorCode.BAD_REQUEST),
        (b"a=\xc3\xa4", ErrorCode.BAD_REQUEST),
        (b"&".join(b"p%d=1" % i for i in range(MAX_FIELDS + 1)), ErrorCode.BAD_REQUEST),
        (b'{"grant_type":"client_credentials"}', ErrorCode.BAD_REQUEST),
    ],
)
def test_what_has_two_readings_is_refused(body: bytes, code: ErrorCode) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_form(body)
    assert caught.value.code is code


def test_a_semicolon_divides_nothing() -> None:
    assert parse_form(b"a=1;b=2") == {"a": "1;b=2"}


def test_a_parameter_without_a_value_is_as_if_left_out() -> None:
    form = parse_form(b"scope=&resource=x")
    assert form == {"resource": "x"}
    assert parse_form(b"") == {}
    with pytest.raises(MalformedError, match="the parameter `scope` is missing"):
        needed(form, "scope")

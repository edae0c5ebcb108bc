"""What the gateway takes for one message, which era it speaks, and whether its headers agree with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charter.core.canonical import digest_of
from charter.core.errors import MalformedError
from charter.gateway.mcp import (
    Frame,
    check_mirrors,
    check_modern,
    check_params,
    is_modern,
    make_call,
    parse_frame,
    tool_call,
)
from charter.gateway.mcp_answers import WireError
from charter.gateway.mcp_json import parse_json
from charter.gateway.mcp_params import check_mirrored, declared_headers, mirrored
from charter.gateway.mcp_protocol import RpcCode, decode_header, encode_header
from charter.gateway.pins import parse_tool

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "act"}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def a_frame(method: str = "tools/call", **changed: Any) -> Frame:
    params = {"name": "act", "arguments": {}, "_meta": ENVELOPE} | changed
    return Frame(1, method, {key: value for key, value in params.items() if value is not None})


def body(**changed: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}} | changed
    return json.dumps(message).encode()


def refusal(code: RpcCode) -> Any:
    return pytest.raises(WireError, check=lambda err: err.rpc is code)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b'{"a":1} x', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":1e999}', "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b'{"a":1,"a":2}', "repeats the key 'a'"),
        (b'{"a":1,"\\u0061":2}', "repeats the key 'a'"),
        (b'[{"x":{"b":1,"c":2,"b":1}}]', "repeats the key 'b'"),
        (b"[" * 65 + b"]" * 65, "nests deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nests deeper than 64"),
        (b"[" * 100_000, "nests deeper than 64"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        parse_json(data)


def test_brackets_in_texts_are_no_nesting() -> None:
    assert parse_json(json.dumps(["[" * 200, '\\"{' * 200]).encode()) == ["[" * 200, '\\"{' * 200]
    assert parse_json(b"[" * 64 + b"]" * 64)


@given(json_values)
@settings(max_examples=150)
def test_every_json_value_is_read_as_it_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
@example(b'{"jsonrpc":"2.0","id":1e400,"method":"x"}')
@example(b'{"jsonrpc":"2.0","method":"x","params":{"_meta":[]}}')
@settings(max_examples=300)
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        frame = parse_frame(data)
    except WireError:
        return
    assert frame.method


@given(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), json_values))
@settings(max_examples=200)
def test_any_object_is_a_message_or_refused(message: dict[str, Any]) -> None:
    try:
        frame = parse_frame(json.dumps(message).encode())
        is_modern(frame, {})
        check_modern(frame, {})
    except WireError:
        return
    assert message["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[]", "a batch"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', "a batch"),
        (b"1", "one JSON-RPC message"),
        (body(jsonrpc="1.0"), "not JSON-RPC 2.0"),
        (body(method=1), "not JSON-RPC 2.0"),
        (body(method=""), "not JSON-RPC 2.0"),
        (body(method="x" * 129), "not JSON-RPC 2.0"),
        (body(params=[]), "`params` are no object"),
        (body(params=None), "`params` are no object"),
        (body(id=None), "`id` is neither"),
        (body(id=True), "`id` is neither"),
        (body(id=1.5), "`id` is neither"),
        (body(id=2**53), "`id` is neither"),
        (body(id="x" * 257), "`id` is neither"),
        (body(result={}), "no request waits"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', "no request waits"),
    ],
)
def test_what_is_no_single_message_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        parse_frame(data)


@pytest.mark.parametrize("request_id", [0, -1, 1, 2**53 - 1, "", "a", "1"])
def test_an_id_is_kept_as_it_is(request_id: Any) -> None:
    assert parse_frame(body(id=request_id)).id == request_id
    assert type(parse_frame(body(id=request_id)).id) is type(request_id)


def test_a_message_without_an_id_is_a_notification() -> None:
    assert parse_frame(b'{"jsonrpc":"2.0","method":"notifications/initialized"}') == Frame(
        None, "notifications/initialized", {}
    )


@pytest.mark.parametrize(
    ("frame", "headers", "modern"),
    [
        (a_frame(), {}, True),
        (a_frame(_meta=None), {"mcp-protocol-version": "2026-07-28"}, True),
        (a_frame(_meta=None), {"mcp-protocol-version": "2025-11-25"}, False),
        (a_frame(_meta=None), {"mcp-protocol-version": "2025-06-18"}, False),
        (a_frame(_meta=None), {"mcp-session-id": "x"}, False),
        (a_frame("initialize", _meta=None), {}, False),
    ],
)
def test_the_era_shows_in_the_message(frame: Frame, headers: dict[str, str], modern: bool) -> None:
    assert is_modern(frame, headers) is modern


def test_a_version_that_is_not_spoken_is_told_which_are() -> None:
    with refusal(RpcCode.UNSUPPORTED_VERSION) as caught:
        is_modern(a_frame(_meta=None), {"mcp-protocol-version": "1900-01-01"})
    assert caught.value.data == {
        "supported": ["2026-07-28", "2025-11-25", "2025-06-18"],
        "requested": "1900-01-01",
    }
    future = ENVELOPE | {"io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    with refusal(RpcCode.UNSUPPORTED_VERSION):
        check_modern(a_frame(_meta=future), HEADERS | {"mcp-protocol-version": "2030-01-01"})


def test_a_message_of_no_era_is_refused() -> None:
    with refusal(RpcCode.HEADER_MISMATCH):
        is_modern(a_frame(_meta=None), {})


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"mcp-protocol-version": None}, RpcCode.HEADER_MISMATCH),
        ({"mcp-protocol-version": "2025-11-25"}, RpcCode.HEADER_MISMATCH),
        ({"mcp-method": None}, RpcCode.HEADER_MISMATCH),
        ({"mcp-method": "tools/list"}, RpcCode.HEADER_MISMATCH),
        ({"mcp-method": "Tools/Call"}, RpcCode.HEADER_MISMATCH),
        ({"mcp-name": None}, RpcCode.HEADER_MISMATCH),
        ({"mcp-name": "other"}, RpcCode.HEADER_MISMATCH),
        ({"mcp-name": "=?base64?!!!?="}, RpcCode.HEADER_MISMATCH),
        ({"mcp-name": "=?base64?b3RoZXI=?="}, RpcCode.HEADER_MISMATCH),
        ({"mcp-name": "act\u00e9"}, RpcCode.HEADER_MISMATCH),
    ],
)
def test_headers_that_do_not_say_what_the_body_says_are_refused(changed: dict[str, str | None], code: RpcCode) -> None:
    headers = {key: value for key, value in (HEADERS | changed).items() if value is not None}
    with refusal(code):
        check_modern(a_frame(), headers)


def test_headers_that_agree_pass_also_in_base64() -> None:
    check_modern(a_frame(), HEADERS)
    check_modern(a_frame(), HEADERS | {"mcp-name": "=?base64?YWN0?="})
    check_modern(a_frame("tools/list"), {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"})


@pytest.mark.parametrize("key", sorted(ENVELOPE))
def test_a_required_field_of_the_envelope_is_missed(key: str) -> None:
    meta = {name: value for name, value in ENVELOPE.items() if name != key}
    with refusal(RpcCode.INVALID_PARAMS):
        check_modern(a_frame(_meta=meta), HEADERS)


def test_an_older_message_with_a_header_that_disagrees_is_refused() -> None:
    with refusal(RpcCode.HEADER_MISMATCH):
        check_mirrors(a_frame(_meta=None), {"mcp-name": "other"})
    check_mirrors(a_frame(_meta=None), {})


@given(st.text(max_size=60))
@example("=?base64?YQ==?=")
@example(" padded ")
@example("line\nbreak")
@settings(max_examples=200)
def test_any_text_survives_the_way_through_a_header(text: str) -> None:
    header = encode_header(text)
    assert header.isascii()
    assert header.isprintable()
    assert header == header.strip()
    assert decode_header(header) == text


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
@settings(max_examples=200)
def test_any_header_is_decoded_or_refused(header: str) -> None:
    try:
        text = decode_header(header)
    except MalformedError:
        return
    assert text == header or encode_header(text) == header or decode_header(encode_header(text)) == text


@pytest.mark.parametrize("header", ["=?base64?YR==?=", "=?base64?YQ?=", "=?base64?/w==?=", "a\nb", "\x7f", "é"])
def test_a_header_with_two_readings_is_refused(header: str) -> None:
    with pytest.raises(MalformedError):
        decode_header(header)


def test_a_call_is_made_from_the_body_and_its_digest_names_it_exactly() -> None:
    frame = a_frame(arguments={"b": 1, "a": [True]})
    tool = parse_tool({"name": "act", "inputSchema": {"type": "object"}})
    call = make_call(frame, tool_call(frame), "notes", tool=tool, session="ses_1")
    assert (call.tool, call.arguments, call.tool_pin) == ("act", {"b": 1, "a": [True]}, tool.digest)
    assert call.digest == digest_of({"arguments": {"a": [True], "b": 1}, "system": "notes", "tool": "act"})
    assert (call.session, call.request_id, call.wants_progress) == ("ses_1", "1", False)


def test_progress_is_asked_for_by_a_proper_token() -> None:
    for token, wanted in ((7, True), ("x", True), (True, False), ({}, False), (None, False)):
        frame = a_frame(_meta=ENVELOPE | {"progressToken": token})
        assert make_call(frame, tool_call(frame), "notes", tool=None, session=None).wants_progress is wanted


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": None}, "names no tool"),
        ({"name": 1}, "names no tool"),
        ({"name": "x" * 129}, "names no tool"),
        ({"arguments": []}, "are no object"),
        ({"requestState": 1}, "none of ours"),
        ({"requestState": "x" * 4097}, "none of ours"),
        ({"inputResponses": []}, "no object"),
        ({"inputResponses": {str(n): {} for n in range(17)}}, "no object"),
    ],
)
def test_a_call_that_is_none_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match=words):
        tool_call(a_frame(**changed))


def test_numbers_that_readers_disagree_about_have_no_digest() -> None:
    frame = a_frame(arguments={"n": 2**53})
    with refusal(RpcCode.INVALID_PARAMS):
        make_call(frame, tool_call(frame), "notes", tool=None, session=None)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "Count"}}},
        "flag": {"type": "boolean", "x-mcp-header": "Flag"},
        "free": {"type": "string", "default": {"x-mcp-header": "is data here"}},
    },
}


def test_declared_arguments_are_mirrored_and_found_equal() -> None:
    declared = declared_headers(SCHEMA)
    arguments = {"region": "Süd", "deep": {"n": 42}, "flag": False, "free": "x"}
    headers = mirrored(declared, arguments)
    assert headers == {"mcp-param-region": "=?base64?U8O8ZA==?=", "mcp-param-count": "42", "mcp-param-flag": "false"}
    check_mirrored(declared, arguments, headers)
    check_mirrored(declared, arguments, headers | {"mcp-param-count": "42.0", "mcp-param-unknown": "x"})
    check_mirrored(declared, {"region": None}, {})


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "north"}, {}),
        ({"region": "north"}, {"mcp-param-region": "south"}),
        ({"region": "north"}, {"mcp-param-region": "=?base64?x?="}),
        ({}, {"mcp-param-region": "south"}),
        ({"region": None}, {"mcp-param-region": "null"}),
        ({"region": ["a"]}, {"mcp-param-region": "a"}),
        ({"deep": {"n": 42}}, {"mcp-param-count": "43"}),
        ({"deep": {"n": 42}}, {"mcp-param-count": "4.2e1"}),
        ({"deep": "no object"}, {"mcp-param-count": "1"}),
        ({"flag": True}, {"mcp-param-flag": "True"}),
    ],
)
def test_a_mirrored_argument_that_differs_is_refused(arguments: dict[str, Any], headers: dict[str, str]) -> None:
    tool = parse_tool({"name": "act", "inputSchema": SCHEMA})
    frame = a_frame(arguments=arguments)
    with refusal(RpcCode.HEADER_MISMATCH):
        check_params(frame, tool_call(frame), tool, headers)


@pytest.mark.parametrize(
    "schema",
    [
        {"x-mcp-header": "Root"},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "two words"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 7}}},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}},
        {"anyOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]},
        {"properties": {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}},
        {"$defs": {"t": {"type": "string", "x-mcp-header": "A"}}},
    ],
)
def test_a_tool_with_an_annotation_against_the_rules_is_held_back(schema: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match="x-mcp-header"):
        declared_headers(schema)


scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20)


@given(
    st.fixed_dictionaries(
        {}, optional={"region": scalars, "flag": scalars, "deep": st.fixed_dictionaries({"n": scalars})}
    )
)
@settings(max_examples=150)
def test_what_is_mirrored_is_always_found_equal(arguments: dict[str, Any]) -> None:
    declared = declared_headers(SCHEMA)
    check_mirrored(declared, arguments, mirrored(declared, arguments))

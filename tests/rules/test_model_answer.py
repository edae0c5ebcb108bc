"""What is read of an answer on its way: each call it proposes is told once, as soon as a caller could act on it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.gateway.model_answer import MAX_ARGUMENTS, AnswerReader, ProposedCall


def events(*said: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in said)


def chat(*pieces: tuple[int, str | None, str], finish: str | None = None) -> dict[str, Any]:
    calls = [
        {"index": index, "function": {"name": name, "arguments": text} if name else {"arguments": text}}
        for index, name, text in pieces
    ]
    return {"id": "c1", "choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": finish}]}


def block(index: int, name: str, *pieces: str) -> list[dict[str, Any]]:
    begun = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": each} for each in pieces]
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": index},
    ]


ITEM = {"id": "f1", "type": "function_call", "name": "pay", "arguments": '{"a": 1}'}
STREAMS: dict[str, tuple[bytes, list[ProposedCall]]] = {
    "chat": (
        events(
            chat((0, "pay", "")),
            chat((0, None, '{"a": {"b"')),
            chat((0, None, ": 1}}")),
            chat((1, "look", "")),
            chat(finish="tool_calls"),
        ),
        [ProposedCall("pay", {"a": {"b": 1}}), ProposedCall("look", {})],
    ),
    "two at a time": (
        events(chat((0, "pay", '{"a"'), (1, "pay", '{"b"')), chat((1, None, ":2}"), (0, None, ":1}"))),
        [ProposedCall("pay", {"a": 1}), ProposedCall("pay", {"b": 2})],
    ),
    "messages": (
        events(*block(0, "pay", '{"a"', ": 1}"), *block(1, "look"), {"type": "message_stop"}),
        [ProposedCall("pay", {"a": 1}), ProposedCall("look", {})],
    ),
    "responses": (
        events(
            {"type": "response.created", "response": {"id": "r1", "output": []}},
            {"type": "response.output_item.added", "item": ITEM | {"arguments": ""}},
            {"type": "response.function_call_arguments.done", "item_id": "f1", "arguments": '{"a": 1}'},
            {"type": "response.output_item.done", "item": ITEM},
            {"type": "response.completed", "response": {"id": "r1", "output": [ITEM]}},
        ),
        [ProposedCall("pay", {"a": 1})],
    ),
}


@pytest.mark.parametrize("way", STREAMS)
@given(data=st.data())
def test_each_call_is_told_once_however_the_answer_is_cut(way: str, data: st.DataObject) -> None:
    body, expected = STREAMS[way]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    reader, told = AnswerReader(is_stream=True), []
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        reader.feed(body[begin:end])
        told += reader.ready()
    reader.end()
    told += reader.ready()
    assert sorted(map(str, told)) == sorted(map(str, expected))
    assert reader.proposed == tuple(expected)


@pytest.mark.parametrize("way", STREAMS)
def test_a_call_is_told_before_the_answer_ends(way: str) -> None:
    body, _ = STREAMS[way]
    reader = AnswerReader(is_stream=True)
    told = []
    for each in body.split(b"\n\n")[:-2]:  # all events but the last
        reader.feed(each + b"\n\n")
        told += reader.ready()
    assert told or way == "two at a time"


def test_what_is_kept_of_one_answer_is_bounded() -> None:
    reader = AnswerReader(is_stream=True)
    for index in range(8):
        reader.feed(events(chat((index, "pay", '{"a": "' + "x" * (MAX_ARGUMENTS // 4)))))
    reader.end()
    assert sum(len("".join(each.text)) for each in reader._drafts.values()) <= MAX_ARGUMENTS

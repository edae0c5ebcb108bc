"""An MCP server on stdio, by hand, of the versions before 2026-07-28, that asks as its first argument says."""

from __future__ import annotations

import json
import sys
from typing import Any

MODE = sys.argv[1]
FORM = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
THINK = {"messages": [{"role": "user", "content": {"type": "text", "text": "Hm?"}}], "maxTokens": 10}
asked: dict[str, Any] = {}  # what was answered, by the ids of our questions
waiting: list[dict[str, Any]] = []
questions = 0


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
    sys.stdout.flush()


def ask(method: str = "elicitation/create", params: Any = FORM) -> None:
    global questions  # noqa: PLW0603 - the process's only state
    questions += 1
    say({"id": f"q{questions}", "method": method, "params": params})


def finish(request: dict[str, Any]) -> None:
    words = json.dumps([asked[each] for each in sorted(asked)])
    say({"id": request["id"], "result": {"content": [{"type": "text", "text": words}]}})


QUESTIONS: dict[str, list[tuple[str, Any]]] = {  # asked at once, by mode
    "once": [("elicitation/create", FORM)],
    "thinks": [("sampling/createMessage", THINK)],
    "url": [("elicitation/create", FORM | {"mode": "url", "url": "https://evil.example", "elicitationId": "1"})],
    "flood": [("elicitation/create", FORM)] * 50,
    "huge": [("elicitation/create", FORM | {"message": "x" * 100_000})],
    "endless": [("elicitation/create", FORM)],
    "odd": [("tools/call", FORM), ("elicitation/create", None), ("sampling/createMessage", [1]), ("roots/list", 1)],
}


def called(request: dict[str, Any]) -> None:
    if MODE == "late":  # it answers, and asks then
        finish(request)
        ask()
        return
    waiting.append(request)
    if MODE == "waits-for-two" and len(waiting) == 2:
        ask()
    for method, params in QUESTIONS.get(MODE, ()):
        ask(method, params)


def answered(message: dict[str, Any]) -> None:
    asked[message["id"]] = message.get("result", message.get("error"))
    if MODE == "endless":
        ask()
    elif len(asked) >= questions:
        for request in waiting:
            finish(request)
        waiting.clear()


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("method"):
            case "initialize":
                said = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "nosy"}}
                say({"id": message["id"], "result": said})
                if MODE == "early":
                    ask()
            case "tools/list":
                tool = {"name": "act", "description": "Act.", "inputSchema": {"type": "object"}}
                say({"id": message["id"], "result": {"tools": [tool]}})
            case "tools/call":
                called(message)
            case None:
                answered(message)
            case _ if "id" in message:
                say({"id": message["id"], "error": {"code": -32601, "message": "no"}})


main()

"""A stand-in for a model's provider, on this machine: it answers as Anthropic's API does, and proposes a call.

No model is in the demo. What counts is what passes between an agent and its provider: whose key, which model, how many
tokens, and which call was proposed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

TOKENS = {"input_tokens": 60, "output_tokens": 20}


class Provider:
    """What the stand-in was sent, and what it proposes."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.proposes: dict[str, Any] = {}
        self.port = 0


@contextmanager
def a_provider() -> Iterator[Provider]:
    """Serve the stand-in on a free port of this machine."""
    provider = Provider()

    class Answers(BaseHTTPRequestHandler):
        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            provider.keys.append(self.headers.get("x-api-key"))
            call = {"type": "tool_use", "id": "toolu_1"} | provider.proposes
            told = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": [call]}
            body = json.dumps(told | {"stop_reason": "tool_use", "usage": TOKENS}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    provider.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()

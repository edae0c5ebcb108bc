"""A small HTTP server on loopback, for tests: it serves the documents it is given and notes what it was asked.

with a_document_server({"/keys": {"keys": []}}) as server:
    server.url("/keys")
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


@dataclass(slots=True)
class DocumentServer:
    """What is served: a JSON value, or a function that makes the whole reply."""

    documents: dict[str, Any]
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return self.base + path

    def reply(self, path: str) -> Reply:
        self.asked.append(path)
        found = self.documents.get(path)
        if found is None:
            return 404, {}, b"{}"
        if callable(found):
            make: Callable[[], Reply] = found
            return make()
        return 200, {"content-type": "application/json"}, json.dumps(found).encode()


@contextmanager
def a_document_server(documents: dict[str, Any]) -> Iterator[DocumentServer]:
    served = DocumentServer(documents)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = served.reply(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

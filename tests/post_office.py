"""A small real SMTP server on loopback, and a chat that takes posts: what they were given, as it came."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass
class PostOffice:
    """What came, and what is refused."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuses: int = 0  # how many more mails are not taken


@contextmanager
def a_post_office() -> Iterator[PostOffice]:
    office, taking = PostOffice(), threading.Lock()

    class Clerk(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 office")
            to = ""
            while line := self.rfile.readline().decode().strip():
                verb = line.upper()[:4]
                if verb == "DATA":
                    self.say("354 go on")
                    data = b""
                    while (piece := self.rfile.readline()) != b".\r\n":
                        data += piece.removeprefix(b".") if piece.startswith(b"..") else piece
                    mail = cast("EmailMessage", email.message_from_bytes(data, policy=email.policy.default))
                    with taking:  # several clerks take mails at once: a mail and its recipient have one number
                        office.mails.append(mail)
                        office.recipients.append(to)
                    self.say("250 taken")
                elif verb == "RCPT" and office.refuses:
                    office.refuses -= 1
                    self.say("450 not now, secret words of the server")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    if verb == "RCPT":
                        to = line.partition(":")[2].strip("<>")
                    self.say("250 ok")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Clerk)
    server.daemon_threads = True
    office.url = f"smtp://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield office
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class ChatRoom:
    """What was posted, and how that is answered."""

    url: str = ""
    posts: list[Any] = field(default_factory=list)
    status: int = 200


@contextmanager
def a_chat_room() -> Iterator[ChatRoom]:
    room = ChatRoom()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's word
            pass

        def do_POST(self) -> None:
            room.posts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(room.status)
            self.send_header("location", "http://169.254.169.254/")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    room.url = f"http://127.0.0.1:{server.server_address[1]}/hook/T0/secret-part"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield room
    finally:
        server.shutdown()
        server.server_close()

"""`charter vault connect`: a person signs in at an upstream in the browser, and comes back to a loopback address.

The code goes from here to the control API; the server, which holds the PKCE verifier and the client's secret, exchanges
it. So nothing that passes through this process is of use to anyone else (RFC 8252 sections 7.3 and 8.1).
"""

from __future__ import annotations

import hmac
import http.server
import threading
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from charter.cli.context import Context
from charter.cli.output import err
from charter.core.errors import DeniedError, ErrorCode, UnavailableError

WAIT_SECONDS = 300.0
REQUEST_SECONDS = 10.0  # that whoever connects has to say what they want
MAX_CODE = 4096  # characters of the address
MAX_FIELDS = 16
_DONE = (
    b"<!doctype html><meta charset=utf-8><title>Charter</title><p>You can close this page and go back to the terminal."
)


def connected(context: Context, system: str, person: str) -> dict[str, Any]:
    """Send `person` to the sign-in of `system`, wait until they are back, and keep the connection.

    Raises:
        UnavailableError: no server runs, or nobody came back in time.
        DeniedError: the person or the upstream said no.
    """
    if not context.control.server_runs:
        raise UnavailableError(ErrorCode.NOT_RUNNING, "no server runs on this estate", help="start it: charter up")
    with _Listener() as listener:
        begun = context.control.post(
            "/v1/vault/connections/begin", {"system": system, "person": person, "redirect_uri": listener.address}
        )
        err.print("sign in here:", begun["url"], style="bold")
        said = listener.wait(begun["state"])
    code = said.get("code")
    if not code:
        raise DeniedError(
            ErrorCode.NOT_CONNECTED,
            f"the sign-in at `{system}` ended without a code",
            help="allow it there, then try again",
        )
    body = {"state": begun["state"], "code": code, "actor": context.operator}
    answer: dict[str, Any] = context.control.post("/v1/vault/connections/finish", body)
    return answer


class _Listener:
    """A loopback address that waits for one redirect."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._came = threading.Event()
        self._state = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS

            def do_GET(self) -> None:
                outer._take(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(_DONE)))
                self.end_headers()
                self.wfile.write(_DONE)

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Write nothing: the address holds the code."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Where the person is sent back to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/back"

    def wait(self, state: str) -> dict[str, str]:
        """Return what the redirect with this `state` said.

        Raises:
            UnavailableError: nobody came.
        """
        self._state = state
        if not self._came.wait(WAIT_SECONDS):
            raise UnavailableError(ErrorCode.NOT_CONNECTED, "nobody signed in within five minutes", help="try again")
        return self._said

    def _take(self, path: str) -> None:
        if len(path) > MAX_CODE:
            return
        try:
            found = parse_qs(urlsplit(path).query, max_num_fields=MAX_FIELDS)
        except ValueError:
            return
        query = {key: values[0] for key, values in found.items() if len(values) == 1}
        if self._state and hmac.compare_digest(query.get("state", "").encode(), self._state.encode()):
            self._said = query
            self._came.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""An upstream's authorization server for tests: oidc-provider, a certified implementation by others, on node.

with authorization_server() as server:
    server.token_url, server.introspect(token), server.sign_in(url, account="maria")
"""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE.parent / ".venv-servers" / "npm-test" / "node_modules"
CLIENT, SECRET = "charter", "s3cr3t:with/odd&chars"


@dataclass
class AuthorizationServer:
    """A running server."""

    issuer: str
    process: subprocess.Popen[str]

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/token"

    @property
    def authorize_url(self) -> str:
        return f"{self.issuer}/auth"

    def introspect(self, token: str) -> dict[str, Any]:
        """Return what the server itself says of a token (RFC 7662)."""
        return self._post("token/introspection", {"token": token})

    def revoke(self, token: str) -> None:
        """Take a token back (RFC 7009)."""
        self._post("token/revocation", {"token": token})

    def sign_in(self, url: str, account: str, scope: str = "api:read") -> dict[str, str]:
        """Do what a browser does at the address `url`: sign in as `account`, consent; return what comes back."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        assert asked["code_challenge_method"] == "S256"
        issue = {
            "client": asked["client_id"],
            "account": account,
            "scope": scope,
            "challenge": asked["code_challenge"],
            "redirect": asked["redirect_uri"],
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"issue": issue}) + "\n")
        self.process.stdin.flush()
        line = next(line for line in self.process.stdout if line.startswith("{"))  # it also warns, now and then
        return {"code": json.loads(line)["code"], "state": asked["state"]}

    def _post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        text = ":".join(urllib.parse.quote_plus(part) for part in (CLIENT, SECRET))
        request = urllib.request.Request(  # noqa: S310 - the loopback address of the server that was started
            f"{self.issuer}/{path}",
            urllib.parse.urlencode(form).encode(),
            {"authorization": "Basic " + base64.b64encode(text.encode()).decode()},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            body = answer.read()
        return dict(json.loads(body)) if body else {}


@contextmanager
def authorization_server() -> Iterator[AuthorizationServer]:
    """Run one for as long as the context lasts."""
    command = ["node", "--no-warnings", str(HERE / "servers" / "authorization_server.mjs"), str(MODULES)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield AuthorizationServer(process.stdout.readline().strip(), process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()

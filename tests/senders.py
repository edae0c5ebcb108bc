"""Senders that share one principal: authlib fetches their tokens, the MCP SDK makes their calls, each from its address.

A proxy that the server trusts would say where they are; here they say it themselves (`charter up --trusted-proxy`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx2
import mcp_types as types
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

PROXY = "127.0.0.1/32"


@dataclass
class Sender:
    """One program at one address, with one key of the principal."""

    url: str
    client_id: str
    key: ECKey
    source: str
    program: str = "agent"
    mode: str = "2026-07-28"

    @property
    def _from(self) -> dict[str, str]:
        return {"X-Forwarded-For": self.source}

    def token(self, system: str = "notes") -> str:
        """Return an access token that authlib's client obtained."""
        endpoint = f"{self.url}/oauth/token"
        expires = {"exp": int(time.time()) + 60}
        method = PrivateKeyJWT(endpoint, claims=expires, headers={"typ": "JWT"}, alg="ES256")
        with OAuth2Client(
            self.client_id, self.key, token_endpoint_auth_method="private_key_jwt", headers=self._from
        ) as client:
            client.register_client_auth_method(method)
            found = client.fetch_token(endpoint, grant_type="client_credentials", resource=f"{self.url}/mcp/{system}")
        return str(found["access_token"])

    def calls(self, *calls: tuple[str, dict[str, Any]], token: str | None = None, system: str = "notes") -> list[bool]:
        """Make calls; return which were let through."""

        async def go() -> list[bool]:
            headers = {"Authorization": f"Bearer {token or self.token(system)}"} | self._from
            async with httpx2.AsyncClient(headers=headers) as web:
                transport = streamable_http_client(f"{self.url}/mcp/{system}", http_client=web)
                info = types.Implementation(name=self.program, version="1.0")
                async with Client(transport, mode=self.mode, read_timeout_seconds=20, client_info=info) as made:
                    return [not (await made.call_tool(tool, arguments)).is_error for tool, arguments in calls]

        return asyncio.run(go())

"""ContextForge as a peer: started as it comes (SQLite, its tokens, one federated server), asked over its `/rpc`.

It decides by roles of its own and keeps metrics, and no evidence. Nothing of it is tuned; in production it has a
PostgreSQL and a Redis beside it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
from _served import start

PROGRAM = Path(__file__).resolve().parent.parent / ".venv-contextforge" / "bin"
ADMIN = "admin@example.com"
TOOL = "bench-act"
VERSION = "2025-11-25"  # the newest that it speaks
STANDS = 60  # seconds until it serves: it makes its tables first


def contextforge(started: list[subprocess.Popen[bytes]], folder: Path, upstream: str) -> tuple[str, str]:
    """Start it in front of an upstream; return its address and a token for it."""
    folder.mkdir()
    secret, password = secrets.token_hex(32), f"Aa1!{secrets.token_hex(16)}"
    said = {
        "DATABASE_URL": f"sqlite:///{folder}/contextforge.db",
        "JWT_SECRET_KEY": secret,
        "AUTH_ENCRYPTION_SECRET": secrets.token_hex(32),
        "PLATFORM_ADMIN_EMAIL": ADMIN,
        "PLATFORM_ADMIN_PASSWORD": password,
        "BASIC_AUTH_PASSWORD": password,
        "CACHE_TYPE": "memory",
        "LOG_LEVEL": "CRITICAL",
        "SSRF_ALLOW_LOCALHOST": "true",
        "MCPGATEWAY_UI_ENABLED": "false",
        "MCPGATEWAY_ADMIN_API_ENABLED": "false",
        "PLUGINS_ENABLED": "false",
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **said}
    run: dict[str, Any] = {"env": environment, "cwd": folder, "stderr": subprocess.DEVNULL}
    port = start(started, [str(PROGRAM / "mcpgateway"), "--host", "127.0.0.1", "--port"], **run)
    words = [str(PROGRAM / "python"), "-m", "mcpgateway.utils.create_jwt_token", "--username", ADMIN, "--exp", "600"]
    made = subprocess.run([*words, "--secret", secret], check=True, stdout=subprocess.PIPE, text=True, **run)
    token, address = made.stdout.split()[-1], f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=20) as client:
        registered = client.post("/gateways", json={"name": "bench", "url": upstream, "transport": "STREAMABLEHTTP"})
        registered.raise_for_status()
        ends = time.monotonic() + STANDS
        while TOOL not in client.get("/tools").text:
            assert time.monotonic() < ends, "ContextForge lists no tool of the upstream"
            time.sleep(0.2)
    return f"{address}/rpc", token

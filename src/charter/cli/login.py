"""Signing this terminal in to a Charter on another machine, and what it is given.

INVARIANT: what is given lies in one file, mode 0600, in a folder that nobody else writes to, and travels over verified
TLS, or on this machine's loopback, and nowhere else.
"""

from __future__ import annotations

import json
import platform
import stat
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from charter.adapters import whole_file
from charter.cli.agent_keys import HTTP_SECONDS, is_safe
from charter.core.errors import ErrorCode, IntegrityError, MalformedError, UnauthenticatedError, UnavailableError
from charter.registry.problem import suggestion

FORM = {"content-type": "application/x-www-form-urlencoded"}
WAIT_SECONDS = 600.0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def sign_in(server: str, file: Path, tell: Callable[[str, str], None]) -> str:
    """Sign this terminal in at `server`; keep what it is given in `file`. `tell` shows the page and the code.

    Raises:
        UnavailableError: the server cannot be reached.
        UnauthenticatedError: nobody said yes.
    """
    origin = checked_server(server)
    own = {**FORM, "origin": origin, "sec-fetch-site": "same-origin"}
    with httpx.Client(base_url=origin, headers=own, timeout=HTTP_SECONDS, trust_env=False) as client:
        asked = _asked(client, "/sign-in/terminal", {"machine": platform.node()[:100] or "a terminal"})
        tell(str(asked["url"]), str(asked["code"]))
        ends = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < ends:
            session = _asked(client, "/sign-in/terminal/collect", {"secret": str(asked["secret"])})["session"]
            if session:
                _keep(file, origin, str(session))
                return origin
            time.sleep(float(str(asked["interval"])))
    raise UnauthenticatedError(ErrorCode.NOT_SIGNED_IN, "nobody answered in time", help="run charter login again")


def session_at(file: Path, server: str) -> str:
    """Return this terminal's session at `server`.

    Raises:
        UnauthenticatedError: it has none.
        IntegrityError: others could have read or written it.
    """
    origin, kept = checked_server(server), _read(file)
    if origin not in kept:
        raise UnauthenticatedError(
            ErrorCode.NOT_SIGNED_IN,
            f"this terminal is not signed in at `{origin}`",
            help=f"run charter login {origin}" + (f"; {suggestion(origin, kept)}" if kept else ""),
        )
    return kept[origin]


def forget(file: Path, server: str) -> bool:
    """Forget this terminal's session at `server`; return whether it had one."""
    origin, kept = checked_server(server), _read(file)
    if kept.pop(origin, None) is None:
        return False
    _write(file, kept)
    return True


def checked_server(server: str) -> str:
    """Return the origin of `server`, which must be https or this machine.

    Raises:
        MalformedError: it is neither.
    """
    parts = urlsplit(server if "://" in server else f"https://{server}")
    origin = f"{parts.scheme}://{parts.netloc}"
    if not is_safe(origin) or parts.username is not None:
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"{server[:80]!a} is neither https nor on this machine", help="https://charter.example"
        )
    return origin


def _asked(client: httpx.Client, path: str, form: dict[str, str]) -> dict[str, object]:
    try:
        answer = client.post(path, data=form)
    except httpx.HTTPError as err:
        raise UnavailableError(
            ErrorCode.NOT_RUNNING,
            f"`{urlsplit(str(client.base_url)).netloc}` does not answer",
            help="check the address",
        ) from err
    if answer.status_code == httpx.codes.OK and answer.headers.get("content-type", "").startswith("application/json"):
        return dict(answer.json())
    raise UnauthenticatedError(
        ErrorCode.NOT_SIGNED_IN,
        "the sign-in was refused, or took too long" if answer.is_client_error else "the server failed",
        help="run charter login again",
    )


def _keep(file: Path, origin: str, session: str) -> None:
    _write(file, _read(file) | {origin: session})


def _read(file: Path) -> dict[str, str]:
    try:
        if file.stat().st_mode & _OTHERS or file.parent.stat().st_mode & _OTHERS_WRITE:
            mend = f"chmod go-w {file.parent}; chmod 600 {file}"
            raise IntegrityError(ErrorCode.KEY_BROKEN, f"others can read or write `{file}`", help=mend)
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _write(file: Path, kept: dict[str, str]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole_file.replace(file, json.dumps(kept).encode())

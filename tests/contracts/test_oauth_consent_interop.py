"""An assistant written with openid-client (OpenID certified), from discovery to giving a consent back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from authorization_server import MODULES
from consent_stage import CALLBACK, Person, Site, a_site, claims_of

SCRIPT = Path(__file__).parent.parent / "consent_client.mjs"


class Assistant:
    """The program, told of and heard line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.stderr.read() if self._process.stderr else ""
        return dict(json.loads(line))


@contextmanager
def an_assistant(site: Site) -> Iterator[Assistant]:
    node = shutil.which("node")
    assert node, "make test installs node"
    command = [node, "--no-warnings", str(SCRIPT), str(MODULES.parent)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            program = Assistant(process)
            program.tell(json.dumps({"issuer": site.origin, "resource": site.resource, "callback": CALLBACK}))
            yield program
        finally:
            process.kill()


def test_openid_client_finds_the_server_and_does_all_that_a_consent_is_for(tmp_path: Path) -> None:
    with a_site(tmp_path, bearer=None) as site, an_assistant(site) as program:
        person = Person(site)
        query = dict(parse_qsl(urlsplit(program.heard()["open"]).query))
        program.tell(f"{CALLBACK}?{urlencode(person.consent(query))}")

        step = program.heard()
        first, second = claims_of(step["first"]["access_token"]), claims_of(step["second"]["access_token"])
        assert first["cnf"]["jkt"] == query["dpop_jkt"] == second["cnf"]["jkt"]
        assert (first["sub"], first["act"]["name"]) == (person.name, "desk-assistant")
        assert step["first"]["refresh_token"] != step["second"]["refresh_token"]
        assert step["called"] == 200

        shown = program.heard()
        person.answer(person.http.get(shown["at"]))
        program.tell("the person said yes")

        last = program.heard()
        assert claims_of(last["third"]["access_token"])["sub"] == person.name
        assert (last["gone"], last["stays"]) == (401, 200)  # one consent was given back, and the other was not


def test_the_metadata_is_where_openid_clients_look_first(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        oauth, openid = (
            httpx.get(f"{site.origin}/.well-known/{name}").json()
            for name in ("oauth-authorization-server", "openid-configuration")
        )
    assert oauth == openid
    assert openid["issuer"] == site.origin

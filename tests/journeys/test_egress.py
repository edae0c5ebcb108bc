"""An agent that speaks neither MCP nor a model's API goes out through Charter, and knows nothing of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from egress_stage import outside
from terminal import Terminal

SYSTEM = """\
charter: v1
system: web
kind: egress
environment: sandbox
owner: {person: rita@example.com, team: platform}
egress: {private: [127.0.0.0/8, "::1/128"]}
actions:
  tunnel: {effect: write}
  request: {effect: read}
"""


@pytest.mark.slow
def test_a_command_goes_out_where_its_charter_lets_it(estate: Terminal, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "page.html").write_text("hello from outside", encoding="utf-8")
    with outside(folder) as site:
        grant = f'grants:\n  - system: web\n    actions: [request]\n    objects: ["localhost:{site.port}"]\n'
        (estate.folder / "systems" / "web.yaml").write_text(SYSTEM, encoding="utf-8")
        charter = estate.folder / "principals" / "note-reader.yaml"
        charter.write_text(charter.read_text().replace("grants:\n", grant), encoding="utf-8")
        estate.charter("apply", "--yes", "--reason", "it reads one site")
        words = ("run", "note-reader", "--", curl, "-sS", "--noproxy", "")
        with estate.up("--egress-port", "0"):
            assert estate.charter(*words, f"{site.url}/page.html").out == "hello from outside"
            assert estate.charter(*words, "-d", "x=1", f"{site.url}/form").out == "x=1"
            browser = shutil.which("chromium")
            assert browser, "Chromium is not installed: python3 tools/prepare.py test"
            flags = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--proxy-bypass-list=<-loopback>")
            profile = f"--user-data-dir={tmp_path / 'profile'}"  # it leaves out the password that stands in HTTP_PROXY
            page = ("--dump-dom", f"{site.url}/page.html")
            shown = estate.charter("run", "note-reader", "--", browser, *flags, profile, *page)
            assert "hello from outside" in shown.out
            refused = estate.charter(*words, "http://localhost:1/").out
            assert "only for objects like" in refused
            told = estate.ask("evidence", "query", "--principal", "note-reader", "--verdict", "allow")["entries"]
            assert {entry["body"]["object"] for entry in told} == {f"localhost:{site.port}"}
            estate.charter("kill", "note-reader", "--reason", "a drill")
            assert "is revoked" in estate.charter(*words, f"{site.url}/page.html", expect=3).err
        assert not any({"proxy-authorization", "dpop"} & headers.keys() for _, _, headers, _ in site.seen)

"""A machine elsewhere, from the terminal: it joins by a one-time token and serves its processes until it is out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from spiffe import WorkloadApiClient
from spiffe.workloadapi.errors import FetchX509SvidError

from terminal import Terminal
from workload_stage import spiffe_files
from workloads import an_open_folder

REFUND_AGENT = "spiffe://home.example/production/agent/refund-agent"


def an_estate(folder: Path) -> Terminal:
    """Return a terminal in an applied estate whose one principal is what this user runs on the node web-1."""
    terminal = Terminal.at(folder, CHARTER_TRUST_DOMAIN="home.example")
    for name, text in spiffe_files(refund_agent={"node": "web-1", "uid": os.getuid()}).items():
        file = terminal.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    terminal.charter("apply", "--yes", "--reason", "a test")
    return terminal


@contextmanager
def an_agent(machine: Terminal, url: str, socket: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `charter workload agent`; it must end well when it is told to."""
    words = machine._command("workload", "agent", url, "web-1", "--socket", str(socket), "--json")
    agent = subprocess.Popen(
        words, cwd=machine.folder, env=dict(machine.environment), stdout=subprocess.PIPE, text=True
    )
    assert agent.stdout is not None
    try:
        assert json.loads("".join(iter(agent.stdout.readline, "}\n")) + "}") == {"workload_api": f"unix://{socket}"}
        yield agent
        agent.terminate()
        assert agent.wait(30) == 0
        assert not socket.exists()
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()


@pytest.mark.slow
def test_a_machine_joins_serves_its_processes_and_is_put_out(tmp_path: Path) -> None:
    home, machine = an_estate(tmp_path / "home"), Terminal.at(tmp_path / "machine")
    with home.up() as server, an_open_folder() as folder:
        made = home.ask("workload", "join-token", "web-1", "--life", "10m")
        assert made["server"] == server.url
        joined = machine.charter("workload", "join", server.url, "web-1", "--json", stdin=made["token"])
        assert json.loads(joined.out) == {"node": "web-1", "trust_domain": "home.example"}
        again = machine.charter("workload", "join", server.url, "web-1", stdin=made["token"], expect=3)
        assert "was used before" in again.err
        assert "join-token-reused" in json.dumps(home.ask("findings"))
        assert home.ask("workload", "nodes")["nodes"][0]["standing"] == "active"
        with (
            an_agent(machine, server.url, folder / "node.sock"),
            WorkloadApiClient(socket_path=f"unix://{folder / 'node.sock'}", default_timeout=30) as client,
        ):
            assert str(client.fetch_x509_svid().spiffe_id) == REFUND_AGENT
            (given,) = home.ask("workload", "ls")["svids"]
            assert given["seen"]["node"] == "web-1"
            home.charter("workload", "put-out", "web-1", "--reason", "stolen")
            with pytest.raises(FetchX509SvidError):
                client.fetch_x509_svid()
        assert "web-1" in home.say("workload", "nodes")
        home.refused("workload", "put-out", "web-9", expect=4)


@pytest.mark.slow
def test_what_cannot_be_is_said_plainly(tmp_path: Path) -> None:
    machine = Terminal.at(tmp_path / "machine")
    unsafe = machine.refused("workload", "join", "http://charter.example.com", "web-1", expect=2)
    assert "no join token came" in unsafe["detail"]
    told = machine.charter("workload", "join", "http://charter.example.com", "web-1", stdin="a-token", expect=2)
    assert "neither https nor on this machine" in told.err
    gone = machine.charter("workload", "join", "http://127.0.0.1:9", "web-1", stdin="a-token", expect=6)
    assert "cannot be reached" in gone.err


pytestmark = pytest.mark.timeout(240)

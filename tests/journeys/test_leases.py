"""A local agent that reaches a real PostgreSQL with a lease: what it gets, and that it is gone afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charter.core.canonical import canonical
from leasing_stage import PASSWORD, Orders, an_orders_database, orders_system
from terminal import Terminal

pytestmark = pytest.mark.postgres

AGENT = """\
import json, os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    names = [row[0] for row in connection.execute("SELECT customer FROM public.orders ORDER BY id")]
    role = connection.execute("SELECT current_user").fetchone()[0]
    try:
        connection.execute("DELETE FROM public.orders")
        deleted = True
    except psycopg.errors.InsufficientPrivilege:
        deleted = False
kept = sorted(name for name in os.environ if name.startswith(("PG", "CHARTER_LEASE")))
mode = oct(os.stat(os.environ["CHARTER_LEASE_ORDERS_DB"]).st_mode & 0o777)
print(json.dumps({"names": names, "role": role, "deleted": deleted, "kept": kept, "mode": mode}))
"""
GRANT = """\
  - system: orders-db
    actions: [read]
    objects: ["public.orders"]
"""


@pytest.fixture
def orders(postgres_url: str) -> Iterator[Orders]:
    with an_orders_database(postgres_url) as made:
        yield made


@pytest.fixture
def terminal(estate: Terminal, orders: Orders) -> Terminal:
    """An estate whose note-keeper may read orders."""
    system = orders_system(orders) | {
        "environment": "sandbox",
        "owner": {"person": "rita@example.com", "team": "platform"},
        "data": [],
    }
    (estate.folder / "systems" / "orders-db.yaml").write_bytes(canonical(system))
    charter = estate.folder / "principals" / "note-keeper.yaml"
    charter.write_text(charter.read_text().replace("grants:\n", f"grants:\n{GRANT}"), encoding="utf-8")
    estate.charter("apply", "--yes", "--reason", "orders")
    estate.charter("vault", "set", "orders", "--for", "orders-db", stdin=PASSWORD)
    return estate


@pytest.mark.slow
def test_an_agent_gets_a_credential_of_its_own_for_as_long_as_it_runs(
    terminal: Terminal, orders: Orders, tmp_path: Path
) -> None:
    program = tmp_path / "agent.py"
    program.write_text(AGENT, encoding="utf-8")
    there = terminal.but(PGPASSWORD="someone-elses", PGSERVICE="another", CHARTER_MASTER_KEY="ab" * 32)
    with terminal.up():
        said = there.charter("run", "note-keeper", "--lease", "orders-db", "--", sys.executable, str(program))
        found = json.loads(said.out)
        assert (found["names"], found["deleted"], found["mode"]) == (["ada", "bob"], False, "0o600")
        assert found["kept"] == ["CHARTER_LEASE_ORDERS_DB", "PGDATABASE", "PGHOST", "PGPASSWORD", "PGPORT", "PGUSER"]
        assert orders.roles() == []  # given back when it ended
        listed = terminal.ask("leases", "ls", "--all")["leases"]
        assert [(each["state"], each["why"]) for each in listed] == [("revoked", "its holder gave it back")]
        assert found["role"] == listed[0]["handle"]["role"]
        assert PASSWORD not in json.dumps(terminal.ask("evidence", "query"))


@pytest.mark.slow
def test_a_lease_is_seen_renewed_and_revoked_singly(terminal: Terminal, orders: Orders) -> None:
    waiting = "import os, sys, time; print('up', flush=True); time.sleep(600)"
    with terminal.up():
        command = terminal._command("run", "note-keeper", "--lease", "orders-db", "--", sys.executable, "-c", waiting)
        agents = [
            subprocess.Popen(command, cwd=terminal.folder, env=dict(terminal.environment), stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        try:
            for agent in agents:
                assert agent.stdout is not None
                assert agent.stdout.readline() == b"up\n"
            listed = terminal.ask("leases", "ls", "--principal", "note-keeper")["leases"]
            assert [each["state"] for each in listed] == ["issued", "issued"]
            first, second = listed
            renewed = terminal.ask("leases", "renew", first["id"])
            assert (renewed["state"], renewed["renewals"]) == ("renewed", 1)
            revoked = terminal.ask("leases", "revoke", first["id"], "--reason", "a colleague asked")
            assert (revoked["state"], revoked["why"]) == ("revoked", "a colleague asked")
            assert orders.roles() == [second["handle"]["role"]]
            again = terminal.refused("leases", "revoke", first["id"], "--reason", "again", expect=4)
            assert again["error"] == "unknown_lease"
            assert "public.orders" in terminal.say("leases", "show", second["id"])
            killed = terminal.ask("kill", "note-keeper", "--reason", "three in the morning")
            assert "1 of 1 leases revoked" in [step["what"] for step in killed["steps"]]
            assert orders.roles() == []
        finally:
            for agent in agents:
                agent.terminate()  # which ends its command too
                agent.wait(30)
                if agent.stdout is not None:
                    agent.stdout.close()


@pytest.mark.slow
def test_a_refused_lease_tells_why_and_starts_no_agent(terminal: Terminal, orders: Orders) -> None:
    with terminal.up():
        done = terminal.charter("run", "note-reader", "--lease", "orders-db", "--", "true", expect=3)
        assert "grants nothing on 'orders-db'" in done.err
        done = terminal.charter("run", "note-keeper", "--lease", "notes", "--", "true", expect=2)
        assert "is not reached with a lease" in done.err
    assert orders.roles() == []

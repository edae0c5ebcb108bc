"""A shared credential from the first sign of it to its end: noticed, looked at, settled, and split into several."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from senders import PROXY, Sender
from terminal import Server, Terminal

READ = ("read_note", {"id": "welcome"})
WRITE = ("write_note", {"id": "a", "text": "b"})
INSIDE, ELSEWHERE = "10.1.2.3", "9.9.9.9"
BEARING = "credential: {type: private-key-jwt, bearer: allowed}"
PLACES = """\
charter: v1
places:
  cluster: [10.0.0.0/8]
  office: [9.9.9.0/24]
  lab: [192.168.7.0/24]
"""


@pytest.fixture
def served(estate: Terminal) -> Iterator[tuple[Terminal, Server]]:
    """An estate whose note-keeper bears its tokens, served behind a proxy that is trusted."""
    _credential(estate, "note-keeper", BEARING)
    (estate.folder / "sharing.yaml").write_text(PLACES)
    with estate.up("--trusted-proxy", PROXY) as server:
        estate.charter("apply", "--yes", "--reason", "places are known")
        yield estate, server


def _credential(terminal: Terminal, name: str, text: str) -> None:
    file = terminal.folder / "principals" / f"{name}.yaml"
    file.write_text(re.sub(r"credential: .*", text, file.read_text()))


def sender(terminal: Terminal, server: Server, source: str, key: ECKey, program: str = "agent") -> Sender:
    client_id = terminal.ask("show", "note-keeper")["id"]
    return Sender(server.url, client_id, key, source, program)


def a_key(terminal: Terminal, name: str) -> ECKey:
    key = ECKey.generate_key("P-256")
    (terminal.folder / "k.pem").write_bytes(key.as_pem(private=False))
    terminal.charter("key", "add", name, "k.pem")
    return key


@pytest.mark.slow
def test_a_credential_used_elsewhere_is_noticed_looked_at_and_settled(served: tuple[Terminal, Server]) -> None:
    estate, server = served
    key = a_key(estate, "note-keeper")
    _credential(estate, "note-keeper", "credential: {type: private-key-jwt, bearer: allowed, places: [cluster]}")
    estate.charter("apply", "--yes", "--reason", "it runs in the cluster")
    at_home, away = (sender(estate, server, source, key) for source in (INSIDE, ELSEWHERE))

    assert at_home.calls(READ, WRITE) == [True, True]
    assert estate.ask("findings")["findings"] == []
    assert away.calls(READ, WRITE) == [True, False], "it goes on reading; what changes state waits for a person"

    (found,) = estate.ask("findings")["findings"]
    assert (found["kind"], found["status"], found["severity"]) == ("outside-places", "New", "Medium")
    assert estate.ask("show", "note-keeper")["standing"] == "restrained"
    shown = estate.ask("findings", found["id"])
    assert shown["body"]["answer"] == {"note-keeper": "restrain"}
    assert ELSEWHERE in {use.get("source") for use in shown["body"]["uses"]}
    assert [entry["index"] for entry in shown["entries"]] == shown["body"]["entries"]
    said = estate.say("findings", found["id"])
    assert "was used from 9.9.9.9, outside cluster" in said
    assert "how sure: stated; what policy says: note-keeper: restrain" in said
    (move,) = estate.ask("evidence", "query", "--kind", "standing.changed")["entries"]
    assert found["id"] in move["body"]["reason"]
    assert estate.ask("evidence", "verify")["ok"]

    refused = estate.refused("findings", found["id"], "--say", "resolved", expect=2)
    assert "reason" in refused["detail"]
    settled = estate.ask("findings", found["id"], "--say", "resolved", "--reason", "the copy is gone")
    assert (settled["state"], settled["status"]) == ("resolved", "Resolved")
    assert (
        estate.refused("findings", found["id"], "--say", "resolved", "--reason", "x", expect=5)["error"] == "bad_move"
    )
    assert estate.refused("findings", "fnd_none", expect=4)["error"] == "unknown_finding"
    estate.charter("resume", "note-keeper", "--reason", "see the finding")
    assert at_home.calls(WRITE) == [True]


@pytest.mark.slow
def test_one_key_for_two_principals_in_a_proof_is_noticed_by_the_running_server(
    served: tuple[Terminal, Server],
) -> None:
    """`charter run` binds tokens to the agent's key; here another principal's tokens are bound to the same one."""
    estate, server = served
    estate.charter("token", "note-reader", "notes")
    keys = estate.folder.parent / "estate-home" / ".config" / "charter" / "keys"
    (reader,) = keys.glob("*/note-reader.pem")
    private = ECKey.import_key(reader.read_bytes())
    keeper = a_key(estate, "note-keeper")
    proof = _proof(server.url, private)
    answer = _token_with_proof(sender(estate, server, INSIDE, keeper), proof, private)
    assert answer.status_code == 200, answer.text
    found = estate.ask("findings")["findings"]
    assert [each["kind"] for each in found] == ["shared-credential"]
    assert found[0]["confidence"] == "High"
    assert estate.ask("show", "note-keeper")["standing"] == "restrained"
    assert estate.ask("show", "note-reader")["standing"] == "restrained"


def _proof(url: str, key: ECKey, nonce: str | None = None) -> str:
    public = key.as_dict(private=False)
    public = {name: public[name] for name in ("kty", "crv", "x", "y")}
    claims = {"htm": "POST", "htu": f"{url}/oauth/token", "iat": int(time.time()), "jti": f"j{time.monotonic_ns()}"}
    if nonce:
        claims["nonce"] = nonce
    return jwt.encode({"alg": "ES256", "typ": "dpop+jwt", "jwk": public}, claims, key)


def _token_with_proof(who: Sender, proof: str, key: ECKey) -> httpx.Response:
    """Ask for a token bound to `key`; the server's nonce is in its first answer."""

    def ask(shown: str) -> httpx.Response:
        now = int(time.time())
        claims = {"iss": who.client_id, "sub": who.client_id, "aud": f"{who.url}/oauth/token", "iat": now}
        claims |= {"exp": now + 60, "jti": f"a{time.monotonic_ns()}"}
        form = {
            "grant_type": "client_credentials",
            "resource": f"{who.url}/mcp/notes",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, who.key),
        }
        headers = {"DPoP": shown, "X-Forwarded-For": who.source}
        return httpx.post(f"{who.url}/oauth/token", data=form, headers=headers)

    first = ask(proof)
    return ask(_proof(who.url, key, first.headers["DPoP-Nonce"])) if first.status_code != 200 else first


@pytest.mark.slow
def test_one_shared_account_is_split_into_those_who_use_it(served: tuple[Terminal, Server]) -> None:
    estate, server = served
    nothing = estate.refused("split", "note-keeper", expect=4)
    assert "the evidence has no call of `note-keeper`" in nothing["detail"]
    assert "--since" in nothing["help"]
    key = a_key(estate, "note-keeper")
    reports = sender(estate, server, INSIDE, key, "reports")
    editor = replace(sender(estate, server, ELSEWHERE, key, "editor"), mode="legacy")
    reports.calls(*[READ] * 6)
    editor.calls(*[WRITE] * 6)

    found = estate.ask("split", "note-keeper")
    assert found["calls"] == 12
    assert found["by"] == ["client"]
    assert found["confidence"]["word"] == "high"
    by_name = {each["principal"]: each for each in found["proposals"]}
    assert {name: [did["action"] for did in each["did"]] for name, each in by_name.items()} == {
        "note-keeper-reports": ["read_note"],
        "note-keeper-editor": ["write_note"],
    }
    assert found["problems"] == []
    assert {"grant": 2, "system": "notes", "actions": ["drop_note"], "whole": True} in found["unused"]
    assert not list((estate.folder / "principals").glob("note-keeper-*")), "nothing is written unasked"
    by_place = estate.ask("split", "note-keeper", "--by", "place")
    assert {each["values"]["place"] for each in by_place["proposals"]} == {"cluster", "office"}
    assert estate.refused("split", "note-keeper", "--by", "colour", expect=2)["help"].startswith("use client")
    assert estate.refused("split", "nobody", expect=4)["error"] == "unknown_principal"

    said = estate.say("split", "note-keeper", "--write")
    assert "wrote principals/note-keeper-reports.yaml" in said
    assert estate.refused("split", "note-keeper", "--write", expect=5)["error"] == "exists"
    problems = estate.refused("validate", expect=2)["problems"]
    assert {each["path"] for each in problems} == {f"principals/{name}.yaml" for name in by_name}
    assert all("purpose" in each["text"] or "approved" in each["text"] for each in problems)

    for name in by_name:  # a person says what only a person can
        file = estate.folder / "principals" / f"{name}.yaml"
        text = re.sub("# MISSING: purpose.*", "purpose: What it is for", file.read_text())
        approved = "approved: {by: sam@example.com, role: platform-lead, on: 2026-11-02}"
        file.write_text(re.sub("# MISSING: approved.*", approved, text))
    estate.charter("validate")
    estate.charter("apply", "--yes", "--reason", "split")
    read_note = {"system": "notes", "tool": "read_note", "arguments": {"id": "welcome"}}
    write_note = {"system": "notes", "tool": "write_note", "arguments": {"id": "a", "text": "b"}}
    read, wrote = estate.agent("note-keeper-reports", read_note, write_note)
    assert (read["ok"], wrote["ok"]) == (True, False)
    estate.charter("restrain", "note-keeper", "--reason", "everybody has an account of their own")
    estate.charter("retire", "note-keeper", "--reason", "nobody uses it any more")


@pytest.mark.slow
def test_one_who_is_alone_is_not_split(served: tuple[Terminal, Server]) -> None:
    estate, server = served
    sender(estate, server, INSIDE, a_key(estate, "note-keeper")).calls(*[READ] * 6)
    answer = estate.ask("split", "note-keeper", expect=1)
    assert answer["proposals"] == []
    assert len(answer["considered"]) == 7
    assert "nothing tells its senders apart" in estate.say("split", "note-keeper", expect=1)


@pytest.mark.slow
def test_places_that_nobody_wrote_down_are_told_when_files_are_checked(estate: Terminal) -> None:
    _credential(estate, "note-keeper", "credential: {type: private-key-jwt, places: [lab]}")
    (problem,) = estate.refused("validate", expect=2)["problems"]
    assert problem["text"] == "`lab` is no place of sharing.yaml"
    (estate.folder / "sharing.yaml").write_text(PLACES)
    estate.charter("validate")

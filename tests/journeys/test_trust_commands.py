"""A trust domain from the terminal: a process gets its SVID, two Charters federate, a stolen root is taken out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from spiffe import TrustDomain, WorkloadApiClient

from terminal import Server, Terminal
from workload_stage import spiffe_files

REFUND_AGENT = "/production/agent/refund-agent"


def an_estate(folder: Path, trust_domain: str, *trusts: str) -> Terminal:
    """Return a terminal in an applied estate whose one principal is whatever this user runs."""
    terminal = Terminal.at(folder, CHARTER_TRUST_DOMAIN=trust_domain, CHARTER_BUNDLE_PORT="0")
    for name, text in spiffe_files(trusts=trusts, refund_agent={"uid": os.getuid()}).items():
        file = terminal.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    terminal.charter("apply", "--yes", "--reason", "a test")
    return terminal


def told(server: Server, beginning: str) -> str:
    """Return what `charter up` printed behind `beginning`."""
    lines = server.log.read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix(beginning) for line in lines if line.startswith(beginning))


@pytest.mark.slow
def test_two_charters_federate_and_believe_each_others_workloads(tmp_path: Path) -> None:
    home = an_estate(tmp_path / "home", "home.example", "partner.example")
    partner = an_estate(tmp_path / "partner", "partner.example")
    with home.up() as here, partner.up() as there:
        socket = told(here, "workload API: ")
        with WorkloadApiClient(socket_path=socket, default_timeout=20) as client:
            svid = client.fetch_x509_svid()
            assert str(svid.spiffe_id) == f"spiffe://home.example{REFUND_AGENT}"
            (given,) = [each for each in home.ask("workload", "ls")["svids"] if each["principal"]]
            assert (given["id"], given["seen"]["pid"]) == (f"{svid.leaf.serial_number:x}", os.getpid())
            assert "refund-agent" in home.say("workload", "ls")

            first = partner.folder / "bundle.json"
            first.write_text(partner.say("workload", "bundle"), encoding="utf-8")
            served = httpx.get(f"{there.url}/.well-known/spiffe-bundle", timeout=20).json()
            assert served == json.loads(first.read_text()) == partner.ask("workload", "bundle")["bundle"]
            words = ["partner.example", "--url", told(there, "trust bundle, shown with our SVID: ")]
            words += ["--profile", "https_spiffe", "--endpoint-id", "spiffe://partner.example/charter/bundle-endpoint"]
            added = home.ask("federation", "add", *words, "--bundle", str(first), "--network", "127.0.0.0/8")
            assert (added["failure"], added["is_trusted"]) == (None, True)
            bundles = client.fetch_x509_bundles()
            roots = bundles.get_bundle_for_trust_domain(TrustDomain("partner.example")).x509_authorities

            partner.charter("rotate", "jwt-svid")
            partner.charter("rotate", "x509-intermediate")
            rotated = partner.ask("rotate", "x509-root", "--at-once", "--reason", "its key was seen")
            assert rotated["use"] == "x509-root"
            # the root that signs now was in the bundle before: the relationship goes on, without the stolen one
            assert home.ask("federation", "refresh", "partner.example")["failure"] is None
            bundles = client.fetch_x509_bundles()
            left = bundles.get_bundle_for_trust_domain(TrustDomain("partner.example")).x509_authorities
            assert len(roots - left) == len(left - roots) == 1
            home.charter("federation", "remove", "partner.example", "--reason", "its root was stolen")
            assert home.ask("federation", "ls")["federations"] == []
            bundles = client.fetch_x509_bundles()
            assert bundles.get_bundle_for_trust_domain(TrustDomain("partner.example")) is None


@pytest.mark.slow
def test_the_commands_say_what_charters_ask_for_and_what_is_wrong(tmp_path: Path) -> None:
    home = an_estate(tmp_path / "home", "home.example")
    (entry,) = home.ask("workload", "entries")["workloads"]
    assert entry["selectors"] == {"uid": os.getuid()}
    assert f"uid {os.getuid()}" in home.say("workload", "entries", "refund-agent")
    home.refused("workload", "entries", "nobody", expect=4)
    home.refused("federation", "refresh", "partner.example", expect=4)
    home.refused("federation", "add", "Partner", "--url", "https://partner.example/", expect=2)
    home.refused("federation", "add", "partner.example", "--url", "http://partner.example/", expect=2)
    home.refused("federation", "add", "home.example", "--url", "https://partner.example/", expect=5)
    said = home.say("federation", "add", "partner.example", "--url", "https://127.0.0.1:9/")
    assert "has a host without an address that may be asked" in said
    assert "127.0.0.1:9" in home.say("federation", "ls")


pytestmark = pytest.mark.timeout(240)


@pytest.mark.slow
def test_doctor_names_a_trust_domain_that_does_not_answer(tmp_path: Path) -> None:
    home = an_estate(tmp_path / "home", "home.example")
    with home.up():
        healthy = trust_check(home.ask("doctor"))
        assert healthy["ok"]
        assert healthy["found"].startswith("home.example, bundle 1, ")
        words = ["partner.example", "--url", "https://127.0.0.1:9/bundle", "--network", "127.0.0.0/8"]
        assert home.ask("federation", "add", *words)["failure"]
        broken = trust_check(home.ask("doctor", expect=1))
        assert not broken["ok"]
        assert "`partner.example`: " in broken["found"]
        home.charter("federation", "remove", "partner.example", "--reason", "it never answered")
        assert trust_check(home.ask("doctor"))["ok"]


def trust_check(answer: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in answer["checks"] if each["name"] == "trust domain")

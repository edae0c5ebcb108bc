"""Two Charters that federate: bundles fetched over https_spiffe and https_web, given to workloads, and withdrawn."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import TrustDomain
from spiffe.workloadapi.errors import ValidateJwtSvidError

from charter.adapters.bundle_fetch import BundleFetcher
from charter.bootstrap import federation
from charter.config import BUNDLE_PATH
from charter.core.canonical import canonical
from charter.identity.spiffe import verify_x509_svid
from charter.server.app import Doors
from charter.server.bundle import BundleApp
from charter.server.bundle_door import ENDPOINT_PATH, BundleTls
from tls_server import WebAuthority, a_tls_server
from workload_stage import ME, Listener, WorkloadStage, a_workload_stage

ACTOR = "test@example.com"
PARTNER = TrustDomain("partner.example")
ENDPOINT = f"spiffe://partner.example{ENDPOINT_PATH}"


@dataclass
class Pair:
    """Charter `home`, whose workload trusts the partner, and Charter `partner` with its bundle door."""

    home: WorkloadStage
    partner: WorkloadStage
    url: str

    def add(self, **given: Any) -> dict[str, Any]:
        first = canonical(self.partner.house.trust.own.document()).decode()
        usual = {"url": self.url, "profile": "https_spiffe", "endpoint_id": ENDPOINT, "bundle": first}
        usual |= {"networks": ("127.0.0.0/8",)}
        adding = federation.add(self.home.house, "partner.example", usual | given, actor=ACTOR, reason="a test")
        return self.home.run(adding)

    def ask(self) -> dict[str, Any]:
        return self.home.run(federation.refresh(self.home.house, "partner.example"))


@contextmanager
def a_bundle_door(stage: WorkloadStage) -> Iterator[tuple[str, BundleTls]]:
    """Serve the bundle of a stage as `charter up` does with CHARTER_BUNDLE_PORT."""
    tls = BundleTls(stage.house)
    context = stage.run(tls.context())
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Doors({}, BundleApp.of(stage.house)),
        log_level="warning",
        ssl_context_factory=lambda _config, _default: context,
    )
    server = uvicorn.Server(config)
    serving = asyncio.run_coroutine_threadsafe(server._serve([listener]), stage.loop)
    while not server.started:
        if serving.done():
            serving.result()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}{BUNDLE_PATH}", tls
    finally:
        server.should_exit = True
        serving.result(20)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as opened:
        home = opened.enter_context(a_workload_stage(trusts=("partner.example",)))
        partner = opened.enter_context(a_workload_stage(trust_domain="partner.example"))
        url, _ = opened.enter_context(a_bundle_door(partner))
        yield Pair(home, partner, url)


def test_a_workload_is_given_the_bundle_of_a_domain_its_charter_trusts(pair: Pair) -> None:
    listener = Listener()
    stop = pair.home.client().stream_x509_contexts(listener.success, listener.failure, retry_connect=False)
    assert listener.next().x509_bundle_set.get_bundle_for_trust_domain(PARTNER) is None
    found = pair.add()
    assert (found["failure"], found["is_trusted"]) == (None, True)
    told = listener.next().x509_bundle_set.get_bundle_for_trust_domain(PARTNER)
    assert told.x509_authorities == set(pair.partner.house.trust.own.x509_authorities)
    bundles = pair.home.client().fetch_x509_bundles()
    assert bundles.get_bundle_for_trust_domain(PARTNER).x509_authorities == told.x509_authorities
    stop.cancel()


def test_the_partners_svids_are_believed_and_a_stranger_to_it_believes_none(pair: Pair) -> None:
    pair.add()
    token = pair.partner.client().fetch_jwt_svid(audience={"home"}).token
    name = "spiffe://partner.example/production/agent/refund-agent"
    assert str(pair.home.client().validate_jwt_svid(token, "home").spiffe_id) == name
    svid = pair.partner.client().fetch_x509_svid()
    chain = [each.public_bytes(Encoding.DER) for each in svid.cert_chain]
    trusted = pair.home.house.trust.bundles
    assert str(verify_x509_svid(chain, bundles=trusted, at=pair.home.clock.now()).spiffe_id) == name
    from workload_stage import spiffe_files

    pair.home.apply(spiffe_files(refund_agent=ME))  # the charter trusts nobody any more
    with pytest.raises(ValidateJwtSvidError, match="not trusted here"):
        pair.home.client().validate_jwt_svid(token, "home")


def test_rotation_at_the_partner_reaches_our_workloads(pair: Pair) -> None:
    pair.add()
    listener = Listener()
    stop = pair.home.client().stream_jwt_bundles(listener.success, listener.failure, retry_connect=False)
    first = listener.next().get_bundle_for_trust_domain(PARTNER).jwt_authorities
    house = pair.partner.house
    house.database.write(lambda tx: house.trust.rotate_jwt_key(tx, actor=ACTOR, reason="a test"))
    found = pair.ask()
    assert (found["failure"], found["sequence"]) == (None, 2)
    assert set(first) < set(listener.next().get_bundle_for_trust_domain(PARTNER).jwt_authorities)
    stop.cancel()


def test_the_endpoint_stays_believed_through_root_after_root(pair: Pair) -> None:
    """Each newest bundle authenticates the next question (section 5.2.2.4), and the door renews its SVID by itself."""
    pair.add()
    house = pair.partner.house
    for number in (2, 3, 4):
        house.database.write(lambda tx: house.trust.rotate_root(tx, actor=ACTOR, reason="a test", at_once=False))
        found = pair.ask()
        assert (found["failure"], found["sequence"]) == (None, number)


def test_a_domain_that_is_removed_is_gone_from_our_workloads_at_once(pair: Pair) -> None:
    pair.add()
    token = pair.partner.client().fetch_jwt_svid(audience={"home"}).token
    listener = Listener()
    stop = pair.home.client().stream_x509_contexts(listener.success, listener.failure, retry_connect=False)
    assert listener.next().x509_bundle_set.get_bundle_for_trust_domain(PARTNER) is not None
    house = pair.home.house
    pair.home.run(federation.remove(house, "partner.example", actor=ACTOR, reason="contract ended"))
    assert listener.next().x509_bundle_set.get_bundle_for_trust_domain(PARTNER) is None
    with pytest.raises(ValidateJwtSvidError, match="not trusted here"):
        pair.home.client().validate_jwt_svid(token, "home")
    assert [e["body"]["trust_domain"] for e in pair.home.entries("federation.removed")] == ["partner.example"]
    stop.cancel()


def test_a_restart_goes_on_trusting_whom_it_federates_with(tmp_path: Path) -> None:
    from charter.bootstrap.building import build
    from charter.config import Settings
    from trust_domains import ForeignDomain

    foreign = ForeignDomain("partner.example")
    told = Settings(estate=tmp_path)
    house = build(told)
    given = {"url": "https://127.0.0.1:9/", "profile": "https_web", "bundle": foreign.document().decode()}
    asyncio.run(federation.add(house, "partner.example", given, actor=ACTOR, reason="a test"))
    kept = house.trust.bundles["partner.example"]
    asyncio.run(house.aclose())
    house = build(told)
    assert house.trust.bundles["partner.example"] == kept
    asyncio.run(house.aclose())


def test_an_endpoint_of_the_web_is_asked_as_well() -> None:
    """The same document behind any web server; and ours at its well-known path, byte for byte what is published."""
    web = WebAuthority.fresh()
    with ExitStack() as opened:
        home = opened.enter_context(a_workload_stage(trusts=("partner.example",)))
        partner = opened.enter_context(a_workload_stage(trust_domain="partner.example"))
        document = partner.house.trust.own.document()
        server = opened.enter_context(a_tls_server({"/bundle.json": document}, web.server()))
        home.house.bundle_fetcher = BundleFetcher(web.trusting)
        pair = Pair(home, partner, server.url("/bundle.json"))
        found = pair.add(profile="https_web", endpoint_id=None, bundle=None)
        assert (found["failure"], found["sequence"]) == (None, 1)
        assert home.house.trust.bundles["partner.example"] == partner.house.trust.own


def test_the_bundle_door_shows_our_svid_to_anyone_and_serves_nothing_else(pair: Pair) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    roots = b"".join(each.public_bytes(Encoding.DER) for each in pair.partner.house.trust.own.x509_authorities)
    context.load_verify_locations(cadata=roots)
    host, port = "127.0.0.1", int(pair.url.split(":")[2].split("/")[0])

    def get(path: str, method: str = "GET") -> tuple[str, bytes]:
        with socket.create_connection((host, port)) as line, context.wrap_socket(line) as tls:
            tls.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while part := tls.recv(65_536):
                data += part
        head, _, body = data.partition(b"\r\n\r\n")
        return head.decode(), body

    head, body = get(BUNDLE_PATH)
    assert "content-type: application/json" in head.lower()
    assert json.loads(body) == pair.partner.house.trust.own.document()
    assert get(BUNDLE_PATH, "HEAD")[1] == b""
    assert " 405 " in get(BUNDLE_PATH, "POST")[0]
    assert " 404 " in get("/v1/status")[0]
    assert {e["body"]["spiffe_id"] for e in pair.partner.entries("svid.issued")} == {ENDPOINT}

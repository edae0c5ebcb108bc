"""A remote node that joined a real Charter over HTTP, and the stock SPIFFE client on the node: nothing is as if local.

What differs is where the key is made: on the node.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import TrustDomain, WorkloadApiClient
from spiffe.svid.jwt_svid import JwtSvid
from spiffe.workloadapi.errors import FetchJwtSvidError, FetchX509SvidError, ValidateJwtSvidError

from charter.adapters.process import Peer
from charter.bootstrap import node, rotation
from charter.bootstrap.rotation import Wish
from charter.cli.node_agent import CharterLine, NodeSource, a_line, node_key
from charter.console.signin import SignIn
from charter.core.canonical import canonical, digest
from charter.core.clock import SystemClock
from charter.core.entropy import SystemEntropy
from charter.core.errors import CharterError, IntegrityError, MalformedError, UnauthenticatedError, UnavailableError
from charter.identity.jose import thumbprint_of
from charter.identity.spiffe import verify_x509_svid
from charter.identity.trust import KeptBundle
from charter.registry.standing import Move
from charter.server.app import public_app
from charter.server.workload_door import workload_door
from mcp_stage import serving
from nodes import ACTOR, a_join_token
from serving import listening
from trust_domains import ForeignDomain
from workload_stage import ME, Listener, WorkloadStage, a_workload_stage, spiffe_files

REFUND_AGENT = "spiffe://charter.local/production/agent/refund-agent"
HERE = {"node": "web-1"} | ME
OWN = TrustDomain("charter.local")


@dataclass
class NodeStage:
    """A Charter behind its public address, and a node that serves what it gets there."""

    charter: WorkloadStage
    line: CharterLine
    source: NodeSource
    path: Path
    _open: ExitStack

    def client(self) -> WorkloadApiClient:
        """Return a stock client of the node, which is closed with the stage."""
        client = WorkloadApiClient(socket_path=f"unix://{self.path}", default_timeout=20)
        self._open.callback(client.close)
        return client

    def join(self, token: str) -> dict[str, Any]:
        return self.charter.run(self.line.join(token))

    def put_out(self) -> None:
        self.charter.run(node.remove(self.charter.house, "web-1", actor=ACTOR, reason="a test"))


@contextmanager
def a_node_stage(folder: Path, *, joined: bool = True, **workloads: Any) -> Iterator[NodeStage]:
    """Serve a Charter on a port, and a node of it at a socket; both on the event loop of the Charter's stage."""
    with ExitStack() as undo:
        listener = undo.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        stage = undo.enter_context(a_workload_stage(port=port, **(workloads or {"refund_agent": HERE})))
        signin = SignIn(stage.house.clock, stage.house.entropy, ACTOR, issuer=stage.house.settings.issuer)
        undo.enter_context(listening(public_app(stage.house, signin), listener))
        server = stage.house.settings.issuer
        making = a_line(server, "web-1", node_key(folder / "keys", server, "web-1"), stage.clock, SystemEntropy())
        line = stage.run(making.__aenter__())
        undo.callback(lambda: stage.run(making.__aexit__(None, None, None)))
        source, path = NodeSource(line), folder / "node.sock"
        door = workload_door(source, path)
        stage.run(door.__aenter__())
        undo.callback(lambda: stage.run(door.__aexit__(None, None, None)))
        inner = undo.enter_context(ExitStack())
        found = NodeStage(stage, line, source, path, inner)
        if joined:
            found.join(a_join_token(stage.house, "web-1"))
            watching = asyncio.run_coroutine_threadsafe(source.watch(), stage.loop)
            undo.callback(watching.cancel)
        yield found


def test_a_process_on_a_node_gets_its_svids_and_bundles(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        client, trust = stage.client(), stage.charter.house.trust
        svid = client.fetch_x509_svid()
        assert str(svid.spiffe_id) == REFUND_AGENT
        chain = [each.public_bytes(Encoding.DER) for each in svid.cert_chain]
        verify_x509_svid(chain, bundles=trust.bundles, at=stage.charter.clock.now())
        context = client.fetch_x509_context()
        roots = context.x509_bundle_set.get_bundle_for_trust_domain(OWN).x509_authorities
        assert roots == set(trust.own.x509_authorities)
        token = client.fetch_jwt_svid(audience={"payments"}).token
        bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(OWN)
        assert str(JwtSvid.parse_and_validate(token, bundle, {"payments"}).spiffe_id) == REFUND_AGENT
        assert str(client.validate_jwt_svid(token, "payments").spiffe_id) == REFUND_AGENT
        with pytest.raises(ValidateJwtSvidError):
            client.validate_jwt_svid(token, "refunds")


def test_the_evidence_says_which_node_vouched_for_which_process(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        stage.client().fetch_x509_svid()
        (entry,) = stage.charter.entries("svid.issued")
        seen = entry["body"]["seen"]
        assert (seen["node"], seen["pid"], seen["uid"]) == ("web-1", os.getpid(), os.getuid())
        (joined,) = stage.charter.entries("node.joined")
        assert joined["body"]["key"] == thumbprint_of(stage.line.key.jwk)


def test_the_private_key_of_an_x509_svid_is_made_on_the_node(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        known = stage.charter.run(stage.source.attest(this_process()))
        issued = stage.charter.run(stage.source.x509(known))
        folder = stage.charter.house.settings.data_folder
        assert all(issued.key.reveal() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_killed_principals_stream_on_a_node_ends_at_once(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        client, heard = stage.client(), Listener()
        client.stream_x509_contexts(heard.success, heard.failure, retry_connect=False)
        heard.next()
        stage.charter.move("refund-agent", Move.KILL)
        assert heard.error.wait(20)
        assert "PERMISSION_DENIED" in heard.said
        with pytest.raises(FetchX509SvidError):
            client.fetch_x509_svid()
        with pytest.raises(FetchJwtSvidError):
            client.fetch_jwt_svid(audience={"payments"})


def test_a_rotated_authority_reaches_the_streams_of_a_node(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        heard, house = Listener(), stage.charter.house
        stage.client().stream_x509_contexts(heard.success, heard.failure, retry_connect=False)
        first = heard.next()
        house.database.write(lambda tx: house.trust.rotate_root(tx, actor=ACTOR, reason="a test", at_once=True))
        second = heard.next()
        wanted = set(house.trust.own.x509_authorities)
        assert second.x509_bundle_set.get_bundle_for_trust_domain(OWN).x509_authorities == wanted
        assert second.default_svid.cert_chain != first.default_svid.cert_chain


def test_a_changed_charter_reaches_the_streams_of_a_node(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        heard = Listener()
        stage.client().stream_x509_contexts(heard.success, heard.failure, retry_connect=False)
        heard.next()
        stage.charter.apply(spiffe_files(refund_agent={"node": "web-2"} | ME))
        assert heard.error.wait(20)


def test_a_node_replaces_its_own_key_when_it_is_asked_to_and_goes_on(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        before = stage.line.key.jwk
        assert stage.client().fetch_x509_svid()
        wish = Wish(ACTOR, "due")
        stage.charter.run(rotation.rotate_node(stage.charter.house, "web-1", wish))
        eventually(lambda: stage.line.key.jwk != before)
        assert stage.client().fetch_x509_svid()
        (kept,) = stage.charter.house.database.read(lambda tx: tx.nodes.nodes())
        assert dict(kept.jwk) == stage.line.key.jwk
        files = sorted(each.name for each in stage.line.key.path.parent.iterdir())
    assert files == ["web-1.pem"]


def eventually(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nothing_is_given_out_once_a_node_was_put_out(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        client, heard = stage.client(), Listener()
        client.stream_x509_contexts(heard.success, heard.failure, retry_connect=False)
        heard.next()
        stage.put_out()
        assert heard.error.wait(20)
        with pytest.raises(FetchX509SvidError):
            client.fetch_x509_svid()


def test_a_process_that_no_charter_names_gets_nothing_from_a_node(tmp_path: Path) -> None:
    with a_node_stage(tmp_path, refund_agent=ME) as stage:  # a process beside Charter, not on a node
        with pytest.raises(FetchX509SvidError):
            stage.client().fetch_x509_svid()
        stage.charter.apply(spiffe_files(refund_agent=HERE | {"uid": os.getuid() + 1}))
        with pytest.raises(FetchX509SvidError):
            stage.client().fetch_x509_svid()


def test_a_charter_can_ask_for_the_digest_of_a_program_on_a_node(tmp_path: Path) -> None:
    digest = hashlib.sha256(Path(sys.executable).resolve().read_bytes()).hexdigest()
    with a_node_stage(tmp_path, refund_agent=HERE | {"sha256": digest}) as stage:
        assert str(stage.client().fetch_x509_svid().spiffe_id) == REFUND_AGENT
        stage.charter.apply(spiffe_files(refund_agent=HERE | {"sha256": "0" * 64}))
        with pytest.raises(FetchX509SvidError):
            stage.client().fetch_x509_svid()


def test_a_machine_that_did_not_join_gets_nothing(tmp_path: Path) -> None:
    with a_node_stage(tmp_path, joined=False) as stage:
        with pytest.raises(FetchX509SvidError):
            stage.client().fetch_x509_svid()
        with pytest.raises(UnauthenticatedError, match="not known"):
            stage.join("no token")


def test_federated_bundles_reach_a_node_with_our_own_first(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        at, house = stage.charter.clock.now(), stage.charter.house
        body = ForeignDomain("a.example", at=at).document()
        kept = KeptBundle("a.example", 1, digest(body), body, at)
        house.database.write(lambda tx: house.trust.keep(tx, kept, actor=ACTOR, reason="a test"))
        stage.charter.apply(spiffe_files(trusts=("a.example",), refund_agent=HERE))
        known = stage.charter.run(stage.source.attest(this_process()))
        assert list(stage.source.bundles(known)) == ["charter.local", "a.example"]
        again = stage.charter.run(stage.source.attest(this_process()))
        assert stage.source.bundles(again)["a.example"] is stage.source.bundles(known)["a.example"]


# --- whom a node believes ---


@pytest.mark.parametrize("server", ["http://charter.example.com", "ftp://127.0.0.1", "charter.example.com", "https://"])
def test_a_node_talks_to_charter_over_tls_or_on_its_own_machine(tmp_path: Path, server: str) -> None:
    with pytest.raises(MalformedError, match="neither https nor on this machine"):
        node_key(tmp_path, server, "web-1")


def test_a_nodes_key_is_its_own_users_alone(tmp_path: Path) -> None:
    key = node_key(tmp_path, "https://charter.example.com", "web-1")
    assert key.path.stat().st_mode & 0o777 == 0o600
    assert node_key(tmp_path, "https://charter.example.com", "web-1").jwk == key.jwk
    key.path.chmod(0o640)
    with pytest.raises(IntegrityError, match="open to others"):
        node_key(tmp_path, "https://charter.example.com", "web-1")


@pytest.mark.parametrize(
    "answer",
    [{}, {"chain": []}, {"chain": ["!"]}, {"chain": ["AAAA"], "begins": 0, "ends": 1}, {"chain": 5}, {"bundles": []}],
)
def test_a_node_gives_out_nothing_when_what_answers_is_no_charter(tmp_path: Path, answer: dict[str, Any]) -> None:
    assert isinstance(asyncio.run(told(tmp_path, answer)), IntegrityError)


def test_a_node_does_not_give_out_a_certificate_for_another_key(tmp_path: Path) -> None:
    with a_node_stage(tmp_path) as stage:
        run, source = stage.charter.run, stage.source
        known = run(source.attest(this_process()))
        first = run(source.x509(known))
    assert isinstance(asyncio.run(told(tmp_path, {"chain": [b64(each) for each in first.chain]})), IntegrityError)


def test_a_node_says_so_when_charter_cannot_be_reached(tmp_path: Path) -> None:
    async def ask() -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            server = f"http://127.0.0.1:{closed.getsockname()[1]}"
        key = node_key(tmp_path, server, "web-1")
        async with a_line(server, "web-1", key, SystemClock(), SystemEntropy()) as line:
            await line.join("a-token")

    with pytest.raises(UnavailableError, match="cannot be reached"):
        asyncio.run(ask())


# --- helpers ---


def this_process() -> Any:
    """Return this process as the kernel tells of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        return Peer.of(ours)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def told(folder: Path, changed: dict[str, Any]) -> CharterError | None:
    """Return how a node that asks for an X.509-SVID takes an answer that is right but for what is `changed`."""
    domain = ForeignDomain("charter.local", at=SystemClock().now())
    right = {"principal_id": "prn_1", "principal": "refund-agent", "spiffe_id": REFUND_AGENT, "credential": "k"}
    right |= {"basis": ["1"], "bundles": {"charter.local": domain.bundle().document()}, "begins": 0, "ends": 9}
    replies = iter([right, right | {"chain": []} | changed])

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        body = canonical(next(replies))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    async with serving(app) as server:
        key = node_key(folder / "keys", server, "web-1")
        async with a_line(server, "web-1", key, SystemClock(), SystemEntropy()) as line:
            source = NodeSource(line)
            known = await source.attest(this_process())
            try:
                await source.x509(known)
            except CharterError as err:
                return err
    return None

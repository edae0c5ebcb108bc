"""The TLS door with real clients: curl and httpx show certificates, and get tokens that are bound to them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509

from certificates import Pair, a_certificate, a_server_certificate, an_authority
from charter.bootstrap import authority
from charter.config import Settings
from charter.console.signin import SignIn
from charter.registry.principal import LiveEstate
from charter.server.app import _server, _tls_server, public_app
from charter.server.client_tls import ClientTls
from charter.server.oauth import ASSERTION_TYPE
from houses import Stage, a_house, estate_files

PKI = {"type": "mutual-tls", "certificate": {"san_dns": "refunds.example.com"}}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}


@dataclass
class World:
    """A house with both doors, and the certificates of its clients."""

    stage: Stage
    folder: Path
    issuer: str
    mtls: str
    ca: Pair
    server: Pair
    clients: dict[str, tuple[Path, Path]] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        return f"{self.issuer}/mcp/payments"

    def client_id(self, name: str = "refund-agent") -> str:
        return self.stage.house.principal(name).id

    def give(self, name: str, pair: Pair) -> None:
        self.clients[name] = pair.write(self.folder / "clients", name)

    def curl(self, who: str | None, *words: str) -> tuple[int, dict[str, Any]]:
        """Return the status and JSON of a request by curl, with the certificate of `who` if one is named."""
        shown = ["--cert", str(self.clients[who][0]), "--key", str(self.clients[who][1])] if who else []
        done = subprocess.run(
            [
                *("curl", "-sS", "--max-time", "20", "--noproxy", "*", "-w", "\n%{http_code}"),
                *("--cacert", str(self.folder / "server" / "server.pem"), *shown, *words),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ConnectionError(done.stderr)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    def token(self, who: str | None, client_id: str | None = None, **more: str) -> tuple[int, dict[str, Any]]:
        form = {"grant_type": "client_credentials", "resource": self.resource, "client_id": client_id or ""}
        fields = [word for k, v in (form | more).items() for word in ("--data-urlencode", f"{k}={v}")]
        return self.curl(who, *fields, f"{self.mtls}/oauth/token")

    def present(self, who: str | None, token: str, base: str | None = None) -> int:
        headers = ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
        headers += ["-H", "Accept: application/json, text/event-stream", "--data", json.dumps(INITIALIZE)]
        return self.curl(who, *headers, f"{base or self.mtls}/mcp/payments")[0]


@contextmanager
def listening(server: Any, listener: socket.socket) -> Iterator[None]:
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("mtls")
    ca, server = an_authority(days=3650), a_server_certificate()
    server_files = server.write(folder / "server", "server")
    (folder / "ca.pem").write_text(ca.pem)
    plain, tls = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    ports = {"port": plain.getsockname()[1], "tls_port": tls.getsockname()[1]}
    settings: dict[str, Any] = ports | {
        "tls_cert": server_files[0],
        "tls_key": server_files[1],
        "client_ca": folder / "ca.pem",
    }
    files = estate_files(credential=PKI)
    (folder / "estate").mkdir()
    with a_house(folder / "estate", files=files, **settings) as stage:
        stage.clock.at = dt.datetime.now(dt.UTC)
        told: Settings = stage.house.settings
        assert told.mtls_url is not None
        world = World(stage, folder, told.issuer, told.mtls_url, ca, server)
        world.give("refunds", a_certificate("refunds", by=ca, names=(x509.DNSName("refunds.example.com"),)))
        world.give("other", a_certificate("other", by=ca, names=(x509.DNSName("other.example.com"),)))
        world.give("reader", a_certificate("reader"))
        house = stage.house
        signin = SignIn(house.clock, house.entropy, "test@example.com", issuer=told.issuer)
        app = public_app(house, signin)
        with listening(_server(app), plain), listening(_tls_server(stage.house), tls):
            yield world


@pytest.fixture(autouse=True)
def _real_time(world: World) -> None:
    world.stage.clock.at = dt.datetime.now(dt.UTC)


def register(world: World, name: str, pair_name: str) -> None:
    pem = world.clients[pair_name][0].read_text()
    asyncio.run(
        authority.register_key(world.stage.house, name, None, certificate=pem, actor="a@example.com", reason="a test")
    )


def test_a_certificate_of_the_organisations_own_gets_a_token_bound_to_it(world: World) -> None:
    status, answer = world.token("refunds", world.client_id())
    assert (status, answer["token_type"]) == (200, "Bearer")
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    (entry,) = [e for e in world.stage.entries("authentication") if e["body"].get("token") == claims["jti"]]
    assert set(claims["cnf"]) == {"x5t#S256"}
    assert entry["body"]["method"] == "tls_client_auth"
    assert entry["body"]["bound_to"] == claims["cnf"]["x5t#S256"]


def test_a_bound_token_is_worth_nothing_without_its_certificate(world: World) -> None:
    _, answer = world.token("refunds", world.client_id())
    token = answer["access_token"]
    assert world.present("refunds", token) == 200
    assert world.present("other", token) == 401
    assert world.present(None, token) == 401
    assert world.present(None, token, world.issuer) == 401


def test_another_name_by_the_same_authority_is_another_client(world: World) -> None:
    status, answer = world.token("other", world.client_id())
    assert (status, answer["error"]) == (401, "invalid_client")
    assert "not its own" in answer["error_description"]


def test_a_certificate_a_client_signed_itself_works_once_it_is_registered(world: World) -> None:
    with pytest.raises(ConnectionError):
        world.token("reader", world.client_id("charge-reader"))
    register(world, "charge-reader", "reader")
    status, answer = world.token("reader", world.client_id("charge-reader"))
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    (entry,) = [e for e in world.stage.entries("authentication") if e["body"].get("token") == claims["jti"]]
    assert (status, entry["body"]["method"]) == (200, "self_signed_tls_client_auth")
    assert world.present("reader", answer["access_token"]) == 200


def test_a_registered_certificate_is_one_principals(world: World) -> None:
    world.give("mine", a_certificate("mine"))
    register(world, "charge-reader", "mine")
    assert world.token("mine", world.client_id("charge-reader"))[0] == 200
    status, answer = world.token("mine", world.client_id("refund-agent"))
    assert (status, answer["error"]) == (401, "invalid_client")


def test_a_revoked_key_comes_in_and_gets_nothing(world: World) -> None:
    world.give("lost", a_certificate("lost"))
    register(world, "charge-reader", "lost")
    client_id = world.client_id("charge-reader")
    token = world.token("lost", client_id)[1]["access_token"]
    key = world.stage.house.live.keys_of(client_id)[-1]
    asyncio.run(authority.revoke_key(world.stage.house, "charge-reader", key.id, actor="a@example.com", reason="lost"))
    status, answer = world.token("lost", client_id)
    assert (status, answer["error"]) == (400, "unauthorized_client")
    assert world.present("lost", token) == 401


def test_without_a_certificate_the_door_says_what_to_do(world: World) -> None:
    status, answer = world.token(None, world.client_id())
    assert (status, answer["error"]) == (401, "invalid_client")


def test_an_assertion_at_the_tls_door_gets_a_token_bound_to_the_connection(world: World) -> None:
    """RFC 8705 section 4: how the client proves itself and what the token is bound to are two matters."""
    from joserfc.jwk import ECKey

    key, client_id = ECKey.generate_key("P-256"), world.client_id("charge-reader")
    jwk = key.as_dict(private=False)
    asyncio.run(authority.register_key(world.stage.house, "charge-reader", jwk, actor="a@example.com", reason="a test"))
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": f"{world.mtls}/oauth/token", "exp": now + 60, "jti": "tls-1"}
    assertion = jwt.encode(claims, key.as_pem(private=True), algorithm="ES256")
    status, answer = world.token("other", client_id, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)
    assert status == 200
    assert world.present("other", answer["access_token"]) == 200
    assert world.present("refunds", answer["access_token"]) == 401


def test_the_metadata_names_the_door_for_certificates(world: World) -> None:
    found = httpx.get(f"{world.issuer}/.well-known/oauth-authorization-server").json()
    assert found["issuer"] == world.issuer
    assert found["mtls_endpoint_aliases"] == {
        "token_endpoint": f"{world.mtls}/oauth/token",
        "introspection_endpoint": f"{world.mtls}/oauth/introspect",
        "revocation_endpoint": f"{world.mtls}/oauth/revoke",
    }
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert {"tls_client_auth", "self_signed_tls_client_auth"} <= set(found["token_endpoint_auth_methods_supported"])


def test_people_do_not_meet_the_console_there(world: World) -> None:
    assert world.curl(None, f"{world.mtls}/")[0] == 404


def test_httpx_with_a_certificate_reaches_a_tool_without_knowing_of_charter(world: World) -> None:
    context = ssl.create_default_context(cafile=str(world.folder / "server" / "server.pem"))
    context.load_cert_chain(*world.clients["refunds"])
    with httpx.Client(verify=context, trust_env=False) as client:
        form = {"grant_type": "client_credentials", "resource": world.resource, "client_id": world.client_id()}
        token = client.post(f"{world.mtls}/oauth/token", data=form).json()["access_token"]
        headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
        answer = client.post(f"{world.mtls}/mcp/payments", json=INITIALIZE, headers=headers)
    assert answer.json()["result"]["serverInfo"]["name"] == "charter"


def test_a_renewed_certificate_of_the_door_is_shown_without_a_restart(tmp_path: Path) -> None:
    """And a pair that does not belong together, as while both files are being written, is not."""
    first, second = (a_server_certificate() for _ in range(2))
    certificate, key = first.write(tmp_path, "door")
    tls = ClientTls(certificate, key, LiveEstate())
    context = tls.context()

    def shown() -> bytes:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        ours, theirs = (ssl.MemoryBIO() for _ in range(2))
        server = context.wrap_bio(theirs, ours, server_side=True)
        client = trusting.wrap_bio(ours, theirs, server_hostname="localhost")
        for side in (client, server) * 4:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        return client.getpeercert(binary_form=True) or b""

    assert shown() == first.der
    certificate.write_text(second.pem)
    assert shown() == first.der  # the key is still the first one's
    second.write(tmp_path, "door")
    assert shown() == first.der  # this handshake had begun when the files were looked at
    assert shown() == second.der
    key.unlink()
    assert shown() == second.der


def test_old_versions_of_tls_are_refused(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(world.folder / "server" / "server.pem")
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    address = ("127.0.0.1", int(world.mtls.rpartition(":")[2]))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(address, timeout=10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    raw = socket.create_connection(address, timeout=10)
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
        assert wrapped.version() == "TLSv1.2"

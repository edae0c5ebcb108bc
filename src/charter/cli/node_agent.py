"""The node's side: a machine elsewhere that serves the Workload API to its own processes, for one Charter.

It tells Charter what the kernel says of a process, and gets what that process's principal may have. Keys of X.509-SVIDs
are made here and stay here; so does the node's own key (cli/agent_keys.py).

INVARIANT: nothing is kept of what Charter once said about a process: each answer asks again, so that a kill there is a
kill here. Without Charter nothing is given out; what workloads hold stays good until it ends.
INVARIANT: Charter is spoken to over verified TLS, or on this machine's loopback, and nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from charter.bootstrap.workload import Attested, IssuedJwt, IssuedX509, Peer
from charter.cli.agent_keys import AgentKey, agent_key, is_safe
from charter.cli.agent_rotation import next_key, take_place
from charter.core.canonical import canonical
from charter.core.clock import Clock
from charter.core.entropy import Entropy
from charter.core.errors import CharterError, ErrorCode, IntegrityError, MalformedError, UnavailableError
from charter.core.values import Secret, SpiffeId, parse_name
from charter.identity.attestation import Process
from charter.identity.bundle import Bundle, parse_bundle
from charter.identity.jose import thumbprint_of
from charter.identity.keys import new_p256_secret, p256_jwk, p256_key
from charter.identity.node import REQUEST_SECONDS, TYPE
from charter.identity.node_key import PROOF_TYPE
from charter.identity.spiffe import JwtSvid, verify_jwt_svid
from charter.server.nodes import MEDIA, PATH
from charter.server.problems import error_from_problem
from charter.server.workload_door import workload_door

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # a little more than Charter lets a watch wait
AGAIN_SECONDS = 5.0
MAX_ANSWER = 8 * 1024 * 1024
_log = logging.getLogger("charter.node")


@dataclass(slots=True)
class CharterLine:
    """Asks one Charter, as one node."""

    server: str
    node: str
    key: AgentKey
    clock: Clock
    entropy: Entropy
    session: aiohttp.ClientSession

    async def join(self, token: str) -> dict[str, Any]:
        """Let this node in by its one-time token.

        Raises:
            CharterError: Charter refuses, or cannot be reached.
        """
        return await self._send("join", self._sign("join", {"token": token}, {"jwk": self.key.jwk}))

    async def ask(self, asks: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return what Charter answers.

        Raises:
            CharterError: Charter refuses, or cannot be reached.
        """
        return await self._send("node", self._sign(asks, said, {}))

    async def replace_key(self) -> None:
        """Replace this node's key: written down first, used once Charter said that it counts (cli/agent_rotation.py).

        Raises:
            CharterError: Charter refuses, or cannot be reached; asking again goes on with the same key.
            OSError: a file cannot be used.
        """
        following = next_key(self.key)
        old = {"node": self.node, "old": thumbprint_of(self.key.jwk)}
        proof = following.sign({"typ": PROOF_TYPE, "jwk": following.jwk}, old)
        await self.ask("rotate", {"proof": proof})
        take_place(self.key, following)

    def _sign(self, asks: str, said: Mapping[str, Any], header: dict[str, Any]) -> str:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.node,
            "aud": self.server,
            "iat": now,
            "exp": now + REQUEST_SECONDS,
            "jti": self.entropy.token(16),
            "asks": asks,
            "said": dict(said),
        }
        return self.key.sign({"typ": TYPE} | header, claims)

    async def _send(self, where: str, text: str) -> dict[str, Any]:
        url, headers = f"{self.server}{PATH}{where}", {"content-type": MEDIA}
        try:
            async with self.session.post(url, data=text, headers=headers, allow_redirects=False) as answer:
                found = await _json_of(answer)
        except (aiohttp.ClientError, TimeoutError) as err:
            raise UnavailableError(
                ErrorCode.NOT_RUNNING,
                f"Charter at {self.server} cannot be reached ({type(err).__name__})",
                help="check the address and the network; what workloads hold stays good until it ends",
            ) from err
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise error_from_problem(answer.status, found)
        return found


@asynccontextmanager
async def a_line(server: str, node: str, key: AgentKey, clock: Clock, entropy: Entropy) -> AsyncIterator[CharterLine]:
    """Give a line to Charter for as long as the context lasts."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True) as session:
        yield CharterLine(server, node, key, clock, entropy, session)


@dataclass(frozen=True, slots=True)
class _Known(Attested):
    """Who a process is, with all that Charter said of it at that moment."""

    spiffe_id: str = ""
    name: str = ""
    basis: tuple[str, ...] = ()
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    process: Mapping[str, Any] = field(default_factory=dict)


class NodeSource:
    """What the Workload API serves on a node. Satisfies server.workload_door.WorkloadSource."""

    def __init__(self, line: CharterLine) -> None:
        self._line = line
        self._bundles: dict[bytes, Bundle] = {}  # by name and document: the same document is the same object
        self._listeners: list[Callable[[], None]] = []

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._line.clock.now().timestamp()

    def visitor(self, connection: Any) -> Peer:  # noqa: ANN401 - as Peer.of takes it
        """Return the process that connected."""
        return Peer.of(connection)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever something may have changed at Charter; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def watch(self) -> None:
        """Wake whoever listens when something may have changed at Charter, for ever."""
        version: str | None = None
        while True:
            try:
                told = await self._line.ask("watch", {"version": version})
                found = told.get("version")
                await self._replace_key_if_due(told.get("key_rotation_at"))
            except CharterError as err:
                _log.warning("%s", err.detail)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if found != version:
                version = str(found)
                for listener in self._listeners:
                    listener()

    async def _replace_key_if_due(self, due: object) -> None:
        """Replace the node's key if Charter wants another by now; what fails is said, and tried again."""
        if not isinstance(due, int | float) or self._line.clock.now().timestamp() < due:
            return
        try:
            await self._line.replace_key()
            _log.info("the key of the node %s was replaced", self._line.node)
        except (CharterError, OSError) as err:
            _log.warning("the key of the node %s is due and could not be replaced: %s", self._line.node, err)

    async def attest(self, peer: Peer) -> Attested:
        """Return which principal the process is, by Charter's word."""
        told = await asyncio.to_thread(_told, peer)
        return self._known(await self._line.ask("who", {"process": told}), told)

    def entitled(self, known: Attested) -> None:
        """Check nothing more: `attest` asked Charter a moment ago, and it would have refused."""

    def basis(self, known: Attested) -> tuple[object, ...]:
        """Return what an SVID of the principal rests on."""
        return _as_known(known).basis

    def is_rooted(self, issued: IssuedX509) -> bool:
        """Return whether an issued SVID still leads to a root that is in our bundle, as it was last told."""
        own = SpiffeId.parse(issued.spiffe_id).trust_domain
        held = [each for each in self._bundles.values() if each.trust_domain == own]
        roots = {root.subject for each in held for root in each.x509_authorities}
        return x509.load_der_x509_certificate(issued.chain[-1]).issuer in roots

    async def x509(self, known: Attested) -> IssuedX509:
        """Return a new X.509-SVID, for a key that is made here."""
        key = p256_key(new_p256_secret(self._line.entropy))
        told = _as_known(known).process
        answer = await self._line.ask("x509", {"process": told, "jwk": p256_jwk(key)})
        fresh = self._known(answer, told)
        try:
            chain = tuple(base64.b64decode(each, validate=True) for each in answer["chain"])
            leaf = x509.load_der_x509_certificate(chain[0])
            begins, ends = float(answer["begins"]), float(answer["ends"])
        except (KeyError, TypeError, ValueError, IndexError) as err:
            raise _nonsense() from err
        if leaf.public_key() != key.public_key():
            raise _nonsense()
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return IssuedX509(fresh.spiffe_id, fresh.name, chain, Secret(der), begins, ends, fresh.basis)

    async def jwt(self, known: Attested, audiences: tuple[str, ...]) -> IssuedJwt:
        """Return a new JWT-SVID."""
        said = {"process": _as_known(known).process, "audiences": list(audiences)}
        answer = await self._line.ask("jwt", said)
        try:
            return IssuedJwt(str(answer["spiffe_id"]), str(answer["principal"]), str(answer["token"]))
        except KeyError as err:
            raise _nonsense() from err

    def bundles(self, known: Attested) -> Mapping[str, Bundle]:
        """Return the bundles that the principal may trust, our own first."""
        return _as_known(known).bundles

    def validate(self, known: Attested, token: str, audience: str) -> JwtSvid:
        """Return what a JWT-SVID says, if it is valid."""
        return verify_jwt_svid(token, audience=audience, bundles=self.bundles(known), at=self._line.clock.now())

    def failed(self, peer: Peer | None, code: ErrorCode, known: Attested | None = None) -> None:
        """Say so in the node's own log: Charter counts what it refused itself."""
        who = known.principal_id if known else f"user {peer.uid}" if peer else "a process"
        _log.info("refused %s: %s", who, code.value)

    def jitter(self) -> float:
        """Return a number between 0 and 1."""
        return int.from_bytes(self._line.entropy.bytes(4)) / 2**32

    def _known(self, answer: Mapping[str, Any], told: Mapping[str, Any]) -> _Known:
        try:
            spiffe_id = SpiffeId.parse(str(answer["spiffe_id"]))
            bundles = {str(name): self._bundle(str(name), told) for name, told in answer["bundles"].items()}
            return _Known(
                str(answer["principal_id"]),
                str(answer["credential"]),
                told,
                str(spiffe_id),
                str(answer["principal"]),
                tuple(map(str, answer["basis"])),
                dict(sorted(bundles.items(), key=lambda each: each[0] != spiffe_id.trust_domain)),  # our own first
                told,
            )
        except (KeyError, TypeError, AttributeError, MalformedError) as err:
            raise _nonsense() from err

    def _bundle(self, name: str, document: object) -> Bundle:
        """Return a bundle; the same object as long as Charter says the same."""
        body = canonical(document)
        found = self._bundles.pop(name.encode() + b" " + body, None) or parse_bundle(name, body)
        others = {key: each for key, each in self._bundles.items() if each.trust_domain != name}
        self._bundles = others | {name.encode() + b" " + body: found}
        return found


def node_key(folder: Path, server: str, node: str) -> AgentKey:
    """Return this node's key for the Charter at `server`, making it the first time.

    Raises:
        MalformedError: `server` is neither https nor on this machine, or the name is none.
        IntegrityError: others could read the key.
    """
    if not is_safe(server):
        raise MalformedError(
            ErrorCode.BAD_VALUE, f"`{server}` is neither https nor on this machine", help="https://charter.example.com"
        )
    return agent_key(folder / "nodes", server, parse_name(node, "node"))


async def serve_node(line: CharterLine, path: Path, up: Callable[[], None]) -> None:
    """Serve the Workload API at `path` until SIGINT or SIGTERM; call `up` once it listens."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    source = NodeSource(line)
    async with workload_door(source, path), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(source.watch())
        up()
        await stop.wait()
        watch.cancel()


def _told(peer: Peer) -> dict[str, Any]:
    """Return what the kernel says of a process, as it is told to Charter."""
    process: Process = peer.process().with_digest(peer.digest())
    told = {name: value for name, value in process.facts.items() if name != "node"}
    return told | {"pid": process.pid}


def _as_known(known: Attested) -> _Known:
    assert isinstance(known, _Known)  # noqa: S101 - `attest` makes no others
    return known


async def _json_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MAX_ANSWER:
            raise _nonsense()
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(bytes(body))
        if isinstance(found, dict):
            return found
    return {}


def _nonsense() -> IntegrityError:
    told = "what answered is no Charter that this node understands"
    return IntegrityError(ErrorCode.BAD_REQUEST, told, help="check the address; upgrade both to one version")

"""Access tokens: issued through the endpoint, and verified, beside the bare cost of the signatures they need.

Issuing one token means verifying one client assertion and signing one token; the rest is Charter's: a strict form and
two strict JWTs, replay memory, standing, the grant, and evidence that is durable before the token leaves. The endpoint
is called as uvicorn calls it, without a socket, so that nothing but Charter is between the two. Verifying stands beside
joserfc and PyJWT, which check less (no header allow-list, repeated members, type or key binding). All take turns.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt as pyjwt
from _served import PRINCIPAL, TEAMS
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey

from charter.bootstrap import authority, estate
from charter.bootstrap.building import build
from charter.config import Settings
from charter.identity.dpop import read_proof
from charter.identity.jose import sign_compact
from charter.identity.tokens import AccessTokens
from charter.server.oauth import OAuthApp
from charter.server.oauth_clients import ASSERTION_TYPE

ISSUER = "http://127.0.0.1:8420"
ENDPOINT = f"{ISSUER}/oauth/token"
RESOURCE = f"{ISSUER}/mcp/bench"
CLIENTS = 100
ROUNDS = 5
AT_ONCE = (1, 16, 64)
MOST_PER_SECOND = 6_000  # assertions made ready for one second of issuing
SYSTEM = """charter: v1
system: bench
kind: mcp
environment: sandbox
owner: {person: ops@example.com, team: bench}
actions: {act: {tool: act, effect: read}}
"""
Turn = list[float]  # seconds of each


class Bench:
    """A house with its token endpoint, clients with keys, and the bare signatures."""

    def __init__(self, folder: Path) -> None:
        self.house = build(Settings(estate=folder, port=8420), operator="ops@example.com")
        self.clock, self.tokens, ring = self.house.clock, self.house.tokens, self.house.ring
        self.ring = ring
        names = [f"agent-{number}" for number in range(CLIENTS)]
        asyncio.run(estate.apply(self.house, files(names), plan_digest=None, actor="ops@example.com", reason="bench"))
        self.keys = [self._client(name) for name in names]
        self.app = OAuthApp.of(self.house)
        self.serial = itertools.count()
        self.bare = ec.generate_private_key(ec.SECP256R1())

    def _client(self, name: str) -> tuple[str, ECKey]:
        key = ECKey.generate_key("P-256")
        jwk = {k: str(v) for k, v in key.as_dict(private=False).items() if k in ("crv", "kty", "x", "y")}
        asyncio.run(authority.register_key(self.house, name, jwk, actor="ops@example.com", reason="bench"))
        return self.house.principal(name).id, key

    # --- issuing ---

    def issue(self, at_once: int, seconds: float, *, bound: bool = False) -> Turn:
        """Let `at_once` clients ask for tokens for `seconds`; return how long each waited, and all together took."""
        asked = {"grant_type": "client_credentials", "resource": RESOURCE}
        made = [self._request("/oauth/token", asked, bound=bound) for _ in range(self._many(at_once, seconds))]
        return asyncio.run(self._issue(iter(made), at_once, seconds))

    def introspect(self, at_once: int, seconds: float) -> Turn:
        """Let `at_once` clients ask about a token of theirs for `seconds`."""
        asked = {"token": self.a_token()}
        made = [self._request("/oauth/introspect", asked, bound=False) for _ in range(self._many(at_once, seconds))]
        return asyncio.run(self._issue(iter(made), at_once, seconds))

    def _many(self, at_once: int, seconds: float) -> int:
        return int(MOST_PER_SECOND * seconds) + at_once

    async def _issue(self, requests: Iterator[tuple[Any, bytes]], at_once: int, seconds: float) -> Turn:
        done = 0
        started = time.perf_counter()

        async def client() -> None:
            nonlocal done
            for scope, body in requests:
                assert await self._post(scope, body) == 200
                done += 1
                if time.perf_counter() - started > seconds:
                    return

        await asyncio.gather(*(client() for _ in range(at_once)))
        return [(time.perf_counter() - started) / done]

    def _request(self, path: str, asked: dict[str, str], *, bound: bool) -> tuple[Any, bytes]:
        number = next(self.serial)
        client_id, key = self.keys[number % CLIENTS]
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": ENDPOINT,
            "exp": now + 290,
            "iat": now,
            "jti": f"a{number}",
        }
        assertion = sign_compact({"alg": "ES256", "kid": str(key.thumbprint()), "typ": "JWT"}, claims, key)
        form = asked | {
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        headers = [(b"content-type", b"application/x-www-form-urlencoded")]
        if bound:
            headers.append((b"dpop", self.proof(key, now, f"p{number}").encode()))
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        return scope | {"client": ("127.0.0.1", 1)}, urlencode(form).encode()

    def proof(self, key: ECKey, now: int, name: str, url: str = ENDPOINT) -> str:
        """Return a DPoP proof."""
        jwk = key.as_dict(private=False)
        public = {member: jwk[member] for member in ("crv", "kty", "x", "y")}
        header: dict[str, Any] = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public}
        nonces = self.house.proofs.nonces
        claims = {"htm": "POST", "htu": url, "iat": now, "jti": name}
        return sign_compact(header, claims | ({"nonce": nonces.fresh(self.clock.now())} if nonces else {}), key)

    async def _post(self, scope: Any, body: bytes) -> int:
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        await self.app(scope, receive, send)
        return status

    def signatures(self, seconds: float) -> Turn:
        """Verify one signature and sign one, over and over: what a token cannot cost less than."""
        algorithm, public = ec.ECDSA(hashes.SHA256()), self.bare.public_key()
        message = b"x" * 480
        signature = self.bare.sign(message, algorithm)

        def once() -> None:
            public.verify(signature, message, algorithm)
            self.bare.sign(message, algorithm)

        return repeated(once, seconds)

    # --- verifying ---

    def a_token(self) -> str:
        """Return a token as the endpoint signs it."""
        principal_id, key = self.keys[0]
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "sub": principal_id,
            "aud": RESOURCE,
            "client_id": principal_id,
            "exp": now + 300,
            "iat": now,
            "jti": f"tok_{next(self.serial)}",
            "name": "agent-0",
            "spiffe": "spiffe://charter.local/production/agent/agent-0",
            "epoch": 1,
            "charter": {"version": 3, "digest": "sha256:" + "ab" * 32},
            "crd": str(key.thumbprint()),
        }
        return self.tokens.sign(claims)

    def verifiers(self) -> dict[str, Callable[[float], Turn]]:
        """Return the ways to verify a token, by name; the first is the bare signature."""
        token = self.a_token()
        key = self.ring.token_key()
        public = ECKey.import_key(key.private.as_dict(private=False))
        native = key.private.raw_value
        assert isinstance(native, ec.EllipticCurvePrivateKey)
        message, algorithm = token.rpartition(".")[0].encode(), ec.ECDSA(hashes.SHA256())
        signature = native.sign(message, algorithm)
        verifying = native.public_key()
        fresh = AccessTokens(self.ring, ISSUER, max_cached=1)
        others = itertools.cycle([self.a_token() for _ in range(2)])  # each pushes the other out of the memory
        proofs = [self.proof(self.keys[0][1], int(time.time()), f"v{n}") for n in range(200)]
        shown = itertools.cycle(proofs)

        def now() -> dt.datetime:
            return self.clock.now()

        self.tokens.verify(token, audience=RESOURCE, at=now())
        options: Any = {"require": ["exp", "iat", "sub", "jti"]}
        ways: dict[str, Callable[[], Any]] = {
            "bare ES256 verification": lambda: verifying.verify(signature, message, algorithm),
            "Charter, token seen for the first time": lambda: fresh.verify(next(others), audience=RESOURCE, at=now()),
            "Charter, token seen before": lambda: self.tokens.verify(token, audience=RESOURCE, at=now()),
            "Charter, a DPoP proof": lambda: read_proof(next(shown), method="POST", url=ENDPOINT, at=now()),
            "joserfc": lambda: joserfc_jwt.decode(token, public, algorithms=["ES256"]),
            "PyJWT": lambda: pyjwt.decode(
                token, verifying, algorithms=["ES256"], audience=RESOURCE, issuer=ISSUER, options=options
            ),
        }
        asking: dict[str, Callable[[float], Turn]] = {
            f"introspected, {count} at once": partial(self.introspect, count) for count in (1, 64)
        }
        return {**{name: partial(repeated, way) for name, way in ways.items()}, **asking}

    def close(self) -> None:
        """Let all go."""
        asyncio.run(self.house.aclose())


def files(names: Sequence[str]) -> dict[str, str]:
    """Return an estate with these agents on one system."""
    return {
        "teams.yaml": TEAMS,
        "systems/bench.yaml": SYSTEM,
        **{f"principals/{name}.yaml": PRINCIPAL.replace("NAME", name) for name in names},
    }


def repeated(once: Callable[[], Any], seconds: float) -> Turn:
    """Return the mean seconds of one, measured in short stretches so that a hiccup is one of many."""
    stretches = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        for _ in range(50):
            once()
        stretches.append((time.perf_counter() - started) / 50)
    return stretches


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`; return rows of medians over the rounds, with spread."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as folder:  # a real disk, no tmpfs
        bench = Bench(Path(folder))
        issuing: dict[str, Callable[[float], Turn]] = {"bare ES256: verify one, sign one": bench.signatures}
        for count in AT_ONCE:
            issuing[f"token issued, {count} at once"] = partial(bench.issue, count)
        issuing["bound token issued (DPoP), 64 at once"] = partial(bench.issue, 64, bound=True)
        groups = (issuing, bench.verifiers())
        turns: dict[str, list[Turn]] = {name: [] for group in groups for name in group}
        slot = seconds / (ROUNDS * len(turns))
        for _ in range(ROUNDS):
            for group in groups:
                for name, measure in group.items():
                    turns[name].append(measure(slot))
        bench.close()
    rows = [row for group in groups for row in rows_of(group, turns)]
    share = rows[0][1] / rows[len(AT_ONCE)][1]
    return {
        "title": "Access tokens",
        "columns": ["what", "us each", "lowest - highest", "per second", "x bare"],
        "rows": rows,
        "notes": [
            f"one process, {CLIENTS} clients, {ROUNDS} rounds; each token was signed after its evidence was durable",
            f"at {AT_ONCE[-1]} at once, {share:.0%} of a token's time is cryptography; one alone waits for the disk",
            "joserfc and PyJWT check less of a token than Charter does",
        ],
    }


def rows_of(group: dict[str, Any], turns: dict[str, list[Turn]]) -> list[list[Any]]:
    """Return a group's rows; its first is what the others are compared with."""
    medians = {name: statistics.median(second for turn in turns[name] for second in turn) for name in group}
    bare = medians[next(iter(group))]
    rows = []
    for name, median in medians.items():
        each = [statistics.median(turn) * 1e6 for turn in turns[name]]
        spread = f"{min(each):.1f} - {max(each):.1f}"
        rows.append([name, round(median * 1e6, 1), spread, round(1 / median), round(median / bare, 2)])
    return rows


if __name__ == "__main__":
    import json

    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))

"""Token exchange and delegation: exchanges beside the bare cost of their signatures, decisions, a million delegations.

An exchange means verifying a client assertion, the lender's token and the actor's proof, and signing one token; the
rest is Charter's: two strict JWTs more than for a token, both charters, the chain, and a delegation and evidence that
are durable before the token leaves. The endpoint is called as uvicorn calls it, without a socket. All take turns.

A million delegations are put into the book that every call reads, in a process of its own that looks at its resident
memory; a tenth as many are read from SQLite as `charter up` reads them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from _served import PRINCIPAL, TEAMS
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey
from memory import resident
from tokens import ENDPOINT, ISSUER, RESOURCE, SYSTEM, Turn, repeated, rows_of

from charter.bootstrap import authority, delegation, estate
from charter.bootstrap.building import build
from charter.config import Settings
from charter.core.entropy import SystemEntropy
from charter.gateway.call import Bearer, Call
from charter.gateway.facts import Facts, resolve
from charter.identity.actor_proof import TYPE, Hop, proof_claims
from charter.identity.exchange import ACCESS_TOKEN, DELEGATION, GRANT_TYPE
from charter.identity.jose import sign_compact
from charter.policy.chain import decide_chain
from charter.policy.verdict import word
from charter.registry.delegation import Delegation, Link, Role
from charter.registry.delegation_book import DelegationBook
from charter.registry.lent_scope import Scope, ScopePart
from charter.registry.standing import Standing
from charter.server.oauth import OAuthApp
from charter.server.oauth_clients import ASSERTION_TYPE

PURPOSE = "benchmarking"
PERSON = "ops@example.com"
PAIRS = 20  # of lender and borrower
ROUNDS = 5
AT_ONCE = (1, 16, 64)
MOST_PER_SECOND = 2_000  # requests made ready for one second of exchanging
LIVE = 1_000_000
READ = 100_000  # of them, from SQLite
PIN = "sha256:" + "ab" * 32
Make = Callable[[], dict[str, str]]
Request = tuple[Any, bytes]


class Timed(NamedTuple):
    """One turn: seconds of each by the clock, and of processor time, all threads together."""

    turn: Turn
    processor: float


def timed(once: Callable[[], Any], seconds: float) -> Timed:
    """Do `once` over and over, in stretches of fifty."""
    before = time.process_time()
    turn = repeated(once, seconds)
    return Timed(turn, (time.process_time() - before) / (50 * len(turn)))


class Client:
    """A principal with its key."""

    def __init__(self, house: Any, name: str) -> None:
        self.name, self.id, self.key = name, house.principal(name).id, ECKey.generate_key("P-256")
        jwk = {k: str(v) for k, v in self.key.as_dict(private=False).items() if k in ("crv", "kty", "x", "y")}
        asyncio.run(authority.register_key(house, name, jwk, actor=PERSON, reason="bench"))

    def signed(self, kind: str, claims: dict[str, Any]) -> str:
        """Return `claims`, signed."""
        return sign_compact({"alg": "ES256", "kid": str(self.key.thumbprint()), "typ": kind}, claims, self.key)


class Bench:
    """A house with its token endpoint, and chains of three: a person, lenders, borrowers."""

    def __init__(self, folder: Path) -> None:
        self.house = build(Settings(estate=folder, port=8420), operator=PERSON)
        applied = estate.apply(self.house, files(), plan_digest=None, actor=PERSON, reason="bench")
        asyncio.run(applied)
        self.app, self.serial, self.bare = OAuthApp.of(self.house), itertools.count(), None
        self.lenders = [Client(self.house, f"lender-{n}") for n in range(PAIRS)]
        self.borrowers = [Client(self.house, f"borrower-{n}") for n in range(PAIRS)]
        self.own = [self._token(each, self._own()) for each in self.lenders]
        self.loans = [self._lend(each) for each in self.lenders]
        self.lent = [
            self._token(each, self._under(each, loan)) for each, loan in zip(self.lenders, self.loans, strict=True)
        ]

    # --- what is asked for ---

    def _own(self) -> dict[str, str]:
        return {"grant_type": "client_credentials", "purpose": PURPOSE}

    def _lend(self, lender: Client) -> str:
        asked = delegation.Lending(PERSON, lender.name, PURPOSE, lasts="8h")
        return str(asyncio.run(delegation.make(self.house, asked, actor=PERSON, door="cli", reason="bench"))["id"])

    def _under(self, client: Client, loan: str) -> dict[str, str]:
        proof = self._proof(client, PERSON, loan, None)
        return self._redeeming(loan) | {"actor_proof": proof}

    def _redeeming(self, loan: str) -> dict[str, str]:
        return {"grant_type": GRANT_TYPE, "subject_token": loan, "subject_token_type": DELEGATION}

    def _exchanging(self, number: int, tokens: list[str]) -> dict[str, str]:
        """Return what a borrower sends; the lender's token is one that nobody has seen before, as each is."""
        claims = json.loads(_payload(tokens[number])) | {"jti": f"tok_{next(self.serial):026d}"}
        subject = self.house.tokens.sign(claims)
        chain = claims.get("chain")
        onto, previous = (chain["delegation"], chain["proof"]) if chain else (claims["jti"], None)
        return {
            "grant_type": GRANT_TYPE,
            "subject_token": subject,
            "subject_token_type": ACCESS_TOKEN,
            "actor_proof": self._proof(self.borrowers[number], claims["sub"], onto, previous),
        }

    def _proof(self, client: Client, subject: str, onto: str, previous: str | None) -> str:
        now = int(time.time())
        hop = Hop(client.id, ISSUER, subject, PURPOSE, onto, previous)
        claims = proof_claims(hop, [RESOURCE], at=now, expires_at=now + 86_400, jti=f"p{next(self.serial)}")
        return client.signed(TYPE, claims)

    def _request(self, client: Client, form: dict[str, str]) -> Request:
        now = int(time.time())
        claims = {"iss": client.id, "sub": client.id, "aud": ENDPOINT, "iat": now, "exp": now + 290}
        assertion = client.signed("JWT", claims | {"jti": f"a{next(self.serial)}"})
        proved = {"client_id": client.id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        headers = [(b"content-type", b"application/x-www-form-urlencoded")]
        scope = {"type": "http", "method": "POST", "path": "/oauth/token", "query_string": b"", "headers": headers}
        return scope | {"client": ("127.0.0.1", 1)}, urlencode(form | {"resource": RESOURCE} | proved).encode()

    def _token(self, client: Client, form: dict[str, str]) -> str:
        """Return a lender's token that its borrower may exchange."""
        named = client.name.replace("lender", "borrower")
        status, body = asyncio.run(self._post(*self._request(client, form | {"may_act": named})))
        assert status == 200, body
        return str(json.loads(body)["access_token"])

    # --- measured ---

    def own_exchanged(self) -> Iterator[Request]:
        """Yield exchanges of a lender's own token: chains of one delegation."""
        for number in itertools.cycle(range(PAIRS)):
            yield self._request(self.borrowers[number], self._exchanging(number, self.own))

    def lent_exchanged(self) -> Iterator[Request]:
        """Yield exchanges of a token that a lender holds for a person: chains of two."""
        for number in itertools.cycle(range(PAIRS)):
            yield self._request(self.borrowers[number], self._exchanging(number, self.lent))

    def redeemed(self) -> Iterator[Request]:
        """Yield requests for one more token under a delegation that was accepted before."""
        for number in itertools.cycle(range(PAIRS)):
            yield self._request(self.lenders[number], self._redeeming(self.loans[number]))

    def measure(self, make: Callable[[], Iterator[Request]], at_once: int, seconds: float) -> Timed:
        """Let `at_once` clients ask for `seconds`; return the seconds of each, all together."""
        ready = iter(list(itertools.islice(make(), int(MOST_PER_SECOND * seconds) + at_once)))
        return asyncio.run(self._measure(ready, at_once, seconds))

    async def _measure(self, requests: Iterator[Request], at_once: int, seconds: float) -> Timed:
        done, started, before = 0, time.perf_counter(), time.process_time()

        async def client() -> None:
            nonlocal done
            for scope, body in requests:
                status, said = await self._post(scope, body)
                assert status == 200, said
                done += 1
                if time.perf_counter() - started > seconds:
                    return

        await asyncio.gather(*(client() for _ in range(at_once)))
        return Timed([(time.perf_counter() - started) / done], (time.process_time() - before) / done)

    async def _post(self, scope: Any, body: bytes) -> tuple[int, bytes]:
        status, said = 0, b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status, said
            status, said = message.get("status", status), said + message.get("body", b"")

        await self.app(scope, receive, send)
        return status, said

    # --- deciding ---

    def decisions(self) -> dict[str, Callable[[float], Timed]]:
        """Return what a decision costs, by how many delegations the call is made under."""
        tokens = {"acting by itself": self.own[0], "under one delegation": self.lent[0]}
        status, body = asyncio.run(self._post(*next(self.lent_exchanged())))
        assert status == 200, body
        tokens["under two"] = json.loads(body)["access_token"]
        return {f"decided, {name}": partial(timed, partial(self._decide, token)) for name, token in tokens.items()}

    def _decide(self, token: str) -> None:
        house, at = self.house, self.house.clock.now()
        bearer: Bearer = house.tokens.verify(token, audience=RESOURCE, at=at)
        facts = resolve(house.live, house.slices, bearer, Call("bench", "act", {}, "", PIN), at)
        assert isinstance(facts, Facts), facts
        verdict = decide_chain(facts.chain.case, facts.request, house.pipeline.evaluator)
        assert word(verdict) == "allow", verdict

    def close(self) -> None:
        """Let all go."""
        asyncio.run(self.house.aclose())


def files() -> dict[str, str]:
    """Return an estate whose lenders may lend to their borrowers."""
    terms = f"max_ttl: 8h, max_depth: 3, purposes: [{PURPOSE}]"
    found = {"teams.yaml": TEAMS, "systems/bench.yaml": SYSTEM.replace("effect: read", f'effect: read, pin: "{PIN}"')}
    for number in range(PAIRS):
        lender, borrower = f"lender-{number}", f"borrower-{number}"
        gives = f"delegation: {{from: [humans], to: [{borrower}], {terms}}}\n"
        takes = f"delegation: {{from: [{lender}], {terms}}}\n"
        found[f"principals/{lender}.yaml"] = PRINCIPAL.replace("NAME", lender) + gives
        found[f"principals/{borrower}.yaml"] = PRINCIPAL.replace("NAME", borrower) + takes
    return found


def signatures(verified: int, seconds: float) -> Timed:
    """Verify that many signatures and sign one, over and over."""
    key, algorithm, message = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256()), b"x" * 480
    public, signature = key.public_key(), key.sign(b"x" * 480, ec.ECDSA(hashes.SHA256()))

    def once() -> None:
        for _ in range(verified):
            public.verify(signature, message, algorithm)
        key.sign(message, algorithm)

    return timed(once, seconds)


def _payload(token: str) -> bytes:
    from charter.identity.jose import decode_base64url

    return decode_base64url(token.split(".")[1])


# --- a million delegations ---


def delegations(count: int) -> Iterator[Delegation]:
    """Yield delegations as an organisation has them: half lent by people, the others resting on those."""
    dice, entropy = random.Random(7), SystemEntropy()
    now = int(time.time())
    scopes = [Scope((ScopePart("bench", ("act",), (f"charge/{n}/*",)),)) for n in range(1_000)]
    for number in range(0, count, 2):
        person, lender = f"person-{number % 20_000}@example.com", f"prn_{number % 1_000:026d}"
        first = Link(
            id=entropy.identifier("del"),
            lender=person,
            borrower=lender,
            role=Role.CARRIER,
            control_plane=ISSUER,
            purpose=f"purpose-{number % 50}",
            scope=dice.choice(scopes),
            made_at=now,
            expires_at=now + dice.randrange(3600, 8 * 3600),
            standing=Standing.ACTIVE,
            proof="A" * 42 + "E",
        )
        yield Delegation(first, None, person, person, "cli", "")
        second = Link(
            id=entropy.identifier("del"),
            lender=lender,
            borrower=f"prn_{1_000 + number % 997:026d}",
            role=Role.DECIDER,
            control_plane=ISSUER,
            purpose=first.purpose,
            scope=first.scope,
            made_at=now,
            expires_at=first.expires_at,
            standing=Standing.ACTIVE,
            lender_epoch=1,
            lender_credential=f"key-of-{lender}",
            proof="A" * 42 + "E",
        )
        yield Delegation(second, first.id, person, lender, "exchange", "")


def child() -> dict[str, Any]:
    """Fill the book in a fresh process; return what it holds and what it takes to ask it and to withdraw."""
    book, before = DelegationBook(), resident()
    last = None
    for each in delegations(LIVE):
        book.add(each)
        last = each
    grown = resident() - before
    assert last is not None
    chain = partial(book.chain_of, last.id)
    reading = statistics.median(repeated(chain, 1.0))
    withdrawing = statistics.median(repeated(partial(book.withdraw, str(last.link.id)), 0.5))
    return {
        "bytes": book.bytes_held / len(book),
        "resident": grown * 1024 * 1024 / len(book),
        "reading": reading * 1e6,
        "withdrawing": withdrawing * 1e6,
    }


def from_sqlite(file: Path) -> tuple[float, float]:
    """Return the seconds that it takes to read a book from SQLite, and to withdraw one of its delegations there."""
    from charter.adapters.delegation_store import SqlDelegations
    from charter.adapters.engine import open_engines, sqlite_url
    from charter.adapters.migrations import migrate
    from charter.identity.delegation import Wanted

    engine, reader = open_engines(sqlite_url(file))
    migrate(engine)
    with engine.begin() as connection:
        store = SqlDelegations(connection)
        for number, each in enumerate(delegations(READ)):
            store.add(each, 1 + number % 2)
        first = each.parent
    book, started = DelegationBook(), time.perf_counter()
    with reader.connect() as connection:
        for each in SqlDelegations(connection).live(0):
            book.add(each)
    read = time.perf_counter() - started
    started = time.perf_counter()
    with engine.begin() as connection:
        store = SqlDelegations(connection)
        ids = store.matching(Wanted(link=first), 0)
        store.beneath(ids, 0)
        store.withdraw(ids, dt.datetime.now(dt.UTC), PERSON)
    withdrawn = time.perf_counter() - started
    engine.dispose()
    reader.dispose()
    return read, withdrawn


def _with_processor(rows: list[list[Any]], spent: dict[str, list[float]]) -> list[list[Any]]:
    """Return the rows of one kind with what each took of the processor, and how many times the first of them."""
    medians = [statistics.median(spent[row[0]]) for row in rows]
    return [
        [*row, round(each * 1e6, 1), round(1 / each), round(each / medians[0], 2)]
        for row, each in zip(rows, medians, strict=True)
    ]


def population() -> dict[str, Any]:
    """Return the table about a million delegations."""
    words = [sys.executable, __file__, "child"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as folder:
        read, withdrawn = from_sqlite(Path(folder) / "charter.db")
    return {
        "title": f"{LIVE:,} live delegations",
        "columns": ["what", "value", "unit"],
        "rows": [
            ["memory of each, as the book counts its columns and index", round(found["bytes"], 1), "bytes"],
            ["resident memory of each, what they share included", round(found["resident"], 1), "bytes"],
            ["reading a chain of two", round(found["reading"], 2), "us"],
            ["withdrawing one, in memory, whatever hangs beneath", round(found["withdrawing"], 2), "us"],
            [f"reading each of {READ:,} from SQLite at a start", round(read / READ * 1e6, 1), "us"],
            ["withdrawing one, in SQLite, with the count of what hangs beneath", round(withdrawn * 1e3, 2), "ms"],
        ],
        "notes": ["20,000 people, 2,000 principals, 50 purposes and 1,000 scopes share what they have in common"],
    }


def run(seconds: float) -> dict[str, Any]:
    """Measure for about `seconds`, and then a million delegations; return rows of medians, with spread."""
    with tempfile.TemporaryDirectory(prefix=".charter-bench-", dir=Path.cwd()) as folder:  # a real disk, no tmpfs
        bench = Bench(Path(folder))
        exchanging: dict[str, Callable[[float], Timed]] = {"bare ES256: verify three, sign one": partial(signatures, 3)}
        for count in AT_ONCE:
            name = f"own token exchanged, {count} at once"
            exchanging[name] = partial(bench.measure, bench.own_exchanged, count)
        exchanging["token of a chain exchanged, 64 at once"] = partial(bench.measure, bench.lent_exchanged, 64)
        again: dict[str, Callable[[float], Timed]] = {
            "bare ES256: verify one, sign one": partial(signatures, 1),
            "token under an accepted delegation, 64 at once": partial(bench.measure, bench.redeemed, 64),
        }
        groups = (exchanging, again, bench.decisions())
        turns: dict[str, list[Turn]] = {name: [] for group in groups for name in group}
        spent: dict[str, list[float]] = {name: [] for name in turns}
        slot = seconds / (ROUNDS * len(turns))
        for _ in range(ROUNDS):
            for group in groups:
                for name, measure in group.items():
                    found = measure(slot)
                    turns[name].append(found.turn)
                    spent[name].append(found.processor)
        bench.close()
    rows = [row for group in groups for row in _with_processor(rows_of(group, turns), spent)]
    share = 1 / rows[len(AT_ONCE)][-1]
    return {
        "title": "Token exchange",
        "columns": ["what", "us each", "lowest - highest", "per second", "x", "processor us", "per core", "x"],
        "rows": rows,
        "notes": [
            f"one process, {PAIRS} lenders and borrowers, {ROUNDS} rounds; each exchange made a delegation",
            f"at {AT_ONCE[-1]} at once {share:.0%} of the work is cryptography; one alone waits for the disk",
            "x: of the first of its kind; per core: what the processor's time makes of a second",
            "decided: token seen before, resolved, every party's policy evaluated, nothing recorded",
        ],
        "and": [population()],
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(child()))
    else:
        print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))

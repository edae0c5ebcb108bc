"""DPoP proofs (RFC 9449 section 4.3): whoever shows a token shows that it holds the key the token is bound to.

    (1) The proof is one compact JWS whose header holds `typ: dpop+jwt`, an `alg` and a public `jwk`, and nothing else.
    (2) That key signed it, with its own algorithm.
    (3) `htm` and `htu` are this request's method and address.
    (4) `iat` is now, give or take 30 seconds.
    (5) `ath` is the digest of the access token it comes with, where it comes with one.
    (6) `nonce` is one that this server gave out lately (identity/nonce.py).
    (7) `jti` was not used before within that time.

`read_proof` does (1) to (5) and remembers nothing; `ProofMemory.use` does (6) and (7). The caller verifies the client
or the token in between.

INVARIANT: strangers, who can make proofs without end by keys of their own, cannot fill the memory of used ones: only a
proof whose key a verified client or token stands behind is remembered.
INVARIANT: one key's proofs cannot crowd out another's; where too many are remembered to be sure, the answer is no.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import threading
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn

from charter.core.errors import CharterError, ErrorCode, UnauthenticatedError
from charter.identity.jose import encode_base64url, parse_compact, parse_public_jwk, verify_compact
from charter.identity.nonce import Nonces

WINDOW_SECONDS = 30
GENERATION_SECONDS = 2 * WINDOW_SECONDS + 1  # a proof can be accepted from 30 seconds before to 30 after its `iat`
MAX_OF_KEY = 100_000  # a generation
MAX_REMEMBERED = 1_000_000
_DIGEST_BYTES = 16
_HEADER = frozenset({"typ", "alg", "jwk"})
_WHAT = "the DPoP proof"
_MAX_JTI = 256


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that is in order, and not yet known to be new."""

    key: str  # thumbprint of the key it shows to be held
    name: bytes  # what tells it from other proofs
    nonce: object = None  # whatever the proof has as `nonce`


def read_proof(proof: str, *, method: str, url: str, at: dt.datetime, token: str | None = None) -> Proof:
    """Return what `proof` shows for a request of `method` to `url`, together with `token` if there is one.

    Raises:
        UnauthenticatedError: it shows nothing.
    """
    try:
        parts = parse_compact(proof, _WHAT, members=_HEADER)
        key = parse_public_jwk(parts.header.get("jwk"))
        verify_compact(parts, key, _WHAT)
    except CharterError as err:
        raise UnauthenticatedError(ErrorCode.BAD_PROOF, err.detail, help=err.help) from err
    claims = parts.claims
    if parts.header.get("typ") != "dpop+jwt":
        _refuse("is of another type than `dpop+jwt`")
    if claims.get("htm") != method or claims.get("htu") != url:
        _refuse(f"is for another request than {method} {url}")
    issued = claims.get("iat")
    if (
        type(issued) is not int or abs(int(at.timestamp()) - issued) > WINDOW_SECONDS
    ):  # whole: no float holds any number
        _refuse("is not of this moment; check this machine's clock")
    if token is not None and not _is_of(claims.get("ath"), token):
        _refuse("is for another access token")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI:
        _refuse(f"has no `jti` of 1 to {_MAX_JTI} characters")
    name = hashlib.sha256(f"{key.thumbprint} {jti}".encode(errors="surrogatepass")).digest()[:_DIGEST_BYTES]
    return Proof(key.thumbprint, name, claims.get("nonce"))


class ProofMemory:
    """The proofs used lately. One for each process; two generations, so that forgetting costs nothing.

    With `nonces`, a proof needs one of them; without, its own time alone says that it is of this moment.
    """

    def __init__(
        self, nonces: Nonces | None = None, *, max_of_key: int = MAX_OF_KEY, max_remembered: int = MAX_REMEMBERED
    ) -> None:
        self.nonces = nonces
        self._lock = threading.Lock()
        self._max_of_key = max_of_key
        self._max_remembered = max_remembered
        self._began = 0.0
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()
        self._of_key: Counter[str] = Counter()

    def use(self, proof: Proof, *, at: dt.datetime) -> None:
        """Use `proof` up.

        Raises:
            UnauthenticatedError: it has no nonce of ours, was used before, or nobody could say any more.
        """
        if self.nonces is not None:
            self.nonces.check(proof.nonce, at)
        with self._lock:
            self._turn(at.timestamp())
            if proof.name in self._now or proof.name in self._before:
                _refuse("was used before; make a new one for each request")
            if self._of_key[proof.key] >= self._max_of_key or len(self._now) >= self._max_remembered:
                _refuse("is one of too many at once; wait a minute")
            self._now.add(proof.name)
            self._of_key[proof.key] += 1

    def _turn(self, now: float) -> None:
        """Begin a new generation if the current one is old enough that its proofs could not be accepted again."""
        self._began = min(self._began, now)  # if the clock was set back, what is remembered stays for longer
        if now - self._began < GENERATION_SECONDS:
            return
        self._before = self._now  # also after a long pause, which may be a clock that is set right again in a moment
        self._now, self._of_key, self._began = set(), Counter(), now


def _is_of(ath: object, token: str) -> bool:
    wanted = encode_base64url(hashlib.sha256(token.encode(errors="surrogatepass")).digest())
    return isinstance(ath, str) and hmac.compare_digest(ath.encode(errors="replace"), wanted.encode())


def _refuse(why: str) -> NoReturn:
    raise UnauthenticatedError(ErrorCode.BAD_PROOF, f"{_WHAT} {why}", help="send a fresh proof (RFC 9449)")

"""Compact JWS and public JWKs, read strictly: one text, one meaning, or refused.

INVARIANT: the algorithm comes from the key, never from the token: `verify_compact` compares the header's `alg` with the
key it was given, so `none`, HMAC with a public key and every other confusion fail before any signature is looked at.
INVARIANT: a header may hold only the members its caller lists; `jwk`, `jku`, `x5u`, `x5c` and `crit` are read nowhere
but where a specification wants one.
INVARIANT: repeated JSON members, floats, padding, stray base64 bits and other second spellings are refused.

Keys and signatures are joserfc's and cryptography's; only the frame around them is read here (RFC 7515, 7517, 7638).
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, MalformedError

MAX_COMPACT = 8192  # characters
MAX_MEMBERS = 64
_MAX_DIGITS = 20
_ES256 = JWSRegistry.algorithms["ES256"]
_EDDSA = JWSRegistry.algorithms["EdDSA"]
_KEYS_KEPT = 4_096  # public keys seen lately, of some kilobytes each
_COORDINATE_CHARACTERS = 43  # 32 bytes in base64url
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/***")  # what has no place in base64url becomes what has none in base64
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}
_ALGORITHMS = {"EC": ("ES256",), "OKP": ("EdDSA", "Ed25519")}  # the second is RFC 9864's name
_DESCRIPTIVE = frozenset({"kid", "alg", "use", "key_ops"})  # may be there, are checked where they could contradict


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that signatures are checked with. `jwk` has the members of RFC 7638 and no other."""

    thumbprint: str
    jwk: dict[str, str]
    algorithms: tuple[str, ...]  # names of the one algorithm that fits
    key: ECKey | OKPKey = field(repr=False)

    def verify(self, signed: bytes, signature: bytes) -> bool:
        """Return whether `signature` is this key's over `signed`."""
        algorithm = _ES256 if isinstance(self.key, ECKey) else _EDDSA
        return bool(algorithm.verify(signed, signature, self.key))


@dataclass(frozen=True, slots=True)
class Compact:
    """A compact JWS in its parts. Nothing is verified yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def thumbprint_of(jwk: Mapping[str, str]) -> str:
    """Return the RFC 7638 thumbprint (SHA-256, base64url) of a JWK that has its required members and no other."""
    return encode_base64url(hashlib.sha256(canonical(dict(jwk))).digest())


def parse_public_jwk(jwk: object) -> PublicKey:
    """Return the public key that `jwk` is: EC on P-256 or OKP on Ed25519, and nothing private.

    Raises:
        MalformedError: it is no such key; the message says what is wrong with it.
    """
    if not isinstance(jwk, Mapping) or len(jwk) > MAX_MEMBERS:
        _refuse_key("is no JSON object")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        _refuse_key("holds its private half, which has now left its owner", "make a new key and send its public half")
    kind = jwk.get("kty")
    if not isinstance(kind, str) or kind not in _REQUIRED:
        _refuse_key(f"has the type {str(kind)[:20]!a}", "use EC with P-256, or OKP with Ed25519")
    if jwk.get("crv") != _CURVES[kind]:
        _refuse_key(f"is on the curve {str(jwk.get('crv'))[:20]!a}", "use EC with P-256, or OKP with Ed25519")
    unknown = sorted(str(name)[:20] for name in jwk.keys() - set(_REQUIRED[kind]) - _DESCRIPTIVE)
    if unknown:
        _refuse_key(f"has members that mean nothing here: {', '.join(f'{name!a}' for name in unknown[:5])}")
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", _ALGORITHMS[kind][0]) not in _ALGORITHMS[kind]:
        _refuse_key("is meant for another use or algorithm")
    members = {name: _text_member(jwk, name) for name in _REQUIRED[kind]}
    thumbprint, key = _point(kind, tuple(members.items()))
    return PublicKey(thumbprint, members, _ALGORITHMS[kind], key)


@lru_cache(maxsize=_KEYS_KEPT)
def _point(kind: str, told: tuple[tuple[str, str], ...]) -> tuple[str, ECKey | OKPKey]:
    """Return a key with its thumbprint. To build it anew for each proof that shows it would cost half as much again."""
    members = dict(told)
    for name in ("x", "y"):
        if name in members and len(members[name]) != _COORDINATE_CHARACTERS:
            _refuse_key(f"has a coordinate `{name}` that is not 32 bytes")
    try:
        for name in members.keys() & {"x", "y"}:
            decode_base64url(members[name])
        key = ECKey.import_key(dict(members)) if kind == "EC" else OKPKey.import_key(dict(members))
        key.get_op_key("verify")  # builds the point: one that is not on the curve fails here
    except (ValueError, binascii.Error) as err:
        raise _bad_key("is no point on its curve") from err
    if kind == "OKP" and not is_sound_ed25519(decode_base64url(members["x"])):
        _refuse_key("is no point on its curve, or one that anybody can sign for")
    return thumbprint_of(members), key


def parse_compact(text: str, what: str, *, members: frozenset[str], limit: int = MAX_COMPACT) -> Compact:
    """Return the parts of a compact JWS whose header holds no member but `members`, and whose payload is a JSON object.

    `what` names it in errors: `the access token`.

    Raises:
        MalformedError: it has another form.
    """
    parts = split_compact(text, what, limit=limit)
    check_members(parts, what, members)
    return parts


def split_compact(text: str, what: str, *, limit: int) -> Compact:
    """Return the parts of a compact JWS, for whoever is yet to say which header members it may have.

    Raises:
        MalformedError: it has another form.
    """
    if len(text) > limit:
        _refuse(what, f"is longer than {limit} characters", ErrorCode.TOO_LARGE)
    if not text.isascii() or text.count(".") != 2:  # noqa: PLR2004 - header, payload, signature
        _refuse(what, "is not three parts divided by dots")
    signed, _, signature = text.rpartition(".")
    head, _, payload = signed.partition(".")
    try:
        header, claims = read_json(decode_base64url(head)), read_json(decode_base64url(payload))
        raw = decode_base64url(signature)
    except ValueError as err:
        raise _malformed(what, f"cannot be read: {err}") from err
    return Compact(header, claims, signed.encode(), raw)


def check_members(parts: Compact, what: str, members: frozenset[str]) -> None:
    """Check that the header holds no member but `members`.

    Raises:
        MalformedError: it does.
    """
    extra = sorted(parts.header.keys() - members)
    if extra:
        _refuse(what, f"has the header member {extra[0][:40]!a}, which has no place there")


def verify_compact(parts: Compact, key: PublicKey, what: str) -> None:
    """Check that `key` signed `parts`, with its own algorithm.

    Raises:
        MalformedError: it did not, or the header names another algorithm.
    """
    algorithm = parts.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in key.algorithms:
        _refuse(what, f"names the algorithm {str(algorithm)[:20]!a}, which is not that of its key")
    if not key.verify(parts.signed, parts.signature):
        _refuse(what, "has a signature that does not verify", ErrorCode.BAD_SIGNATURE)


def sign_compact(header: Mapping[str, str], claims: Mapping[str, Any], key: ECKey) -> str:
    """Return the compact JWS over `claims`, signed with ES256."""
    signed = f"{encode_base64url(canonical(dict(header)))}.{encode_base64url(canonical(dict(claims)))}"
    return f"{signed}.{encode_base64url(_ES256.sign(signed.encode(), key))}"


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding; each value has one spelling.

    Raises:
        ValueError: `text` is none.
    """
    over = len(text) % 4
    try:
        plain = text.encode("ascii").translate(_FROM_URL) + b"=" * (-over % 4)
        data = binascii.a2b_base64(plain, strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as err:
        raise ValueError("a part is no base64url, or is padded") from err
    if over and encode_base64url(data[1 - over :]) != text[-over:]:  # bits of the last character that mean nothing
        raise ValueError("a part is no base64url in its one form")
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a JSON member is repeated")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:20]!a} is not whole")


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:  # Python's own bound is wider, and its words are none for a caller
        raise ValueError("a number has too many digits")
    return int(text)


_READER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_no_number, parse_constant=_no_number
)


def read_json(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` spells, read strictly.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        value = _READER.decode(data.decode())
    except UnicodeDecodeError as err:
        raise ValueError("a part is no UTF-8") from err
    except json.JSONDecodeError as err:
        raise ValueError("a part is no JSON") from err
    except RecursionError as err:
        raise ValueError("a part nests too deep") from err
    if not isinstance(value, dict) or len(value) > MAX_MEMBERS:
        raise ValueError("a part is no JSON object, or has too many members")
    return value


def _text_member(jwk: Mapping[str, object], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str):
        _refuse_key(f"has no `{name}`, or one that is no text")
    return value


# --- Ed25519 points -----------------------------------------------------------------------------------------------

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y = frozenset(
    {
        0,  # order 4
        1,  # order 1
        _P - 1,  # order 2
        _ORDER_8_Y,
        _P - _ORDER_8_Y,
    }
)


def is_sound_ed25519(raw: bytes) -> bool:
    """Return whether 32 bytes encode a point of Ed25519, in its one form, that is not of small order.

    A key of small order has signatures that fit any message (RFC 8032 leaves it to the verifier to care), and neither
    OpenSSL nor the JOSE libraries refuse it.
    """
    value = int.from_bytes(raw, "little")
    y = value & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER_Y:
        return False
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return pow(x_squared, (_P - 1) // 2, _P) == 1


def _refuse(what: str, why: str, code: ErrorCode = ErrorCode.BAD_TOKEN) -> NoReturn:
    raise _malformed(what, why, code)


def _malformed(what: str, why: str, code: ErrorCode = ErrorCode.BAD_TOKEN) -> MalformedError:
    return MalformedError(code, f"{what} {why}")


def _refuse_key(why: str, help: str | None = None) -> NoReturn:
    raise _bad_key(why, help)


def _bad_key(why: str, help: str | None = None) -> MalformedError:
    return MalformedError(ErrorCode.BAD_VALUE, f"the public key {why}", help=help or "send a public JWK (RFC 7517)")

"""Files that hold what a principal proves itself by: a certificate or public key in PEM, or a public JWK.

INVARIANT: a file with a private key is refused; it must stay where it is.
"""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from charter.core.errors import ErrorCode, MalformedError
from charter.identity.bundle import ec_jwk
from charter.identity.jose import encode_base64url

MAX_FILE = 32_768  # bytes


def key_in(data: bytes) -> dict[str, Any]:
    """Return what a file registers: `{"certificate": PEM}` or `{"jwk": {…}}`.

    Raises:
        MalformedError: it holds neither, or a private key.
    """
    if len(data) > MAX_FILE:
        raise _unfit(f"is larger than {MAX_FILE} bytes")
    if b"PRIVATE KEY" in data:
        raise _unfit("holds a private key, which must stay where it is")
    if b"BEGIN CERTIFICATE" in data:
        return {"certificate": data.decode("ascii", "replace")}
    if b"BEGIN PUBLIC KEY" in data:
        return {"jwk": _jwk_of(data)}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise _unfit("is neither PEM nor a JWK") from err
    if not isinstance(found, dict):
        raise _unfit("is no JWK")
    return {"jwk": found}


def _jwk_of(data: bytes) -> dict[str, str]:
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as err:
        raise _unfit("holds no public key that can be read") from err
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(raw)}
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return ec_jwk(key)
    raise _unfit("holds a key of another kind than EC with P-256 or Ed25519")


def _unfit(why: str) -> MalformedError:
    return MalformedError(
        ErrorCode.BAD_VALUE, f"the file {why}", help="give a certificate or public key in PEM, or a public JWK"
    )

"""Charters signed as DSSE envelopes (Dead Simple Signing Envelope, protocol 1.0.0): any DSSE tool can check one.

The signature covers the payload's type and its exact bytes: the canonical JSON of the charter. `open_envelope` raises
unless a key that the caller trusts signed exactly these bytes as a charter; only then does it look into them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from charter.core.canonical import canonical
from charter.core.errors import ErrorCode, IntegrityError
from charter.core.keys import Signer, verify_ed25519
from charter.registry.charter import Charter

CHARTER_TYPE = "application/vnd.charter.charter+json"
MAX_PAYLOAD_BYTES = 1024 * 1024
_MAX_SIGNATURES = 8


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: `PAE(type, body)` of the DSSE protocol."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal_charter(charter: Charter, signer: Signer) -> dict[str, Any]:
    """Return the envelope of `charter`, signed."""
    payload = canonical(charter.to_json())
    signature = signer.sign(pre_authentication_encoding(CHARTER_TYPE, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": CHARTER_TYPE,
        "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def open_envelope(envelope: Mapping[str, Any], trusted: Mapping[str, bytes]) -> Charter:
    """Return the charter in `envelope`, once one of the `trusted` keys (key id -> raw public key) has vouched for it.

    Raises:
        IntegrityError: it is no envelope of a charter, no trusted key signed it, or a signature does not verify.
    """
    payload = _payload_of(envelope)
    signed = pre_authentication_encoding(CHARTER_TYPE, payload)
    vouched = False
    for key_id, signature in _signatures_of(envelope):
        if key_id in trusted:
            verify_ed25519(trusted[key_id], signed, signature, "the charter")
            vouched = True
    if not vouched:
        raise _broken("carries no signature by a trusted key")
    try:
        charter = Charter.model_validate(json.loads(payload))
    except (ValidationError, ValueError, RecursionError) as err:
        raise _broken("holds no charter") from err
    if canonical(charter.to_json()) != payload:
        raise _broken("holds a charter that is not in canonical form")
    return charter


def verify_envelope(envelope: Mapping[str, Any], charter: Charter, trusted: Mapping[str, bytes]) -> None:
    """Check that a trusted key signed exactly `charter`.

    Raises:
        IntegrityError: none did.
    """
    if open_envelope(envelope, trusted).digest != charter.digest:
        raise _broken("is of another charter")


def _payload_of(envelope: Mapping[str, Any]) -> bytes:
    payload = envelope.get("payload")
    if envelope.get("payloadType") != CHARTER_TYPE or not isinstance(payload, str):
        raise _broken("is not of a charter")
    if len(payload) > MAX_PAYLOAD_BYTES * 4 // 3 + 4:
        raise _broken("is too large")
    return _decoded(payload)


def _signatures_of(envelope: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or not 0 < len(signatures) <= _MAX_SIGNATURES:
        raise _broken("carries no signatures, or too many")
    found: list[tuple[str, bytes]] = []
    for each in signatures:
        if not isinstance(each, dict) or not isinstance(each.get("sig"), str) or not isinstance(each.get("keyid"), str):
            raise _broken("carries a signature without key id")
        found.append((each["keyid"], _decoded(each["sig"])))
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise _broken("is no base64") from err


def _broken(why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.BAD_SIGNATURE, f"the charter's envelope {why}", help="apply the charter again from its file"
    )

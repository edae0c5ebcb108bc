"""Signed charters: any DSSE tool can check them, and nothing but the signed charter comes out."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from builders import a_charter
from charter.core.canonical import canonical
from charter.core.errors import IntegrityError
from charter.core.keys import Ed25519Signer
from charter.registry.dsse import (
    CHARTER_TYPE,
    open_envelope,
    pre_authentication_encoding,
    seal_charter,
    verify_envelope,
)

SIGNER = Ed25519Signer.from_seed(bytes(range(32)))
OTHER = Ed25519Signer.from_seed(bytes(32))
TRUSTED = {SIGNER.key_id: SIGNER.public}


def an_envelope(**changed: Any) -> dict[str, Any]:
    return copy.deepcopy(seal_charter(a_charter(), SIGNER)) | changed


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def resigned(payload: bytes, signer: Ed25519Signer = SIGNER, kind: str = CHARTER_TYPE) -> dict[str, Any]:
    signature = signer.sign(pre_authentication_encoding(kind, payload))
    return {
        "payload": text(payload),
        "payloadType": kind,
        "signatures": [{"keyid": signer.key_id, "sig": text(signature)}],
    }


def test_a_sealed_charter_opens_as_itself() -> None:
    assert open_envelope(an_envelope(), TRUSTED) == a_charter()
    verify_envelope(an_envelope(), a_charter(), TRUSTED)


def test_the_signed_bytes_are_those_of_the_protocols_own_example() -> None:
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_another_dsse_implementation_verifies_ours() -> None:
    key = SSlibKey(SIGNER.key_id, "ed25519", "ed25519", {"public": SIGNER.public.hex()})
    envelope = Envelope.from_dict(an_envelope())
    assert set(envelope.verify([key], 1)) == {SIGNER.key_id}
    assert json.loads(envelope.payload) == a_charter().to_json()


def _tampered() -> dict[str, dict[str, Any]]:
    good = an_envelope()
    (signature,) = good["signatures"]
    widened = canonical(a_charter(data=["everything"]).to_json())
    return {
        "another charter's bytes": good | {"payload": text(widened)},
        "another type": good | {"payloadType": "application/vnd.in-toto+json"},
        "no signature": good | {"signatures": []},
        "too many signatures": good | {"signatures": [signature] * 9},
        "a stranger's signature": resigned(widened, OTHER),
        "a stranger's under a trusted id": good | {"signatures": [signature | {"sig": text(OTHER.sign(b"x"))}]},
        "one good, one broken": good | {"signatures": [signature, signature | {"sig": text(bytes(64))}]},
        "no base64": good | {"payload": "***"},
        "no text": good | {"payload": 7},
        "signatures that are none": good | {"signatures": "x"},
        "a signature without key": good | {"signatures": [{"sig": signature["sig"]}]},
        "a signed thing that is no charter": resigned(b"{}"),
        "a signed thing that is no JSON": resigned(b"{"),
        "a charter in another form": resigned(json.dumps(a_charter().to_json(), indent=1).encode()),
        "a signature for another type": resigned(widened, SIGNER, "text/plain") | {"payloadType": CHARTER_TYPE},
    }


@pytest.mark.parametrize("envelope", _tampered().values(), ids=_tampered())
def test_an_envelope_that_was_tampered_with_does_not_open(envelope: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        open_envelope(envelope, TRUSTED)


def test_an_envelope_vouches_for_its_own_charter_only() -> None:
    with pytest.raises(IntegrityError, match="is of another charter"):
        verify_envelope(an_envelope(), a_charter(review="30d"), TRUSTED)


def test_nobody_trusted_means_nothing_verifies() -> None:
    with pytest.raises(IntegrityError, match="no signature by a trusted key"):
        open_envelope(an_envelope(), {})

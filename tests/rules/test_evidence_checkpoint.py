"""Checkpoints are C2SP signed notes: what is written is read back, what is off by a byte is refused."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.errors import CharterError, IntegrityError, MalformedError
from charter.core.keys import Ed25519Signer
from charter.evidence import charter_verify
from charter.evidence.checkpoint import (
    Signature,
    check_origin,
    parse_checkpoint,
    sign_checkpoint,
    verifier_key,
    verify_checkpoint,
)

ORIGIN = "example.com/log"
SIGNER = Ed25519Signer.from_seed(bytes(32))
ROOT = hashlib.sha256(b"root").digest()
NOTE = sign_checkpoint(ORIGIN, 7, ROOT, SIGNER).to_note()


def test_a_note_is_laid_out_as_c2sp_says() -> None:
    body, signatures = NOTE.split("\n\n")
    assert body == f"{ORIGIN}\n7\n{base64.b64encode(ROOT).decode()}"
    dash, name, blob = signatures.removesuffix("\n").split(" ")
    signature = base64.b64decode(blob)
    assert (dash, name) == ("\u2014", ORIGIN)
    assert signature[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + SIGNER.public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(SIGNER.public).verify(signature[4:], (body + "\n").encode())


def test_a_note_is_read_back_and_verifies() -> None:
    checkpoint = parse_checkpoint(NOTE)
    verify_checkpoint(checkpoint, ORIGIN, SIGNER.public)
    assert (checkpoint.size, checkpoint.root, checkpoint.to_note()) == (7, ROOT, NOTE)


def test_lines_of_witnesses_and_extensions_are_kept() -> None:
    witness = Signature("witness.example", b"\x01\x02\x03\x04", b"\x04" * 72)
    plain = parse_checkpoint(NOTE)
    cosigned = replace(plain, signatures=(*plain.signatures, witness))
    assert parse_checkpoint(cosigned.to_note()) == cosigned
    verify_checkpoint(cosigned, ORIGIN, SIGNER.public)
    assert parse_checkpoint(replace(plain, extensions=("more", "to come")).to_note()).extensions == ("more", "to come")


@pytest.mark.parametrize(
    ("origin", "key", "said"),
    [
        ("example.com/other", SIGNER.public, "is of the log 'example.com/log', not of 'example.com/other'"),
        (ORIGIN, Ed25519Signer.from_seed(b"\x01" * 32).public, "bears 0 signatures of the log's key"),
    ],
)
def test_another_logs_or_keys_checkpoint_is_refused(origin: str, key: bytes, said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        verify_checkpoint(parse_checkpoint(NOTE), origin, key)


def test_a_changed_size_or_root_or_extension_breaks_the_signature() -> None:
    plain = parse_checkpoint(NOTE)
    for changed in (replace(plain, size=8), replace(plain, root=bytes(32)), replace(plain, extensions=("x",))):
        with pytest.raises(IntegrityError, match="signature of the checkpoint does not verify"):
            verify_checkpoint(changed, ORIGIN, SIGNER.public)


def test_two_signatures_of_the_logs_key_are_refused() -> None:
    plain = parse_checkpoint(NOTE)
    with pytest.raises(IntegrityError, match="bears 2 signatures"):
        verify_checkpoint(replace(plain, signatures=plain.signatures * 2), ORIGIN, SIGNER.public)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n7\n", "\n07\n"),
        ("\n7\n", "\n-7\n"),
        ("\n7\n", "\n\u0667\n"),
        ("\n7\n", "\n" + "9" * 20 + "\n"),
        ("\n\n", "\n"),
        ("\u2014", "-"),
        ("=\n\n", "\n\n"),
        ("\n7\n", "\n7\r\n"),
        (ORIGIN + "\n7", "\n7"),
    ],
)
def test_what_is_no_note_is_refused(old: str, new: str) -> None:
    with pytest.raises(MalformedError, match="the checkpoint"):
        parse_checkpoint(NOTE.replace(old, new))


def test_too_many_signatures_or_characters_are_refused() -> None:
    plain = parse_checkpoint(NOTE)
    with pytest.raises(MalformedError, match="more than 64 signatures"):
        parse_checkpoint(replace(plain, signatures=plain.signatures * 65).to_note())
    with pytest.raises(MalformedError, match="is longer than"):
        parse_checkpoint(NOTE + "x" * 200_000)


@settings(max_examples=150)
@given(st.one_of(st.text(max_size=80), st.integers(0, len(NOTE) - 1), st.tuples(st.integers(0, len(NOTE)), st.text())))
def test_no_text_upsets_either_parser(material: str | int | tuple[int, str]) -> None:
    if isinstance(material, tuple):
        text = NOTE[: material[0]] + material[1] + NOTE[material[0] :]
    else:
        text = material if isinstance(material, str) else NOTE[:material] + NOTE[material + 1 :]
    try:
        checkpoint = parse_checkpoint(text)
        verify_checkpoint(checkpoint, ORIGIN, SIGNER.public)
    except CharterError:
        pass
    else:
        assert (checkpoint.size, checkpoint.root) == (7, ROOT)
    try:
        alone = charter_verify.parse_checkpoint(text)
        wrong = charter_verify.verify_signature(alone, SIGNER.public)
    except charter_verify.UnreadableError:
        return
    assert wrong or (alone.origin, alone.size, alone.root) == (ORIGIN, 7, ROOT)


@pytest.mark.parametrize("origin", ["", "has space", "has+plus", "a\nb", "x" * 256])
def test_an_origin_that_could_be_misread_is_refused(origin: str) -> None:
    with pytest.raises(MalformedError, match="is no name for a log"):
        check_origin(origin)


def test_the_verifier_key_is_the_form_other_tools_take() -> None:
    name, key_id, key = verifier_key(ORIGIN, SIGNER.public).split("+", 2)
    assert (name, base64.b64decode(key)) == (ORIGIN, b"\x01" + SIGNER.public)
    assert key_id == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + SIGNER.public).hexdigest()[:8]
    assert charter_verify.parse_key(verifier_key(ORIGIN, SIGNER.public)) == SIGNER.public
    assert charter_verify.parse_key(base64.b64encode(SIGNER.public).decode()) == SIGNER.public

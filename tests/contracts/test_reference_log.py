"""Checkpoints, cosignatures, tiles and proofs, held against golang.org/x/mod/sumdb, which the C2SP forms come from."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.database import Database
from charter.core.keys import Ed25519Signer
from charter.evidence.checkpoint import parse_checkpoint, verifier_key, verify_checkpoint
from charter.evidence.cosignature import Witness, cosign
from charter.evidence.tile import Tree
from charter.evidence.tree import (
    consistency_path,
    inclusion_path,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from databases import ORIGIN, SIGNER, a_database, a_draft

SIZE = 700  # two full tiles and a part of one, and a tile above them
EYE = Ed25519Signer.from_seed(b"\7" * 32)
WITNESS = Witness("eye.example/w", EYE.public)
LATER = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
PLACES = (0, 1, 255, 256, 511, 512, 600, 699)
SIZES = (1, 2, 255, 256, 257, 512, 513, 699, 700)
Ask = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Build the program that holds logs against the reference; `make test` installs what that takes."""
    folder, go = tmp_path_factory.mktemp("go"), shutil.which("go")
    assert go, "Go is missing: python3 tools/prepare.py test"
    program, source = folder / "reference_log", Path(__file__).parent.parent / "reference_log.go"
    away = {"GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOCACHE": str(folder / "cache"), "CGO_ENABLED": "0"}
    subprocess.run([go, "build", "-o", program, source], check=True, env={**os.environ, **away}, timeout=300)

    def asked(question: dict[str, Any]) -> dict[str, Any] | None:
        done = subprocess.run(
            [program], input=json.dumps(question).encode(), capture_output=True, check=True, timeout=60
        )
        found: dict[str, Any] | None = json.loads(done.stdout)
        return found

    return asked


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database[Any]]:
    with a_database(tmp_path_factory.mktemp("log")) as opened:
        opened.write(lambda tx: [tx.record(a_draft(text=str(i))) for i in range(SIZE - 1)])
        yield opened


def told(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def question(database: Database[Any]) -> dict[str, Any]:
    """Return all that Charter says of its log: its head with a cosignature, its tiles, and proofs."""
    head = parse_checkpoint(database.head.note)
    noted = replace(head, signatures=(*head.signatures, cosign(head, WITNESS.name, EYE, LATER))).to_note()

    def made(log: Any) -> dict[str, Any]:
        node = Tree(log.tile).node
        inclusions = [
            {"First": at, "Size": size, "Leaf": told(leaf_hash(log.entries(at - 1, 1)[0].data))}
            | {"Root": told(root_of(0, size, node)), "Path": [told(each) for each in inclusion_path(at, size, node)]}
            for size in SIZES
            for at in PLACES
            if at < size
        ]
        consistencies = [
            {"First": first, "Size": size, "FirstRoot": told(root_of(0, first, node))}
            | {
                "Root": told(root_of(0, size, node)),
                "Path": [told(each) for each in consistency_path(first, size, node)],
            }
            for size in SIZES
            for first in SIZES
            if first <= size
        ]
        tiles = {f"{level}/{at}": told(log.tile(level, at)) for level, at in ((0, 0), (0, 1), (0, 2), (1, 0))}
        return {"Tiles": tiles, "Inclusions": inclusions, "Consistencies": consistencies}

    own = {"Note": noted, "Key": verifier_key(ORIGIN, SIGNER.public), "Size": SIZE, "Root": told(head.root)}
    eye = {"Witness": WITNESS.name, "WitnessKey": told(EYE.public), "WitnessID": int.from_bytes(WITNESS.key_id)}
    return own | eye | database.read_log(made)


def test_the_reference_takes_what_charter_makes(ask: Ask, question: dict[str, Any]) -> None:
    assert len(question["Inclusions"]) + len(question["Consistencies"]) > 80
    assert ask(question) is None


def spoilt(question: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the question with one byte of one thing changed."""
    wrong: dict[str, Any] = json.loads(json.dumps(question))
    other = told(hashlib.sha256(b"another").digest())
    match where:
        case "a signature":
            first, _, rest = wrong["Note"].rpartition("\n\u2014 ")[0].rpartition(" ")
            wrong["Note"] = wrong["Note"].replace(rest[-8:], "A" * 7 + "=" if rest.endswith("=") else "A" * 8)
            assert first
        case "the key":
            wrong["Key"] = verifier_key(ORIGIN, EYE.public)
        case "a cosignature's time":
            wrong["WitnessKey"] = other
        case "a tile":
            wrong["Tiles"]["0/1"] = told(bytes(32) + base64.b64decode(wrong["Tiles"]["0/1"])[32:])
        case _:
            wrong[where][-2]["Path"] = [other, *wrong[where][-2]["Path"][1:]]
    assert wrong != question
    return wrong


@pytest.mark.parametrize(
    "where", ["a signature", "the key", "a cosignature's time", "a tile", "Inclusions", "Consistencies"]
)
def test_the_reference_refuses_what_was_changed(ask: Ask, question: dict[str, Any], where: str) -> None:
    answer = ask(spoilt(question, where))
    assert answer is not None, where
    assert answer["error"]


@pytest.mark.parametrize("size", [1, 2, 7, 256, 300])
def test_charter_takes_what_the_reference_makes(ask: Ask, size: int) -> None:
    leaves = [str(number).encode() for number in range(size)]
    made = ask({"Leaves": [told(leaf) for leaf in leaves], "Body": "go.example/log\n%d\n%s\n"})
    assert made is not None
    head = parse_checkpoint(made["note"])
    public = base64.b64decode(made["key"].split("+", 2)[2])[1:]
    assert made["key"] == verifier_key("go.example/log", public)
    verify_checkpoint(head, "go.example/log", public)
    assert head.size == size
    for at, (leaf, record, tree) in enumerate(zip(leaves, made["records"], made["trees"], strict=True)):
        path = [base64.b64decode(each) for each in record or ()]
        verify_inclusion(leaf_hash(leaf), at, size, path, head.root)
        steps = [base64.b64decode(each) for each in tree or ()]
        before = root_of(0, at + 1, lambda level, index: _subtree(leaves, level, index))
        verify_consistency(at + 1, size, (before, head.root), steps)


def _subtree(leaves: list[bytes], level: int, index: int) -> bytes:
    """Return the root of a full subtree by the definition (RFC 9162 section 2.1.1)."""
    if level == 0:
        return hashlib.sha256(b"\0" + leaves[index]).digest()
    beside = (_subtree(leaves, level - 1, 2 * index + side) for side in (0, 1))
    return hashlib.sha256(b"\1" + b"".join(beside)).digest()

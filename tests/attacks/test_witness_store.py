"""What a witness keeps, on both databases and through kill -9; its cosignature held against C2SP by other code."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from charter.bootstrap import witnessing
from charter.evidence.checkpoint import verifier_key
from houses import Stage, a_house
from witness_stage import LOG_KEY, ORIGIN, Log, asked

HERE = Path(__file__).parent.parent


@pytest.fixture
def eye(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    elsewhere = {"database": database_url} if database_url.startswith("postgresql") else {}
    with a_house(tmp_path, apply=False, **elsewhere) as stage:
        asyncio.run(witnessing.add(stage.house, verifier_key(ORIGIN, LOG_KEY.public), actor="a@example.com"))
        yield stage


def test_a_witness_keeps_one_line_of_heads_and_cosigns_no_fork_of_it(eye: Stage) -> None:
    log, fork = Log(), Log(forked=True)
    assert asked(eye, log.asks(0, 7))[0] == 200
    assert asked(eye, log.asks(7, 20))[0] == 200
    for size in (20, 30):  # forked before what was cosigned: at its size, and behind it
        assert asked(eye, fork.asks(0, size)) == (409, "20\n")
    assert asked(eye, fork.asks(20, 30))[0] == 422
    assert asked(eye, log.asks(0, 7)) == (409, "20\n")
    kept = eye.house.database.read(lambda tx: tx.witnessed.log(ORIGIN))
    assert kept is not None
    assert (kept.size, kept.root) == (20, log.head(20).root)
    assert asked(eye, log.asks(20, 40))[0] == 200
    ((listed, seen_at),) = eye.house.database.read(lambda tx: tx.witnessed.logs())
    assert listed.size == 40
    assert seen_at is not None


def test_a_cosignature_is_what_the_specification_says_by_other_code(eye: Stage) -> None:
    """C2SP tlog-cosignature: key id, big-endian time, Ed25519 over a header, the time and the note's whole text."""
    log = Log()
    status, line = asked(eye, log.asks(0, 12))
    assert status == 200
    name, key_id, key = str(witnessing.own_keys(eye.house)["witness_key"]).split("+", 2)
    public = base64.b64decode(key)
    assert public[0] == 4
    assert hashlib.sha256(name.encode() + b"\n" + public).hexdigest()[:8] == key_id
    dash, said, blob = line.removesuffix("\n").split(" ")
    raw = base64.b64decode(blob, validate=True)
    assert (dash, said, raw[:4].hex(), len(raw)) == ("\u2014", name, key_id, 76)
    (time,) = struct.unpack(">Q", raw[4:12])
    assert time == int(eye.clock.now().timestamp())
    root = base64.b64encode(log.head(12).root).decode()
    message = f"cosignature/v1\ntime {time}\n{ORIGIN}\n12\n{root}\n".encode()
    checker = Ed25519PublicKey.from_public_bytes(public[1:])
    checker.verify(raw[12:], message)
    with pytest.raises(InvalidSignature):
        checker.verify(raw[12:], message.replace(b"\n12\n", b"\n13\n"))


def test_a_signed_head_is_a_signed_note_by_other_code() -> None:
    """C2SP signed-note: key id of type 1, Ed25519 over the text with its last newline."""
    text, _, line = Log().head(12).to_note().partition("\n\n")
    raw = base64.b64decode(line.removesuffix("\n").split(" ")[2])
    assert raw[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + LOG_KEY.public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(LOG_KEY.public).verify(raw[4:], text.encode() + b"\n")


def killed_witness(folder: Path, first: str, lines: int) -> list[tuple[str, int]]:
    """Let a process cosign heads of two forks, kill it after so many, and return what it said it cosigned."""
    command = [sys.executable, str(HERE / "witness_stage.py"), str(folder), first]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE.parent / "src"), str(HERE)))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    return [(name, int(size)) for name, size in (line.decode().split() for line in said if line.endswith(b"\n"))]


def test_kill_9_while_cosigning_never_yields_cosignatures_of_two_forks(tmp_path: Path) -> None:
    with a_house(tmp_path, apply=False) as stage:
        asyncio.run(witnessing.add(stage.house, verifier_key(ORIGIN, LOG_KEY.public), actor="a@example.com"))
    said = killed_witness(tmp_path, "b", 3)
    said += killed_witness(tmp_path, "a", 4)  # the other fork is offered first now
    assert {name for name, _ in said} == {"b"}
    sizes = [size for _, size in said]
    assert sizes == sorted(set(sizes))
    with a_house(tmp_path, apply=False) as stage:
        kept = stage.house.database.read(lambda tx: tx.witnessed.log(ORIGIN))
        assert kept is not None
        assert kept.size >= sizes[-1]  # what was told was durable before
        assert kept.root == Log(forked=True).head(kept.size).root

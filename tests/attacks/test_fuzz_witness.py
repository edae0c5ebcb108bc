"""Whatever is sent to a node's door for heads of other logs: a clear answer, and nothing of it is kept."""

from __future__ import annotations

import base64
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from charter.adapters import tables as t
from charter.evidence.checkpoint import sign_checkpoint
from charter.server.witness import PATH
from databases import SIGNER
from fuzz_stage import a_world, check, fuzzed
from hostile import TEXT

METHODS = ["POST"] * 6 + ["GET", "PUT", "DELETE", "OPTIONS"]
ORIGINS = st.sampled_from(["other.example/log/n1", "charter.local/log/n1"]) | TEXT
NUMBERS = st.integers(-1, 2**65).map(str) | st.sampled_from(["", "0", "00", "1e3", "+1", "٣"]) | TEXT


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return something like a request to cosign a head: any of its lines may be wrong."""
    encoded = st.binary(max_size=40).map(lambda each: base64.b64encode(each).decode())
    hashes = draw(st.lists(encoded | TEXT, max_size=70))
    size = draw(st.integers(0, 2**63 - 1))
    signed = sign_checkpoint("other.example/log/n1", size, draw(st.binary(min_size=32, max_size=32)), SIGNER).to_note()
    loose = "\n".join([draw(ORIGINS), draw(NUMBERS), *draw(st.lists(TEXT, max_size=3))]) + "\n"
    text = "\n".join([f"old {draw(NUMBERS)}", *hashes, "", draw(st.sampled_from([signed, loose]))])
    body = text.encode("utf-8", "surrogatepass")
    cut = draw(st.integers(0, len(body)))
    return draw(st.sampled_from([body, body[:cut], body + b"\0", body.replace(b"\n", b"\r\n"), b"x" * 200_000]))


def test_nothing_sent_to_a_witness_breaks_it_or_stays(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        before = world.house.database.head.size

        @fuzzed(120)
        @given(method=st.sampled_from(METHODS), path=st.sampled_from(["add-checkpoint"] * 6 + ["", "x"]), body=bodies())
        def attempt(method: str, path: str, body: bytes) -> None:
            world.forgive()
            answer = world.ask(world.doors, method, PATH + path, content=body)
            check(world, answer)
            assert answer.status_code in (400, 403, 404, 405, 413, 429)  # nobody's log is watched here

        attempt()
        assert world.house.database.head.size == before
        assert world.house.database.read(lambda tx: tx.connection.execute(t.witnessed_log.select()).all()) == []

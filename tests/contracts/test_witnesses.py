"""Two real nodes over HTTP: one cosigns the other's heads, hears of forks, and tells a node that was put back."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from charter.adapters.witness_http import Answered
from charter.bootstrap import evidence, verdicts, witnessing
from charter.bootstrap.witnesses import LogSource, State, parse_places
from charter.cli import doctor
from charter.cli.context import Context
from charter.core.errors import CharterError, IntegrityError
from charter.core.keys import Ed25519Signer
from charter.evidence import charter_verify
from charter.evidence.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from charter.evidence.cosignature import cosigners, parse_witness, with_cosignatures
from charter.evidence.witness import Request, parse_lines
from charter.identity.keys import KeyUse
from charter.server.app import Doors, _nothing
from charter.server.witness import PATH, WitnessApp
from houses import Stage, a_house
from serving import listening


@contextmanager
def a_node(folder: Path, **settings: Any) -> Iterator[tuple[Stage, str, dict[str, str]]]:
    """Run a house whose witness's door is a real server; return it with the door's prefix and the node's keys."""
    folder.mkdir(exist_ok=True)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/witness"
    with a_house(folder, apply=False, **settings) as stage:
        app = Doors({PATH: WitnessApp.of(stage.house)}, _nothing)
        with listening(app, listener):
            yield stage, url, witnessing.own_keys(stage.house)


def ask(stage: Stage, *, at_once: bool = True) -> Checkpoint | None:
    return asyncio.run(stage.house.witnesses.ask(at_once=at_once))


def grow(stage: Stage) -> None:
    key_before = stage.house.ring.active_signer(KeyUse.CHARTER, None).key_id
    stage.house.database.write(lambda tx: stage.house.ring.rotate(tx, "charter", actor="a@example.com", reason="grow"))
    assert stage.house.ring.active_signer(KeyUse.CHARTER, None).key_id != key_before


def start(folder: Path, witnesses: tuple[str, ...]) -> None:
    with a_house(folder, apply=False, witnesses=witnesses):
        pass


def watch(eye: Stage, key: str) -> None:
    asyncio.run(witnessing.add(eye.house, key, actor="a@example.com"))


def findings(stage: Stage, kind: str) -> list[dict[str, Any]]:
    found = stage.house.database.read(lambda tx: tx.registry.findings.of_kinds((kind,)))
    return [dict(each.body) for each in found]


def post(url: str, body: bytes, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/add-checkpoint", content=body, headers=headers)


def source(stage: Stage) -> LogSource:
    return LogSource(stage.house.database, (stage.house.evidence_key,))


def test_a_witness_cosigns_each_newer_head_and_the_node_keeps_what_it_signed(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, keys):
        with a_node(tmp_path / "log", witnesses=(f"{keys['witness_key']} {url}",)) as (log, _, own):
            assert ask(log) is None
            assert "403" not in log.house.witnesses.listing()["witnesses"][0]["error"]
            watch(eye, own["log_key"])
            before = eye.house.database.head.size
            for _ in range(3):
                grow(log)
                found = ask(log)
                assert found is not None
                assert found.size == log.house.database.head.size
                assert cosigners(found, [parse_witness(keys["witness_key"])])
            assert eye.house.database.head.size == before  # nothing is written for a head that is cosigned
            told = log.house.witnesses.listing()
            assert (told["cosigned_by"], told["backlog"]) == (1, 0)
        with a_house(tmp_path / "log", apply=False, witnesses=(f"{keys['witness_key']} {url}",)) as again:
            kept = again.house.witnesses.cosigned
            assert kept is not None
            assert kept.to_note() == found.to_note()


def test_a_data_folder_that_was_put_back_does_not_start_while_its_witness_answers(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, keys):
        witnesses = (f"{keys['witness_key']} {url}",)
        with a_node(tmp_path / "log", witnesses=witnesses) as (log, _, own):
            watch(eye, own["log_key"])
            ask(log)
        shutil.copytree(tmp_path / "log" / ".charter", tmp_path / "backup")
        with a_house(tmp_path / "log", apply=False, witnesses=witnesses) as log:
            grow(log)
            ask(log)
        shutil.rmtree(tmp_path / "log" / ".charter")
        shutil.copytree(tmp_path / "backup", tmp_path / "log" / ".charter")
        with (
            pytest.raises(IntegrityError, match="own key signed") as told,
            a_house(tmp_path / "log", apply=False, witnesses=witnesses),
        ):
            pass
        assert "CHARTER_WITNESSES" in (told.value.help or "")
    with a_house(tmp_path / "log", apply=False, witnesses=witnesses) as log:  # nobody answers: it is warned of
        for _ in range(3):
            grow(log)
    with a_node(tmp_path / "eye") as (_, moved, _keys):  # it went on from the old state: others than were cosigned
        witnesses = (f"{keys['witness_key']} {moved}",)
        with pytest.raises(IntegrityError, match="own key signed"):
            start(tmp_path / "log", witnesses)


@pytest.mark.parametrize("entries", [0, 4, 9])
def test_a_node_that_was_put_back_while_nobody_answered_stops_once_its_witness_does(
    tmp_path: Path, entries: int
) -> None:
    """Whatever it wrote meanwhile, fewer entries than were cosigned or more."""
    with a_node(tmp_path / "eye") as (eye, url, keys):
        witnesses = (f"{keys['witness_key']} {url}",)
        with a_node(tmp_path / "log", witnesses=witnesses) as (log, _, own):
            watch(eye, own["log_key"])
        shutil.copytree(tmp_path / "log" / ".charter", tmp_path / "backup")
        with a_house(tmp_path / "log", apply=False, witnesses=witnesses) as log:
            for _ in range(4):
                grow(log)
            ask(log)
        shutil.rmtree(tmp_path / "log" / ".charter")
        shutil.copytree(tmp_path / "backup", tmp_path / "log" / ".charter")
        with a_house(tmp_path / "log", apply=False) as log:  # whose witness is not asked
            for _ in range(entries):
                grow(log)
            log.house.witnesses.places = parse_places(witnesses)
            log.house.witnesses.states = {keys["witness_key"]: State()}
            ask(log)
            asyncio.run(log.house.witnesses._tell())
            assert len(findings(log, "contradicted-log")) == 1
            assert "own key signed" in (log.house.database.halted or "")
            told = log.house.witnesses.listing()
            assert (told["settled"], told["witnesses"][0]["contradicted"]) == (False, True)
            for _ in range(2):  # the reason does not grow with each work that is refused
                with pytest.raises(IntegrityError, match=r"^this node stopped writing: its log was put back"):
                    grow(log)


def test_the_bare_word_of_a_witness_stops_no_node_that_runs(tmp_path: Path) -> None:
    class Liar:
        async def ask(self, _prefix: str, request: Request) -> Answered:
            other = sign_checkpoint(request.checkpoint.origin, 99, b"9" * 32, Ed25519Signer.from_seed(b"9" * 32))
            return Answered(409, "99\n", other)

    eye = str(witnessing.Witness("example.com/witness/1", b"k" * 32))
    with a_house(tmp_path, apply=False, witnesses=(f"{eye} http://127.0.0.1:9/w",)) as log:
        log.house.witnesses.client = Liar()  # type: ignore[assignment]  # it asks nobody
        ask(log)
        asyncio.run(log.house.witnesses._tell())
        assert [each["told"] for each in findings(log, "contradicted-log")] == [
            "it says that it cosigned a head of 99 entries"
        ]
        grow(log)
        assert log.house.database.halted is None


def test_a_log_without_its_quorum_is_not_settled_however_many_cosigned_it_before(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, keys):
        witnesses = (f"{keys['witness_key']} {url}",)
        with a_node(tmp_path / "log", witnesses=witnesses) as (log, _, own):
            watch(eye, own["log_key"])
            ask(log)
            assert log.house.witnesses.listing()["settled"]
    with a_house(tmp_path / "log", apply=False, witnesses=witnesses, witness_seconds=60) as log:
        grow(log)
        ask(log)
        for _ in range(3):  # told or not: it lacks its quorum all the while
            log.clock.advance(seconds=61)
            asyncio.run(log.house.witnesses._tell())
            found = log.house.witnesses.listing()
            assert (found["cosigned_by"], found["quorum"], found["settled"]) == (1, 1, False)
            answer = found | {"watched": []}
            asked = SimpleNamespace(control=SimpleNamespace(get=lambda _path, told=answer: told))
            is_well, told = doctor._witnesses(cast("Context", asked))
            assert not is_well
            assert "could not be reached" in told
        assert found["missed_seconds"] == 183


def test_a_fork_is_refused_and_is_one_finding_with_both_heads(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, keys), a_node(tmp_path / "log") as (log, _, own):
        watch(eye, own["log_key"])
        head = source(log).head()
        assert post(url, source(log).request(0, head).to_text().encode()).status_code == 200
        origin = log.house.database.origin
        signer = log.house.ring.active_signer(KeyUse.EVIDENCE, origin)
        for byte in (b"1", b"2"):
            other = sign_checkpoint(origin, head.size, byte * 32, signer)
            answer = post(url, Request(head.size, (), other).to_text().encode())
            assert (answer.status_code, answer.text) == (409, f"{head.size}\n")
            assert answer.headers["content-type"] == "text/x.tlog.size"
            seen = parse_checkpoint(base64.b64decode(answer.headers["charter-cosigned"]).decode())
            assert (seen.size, seen.root) == (head.size, head.root)
        (found,) = findings(eye, witnessing.FORKED)
        assert parse_checkpoint(found["shown"]).root == b"1" * 32
        assert parse_checkpoint(found["cosigned"]).root == head.root
        assert keys["witness_key"].startswith(eye.house.database.origin.replace("/log/", "/witness/"))


def test_a_log_whose_key_changed_while_its_witness_was_away_is_followed(tmp_path: Path) -> None:
    with (
        a_node(tmp_path / "eye") as (eye, url, keys),
        a_node(tmp_path / "log", witnesses=(f"{keys['witness_key']} {url}",)) as (log, _, own),
    ):
        watch(eye, own["log_key"])
        ask(log)
        for _ in range(2):
            grow(log)
            log.house.database.write(lambda tx: log.house.ring.rotate(tx, "evidence", actor="a@x", reason="due"))
        grow(log)
        found = ask(log)
        assert found is not None
        assert found.size == log.house.database.head.size, log.house.witnesses.listing()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "add-checkpoint", b"", 405),
        ("POST", "other", b"", 404),
        ("POST", "add-checkpoint", b"", 400),
        ("POST", "add-checkpoint", b"\xff\xff", 400),
        ("POST", "add-checkpoint", b"old 1\n\n", 400),
        ("POST", "add-checkpoint", b"old 0\n" + b"A" * 44 + b"\n" * 70, 400),
        ("POST", "add-checkpoint", b"a" * 200_000, 413),
    ],
)
def test_what_is_no_request_is_refused_and_nothing_is_written(
    tmp_path: Path, method: str, path: str, body: bytes, status: int
) -> None:
    with a_node(tmp_path / "eye") as (eye, url, _):
        before = eye.house.database.head.size
        assert httpx.request(method, f"{url}/{path}", content=body).status_code == status
        assert eye.house.database.head.size == before


def test_strangers_and_logs_signed_by_others_are_told_so(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, _), a_node(tmp_path / "log") as (log, _, own):
        head = source(log).head()
        assert post(url, source(log).request(0, head).to_text().encode()).status_code == 404
        watch(eye, own["log_key"])
        forged = sign_checkpoint(head.origin, head.size, head.root, Ed25519Signer.from_seed(b"9" * 32))
        assert post(url, Request(0, (), forged).to_text().encode()).status_code == 403
        answer = post(url, source(log).request(head.size, head).to_text().encode())
        assert (answer.status_code, answer.text) == (409, "0\n")


def test_one_log_cannot_keep_a_witness_busy(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, _), a_node(tmp_path / "log") as (log, _, own):
        watch(eye, own["log_key"])
        body = source(log).request(0, source(log).head()).to_text().encode()
        statuses = [post(url, body).status_code for _ in range(22)]  # the clock stands still
        assert statuses[:20] == [200, *[409] * 19]
        assert statuses[20:] == [429, 429]


def test_a_witness_that_does_not_answer_stops_no_start_and_is_a_finding_after_the_bound(tmp_path: Path) -> None:
    key = "example.com/witness/1+" + "0" * 8
    eye = str(witnessing.Witness("example.com/witness/1", b"k" * 32))
    with pytest.raises(CharterError):
        witnessing.parse_log_key(key)
    with a_house(tmp_path, apply=False, witnesses=(f"{eye} http://127.0.0.1:9/w",), witness_seconds=60) as stage:
        room = stage.house.witnesses
        assert ask(stage) is None
        asyncio.run(room._tell())
        assert findings(stage, "unwitnessed-log") == []
        stage.clock.advance(seconds=61)
        asyncio.run(room._tell())
        (found,) = findings(stage, "unwitnessed-log")
        assert "could not be reached" in found["witnesses"]["example.com/witness/1"]
        assert room.listing()["backlog"] == stage.house.database.head.size
        before = room.states[eye].failures
        ask(stage, at_once=False)  # it is due again now
        ask(stage, at_once=False)  # and not at once after that
        assert room.states[eye].failures == before + 1


def test_a_cosignature_that_a_witness_gave_is_of_its_own_key(tmp_path: Path) -> None:
    with a_node(tmp_path / "eye") as (eye, url, keys), a_node(tmp_path / "log") as (log, _, own):
        watch(eye, own["log_key"])
        head = source(log).head()
        answer = post(url, source(log).request(0, head).to_text().encode())
        found = with_cosignatures(head, parse_lines(answer.text, head).signatures, parse_witness(keys["witness_key"]))
        assert len(found.signatures) == 2
        uses = {each.use for each in eye.house.ring.all() if each.origin == eye.house.database.origin}
        assert uses == {KeyUse.EVIDENCE, KeyUse.WITNESS}


def test_a_receipt_of_a_house_holds_in_its_cosigned_pack(tmp_path: Path) -> None:
    with (
        a_node(tmp_path / "eye") as (eye, url, keys),
        a_node(tmp_path / "log", witnesses=(f"{keys['witness_key']} {url}",)) as (log, _, own),
    ):
        watch(eye, own["log_key"])
        told = verdicts.receipt(log.house, "1")
        (tmp_path / "one.receipt").write_text(told["receipt"])
        made = asyncio.run(evidence.export(log.house, tmp_path / "all.pack"))
        assert made["witnesses"] == [keys["witness_key"]]
        words = ["--key", own["log_key"], "--witness", keys["witness_key"], "--receipt", str(tmp_path / "one.receipt")]
        assert charter_verify.main([made["pack"], *words]) == 0
        assert cosigners(
            parse_checkpoint(evidence.proof(log.house, 1)["checkpoint"]), [parse_witness(keys["witness_key"])]
        )


def test_a_node_that_did_not_grow_since_its_head_was_cosigned_is_not_contradicted(tmp_path: Path) -> None:
    with (
        a_node(tmp_path / "eye") as (eye, url, keys),
        a_node(tmp_path / "log", witnesses=(f"{keys['witness_key']} {url}",)) as (log, _, own),
    ):
        watch(eye, own["log_key"])
        head = source(log).head()
        assert post(url, source(log).request(0, head).to_text().encode()).status_code == 200
        found = ask(log)  # which knows nothing of that
        assert found is not None
        assert found.size == head.size
        assert log.house.witnesses.listing()["witnesses"][0]["error"] == ""


def test_a_pack_has_the_whole_log_where_there_are_no_witnesses_any_more(tmp_path: Path) -> None:
    """An old head that they cosigned once would cut off what came since."""
    with (
        a_node(tmp_path / "eye") as (eye, url, keys),
        a_node(tmp_path / "log", witnesses=(f"{keys['witness_key']} {url}",)) as (log, _, own),
    ):
        watch(eye, own["log_key"])
        assert ask(log) is not None
        grow(log)
    with a_house(tmp_path / "log", apply=False) as log:
        made = asyncio.run(evidence.export(log.house, tmp_path / "all.pack"))
        assert made["entries"] == log.house.database.head.size

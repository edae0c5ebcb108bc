"""Questions about a long log: told how far they are, ended when nobody waits, and asked of its newest part alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi.responses import StreamingResponse

from charter.bootstrap import evidence
from charter.evidence.entry import Draft, EntryKind
from charter.server import long_answer
from charter.server.control import control_app
from houses import Stage, a_house


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Give a log of some thousand entries, of which an outcome of the newest is of the oldest verdict."""
    with a_house(tmp_path, apply=False) as found:
        verdicts = [{"verdict_id": f"vrd_{number}", "verdict": "allow"} for number in range(1_200)]
        drafts = [Draft(EntryKind.VERDICT, "prn_1", "prn_1", each) for each in verdicts]
        drafts.append(Draft(EntryKind.OUTCOME, "prn_1", "prn_1", {"verdict_id": "vrd_0"}))
        found.house.database.write(lambda tx: [tx.record(each) for each in drafts] and None)
        yield found


def ask(stage: Stage, path: str, body: dict[str, Any]) -> httpx.Response:
    async def post() -> httpx.Response:
        inner = httpx.ASGITransport(app=control_app(stage.house))
        async with httpx.AsyncClient(transport=inner, base_url="http://charter") as client:
            return await client.post(path, json=body)

    return asyncio.run(post())


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(each) for each in answer.text.splitlines()]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer take long."""
    monkeypatch.setattr(long_answer, "AT_ONCE_SECONDS", 0)
    monkeypatch.setattr(long_answer, "EVERY_SECONDS", 0.001)


def test_what_is_there_at_once_is_plain_json(stage: Stage) -> None:
    answer = ask(stage, "/v1/evidence/verify", {})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["ok"]
    assert answer.json()["checked"] == answer.json()["size"] > 1_200


@pytest.mark.usefixtures("slow")
def test_a_long_answer_tells_how_far_it_is(stage: Stage, tmp_path: Path) -> None:
    answer = ask(stage, "/v1/evidence/export", {"path": str(tmp_path / "all.pack")})
    *steps, last = lines(answer)
    assert steps
    assert all(set(each) == {"progress"} for each in steps)
    assert last["entries"] > 1_200
    assert (tmp_path / "all.pack").exists()


@pytest.mark.usefixtures("slow")
def test_what_goes_wrong_on_the_way_is_the_last_line(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "there.pack").touch()
    *_, last = lines(ask(stage, "/v1/evidence/export", {"path": str(tmp_path / "there.pack")}))
    assert last["problem"]["status"] == 409
    assert "exists already" in last["problem"]["detail"]


def test_what_goes_wrong_at_once_keeps_its_status(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "there.pack").touch()
    assert ask(stage, "/v1/evidence/export", {"path": str(tmp_path / "there.pack")}).status_code == 409


@pytest.mark.usefixtures("slow")
def test_whoever_hangs_up_ends_it_and_no_half_is_left(stage: Stage, tmp_path: Path) -> None:
    async def begun_and_left() -> BaseException | None:
        ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        async def export(tell: evidence.Tell) -> dict[str, Any]:
            hung_up = asyncio.Event()

            def step(done: int, of: int) -> None:
                asyncio.run_coroutine_threadsafe(hung_up.wait(), loop).result()
                tell(done, of)

            loop = asyncio.get_running_loop()
            left.append(hung_up)
            try:
                return await evidence.export(stage.house, tmp_path / "all.pack", tell=step)
            except BaseException as err:
                ended.set_result(err)
                raise

        left: list[asyncio.Event] = []
        answer = cast("StreamingResponse", await long_answer.answer(export))
        told = cast("AsyncIterator[str]", answer.body_iterator)
        assert "progress" in await anext(told)
        await told.aclose()  # type: ignore[attr-defined]  # a generator, which the server closes when nobody listens
        left[0].set()
        return await ended

    assert isinstance(asyncio.run(begun_and_left()), long_answer.NobodyWaitsError)
    assert [each.name for each in tmp_path.glob("*all.pack*")] == []


def test_the_newest_entries_are_checked_with_what_they_rest_on(stage: Stage) -> None:
    found = ask(stage, "/v1/evidence/verify", {"newest": 10}).json()
    assert found["ok"]
    assert found["checked"] == 10
    assert found["size"] > 1_200
    assert found["clock"] == {"set_back": 0, "first": None}


def test_a_changed_entry_among_the_newest_is_named(stage: Stage) -> None:
    size = stage.house.database.head.size
    changed = "update evidence_entry set data = replace(data, 'vrd_1195', 'vrd_9999')"
    stage.house.database.write(lambda tx: tx.connection.exec_driver_sql(changed) and None)
    found = ask(stage, "/v1/evidence/verify", {"newest": 50}).json()
    assert not found["ok"]
    assert str(size - 6) in found["problems"][0]
    assert ask(stage, "/v1/evidence/verify", {"newest": 2}).json()["ok"], "it is further back"


@pytest.mark.parametrize("newest", [0, -1, 50_001, "all", 1.5])
def test_no_other_number_is_taken(stage: Stage, newest: object) -> None:
    assert ask(stage, "/v1/evidence/verify", {"newest": newest}).status_code == 400

"""Upstreams as child processes: started when needed, called, supervised, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from charter.adapters.upstream import McpUpstreams, connect, read_tools
from charter.adapters.upstream_child import ChildLimits
from charter.core.errors import ErrorCode, IntegrityError
from charter.gateway.call import Call
from charter.gateway.permit import PermitLedger
from charter.gateway.pins import UpstreamError
from charter.registry.principal import LiveEstate
from charter.registry.system import System
from mcp_stage import CLOCK, NOTES, a_call, a_record, deadline, rogue, settings_of, stdio, until

QUICK = ChildLimits(start_seconds=5, probe_seconds=0.3, line_bytes=100_000)


@contextlib.asynccontextmanager
async def server(upstream: dict[str, Any], limits: ChildLimits = QUICK, **given: str) -> AsyncIterator[Any]:
    config = a_record(upstream).system.upstream
    assert config is not None
    made = connect(config, settings_of(limits, None, given), lambda: None)
    try:
        yield made
    finally:
        await made.aclose()


async def answers(made: Any, seconds: float = 10, **changed: Any) -> list[dict[str, Any]]:
    call = a_call("act", {"a": 1}, **changed)
    return [message async for message in made.call(call, None, deadline(seconds))]


def text_of(message: dict[str, Any]) -> str:
    return str(message["result"]["content"][0]["text"])


@pytest.mark.parametrize("mode", ["legacy", "modern", "banner", "silent-probe", "loud"])
def test_a_server_of_either_era_is_started_and_called(mode: str) -> None:
    async def go() -> None:
        async with server(rogue(mode)) as made:
            [answer] = await answers(made)
            assert text_of(answer) == '{"a": 1}'

    asyncio.run(go())


def test_a_real_server_lists_and_answers() -> None:
    async def go() -> None:
        async with server(stdio(*NOTES), ChildLimits()) as made:
            listed = await made.list_tools(deadline())
            assert [tool.name for tool in listed.list.tools][:2] == ["read_note", "write_note"]
            call = a_call("count", {"upto": 2}, wants_progress=True)
            got = [message async for message in made.call(call, None, deadline())]
            assert [m["params"]["message"] for m in got[:-1]] == ["at 1", "at 2"]
            assert text_of(got[-1]) == "counted to 2"

    asyncio.run(go())


def test_many_calls_share_one_child_and_get_their_own_answers() -> None:
    async def go() -> None:
        async with server(rogue("legacy")) as made:
            calls = [a_call("act", {"n": n}) for n in range(50)]

            async def one(call: Call) -> str:
                return text_of([m async for m in made.call(call, None, deadline())][-1])

            got = await asyncio.gather(*(one(call) for call in calls))
            assert [json.loads(text)["n"] for text in got] == list(range(50))

    asyncio.run(go())


def test_a_child_gets_the_environment_its_file_allows_and_no_more(tmp_path: Path) -> None:
    async def go() -> None:
        upstream = rogue("shows") | {"env": {"OWN": "${estate}/x"}, "pass_env": ["PASSED"], "cwd": str(tmp_path)}
        async with server(upstream, PATH="/bin", PASSED="1", KEPT_BACK="secret") as made:
            shown = json.loads(text_of((await answers(made))[0]))
            assert set(shown["env"]) - {"HOME", "LANG", "TMPDIR", "LC_CTYPE"} == {"PATH", "OWN", "PASSED"}
            assert shown["cwd"] == str(tmp_path)

    asyncio.run(go())


def test_closing_ends_the_child_and_what_it_left_behind() -> None:
    async def go() -> int:
        async with server(rogue("leaves-behind")) as made:
            return int(text_of((await answers(made))[0]))

    status = Path(f"/proc/{asyncio.run(go())}/stat")
    asyncio.run(until(lambda: not status.exists() or status.read_text().split()[2] == "Z"))


def test_a_child_that_dies_fails_the_call_as_perhaps_sent_and_is_started_again(tmp_path: Path) -> None:
    async def go() -> None:
        upstream = rogue("die-once")
        upstream["command"] = (*upstream["command"], str(tmp_path / "died"))
        async with server(upstream) as made:
            with pytest.raises(UpstreamError, match="ended with code 3") as caught:
                await answers(made)
            assert caught.value.sent
            assert text_of((await answers(made))[0]) == "alive"
            assert "(charter: the upstream ended with code 3)" in made.log  # for the operator: charter systems log

    asyncio.run(go())


def test_a_child_that_keeps_dying_is_started_again_after_a_pause() -> None:
    async def go() -> None:
        async with server(rogue("die")) as made:
            for _ in range(2):
                with pytest.raises(UpstreamError) as caught:
                    await answers(made)
                assert caught.value.sent
            with pytest.raises(UpstreamError, match="keeps dying") as caught:
                await answers(made)
            assert not caught.value.sent

    asyncio.run(go())


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("wrong-id", "a request that was never made"),
        ("text-id", "a request that was never made"),
        ("garbage", "no JSON"),
        ("no-result", "neither a result nor an error"),
        ("long", "a line of more than 100000 bytes"),
        ("input", "input_required"),
    ],
)
def test_nonsense_fails_the_call_as_perhaps_sent(mode: str, words: str) -> None:
    async def go() -> None:
        async with server(rogue(mode)) as made:
            with pytest.raises(UpstreamError, match=words) as caught:
                await answers(made)
            assert caught.value.sent
            assert caught.value.code is ErrorCode.UPSTREAM_FAILED

    asyncio.run(go())


def test_a_call_that_hangs_ends_at_its_deadline_and_harms_no_other() -> None:
    async def go() -> None:
        async with server(rogue("hang-first")) as made:
            slow = asyncio.create_task(answers(made, seconds=0.5))
            await asyncio.sleep(0.2)
            assert text_of((await answers(made))[0]) == "done"
            with pytest.raises(UpstreamError, match="in time") as caught:
                await slow
            assert (caught.value.code, caught.value.sent) == (ErrorCode.UPSTREAM_TIMEOUT, True)

    asyncio.run(go())


@pytest.mark.parametrize("ahead", [0.01, -5.0])
def test_a_child_that_answers_nothing_any_more_is_started_anew(ahead: float) -> None:
    """Also if whoever waits for it, until the same moment, is a little ahead."""

    async def go() -> None:
        async with server(rogue("hang")) as made:
            first = (await made.ready(deadline()))[0]
            for _ in range(3):
                with pytest.raises((UpstreamError, TimeoutError)):
                    async with asyncio.timeout(0.2 - ahead):
                        await answers(made, seconds=0.2)
            assert (await made.ready(deadline()))[0] is not first


def test_callers_who_give_up_early_do_not_end_a_child() -> None:
    async def go() -> None:
        async with server(rogue("hang")) as made:
            first = (await made.ready(deadline()))[0]
            for _ in range(6):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await answers(made, seconds=10)
            assert (await made.ready(deadline()))[0] is first

    asyncio.run(go())


@pytest.mark.parametrize("mode", ["mute", "foreign"])
def test_a_server_that_cannot_be_spoken_to_was_surely_not_called(mode: str) -> None:
    async def go() -> None:
        async with server(rogue(mode), ChildLimits(start_seconds=1, probe_seconds=0.2)) as made:
            with pytest.raises(UpstreamError) as caught:
                await answers(made)
            assert not caught.value.sent

    asyncio.run(go())


def test_a_command_that_does_not_exist_says_so() -> None:
    async def go() -> None:
        async with server(stdio("/nowhere/at-all")) as made:
            with pytest.raises(UpstreamError, match="`/nowhere/at-all` cannot be started: No such file") as caught:
                await answers(made)
            assert not caught.value.sent

    asyncio.run(go())


def test_a_caller_that_gives_up_does_not_stop_the_start_for_others() -> None:
    async def go() -> None:
        async with server(rogue("legacy")) as made:
            with pytest.raises(UpstreamError, match="in time") as caught:
                await answers(made, seconds=0.001)
            assert not caught.value.sent
            assert text_of((await answers(made))[0]) == '{"a": 1}'

    asyncio.run(go())


def test_what_a_server_asks_is_declined_save_for_ping() -> None:
    async def go() -> None:
        async with server(rogue("asks")) as made:
            pong, refused = json.loads(text_of((await answers(made))[0]))
            assert pong == {"jsonrpc": "2.0", "id": "q1", "result": {}}
            assert (refused["id"], refused["error"]["code"]) == ("q2", -32601)

    asyncio.run(go())


def test_progress_goes_only_to_the_call_it_is_about() -> None:
    async def go() -> None:
        async with server(rogue("progress-for-others")) as made:
            got = await answers(made, wants_progress=True)
            assert ["method" in message for message in got] == [True, False]

    asyncio.run(go())


def test_a_reserved_error_code_is_not_passed_on() -> None:
    async def go() -> None:
        async with server(rogue("reserved-code")) as made:
            [answer] = await answers(made)
            assert answer["error"]["code"] == -32603

    asyncio.run(go())


def test_giving_up_a_call_cancels_it_at_the_server(tmp_path: Path) -> None:
    async def go() -> None:
        mark = tmp_path / "mark"
        async with server(stdio(*NOTES, env={"WAIT_MARK": str(mark)}), ChildLimits()) as made:
            await made.ready(deadline())
            call = asyncio.create_task(anext(made.call(a_call("wait", {"seconds": 30}), None, deadline())))
            await asyncio.sleep(0.3)
            call.cancel()
            await until(mark.exists)

    asyncio.run(go())


def test_an_import_tells_the_last_words_of_a_server_that_dies() -> None:
    async def go() -> None:
        config = a_record(stdio("/bin/sh", "-c", "echo no such module >&2; exit 1")).system.upstream
        assert config is not None
        with pytest.raises(UpstreamError) as caught:
            await read_tools(config, settings_of(QUICK), deadline())
        assert caught.value.help == "its last words were: 'no such module'"

    asyncio.run(go())


@contextlib.asynccontextmanager
async def upstreams(mode: str) -> AsyncIterator[tuple[McpUpstreams, LiveEstate, PermitLedger]]:
    record = a_record(rogue(mode), ["act"])
    live, permits = LiveEstate(systems={"notes": record}), PermitLedger(CLOCK)
    made = McpUpstreams(live, permits, CLOCK, settings_of(QUICK))
    try:
        yield made, live, permits
    finally:
        await made.aclose()


async def pinned(made: McpUpstreams, live: LiveEstate) -> Call:
    [tool] = await made.tools(live.systems["notes"], deadline())
    return a_call("act", {"a": 1}, tool_pin=tool.digest)


def test_a_call_needs_a_permit_and_spends_it() -> None:
    async def go() -> None:
        async with upstreams("legacy") as (made, live, permits):
            call = await pinned(made, live)
            permit = permits.issue(verdict_id="vrd_1", principal_id="prn_1", call=call)
            [answer] = [m async for m in made.call(permit, call, deadline())]
            assert text_of(answer) == '{"a": 1}'
            with pytest.raises(IntegrityError, match="not issued here, or is already spent"):
                await anext(made.call(permit, call, deadline()))

    asyncio.run(go())


def test_a_tool_that_changed_between_decision_and_call_is_not_called() -> None:
    async def go() -> None:
        async with upstreams("legacy") as (made, live, permits):
            await pinned(made, live)
            call = a_call("act", tool_pin="sha256:" + "0" * 64)
            permit = permits.issue(verdict_id="vrd_1", principal_id="prn_1", call=call)
            with pytest.raises(UpstreamError, match="changed while the call was decided") as caught:
                await anext(made.call(permit, call, deadline()))
            assert not caught.value.sent

    asyncio.run(go())


def test_a_change_that_the_server_tells_of_is_seen_at_once() -> None:
    async def go() -> None:
        async with upstreams("changes") as (made, live, permits):
            call = await pinned(made, live)
            permit = permits.issue(verdict_id="vrd_1", principal_id="prn_1", call=call)
            before = made.edition(live.systems["notes"])
            assert [m async for m in made.call(permit, call, deadline())]
            await until(lambda: made.edition(live.systems["notes"]) != before)
            [now] = await made.tools(live.systems["notes"], deadline())
            assert "secrets" in now.definition["description"]
            assert now.digest != call.tool_pin

    asyncio.run(go())


def test_a_server_that_lists_two_tools_of_one_name_has_none() -> None:
    async def go() -> None:
        async with upstreams("twins") as (made, live, _):
            with pytest.raises(UpstreamError, match="two tools called 'act'"):
                await made.tools(live.systems["notes"], deadline())

    asyncio.run(go())


def test_a_system_whose_upstream_was_changed_is_reached_at_the_new_one() -> None:
    async def go() -> None:
        async with upstreams("legacy") as (made, live, _):
            record = live.systems["notes"]
            await made.tools(record, deadline())
            system = System.model_validate(record.system.to_json() | {"upstream": rogue("twins")})
            changed = type(record)("notes", 2, system.digest, record.standing, system)
            with pytest.raises(UpstreamError, match="two tools"):
                await made.tools(changed, deadline())

    asyncio.run(go())


def test_whoever_wants_to_know_is_told_of_other_tools_once() -> None:
    async def go() -> None:
        told: list[int] = []
        record = a_record(rogue("legacy"), ["act"])
        live = LiveEstate(systems={"notes": record})
        made = McpUpstreams(
            live, PermitLedger(CLOCK), CLOCK, settings_of(QUICK), lambda _, seen: told.append(len(seen.tools))
        )
        try:
            await made.tools(record, deadline())
            made._reached["notes"]._changed()
            await made.tools(record, deadline())
        finally:
            await made.aclose()
        assert told == [1]

    asyncio.run(go())

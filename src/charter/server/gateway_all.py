"""The MCP methods at `/mcp`, where all of a principal's systems are together. Each call is one to a single system.

A system that is slow, broken or held hides none of the others: what is left out is said, with the reason, in `_meta`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from typing_extensions import override

from charter.core.clock import Deadline
from charter.core.errors import CharterError, UnavailableError
from charter.gateway.call import Call
from charter.gateway.mcp import ToolCall
from charter.gateway.mcp_all import (
    mcp_systems,
    name_of,
    renamed,
    resource_of,
    tool_named,
    tool_spelt,
    uri_of,
    with_uris,
)
from charter.gateway.mcp_answers import WireError
from charter.gateway.mcp_features import PROMPT, READ, listed_by
from charter.gateway.mcp_protocol import NAME_HEADER, RpcCode
from charter.gateway.pins import ToolDefinition
from charter.registry.principal import SystemRecord
from charter.server.gateway_features import FeatureMethods
from charter.server.gateway_http import Reply
from charter.server.gateway_mcp import Asked, before_2026

LEFT_OUT_KEY = "charter/left-out"  # in a list's `_meta`: systems that could not be listed, and why
LIST_SECONDS = 10.0  # that one system may take to list here
Found = tuple[list[dict[str, Any]], str | None]  # what one system lists, and why it lists nothing


@dataclass
class AllMethods(FeatureMethods):
    """Answers requests to all systems at once."""

    @override
    async def answer(self, asked: Asked, reply: Reply) -> None:
        try:
            one = await self._one(asked)
        except CharterError as err:
            await self._fail(asked, reply, err)
        else:
            await super().answer(asked if one is None else one, reply)

    async def _one(self, asked: Asked) -> Asked | None:
        """Return the request as its single system takes it; None if it is one to all of them.

        Raises:
            WireError: what it names is not here.
        """
        params = asked.frame.params
        match asked.frame.method:
            case "tools/call":
                name, key = _text(params.get("name")), "name"
                found = tool_named(self._granted(asked), name) or tool_spelt(mcp_systems(self.live), name)
            case "prompts/get":
                found = await self._prompt(asked, _text(params.get("name")))
                key = "name"
            case "resources/read" | "resources/subscribe" | "resources/unsubscribe":
                found = resource_of(self._granted(asked), _text(params.get("uri")))
                key = "uri"
            case "completion/complete":
                return await self._completion(asked)
            case _:
                return None
        if found is None:
            raise _nothing(asked, str(params.get(key)))
        return _to(asked, found[0], {key: found[1]})

    async def _completion(self, asked: Asked) -> Asked:
        ref = asked.frame.params.get("ref")
        ref = ref if isinstance(ref, dict) else {}
        is_prompt = ref.get("type") == "ref/prompt"
        key = "name" if is_prompt else "uri"
        found = (
            await self._prompt(asked, _text(ref.get(key)))
            if is_prompt
            else resource_of(self._granted(asked), _text(ref.get(key)))
        )
        if found is None:
            raise _nothing(asked, str(ref.get(key)))
        return _to(asked, found[0], {"ref": ref | {key: found[1]}})

    async def _prompt(self, asked: Asked, name: str) -> tuple[SystemRecord, str] | None:
        """Return the system and the prompt that is called so here."""
        deadline = Deadline.after(self.clock, self.call_seconds)
        for record in self._granted(asked):
            if record.system.action_of_tool(PROMPT) is None or not name.startswith(name_of(record.name, "")[:8]):
                continue
            tool = await self._live_tool(record.name, PROMPT, deadline)
            for each in listed_by(tool) if tool is not None else ():
                if name_of(record.name, each["name"]) == name:
                    return record, each["name"]
        return None

    def _granted(self, asked: Asked) -> list[SystemRecord]:
        """Return the systems of which the caller may see something, by their names."""
        own = self.pipeline.systems_of(asked.bearer)
        return [record for record in mcp_systems(self.live) if record.name in own]

    @override
    def _has(self, asked: Asked, name: str) -> bool:
        if asked.prefix:  # to one of them
            return super()._has(asked, name)
        return any(record.system.action_of_tool(name) is not None for record in self._granted(asked))

    @override
    def _has_updates(self, asked: Asked) -> bool:
        return any(self.upstream.offers_updates(record) for record in self._offering(asked, READ))

    @override
    def _place_of(self, asked: Asked, uri: str) -> tuple[Asked, str] | None:
        found = resource_of(self._granted(asked), uri)
        return (_to(asked, found[0], {}), found[1]) if found is not None else None

    @override
    async def _list(self, asked: Asked) -> dict[str, Any]:
        async def tools_of(record: SystemRecord, deadline: Deadline) -> Found:
            live = await self._definitions(record.name, deadline)
            tools, why = self._shown(asked, record.name, live)
            return [self._spelt(asked, renamed(record.name, tool)) for tool in tools], why

        return await self._together(asked, "tools", self._granted(asked), tools_of)

    @override
    async def _called_tool(self, asked: Asked, name: str, deadline: Deadline) -> ToolDefinition | None:
        if asked.system not in self.pipeline.systems_of(asked.bearer):
            return None  # the call will be denied: its server is not started for that
        return await super()._called_tool(asked, name, deadline)

    @override
    def _made(self, asked: Asked, wanted: ToolCall, tool: ToolDefinition | None) -> Call:
        call = super()._made(asked, wanted, tool)
        record = self.live.systems.get(asked.system)
        action = record.system.action_of_tool(wanted.tool) if record is not None else None
        if record is None or action is None or asked.system in self.pipeline.systems_of(asked.bearer):
            return call
        return replace(call, tool_pin=record.system.actions[action].pin)  # nobody looked: it is taken for what it was

    def _spelt(self, asked: Asked, tool: ToolDefinition) -> dict[str, Any]:
        return tool.definition if asked.modern else before_2026(tool.definition)

    @override
    async def _entries(self, asked: Asked, name: str, key: str) -> dict[str, Any]:
        async def entries_of(record: SystemRecord, deadline: Deadline) -> Found:
            one = _to(asked, record, {})
            tool, why = await self._seen(one, name, deadline)
            entries = self._usable(one, tool) if tool is not None else []
            return [_renamed(record.name, each) for each in entries], why

        return await self._together(asked, key, self._offering(asked, name), entries_of)

    def _offering(self, asked: Asked, name: str) -> list[SystemRecord]:
        return [each for each in self._granted(asked) if each.system.action_of_tool(name) is not None]

    async def _together(
        self,
        asked: Asked,
        key: str,
        records: list[SystemRecord],
        listed_by: Callable[[SystemRecord, Deadline], Awaitable[Found]],
    ) -> dict[str, Any]:
        """Return one page of what several systems list."""
        deadline = Deadline.after(self.clock, min(LIST_SECONDS, self.call_seconds))

        async def one(record: SystemRecord) -> Found:
            try:
                async with asyncio.timeout(deadline.remaining()):
                    return await listed_by(record, deadline)
            except TimeoutError:
                return [], f"`{record.name}` did not list its {key} in time"
            except CharterError as err:
                return [], f"`{record.name}`: {err.detail}"

        answers = await asyncio.gather(*map(one, records))
        listed = [each for found, _ in answers for each in found]
        left_out = {record.name: why for record, (_, why) in zip(records, answers, strict=True) if why is not None}
        page, following = self._page(asked, listed, [str(each) for each in listed])
        why = "; ".join(left_out.values()) or "your charter grants nothing on any MCP system"
        result = self._result(asked, key, page, following, why if not listed else None)
        return result | {"_meta": result.get("_meta", {}) | {LEFT_OUT_KEY: left_out}} if left_out else result

    @override
    async def _resources(self, asked: Asked) -> dict[str, Any]:
        """Return a page of the resources of one system after the other; the cursor says whose turn it is."""
        cursor = asked.frame.params.get("cursor")
        system, _, own = cursor.partition(" ") if isinstance(cursor, str) else ("", "", "")
        records = self._offering(asked, READ)
        left_out: dict[str, str] = {}
        for index, record in enumerate(records):
            if record.name < system:
                continue
            one = _to(asked, record, {})
            deadline = Deadline.after(self.clock, min(LIST_SECONDS, self.call_seconds))
            try:
                tool, why = await self._seen(one, READ, deadline)
                if tool is None:
                    left_out[record.name] = why or ""
                    continue
                start = own if own and record.name == system else None
                listed, following = await self._page_of(one, record, tool, start, deadline)
            except UnavailableError as err:
                left_out[record.name] = f"`{record.name}`: {err.detail}"
                continue
            after = f"{record.name} {following}" if following is not None else None
            if after is None and index + 1 < len(records):
                after = records[index + 1].name
            shown = [_renamed(record.name, each) for each in listed]
            if shown or after is None:
                result = self._result(asked, "resources", shown, after, None)
                return result | {"_meta": {LEFT_OUT_KEY: left_out}} if left_out else result
            if following is not None:  # a whole page of what the caller may not read: the next says more
                return self._result(asked, "resources", [], after, None)
        why = "; ".join(left_out.values()) or "your charter grants no resources on any MCP system"
        return self._result(asked, "resources", [], None, why)

    @override
    def _told(self, asked: Asked, result: dict[str, Any]) -> dict[str, Any]:
        told = super()._told(asked, result)
        return with_uris(asked.prefix, told) if asked.prefix else told

    @override
    def _instructions(self, asked: Asked) -> str:
        return (
            f"Charter stands before all systems of `{asked.bearer.principal_name}` and lets through what its charter "
            "allows. Tools are named SYSTEM__TOOL. A call that is refused says why, and what would make it allowed."
        )

    @override
    def _edition(self, asked: Asked) -> tuple[object, ...]:
        records = self._granted(asked)
        editions = [part for record in records for part in (record, *self.upstream.edition(record))]
        return (self.live.principals.get(asked.bearer.principal_id), *editions)


def _to(asked: Asked, record: SystemRecord, named: dict[str, Any]) -> Asked:
    """Return a request as one to a single system, which has its own names for what it is about."""
    headers = {key: value for key, value in asked.head.headers.items() if key != NAME_HEADER}
    frame = replace(asked.frame, params=asked.frame.params | named)
    head = replace(asked.head, headers=headers)
    return replace(asked, system=record.name, frame=frame, head=head, prefix=uri_of(record.name, ""))


def _renamed(system: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a prompt, a resource or a template as it is shown where all are together."""
    for key in ("uri", "uriTemplate"):
        if key in entry:
            return entry | {key: uri_of(system, entry[key])}
    return entry | {"name": name_of(system, entry["name"])}


def _nothing(asked: Asked, name: str) -> WireError:
    text = f"there is no {name[:80]!a} here; the lists name what you may use"
    return WireError(RpcCode.INVALID_PARAMS, text, request_id=asked.frame.id)


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""

"""The MCP methods of resources, prompts and completions: each use is a call that the pipeline decides and records.

Lists show what the caller could have: prompts and templates as they were accepted, resources as the server lists them
now. What a list of resources tells counts as read by the session: names and descriptions may be strangers' words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from typing_extensions import override

from charter.core.clock import Deadline
from charter.core.errors import CharterError, ErrorCode, MalformedError, ThrottledError
from charter.gateway.mcp import ToolCall, feature_call
from charter.gateway.mcp_answers import WireError
from charter.gateway.mcp_features import COMPLETE, MAX_URI, PROMPT, READ, asked_of, listed_by, resources_in
from charter.gateway.mcp_logs import LEVELS, read_level
from charter.gateway.mcp_protocol import WHY_KEY, RpcCode
from charter.gateway.mcp_sessions import Session, Watched
from charter.gateway.pins import ToolDefinition
from charter.policy.verdict import Deny
from charter.registry.principal import SystemRecord
from charter.server.gateway_http import Reply
from charter.server.gateway_mcp import LIST_TTL_MS, MAX_CALLS_PER_PRINCIPAL, Asked, McpMethods, Place

NEEDS = {
    "resources/list": READ,
    "resources/templates/list": READ,
    "resources/read": READ,
    "resources/subscribe": READ,
    "resources/unsubscribe": READ,
    "prompts/list": PROMPT,
    "prompts/get": PROMPT,
    "completion/complete": COMPLETE,
}
UPDATED = "notifications/resources/updated"
MAX_WATCHED = 100  # resources that one session, or one stream, can be told of
OFFERED = {
    READ: ("resources", {"listChanged": True}),
    PROMPT: ("prompts", {"listChanged": True}),
    COMPLETE: ("completions", {}),
}


@dataclass
class FeatureMethods(McpMethods):
    """Answers requests to one system, method by method."""

    @override
    def _capabilities(self, asked: Asked) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = dict(OFFERED[name] for name in OFFERED if self._has(asked, name))
        if "resources" in found and self._has_updates(asked):
            found["resources"] = found["resources"] | {"subscribe": True}
        return super()._capabilities(asked) | found | {"logging": {}}

    @override
    async def _dispatch(self, asked: Asked, reply: Reply) -> None:
        if asked.frame.method == "logging/setLevel" and asked.session is not None:
            await self._finish(asked, reply, _set_level(asked, asked.session))
            return
        needed = NEEDS.get(asked.frame.method)
        if needed is None or not self._has(asked, needed):
            await super()._dispatch(asked, reply)
            return
        match asked.frame.method:
            case "resources/subscribe" | "resources/unsubscribe":
                if asked.session is None:
                    await super()._dispatch(asked, reply)
                else:
                    await self._listen_to(asked, asked.session)
                    await self._finish(asked, reply, {})
            case "resources/list":
                await self._finish(asked, reply, await self._resources(asked))
            case "resources/templates/list":
                await self._finish(asked, reply, await self._entries(asked, READ, "resourceTemplates"))
            case "prompts/list":
                await self._finish(asked, reply, await self._entries(asked, PROMPT, "prompts"))
            case _:
                await self._submit(asked, reply, feature_call(asked.frame))

    def _has(self, asked: Asked, name: str) -> bool:
        """Whether someone accepted that the system offers this."""
        record = self.live.systems.get(asked.system)
        return record is not None and record.system.action_of_tool(name) is not None

    def _has_updates(self, asked: Asked) -> bool:
        """Whether changes of single resources are told, as far as that is known."""
        record = self.live.systems.get(asked.system)
        return record is not None and self.upstream.offers_updates(record)

    async def _listen_to(self, asked: Asked, session: Session) -> None:
        """Let a session hear of changes of a resource, or no more (2025-11-25 server/resources, "Subscriptions")."""
        uri = str(asked_of(READ, asked.frame.params)["uri"])
        if asked.frame.method == "resources/unsubscribe":
            session.watched.pop(asked.prefix + uri, None)
            return
        if len(session.watched) >= MAX_WATCHED:
            text = f"the session is subscribed to {MAX_WATCHED} resources"
            raise ThrottledError(ErrorCode.TOO_MANY, text, help="unsubscribe from some")
        watched = await self._one_watched(asked, uri)
        if watched is None:
            text = f"`{asked.system}` tells of no changes of single resources"
            raise WireError(RpcCode.METHOD_NOT_FOUND, text, request_id=asked.frame.id)
        session.watched[asked.prefix + uri] = watched

    async def _one_watched(self, asked: Asked, uri: str) -> Watched | None:
        """Return a resource that the caller will hear of; None if its system tells nothing of the kind.

        Raises:
            WireError: the caller could not read it.
        """
        deadline = Deadline.after(self.clock, self.call_seconds)
        tool, why = await self._seen(asked, READ, deadline)
        record = self.live.systems.get(asked.system)
        if tool is None or record is None or not self._could(asked, tool, {"uri": uri}):
            text = f"only who may read a resource is told of its changes{f': {why}' if why else ''}"
            raise WireError(RpcCode.DENIED, text, status=200, request_id=asked.frame.id)
        delegation = asked.bearer.delegation
        if not await self.upstream.watch(record, delegation, (uri,), deadline):
            return None
        return Watched(asked.system, uri, self.upstream.updates(record, delegation, uri))

    @override
    async def _watched(self, asked: Asked, wanted: object) -> dict[str, Watched]:
        found: dict[str, Watched] = {}
        for named in (wanted if isinstance(wanted, list) else [])[:MAX_WATCHED]:
            one = self._place_of(asked, named) if isinstance(named, str) and len(named) <= MAX_URI else None
            if one is None:
                continue
            try:
                watched = await self._one_watched(*one)
            except CharterError:  # what is not honoured is not in what the caller is told back
                continue
            if watched is not None:
                found[named] = watched
        return found

    def _place_of(self, asked: Asked, uri: str) -> tuple[Asked, str] | None:
        """Return whose resource it is, that a caller calls by this URI, and what it is called there."""
        return (asked, uri) if self._has(asked, READ) else None

    @override
    def _news(
        self, asked: Asked, watched: Mapping[str, Watched], meta: dict[str, Any] | None
    ) -> Callable[[], Sequence[dict[str, Any]]]:
        seen: dict[str, int] = {}

        def news() -> list[dict[str, Any]]:
            for gone in seen.keys() - watched.keys():
                del seen[gone]
            found: list[dict[str, Any]] = []
            for named, each in watched.items():
                count, before = self._changes_of(asked, each), seen.get(named, each.count)
                seen[named] = count
                if count != before and self._may_hear(asked, each):
                    params = {"uri": named} | ({"_meta": meta} if meta is not None else {})
                    found.append({"jsonrpc": "2.0", "method": UPDATED, "params": params})
            return found

        return news

    def _changes_of(self, asked: Asked, watched: Watched) -> int:
        record = self.live.systems.get(watched.system)
        if record is None:
            return watched.count
        try:
            return self.upstream.updates(record, asked.bearer.delegation, watched.uri)
        except CharterError:  # it has no upstream now, or too many listen
            return watched.count

    def _may_hear(self, asked: Asked, watched: Watched) -> bool:
        """Whether the caller could still read what changed."""
        record = self.live.systems.get(watched.system)
        known = self.upstream.known(record) if record is not None else None
        tool = next((each for each in known or () if each.name == READ), None)
        return tool is not None and self._could(replace(asked, system=watched.system), tool, {"uri": watched.uri})

    async def _resources(self, asked: Asked) -> dict[str, Any]:
        """Return one page of the resources this caller could read; pages are the server's own."""
        deadline, cursor = Deadline.after(self.clock, self.call_seconds), asked.frame.params.get("cursor")
        if cursor is not None and not isinstance(cursor, str):
            raise WireError(RpcCode.INVALID_PARAMS, "the cursor is no text", request_id=asked.frame.id)
        tool, why = await self._seen(asked, READ, deadline)
        record = self.live.systems.get(asked.system)
        if tool is None or record is None:
            return self._result(asked, "resources", [], None, why)
        listed, following = await self._page_of(asked, record, tool, cursor, deadline)
        return self._result(asked, "resources", listed, following, None)

    async def _page_of(
        self, asked: Asked, record: SystemRecord, tool: ToolDefinition, cursor: str | None, deadline: Deadline
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page of a server's resources, of those the caller could read, and note that it was told of them."""
        with Place(self._calls, asked.bearer, MAX_CALLS_PER_PRINCIPAL, "calls"):
            listed, following = await self.upstream.resources(record, asked.bearer.delegation, cursor, deadline)
        shown = [each for each in resources_in(listed) if self._could(asked, tool, {"uri": each["uri"]})]
        if shown:
            self.pipeline.listed(asked.bearer, self._made(asked, ToolCall(READ, {"uri": shown[0]["uri"]}), tool), shown)
        return shown, following

    async def _entries(self, asked: Asked, name: str, key: str) -> dict[str, Any]:
        """Return one page of the prompts, or of the templates of resources, that were accepted."""
        tool, why = await self._seen(asked, name, Deadline.after(self.clock, self.call_seconds))
        entries = self._usable(asked, tool) if tool is not None else []
        digest = tool.digest if tool is not None else ""
        page, following = self._page(asked, entries, [digest, *(str(each) for each in entries)])
        return self._result(asked, key, page, following, why)

    def _usable(self, asked: Asked, tool: ToolDefinition) -> list[dict[str, Any]]:
        """Return what a caller could use, of what a feature's definition lists; templates are all told."""
        listed = listed_by(tool)
        if tool.name != PROMPT:
            return listed
        return [each for each in listed if self._could(asked, tool, {"name": each["name"]})]

    def _result(
        self, asked: Asked, key: str, listed: list[dict[str, Any]], following: str | None, why: str | None
    ) -> dict[str, Any]:
        result: dict[str, Any] = {key: listed}
        if following is not None:
            result["nextCursor"] = following
        if why is not None and not listed:
            result["_meta"] = {WHY_KEY: why}
        return result | {"ttlMs": LIST_TTL_MS, "cacheScope": "private"} if asked.modern else result

    async def _seen(self, asked: Asked, name: str, deadline: Deadline) -> tuple[ToolDefinition | None, str | None]:
        """Return a feature as the system offers it now, if the caller may see it; else why not."""
        tool = await self._live_tool(asked.system, name, deadline)
        found, why = self.pipeline.visible(asked.bearer, asked.system, [tool] if tool is not None else [])
        return (found[0], None) if found else (None, why)

    def _could(self, asked: Asked, tool: ToolDefinition, arguments: dict[str, Any]) -> bool:
        """Whether a use would be allowed now, or held for a person."""
        try:
            call = self._made(asked, ToolCall(tool.name, arguments), tool)
        except MalformedError:  # it has no digest: nobody could ask for it either
            return False
        return not isinstance(self.pipeline.would(asked.bearer, call, self.clock.now())[1], Deny)

    @override
    def _told(self, asked: Asked, result: dict[str, Any]) -> dict[str, Any]:
        if asked.frame.method != READ or not asked.modern:
            return result
        return result | {"ttlMs": 0, "cacheScope": "private"}  # whether it may be read is asked each time


def _set_level(asked: Asked, session: Session) -> dict[str, Any]:
    """Let a session be told what is logged from a level on (2025-11-25 server/utilities/logging)."""
    level = read_level(asked.frame.params.get("level"))
    if level is None:
        text = f"`level` is none of {', '.join(LEVELS)}"
        raise WireError(RpcCode.INVALID_PARAMS, text, request_id=asked.frame.id)
    session.logs = level
    return {}

"""A governed call as the pipeline sees it, whatever wire it came in on."""

from __future__ import annotations

from typing import Any

import msgspec

from charter.identity.bearer import Bearer

__all__ = ["Bearer", "Call"]


class Call(msgspec.Struct, frozen=True):
    """One tool call: decided, recorded and, if allowed, forwarded exactly as it stands here."""

    system: str
    tool: str
    arguments: dict[str, Any]
    digest: str  # of the canonical {system, tool, arguments}: what an approval and a permit are bound to
    tool_pin: str | None  # digest of the live definition of the tool, None if the upstream has no such tool
    session: str | None = None
    request_id: str | None = None
    wants_progress: bool = False  # whether the caller asked to be told of progress
    source: str | None = None  # the address it came from
    client: str | None = None  # what the caller's program says that it is
    object: str | None = None  # its path as an enforcement point names it; None: as the action's template says
    approval: str | None = None  # the approval that the caller says it rests on; None: whichever there is
    run: str | None = None  # as the caller's program names what it is about: calls of one run are one session
    choices: frozenset[str] = frozenset()  # arguments that the tool's definition lets take one of a few values alone
    logs: str | None = None  # the least level of what the server logs meanwhile that its caller is told; None: nothing
    by_proxy: bool = False  # whether a proxy of the system asks about it, and carries the answer out
    can_ask: frozenset[str] = frozenset()  # what its caller's client can be asked for, while it is under way
    fulfils: frozenset[str] | None = None  # types of obligations that the caller can carry out; None: it did not say

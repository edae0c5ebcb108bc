"""What a caller is shown of a system: the tools that chain, task and token leave, or why there are none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from charter.gateway.call import Bearer
from charter.gateway.chain import Slices, read_chain
from charter.gateway.pins import ToolDefinition
from charter.identity.authority import refusal
from charter.policy.chain import shared_actions
from charter.policy.verdict import Deny
from charter.registry.principal import LiveEstate


def visible_tools(
    live: LiveEstate, slices: Slices, bearer: Bearer, system: str, tools: Sequence[ToolDefinition], at: dt.datetime
) -> tuple[list[ToolDefinition], str | None]:
    """Return those of `tools` that `bearer` could be allowed to call, and why there are none if so."""
    record, principal = live.systems.get(system), live.principals.get(bearer.principal_id)
    stopped = refusal(live, bearer, record, at=at)
    if stopped is not None or principal is None or record is None:
        return [], stopped.text if stopped else f"there is no system `{system}`"
    chain = read_chain(live, slices, bearer, principal)
    if isinstance(chain, Deny):
        return [], chain.reasons[0].text
    granted, last = shared_actions(chain.case, system)
    purpose = chain.chain.purpose if chain.chain is not None else ""
    task, token = live.central.purposes.value.scope_of(purpose), bearer.narrowing
    left = [
        action
        for action in granted
        if task.allows_action(system, action) and (token is None or token.allows_action(system, action))
    ]
    pins = {record.system.actions[name].tool: record.system.actions[name].pin for name in left}
    shown = [tool for tool in tools if pins.get(tool.name) == tool.digest]
    if shown:
        return shown, None
    if granted and not task.reaches(system):
        return [], f"the task is for `{purpose}`, which `{system}` is no part of"
    if left and tools and pins.keys().isdisjoint(tool.name for tool in tools):  # none of them is held
        under = f" in the task `{purpose}`" if purpose else ""
        return [], f"`{principal.name}` may use nothing of what `{system}` lists here{under}"
    return [], _why_none(principal.name, system, left, last if chain.chain is not None else None)


def _why_none(name: str, system: str, left: Sequence[str], lent_to: str | None) -> str:
    """Return why a principal is shown no tools; `lent_to` is with whom the last of a chain was lost."""
    if left:
        return f"the tools `{name}` is granted on `{system}` are held: their definitions were not accepted"
    if lent_to is not None:
        return f"nothing is left on `{system}` of what was lent to `{name}` after `{lent_to}`"
    return f"the charter of `{name}` grants nothing on `{system}`"

"""Calls held for a person's yes, where the caller's client can open an address for a person (URL elicitation).

The person is sent to the console's approvals, and the call waits there a while; approved, it is decided once more and
passes. Nothing is decided by what the client says: whether the call may pass is read from the approval alone.

INVARIANT: the address carries no authority: it names an approval, and who opens it must sign in, hold a role whose yes
is missing, and sees the whole call (2025-11-25 client/elicitation "Safe URL Handling", "Phishing"). A caller that
sends it to somebody else gets that person's judgement on this call, under that person's name, and nothing more.
INVARIANT: what the person is told is Charter's own words: no argument of the call, nothing a model or server wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.core.clock import Clock
from charter.gateway.mcp_answers import Message, refusal_result
from charter.gateway.mcp_asking import Ability, action_of, input_required
from charter.gateway.pipeline import Admitted, Refused
from charter.policy.verdict import Escalate
from charter.registry.approval import ApprovalState
from charter.registry.principal import LiveEstate
from charter.registry.seat import told
from charter.server.gateway_client import abilities, ask_client
from charter.server.gateway_http import Reply

if TYPE_CHECKING:
    from charter.server.gateway_mcp import Asked

WAIT_SECONDS = 50.0  # for people, while the caller waits: clients give up after a minute
LOOK_SECONDS = 0.25
KEY = "charter-approval"  # what a modern client answers under
_CREATE, _COMPLETE = "elicitation/create", "notifications/elicitation/complete"


@dataclass(frozen=True, slots=True)
class HeldCalls:
    """Sends people to the calls that wait for them."""

    live: LiveEstate
    clock: Clock
    console: str  # its address
    seconds: float = WAIT_SECONDS

    def can_send(self, asked: Asked, refused: Refused) -> bool:
        """Whether the person at the caller's client can be sent to the approval that a call waits for."""
        is_held = isinstance(refused.verdict, Escalate) and refused.approval_id is not None
        return is_held and bool(self.console) and Ability.URL in abilities(asked)

    async def settle(
        self,
        asked: Asked,
        reply: Reply,
        refused: Refused,
        answers: dict[str, Any],
        again: Callable[[], Awaitable[Admitted | Refused]],
    ) -> Admitted | dict[str, Any]:
        """Send the person to the approval, wait for the answer; return the call `again`, or the result to give."""
        if asked.modern and KEY not in answers:
            return input_required({KEY: {"method": _CREATE, "params": self._told(asked, refused)}})
        if action_of(await self._answer(asked, reply, refused, answers)) != "accept":
            return refusal_result(refused, modern=asked.modern)
        state = await self._answered(str(refused.approval_id))
        if not asked.modern:
            told = {"elicitationId": refused.approval_id}
            await reply.event({"jsonrpc": "2.0", "method": _COMPLETE, "params": told})
        if state is None:
            return _not_approved(refused, modern=asked.modern)
        if state is ApprovalState.APPROVED:
            answer = await again()
            if isinstance(answer, Admitted):
                return answer
            refused = answer
        return refusal_result(refused, modern=asked.modern)

    def _told(self, asked: Asked, refused: Refused) -> Message:
        """Return what the client shows: why a person is needed, and where."""
        assert isinstance(refused.verdict, Escalate)  # noqa: S101 - held calls alone come here
        text = (
            f"Charter holds a call of `{asked.bearer.principal_name}` on `{asked.system}` until it is approved "
            f"({told(refused.verdict.approvers)}). Sign in to Charter's console there, look at the call, and answer."
        )
        place = {"mode": "url", "message": text, "url": f"{self.console}/approvals?of={refused.approval_id}"}
        return place if asked.modern else place | {"elicitationId": refused.approval_id}

    async def _answer(self, asked: Asked, reply: Reply, refused: Refused, answers: dict[str, Any]) -> object:
        """Return whether the person went there, as the client says."""
        if asked.modern:
            return answers[KEY]
        try:
            response = await ask_client(asked, reply, _CREATE, self._told(asked, refused), self.seconds)
        except TimeoutError:
            return None
        return response.get("result")

    async def _answered(self, approval_id: str) -> ApprovalState | None:
        """Return how an approval stands once it does not wait any more, or time ran out; None if it is gone."""
        key = next((key for key, each in self.live.approvals.items() if each.id == approval_id), None)
        ends = self.clock.monotonic() + self.seconds
        while True:
            found = self.live.approvals.get(key) if key is not None else None
            if found is None or found.id != approval_id or not found.is_open(self.clock.now()):
                return None
            if found.state is not ApprovalState.WAITING or self.clock.monotonic() >= ends:
                return found.state
            await asyncio.sleep(LOOK_SECONDS)


def _not_approved(refused: Refused, *, modern: bool) -> dict[str, Any]:
    """Return the result of a call that nobody approved."""
    result = refusal_result(refused, modern=modern)
    text = (
        f"Charter does not let this call through: the approval `{refused.approval_id}` was refused, withdrawn, or used "
        f"by the same call before (verdict {refused.verdict_id}). Do not repeat it; ask the person what to do instead."
    )
    return result | {"content": [{"type": "text", "text": text}]}

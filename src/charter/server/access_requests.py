"""The access request endpoint (AuthZEN Access Request and Approval, Draft 1), on the approvals that there are.

    POST /access/v1/requests               ask people for what was denied; a task, 202
    GET  /access/v1/requests/TASK          where it stands
    POST /access/v1/requests/TASK/cancel   no longer needed; DELETE does the same

Callbacks are not sent. A task is answered to any point of its system, so that it outlives the process that asked.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charter.core.clock import Clock, Deadline
from charter.core.errors import AbsentError, ConflictError, ErrorCode, MalformedError
from charter.core.work import Writer
from charter.gateway.access_request import (
    AccessRequest,
    DenialTokens,
    Denied,
    Problem,
    RequestProblem,
    approvals_of,
    parse_access_request,
    status_of,
    task_id,
    told_of,
)
from charter.gateway.evaluation import Json
from charter.gateway.mcp_json import parse_json
from charter.gateway.pipeline import Pipeline
from charter.gateway.vouching import Asking, Understood, Vouching
from charter.lifecycle.approvals import cancel
from charter.policy.verdict import Allow, Deny
from charter.registry.approval import Approval
from charter.server.access_tasks import task

if TYPE_CHECKING:
    from charter.lifecycle.approvals import ApprovalWork

PROBLEM_TYPE = "urn:openid:authzen:access-request:error:"
KEPT = dt.timedelta(hours=24)  # that a retry finds the request it repeats
MAX_KEPT = 10_000
MAX_KEY = 256
MAX_REASON = 500
_TASK = re.compile(r"apr_[0-9a-z]{26}(~apr_[0-9a-z]{26})*")
STATUS = {
    Problem.NOT_REQUESTABLE: 400,
    Problem.INVALID_BINDING: 400,
    Problem.EXPIRED_DENIAL: 410,
    Problem.DUPLICATE: 409,
    Problem.UNKNOWN_TASK: 404,
    Problem.TASK_EXPIRED: 410,
    Problem.INVALID_STATE: 409,
}


@dataclass(frozen=True, slots=True)
class Made:
    """A request that was made lately."""

    digest: str  # of its body
    task: str
    at: dt.datetime


@dataclass(slots=True)
class AccessRequests:
    """Serves the endpoint."""

    pipeline: Pipeline
    vouching: Vouching
    writer: Writer[ApprovalWork]
    kept: Callable[[str], Approval]  # raises AbsentError
    tokens: DenialTokens
    base: str
    clock: Clock
    seconds: float
    _made: OrderedDict[tuple[str, str], Made] = field(default_factory=OrderedDict)  # by point and key, oldest first

    async def submit(self, asking: Asking, data: bytes, key: str | None) -> Json:
        """Ask people for what was denied; return the task.

        Raises:
            RequestProblem: it is no request that people can be asked for.
            MalformedError: it is none at all.
        """
        request = parse_access_request(data)
        before = self._before(asking, request, key)
        if before is not None:
            return self.status(asking, before)
        at = self.clock.now()
        readings = [self._understood(asking, request, item, at) for item in request.items]
        approvals = [await self._asked(asking, request, *each) for each in readings]
        name = task_id(approvals)
        if key is not None:
            self._made[asking.bearer.principal_id, key] = Made(request.digest, name, at)
        return task(name, approvals, self.base, at)

    def status(self, asking: Asking, name: str) -> Json:
        """Return where a task stands.

        Raises:
            RequestProblem: there is no such task, or it is over.
        """
        approvals, at = self._approvals(asking, name), self.clock.now()
        if all(at >= each.expires_at for each in approvals):
            raise RequestProblem(Problem.TASK_EXPIRED, "the task is over: evaluate again")
        return task(name, approvals, self.base, at)

    async def cancelled(self, asking: Asking, name: str, data: bytes) -> Json:
        """Cancel what of a task still waits; return where it stands then.

        Raises:
            RequestProblem: there is no such task, or nothing of it waits.
        """
        body = parse_json(data) if data else {}
        comment = body.get("comment", body.get("reason")) if isinstance(body, dict) else None
        reason = comment[:MAX_REASON] if isinstance(comment, str) else "no longer needed"
        at = self.clock.now()
        waiting = [each.id for each in self._approvals(asking, name) if status_of(each, at) == "pending"]
        actor = asking.bearer.principal_id

        def work(tx: ApprovalWork) -> None:
            for each in waiting:
                cancel(tx, each, actor=actor, reason=reason)

        if not waiting:
            raise RequestProblem(Problem.INVALID_STATE, "nothing of the task waits any more")
        try:
            await self.writer.awrite(work)
        except ConflictError as err:
            raise RequestProblem(Problem.INVALID_STATE, err.detail) from err
        return self.status(asking, name)

    def find(self, approval_id: object) -> Approval | None:
        """Return an approval, if there is one of that id."""
        try:
            return self.kept(approval_id[:64]) if isinstance(approval_id, str) else None
        except AbsentError:
            return None

    def _approvals(self, asking: Asking, name: str) -> list[Approval]:
        """Return a task's approvals, if the point may know of all of them."""
        own = {record.name for record in asking.point.records}
        found = [self.find(each) for each in approvals_of(name)] if _TASK.fullmatch(name) else []
        known = [each for each in found if each is not None and each.call.get("system") in own]
        if not known or len(known) != len(found):
            raise RequestProblem(Problem.UNKNOWN_TASK, "there is no such task")
        return known

    def _understood(
        self, asking: Asking, request: AccessRequest, item: Denied, at: dt.datetime
    ) -> tuple[Denied, Understood, str]:
        """Return an item with what it means, and the verdict that denied it."""
        found = self.vouching.understood(asking, item.question, at)
        if isinstance(found, Deny):
            raise RequestProblem(Problem.INVALID_BINDING, found.reasons[0].text)
        verdict_id = self.tokens.verdict_of(item, asking, found, at)
        live = self.pipeline.live
        chain = live.delegations.chain_of(found.bearer.delegation)
        parties = {found.bearer.principal_id, asking.bearer.principal_id, *(chain.parties if chain else ())}
        known = parties | {live.principals[each].name for each in parties if each in live.principals}
        strange = [actor for actor in request.actors if actor not in known]
        if strange:  # what a point claims of a chain is the chain that its question stands for, or nothing
            detail = f"the actor {strange[0][:80]!a} is no party of the chain that the question stands for"
            raise RequestProblem(Problem.INVALID_BINDING, detail)
        return item, found, verdict_id

    async def _asked(
        self, asking: Asking, request: AccessRequest, item: Denied, found: Understood, verdict_id: str
    ) -> Approval:
        told = told_of(request, asking, item.question, found.place.enforcement.context)
        deadline = Deadline.after(self.clock, self.seconds)
        asked = await self.pipeline.ask(found.bearer, found.call, deadline, verdict_id=verdict_id, told=told)
        if isinstance(asked, Approval):
            return asked
        why = "it is allowed now" if isinstance(asked, Allow) else asked.reasons[0].text
        raise RequestProblem(Problem.NOT_REQUESTABLE, f"nobody is asked for this: {why}")

    def _before(self, asking: Asking, request: AccessRequest, key: str | None) -> str | None:
        """Return the task of the request that this one repeats (`Idempotency-Key`).

        Raises:
            RequestProblem: the key was used for another.
        """
        if key is None:
            return None
        if not 0 < len(key) <= MAX_KEY:
            text = f"the header `Idempotency-Key` is not of 1 to {MAX_KEY} characters"
            raise MalformedError(ErrorCode.BAD_REQUEST, text, help="send a shorter one")
        now = self.clock.now()
        while self._made and (len(self._made) >= MAX_KEPT or now - next(iter(self._made.values())).at > KEPT):
            self._made.popitem(last=False)
        found = self._made.get((asking.bearer.principal_id, key))
        if found is not None and found.digest != request.digest:
            raise RequestProblem(Problem.DUPLICATE, "this `Idempotency-Key` was used for another request")
        return None if found is None else found.task

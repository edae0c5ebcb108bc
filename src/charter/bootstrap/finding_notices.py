"""Telling owners of findings of behaviour: by mail to the owner, and in the chat, each time that one opens.

What waits to be told stands in memory, and in the findings: one that was told says so, so that whoever starts again
tells what the process before did not.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from charter.bootstrap import discovery
from charter.bootstrap.responses import BEHAVIOUR
from charter.core.clock import rfc3339
from charter.core.errors import CharterError
from charter.lifecycle.finding_notice import finding_mail, finding_post
from charter.registry.record import FindingState

if TYPE_CHECKING:
    from charter.adapters.chat import Chat
    from charter.adapters.mailer import Mailer
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction

AT_ONCE = 20
MAX_TRIES = 8
LOOKED_BACK = dt.timedelta(days=1)  # at a start
_log = logging.getLogger("charter.notices")


@dataclass(slots=True)
class FindingNotices:
    """What owners are told by one node."""

    house: House
    mailer: Mailer | None
    chat: Chat | None
    _tries: dict[str, int] = field(default_factory=dict)
    _has_begun: bool = False

    async def round(self) -> None:
        """Tell what waits to be told; what cannot be told is tried again the next time."""
        waiting = self.house.behaviour.to_tell
        if not self._has_begun:
            await asyncio.to_thread(self._recall)
            self._has_begun = True
        for finding_id in [waiting.popleft() for _ in range(min(AT_ONCE, len(waiting)))]:
            tries = self._tries.pop(finding_id, 0) + 1
            try:
                await self._tell(finding_id, tries)
            except CharterError as err:
                _log.warning("the owner was not told of `%s`: %s", finding_id, err.detail)
                if tries < MAX_TRIES:
                    self._tries[finding_id] = tries
                    waiting.append(finding_id)

    def _recall(self) -> None:
        since = self.house.clock.now() - LOOKED_BACK
        waiting = self.house.behaviour.to_tell
        for each in self.house.database.read(lambda tx: tx.registry.findings.of_kinds((BEHAVIOUR,))):
            is_due = each.state is FindingState.OPEN and each.changed_at >= since
            if is_due and "told_at" not in each.body and each.id not in waiting:
                waiting.append(each.id)

    async def _tell(self, finding_id: str, number: int) -> None:
        house = self.house
        view = await asyncio.to_thread(discovery.finding, house, finding_id)
        principal = house.live.principals.get(self._principal_of(view))
        if view["state"] != FindingState.OPEN.value or principal is None:
            return
        link = f"{house.settings.issuer}/behaviour/{principal.name}"
        standing = principal.standing.value
        if self.mailer is not None and not house.live.directory.has_left(principal.owner_person):
            sender = house.settings.mail_from or ""
            mail = finding_mail(view, standing, sender=sender, to=principal.owner_person, link=link, number=number)
            await asyncio.to_thread(self.mailer.send, mail)
        if self.chat is not None:
            await self.chat.post(finding_post(house.settings.chat_format, view, standing, link=link))

        def work(tx: HouseTransaction) -> None:
            found = tx.registry.findings.get(finding_id)
            told = dict(found.body) | {"told_at": rfc3339(tx.at)}
            tx.registry.findings.update(replace(found, body=told))

        await house.database.awrite(work, patient=True)

    def _principal_of(self, view: dict[str, Any]) -> str:
        return next((self.house.live.ids.get(name, "") for name in view["principals"]), "")

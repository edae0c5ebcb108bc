"""Shared credentials, noticed and told: what the doors report of uses, and what becomes of it."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from charter.bootstrap.authority import move_within
from charter.core.clock import parse_rfc3339
from charter.core.errors import CharterError
from charter.evidence.entry import EntryKind
from charter.evidence.log import Query, query
from charter.evidence.payload import known
from charter.identity.sharing import Uses
from charter.identity.use import Deed, Use
from charter.lifecycle.sharing import ACTOR, Kept, keep
from charter.registry.charter import Sharing as Answer
from charter.registry.sharing import USUAL, Certainty, firmest

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.bootstrap.transaction import HouseTransaction
    from charter.identity.bearer import Attested, Bearer, Client
    from charter.identity.use import Contradiction
    from charter.registry.principal import Principal
    from charter.registry.standing import Move

RECALLED = dt.timedelta(days=1)  # how far back a process that starts looks for keys that were shown
PAGES = 20  # of a thousand entries each
_log = logging.getLogger("charter.sharing")


class SharingWatch:
    """What the doors tell of uses. `tell` keeps what a report returned, before the use goes on."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.uses = Uses(house.live, house.clock)

    def called(self, bearer: Bearer, source: str, system: str) -> tuple[Contradiction, ...]:
        """Report that a token is presented; return what that contradicts."""
        return self.uses.called(bearer, source, system)

    def issued(
        self, client: Client, marks: tuple[str, ...], *, source: str, token: str, entry: int
    ) -> tuple[Contradiction, ...]:
        """Report that a token was issued to whoever showed `marks`; return what that contradicts."""
        use = Use(
            principal_id=client.principal_id,
            credential=client.credential,
            deed=Deed.TOKEN,
            at=self._house.clock.now(),
            source=source,
            key=marks[0] if marks else None,
            token=token,
            entry=entry,
        )
        return self.uses.issued(use, marks)

    def attested(self, known: Attested, node: str = "") -> tuple[Contradiction, ...]:
        """Report that a process proved to be a principal; return what that contradicts."""
        return self.uses.attested(known, node)

    def asked_for(
        self, known: Attested, mark: str, source: str, *, is_made_here: bool = False
    ) -> tuple[Contradiction, ...]:
        """Report that an SVID is asked for, for the key `mark`; return what that contradicts.

        A key that was made here goes to the process itself; of another nobody proved that it is held.
        """
        at = self._house.clock.now()
        use = Use(known.principal_id, known.credential, Deed.SVID, at, source=source, key=mark, is_proved=is_made_here)
        return self.uses.asked_for(use, mark)

    async def notice(self, found: tuple[Contradiction, ...]) -> None:
        """Tell of what was found, if anything was."""
        if found:
            await self.tell(found)

    async def tell(self, found: Sequence[Contradiction]) -> list[Kept]:
        """Keep what was noticed, and let follow what policy says of it, before anything goes on.

        Raises:
            UnavailableError: it could not be made durable; nobody goes on then.
        """
        return [await self._house.database.awrite(lambda tx, each=each: self._keep(tx, each)) for each in found]  # type: ignore[misc]

    def answer_of(self, principal: Principal, certainty: Certainty) -> Answer:
        """Return what follows for `principal`: what its charter says, or what is usual, and no weaker than any rule."""
        own = principal.terms.usage.sharing if certainty is not Certainty.SEEN else None
        rules = self._house.live.central.sharing.value.rules
        asked = (getattr(rule, certainty.value) for rule in rules if self._covers(rule.scope, principal))
        return firmest([own or USUAL[certainty], *(each for each in asked if each is not None)])

    def recall(self) -> int:
        """Remember the keys that the evidence tells of, of the last day; return how many uses it told of.

        A use that cannot be read any more is passed over: it is one fewer to compare with.
        """
        since = self._house.clock.now() - RECALLED
        told: list[tuple[Use, list[str]]] = []  # newest first, as the log is read
        kinds = (EntryKind.AUTHENTICATION, EntryKind.SVID_ISSUED)
        cursor: str | None = None
        for _ in range(PAGES):
            wanted = Query(kinds=kinds, since=since, limit=1000, cursor=cursor)
            page = self._house.database.read_log(lambda log, wanted=wanted: query(log, wanted))  # type: ignore[misc]
            for stored in page.entries:
                found = _recalled(stored.to_json())
                if found is not None:
                    told.append(found)
            cursor = page.cursor
            if cursor is None:
                break
        for found in reversed(told):  # in the order of time: a key is whose showed it first
            self.uses.recall(*found)
        return len(told)

    # --- within ---

    def _keep(self, tx: HouseTransaction, found: Contradiction) -> Kept:
        house = self._house

        def stop(principal: Principal, to: Move, reason: str) -> None:
            move_within(house, tx, principal, to, actor=ACTOR, reason=reason)

        return keep(
            tx,
            found,
            answer_of=lambda principal: self.answer_of(principal, found.certainty),
            stop=stop,
            entropy=house.entropy,
        )

    def _covers(self, scope: Any, principal: Principal) -> bool:  # noqa: ANN401 - a registry.scope.Scope
        """Whether a rule is for `principal`; one whose tier cannot be told counts as covered."""
        try:
            return bool(
                scope.fits(
                    principal.kind,
                    principal.environment,
                    principal.owner_team,
                    lambda: self._house.slices.of(principal).risk.tier,
                )
            )
        except CharterError as err:
            _log.warning("the tier of %s cannot be told: %s", principal.name, err.detail)
            return True


def _recalled(entry: dict[str, Any]) -> tuple[Use, list[str]] | None:
    """Return the use that an entry tells of, and what was shown with it."""
    body, principal = entry["body"], entry["principal"]
    is_token = entry["kind"] == EntryKind.AUTHENTICATION.value
    if principal is None or (is_token and body.get("outcome") != "issued"):
        return None
    credential = body.get("key") if is_token else body.get("credential")
    if not isinstance(credential, str):
        return None
    if not is_token and body.get("type") != "x509-svid":
        return None
    one = body.get("bound_to") if is_token else body.get("key")
    shown = body.get("shown") or ([one] if one else [])
    deed = Deed.TOKEN if is_token else Deed.SVID
    use = Use(
        principal_id=principal,
        credential=credential,
        deed=deed,
        at=parse_rfc3339(entry["time"]),
        source=known(str(body.get("source", ""))),
        key=shown[0] if shown else None,
        token=body.get("token") if deed is Deed.TOKEN else None,
        entry=entry["index"],
        is_proved=is_token,
    )
    return use, [each for each in shown if isinstance(each, str)]

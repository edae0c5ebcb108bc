"""The console's way to the house. Satisfies console.desk.Desk with the same functions the control API calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charter.bootstrap import (
    authority,
    behaviour_views,
    call_story,
    composition,
    consents,
    credential_ages,
    delegation,
    discovery,
    erasing,
    inventory,
    notices,
    plan_proposals,
    right_sizing,
    rotation,
    rules,
    sessions,
    signin,
    sinks,
    size_answers,
    stand_ins,
)
from charter.bootstrap import pictures as drawings
from charter.bootstrap import review as reviews
from charter.bootstrap import split as splitting
from charter.bootstrap import why as explanations
from charter.evidence.entry import Draft, EntryKind
from charter.identity import passkey
from charter.identity.asking import WayBack
from charter.identity.consent import digest_of_secret
from charter.registry.approval import MAX_CARDS
from charter.reports.picture import Picture

if TYPE_CHECKING:
    from charter.bootstrap.house import House
    from charter.identity.asking_client import AskingClient
    from charter.identity.passkey import Answer, Place
    from charter.identity.single_signon import Identity
    from charter.registry.access import Access
    from charter.registry.passkey import Passkey
    from charter.registry.repeat import Terms
    from charter.registry.standing import Move
    from charter.reports.session import Graph

Json = dict[str, Any]
SESSIONS_SINCE = "90d"  # how far back one session is looked for


@dataclass(frozen=True, slots=True)
class HouseDesk:
    """The desk of one house."""

    house: House

    def inventory(self, filters: Mapping[str, str]) -> list[Json]:
        """Return the registered principals by name."""
        return inventory.listing(self.house, dict(filters))

    def dossier(self, name: str) -> Json:
        """Return one principal whole."""
        return inventory.dossier(self.house, name)

    async def move(self, name: str, move: Move, *, actor: str, reason: str) -> Json:
        """Change a standing."""
        return await authority.move(self.house, name, move, actor=actor, reason=reason)

    def verdicts(
        self, after: int | None, limit: int, *, principal: str | None = None, verdict: str | None = None
    ) -> Json:
        """Return recorded verdicts in the log's order, and the cursor to go on from."""
        return inventory.verdicts(self.house, after, limit, principal=principal, verdict=verdict)

    def credentials(self) -> Json:
        """Return every credential with its age."""
        return credential_ages.ages(self.house)

    async def rotate_own(self, kind: str, *, at_once: bool, actor: str, reason: str) -> Json:
        """Replace one of Charter's own signing keys or authorities."""
        return await authority.rotate(self.house, kind, actor=actor, reason=reason, at_once=at_once)

    async def rotate_key(self, name: str, key_id: str, *, at_once: bool, actor: str, reason: str) -> Json:
        """Have a principal's key replaced by its client, or revoke it at once."""
        return await rotation.rotate_key(self.house, name, key_id, None, rotation.Wish(actor, reason, at_once))

    def story(self, verdict_id: str) -> Json:
        """Return all evidence of one verdict."""
        return call_story.tell(self.house, verdict_id)

    def keeping(self) -> Json:
        """Return how evidence is kept: retention, holds, witnesses."""
        told = {"retention": self.house.retaining.listing(), "witnesses": self.house.witnesses.listing()}
        return told | erasing.holds(self.house)

    async def erase(self, wanted: Mapping[str, Any], *, actor: str, reason: str, really: bool) -> Json:
        """Erase payloads, or say what that would be."""
        return await erasing.erase_evidence(self.house, dict(wanted), actor=actor, reason=reason, really=really)

    async def hold(self, wanted: Mapping[str, Any], *, actor: str, reason: str) -> Json:
        """Place a hold."""
        return await erasing.hold(self.house, dict(wanted), actor=actor, reason=reason)

    async def release_hold(self, hold_id: str, *, actor: str, reason: str) -> Json:
        """Release a hold."""
        return await erasing.release(self.house, hold_id, actor=actor, reason=reason)

    def sessions(self, name: str) -> Json:
        """Return a principal's sessions of the last week."""
        return sessions.listing(self.house, name)

    def session(self, name: str, session_id: str) -> tuple[Json, Graph]:
        """Return one session of a principal, and its graph."""
        found, graph = sessions.drawn(self.house, session_id, name=name, since=SESSIONS_SINCE)
        return found.summary() | {"calls": [each.to_json() for each in found.steps]}, graph

    def why(self, verdict_id: str) -> Json:
        """Return why a recorded call was decided so."""
        return explanations.recorded(self.house, verdict_id)

    def approvals(self, every: bool) -> list[Json]:
        """Return the calls that wait for a person, oldest first."""
        found = inventory.approvals(self.house, every=every)
        shown = found[::-1]
        cards = inventory.approval_cards(self.house, shown[:MAX_CARDS])
        return [*cards, *map(inventory.approval_view, shown[MAX_CARDS:])]

    def linked(self, token: str) -> Json:
        """Return whom a link in a mail is for, and its approval."""
        return notices.linked(self.house, token)

    async def answer_by_link(self, token: str, yes: bool, *, reason: str, signed_in: str | None) -> Json:
        """Record the answer of whoever a link was sent to."""
        return await notices.answer_by_link(self.house, token, yes=yes, reason=reason, signed_in=signed_in)

    def unanswered(self) -> int:
        """Return how many calls wait for a person."""
        return len(inventory.approvals(self.house, every=False))

    async def answer(
        self, approval_id: str, yes: bool, *, person: str, reason: str, further: Terms | None = None
    ) -> Json:
        """Record a person's yes or no, and their yes to further calls like it."""
        return await authority.answer(self.house, approval_id, yes=yes, person=person, reason=reason, further=further)

    def repeats(self) -> list[Json]:
        """Return the yeses to further calls that count now."""
        return list(inventory.repeats(self.house)["repeats"])

    async def end_repeat(self, repeat_id: str, *, person: str, reason: str) -> Json:
        """Take a yes to further calls back."""
        return await authority.end_repeat(self.house, repeat_id, person=person, reason=reason)

    def plans(self) -> list[Json]:
        """Return the plans that were proposed, newest first."""
        return plan_proposals.listing(self.house)

    async def answer_plan(self, digest: str, yes: bool, *, person: str, reason: str) -> Json:
        """Record a person's yes or no to a proposed plan."""
        return await plan_proposals.answer(self.house, digest, yes=yes, person=person, reason=reason)

    def stand_ins(self) -> list[Json]:
        """Return who stands in for whom now."""
        return list(stand_ins.listing(self.house)["stand_ins"])

    async def name_stand_in(self, *, person: str, by: str, until: dt.date, reason: str) -> Json:
        """Let somebody answer in a person's roles until the end of a day."""
        return await stand_ins.name(self.house, person=person, by=by, until=until, reason=reason)

    async def end_stand_in(self, *, person: str, reason: str) -> Json:
        """Let nobody answer in a person's roles any more."""
        return await stand_ins.end(self.house, person=person, reason=reason)

    def rules(self) -> list[Json]:
        """Return what the organisation lays down, as it is in force."""
        return rules.listing(self.house)

    def sinks(self) -> list[Json]:
        """Return where evidence is sent to."""
        return sinks.listing(self.house)

    def right_size(self, name: str) -> Json:
        """Return a narrower charter for a principal."""
        return right_sizing.right_size(self.house, name)

    async def answer_size(self, name: str, word: str, wanted: Mapping[str, str], *, person: str, reason: str) -> Json:
        """Take what is proposed, keep a piece of it, or dismiss it."""
        said = size_answers.Said(person, reason)
        if word == "accept":
            return await size_answers.accept(self.house, name, wanted["proposal"], said)
        key = wanted["key"] if word == "keep" else None
        return await size_answers.keep(self.house, name, said, key=key, until=wanted["until"] or None)

    def signals(self, principal: str | None = None) -> Json:
        """Return what was noticed of behaviour, newest first."""
        return behaviour_views.signals(self.house, principal=principal, since="90d")

    def behaviour(self, name: str) -> Json:
        """Return what one principal usually does, and what was noticed of it."""
        return behaviour_views.view(self.house, name)

    async def accept_behaviour(self, name: str, feature: str, key: str, *, until: str, actor: str, reason: str) -> Json:
        """Record that something is normal for a principal until a moment."""
        return await behaviour_views.accept(self.house, name, feature, key, until=until, actor=actor, reason=reason)

    async def accept_signal(self, name: str, finding_id: str, *, until: str, actor: str, reason: str) -> Json:
        """Record that all of what a finding of behaviour says is normal for a principal until a moment."""
        return await behaviour_views.accept_finding(
            self.house, name, finding_id, until=until, actor=actor, reason=reason
        )

    def compositions(self) -> list[Json]:
        """Return the principals of which something is pinned."""
        return composition.listing(self.house)

    def composition(self, name: str) -> Json:
        """Return what one principal is made of."""
        return composition.view(self.house, name)

    async def accept_composition(self, name: str, change: str, *, person: str, reason: str) -> Json:
        """Record that a person accepts what a principal is made of now."""
        return await composition.review(self.house, name, change, person=person, reason=reason)

    def delegations(self, wanted: Mapping[str, str]) -> Json:
        """Return the delegations that have not ended, newest first."""
        return delegation.listing(self.house, dict(wanted))

    def delegation(self, delegation_id: str) -> Json:
        """Return one delegation with its chain."""
        return delegation.show(self.house, delegation_id)

    async def lend(self, *, person: str, borrower: str, purpose: str, lasts: str | None, reason: str) -> Json:
        """Let a person lend authority to a principal."""
        asked = delegation.Lending(person, borrower, purpose, lasts=lasts)
        return await delegation.make(self.house, asked, actor=person, door="console", reason=reason)

    async def withdraw(self, wanted: Mapping[str, str], *, actor: str, reason: str) -> Json:
        """Withdraw delegations."""
        return await delegation.withdraw(self.house, dict(wanted), actor=actor, reason=reason)

    async def switch(self, lender: str, borrower: str, *, is_on: bool, actor: str, reason: str) -> Json:
        """Switch an edge of delegation off or on."""
        return await delegation.switch(self.house, lender, borrower, is_on=is_on, actor=actor, reason=reason)

    async def pictures(self, wanted: Mapping[str, str]) -> list[Picture]:
        """Return the pictures of a period."""
        return await drawings.pictures(self.house, _review(wanted))

    async def review(self, wanted: Mapping[str, str]) -> Json:
        """Return the five questions, answered."""
        return await reviews.answers(self.house, _review(wanted))

    def findings(self) -> list[Json]:
        """Return what was found or noticed, newest first."""
        return discovery.listing(self.house)

    def finding(self, finding_id: str) -> Json:
        """Return one finding, with the entries that it names."""
        return discovery.finding(self.house, finding_id)

    async def settle_finding(self, finding_id: str, state: str, *, actor: str, reason: str) -> Json:
        """Move a finding on a person's word."""
        return await discovery.settle(self.house, finding_id, state, actor=actor, reason=reason)

    async def split(self, name: str, *, since: str | None, by: list[str]) -> Json:
        """Return who is behind an account."""
        return await splitting.split(self.house, name, since=since, by=by)

    def status(self) -> Json:
        """Return whether the node is well, and what it holds."""
        return inventory.status(self.house)

    async def admit(self, identity: Identity, *, source: str) -> Access:
        """Return the access of a person whose provider vouches for them, with the sign-in recorded."""
        return await signin.admit(self.house, identity, source=source, door="console")

    async def asking_client(self, client_id: str, redirect_uri: str | None) -> tuple[AskingClient, str]:
        """Return which client asks for a person's consent, and where its answer goes."""
        return await consents.asking(self.house, client_id, redirect_uri)

    def consent_card(self, principal_id: str, resource: str) -> Json:
        """Return what a person is shown before they agree."""
        return consents.card(self.house, principal_id, resource)

    async def consent(
        self, principal_id: str, resource: str, purpose: str, *, person: str, secret: str, back: WayBack
    ) -> None:
        """Lend what a person agreed to in a browser."""
        agreed = consents.Consent(person.lower(), principal_id, resource, purpose, "browser", back)
        await consents.grant(self.house, agreed, pickup=digest_of_secret(secret))

    async def consent_to_device(
        self, principal_id: str, resource: str, purpose: str, *, person: str, pickup: bytes
    ) -> None:
        """Lend what a person agreed to for a device."""
        agreed = consents.Consent(person.lower(), principal_id, resource, purpose, "device")
        await consents.grant(self.house, agreed, pickup=f"sha256:{pickup.hex()}")

    def passkeys(self) -> list[Passkey]:
        """Return the local operator's passkeys."""
        return self.house.database.read(lambda tx: tx.passkeys.all())

    async def add_passkey(self, answer: Answer, place: Place, *, person: str, name: str) -> Passkey:
        """Keep the passkey that a device made."""
        entropy = self.house.entropy
        return await self.house.database.awrite(
            lambda tx: passkey.add_passkey(tx, answer, place, person=person, name=name, entropy=entropy)
        )

    async def use_passkey(self, answer: Answer, place: Place) -> Passkey | None:
        """Return the passkey that answered, or None if it opens nothing."""
        return await self.house.database.awrite(lambda tx: passkey.use_passkey(tx, answer, place))

    async def revoke_passkey(self, passkey_id: str, *, person: str) -> Passkey:
        """Let a passkey open nothing any more."""
        return await self.house.database.awrite(lambda tx: passkey.revoke_passkey(tx, passkey_id, person=person))

    async def signed_in(self, *, person: str, source: str, door: str = "console") -> None:
        """Record durably that `person` signed in."""
        draft = Draft(EntryKind.OPERATOR_SIGNED_IN, person, None, {"person": person, "source": source, "door": door})
        await self.house.database.awrite(lambda tx: tx.record(draft))


def _review(wanted: Mapping[str, str]) -> reviews.Review:
    """Return what is asked of the evidence, by the names that pages use."""
    return reviews.Review(
        since=wanted.get("since"),
        until=wanted.get("until"),
        team=wanted.get("team"),
        kind=wanted.get("kind"),
        system=wanted.get("system"),
        principal=wanted.get("principal"),
    )

"""What the console asks of the house: a port with exactly the methods its pages call.

Answers are plain JSON, in the shapes the control API gives to the CLI, so the console and the CLI show the same facts.
Times are RFC 3339 in UTC, days are `2027-11-02`.

The synchronous methods only read. They are called from worker threads, perhaps several at once, so that a slow read
never holds up the event loop the gateways run on. All methods raise errors of the CharterError family and no others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from charter.identity.asking import WayBack
from charter.identity.asking_client import AskingClient
from charter.identity.passkey import Answer, Place
from charter.identity.single_signon import Identity
from charter.registry.access import Access
from charter.registry.passkey import Passkey
from charter.registry.repeat import Terms
from charter.registry.standing import Move
from charter.reports.picture import Picture
from charter.reports.session import Graph

Json = dict[str, Any]


class Desk(Protocol):
    """The facts the console shows and the deeds it can ask for."""

    def inventory(self, filters: Mapping[str, str]) -> list[Json]:
        """Return the registered principals by name; `filters` may hold team, kind, environment and standing.

        A desk may end the list at a bound of its own, after filtering; `status` tells how many there are.

        Each: name, id, kind, environment, owner {person, team}, purpose, model {provider, name}, data [], systems [],
        state_changing, irreversible, approved {by, role, on}, credential, review (`90d`), expires, standing, chosen,
        held_by [], composition {digest, change} or None, version, digest, spiffe_id.
        """
        ...

    def dossier(self, name: str) -> Json:
        """Return one principal whole: what `inventory` says of it, and what follows.

        findings that are open [{id, kind, title}], charter (its JSON), policy (Cedar text),
        keys [{id, thumbprint, standing, registered_at}], waiting
        [approvals], leases that are open [{id, system, state, rights [{action, on}], ends_at, overdue, error}],
        recent [{time, verdict, system, tool, action, object, why, mend, rule, source, layer,
        verdict_id}], newest first.

        Raises:
            AbsentError: no principal has this name.
        """
        ...

    async def move(self, name: str, move: Move, *, actor: str, reason: str) -> Json:
        """Change a standing; return before, after, steps [{ms, what}].

        Raises:
            AbsentError: no principal has this name.
            ConflictError: the move is not legal from its standing.
        """
        ...

    def verdicts(
        self, after: int | None, limit: int, *, principal: str | None = None, verdict: str | None = None
    ) -> Json:
        """Return recorded verdicts in the log's order: entries, and next, the cursor to go on from.

        With `after`, the first `limit` whose index is above it; without, the newest `limit`. `principal` (a name) and
        `verdict` (allow, deny, escalate) leave others out. `next` is the index of the last entry looked at, of
        whatever kind, -1 in an empty log. Each entry: index, time, principal (its name), verdict, system, tool, why,
        rule, layer, verdict_id.
        """
        ...

    def story(self, verdict_id: str) -> Json:
        """Return the story of one call (reports/call_story.py), and entries [{time, index, kind, lines []}].

        Raises:
            AbsentError: no such verdict.
        """
        ...

    def sessions(self, name: str) -> Json:
        """Return a principal's sessions of the last week: principal, since, sessions [], is_whole.

        Each: session, run, delegation, initiator, first, last, steps, verdicts {}, systems [], exposed, data [].

        Raises:
            AbsentError: no principal has this name.
        """
        ...

    def session(self, name: str, session_id: str) -> tuple[Json, Graph]:
        """Return one session of a principal (what `sessions` says, and calls []), and its graph.

        Raises:
            AbsentError: no principal has this name, or it has no such session.
        """
        ...

    def why(self, verdict_id: str) -> Json:
        """Return why a recorded call was decided so, by what held then.

        verdict_id, index, at, sentence, lacking, call {principal, system, tool, action, object, chain}, recorded
        {verdict, reasons [{rule, text, mend, source, layer, link}]}, agrees (None: it was not decided again),
        difference, held_then {charter {version, digest}, slice}, notes [], replayed {verdict, mend [], rules [{rule,
        kind, link, source, outcome, needs [], decided, conditions [{condition, met, given}]}], unlisted}.

        Raises:
            AbsentError: no such verdict.
        """
        ...

    def plans(self) -> list[Json]:
        """Return the plans that were proposed within as long as a yes is good for, newest first.

        Each: plan, by, at, reason, changes [], effects [{principal, others, conclusion, seat, why, note, gains [],
        losses [], not_proven [], terms [], duties [], rules [], left}; a plan from before may lack some], needs
        [{seat, for [], why [], given [], people []}], refused [{person, reason}], state.
        """
        ...

    async def answer_plan(self, digest: str, yes: bool, *, person: str, reason: str) -> Json:
        """Record a person's yes at every seat they may take, or their no; return the plan as it stands now.

        Raises:
            AbsentError: no such plan was proposed.
            ConflictError: it is outdated.
            DeniedError: the person holds none of the seats whose yes it needs.
        """
        ...

    def stand_ins(self) -> list[Json]:
        """Return who stands in for whom now: each person, by, last_day, reason."""
        ...

    async def name_stand_in(self, *, person: str, by: str, until: dt.date, reason: str) -> Json:
        """Let somebody answer in a person's roles until the end of a day.

        Raises:
            MalformedError: that is too long, or one of them is nobody.
        """
        ...

    async def end_stand_in(self, *, person: str, reason: str) -> Json:
        """Let nobody answer in a person's roles any more.

        Raises:
            AbsentError: nobody does.
        """
        ...

    def rules(self) -> list[Json]:
        """Return what the organisation lays down, as it is in force.

        Each: name, on, force, for, asks, lifted_by [role], set_aside_by [principal], reason, answers [text], source.
        """
        ...

    def sinks(self) -> list[Json]:
        """Return where evidence is sent to.

        Each: name, to, form, state (ok, behind, failing), backlog, oldest, waited_seconds, sent, failures, error,
        failed_at, warnings [text].
        """
        ...

    def right_size(self, name: str) -> Json:
        """Return a narrower charter for a principal, as `charter right-size --json` has it.

        Raises:
            AbsentError: no principal has this name.
        """
        ...

    async def answer_size(self, name: str, word: str, wanted: Mapping[str, str], *, person: str, reason: str) -> Json:
        """Take what is proposed (`accept`: `proposal`), keep a piece (`keep`: `key`, `until`), or `dismiss` all of it.

        Raises:
            AbsentError: no principal has this name.
            MalformedError: a day or a piece is none.
            ConflictError: it is not what was looked at, or was taken before.
            DeniedError: the person does not answer for it.
        """
        ...

    def approvals(self, every: bool) -> list[Json]:
        """Return the calls that wait for a person, or with `every` the answered ones too, oldest first.

        Each: id, state, call {principal, system, tool, action, effect, object, arguments {}, why []}, roles [],
        given {role: person}, missing [], asked_at, expires_at, verdict_id; of the oldest, also their card
        (lifecycle/approval_card).
        """
        ...

    def linked(self, token: str) -> Json:
        """Return whom a link in a mail is for, and its approval: person, spent, approval (as of `approvals`).

        Raises:
            AbsentError: there is no such link.
        """
        ...

    async def answer_by_link(self, token: str, yes: bool, *, reason: str, signed_in: str | None) -> Json:
        """Record the yes or no of whoever a link was sent to; the link is spent. `signed_in`: who is, if anybody.

        Raises:
            AbsentError: there is no such link, or it was used.
            ConflictError, DeniedError: as of `answer`; somebody else is signed in.
        """
        ...

    def unanswered(self) -> int:
        """Return how many calls wait for a person."""
        ...

    def repeats(self) -> list[Json]:
        """Return the yeses to further calls that count now."""
        ...

    async def end_repeat(self, repeat_id: str, *, person: str, reason: str) -> Json:
        """Take a yes to further calls back; return what was left of it.

        Raises:
            AbsentError: there is none of this id any more.
        """
        ...

    async def answer(
        self, approval_id: str, yes: bool, *, person: str, reason: str, further: Terms | None = None
    ) -> Json:
        """Record a person's yes or no; return the approval as it stands now.

        `further` says which calls like it are approved besides.

        Raises:
            AbsentError: no such approval.
            ConflictError: it does not wait any more.
            DeniedError: the person may not approve it, or the principal may not act.
        """
        ...

    def signals(self, principal: str | None = None) -> Json:
        """Return what was noticed of behaviour in three months, newest first: signals [], watch {}.

        Each signal: id, principal, at, noticed_at, lag_ms, deed, effect, verdict_id, index, score, by_session, count,
        finding, contributions [{feature, key, bits, sentence}].
        """
        ...

    def behaviour(self, name: str) -> Json:
        """Return what one principal usually does, and what was noticed of it.

        principal, owner, standing, is_young, needs, peers {group, calls}, thresholds, baseline {}, narrowing [],
        signals [] as above, accepted [{id, feature, key, until, by, reason, at}], responses [{finding, rule, does,
        began_at, until}].

        Raises:
            AbsentError: there is no such principal.
        """
        ...

    async def accept_behaviour(self, name: str, feature: str, key: str, *, until: str, actor: str, reason: str) -> Json:
        """Record that something is normal for a principal until a moment; return what was accepted, and the standing.

        Raises:
            AbsentError: there is no such principal.
            MalformedError: the feature, the key or the end is none.
            ConflictError: too much is accepted of it already.
        """
        ...

    async def accept_signal(self, name: str, finding_id: str, *, until: str, actor: str, reason: str) -> Json:
        """Record that all of what a finding of behaviour says is normal; return principal, accepted [], until, settled.

        Raises:
            AbsentError: there is no such principal or finding.
            MalformedError: the end is none.
            ConflictError: it is no finding of its behaviour, or settled already.
        """
        ...

    def keeping(self) -> Json:
        """Return how evidence is kept: retention, holds [] and witnesses, each as the control API tells it.

        retention {rules [{rule, period, before, swept_at}], under_way, elsewhere [{log,
        orders}], holds}; holds [{id, reason, placed_by,
        placed_at, principal, system, person, since, until}]; witnesses {size, quorum, cosigned,
        cosigned_by, backlog, witnesses [{name, url, size, at, error, cosigned}], kept [{folder, size, error}]}.
        """
        ...

    async def erase(self, wanted: Mapping[str, Any], *, actor: str, reason: str, really: bool) -> Json:
        """Erase what `wanted` names (`entry`, `person`, `principal`, `system`, `since`, `before`), or say what that is.

        Returns found, held, erased, the first entries [{index, time, kind, log}] (log: of another node), and elsewhere
        [{log, found, held}]: what of it stands in logs of other nodes, which erase it when they next run.

        Raises:
            MalformedError: nothing is named, or a time is none.
            AbsentError: there is no such principal or entry.
        """
        ...

    async def hold(self, wanted: Mapping[str, Any], *, actor: str, reason: str) -> Json:
        """Place a hold on what `wanted` names, as in `erase` but for `entry`; return it.

        Raises:
            MalformedError: nothing is named, or there are too many.
            AbsentError: there is no such principal.
        """
        ...

    async def release_hold(self, hold_id: str, *, actor: str, reason: str) -> Json:
        """Release a hold; return it.

        Raises:
            AbsentError: none of that id stands.
        """
        ...

    def compositions(self) -> list[Json]:
        """Return the principals of which something is pinned; those that wait for a review first.

        Each: principal, standing, digest, parts (how many), kinds [], attested [], change, changed [], reviewer.
        """
        ...

    def composition(self, name: str) -> Json:
        """Return what one principal is made of.

        principal, standing, digest, accepted_by, accepted_at, on_change, reviewer, reviewers [], parts [{part, kind,
        accepted [], declared [], seen {value, by, at} or None, attested_by, must_be_attested}], change, now, changes
        [{part, was [], now [], told_by, at, applied_by, is_back}], finding.

        Raises:
            AbsentError: there is no such principal, or nothing of it is pinned.
        """
        ...

    async def accept_composition(self, name: str, change: str, *, person: str, reason: str) -> Json:
        """Record that a person accepts what a principal is made of now; return it as `composition` does, and before.

        Raises:
            AbsentError: there is no such principal, or nothing of it is pinned.
            ConflictError: something else waits than `change`, or nothing.
            DeniedError: the person may not review it.
        """
        ...

    def credentials(self) -> Json:
        """Return every credential with its age: credentials, principals (how many credentials they have), overdue.

        Each: kind, of, id, since, age_days, next, ends, by, overdue; Charter's own are of `charter`.
        """
        ...

    async def rotate_own(self, kind: str, *, at_once: bool, actor: str, reason: str) -> Json:
        """Replace one of Charter's own signing keys or authorities; return use, key_id, state.

        Raises:
            MalformedError: it does not go at once.
        """
        ...

    async def rotate_key(self, name: str, key_id: str, *, at_once: bool, actor: str, reason: str) -> Json:
        """Have a principal's key replaced by its client, or revoke it; return principal, before, after, state, ends.

        Raises:
            AbsentError: there is no such principal or key.
            ConflictError: it is replaced already, or in use no more.
        """
        ...

    def delegations(self, wanted: Mapping[str, str]) -> Json:
        """Return delegations [] that have not ended, newest first, live (how many in all), off [{lender, borrower}].

        `wanted` may hold person, agent, purpose and link; a desk may end the list at a bound of its own. Each: id,
        rests_on, initiator, lender, borrower, role, control_plane, purpose, scope [], made, expires, standing, usable,
        why, accepted, made_by, door, reason, withdrawn_by.

        Raises:
            AbsentError: no principal has the name `agent`.
        """
        ...

    def delegation(self, delegation_id: str) -> Json:
        """Return one, with links [] and chain [{name, role, control_plane, credential, delegation}], initiator first.

        Raises:
            AbsentError: there is no such delegation.
        """
        ...

    async def lend(self, *, person: str, borrower: str, purpose: str, lasts: str | None, reason: str) -> Json:
        """Let `person` lend what they may do to a principal, as its charter allows; return the delegation.

        Raises:
            AbsentError: there is no such principal.
            DeniedError: its charter does not allow it.
            MalformedError: `lasts` is no duration.
        """
        ...

    async def withdraw(self, wanted: Mapping[str, str], *, actor: str, reason: str) -> Json:
        """Withdraw what is `wanted`; return count, index, and what ended with it: beneath, streams, permits.

        Raises:
            AbsentError: there is none.
        """
        ...

    async def switch(self, lender: str, borrower: str, *, is_on: bool, actor: str, reason: str) -> Json:
        """Switch off or on whether `lender`, a principal, a person or `humans`, may lend to `borrower`.

        Raises:
            AbsentError: there is no such principal.
        """
        ...

    async def pictures(self, wanted: Mapping[str, str]) -> Sequence[Picture]:
        """Return the pictures of a period, narrowed as the review is, and by principal.

        Raises:
            MalformedError: a time cannot be read, or the period is empty.
        """
        ...

    async def review(self, wanted: Mapping[str, str]) -> Json:
        """Return since, until, notes [], questions [{question, meaning, columns [], rows [[]], total, sentence, sql}].

        `wanted` may hold since, until, team, kind, system and principal.

        Among the columns are `principal` and `sentence`, which says the row and begins with the principal.
        """
        ...

    def findings(self) -> list[Json]:
        """Return what was found or noticed, newest first.

        Each: id, kind, state, title, body {}, principals [names], first_seen, last_seen, count.
        """
        ...

    def finding(self, finding_id: str) -> Json:
        """Return one with its entries [{time, index, kind, lines []}].

        Raises:
            AbsentError: there is none of that id.
        """
        ...

    async def settle_finding(self, finding_id: str, state: str, *, actor: str, reason: str) -> Json:
        """Move a finding on a person's word: accepted, resolved or open.

        Raises:
            AbsentError: there is none of that id.
            ConflictError: it is so already.
        """
        ...

    async def split(self, name: str, *, since: str | None, by: list[str]) -> Json:
        """Return who is behind an account.

        calls, since, until, by [], considered [], proposals [], rest, problems [], plan [].

        Raises:
            AbsentError: no principal has this name, or the evidence has no call of it.
            MalformedError: a time or a feature is none.
        """
        ...

    def status(self) -> Json:
        """Return at least version, node, issuer, principals, systems, healthy, log_size, and what must be seen to.

        leases {in_use, overdue}, compositions {pinned, changed}.
        """
        ...

    async def admit(self, identity: Identity, *, source: str) -> Access:
        """Return the access of a person whose provider vouches for them, with the sign-in recorded.

        Raises:
            DeniedError: they may not come in.
            UnavailableError: it could not be recorded; then nobody comes in.
        """
        ...

    async def asking_client(self, client_id: str, redirect_uri: str | None) -> tuple[AskingClient, str]:
        """Return which client asks for a person's consent, and where its answer goes.

        Raises:
            AbsentError: no principal goes by that client.
            MalformedError: the redirect address is not one of its own.
            UnavailableError: its metadata cannot be had.
        """
        ...

    def consent_card(self, principal_id: str, resource: str) -> Json:
        """Return what a person is shown before they agree.

        principal, kind, environment, owner {}, system (None where nothing is at `resource`), title, actions [{name,
        effect}], purposes [], lends, lasts.
        """
        ...

    async def consent(
        self, principal_id: str, resource: str, purpose: str, *, person: str, secret: str, back: WayBack
    ) -> None:
        """Lend what a person agreed to; the client picks it up with `secret` within a minute.

        Raises:
            DeniedError: the charter does not allow it.
        """
        ...

    async def consent_to_device(
        self, principal_id: str, resource: str, purpose: str, *, person: str, pickup: bytes
    ) -> None:
        """Lend what a person agreed to; the device picks it up with the secret whose SHA-256 is `pickup`.

        Raises:
            DeniedError: the charter does not allow it.
        """
        ...

    def passkeys(self) -> list[Passkey]:
        """Return the local operator's passkeys, oldest first, revoked ones too."""
        ...

    async def add_passkey(self, answer: Answer, place: Place, *, person: str, name: str) -> Passkey:
        """Keep the passkey that a device made.

        Raises:
            UnauthenticatedError: the answer does not verify.
            ConflictError: it is known already, or there are too many.
        """
        ...

    async def use_passkey(self, answer: Answer, place: Place) -> Passkey | None:
        """Return the passkey that answered, or None if it opens nothing."""
        ...

    async def revoke_passkey(self, passkey_id: str, *, person: str) -> Passkey:
        """Let a passkey open nothing any more.

        Raises:
            AbsentError: there is no such passkey in use.
        """
        ...

    async def signed_in(self, *, person: str, source: str, door: str = "console") -> None:
        """Record durably that `person` signed in from the address `source`; `door` says to what.

        Raises:
            UnavailableError: it could not be recorded; then nobody is signed in.
        """
        ...

"""Noticing that a credential is shared: each use is held against those before it.

    issued      a token was issued: which keys, subjects and workloads stand behind it, and where it was asked for
    called      a token was presented
    attested    a process proved to be a principal
    asked_for   an SVID was asked for, for a key that the asker did not prove to hold

What is said is what can be known here: that one key stands behind two principals, or two attested workloads; that a use
contradicts what a charter or `sharing.yaml` says; that one credential comes from two places by turns. No map of the
world is consulted: an address is in a place that a person named, or among its neighbours.

INVARIANT: the usual case, the same sender as before, costs a few look-ups and no more.
INVARIANT: everything here is remembered in memory, for minutes (uses) or as long as there is room (keys). What is found
is durable, since whoever is told of it keeps it (lifecycle/sharing.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from charter.core.clock import Clock
from charter.identity.bearer import Attested, Bearer
from charter.identity.lately import Lately
from charter.identity.marks import CLIENT_MARK, SUBJECT_MARK, Marks
from charter.identity.trail import WINDOW_SECONDS, Span, Trail
from charter.identity.use import Contradiction, Deed, Sharing, Use
from charter.identity.whereabouts import Whereabouts
from charter.registry.declared import WORKLOAD, conditions_of
from charter.registry.place import Place
from charter.registry.principal import ClientKey, LiveEstate, Principal
from charter.registry.sharing import Certainty
from charter.registry.standing import Standing
from charter.registry.terms import ANYHOW, Usage

MAX_FOLLOWED = 50_000  # credentials, and tokens, whose senders are told apart at a time
MAX_TOLD = 10_000
AGAIN_SECONDS = 60.0  # how often the same is told again
_WORDS = {SUBJECT_MARK: "subject of another issuer", CLIENT_MARK: "public client"}
NOTHING: tuple[Contradiction, ...] = ()


@dataclass(slots=True)
class _Followed:
    """What is remembered of one credential or token."""

    source: str  # of the last use
    usage: Usage  # what the charter said then
    trail: Trail[Use]
    place: Place


class Uses:
    """The uses of credentials lately. All but `holder_of` is called on one thread."""

    def __init__(self, live: LiveEstate, clock: Clock) -> None:
        self._live, self._clock = live, clock
        self._marks = Marks()
        self._where = Whereabouts(live)
        self._credentials: Lately[_Followed] = Lately(WINDOW_SECONDS, MAX_FOLLOWED)
        self._tokens: Lately[_Followed] = Lately(WINDOW_SECONDS, MAX_FOLLOWED)
        self._instances: Lately[Trail[Use]] = Lately(WINDOW_SECONDS, MAX_FOLLOWED)
        self._issued: Lately[int] = Lately(2 * WINDOW_SECONDS, MAX_FOLLOWED)  # where the evidence has a token
        self._told: Lately[list[float]] = Lately(10 * AGAIN_SECONDS, MAX_TOLD)

    # --- what is seen ---

    def called(self, bearer: Bearer, source: str, system: str) -> tuple[Contradiction, ...]:
        """Return what it contradicts that `bearer`'s token is presented from `source`, for `system`."""
        now, principal = self._clock.monotonic(), self._live.principals.get(bearer.principal_id)
        usage = principal.terms.usage if principal is not None else ANYHOW
        if usage.instances is None and self._is_as_before(self._credentials, bearer.credential, source, usage, now):
            is_known = bearer.bound_to is not None
            if is_known or self._is_as_before(self._tokens, bearer.token_id, source, usage, now):
                return NOTHING
        if principal is None:
            return NOTHING
        place, at = self._where.place(source), self._clock.now()
        key = bearer.bound_to.thumbprint if bearer.bound_to else None
        entry = self._issued.get(bearer.token_id, now)
        use = Use(
            principal_id=principal.id,
            credential=bearer.credential,
            deed=Deed.CALL,
            at=at,
            source=source,
            place=place.name,
            key=key,
            token=bearer.token_id,
            entry=entry,
        )
        found = [*self._elsewhere(principal, use)]
        if bearer.bound_to is None:
            found += self._by_turns(self._tokens, bearer.token_id, Sharing.TOKEN, principal, use, now)
        found += self._by_turns(self._credentials, bearer.credential, Sharing.PLACES, principal, use, now)
        found += self._instanced(principal, f"call {principal.id} {system}", key or place.name, use, now)
        return self._worth_telling(found, now)

    def issued(self, use: Use, marks: Iterable[str]) -> tuple[Contradiction, ...]:
        """Return what it contradicts that a token was issued to whoever showed `marks`."""
        now, principal = self._clock.monotonic(), self._live.principals.get(use.principal_id)
        if principal is None:
            return NOTHING
        if use.token is not None and use.entry is not None:
            self._issued.put(use.token, use.entry, now)
        credential = self._live.keys.get(use.credential)
        place = self._where.place(use.source)
        use = replace(use, place=place.name, workload=_workload(credential) or use.workload)
        found = [
            each
            for mark in _shown(credential, marks)
            for each in self._showed(mark, replace(use, is_proved=_is_key(mark)))
        ]
        found += self._elsewhere(principal, use)
        found += self._by_turns(self._credentials, use.credential, Sharing.PLACES, principal, use, now)
        return self._worth_telling(found, now)

    def attested(self, known: Attested, node: str) -> tuple[Contradiction, ...]:
        """Return what it contradicts that a process of `node` ("": this machine) proved to be a principal."""
        principal = self._live.principals.get(known.principal_id)
        if principal is None or principal.terms.usage.instances is None:
            return NOTHING
        now, process = self._clock.monotonic(), f"{node} pid {known.seen.get('pid', '?')}".strip()
        use = Use(principal.id, known.credential, Deed.PROCESS, self._clock.now(), workload=process)
        return self._worth_telling(self._instanced(principal, f"process {principal.id}", process, use, now), now)

    def asked_for(self, use: Use, mark: str) -> tuple[Contradiction, ...]:
        """Return what it contradicts that an SVID is asked for; the use says whether the key is proved to be held."""
        use = replace(use, workload=_workload(self._live.keys.get(use.credential)) or use.workload)
        return self._worth_telling(self._showed(mark, use), self._clock.monotonic())

    def node_at(self, node: str, source: str) -> None:
        """Note that a remote node asked from `source`."""
        self._where.node_at(node, source, self._clock.monotonic())

    def holder_of(self, mark: str) -> str | None:
        """Return the id of the principal that proved to hold `mark`, if any did."""
        known = self._marks.get(mark)
        return None if known is None or not known.is_proved or self._has_ended(known) else known.principal_id

    def recall(self, use: Use, marks: Iterable[str]) -> None:
        """Remember a use that the evidence tells of, from before this process began."""
        credential = self._live.keys.get(use.credential)
        use = replace(use, workload=_workload(credential))
        for mark in _shown(credential, marks) if use.is_proved else marks:
            known = self._marks.get(mark)
            if known is None or (use.is_proved and not known.is_proved):
                self._marks.put(mark, replace(use, is_proved=use.is_proved and _is_key(mark)))
        if use.token is not None and use.entry is not None:
            self._issued.put(use.token, use.entry, self._clock.monotonic())

    # --- what it contradicts ---

    def _is_as_before(self, kept: Lately[_Followed], name: str, source: str, usage: Usage, now: float) -> bool:
        known = kept.get(name, now)
        return known is not None and known.source == source and known.usage is usage and known.trail.is_only(now)

    def _showed(self, mark: str, use: Use) -> list[Contradiction]:
        """Hold `mark` against whoever showed or registered it before; it is proved if both proved to hold it."""
        shown, registered = self._marks.get(mark), self._registered(mark)
        shown = None if shown is None or self._has_ended(shown) else shown
        self._remember(mark, shown, use)
        known = [each for each in (shown, registered) if each is not None and not self._has_ended(each)]
        other = next((each for each in known if each.principal_id != use.principal_id), None)
        if other is not None:
            principals = sorted([other.principal_id, use.principal_id])
            names = " and ".join(sorted(self._name(each) for each in principals))
            certainty = _certainty(other, use)
            what = "stands behind both" if certainty is Certainty.PROVED else "turned up for both"
            why = f"one {_kind_of(mark)} {what} {names}"
            return [Contradiction(Sharing.PRINCIPALS, certainty, (mark, *principals), (other, use), why)]
        if shown is not None and self._are_two_workloads(shown, use):
            about = (use.principal_id, *sorted([shown.credential, use.credential]))
            why = f"one key of {self._name(use.principal_id)} came from two workloads: {shown.workload}; {use.workload}"
            return [Contradiction(Sharing.WORKLOADS, _certainty(shown, use), about, (shown, use), why)]
        return []

    def _remember(self, mark: str, shown: Use | None, use: Use) -> None:
        """Remember who showed `mark` first; who proved to hold it counts before who only said so."""
        if (
            shown is None
            or (use.is_proved and not shown.is_proved)
            or (shown.principal_id == use.principal_id and use.workload and not self._is_active_workload(shown))
        ):
            self._marks.put(mark, use)

    def _is_active_workload(self, use: Use) -> bool:
        return bool(use.workload) and self._is_active(use.credential)

    def _are_two_workloads(self, shown: Use, use: Use) -> bool:
        both = self._is_active_workload(shown) and self._is_active_workload(use)
        return both and shown.workload != use.workload

    def _elsewhere(self, principal: Principal, use: Use) -> Iterator[Contradiction]:
        """Hold where a use comes from against where the charter, or its node, says that it is."""
        usage, where = principal.terms.usage, self._where
        about = (principal.id, use.credential)
        if usage.places and not where.is_within(use.source, usage.places):
            why = f"the credential of {principal.name} was used from {use.source}, outside {', '.join(usage.places)}"
            yield Contradiction(Sharing.OUTSIDE, Certainty.STATED, about, (self._before(use), use), why)
        node = _node(self._live.keys.get(use.credential))
        if node:
            other = where.contradicts(node, use.source, self._clock.monotonic())
            if other is not None:
                why = f"{principal.name} was attested on the node {node} and came from {use.source}, {other.what}"
                yield Contradiction(Sharing.NODE, other.certainty, about, (self._before(use), use), why)

    def _by_turns(
        self, kept: Lately[_Followed], name: str, kind: Sharing, principal: Principal, use: Use, now: float
    ) -> list[Contradiction]:
        """Hold the place of a use against the other places that the same credential or token comes from."""
        place, usage = self._where.place(use.source), principal.terms.usage
        known = kept.get(name, now)
        if known is None:
            known = _Followed(use.source, usage, Trail(), place)
            kept.put(name, known, now)
        known.source, known.usage, known.place = use.source, usage, place
        together = [
            span for span in known.trail.use(place.name, use, now) if self._where.place(span.of.source) is not place
        ]
        others = [span for span in together if place.is_comparable(self._where.place(span.of.source))]
        if len(others) < (usage.instances or 1):
            return []
        what = "a bearer token" if kind is Sharing.TOKEN else "the credential"
        places = ", ".join([*(span.sender for span in others), place.name])
        why = f"{what} of {principal.name} is used in {len(others) + 1} places at a time: {places}"
        about = (principal.id, use.credential)
        return [Contradiction(kind, Certainty.SEEN, about, (_dated(others[0], use, now), use), why)]

    def _instanced(self, principal: Principal, name: str, sender: str, use: Use, now: float) -> list[Contradiction]:
        """Hold how many senders there are against how many the charter says."""
        most = principal.terms.usage.instances
        if most is None:
            return []
        trail = self._instances.get(name, now)
        if trail is None:
            trail = Trail()
            self._instances.put(name, trail, now)
        others = trail.use(sender, use, now)
        if len(others) < most:
            return []
        why = f"{len(others) + 1} senders use the credential of {principal.name} at a time, and its charter says {most}"
        uses = (_dated(others[0], use, now), use)
        return [Contradiction(Sharing.INSTANCES, Certainty.STATED, (principal.id,), uses, why)]

    def _worth_telling(self, found: Iterable[Contradiction], now: float) -> tuple[Contradiction, ...]:
        """Return what was not told within the minute; what was is counted, and told with the next."""
        worth: list[Contradiction] = []
        for each in found:
            name = f"{each.fingerprint} {each.certainty.value}"  # surer than it was is worth telling at once
            told = self._told.get(name, now)
            if told is None:
                self._told.put(name, [now, 0], now)
                worth.append(each)
            elif now - told[0] >= AGAIN_SECONDS:
                worth.append(replace(each, times=int(told[1]) + 1))
                told[:] = [now, 0]
            else:
                told[1] += 1
        return tuple(worth)

    # --- what is known ---

    def _registered(self, mark: str) -> Use | None:
        key = self._live.keys.get(mark)
        if key is None:
            return None
        return Use(key.principal_id, key.thumbprint, Deed.REGISTRATION, key.registered_at, key=key.thumbprint)

    def _before(self, use: Use) -> Use:
        """Return what stands against a use that contradicts what was stated: the registration of its credential."""
        return self._registered(use.credential) or use

    def _has_ended(self, known: Use) -> bool:
        """Whether the principal of a use is over for good: what it had may be another's now."""
        principal = self._live.principals.get(known.principal_id)
        return principal is None or principal.standing is Standing.RETIRED

    def _is_active(self, credential: str) -> bool:
        key = self._live.keys.get(credential)
        return key is not None and key.standing is Standing.ACTIVE

    def _name(self, principal_id: str) -> str:
        found = self._live.principals.get(principal_id)
        return found.name if found else principal_id


def _dated(span: Span[Use], use: Use, now: float) -> Use:
    """Return what is known of a sender's use, and until when it was seen."""
    return replace(span.of, until=use.at - dt.timedelta(seconds=max(0.0, now - span.last)))


def _kind_of(mark: str) -> str:
    return _WORDS.get(mark.partition(" ")[0], "key")


def _is_key(mark: str) -> bool:
    """Whether a mark is a key's. A subject may stand for two principals on purpose, told apart by other claims."""
    return mark.partition(" ")[0] not in _WORDS


def _certainty(one: Use, other: Use) -> Certainty:
    return Certainty.PROVED if one.is_proved and other.is_proved else Certainty.SEEN


def _shown(credential: ClientKey | None, marks: Iterable[str]) -> dict[str, None]:
    """Return all that an issuance shows to be held, each once: a registered key is shown by what it signed."""
    own = [credential.thumbprint] if credential is not None and "crv" in credential.jwk else []
    return dict.fromkeys([*own, *marks])


def _node(key: ClientKey | None) -> str | None:
    """Return the remote node that a workload's selectors name."""
    if key is None or key.jwk.get("kty") != WORKLOAD:
        return None
    return str(conditions_of(key.jwk)["node"]) or None


def _workload(key: ClientKey | None) -> str | None:
    """Return an attested workload in words: its node and selectors."""
    if key is None or key.jwk.get("kty") != WORKLOAD:
        return None
    return ", ".join(f"{name} {value}" for name, value in conditions_of(key.jwk).items() if value != "")
